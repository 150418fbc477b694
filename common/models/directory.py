"""Where a model's directory is, and which model it holds; what asks for no more need not load PyTorch."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Literal

from common.errors import InputError

Storage = Literal["float16", "int8"]  # of weights; `common.models.files` says how

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
COMPRESSED = f"{WEIGHTS}.xz"  # in place of WEIGHTS


def bundled_names(bundled: Path) -> list[str]:
    """The names of the models in the folder with those that ship."""
    return sorted(path.parent.name for path in bundled.glob(f"*/{CONFIG}"))


def find_model(name: str | Path, bundled: Path) -> Path:
    """The directory of a model.

    Args:
        name: a bundled model's name, or the path of a model directory. A bundled name goes before a
            directory of that name in the current folder, which is `./name`.
        bundled: the folder with the models that ship.

    Raises:
        InputError: if there is no such model; it lists the bundled names.
    """
    names = bundled_names(bundled)
    if str(name) in names:
        return bundled / name
    directory = Path(name).expanduser()
    put_back(directory)
    if (directory / CONFIG).is_file():
        return directory
    ship = f"these ship: {', '.join(names)}" if names else "none ships with this installation"
    if directory.is_dir():
        raise InputError(directory, f"is not a model directory, it has no {CONFIG}; {ship}")
    raise InputError(name, f"no such model or model directory; {ship}")


def model_identity(directory: Path) -> str:
    """What tells a model from every other: the digest of its weights, and those of the models inside it."""
    digests = []
    for path in sorted([directory / CONFIG, *directory.glob(f"*/{CONFIG}")]):
        with suppress(OSError, ValueError, KeyError, TypeError):  # whoever loads the model says what is wrong
            digests.append(json.loads(path.read_text(encoding="utf-8"))["sha256"][:12])
    return "+".join(digests)


def aside(directory: Path) -> Path:
    """Where a model waits while a new one takes its place."""
    return directory.with_name(f".{directory.name}.old")


def put_back(directory: Path) -> None:
    """Put a model back that a killed process had moved aside, if no other has taken its place."""
    if directory.name and not directory.exists():
        with suppress(OSError):
            aside(directory).rename(directory)
