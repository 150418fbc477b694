"""What a person sees of a training: a bar on a terminal, a line a minute elsewhere, a table of figures."""

from __future__ import annotations

import csv
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from common.files import write_error


def say(line: str) -> None:
    """A line on standard error, above a bar if there is one; of several processes the first speaks."""
    if _is_first():
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()


class Means:
    """Means of what is logged, by name, since they were last cleared."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor | float, int]] = {}

    def add(self, name: str, value: Tensor | float, weight: int) -> None:
        """Count a value; it stays on its device, so that no step waits for it."""
        total, weights = self._sums.get(name, (0.0, 0))
        value = value.detach() if isinstance(value, Tensor) else value
        self._sums[name] = (total + value * weight, weights + weight)

    def values(self) -> dict[str, float]:
        """The means."""
        return {name: float(total) / weight for name, (total, weight) in self._sums.items()}

    def clear(self) -> None:
        """Begin anew."""
        self._sums = {}


class Progress:
    """The bar or the lines: steps, means and the time to the end.

    Args:
        done: steps that were done before.
        total: steps of the run.
    """

    def __init__(self, done: int, total: int) -> None:
        hidden = not (_is_first() and sys.stderr.isatty())
        self._bar = tqdm(initial=done, total=total, unit="step", disable=hidden, dynamic_ncols=True)
        self._began, self._first, self._total = time.monotonic(), done, total
        self._seconds = 60.0 if self._bar.disable else 1.0
        self._shown = -math.inf

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()

    def step(self, step: int, means: Means) -> None:
        """Show that a step is done, if it is time."""
        self._bar.update()
        now = time.monotonic()
        if now - self._shown < self._seconds:
            return
        self._shown = now
        figures = "  ".join(f"{name} {value:.3f}" for name, value in means.values().items())
        if not self._bar.disable:
            self._bar.set_postfix_str(figures, refresh=False)
            return
        pace = (now - self._began) / (step - self._first)
        left = pace * (self._total - step) / 60.0
        say(f"step {step}/{self._total}  {figures}  {pace:.2f} s a step, {left:.0f} min left")


def append_metrics(path: Path, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
    """Add figures to a CSV table of `epoch,step,name,value`.

    A run that was killed does some steps again: their rows stand there twice, and are alike.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                rows.writerow(["epoch", "step", "name", "value"])
            rows.writerows([epoch, step, name, value] for name, value in metrics.items())
    except OSError as error:
        raise write_error(path, error) from error


def _is_first() -> bool:
    """Whether this process is alone, or the first of several."""
    return not dist.is_initialized() or dist.get_rank() == 0
