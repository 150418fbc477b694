"""Mutated pictures of every format: an error that a person can read, never a crash, a hang or a gigabyte.

`python tests/test_picture_fuzz.py SAMPLE FIRST COUNT` does so many mutations by hand.
"""

from __future__ import annotations

import contextlib
import io
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

import caption.images
from caption.images import SIZE, load_image
from common.errors import InputError

SECONDS, BYTES = 10.0, 1_000_000_000
MUTATIONS = 10_000
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


def mutated(data: bytes, seed: int) -> bytes:
    """The same file with a few changes of the kinds that decoders trip over."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        # Most of what decoders believe stands at the beginning.
        place = chance.randrange(min(len(changed), chance.choice((32, 128, 1 << 30))) or 1)
        kind = chance.randrange(7)
        if kind == 0:
            changed[place : place + 1] = [chance.randrange(256)]
        elif kind == 1 and place < len(changed):
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            number = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
            changed[place : place + 4] = number.to_bytes(4, chance.choice(("big", "little")))
        elif kind == 3:
            del changed[place : place + chance.choice((1, 2, 16, 1 << 30))]
        elif kind == 4:
            changed[place:place] = changed[place : place + chance.randrange(1, 64)] * chance.randrange(1, 9)
        elif kind == 5:
            changed[place:place] = chance.randbytes(chance.randrange(1, 16))
        else:
            size = chance.choice((9, 4000, 30_000)).to_bytes(2, chance.choice(("big", "little")))
            changed[place : place + 2] = size
    return bytes(changed)


def read(data: bytes) -> None:
    """Read a picture, or be told by an `InputError` why not; in time."""
    started = time.perf_counter()
    with contextlib.suppress(InputError):
        assert load_image(io.BytesIO(data)).shape == (3, SIZE, SIZE)
    assert time.perf_counter() - started < SECONDS


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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
    whole, before = sample(name), peak()

    @settings(max_examples=12, database=None, derandomize=True)
    @given(st.integers(0, 2**32))
    def mutations(seed: int) -> None:
        read(mutated(whole, seed))

    mutations()
    assert peak() - before < BYTES


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FORMATS, *PHONES])
def test_ten_thousand_mutations_crash_nothing(name: str) -> None:
    """In a process of its own: what a decoder does wrong can end it."""
    program = [sys.executable, __file__, name, "0", str(MUTATIONS)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, f"after {done.stdout.split()[-1:]}: {done.stderr[-2000:]}"


def main(name: str, first: str, count: str) -> None:
    """Read mutations of a sample, and name each number before."""
    whole, before = sample(name), 0
    read(whole)
    before = peak()
    for seed in range(int(first), int(first) + int(count)):
        print(seed, flush=True)
        read(mutated(whole, seed))
        assert peak() - before < BYTES, f"{(peak() - before) / 1e6:.0f} MB"


if __name__ == "__main__":
    main(*sys.argv[1:])
