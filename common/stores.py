"""Files behind URLs: what is there, its bytes, and a file put in its place; by fsspec.

Comes in: a URL of any protocol that fsspec knows (`s3://`, `gs://`, `https://`, `memory://`). Goes out:
bytes, states and listings, or an `InputError` in one line. fsspec is imported with the first URL.
Credentials, endpoints and timeouts are its own settings: it reads them from the environment and its
configuration files.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeVar

from common.errors import InputError, OutputError

Given = TypeVar("Given")
Answer = TypeVar("Answer")

ATTEMPTS = 4  # at what may pass: a connection that drops, a server that is busy
PAUSE_SECONDS = 0.5  # before the second; each further one waits twice as long
CONNECT_SECONDS = 15.0  # until an HTTP server answers,
SILENCE_SECONDS = 60.0  # and between two pieces of what it sends; fsspec's own bound is for the whole

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")  # one letter alone is a drive
_PIECE = 8 << 20  # bytes that are read at once
_TOGETHER = 16  # requests at a time
_BUSY = {408, 425, 429}  # HTTP statuses that pass, beside the server's own errors
_WHEN = ("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "modified", "created")
_BUGS = (TypeError, AttributeError, NameError, AssertionError)


def is_url(path: object) -> bool:
    """Whether a path is a URL."""
    return isinstance(path, str) and _URL.match(path) is not None


def is_http(url: str) -> bool:
    """Whether a URL is a web server's: it has no folders to search and takes no files."""
    return url.lower().startswith(("http://", "https://"))


@dataclass(frozen=True)
class Stored:
    """What stands behind a URL.

    Attributes:
        url: of it.
        size: in bytes; 0 where that is not told.
        changed: what is another number when the content is another: made from its ETag or, where there is
            none, from the time of its last change; 0 where neither is told.
        md5: of its content in hexadecimal, as far as the store says something that looks like it.
        is_folder: whether files lie below it.
    """

    url: str
    size: int = 0
    changed: int = 0
    md5: str | None = None
    is_folder: bool = False

    @staticmethod
    def of(url: str, info: Mapping[str, Any]) -> Stored:
        """What fsspec tells of a file, whose keys differ from store to store."""
        etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
        when = next((info[key] for key in _WHEN if info.get(key)), "")
        # Listed with others, a file may have another form of the same time.
        told = etag or str(when.timestamp() if isinstance(when, datetime) else when)
        changed = int.from_bytes(hashlib.sha256(told.encode()).digest()[:7], "big") if told else 0
        md5 = etag if re.fullmatch("[0-9a-f]{32}", etag) else None
        if info.get("md5Hash"):
            md5 = base64.b64decode(info["md5Hash"]).hex()
        return Stored(url, int(info.get("size") or 0), changed, md5, info.get("type") == "directory")


def look_up(url: str) -> Stored:
    """What stands behind a URL now.

    Raises:
        InputError: if there is nothing, or it cannot be asked for.
    """
    system, path = _opened(url)

    def ask() -> Stored:
        system.invalidate_cache()
        return Stored.of(url, system.info(path))

    return _asked(url, system, ask)


def find_one(url: str) -> Stored | None:
    """As `look_up`, but None if there is nothing.

    Raises:
        InputError: if it cannot be asked for.
    """
    try:
        return look_up(url)
    except InputError as error:
        if _is_missing(error):
            return None
        raise


def together(ask: Callable[[Given], Answer], given: Sequence[Given]) -> list[Answer | InputError]:
    """Ask a store several things at a time; in order, with errors in their places."""

    def asked(one: Given) -> Answer | InputError:
        try:
            return ask(one)
        except InputError as error:
            return error

    if not given:
        return []
    with ThreadPoolExecutor(min(_TOGETHER, len(given))) as pool:
        return list(pool.map(asked, given))


def find(url: str) -> list[Stored]:
    """The files below a URL, in the order of their names; none if there is nothing.

    Raises:
        InputError: if they cannot be listed.
    """
    return _listed(url, url, lambda system, path: system.find(path, detail=True))


def find_matching(pattern: str, root: str) -> list[Stored]:
    """The files that a glob matches, in the order of their names; `root` is what stands before its signs.

    Raises:
        InputError: if they cannot be listed.
    """
    return _listed(pattern, root, lambda system, path: system.glob(path, detail=True))


