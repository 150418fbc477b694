"""Runs of a command that can be killed with all their processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Imports once, and then begins each night as a process of its own, with a group of its own.
_NIGHTS = """
import json, os, sys
{imports}
for line in sys.stdin:
    night = os.fork()
    if not night:
        os.setpgid(0, 0)
        os._exit(main(json.loads(line)))
    os.setpgid(night, night)
    print(night, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(night, 0)[1]), flush=True)
"""


class Nights:
    """Runs of a command, one after the other.

    Args:
        imports: what takes long to import, and `main`, which takes a command line.
    """

    def __init__(self, imports: str) -> None:
        command = [sys.executable, "-c", _NIGHTS.format(imports=imports)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def run(self, arguments: list[str], until: Callable[[], bool] | None = None) -> int:
        """One run; its exit status. It is killed when something has come to pass."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(arguments), file=self.process.stdin, flush=True)
        night = int(self.process.stdout.readline())
        while until is not None and not until():
            try:
                os.kill(night, 0)
            except ProcessLookupError:
                break
            time.sleep(0.002)
        if until is not None:
            with suppress(ProcessLookupError):  # it was done before
                os.killpg(night, signal.SIGKILL)
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()
