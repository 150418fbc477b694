"""Where a file is to be read or written: a path on this machine, or a place behind a URL.

`location` makes one of either from what somebody typed. A `StorePath` has as much of `pathlib.Path` as inputs
and outputs need, so that what plans and writes them is the same for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common import stores
from common.errors import InputError


@dataclass(frozen=True)
class StorePath:
    """A place behind a URL, which need not be there.

    Stores have no folders: what ends with a slash, or has no suffix, is meant as one.

    Attributes:
        url: of it.
    """

    url: str

    def __fspath__(self) -> str:
        return self.url

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str | PurePosixPath) -> StorePath:
        return StorePath(f"{self.url.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part, without a query."""
        return stores.url_path(self.url).rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The name's suffix with its dot, or nothing."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> StorePath:
        """The folder around it, with its slash; without a query."""
        head, _, _ = stores.url_path(self.url).rstrip("/").rpartition("/")
        return StorePath(f"{head}/")

    def with_name(self, name: str) -> StorePath:
        """Another file in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> StorePath:
        """The same name with another suffix."""
        return self.with_name(f"{self.name.removesuffix(self.suffix)}{suffix}")

    def relative_to(self, folder: StorePath) -> PurePosixPath:
        """Its path below a folder.

        Raises:
            ValueError: if it lies elsewhere.
        """
        top = f"{folder.url.rstrip('/')}/"
        if not self.url.startswith(top):
            raise ValueError(f"{self.url} is not below {top}")
        return PurePosixPath(self.url.removeprefix(top))

    def resolve(self) -> StorePath:
        """Itself: there are no links."""
        return self

    def is_dir(self) -> bool:
        """Whether it is meant as a folder; nobody is asked."""
        return self.url.endswith("/") or not self.suffix

    def read_bytes(self) -> bytes:
        """All of it.

        Raises:
            InputError: if it cannot be read.
        """
        return stores.read(self.url)

    def write_bytes(self, data: bytes) -> None:
        """Put it there, whole or not at all.

        Raises:
            InputError: if it cannot be written.
        """
        stores.put(self.url, data)


Location = Path | StorePath


def location(text: str) -> Location:
    """The place that somebody means by a path or a URL; `file://` is this machine."""
    if text.lower().startswith("file://"):
        return Path(text[len("file://") :])
    return StorePath(text) if stores.is_url(text) else Path(text)


def read_location(place: Location, what: str = "") -> bytes:
    """All of a file, wherever it is.

    Args:
        place: of the file.
        what: it is, for the error; may be left out.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return place.read_bytes()
    except OSError as error:
        raise InputError(place, f"{what} cannot be read: {error.strerror}".lstrip()) from error
