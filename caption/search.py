"""Search by sentence, and the index that makes a second search quick.

Comes in: a sentence and photographs. Goes out: how well it fits each, log p(sentence | photograph). What
takes the time is reading photographs and looking at them; the index keeps what the decoder is told of each
(a `Scene`), in half precision, so that only the sentence is left to be computed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from caption.bundled import BUNDLED
from caption.captioner import Captioner
from caption.images import load_image
from caption.model.network import Scene
from caption.options import LOADERS
from common.commands.batch import Job, Summary, in_batches, run
from common.commands.inputs import Input
from common.errors import InputError
from common.models.files import CONFIG, find_model

_SQLITE = b"SQLite format 3\0"
_APPLICATION = 0x43415049  # "CAPI", by which SQLite's own header tells an index from other databases
_VERSION = 1  # of what is stored, and of how pictures are read before they are looked at
_TOGETHER = 64  # photographs whose scenes are read and compared at once
_COMMITTED = 200  # photographs after which an interrupted update need not look again
_PAGE = 32768  # bytes; a scene is large
_TABLES = (
    "CREATE TABLE IF NOT EXISTS model (identity TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS photographs (path BLOB PRIMARY KEY, size INTEGER NOT NULL, "
    "changed INTEGER NOT NULL, layout TEXT NOT NULL, scene BLOB NOT NULL)",
    # What is known is then read without the scenes.
    "CREATE INDEX IF NOT EXISTS states ON photographs (path, size, changed)",
)

Found = list[tuple[float, str]]


def search(
    captioner: Captioner, sentence: str, inputs: Sequence[Input], batch_size: int
) -> tuple[Found, Summary]:
    """How well a sentence fits each photograph, in nats a word; those that cannot be read are left out.

    Raises:
        InputError: if the captioner knows no word of the sentence.
    """
    found: Found = []

    def answer(pictures: list[Tensor]) -> list[float]:
        return captioner.log_likelihoods(sentence, pictures)

    answer([])  # a sentence without a known word is said once, not for every photograph
    summary = run(
        [Job(one) for one in inputs],
        in_batches(load_image, answer, batch_size, LOADERS),
        lambda job, score: found.append((score, job.input.path)),
        command="caption",
        unit="photo",
    )
    return found, summary


def search_index(
    captioner: Captioner, sentence: str, inputs: Sequence[Input], batch_size: int, index: SceneIndex
) -> tuple[Found, Summary]:
    """As `search`, after the index was brought up to date with the photographs."""
    captioner.log_likelihoods(sentence, [])  # as in `search`
    paths = {str(one.location): one.path for one in inputs}
    summary = update(captioner, inputs, batch_size, index)
    found: Found = []
    for places, scene in index.scenes([place for place in paths if place in index.known]):
        on_device = Scene(*(part.to(captioner.device) for part in scene))
        try:
            scores = captioner.scene_log_likelihoods(sentence, on_device)
        except (RuntimeError, IndexError) as error:  # shapes that the model does not have
            raise InputError(index.path, _DAMAGED) from error
        found += [(score, paths[place]) for place, score in zip(places, scores, strict=True)]
    return found, summary


def update(captioner: Captioner, inputs: Sequence[Input], batch_size: int, index: SceneIndex) -> Summary:
    """Look at the photographs that an index does not have as they are now, and drop those that are gone."""
    index.drop_gone()
    states = {one.path: _state(one.path) for one in inputs}
    places = {one.path: str(one.location) for one in inputs}
    left = [one for one in inputs if not index.has(places[one.path], states[one.path])]
    for one in left:  # what it showed before is not what it shows now, even if it cannot be read
        index.known.pop(places[one.path], None)

    def answer(pictures: list[Tensor]) -> list[Scene]:
        scene = captioner.look(pictures)
        return [Scene(*(part[row : row + 1].cpu() for part in scene)) for row in range(len(pictures))]

    def deliver(job: Job, scene: Scene) -> None:
        index.add(places[job.input.path], states[job.input.path], scene)

    try:
        return run(
            [Job(one) for one in left],
            in_batches(load_image, answer, batch_size, LOADERS),
            deliver,
            command="caption",
            unit="photo",
        )
    finally:
        index.commit()


def model_identity(model: str) -> str:
    """What tells a model from every other: its configuration's hash, which holds that of its weights.

    Raises:
        InputError: if there is no such model.
    """
    path = find_model(model, BUNDLED) / CONFIG
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error


State = tuple[int, int]  # bytes of a file, and when it was last changed in nanoseconds


def _state(path: str) -> State | None:
    """What changes when a file does; None if it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib's raises for a path that is too long (Python 3.11)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


