"""Standard input, output and error, of which any may be closed, full or gone.

A result that cannot be printed is an `InputError`, as one that cannot be written to a file.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.files import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Output(io.FileIO):
    """Standard output; what cannot be written is an `OutputError`, but for a reader who has gone."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of the data.

        Raises:
            OutputError: if it cannot be written.
        """
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError("standard output", f"cannot be written: {error.strerror}") from error


def prepare_streams() -> None:
    """Make all three fit to be used: a closed input is empty, what is said on a closed error is not heard.

    File names need not be UTF-8; printing one must not end the command.
    """
    given: Any = sys.stdout  # they are None where they are closed
    is_own = given is sys.__stdout__
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for the life of the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if given is None:
        sys.stdout = _output(os.open(os.devnull, os.O_RDONLY), False)  # to write there is an error
    elif is_own and isinstance(getattr(given.buffer, "raw", given.buffer), io.FileIO):
        given.flush()
        sys.stdout = _output(given.fileno(), given.line_buffering or given.write_through, given.encoding)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape" if stream is sys.stdout else "backslashreplace")


def _output(descriptor: int, line_buffering: bool, encoding: str = "utf-8") -> io.TextIOWrapper:
    """Standard output by its number."""
    raw = _Output(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, line_buffering=line_buffering)


def give_up_output() -> None:
    """Drop what could not be printed: Python would try once more at its end, and complain there."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, InputError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