def read(url: str, most: int | None = None) -> bytes:
    """All that stands behind a URL.

    Args:
        url: of a file.
        most: bytes that are accepted; None for any number.

    Raises:
        InputError: if it cannot be read, or is larger.
    """
    data = io.BytesIO()
    download(url, data, most)
    return data.getvalue()


def download(url: str, file: BinaryIO, most: int | None = None) -> None:
    """Copy what stands behind a URL into an open, empty file, piece by piece.

    A connection that drops is made anew, and goes on where it dropped if the server lets it and the content
    is still the same; otherwise from the beginning. After `ATTEMPTS` it is given up.

    Raises:
        InputError: if it cannot be read to its end, is larger than `most` bytes, or `file` cannot be written.
    """
    system, path = _opened(url)

    def copy() -> None:
        system.invalidate_cache()  # a listing may be old
        found = Stored.of(url, system.info(path))
        if found.is_folder:
            raise InputError(url, "is a folder, not a file")
        _bound(url, found.size, most)
        start = file.tell() if copied.get("from") == found.changed != 0 else 0
        copied["from"] = found.changed
        file.seek(start)
        file.truncate()
        for piece in _pieces(system, path, found, start):
            if piece is None:  # the server begins anew
                file.seek(0)
                file.truncate()
            else:
                _write(url, file, piece)
                _bound(url, file.tell(), most)
        if found.size and file.tell() != found.size:
            copied.clear()
            raise ConnectionError(f"{file.tell()} of {found.size} bytes came")

    copied: dict[str, int] = {}
    _asked(url, system, copy)


def put(url: str, data: bytes) -> None:
    """Put a file in its place, whole or not at all.

    Object stores show a file when all of it has come; elsewhere it takes its place when it is whole.

    Raises:
        OutputError: if nothing can be written there.
        InputError: if this file cannot be written.
    """
    if is_http(url):
        raise OutputError(url, "a web server takes no files; write to a store or a folder")
    system, path = _opened(url)
    from fsspec.asyn import AsyncFileSystem
    from fsspec.implementations.memory import MemoryFileSystem

    def write() -> None:
        if isinstance(system, AsyncFileSystem | MemoryFileSystem):  # the object stores: one request
            system.pipe_file(path, data)
            return
        system.makedirs(system._parent(path), exist_ok=True)
        with system.open(path, "wb", autocommit=False) as file:
            file.write(data)
        file.commit()

    _asked(url, system, write, written=True)


@contextmanager
def local_copy(source: Given) -> Iterator[Given | str]:
    """A file that can be read to and fro: of a URL a temporary copy, with its suffix; all else as it is.

    Raises:
        InputError: if the URL cannot be read.
    """
    if not isinstance(source, str) or not is_url(source):
        yield source
        return
    with TemporaryDirectory(prefix="recurrent-suite-") as folder:
        path = Path(folder) / f"copy{Path(url_path(source)).suffix}"
        with path.open("w+b") as file:
            download(source, file)
        yield os.fspath(path)


def url_path(url: str) -> str:
    """A URL without the query that a web server's may have."""
    return re.split(r"[?#]", url, maxsplit=1)[0] if is_http(url) else url


def _opened(url: str) -> tuple[Any, str]:
    """What fsspec asks at a URL, and how the file is called there.

    Raises:
        ModuleNotFoundError: if a package of the extra `remote` is not installed.
        InputError: if there is no such protocol, or what it needs is not installed.
    """
    import fsspec

    options = _web_options() if is_http(url) else {}
    try:
        system, path = fsspec.url_to_fs(url, **options)
    except ImportError as error:
        missing = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else error
        if missing.name in ("s3fs", "gcsfs", "aiohttp"):
            raise missing from None
        raise InputError(url, f"cannot be asked for: {error}") from error
    except _BUGS:
        raise
    except Exception as error:
        raise InputError(url, f"cannot be asked for: {_said(error)}") from error
    return system, str(path)


def _web_options() -> dict[str, Any]:
    """How a web server is asked: as fsspec is configured, but for as long as it sends something.

    A timeout in the configuration, in seconds, is in place of ours.
    """
    from aiohttp import ClientTimeout
    from fsspec.config import conf

    configured = (conf.get("http", {}) | conf.get("https", {})).get("client_kwargs", {})
    seconds = configured.get("timeout")
    timeout = ClientTimeout(
        total=None, sock_connect=seconds or CONNECT_SECONDS, sock_read=seconds or SILENCE_SECONDS
    )
    return {"client_kwargs": {**configured, "timeout": timeout}}


