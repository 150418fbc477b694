"""Where the captioner looked: for each word of a caption a map over the photograph, and a picture of them.

Comes in: the network, a photograph and its words. Goes out: weights over the grid's positions, and tiles
in which the photograph is lit where the network looked while it chose the word (Xu et al. 2015,
arXiv:1502.03044, figure 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from caption.model.network import CaptionNetwork
from caption.model.text import START

# What is left of the light where the network did not look at all.
_DIM = 0.25
_TILE, _LABEL, _COLUMNS = 224, 28, 4


@dataclass(frozen=True)
class Glance:
    """Where the network looked while it chose a word.

    Attributes:
        word: that was chosen.
        weights: (rows, columns) over the photograph from its top left, which sum to 1.
    """

    word: str
    weights: NDArray[np.float32]


@torch.inference_mode()
def glances(network: CaptionNetwork, picture: Tensor, symbols: Sequence[int]) -> list[Glance]:
    """Say a caption again, and note where each of its words looks.

    Args:
        network: encoder and decoder; without attention it looks everywhere alike.
        picture: (3, 224, 224) uint8.
        symbols: of the caption's words, without start and end.
    """
    device = next(network.parameters()).device
    state = network.decoder.begin(network.look(picture[None].to(device)))
    found = []
    for said, following in zip([START, *symbols], symbols, strict=False):
        _, state = network.decoder.step(torch.tensor([said], device=device), state)
        weights = network.decoder.grid_attention(state.attention)[0].float().cpu().numpy()
        side = round(len(weights) ** 0.5)
        found.append(Glance(network.config.words[following], weights.reshape(side, side)))
    return found


def light(image: Image.Image, weights: NDArray[np.float32]) -> Image.Image:
    """The image, bright where the weights (rows, columns) are large and dim where they are small."""
    scaled = Image.fromarray(weights / max(float(weights.max()), 1e-9))
    smooth = np.asarray(scaled.resize(image.size, Image.Resampling.BICUBIC)).clip(0.0, 1.0)
    brightness = _DIM + (1.0 - _DIM) * smooth
    lit = np.asarray(image, dtype=np.float32) * brightness[..., None]
    return Image.fromarray(lit.round().astype(np.uint8))


def draw(image: Image.Image, found: Sequence[Glance]) -> Image.Image:
    """One sheet for a caption: the photograph, then a tile a word, four in a row.

    Args:
        image: the photograph, upright, RGB, of any size.
        found: from `glances`.
    """
    width, height = image.size
    scale = _TILE / max(width, height)
    small = image.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    tiles = [("", small), *((one.word, light(small, one.weights)) for one in found)]
    rows = -(-len(tiles) // _COLUMNS)
    cell_height = small.height + _LABEL
    sheet = Image.new("RGB", (_COLUMNS * _TILE, rows * cell_height), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=18)
    for number, (word, tile) in enumerate(tiles):
        left, top = number % _COLUMNS * _TILE, number // _COLUMNS * cell_height
        sheet.paste(tile, (left + (_TILE - tile.width) // 2, top))
        pen.text((left + _TILE // 2, top + small.height + 3), word, fill="black", font=font, anchor="ma")
    return sheet
