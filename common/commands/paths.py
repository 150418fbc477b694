"""What is written must never replace what is read: asked once, before any work begins."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from common.errors import InputError


def require_apart(inputs: Iterable[str | Path], outputs: Iterable[str | Path]) -> None:
    """Refuse to go on if an output is one of the inputs: under its own name, another's, or through a link.

    Args:
        inputs: files that are read; those that are not there cannot be lost, and are passed over.
        outputs: files that are to be written.

    Raises:
        InputError: naming the first such output.
    """
    read = {found for found in map(_identity, inputs) if found is not None}
    for output in outputs:
        if _identity(output) in read:
            raise InputError(output, "is one of the inputs, which would be lost; write to another place")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """What makes a file the same under all its names: its device and its number there; None for no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib's raises for a path that is too long (Python 3.11)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
