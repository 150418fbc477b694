"""What remembers the outputs of a folder on an object store, where no file can be appended to.

It is a folder of small files, `.outputs/`, each of which looks as the one file of a local folder does. A
process writes its own, again with each line, and begins another when it has grown: so several may write at
the same time, and a kill costs nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping

from common import stores
from common.commands.ledger import HEADER, Content, Ledger, State
from common.errors import InputError, OutputError
from common.locations import Location, StorePath

FOLDER = ".outputs"
_LINES = 100  # of a file: some twenty kilobytes, which are sent again with each line


def open_ledger(
    folder: Location, settings: Mapping[str, object], content: Content | None = None, whole: bool = False
) -> Ledger:
    """What is known of the outputs in a folder, here or on a store.

    Args:
        folder, settings, content: as in `Ledger`.
        whole: many outputs will be asked for, so that a store lists all that it has.

    Raises:
        InputError: as `Ledger` does.
    """
    if isinstance(folder, StorePath):
        return StoreLedger(folder, settings, content, whole)
    return Ledger(folder, settings, content)


def stored_state(data: bytes) -> State:
    """The state of an output on a store: it is known before it is there, as most stores tell the MD5."""
    return _state(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())


def _state(size: int, md5: str) -> State:
    """A state from a size and an MD5 in hexadecimal."""
    return size, int(md5[:14], 16)


class StoreLedger(Ledger):
    """What is known of the outputs in a folder on a store.

    Args:
        folder, settings, content: as in `Ledger`.
        whole: list all of the folder once, instead of looking up each output.

    Raises:
        InputError: as `Ledger` does, or if the store cannot be asked.
    """

    def __init__(
        self,
        folder: StorePath,
        settings: Mapping[str, object],
        content: Content | None = None,
        whole: bool = False,
    ) -> None:
        self._store = folder
        self._whole = whole
        self._there: dict[str, stores.Stored | None] = {}
        self._written: list[bytes] = []
        self._segment: StorePath | None = None
        self._last = 0  # number of the newest file
        super().__init__(folder, settings, content)
        self.path = folder / FOLDER

    def name(self, output: Location) -> str:
        """What a file is called here."""
        assert isinstance(output, StorePath)
        return str(output.relative_to(self._store))

    def output_state(self, output: Location) -> State | None:
        """The state of an output now; None if it is not there.

        An MD5 of the store's that fits nothing need not be one (encrypted files have others): then the output
        is read.

        Raises:
            InputError: if the store cannot be asked.
        """
        name = self.name(output)
        found = self._found(name)
        if found is None:
            return None
        known = {record.state for record in self.records(name)}
        if found.md5 is not None:
            state = _state(found.size, found.md5)
            if state in known or all(size != found.size for size, _ in known):
                return state
        return stored_state(stores.read(found.url))

    def named_state(self, name: str) -> State | None:
        """The same, by what the output is called here."""
        return self.output_state(self._store / name)

    def require_writable(self) -> None:
        """Put a file that remembers nothing yet.

        Raises:
            InputError: if that cannot be done.
        """
        if self._segment is None:
            self._begin()
            self._put()

    def close(self) -> None:
        """Nothing is open."""

    def _append(self, line: bytes) -> None:
        """Put this process's file, with a line more."""
        if self._segment is None or len(self._written) >= _LINES:
            self._begin()
        self._written.append(line)
        self._put()
        self._known_settings[self._key] = self.settings

    def _begin(self) -> None:
        """Begin another file; their names are in the order in which they were begun, whatever clocks show."""
        self._written = [HEADER, self._settings_line()]
        self._last = max(time.time_ns(), self._last + 1)
        self._segment = self._store / FOLDER / f"{self._last:020}-{secrets.token_hex(4)}.tsv"

    def _put(self) -> None:
        """Put the file that was begun."""
        assert self._segment is not None
        try:
            self._segment.write_bytes(b"\n".join([*self._written, b""]))
        except OutputError as error:
            raise OutputError(self._store, error.reason) from error

    def _is_there(self, name: str) -> bool:
        """Whether there is an output of that name."""
        return self._found(name) is not None

    def _found(self, name: str) -> stores.Stored | None:
        """What the store has of a name."""
        if name not in self._there and not self._whole:
            self._there[name] = stores.find_one((self._store / name).url)
        return self._there.get(name)

    def _read(self) -> None:
        """Take up what was written before."""
        below = self._store if self._whole else self._store / FOLDER
        listed = stores.find(f"{below.url.rstrip('/')}/")
        if self._whole:
            self._there = {self.name(StorePath(one.url)): one for one in listed}
        top = f"{(self._store / FOLDER).url}/"
        urls = sorted(one.url for one in listed if one.url.startswith(top))
        for url, data in zip(urls, stores.together(stores.read, urls), strict=True):
            if isinstance(data, InputError):
                raise data
            self._check(StorePath(url), data)
            self._lines.add(data)
        numbers = (StorePath(url).name.partition("-")[0] for url in urls)
        self._last = max((int(one) for one in numbers if one.isdecimal()), default=0)
