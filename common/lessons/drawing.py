"""Pictures of the lessons, drawn with Pillow: lines on axes, and tables of numbers as shades.

Comes in: panels, each a `Chart` or a `Shades`. Goes out: one picture, the panels below each other.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from common.files import write_whole

# Readable on white, told apart by people who see red and green alike (Okabe and Ito 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")

_SCALE = 2  # everything is drawn so many times as large and made small again, which smooths its edges
_WIDTH, _LEFT, _TOP, _BOTTOM, _LEGEND = 900, 70, 34, 44, 250  # pixels of a panel and its margins
_PLOT, _ROW = 240, 18  # pixels: height of a chart's axes, height of a row of shades


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: for the legend.
        values: heights; what is infinite or no number leaves a gap.
        places: where they stand to the right; 0, 1, 2, ... if not given.
    """

    name: str
    values: Sequence[float]
    places: Sequence[float] | None = None

    def points(self) -> list[tuple[float, float]]:
        """Places and values."""
        places = range(len(self.values)) if self.places is None else self.places
        return list(zip(map(float, places), map(float, self.values), strict=True))


@dataclass(frozen=True)
class Chart:
    """Lines on axes.

    Attributes:
        title: above it.
        lines: at most sixteen; the second eight have the first eight's colours again, and are thin.
        across: what the places are.
        low, high: values at the lower and upper edge; what lies beyond is drawn on the edge.
        powers: the values' axis counts powers of ten.
    """

    title: str
    lines: Sequence[Line]
    across: str
    low: float
    high: float
    powers: bool = False


@dataclass(frozen=True)
class Shades:
    """A table of numbers as shades of grey: 0 is white, 1 is black.

    Attributes:
        title: above it.
        rows, columns: their names.
        values: (rows, columns), 0 to 1; what lies beyond is drawn as 0 or 1.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]


def draw(panels: Sequence[Chart | Shades]) -> Image.Image:
    """The panels below each other, 900 pixels wide."""
    heights = [_height(panel) for panel in panels]
    image = Image.new("RGB", (_WIDTH * _SCALE, sum(heights) * _SCALE), "white")
    pen = _Pen(ImageDraw.Draw(image))
    top = 0
    for panel, height in zip(panels, heights, strict=True):
        pen.text(_LEFT, top + 8, panel.title, size=15)
        if isinstance(panel, Chart):
            _draw_chart(pen, panel, top + _TOP)
        else:
            _draw_shades(pen, panel, top + _TOP)
        top += height
    return image.resize((_WIDTH, top), Image.Resampling.LANCZOS)


def write_png(path: Path, panels: Sequence[Chart | Shades]) -> None:
    """Draw panels into a PNG file, whole or not at all.

    Raises:
        InputError: if it cannot be written.
    """
    data = io.BytesIO()
    draw(panels).save(data, "PNG", optimize=True)
    write_whole(path, data.getvalue())


class _Pen:
    """Draws in pixels of the finished picture."""

    def __init__(self, drawing: ImageDraw.ImageDraw) -> None:
        self.drawing = drawing

    def text(
        self, x: float, y: float, text: str, color: str = "black", anchor: str = "la", size: int = 12
    ) -> None:
        font = ImageFont.load_default(size * _SCALE)
        self.drawing.text((x * _SCALE, y * _SCALE), text, fill=color, font=font, anchor=anchor)

    def line(self, points: Sequence[tuple[float, float]], color: str, width: float = 1.0) -> None:
        places = [(x * _SCALE, y * _SCALE) for x, y in points]
        self.drawing.line(places, fill=color, width=max(1, round(width * _SCALE)), joint="curve")

    def box(self, left: float, top: float, right: float, bottom: float, color: str) -> None:
        self.drawing.rectangle(
            (left * _SCALE, top * _SCALE, right * _SCALE - 1, bottom * _SCALE - 1), fill=color
        )


def _height(panel: Chart | Shades) -> int:
    """Pixels of a panel, margins included."""
    return _TOP + (_PLOT if isinstance(panel, Chart) else _ROW * len(panel.rows)) + _BOTTOM


def _draw_chart(pen: _Pen, chart: Chart, top: float) -> None:
    """Axes, lines and legend."""
    right = _WIDTH - _LEGEND
    places = [place for line in chart.lines for place, _ in line.points()]
    first, last = min(places), max(places)

    def across(place: float) -> float:
        return _LEFT + (right - _LEFT) * (place - first) / ((last - first) or 1.0)

    def down(value: float) -> float:
        low, high = (
            (math.log10(chart.low), math.log10(chart.high)) if chart.powers else (chart.low, chart.high)
        )
        height = (math.log10(value) if value > 0.0 else low) if chart.powers else value
        return top + _PLOT * (high - min(high, max(low, height))) / (high - low)

    for value in _ticks(chart):
        pen.line([(_LEFT, down(value)), (right, down(value))], "#dddddd")
        pen.text(_LEFT - 8, down(value), f"{value:.0e}" if chart.powers else f"{value:g}", anchor="rm")
    for place in (first, (first + last) / 2, last):
        pen.text(across(place), top + _PLOT + 6, f"{place:g}", anchor="ma")
    pen.text((_LEFT + right) / 2, top + _PLOT + 22, chart.across, anchor="ma")
    for number, line in enumerate(chart.lines):
        color, width = COLORS[number % len(COLORS)], 1.6 if number < len(COLORS) else 0.8
        drawn: list[tuple[float, float]] = []
        for place, value in [*line.points(), (0.0, math.nan)]:
            if math.isfinite(value):
                drawn.append((across(place), down(value)))
                continue
            if len(drawn) > 1:
                pen.line(drawn, color, width)
            drawn = []
        pen.text(right + 12, top + 16 * number, line.name, color)


def _ticks(chart: Chart) -> list[float]:
    """Values beside which a number stands: five, or the powers of ten, at most eight of them."""
    if not chart.powers:
        return [chart.low + (chart.high - chart.low) * part / 4 for part in range(5)]
    low, high = round(math.log10(chart.low)), round(math.log10(chart.high))
    return [10.0**power for power in range(low, high + 1, max(1, math.ceil((high - low) / 7)))]


def _draw_shades(pen: _Pen, shades: Shades, top: float) -> None:
    """Rows of shades with their names, names of columns below."""
    left = _LEFT + 90
    wide = min(40.0, (_WIDTH - 20 - left) / max(1, len(shades.columns)))
    for row, (name, values) in enumerate(zip(shades.rows, shades.values, strict=True)):
        upper = top + _ROW * row
        pen.text(left - 8, upper + _ROW / 2, name, anchor="rm")
        for column, value in enumerate(values):
            grey = round(255 * (1.0 - min(1.0, max(0.0, float(value)))))
            edge = left + wide * column
            pen.box(edge, upper, edge + wide, upper + _ROW - 1, f"#{grey:02x}{grey:02x}{grey:02x}")
    for column, name in enumerate(shades.columns):
        size = 12 if wide >= 20 else 9
        pen.text(
            left + wide * (column + 0.5), top + _ROW * len(shades.rows) + 4, name, anchor="ma", size=size
        )
