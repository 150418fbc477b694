"""What a training run was begun with, kept in its directory: it goes on only with the same.

Comes in: the options of a training and its data. Goes out: `run.json` with the first step, or an error that
names the difference.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from common.commands.command import installed_version
from common.errors import InputError
from common.files import write_whole

NAME = "run.json"

# Options that may differ when a run goes on: they decide nothing that is learned.
_FREE = {"run", "cache", "threads", "device"}


@dataclass
class RunRecord:
    """What a run was begun with, to be written down when its first step is made.

    Before that nothing is learned: a run that fails while it reads its data may begin with other options.

    Attributes:
        path: of the record.
        content: what it is to hold.
        stands: whether it stands there.
    """

    path: Path
    content: Mapping[str, Any]
    stands: bool

    def write(self) -> None:
        """Write it, if it does not stand there yet."""
        if not self.stands:
            write_whole(self.path, f"{json.dumps(self.content, indent=1)}\n")
            self.stands = True


def run_record(run: Path, options: Any, data: Iterable[object]) -> RunRecord:
    """Make sure that a run goes on with what it was begun with.

    Args:
        run: directory of the run.
        options: the dataclass that decides it.
        data: what it learns from and is measured on; anything whose text differs where the data does.

    Returns:
        What goes along with the training and writes it down, if the run is still to begin.

    Raises:
        InputError: naming the difference, if the run was begun with something else; or if the record cannot
            be read.
    """
    now = _record(options, data)
    path = run / NAME
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return RunRecord(path, now, stands=False)
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(path, "is damaged; choose a new directory for the run") from error
    differences = [
        f"{name} {_short(now[part].get(name))} in place of {_short(_entry(before, part, name))}"
        for part in ("options", "versions")
        for name in sorted({*now[part], *_part(before, part)})
        if now[part].get(name) != _entry(before, part, name)
    ]
    if differences:
        raise InputError(run, f"was begun otherwise: {', '.join(differences)}; choose a new directory")
    if now["data"] != before.get("data"):
        raise InputError(run, "was begun with other data (the same options); choose a new directory")
    return RunRecord(path, now, stands=True)


def _record(options: Any, data: Iterable[object]) -> dict[str, Any]:
    """What is written down."""
    digest = hashlib.sha256()
    for one in data:
        digest.update(f"{one!r}\n".encode("utf-8", "surrogateescape"))
    values = {name: value for name, value in dataclasses.asdict(options).items() if name not in _FREE}
    return {
        "options": json.loads(json.dumps(values, default=str)),
        "data": digest.hexdigest(),
        "versions": {"torch": torch.__version__, "recurrent-suite": installed_version("recurrent-suite")},
    }


def _part(record: Any, part: str) -> dict[str, Any]:
    found = record.get(part) if isinstance(record, dict) else None
    return found if isinstance(found, dict) else {}


def _entry(record: Any, part: str, name: str) -> Any:
    return _part(record, part).get(name)


def _short(value: Any) -> str:
    """A value as a message shows it."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
