"""What a person sees of a batch: a progress bar on a terminal, and a table of what became of each input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TextIO

from common.errors import InputError
from common.files import write_error
from common.locations import Location, StorePath

if TYPE_CHECKING:
    from tqdm import tqdm

BAR_DELAY = 1.0  # seconds before a meter is shown: what is quick needs none


class Meter:
    """What a progress bar counts in place of inputs, where they are of very unlike size: hours of sound.

    Args:
        unit: what is counted.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.total = 0.0
        self.done = 0.0
        self.show: Callable[[], object] | None = None  # `progress_bar` sets it

    def expect(self, amount: float) -> None:
        """So much more is to be done; what is not known before need not be said. May come from a thread."""
        self.total += amount

    def advance(self, amount: float) -> None:
        """So much more is done."""
        self.done += amount
        if self.show is not None:
            self.show()


def progress_bar(inputs: int, unit: str, meter: Meter | None) -> tqdm:
    """The progress bar over the inputs or what the meter counts; it shows nothing but on a terminal."""
    from tqdm import tqdm

    if meter is None:
        return tqdm(total=inputs, unit=unit, disable=inputs < 2 or not sys.stderr.isatty())
    form = f"{{percentage:3.0f}}%|{{bar}}| {{n:.2f}}/{{total:.2f}} {meter.unit} [{{elapsed}}<{{remaining}}]"
    bar = tqdm(total=1.0, bar_format=form, delay=BAR_DELAY, disable=not sys.stderr.isatty())

    def show() -> None:
        bar.total = max(meter.total, meter.done)
        bar.update(meter.done - bar.n)

    meter.show = show
    return bar


class Report:
    """The report's table, written line by line; nothing if there is no path.

    For a store it is written here, and put there when all is done, even if all was not.
    """

    def __init__(self, path: Location | None, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = columns
        self.file: TextIO | None = None
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Report:
        if self.path is not None:
            try:
                self.file = self._local(self.path).open(
                    "w", encoding="utf-8", errors="surrogateescape", newline="\n"
                )
            except OSError as error:
                raise InputError(self.path, f"the report cannot be written: {error.strerror}") from error
            self._write(["path", "status", "seconds", *self.columns, "reason"])
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()
        if self._folder is not None and isinstance(self.path, StorePath):
            with self._folder as folder:
                self.path.write_bytes((Path(folder) / "report").read_bytes())

    def _local(self, path: Location) -> Path:
        """Where it is written; the folder is made."""
        if isinstance(path, StorePath):
            self._folder = TemporaryDirectory(prefix="recurrent-suite-")
            return Path(self._folder.name) / "report"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, path: str, status: str, seconds: float, details: Sequence[str], reason: str = "") -> None:
        """Write what became of one input."""
        self._write([path, status, f"{seconds:.3f}", *details, reason])

    def _write(self, fields: Sequence[str]) -> None:
        if self.file is not None and self.path is not None:
            escaped = [field.translate({9: "\\t", 10: "\\n", 13: "\\r"}) for field in fields]
            try:
                print("\t".join(escaped), file=self.file, flush=True)
            except OSError as error:
                self.file = None  # what is in its buffer would fail again when it is closed
                raise write_error(Path(self.path), error) from error
