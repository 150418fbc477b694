"""A small file in an output folder that remembers what each output was made from, and how.

Comes in: outputs with their inputs, one line each as they are written. Goes out: whether an output that is
there is what would be written now. A line is appended in one piece; a last one that a kill tore is passed
over.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from common.commands.lines import Lines
from common.commands.sources import Source as Source
from common.commands.sources import Sources as Sources
from common.errors import InputError
from common.files import require_writable, write_error
from common.locations import Location
from common.stores import is_url

NAME = ".outputs.tsv"
HEADER = b"#outputs 1"
_SETTINGS = b"#settings"
_TORN = b"\t!"  # ends a line that a kill tore: no field may be that
_ESCAPES = {92: "\\\\", 9: "\\t", 10: "\\n", 13: "\\r"}


Content = Callable[[str, int, int], str]
State = tuple[int, int]  # an output's size in bytes, and what changes with it: its time, a row's digest


def file_state(found: os.stat_result) -> State:
    """The state of an output that is a file."""
    return found.st_size, found.st_mtime_ns


def row_state(content: str) -> State:
    """The state of an output that is a row of a table."""
    data = content.encode("utf-8", "surrogateescape")
    return len(data), int.from_bytes(hashlib.sha256(data).digest()[:7], "big")


@dataclass(frozen=True)
class Record:
    """One line: an output, what it was made from and how, and the output's own state."""

    name: str
    source: Source
    settings: str
    state: State


