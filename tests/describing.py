"""The `caption describe` command on a small model, and pictures that show something."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from caption.cli import main


def drawn(color: str | tuple[int, int, int]) -> Image.Image:
    """A picture that shows something: half of it is black."""
    image = Image.new("RGB", (30, 20), color)
    image.paste("black", (0, 0, 15, 20))
    return image


def describe(model: str, *arguments: str) -> int:
    return main(
        ["describe", "--model", model, "--threads", "1", "--beam", "2", "--max-words", "4", *arguments]
    )


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
