"""What outputs are made from: inputs with their state, as they are reached from the folder of the outputs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from common.commands.inputs import Input, resolved_place
from common.locations import Location, StorePath
from common.stores import is_url


@dataclass(frozen=True, slots=True)
class Source:
    """What an output is made from.

    Attributes:
        path: of the input, as it is reached from the folder of the outputs, so that both can be moved
            together; its URL; or "-" for standard input, which is never the same twice.
        size: of its file, in bytes.
        changed: when the file was last changed, in nanoseconds; of a URL, `common.stores.Stored.changed`.
        digest: of what counts in it, where that may stay the same though the file changes; else empty.
    """

    path: str
    size: int = 0
    changed: int = 0
    digest: str = field(default="", compare=False)

    @staticmethod
    def of(one: Input, folder: Location) -> Source:
        """The state of an input now; `folder` is that of the outputs, resolved."""
        return Sources(folder).of(one)


class Sources:
    """The states of many inputs, whose folders are looked up once.

    Args:
        folder: that of the outputs, resolved.
    """

    def __init__(self, folder: Location) -> None:
        self._folder = folder
        self._resolved: dict[str, str] = {}
        self._relative: dict[str, str] = {}

    def place(self, one: Input) -> tuple[str, str]:
        """Where an input lies, as `Input.location` says it: its folder, and its name there."""
        return resolved_place(one.path, self._resolved)

    def relative(self, one: Input) -> str:
        """An input's path, as it is reached from the folder of the outputs."""
        named = one.path == "-" or is_url(one.path)
        return one.path if named else self._reached(*self.place(one))

    def _reached(self, folder: str, name: str) -> str:
        """The path of a file in a folder, as it is reached from the folder of the outputs."""
        if folder not in self._relative:
            try:
                here = not isinstance(self._folder, StorePath)
                self._relative[folder] = os.path.relpath(folder, self._folder) if here else folder
            except ValueError:  # on another drive
                self._relative[folder] = folder
        inner = self._relative[folder]
        return name if inner == os.curdir else os.path.join(inner, name)  # noqa: PTH118

    def of(self, one: Input) -> Source:
        """The state of an input now."""
        if one.path == "-" or is_url(one.path):
            return Source(one.path, *(one.state or ()))
        folder, name = self.place(one)
        path = self._reached(folder, name)
        try:
            # pathlib's raises for a path that is too long.
            state = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118
        except (OSError, ValueError):
            return Source(path)
        return Source(path, state.st_size, state.st_mtime_ns)
