"""Mutated pictures of every format: an error that a person can read, never a crash, a hang or a gigabyte."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import BYTES, SECONDS, failures, mutated, peak
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

import caption.images
from caption.images import SIZE, load_image
from common.errors import InputError

DATA = Path(__file__).parents[1] / "data"

# What every format can be written with: its mode, and how.
FORMATS: dict[str, tuple[str, str, dict[str, object]]] = {
    "avif": ("AVIF", "RGBA", {"quality": 50}),
    "blp": ("BLP", "P", {}),
    "bmp": ("BMP", "RGB", {}),
    "bmp-1": ("BMP", "1", {}),
    "dds": ("DDS", "RGBA", {"pixel_format": "DXT5"}),
    "dib": ("DIB", "L", {}),
    "eps": ("EPS", "RGB", {}),
    "gif": ("GIF", "P", {"transparency": 3}),
    "icns": ("ICNS", "RGBA", {}),
    "ico": ("ICO", "RGBA", {}),
    "ico-bmp": ("ICO", "RGBA", {"bitmap_format": "bmp"}),
    "im": ("IM", "F", {}),
    "jpeg": ("JPEG", "RGB", {}),
    "jpeg-cmyk": ("JPEG", "CMYK", {}),
    "jpeg-progressive": ("JPEG", "L", {"progressive": True}),
    "jp2": ("JPEG2000", "RGB", {}),
    "mpo": ("MPO", "RGB", {}),
    "msp": ("MSP", "1", {}),
    "palm": ("PALM", "P", {}),
    "pcx": ("PCX", "RGB", {}),
    "pdf": ("PDF", "RGB", {}),
    "png": ("PNG", "RGBA", {}),
    "png-16": ("PNG", "I;16", {}),
    "png-p": ("PNG", "P", {"transparency": 3}),
    "ppm": ("PPM", "RGB", {}),
    "qoi": ("QOI", "RGB", {}),
    "sgi": ("SGI", "RGB", {}),
    "spider": ("SPIDER", "F", {}),
    "tga": ("TGA", "RGBA", {"compression": "tga_rle"}),
    "tiff": ("TIFF", "RGB", {}),
    "tiff-deflate": ("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}),
    "tiff-fax": ("TIFF", "1", {"compression": "group4"}),
    "tiff-float": ("TIFF", "F", {"compression": "tiff_lzw"}),
    "tiff-jpeg": ("TIFF", "RGB", {"compression": "jpeg"}),
    "webp": ("WEBP", "RGB", {}),
    "webp-lossless": ("WEBP", "RGBA", {"lossless": True}),
    "xbm": ("XBM", "1", {}),
}
PHONES = ("heic-turned-6", "heic-transparent")


def sample(name: str) -> bytes:
    """A tiny picture."""
    if name in PHONES:
        return (DATA / f"{name.removeprefix('heic-')}.heic").read_bytes()
    format, mode, how = FORMATS[name]
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    image = Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * turn) for turn in range(3)])
    image = image.resize((40, 30))
    if mode in ("P", "RGBA", "CMYK"):
        image = image.convert(mode)
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert("L").convert(mode)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(file, format, **{"exif": exif, **how} if format in ("JPEG", "PNG", "WEBP", "AVIF") else how)
    return file.getvalue()


def read(data: bytes) -> None:
    """Read a picture, or be told by an `InputError` why not; in time."""
    started = time.process_time()
    with contextlib.suppress(InputError):
        assert load_image(io.BytesIO(data)).shape == (3, SIZE, SIZE)
    assert time.process_time() - started < SECONDS


def prepare(name: str) -> Callable[[int], None]:
    """What reads the mutations of a sample, by their numbers."""
    whole = sample(name)
    read(whole)
    return lambda seed: read(mutated(whole, seed))


@pytest.mark.parametrize("name", [*FORMATS, *PHONES])
def test_a_whole_picture_is_read_or_is_said_to_be_none(name: str) -> None:
    if name in ("eps", "palm", "pdf"):
        with pytest.raises(InputError, match="is not a picture"):
            load_image(io.BytesIO(sample(name)))
    else:
        assert load_image(io.BytesIO(sample(name))).float().std() > 10


@pytest.mark.parametrize("name", [*FORMATS, *PHONES])
def test_a_mutated_picture_is_read_or_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption.images, "MOST_PIXELS", {})
    monkeypatch.setattr(caption.images, "MOST_PIXELS_OF_OTHERS", 2_000_000)  # headers lie: this is quicker
    attempt, before = prepare(name), peak()

    @settings(max_examples=12, database=None, derandomize=True)
    @given(st.integers(0, 2**32))
    def mutations(seed: int) -> None:
        attempt(seed)

    mutations()
    assert peak() - before < BYTES


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FORMATS, *PHONES])
def test_ten_thousand_mutations_crash_nothing(name: str) -> None:
    assert failures(__file__, name) == []
