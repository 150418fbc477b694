"""A manifest: a TSV file with a header in, rows out, or an error with its line number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common import stores
from common.errors import InputError
from common.locations import Location, StorePath, read_location


def read_manifest(path: Location, columns: Sequence[str], urls: bool = False) -> list[dict[str, str]]:
    """Read a manifest.

    The file is UTF-8; fields are separated by one tab and nothing is quoted, so that a field may hold
    quotation marks but no tab. Empty lines are passed over.

    Args:
        path: the TSV file.
        columns: columns that it must have; others are read as well.
        urls: whether files may lie behind URLs, as the manifest itself may. They are not asked for here.

    Returns:
        One dictionary a row, by column. A column `path` is resolved: it was relative to the manifest's
        folder, and is now a path that can be opened, or a URL.

    Raises:
        InputError: with the line number, if a column is missing or doubled, a line has too few or too
            many fields, or a file that `path` names does not exist; or if there are no rows.
    """
    lines = _lines(path)
    header = lines[0].split("\t")
    missing = [column for column in columns if column not in header]
    if missing:
        raise InputError(path, f"line 1: no column {missing[0]!r}; the header has {', '.join(header)}")
    doubled = [column for column in header if header.count(column) > 1]
    if doubled:
        raise InputError(path, f"line 1: column {doubled[0]!r} stands there twice")
    rows = []
    known: set[str] = set()  # captions name a photograph five times
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        fields = line.split("\t")
        if len(fields) != len(header):
            raise InputError(path, f"line {number}: {len(fields)} fields where the header has {len(header)}")
        row = dict(zip(header, fields, strict=True))
        if "path" in row:
            row["path"] = _existing(path, number, row["path"], known, urls)
        rows.append(row)
    if not rows:
        raise InputError(path, "no rows under the header")
    return rows


def _lines(path: Location) -> list[str]:
    """The lines of a UTF-8 file, without their ends; there is at least one."""
    data = read_location(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InputError(path, f"line {number}: not UTF-8") from error
    if not text.strip():
        raise InputError(path, "is empty")
    # Not `splitlines`, which also parts a line at characters that may stand in a sentence.
    return [line.removesuffix("\r") for line in text.split("\n")]


def _existing(manifest: Location, number: int, name: str, known: set[str], urls: bool) -> str:
    """The path of a file that a row names."""
    if urls and name and (stores.is_url(name) or isinstance(manifest, StorePath)):
        return name if stores.is_url(name) else str(manifest.parent / name)
    resolved = str(manifest.parent / name)
    if not name or (resolved not in known and not Path(resolved).is_file()):
        raise InputError(manifest, f"line {number}: no file {name!r} beside the manifest")
    known.add(resolved)
    return resolved
