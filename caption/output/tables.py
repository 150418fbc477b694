"""A table of captions that grows as photographs are described: JSON lines, CSV or a web page.

Comes in: photographs and their captions. Goes out: a file with a row for each, with which an interrupted run
goes on.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from caption.output.writers import as_row, header
from common.errors import InputError
from common.files import write_error, write_whole
from common.locations import Location, StorePath
from common.stores import find_one

if TYPE_CHECKING:
    from caption.captioner import Caption

_PUT_SECONDS = 30.0  # after which a table that has grown is put on its store again

_FIGURE = re.compile(r'<figure data-path="([^"]*)">.*?<figcaption>(.*?) <small>')


class CaptionTable:
    """A file with one row a photograph, in which an interrupted run goes on.

    A row is appended in one piece, and a last line that a killed process tore is dropped when the table
    is opened again; so the file is always whole. It is made with its first row. A photograph that is
    described again gets a new row, which counts; its old one stands there until the table is closed.

    A table on a store is kept here meanwhile; it is put there now and then, and when it is closed.

    Attributes:
        path: of the file.
        captions: by their photographs' paths, as they stand in the file.
        remembers: rows can be read again: it is no pipe and no device.

    Args:
        path: the file.
        format: of its rows.
        overwrite: begin again, with the first row.
        open_: gives a photograph by its path, for thumbnails.

    Raises:
        InputError: if the file is there and is no such table.
    """

    def __init__(
        self,
        path: Location,
        format: str,
        overwrite: bool = False,
        open_: Callable[[str], str | BinaryIO] = str,
    ) -> None:
        self.path = path
        self._folder: TemporaryDirectory[str] | None = None
        self._put_at: float | None = None  # when rows were first added that the store does not have
        self._file = self._local(path)
        self.remembers = self._file.is_file() or not self._file.exists()
        self.format = format
        self.open_ = open_
        self.captions: dict[str, str] = {}
        self._whole = 0  # bytes up to the end of the last whole row
        self._outdated = False  # some photograph has two rows
        if not overwrite:
            rows, self._whole = _read_table(self._file, path, format)
            named = [(name, caption) for name, caption, _ in rows if name is not None]
            self.captions = dict(named)
            self._outdated = len(self.captions) < len(named)

    def add(self, path: str, caption: Caption) -> None:
        """Append a photograph's row.

        Raises:
            InputError: if the file cannot be written.
        """
        row = as_row(self.format, path, caption, self.open_)
        text = row if self._whole else header(self.format) + row
        data = text.encode("utf-8", "surrogateescape")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                if self._file.is_file():  # a pipe or a device has no torn row to drop
                    file.truncate(self._whole)
                file.write(data)
        except OSError as error:
            raise write_error(Path(self.path), error) from error
        self._whole += len(data)
        self._outdated = self._outdated or path in self.captions
        self.captions[path] = caption.text
        self._put_at = self._put_at or time.monotonic()
        if time.monotonic() - self._put_at > _PUT_SECONDS:
            self._put()

    def close(self) -> None:
        """Leave out the rows of photographs that have got another.

        Raises:
            InputError: if the file cannot be read or written.
        """
        self._leave_out_outdated()
        self._put()
        if self._folder is not None:
            self._folder.cleanup()

    def _local(self, path: Location) -> Path:
        """The file to which rows are added: a copy, where the table is on a store."""
        if not isinstance(path, StorePath):
            return path
        self._folder = TemporaryDirectory(prefix="recurrent-suite-")
        file = Path(self._folder.name) / path.name
        if find_one(path.url) is not None:
            file.write_bytes(path.read_bytes())
        return file

    def _put(self) -> None:
        """Put a table on its store, if rows were added that it does not have there."""
        if isinstance(self.path, StorePath) and self._put_at is not None:
            self.path.write_bytes(self._file.read_bytes()[: self._whole])
        self._put_at = None

    def _leave_out_outdated(self) -> None:
        """Write the file without the rows of photographs that have got another."""
        if not self._outdated or not self._file.is_file():
            return
        rows, _ = _read_table(self._file, self.path, self.format)
        last = {name: number for number, (name, _, _) in enumerate(rows)}
        kept = [raw for number, (name, _, raw) in enumerate(rows) if name is None or last[name] == number]
        write_whole(self._file.resolve(), "".join(kept))
        self._outdated, self._whole = False, self._file.stat().st_size


_Row = tuple[str | None, str, str]  # path, caption, and the row as it is written; no path: what is no row


def _read_table(file: Path, path: Location, format: str) -> tuple[list[_Row], int]:
    """The whole rows of a table with what stands above them, and how many bytes these are.

    Args:
        file: that holds it.
        path: what it is called.
        format: of its rows.
    """
    if not file.is_file():
        return [], 0
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    whole = data.rfind(b"\n") + 1
    # Somebody else's file must not be taken for a torn table, and cut.
    opening = header(format).encode() or b'{"path": '
    try:
        if data[: len(opening)] != opening[: len(data)]:
            raise ValueError("begins otherwise")
        return list(_rows(data[:whole].decode("utf-8", "surrogateescape"), format)), whole
    except (ValueError, KeyError, TypeError, IndexError, csv.Error, RecursionError):
        reason = f"is there, and is not {format} with captions; choose another file, or --overwrite it"
        raise InputError(path, reason) from None


def _rows(text: str, format: str) -> Iterator[_Row]:
    """The rows of a table, with what stands above them."""
    if format == "csv":
        for number, raw in enumerate(_csv_records(text)):
            (fields,) = csv.reader(io.StringIO(raw, newline=""))
            yield (fields[0] if number and fields else None), fields[1] if fields else "", raw
        return
    for raw in _lines(text):
        if format == "html":
            found = _FIGURE.match(raw)
            name = None if found is None else html.unescape(found[1])
            yield name, "" if found is None else html.unescape(found[2]), raw
        elif raw.strip():
            row = json.loads(raw)
            yield row["path"], str(row["caption"]), raw


def _lines(text: str) -> Iterator[str]:
    """The lines of a text with their ends; no other character than a line feed ends one."""
    return (f"{line}\n" for line in text.split("\n")[:-1])


def _csv_records(text: str) -> Iterator[str]:
    """The records of a CSV file as they are written; a field in quotation marks may hold ends of lines."""
    record = ""
    for line in _lines(text):
        record += line
        if record.count('"') % 2 == 0:
            yield record
            record = ""
    if record:
        yield record
