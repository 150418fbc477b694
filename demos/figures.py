"""Figures of the recurrence lab as HTML: lines on axes, shades over time, tables, the four shapes.

Comes in: numbers. Goes out: markup that is readable on light and dark pages, wide ones and narrow ones. What
is wider than the page is scrolled, by keyboard too.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demos.sound import data_url

Floats = NDArray[np.float32]

# Lines are told apart by colour, which the page's style gives, and by dashes.
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 260, 58, 12, 12, 40
_PIXEL = 4  # of a unit's row in a picture

# -1, 0 and 1, and 0 to 1: told apart by people who see red and green alike.
_DIVERGING = np.array([[0, 78, 152], [247, 247, 247], [179, 67, 0]], np.float32)
_RISING = np.array([[255, 255, 255], [110, 150, 190], [8, 36, 80]], np.float32)


def figure(title: str, content: str, note: str = "") -> str:
    """A figure under its heading; `content` is markup, the rest is text."""
    below = f"<figcaption>{html.escape(note)}</figcaption>" if note else ""
    name = html.escape(title)
    return (
        f'<h2>{name}</h2><figure><div class="wide" tabindex="0" role="region" aria-label="{name}">'
        f"{content}</div>{below}</figure>"
    )


def chart(
    lines: Mapping[str, Sequence[float]],
    across: str,
    low: float,
    high: float,
    powers: bool = False,
    last: float | None = None,
) -> str:
    """Lines on axes, and what each is.

    Args:
        lines: heights by name, at most four; what is no finite number ends a line.
        across: what stands to the right.
        low, high: heights at the lower and the upper edge; what lies beyond is drawn on the edge.
        powers: heights count powers of ten.
        last: what the last value's place is called; places count from 0 if it is not given.
    """
    scale = math.log10 if powers else float
    bottom, top = scale(low), scale(high)
    right, base = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    most = max(1, max(map(len, lines.values())) - 1)

    def down(value: float) -> float:
        height = scale(max(value, low) if powers else value)
        return base - (base - _TOP) * (min(top, max(bottom, height)) - bottom) / (top - bottom)

    parts = []
    for tick in _ticks(low, high, powers):
        label = f"{tick:.0e}" if powers else f"{tick:g}"
        y = down(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for share in (0.0, 0.5, 1.0):
        place = round(share * most) if last is None else share * last
        x = _LEFT + (right - _LEFT) * share
        anchor = "end" if share == 1.0 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{base + 16}" text-anchor="{anchor}">{place:.3g}</text>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{base + 32}" text-anchor="middle">{html.escape(across)}</text>')
    for number, values in enumerate(lines.values()):
        points = []
        for place, value in enumerate(values):
            if not math.isfinite(value):
                break
            points.append(f"{_LEFT + (right - _LEFT) * place / most:.1f},{down(value):.1f}")
        dashes = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ""
        parts.append(f'<polyline class="line{number}" points="{" ".join(points)}"{dashes}/>')
    names = ", ".join(lines)
    legend = "".join(_key(number, name) for number, name in enumerate(lines))
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(f"{names}, over {across}")}">{"".join(parts)}</svg>'
        f'<ul class="legend">{legend}</ul>'
    )


def _key(number: int, name: str) -> str:
    """An entry of the legend."""
    dashes = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ""
    line = f'<polyline class="line{number}" points="0,5 36,5"{dashes}/>'
    return f'<li><svg width="36" height="10" aria-hidden="true">{line}</svg> {html.escape(name)}</li>'


def _ticks(low: float, high: float, powers: bool) -> list[float]:
    """Heights beside which a number stands."""
    if not powers:
        return [low + (high - low) * part / 4 for part in range(5)]
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    return [10.0**power for power in range(first, last + 1, max(1, math.ceil((last - first) / 6)))]


def shades(values: Floats, told: str, signed: bool, rows: Sequence[str] = ()) -> str:
    """A table of numbers as a picture, a row for each unit, steps to the right.

    Args:
        values: (units, steps), -1 to 1 if signed, 0 to 1 if not.
        told: what it shows, for those who do not see it.
        signed: blue is below 0 and orange above; otherwise the darker the nearer to 1.
        rows: names of the units, to stand before them; none for many units.
    """
    colours = _DIVERGING if signed else _RISING
    level = np.clip((values + 1.0) / 2.0 if signed else values, 0.0, 1.0) * (len(colours) - 1)
    below = np.minimum(level.astype(int), len(colours) - 2)
    share = (level - below)[..., None]
    pixels = (colours[below] * (1.0 - share) + colours[below + 1] * share).astype(np.uint8)
    picture = Image.fromarray(pixels.repeat(_PIXEL, axis=0).repeat(_PIXEL, axis=1))
    names = "".join(f"<span>{html.escape(name)}</span>" for name in rows)
    before = f'<div class="rows" aria-hidden="true">{names}</div>' if rows else ""
    height = f"{1.8 * len(rows)}rem" if rows else "9rem"
    return (
        f'<div class="shades" style="--height: {height}">{before}'
        f'<img alt="{html.escape(told)}" src="{data_url(picture, quality=90)}"></div>'
    )


def ticks(names: Sequence[str], places: Sequence[float], indent: bool = False) -> str:
    """Names under a picture, each where it begins: places are shares of its width, 0 to 1."""
    heights = ("", "low")
    marks = "".join(
        f'<span style="left: {100 * place:.2f}%" class="{heights[number % 2]}">{html.escape(name)}</span>'
        for number, (name, place) in enumerate(zip(names, places, strict=True))
    )
    return f'<div class="ticks{" indent" if indent else ""}">{marks}</div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names the rows; everything is text."""
    head = "".join(f'<th scope="col">{html.escape(one)}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>'
        + "".join(f"<td>{html.escape(one)}</td>" for one in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def topology(reads: Sequence[bool], says: Sequence[bool], told: str) -> str:
    """Cells in a row: what each is given from below, and what it says above.

    Args:
        reads, says: for each step whether something is read, or said.
        told: the same in words.
    """
    parts = []
    for step, (read, said) in enumerate(zip(reads, says, strict=True)):
        x = 20 + 90 * step
        parts.append(f'<rect class="cell" x="{x}" y="62" width="50" height="36" rx="6"/>')
        if step:
            parts.append(_arrow(x - 40, 80, x, 80))
        if read:
            parts.append(_arrow(x + 25, 132, x + 25, 98) + _circle(x + 25, 144, "read"))
        if said:
            parts.append(_arrow(x + 25, 62, x + 25, 30) + _circle(x + 25, 18, "said"))
    box = f'viewBox="0 0 {90 * len(reads)} 162" role="img" aria-label="{html.escape(told)}"'
    return f'<svg class="topology" {box}>{"".join(parts)}</svg>'


def _circle(x: int, y: int, kind: str) -> str:
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="11"/>'


def _arrow(x: int, y: int, to_x: int, to_y: int) -> str:
    """A line with a head at its end, to the right or upwards."""
    head = f"{to_x - 7},{to_y - 4} {to_x},{to_y} {to_x - 7},{to_y + 4}"
    if x == to_x:
        head = f"{to_x - 4},{to_y + 7} {to_x},{to_y} {to_x + 4},{to_y + 7}"
    return (
        f'<polyline class="arrow" points="{x},{y} {to_x},{to_y}"/><polyline class="arrow" points="{head}"/>'
    )


def liveliest(values: Floats, most: int = 64) -> Floats:
    """Of (units, steps) those that change most, in the order of the step at which each is farthest from 0."""
    kept = values[np.argsort(-values.std(axis=1), kind="stable")[:most]]
    return kept[np.argsort(np.abs(kept).argmax(axis=1), kind="stable")]