def _listed(url: str, root: str, ask: Callable[[Any, str], Mapping[str, Any]]) -> list[Stored]:
    """Files of a listing, by URLs that begin as `root` does."""
    system, path = _opened(url)
    top, _ = str(system._strip_protocol(root)).rstrip("/"), system.invalidate_cache()

    def listed() -> list[Stored]:
        found = ask(system, path)
        return [
            Stored.of(f"{root.rstrip('/')}/{name.rstrip('/')[len(top) :].lstrip('/')}", info)
            for name, info in sorted(found.items())
            if info.get("type") != "directory" and name.startswith(top)
        ]

    try:
        return _asked(url, system, listed)
    except InputError as error:
        if _is_missing(error):
            return []
        raise


def _is_missing(error: InputError) -> bool:
    """Whether an error says that there is nothing."""
    cause = error.__cause__
    return isinstance(cause, FileNotFoundError) and _cause(cause) is cause


def _pieces(system: Any, path: str, found: Stored, start: int) -> Iterator[bytes | None]:
    """The bytes from `start` on; None before them if they come from the beginning after all."""
    if not is_http(found.url):
        for place in range(start, found.size, _PIECE):
            yield system.cat_file(path, start=place, end=min(place + _PIECE, found.size))
        system.invalidate_cache()
        if found.size > _PIECE and Stored.of(found.url, system.info(path)) != found:
            raise ConnectionError("it was changed while it was read")
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with system.open(path, "rb", block_size=0, headers=headers) as file:
        if start and file.r.status != 206:
            yield None
        while piece := file.read(_PIECE >> 3):
            yield piece


def _bound(url: str, size: int, most: int | None) -> None:
    """Refuse what is too large."""
    if most is not None and size > most:
        raise InputError(url, f"is too large (more than {most / 1e6:.0f} MB); make it smaller")


def _write(url: str, file: BinaryIO, piece: bytes) -> None:
    """Write a piece of a copy."""
    try:
        file.write(piece)
        file.flush()
    except OSError as error:
        reason = f"no room for a temporary copy: {error.strerror}"
        raise InputError(url, f"{reason}; TMPDIR may name another folder") from error


def _asked(url: str, system: Any, ask: Callable[[], Answer], written: bool = False) -> Answer:
    """What a store answers; what may pass is tried again, less often where fsspec does that itself."""
    attempts = 2 if hasattr(system, "retries") else ATTEMPTS
    for attempt in range(attempts):
        try:
            return ask()
        except (InputError, *_BUGS):
            raise
        except Exception as error:
            reason, passes, hopeless = _problem(_cause(error), written)
            if not passes or attempt == attempts - 1:
                kind = OutputError if written and hopeless else InputError
                raise kind(url, reason) from error
            time.sleep(PAUSE_SECONDS * 2**attempt)
    raise AssertionError("there is at least one attempt")


def _cause(error: BaseException) -> BaseException:
    """What is behind an error: over HTTP, fsspec says of all that it is not there."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or cause is None or hasattr(cause, "response"):
        return error
    return error if getattr(cause, "status", None) in (404, 410) else cause


def _problem(error: BaseException, written: bool) -> tuple[str, bool, bool]:
    """What is said of an error, whether it may pass, and whether the next file would meet it as well."""
    verb = "written" if written else "read"
    status = getattr(error, "status", None) or getattr(error, "code", None)
    if isinstance(error, FileNotFoundError):
        return ("there is no such bucket or folder" if written else "no such file"), False, written
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"):
        return f"may not be {verb}: no credentials were found ({_said(error)})", False, True
    refused = isinstance(error, PermissionError) or status in (401, 403)
    if refused or getattr(error, "errno", None) in (errno.EACCES, errno.EPERM):
        return f"may not be {verb}; check the credentials ({_said(error)})", False, True
    if isinstance(error, TimeoutError):
        return f"cannot be {verb}: no answer in time ({_said(error)})", True, False
    if isinstance(status, int) and 400 <= status < 500 and status not in _BUSY:
        return f"cannot be {verb}: the server answers {status} ({_said(error)})", False, False
    if isinstance(error, ValueError | NotImplementedError | IsADirectoryError):
        return f"cannot be {verb}: {_said(error)}", False, False
    return f"cannot be {verb}: the connection fails ({_said(error)})", True, False


def _said(error: BaseException) -> str:
    """An exception in a few words."""
    text = " ".join(str(error).split())
    return f"{text[:200]}" if text else type(error).__name__
