"""Which photographs a command means: files, folders, globs, lists, or one picture on standard input."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Sequence
from typing import BinaryIO

from common.commands.inputs import Input, collect_inputs, say_passed_over
from common.errors import InputError

# Folders are searched for these; a file that is named may be called anything.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".heic", ".heif", ".hif", ".avif"),
    *(".bmp", ".tif", ".tiff", ".jp2", ".tga", ".ico", ".ppm", ".pgm", ".pbm", ".pnm"),
)

PIPED = "-"  # standard input
SHEET = ".attention.png"  # how sheets with attention maps end: they are no photographs

_MOST_BYTES = 500_000_000  # from standard input, which need not end


def collect_photographs(sources: Sequence[str], lists: Sequence[str] = ()) -> list[Input]:
    """The photographs that somebody means; sheets that lie among them from an earlier run are passed over.

    How many files of other kinds their folders hold is said on standard error.

    Raises:
        InputError: if a list cannot be read, or standard input is to be a picture and a list.
    """
    if PIPED in sources and PIPED in lists:
        raise InputError(PIPED, "standard input is either a picture or a list, not both")
    piped = [Input(PIPED, "stdin")] if PIPED in sources else []
    named = [one for one in sources if one != PIPED]
    passed_over: Counter[str] = Counter()
    found = collect_inputs(named, SUFFIXES, "photographs", lists, passed_over)
    say_passed_over("caption", passed_over)
    return piped + [one for one in found if not one.path.endswith(SHEET) or one.path in named]


class Pictures:
    """Opens photographs by their paths; standard input is read once, and kept."""

    def __init__(self) -> None:
        self._piped: bytes | None = None

    def open(self, path: str) -> str | BinaryIO:
        """What `caption.images` reads.

        Raises:
            InputError: if standard input holds nothing, or does not end.
        """
        if path != PIPED:
            return path
        if self._piped is None:
            self._piped = sys.stdin.buffer.read(_MOST_BYTES + 1)
        if not self._piped:
            raise InputError(PIPED, "is empty (0 bytes)")
        if len(self._piped) > _MOST_BYTES:
            raise InputError(PIPED, f"is too large (more than {_MOST_BYTES / 1e6:.0f} MB); make it smaller")
        return _Piped(self._piped)


class _Piped(io.BytesIO):
    """A picture from standard input, with the name by which messages call it."""

    name = PIPED
