"""Files that are written whole or not at all, whoever else writes there and whenever a kill comes."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import InputError
from common.errors import OutputError as OutputError

_PART = ".part"  # ends the names of files that are being written
_ABANDONED = (
    3600.0  # seconds after which such a file belongs to a process that was killed: no write takes so long
)
_ENOUGH = 1 << 20  # bytes that must be free before work begins

# What hinders the next file as it hinders this one.
_HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def write_whole(
    path: Path, data: str | bytes, announce: Callable[[os.stat_result], None] | None = None
) -> None:
    """Write a file whole or not at all; folders above it are made, text becomes UTF-8.

    The data goes to a hidden file of its own in the same folder, to the disk, and then takes the file's
    place. Several processes may write the same file: it is always whole, and one of theirs.

    Args:
        path: of the file.
        data: all that it is to hold.
        announce: called when the data is on the disk, before it takes the file's place, with the state that
            the file will have (its size, and the time of its last change).

    Raises:
        OutputError: if nothing can be written there.
        InputError: if this file cannot be written.
    """
    data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    try:
        if path.exists() and not path.is_file():  # a device, a pipe: there is no whole file to be had
            path.write_bytes(data)
            return
        with taking_place_of(path) as part:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if announce is not None:
                announce(part.stat())
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def taking_place_of(path: Path) -> Iterator[Path]:
    """A hidden name for a file that takes another's place in the end, or is removed if an error comes first.

    Folders above it are made. Each process that writes the same file has a name of its own.

    Raises:
        OSError: as it comes.
    """
    part = part_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(path.parent)
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """A hidden name beside a path for what is to take its place: short, and given to nobody else."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".{digest}.{secrets.token_hex(6)}{_PART}")


@functools.lru_cache(maxsize=256)
def clear_abandoned(folder: Path) -> None:
    """Remove what killed processes left in a folder; once in the life of a process."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(_PART):
                with suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED:
                        _remove(Path(entry.path))


def require_writable(folder: Path) -> None:
    """Make sure that files can be written in a folder: before hours of work, not after.

    One that is not there is not made, because the work may never begin: the nearest one above it is asked.

    Raises:
        OutputError: if nobody may write there, or the disk is full.
        InputError: if the folder cannot be made.
    """
    try:
        there = _nearest(folder)
        part = part_of(there / "file")
        part.touch(exist_ok=False)
        part.unlink()
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise write_error(folder, error) from error
    if free < _ENOUGH:
        raise OutputError(
            folder, f"the disk is full ({free // 1024} kB free); make room or name another place"
        )


def require_writable_file(path: Path) -> None:
    """As `require_writable`, for the folder of one file; a device or a pipe need not have one.

    Raises:
        OutputError, InputError: as there.
    """
    try:
        has_folder = path.is_file() or not path.exists()
    except OSError as error:
        raise write_error(path, error) from error
    if has_folder:
        require_writable(path.parent)


def file_identity(path: Path) -> tuple[str, int, int]:
    """Which file this is, as it stands today: its absolute path, its size and the time of its last change.

    Raises:
        InputError: if there is no such file.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    return str(path.resolve()), state.st_size, state.st_mtime_ns


def write_error(path: Path, error: OSError) -> InputError:
    """What is said of a file that cannot be written, and whether another could be."""
    kind = OutputError if error.errno in _HOPELESS else InputError
    return kind(path, f"cannot be written: {error.strerror or error}")


def _nearest(folder: Path) -> Path:
    """A folder, or what is there of those above it; a link that leads nowhere is there."""
    for place in (folder, *folder.parents):
        with suppress(FileNotFoundError):
            place.lstat()
            return place
    return folder


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
