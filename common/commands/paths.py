"""What is written must never replace what is read: asked once, before any work begins."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from common.errors import InputError
from common.locations import Location
from common.models.directory import CONFIG, find_model
from common.stores import is_url


def require_apart(inputs: Iterable[str | Location], outputs: Iterable[str | Location]) -> None:
    """Refuse to go on if an output is one of the inputs: under its own name, another's, or through a link.

    Args:
        inputs: files and URLs that are read, "-" is standard input; those that are not there cannot be lost,
            and are passed over, and so are devices and pipes.
        outputs: files that are to be written.

    Raises:
        InputError: naming such an output.
    """
    # Of a million outputs hardly one is there before the work: inputs are looked at only if one is.
    there = {found: output for output in outputs if (found := _identity(output)) is not None}
    for one in inputs if there else ():
        found = _piped() if str(one) == "-" else _identity(one)
        if found in there:
            raise InputError(
                there[found], "is one of the inputs, which would be lost; write to another place"
            )


def require_models_apart(models: Iterable[str | Path], bundled: Path, *outputs: Path) -> None:
    """Refuse to write a model directory, or a file, in the place of a model that is read.

    Args:
        models: bundled names or model directories.
        bundled: the folder with the models that ship.
        outputs: model directories or files that are to be written.

    Raises:
        InputError: naming the first such output; or if there is no such model.
    """
    found = [path for model in models for path in find_model(model, bundled).rglob("*")]
    require_apart(found, [one / CONFIG if (one / CONFIG).is_file() else one for one in outputs])


def _identity(path: str | Location | int) -> tuple[int, int] | str | None:
    """What makes a file the same under all its names: its device and its number there; None for no file.

    What a store has, has one name: its URL.
    """
    if not isinstance(path, int) and is_url(os.fspath(path)):
        return os.fspath(path)
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib's raises for a path that is too long (Python 3.11)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _piped() -> tuple[int, int] | str | None:
    """The file that a shell gave as standard input; None if it is none."""
    try:
        return _identity(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or something that is no file
        return None