class SceneIndex:
    """A file with the scenes of photographs: an SQLite database, whole at every moment.

    It belongs to one model: for another one it is made anew, which is said on standard error.

    Attributes:
        known: what each photograph was when it was looked at, by its absolute path; what has changed since
            is left out while it is looked at again.

    Args:
        path: the file; it is made if it is not there.
        model: from `model_identity`.

    Raises:
        InputError: if the file is something else, damaged, or cannot be written.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.path = path
        self.known: dict[str, State] = {}
        self._added = 0
        is_new = self._require_index()
        with self._said():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path)
            self._file.execute("PRAGMA trusted_schema = OFF")
            if is_new:
                self._file.execute(f"PRAGMA page_size = {_PAGE}")
                self._file.execute(f"PRAGMA application_id = {_APPLICATION}")
            if self._file.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
                raise InputError(path, _NO_INDEX)
            self._begin(f"{_VERSION} {model}")
            rows = self._file.execute("SELECT path, size, changed FROM photographs")
            self.known = {os.fsdecode(place): (size, changed) for place, size, changed in rows}

    def photographs(self) -> list[Input]:
        """Those that are still there."""
        return [Input(place, Path(place).name) for place in self.known if _state(place) is not None]

    def has(self, place: str, state: State | None) -> bool:
        """Whether a photograph is there, as it is now."""
        return state is not None and self.known.get(place) == state

    def add(self, place: str, state: State | None, scene: Scene) -> None:
        """Keep the scene of one photograph, in place of what was known of it.

        Raises:
            InputError: if it cannot be written.
        """
        size, changed = state or (-1, -1)
        stored = [_stored(part) for part in scene]
        layout = json.dumps([[list(part.shape[1:]), _name(part)] for part in stored])
        data = b"".join(part.numpy().tobytes() for part in stored)
        with self._said():
            self._file.execute(
                "INSERT OR REPLACE INTO photographs VALUES (?, ?, ?, ?, ?)",
                (os.fsencode(place), size, changed, layout, data),
            )
        self.known[place] = (size, changed)
        self._added += 1
        if self._added % _COMMITTED == 0:
            self.commit()

    def commit(self) -> None:
        """Make what was added last."""
        with self._said():
            self._file.commit()

    def drop_gone(self) -> None:
        """Forget photographs that are gone from their folders; those of a disk that is away are kept."""
        gone = [place for place in self.known if not os.path.lexists(place) and Path(place).parent.is_dir()]
        with self._said(), self._file:
            self._file.executemany(
                "DELETE FROM photographs WHERE path = ?", ((os.fsencode(place),) for place in gone)
            )
        for place in gone:
            del self.known[place]

    def scenes(self, places: Sequence[str]) -> Iterator[tuple[list[str], Scene]]:
        """The scenes of these photographs, some dozens at a time, in float32.

        Raises:
            InputError: if the file is damaged.
        """
        for start in range(0, len(places), _TOGETHER):
            some = list(places[start : start + _TOGETHER])
            with self._said():
                query = "SELECT layout, scene FROM photographs WHERE path = ?"
                rows = [self._file.execute(query, (os.fsencode(place),)).fetchone() for place in some]
            try:
                parts = zip(*(_restored(layout, data) for layout, data in rows), strict=True)
                yield some, Scene(*(torch.cat(part) for part in parts))
            except (ValueError, TypeError, KeyError, RuntimeError) as error:
                raise InputError(self.path, f"{_DAMAGED} ({error})") from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> SceneIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_index(self) -> bool:
        """Whether the file is still to be made; somebody else's is not touched."""
        try:
            with self.path.open("rb") as file:
                opening = file.read(len(_SQLITE))
        except FileNotFoundError:
            return True
        except OSError as error:
            raise InputError(self.path, f"cannot be read: {error.strerror}") from error
        if opening not in (b"", _SQLITE):
            raise InputError(self.path, _NO_INDEX)
        return not opening

    def _begin(self, model: str) -> None:
        """Make the tables where they are missing, and empty them for another model."""
        for statement in _TABLES:
            self._file.execute(statement)
        stored = self._file.execute("SELECT identity FROM model").fetchone()
        if stored == (model,):
            return
        if stored is not None:
            print(f"caption: {self.path}: was made with another model; it is made anew", file=sys.stderr)
        with self._file:
            for statement in ("DELETE FROM model", "DELETE FROM photographs"):
                self._file.execute(statement)
            self._file.execute("INSERT INTO model VALUES (?)", (model,))

    @contextmanager
    def _said(self) -> Iterator[None]:
        """What SQLite or the disk has against it, as an error that names the file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(self.path, f"cannot be used as an index: {error}") from error
        except sqlite3.DatabaseError as error:
            raise InputError(self.path, f"{_DAMAGED} ({error})") from error
        except OSError as error:
            raise InputError(self.path, f"cannot be written: {error.strerror}") from error


_NO_INDEX = "is there, and is no index of photographs; choose another file"
_DAMAGED = "is damaged; delete it, and it is made anew"


def _stored(part: Tensor) -> Tensor:
    """A part of a scene as it is stored: float16, or int32 where it holds symbols."""
    return part.to(torch.float16 if part.is_floating_point() else torch.int32).contiguous()


def _name(part: Tensor) -> str:
    """The type of a part's numbers, one of `_TYPES`."""
    return str(part.dtype).removeprefix("torch.")


def _restored(layout: str, data: bytes) -> list[Tensor]:
    """The parts of one photograph's scene, (1, ...) each, as a decoder takes them."""
    parts: list[Tensor] = []
    start, changeable = 0, bytearray(data)  # PyTorch warns of memory that it may not write to
    for shape, name in json.loads(layout):
        dtype, wanted = _TYPES[name]
        numbers = math.prod(shape)
        if numbers:
            part = torch.frombuffer(changeable, dtype=dtype, count=numbers, offset=start)
        else:
            part = torch.empty(0, dtype=dtype)
        parts.append(part.view(1, *shape).to(wanted))
        start += numbers * dtype.itemsize
    return parts


# How numbers are stored, and how a decoder takes them.
_TYPES = {"float16": (torch.float16, torch.float32), "int32": (torch.int32, torch.int64)}
