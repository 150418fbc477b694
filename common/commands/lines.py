"""Lines of a file, found by what they are about: a million of them, of which most are never looked at.

Comes in: a file to which lines are added, or their bytes. Goes out: the lines about something, the newest
first. Kept are sixteen bytes a line: the hash of what it is about, and where it begins. The lines themselves
stay in the file if that is large.
"""

from __future__ import annotations

import io
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

_LARGE = 1 << 20  # bytes of a file that stays open; there may be thousands of smaller ones
_MANY = 1 << 12  # lines that are worth sorting


class Lines:
    """Lines in the order in which they were written.

    Args:
        subject: what a line, without its end, is about; None if about nothing.
    """

    def __init__(self, subject: Callable[[bytes], bytes | None]) -> None:
        self._subject = subject
        self._file: BinaryIO = io.BytesIO()
        self._end = 0  # of the last whole line that was read
        # Hashes and places of lines: those that were read last as they came, a few before them by hash, and
        # all the others sorted by hash.
        self._new = array("q"), array("q")
        self._few: dict[int, list[int]] = defaultdict(list)
        self._sorted = memoryview(array("q")), memoryview(array("q"))

    @property
    def is_empty(self) -> bool:
        """Whether no line is about anything."""
        return not (self._new[0] or self._few or len(self._sorted[0]))

    def read(self, path: Path) -> None:
        """Take up what a file holds beyond what was read of it before, as far as lines have ended.

        Raises:
            OSError: if it cannot be read.
        """
        if isinstance(self._file, io.BytesIO):
            file = path.open("rb")
            if not self._end and path.stat().st_size > _LARGE:
                self._file = file
            else:
                with file:
                    file.seek(self._end)
                    self.add(file.read())
                return
        self._index()

    def add(self, data: bytes) -> None:
        """Take up lines that are in no file; what stands behind the last whole one is left out."""
        self._file.seek(self._end)
        self._file.write(memoryview(data)[: data.rfind(b"\n") + 1])
        self._index()

    def about(self, subject: bytes) -> Iterator[bytes]:
        """The lines about something, without their ends, the newest first."""
        if self._new[0]:
            self._settle()
        key = hash(subject)
        places = self._found(key)
        if self._few:
            places += self._few.get(key, [])
        for start in reversed(places):
            self._file.seek(start)
            line = self._file.readline().removesuffix(b"\n")
            if self._subject(line) == subject:
                yield line

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def _index(self) -> None:
        """Note where the lines behind the last one begin."""
        hashes, starts = self._new
        self._file.seek(self._end)
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            subject = self._subject(line[:-1])
            if subject is not None:
                hashes.append(hash(subject))
                starts.append(self._end)
            self._end += len(line)

    def _settle(self) -> None:
        """Make the lines that were read last ready to be found."""
        hashes, starts = self._new
        self._new = array("q"), array("q")
        if len(hashes) < _MANY:
            for key, start in zip(hashes, starts, strict=True):
                self._few[key].append(start)
            return
        import numpy as np

        few = array("q", (key for key, places in self._few.items() for _ in places))
        known = few, array("q", chain.from_iterable(self._few.values()))
        self._few.clear()
        parts = [part for part in (self._sorted, known, (hashes, starts)) if len(part[0])]
        columns = [
            np.concatenate([np.frombuffer(part[column], np.int64) for part in parts])
            if len(parts) > 1
            else np.frombuffer(parts[0][column], np.int64)
            for column in (0, 1)
        ]
        order = columns[0].argsort(kind="stable")
        self._sorted = columns[0][order].data, columns[1][order].data

    def _found(self, key: int) -> list[int]:
        """Where lines of a hash begin, among those that are sorted."""
        hashes, starts = self._sorted
        first = last = bisect_left(hashes, key)
        while last < len(hashes) and hashes[last] == key:
            last += 1
        return starts[first:last].tolist()
