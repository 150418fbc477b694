"""Where uploads lie: a folder for each page, gone when the page ends; what is old in it goes earlier.

Gradio asks the environment for the folder, which the whole process shares, and takes a file only if it lies
below that. So the environment names a folder with one folder for each page in it, and a page's own while that
page is built.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

# Uploads are looked over each ten minutes and deleted after an hour, and when the page ends.
LOOK_OVER_SECONDS, KEEP_SECONDS = 600.0, 3600.0

_VARIABLE = "GRADIO_TEMP_DIR"


class UploadFolders:
    """The folders of all pages of a process, which has one environment and so one of these."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._root: TemporaryDirectory[str] | None = None
        self._before: str | None = None  # what the environment said
        self._pages = 0

    @contextmanager
    def page(self) -> Iterator[Path]:
        """A folder for one page; it goes with the page, and the last page takes away what is left."""
        with self._lock:
            if self._root is None:
                self._before = os.environ.get(_VARIABLE)
                self._root = TemporaryDirectory(prefix="uploads-", ignore_cleanup_errors=True)
                os.environ[_VARIABLE] = self._root.name
            self._pages += 1
            root = self._root
        try:
            with TemporaryDirectory(prefix="page-", dir=root.name, ignore_cleanup_errors=True) as folder:
                yield Path(folder)
        finally:
            with self._lock:
                self._pages -= 1
                if self._pages == 0:
                    _set(self._before)
                    self._root = None
                    root.cleanup()

    @contextmanager
    def building(self, folder: Path) -> Iterator[None]:
        """Have what is built meanwhile keep its files in a page's folder; one page at a time."""
        with self._lock:
            root = os.environ.get(_VARIABLE)
            _set(str(folder))
            try:
                yield
            finally:
                _set(root)


def _set(value: str | None) -> None:
    """What the environment says from now on."""
    if value is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = value


FOLDERS = UploadFolders()


def look_over(folder: Path, keep: Set[Path], ended: threading.Event) -> None:
    """Delete old uploads, again and again until the page has ended.

    Args:
        folder: of the page.
        keep: what stays however old it is: the examples.
        ended: is set when the page has ended.
    """
    while not ended.wait(LOOK_OVER_SECONDS):
        delete_old(folder, KEEP_SECONDS, keep)


def delete_old(folder: Path, seconds: float, keep: Set[Path] = frozenset()) -> None:
    """Delete the files below a folder that nobody has written for so many seconds, but for those to keep."""
    for path in folder.rglob("*"):
        with suppress(OSError):  # it may have gone, or be in use
            if path.is_file() and path not in keep and time.time() - path.stat().st_mtime > seconds:
                path.unlink()


def files_below(folder: Path) -> frozenset[Path]:
    """All files below a folder."""
    return frozenset(path for path in folder.rglob("*") if path.is_file())