class Ledger:
    """What is known of the outputs in a folder of this machine.

    Args:
        folder: of the outputs; the file is made with the first line.
        settings: what else decides an output: options and model. They are JSON.
        content: digest of what counts in an input's file, from its path, size and time of change, if others
            may write into the file; empty if it cannot be read.

    Raises:
        InputError: if the file is there and cannot be read, or is something else.
    """

    def __init__(
        self, folder: Location, settings: Mapping[str, object], content: Content | None = None
    ) -> None:
        self.folder = folder
        self.content = content
        self.path: Location = folder / NAME
        self.settings = json.dumps(settings, sort_keys=True)
        self._key = hashlib.sha256(self.settings.encode()).hexdigest()[:12]
        self._known_settings: dict[str, str] = {}
        self._lines = Lines(self._stem_of)
        self._is_behind = False  # whether lines were written that are not among these
        self._file: BinaryIO | None = None
        self._read()

    def __reduce__(self) -> tuple[Callable[..., Ledger], tuple[object, ...]]:
        """For another process: it is opened there, once, and writes its own lines."""
        return _reopened, (type(self), self.folder, self.settings, self.content)

    def name(self, output: Location) -> str:
        """What a file is called here."""
        assert isinstance(output, Path) and isinstance(self.folder, Path)
        return str(output.relative_to(self.folder))

    def output_state(self, output: Location) -> State | None:
        """The state of an output now; None if it is not there."""
        try:
            return file_state(os.stat(output))  # noqa: PTH116 - an output may lie anywhere
        except OSError:
            return None

    def named_state(self, name: str) -> State | None:
        """The same, by what the output is called here."""
        path = os.path.join(self.folder, name)  # noqa: PTH118 - a million times
        try:
            return file_state(os.stat(path))  # noqa: PTH116 - pathlib's raises for a path that is too long
        except (OSError, ValueError):
            return None

    def require_writable(self) -> None:
        """Make sure that outputs can be written here: before hours of work, not after.

        Raises:
            InputError: if they cannot.
        """
        assert isinstance(self.folder, Path)
        require_writable(self.folder)

    def row_name(self, table: Location, row: str) -> str:
        """What a row of a table is called here: as no file can be, because the table is none's folder."""
        return f"{self.name(table)}/{row}.row"

    def records(self, name: str) -> list[Record]:
        """What was noted of an output, the oldest first."""
        found = [_record(line) for line in self._about(_stem(_escaped(name)))]
        return [record for record in reversed(found) if record is not None and record.name == name]

    def owner(self, stem: str) -> str | None:
        """The input whose outputs have a name, without their suffix, and are there; None if there is none."""
        for line in self._about(_folded(_escaped(stem))):
            record = _record(line)
            if record is not None and self._is_there(record.name):
                return record.source.path
        return None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return self._lines.is_empty and not self._is_behind

    def had(self, stem: str, source: str) -> bool:
        """Whether outputs of this name, without their suffix, were made from an input the last time.

        Args:
            stem: the name.
            source: the input's path, as a `Source` has it.
        """
        line = next(self._about(_folded(_escaped(stem))), None)
        record = _record(line) if line is not None else None
        return record is not None and record.source.path == source

    def _about(self, stem: bytes) -> Iterator[bytes]:
        """What was noted of outputs with a stem, the newest first."""
        if self._is_behind:  # what is written is seldom asked for: it is not kept until then
            self._is_behind = False
            with suppress(OSError):
                self._lines.read(Path(self.path))
        return self._lines.about(stem)

    def in_force(self, name: str, state: State) -> Record | None:
        """What an output that is there was made from; None if nothing is known of it.

        That is the last line that fits it. If none fits, somebody has changed it: it is the last.
        """
        records = self.records(name)
        fitting = [record for record in records if record.state == state]
        known = fitting or records
        return known[-1] if known else None

    def is_same(self, record: Record, source: Source) -> bool:
        """Whether an output was made from this input as it is now.

        If only what does not count has changed in its file, that is remembered: it need not be read again.
        """
        before = record.source
        if before == source:
            return True
        if before.path != source.path or not before.digest or self._digest(source) != before.digest:
            return False
        with suppress(InputError):  # then it is read again the next time
            self._note(record.name, replace(source, digest=before.digest), record.settings, record.state)
        return True

    def is_current(self, record: Record) -> bool:
        """Whether an output was made with the settings of today."""
        return record.settings == self._key

    def difference(self, record: Record) -> str:
        """How the settings of an output differ from those of today, in words."""
        now: dict[str, object] = json.loads(self.settings)
        try:
            before: dict[str, object] = json.loads(self._known_settings[record.settings])
        except (KeyError, ValueError):
            return "other options"
        changes = [
            f"{name} {now.get(name, '-')} in place of {before.get(name, '-')}"
            for name in sorted({*now, *before})
            if now.get(name) != before.get(name)
        ]
        return ", ".join(changes) or "other options"

    def note(self, name: str, source: Source, state: State) -> None:
        """Remember an output that is about to take its place, with the state that it will have.

        Raises:
            InputError: if the line cannot be written.
        """
        self._note(name, replace(source, digest=self._digest(source)), self._key, state)

    def close(self) -> None:
        """Write no more."""
        self._lines.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _digest(self, source: Source) -> str:
        """Of what counts in an input, if it is still as it was; empty if nobody asks for it."""
        if self.content is None or source.path == "-" or is_url(source.path):
            return ""
        path = os.path.join(self.folder.resolve(), source.path)  # noqa: PTH118 - another drive's is absolute
        try:
            found = os.stat(path)  # noqa: PTH116 - pathlib's raises for a path that is too long
        except (OSError, ValueError):
            return ""
        if file_state(found) != (source.size, source.changed):
            return ""
        return self.content(path, source.size, source.changed)

    def _note(self, name: str, source: Source, settings: str, state: State) -> None:
        """Add a line about an output."""
        fields = [
            _escaped(name),
            _escaped(source.path),
            *(str(number).encode() for number in (source.size, source.changed)),
            settings.encode(),
            *(str(number).encode() for number in state),
            *([source.digest.encode()] if source.digest else []),
        ]
        line = b"\t".join(fields)
        try:
            self._append(line)
        except OSError as error:
            raise write_error(Path(self.path), error) from error
        if isinstance(self.path, Path):
            self._is_behind = True
        else:
            self._lines.add(line + b"\n")

    def _append(self, line: bytes) -> None:
        """Add a line in one piece, behind the end of the last whole one."""
        lines = [line, b""]
        if self._key not in self._known_settings:
            lines.insert(0, self._settings_line())
        assert isinstance(self.folder, Path) and isinstance(self.path, Path)
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
            if self._file.tell() == 0:
                self._missing = HEADER
            elif self._missing == HEADER:  # somebody else has begun it meanwhile
                self._missing = b""
        if self._missing:
            lines.insert(0, self._missing)
        data = b"\n".join(lines)
        self._missing = _TORN
        if self._file.write(data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._missing = b""
        self._known_settings[self._key] = self.settings

    def _settings_line(self) -> bytes:
        """What the settings' short name in the lines stands for."""
        return b"\t".join([_SETTINGS, self._key.encode(), _escaped(self.settings)])

    def _is_there(self, name: str) -> bool:
        """Whether there is an output of that name."""
        return Path(self.folder / name).exists()

    def _read(self) -> None:
        """Take up what was written before."""
        assert isinstance(self.path, Path)
        self._missing = HEADER  # to make a whole line of what stands there
        try:
            with self.path.open("rb") as file:
                self._check(self.path, file.read(len(HEADER)))
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                self._missing = b"" if file.read() == b"\n" else HEADER[size:] or _TORN
            self._lines.read(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(self.path, f"cannot be read: {error.strerror}") from error

    def _check(self, path: Location, head: bytes) -> None:
        """Refuse a file that begins as none of ours does."""
        if head[: len(HEADER)] != HEADER[: len(head)]:
            raise InputError(path, "is not what remembers the outputs; move it out of the way")

    def _stem_of(self, line: bytes) -> bytes | None:
        """What a line is about: the stem of an output; None if it tells settings, or nothing."""
        name, _, rest = line.partition(b"\t")
        if name == _SETTINGS:
            key, _, settings = rest.partition(b"\t")
            if b"\t" not in settings:
                self._known_settings[key.decode("ascii", "replace")] = _unescaped(settings)
            return None
        return _stem(name) if rest and name != HEADER else None


@functools.lru_cache(maxsize=64)
def _reopened(kind: type[Ledger], folder: Location, settings: str, content: Content | None) -> Ledger:
    """A ledger that came from another process."""
    return kind(folder, json.loads(settings), content)


def _stem(name: bytes) -> bytes:
    """What the outputs of one input have in common: their path without the suffix; case does not count.

    Args:
        name: of an output, escaped.
    """
    return _folded(name.rpartition(b".")[0])


def _folded(stem: bytes) -> bytes:
    """A stem as all that count as the same have it."""
    if stem.isascii():
        return stem.lower()
    return stem.decode("utf-8", "surrogateescape").casefold().encode("utf-8", "surrogateescape")


@functools.lru_cache(maxsize=16)  # planning asks for each line twice
def _record(line: bytes) -> Record | None:
    """What a line says; None if it is none."""
    try:
        name, path, size, changed, settings, own_size, own_changed, *more = line.split(b"\t")
        digest = b"".join(more).decode("ascii")
        if len(more) > 1 or not all(letter in "0123456789abcdef" for letter in digest):
            return None
        source = Source(_unescaped(path), int(size), int(changed), digest)
        return Record(_unescaped(name), source, settings.decode("ascii"), (int(own_size), int(own_changed)))
    except ValueError:
        return None


def _escaped(text: str) -> bytes:
    """A field of a line: no tab and no end of a line in it."""
    return text.translate(_ESCAPES).encode("utf-8", "surrogateescape")


def _unescaped(field: bytes) -> str:
    """What a field holds."""
    text = field.decode("utf-8", "surrogateescape")
    if "\\" not in text:
        return text
    found, letters = [], iter(text)
    for letter in letters:
        if letter == "\\":
            letter = {"t": "\t", "n": "\n", "r": "\r"}.get(following := next(letters, ""), following)
        found.append(letter)
    return "".join(found)
