"""The only door for pictures: a file or a Pillow image -> uint8 (3, 224, 224), RGB.

The whole picture is squashed to the square: nothing at its edges is lost, and the photographs that the
captioner learned from came squashed as well.
"""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from common.errors import InputError

SIZE = 224

# Larger pictures are refused: decoded, this many pixels take half a gigabyte.
MOST_PIXELS = 178_000_000


def load_image(source: str | Path | BinaryIO | Image.Image) -> Tensor:
    """Read a picture the way a person sees it.

    Args:
        source: a file's path, an open binary file, or a Pillow image.

    Returns:
        (3, 224, 224) uint8: turned as its EXIF orientation says, the first frame of an animation,
        transparency on white, 16-bit and other modes brought to RGB.

    Raises:
        InputError: if the file is missing, empty, no picture, truncated or absurdly large.
    """
    return to_tensor(open_image(source))


def open_image(source: str | Path | BinaryIO | Image.Image) -> Image.Image:
    """Read a picture at its own size: upright, RGB. Arguments and errors as in `load_image`."""
    name = os.fspath(source) if isinstance(source, str | Path) else str(getattr(source, "name", "picture"))
    if isinstance(source, str | Path):
        _require_file(Path(source))
    try:
        if isinstance(source, Image.Image):
            return _upright_rgb(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bomb warning: our bound is stated below
            with Image.open(source) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise InputError(name, f"is too large ({width} x {height} pixels); make it smaller")
                # A JPEG is decoded at half or a quarter of its size where that is still large enough.
                image.draft("RGB", (2 * SIZE, 2 * SIZE))
                return _upright_rgb(image)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(name, "is too large; make it smaller") from error
    except UnidentifiedImageError as error:
        raise InputError(name, "is not a picture that can be read") from error
    except _DAMAGE as error:
        raise InputError(name, f"is damaged ({error})") from error


# Pillow's decoders report damage with whichever of these comes first.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, MemoryError, RuntimeError, struct.error)


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image of any size -> (3, 224, 224) uint8, squashed, smoothed against aliasing."""
    squashed = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return torch.from_numpy(np.asarray(squashed).copy()).permute(2, 0, 1)


def _require_file(path: Path) -> None:
    """Refuse what cannot be a picture before Pillow says it in its own words."""
    try:
        if path.is_dir():
            raise InputError(path, "is a folder, not a picture")
        if path.stat().st_size == 0:
            raise InputError(path, "is empty (0 bytes)")
    except FileNotFoundError as error:
        broken = " (a link to nothing)" if path.is_symlink() else ""
        raise InputError(path, f"no such file{broken}") from error
    except PermissionError as error:
        raise InputError(path, "may not be read; check its permissions") from error
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    """The first frame, turned upright, as RGB with transparency on white."""
    image.seek(0)
    image.load()
    # Some modes lose their EXIF on conversion: turn first.
    turn = _TURNS.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image).convert("RGB")
    return image.convert("RGB")


# How a picture is turned upright, by its EXIF orientation.
_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> object:
    """EXIF's orientation; 1 where it says nothing that can be read.

    Pillow's `exif_transpose` also writes the EXIF anew, and fails on whole photographs if that is odd.
    """
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit or float grey to 8 bits; Pillow's own conversion would cut off what is above 255."""
    values = np.asarray(image, dtype=np.float64)
    if image.mode.startswith("I;16"):
        scaled = values / 257.0
    else:
        low, high = float(values.min()), float(values.max())
        if low >= 0 and high <= 255:
            scaled = values
        elif low >= 0 and high <= 65535 and image.mode == "I":
            scaled = values / 257.0
        else:
            scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.nan_to_num(scaled).round().clip(0, 255).astype(np.uint8))
