"""Captions on paper: text, JSON lines, CSV, a web page.

Comes in: a photograph's path and its caption. Goes out: lines, for standard output or a table.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from common.errors import shown

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
_THUMBNAIL = 320  # pixels of its longer side

CSV_COLUMNS = ("path", "caption", "confidence")


def as_text(caption: Caption) -> str:
    """The caption on a line of its own."""
    return f"{caption.text}\n"


def as_named_text(path: str, caption: Caption) -> str:
    """Path, tab, caption: what a list of several photographs needs; an end of a line in its path is `\\n`."""
    return f"{shown(path)}\t{caption.text}\n"


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
