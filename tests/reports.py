"""What stands in the report of a command."""

from __future__ import annotations

import csv
from pathlib import Path


def rows(report: Path) -> list[dict[str, str]]:
    """A line an input, by column, and the line of status `total` at the end."""
    with report.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def rows_by_name(report: Path) -> dict[str, dict[str, str]]:
    """The same by the names of the inputs; the last line's is empty."""
    return {Path(row["path"]).name: row for row in rows(report)}
