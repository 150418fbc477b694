"""Runs of a command that can be killed with all their processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reports import rows

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


def kill_and_resume(
    nights: Nights,
    arguments: list[str],
    outputs: Callable[[], list[Path]],
    reports: Path,
    kills: int,
    longest: float,
    check: Callable[[Path], object] = Path.exists,
) -> tuple[list[str], Counter[str]]:
    """Kill a batch at random moments, and let one more run end it.

    After every run what was there is still there, and was not done again.

    Args:
        nights: what runs the command.
        arguments: of the command.
        outputs: those that are there.
        reports: folder for a report a run.
        kills: how many runs are killed.
        longest: seconds from an output to a kill, at most.
        check: fails if an output is not whole; asked of each after every run.

    Returns:
        The names of the outputs, and how often each input was done.
    """
    generator, killed, status = random.Random(5), 0, -1
    before: dict[str, tuple[int, int]] = {}
    done: Counter[str] = Counter()
    for number in range(kills + 1):
        wanted = len(before) + generator.randrange(5)
        moment = generator.random() * longest

        def due(wanted: int = wanted, moment: float = moment) -> bool:
            if len(outputs()) < wanted:
                return False
            time.sleep(moment)
            return True

        report = reports / f"{number}.tsv"
        status = nights.run([*arguments, "--report", str(report)], due if number < kills else None)
        killed += status == -signal.SIGKILL
        for path in outputs():
            check(path)
        now = written(outputs())
        assert before.items() <= now.items()
        before = now
        if report.exists():
            done.update(row["path"] for row in rows(report) if row["status"] in ("done", "warning"))
    assert killed >= min(3, kills - 1)
    assert status == 0
    return sorted(before), done


def written(paths: list[Path]) -> dict[str, tuple[int, int]]:
    """The files by name, each with what changes if it is written again."""
    return {path.name: ((state := path.stat()).st_ino, state.st_mtime_ns) for path in paths}
