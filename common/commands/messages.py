"""What a command says on standard error: lines for people, or one JSON object a line for programs.

With `--log-format json` standard error itself becomes a stream of JSON lines: what is said here has its
fields, and whatever else is written there (warnings, tracebacks) is an object a line as well. It is no
terminal, so no progress bar is drawn.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from common.errors import InputError

LOG_FORMATS = ("text", "json")
LOG_FORMAT_HELP = (
    "what is said on standard error: text, or json, an object a line with time, level, event, message and, "
    "where there is one, input; also one for each input that is done, and no progress bar (%(default)s)"
)

Level = Literal["info", "warning", "error"]


class JsonLines(io.TextIOBase):
    """A stream on which every line is a JSON object.

    Args:
        stream: where the lines go.
        command: who says them.
    """

    def __init__(self, stream: TextIO, command: str) -> None:
        self._stream = stream
        self._command = command
        self._begun = ""  # of a line whose end has not been written yet
        self._lock = threading.RLock()

    def event(self, event: str, level: Level, message: str, **fields: object) -> None:
        """Write one object.

        Args:
            event: what happened, in a word that programs can rely on.
            level: how bad it is.
            message: what a person is told.
            fields: more; those that are None are left out.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        named = {"time": time, "level": level, "command": self._command, "event": event}
        known = {name: value for name, value in fields.items() if value is not None}
        # In ASCII: a path need not be UTF-8.
        line = json.dumps({**named, "message": message, **known})
        with self._lock:
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def write(self, text: str) -> int:
        """Take what somebody writes who knows nothing of this; every whole line is an object."""
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                if line.strip():
                    self.event("output", "info", line)
        return len(text)

    def flush(self) -> None:
        """Hand on what is whole."""
        self._stream.flush()

    def finish(self) -> None:
        """Hand on what no end of a line came behind."""
        if self._begun.strip():
            self.write("\n")

    def fileno(self) -> int:
        """The number of the stream below."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """It can be written to."""
        return True


def say(
    command: str | None,
    message: str,
    *,
    event: str,
    level: Level = "warning",
    path: str | None = None,
    **fields: Any,
) -> None:
    """Say something on standard error: a line, or an object with all that is known.

    Args:
        command: in front of the line.
        message: what a person is told; on one line.
        event: what happened, in a word; JSON alone has it.
        level: how bad it is; likewise.
        path: of the input that it is about.
        fields: more for JSON alone.
    """
    if isinstance(sys.stderr, JsonLines):
        sys.stderr.event(event, level, message, input=path, **fields)
        return
    line = message if path is None else str(InputError(path, message))
    with beside_bars():
        print(line if command is None else f"{command}: {line}", file=sys.stderr, flush=True)


def is_json() -> bool:
    """Whether standard error is read by a program."""
    return isinstance(sys.stderr, JsonLines)


def beside_bars() -> AbstractContextManager[Any]:
    """What is printed inside does not stand in the middle of a progress bar."""
    if "tqdm" not in sys.modules:  # it takes a moment to import
        return nullcontext()
    from tqdm import tqdm

    return tqdm.external_write_mode(sys.stderr)


@contextmanager
def log_as_asked(command: str, arguments: Sequence[str]) -> Iterator[None]:
    """Standard error as the arguments ask for it (`--log-format`), from the first complaint about them on."""
    if not _wants_json(arguments) or is_json():
        yield
        return
    usual: Any = sys.stderr
    sys.stderr = stream = JsonLines(usual, command)
    try:
        yield
    finally:
        stream.finish()
        sys.stderr = usual


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether JSON is asked for, before anything else in the arguments is understood."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--log-format")
    try:
        return bool(parser.parse_known_args(arguments)[0].log_format == "json")
    except argparse.ArgumentError:
        return False
