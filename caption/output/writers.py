"""Captions on paper: text, JSON lines, CSV, a web page; and a table that grows as photographs are described.

Comes in: a photograph's path and its caption. Goes out: lines, on standard output or in a file that an
interrupted run goes on with.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from common.errors import InputError

if TYPE_CHECKING:
    from caption.captioner import Caption

# One file a photograph, and one table for all photographs.
FILES, TABLES = ("txt",), ("jsonl", "csv", "html")
FORMATS = FILES + TABLES

# A page needs no closing tags (HTML, 13.1.2.4), so it is whole after each photograph.
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Captions</title>
<style>
:root { color-scheme: light dark; font: 1rem/1.45 system-ui, sans-serif }
body { margin: 1rem; display: grid; gap: 1.5rem 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)) }
figure { margin: 0 } img { max-width: 100%; border-radius: .4rem }
small { display: block; opacity: .7; overflow-wrap: anywhere }
</style>
"""
_FIGURE = re.compile(r'^<figure data-path="([^"]*)">', re.MULTILINE)
_THUMBNAIL = 320  # pixels of its longer side

CSV_COLUMNS = ("path", "caption", "confidence")


def as_text(caption: Caption) -> str:
    """The caption on a line of its own."""
    return f"{caption.text}\n"


def as_named_text(path: str, caption: Caption) -> str:
    """Path, tab, caption: what a list of several photographs needs."""
    return f"{path}\t{caption.text}\n"


def as_json(path: str, caption: Caption) -> str:
    """One JSON object on a line: `path`, `caption`, `confidence` (0 to 1), `log_prob` (nats).

    `alternatives` are the runners-up, best first, with the same fields but `path`: as many as the search
    followed beside the best.
    """
    fields = {
        "path": path,
        **_scored(caption),
        "alternatives": [_scored(other) for other in caption.alternatives],
    }
    line = json.dumps(fields, ensure_ascii=False)
    # A file's name need not be UTF-8; escaped, it is at least JSON, and Python reads it back as it was.
    return f"{line if _is_unicode(line) else json.dumps(fields)}\n"


def _scored(caption: Caption) -> dict[str, str | float]:
    """A caption with its scores."""
    return {
        "caption": caption.text,
        "confidence": round(caption.confidence, 4),
        "log_prob": round(caption.log_prob, 4),
    }


def as_csv(path: str, caption: Caption) -> str:
    """One row of a table with the columns `CSV_COLUMNS`."""
    return _csv_row(path, caption.text, f"{caption.confidence:.4f}")


def as_html(path: str, caption: Caption, picture: str | BinaryIO | None = None) -> str:
    """One figure of a page, on a line: thumbnail, caption, path; the caption is its alt text, too.

    Args:
        path: of the photograph, as the page names it.
        caption: of the photograph.
        picture: the photograph itself; None if it lies at its path.

    Raises:
        InputError: if the photograph cannot be read.
    """
    from caption.images import open_image

    image, small = open_image(path if picture is None else picture), io.BytesIO()
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    image.save(small, "JPEG", quality=80)
    name, text = (
        html.escape(one).replace("\n", "&#10;").replace("\r", "&#13;") for one in (path, caption.text)
    )
    source = base64.b64encode(small.getvalue()).decode()
    return (
        f'<figure data-path="{name}"><img src="data:image/jpeg;base64,{source}" alt="{text}" '
        f'width="{image.width}" height="{image.height}" loading="lazy">'
        f"<figcaption>{text} <small>{name}</small></figcaption></figure>\n"
    )


def header(format: str) -> str:
    """What stands above a table's first row."""
    return {"csv": _csv_row(*CSV_COLUMNS), "html": _PAGE}.get(format, "")


def as_row(format: str, path: str, caption: Caption, open_: Callable[[str], str | BinaryIO] = str) -> str:
    """One row of a table; `open_` gives a photograph by its path, for its thumbnail."""
    if format == "html":
        return as_html(path, caption, open_(path))
    return {"csv": as_csv, "jsonl": as_json}[format](path, caption)


class CaptionTable:
    """A file with one row a photograph, in which an interrupted run goes on.

    A row is appended in one piece, and a last line that a killed process tore is dropped when the table
    is opened again; so the file is always whole. It is made with its first row.

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
        path: Path,
        format: str,
        overwrite: bool = False,
        open_: Callable[[str], str | BinaryIO] = str,
    ) -> None:
        self.path = path
        self.format = format
        self.open_ = open_
        self.paths: set[str] = set()
        self._whole = 0  # bytes up to the end of the last whole row
        if not overwrite:
            self.paths, self._whole = _read_table(path, format)

    def add(self, path: str, caption: Caption) -> None:
        """Append a photograph's row.

        Raises:
            InputError: if the file cannot be written.
        """
        row = as_row(self.format, path, caption, self.open_)
        text = row if self._whole else header(self.format) + row
        data = text.encode("utf-8", "surrogateescape")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if self.path.is_file():  # a pipe or a device has no torn row to drop
                    file.truncate(self._whole)
                file.write(data)
        except OSError as error:
            raise InputError(self.path, f"cannot be written: {error.strerror}") from error
        self._whole += len(data)
        self.paths.add(path)


def _read_table(path: Path, format: str) -> tuple[set[str], int]:
    """The photographs that a table holds, and its bytes up to the end of the last whole row."""
    if not path.is_file():
        return set(), 0
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    whole = data.rfind(b"\n") + 1
    # Somebody else's file must not be taken for a torn table, and cut.
    opening = header(format).encode() or b'{"path": '
    try:
        if data[: len(opening)] != opening[: len(data)]:
            raise ValueError("begins otherwise")
        text = data[:whole].decode("utf-8", "surrogateescape")
        if format == "html":
            return {html.unescape(name) for name in _FIGURE.findall(text)}, whole
        if format == "csv":
            return {row["path"] for row in csv.DictReader(io.StringIO(text, newline=""))}, whole
        return {json.loads(line)["path"] for line in text.split("\n") if line}, whole
    except (ValueError, KeyError, TypeError, csv.Error):
        reason = f"is there, and is not {format} with captions; choose another file, or --overwrite it"
        raise InputError(path, reason) from None


def _csv_row(*fields: str) -> str:
    """Fields as a row that every spreadsheet reads."""
    file = io.StringIO(newline="")
    # Python below 3.13 leaves a lone carriage return bare if lines end otherwise; then all is quoted.
    risky = "\r" in "".join(fields)
    csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if risky else csv.QUOTE_MINIMAL).writerow(
        fields
    )
    return file.getvalue()


def _is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
