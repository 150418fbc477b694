"""The only door for pictures: a file, its bytes, an array or a Pillow image -> uint8 (3, 224, 224), RGB.

The whole picture is squashed to the square: nothing at its edges is lost, and the photographs that the
captioner learned from came squashed as well.
"""

from __future__ import annotations

import math
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from common import stores
from common.errors import OUT_OF_MEMORY, InputError
from common.stages import DECODE, READ, stage

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SIZE = 224

# Reading a picture takes less than 1 GB. The most bytes a pixel that were measured, by the decoder and what
# comes after it: progressive JPEG 6 (others next to nothing: they are read at a fraction of their size), WebP
# 22, JPEG 2000 20 and more with transparency, other kinds 15. Above `_LARGE` a picture is made smaller early.
MOST_PIXELS = {"JPEG": 150_000_000, "MPO": 150_000_000, "WEBP": 40_000_000, "JPEG2000": 40_000_000}
MOST_PIXELS_OF_OTHERS = 65_000_000
MOST_BYTES = 500_000_000  # of a file: some decoders want all of it at once
_LARGE = 25_000_000

# A picture whose values (0 to 255) have a smaller standard deviation shows nothing.
_BLANK = 2.0

# Of every so many rows and columns, one is looked at first.
_STRIDE = 4

# The kinds of HEIF file that hold what phones and cameras write (ISO/IEC 23008-12, annex B).
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})


Source = str | Path | BinaryIO | bytes | bytearray | memoryview | Image.Image | NDArray[Any]


def load_image(source: Source) -> Tensor:
    """Read a picture the way a person sees it.

    Args:
        source: a file's path or URL, an open binary file, a file's bytes, a Pillow image, or an array
            (height, width), (height, width, 3) or, with transparency, (height, width, 4), of uint8 or of
            floating-point numbers from 0 to 1.

    Returns:
        (3, 224, 224) uint8: turned as its EXIF orientation says, the first frame of an animation,
        transparency on white, 16-bit, floating-point and other modes brought to RGB.

    Raises:
        InputError: if the file is missing, empty, no picture, truncated or absurdly large.
        TypeError, ValueError: if the source is nothing of these.
    """
    with stage(DECODE):
        return to_tensor(open_image(source))


def open_image(source: Source) -> Image.Image:
    """Read a picture upright and as RGB, at its own size or, if it is very large, at a whole fraction of it.

    Arguments and errors as in `load_image`.
    """
    name = os.fspath(source) if isinstance(source, str | Path) else str(getattr(source, "name", "picture"))
    if isinstance(source, str) and stores.is_url(source):
        with stage(READ):
            source = stores.read(source, MOST_BYTES)
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    elif isinstance(source, bytes | bytearray | memoryview):
        source = BytesIO(source)
    elif not isinstance(source, str | Path | Image.Image) and not hasattr(source, "read"):
        kinds = "a path, an open binary file, bytes, a Pillow image or an array"
        raise TypeError(f"a picture is {kinds}, not {type(source).__name__}")
    try:
        if isinstance(source, Image.Image):
            return _upright_rgb(source)
        with warnings.catch_warnings(), _opened(source) as file:
            warnings.simplefilter("ignore")  # Pillow's own about large pictures: our bounds are stated above
            if _is_heif(file):
                return _upright_rgb(_read_heif(name, file), is_upright=True)
            with _open_other(name, file) as image:
                return _upright_rgb(image)
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(name, "may not be read; check its permissions") from error
    except Image.DecompressionBombError as error:
        raise InputError(name, "is too large; make it smaller") from error
    except UnidentifiedImageError as error:
        raise InputError(name, "is not a picture that can be read") from error
    except MemoryError as error:
        raise InputError(name, OUT_OF_MEMORY) from error
    except Exception as error:  # decoders report damage with whatever comes first
        detail = str(error) or type(error).__name__
        fault = "cannot be read" if detail.startswith("Unsupported") else "is damaged"
        raise InputError(name, f"{fault} ({detail})") from error


def _from_array(array: NDArray[Any]) -> Image.Image:
    """A picture that somebody has as numbers; errors as in `load_image`."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise ValueError(f"a picture is (height, width), or with 3 or 4 channels behind, not {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        numbers = np.nan_to_num(array.astype(np.float32))
        if numbers.min() < 0.0 or numbers.max() > 1.0:
            low, high = numbers.min(), numbers.max()
            raise ValueError(f"a picture of floating-point numbers lies in 0 to 1, not {low:g} to {high:g}")
        array = (numbers * 255.0).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise TypeError(f"a picture is of uint8 or floating-point numbers, not {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array))


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image of any size -> (3, 224, 224) uint8, squashed, smoothed against aliasing."""
    squashed = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return torch.from_numpy(np.asarray(squashed).copy()).permute(2, 0, 1)


def is_blank(picture: Tensor) -> bool:
    """Whether a picture (3, height, width), 0 to 255, is of one colour, but for a sensor's noise."""
    few = picture[:, ::_STRIDE, ::_STRIDE]
    # The whole varies at least as much as its part does by itself, times the part's share.
    if bool((_variances(few) * few.numel() / picture.numel() >= _BLANK**2).any()):
        return False
    return bool((_variances(picture) < _BLANK**2).all())


def _variances(picture: Tensor) -> Tensor:
    """How much each colour of a picture (3, height, width) varies: (3,)."""
    return picture.flatten(1).float().var(dim=1, correction=0)


@contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """A file as it can be read to and fro, from its beginning; it is closed again if it was opened here."""
    if isinstance(source, str | Path):
        with stage(READ):
            _require_file(Path(source))
            raw = _TimedFile(source)
        with BufferedReader(raw) as file:
            yield file
    elif source.seekable():
        source.seek(0)
        yield source
    else:
        yield BytesIO(source.read())


class _TimedFile(FileIO):
    """A file whose readers wait for the disk in a stage of its own, whatever decodes what they read."""

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read some bytes."""
        with stage(READ):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        """Read the rest."""
        with stage(READ):
            return super().readall()


def _require_file(path: Path) -> None:
    """Refuse what cannot be a picture before Pillow says it in its own words."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        broken = " (a link to nothing)" if path.is_symlink() else ""
        raise InputError(path, f"no such file{broken}") from error
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode):
        raise InputError(path, "is a folder, not a picture")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(path, "is a pipe or a device, not a file; save the picture as a file first")
    if found.st_size == 0:
        raise InputError(path, "is empty (0 bytes)")
    if found.st_size > MOST_BYTES:
        raise InputError(path, f"is too large ({found.st_size / 1e6:,.0f} MB); make it smaller")


def _open_other(name: str, file: BinaryIO) -> Image.Image:
    """A picture that Pillow knows, not decoded yet."""
    Image.init()
    # Encapsulated PostScript is a program, and needs another one to run it.
    image = Image.open(file, formats=[kind for kind in Image.ID if kind != "EPS"])
    _require_size(name, image.size, str(image.format))
    # A JPEG is decoded at half, a quarter or an eighth of its size where that is still large enough.
    image.draft("RGB", (2 * SIZE, 2 * SIZE))
    return image


def _is_heif(file: BinaryIO) -> bool:
    """Whether a file is HEIF with HEVC inside; AVIF, which looks alike, is left to Pillow."""
    head = file.read(64)
    file.seek(0)
    if head[4:8] != b"ftyp":
        return False
    box = head[: max(16, int.from_bytes(head[:4], "big"))]
    brands = {box[start : start + 4] for start in (8, *range(16, len(box) - 3, 4))}
    return bool(brands & _HEIF_BRANDS) or (
        box[8:12] in (b"mif1", b"msf1") and not brands & {b"avif", b"avis"}
    )


def _read_heif(name: str, file: BinaryIO) -> Image.Image:
    """A HEIF file's primary picture, which libheif has turned as the file's own properties say.

    The orientation in its EXIF says the same once more, and is to be ignored (ISO/IEC 23008-12, A.2.1).
    """
    import pi_heif

    if not _has_readable_types(file):
        raise ValueError("an item in it is of no type that can be read")
    found = pi_heif.open_heif(file)
    if not len(found):  # libheif passed over all that it has
        raise InputError(name, "holds no picture that can be read")
    _require_size(name, found.size, "HEIF")
    return found.to_pillow()


def _has_readable_types(file: BinaryIO) -> bool:
    """Whether what a HEIF file says of its items is text; pi_heif ends the process where it is not.

    It stands in boxes `infe` inside the box `meta` (ISO/IEC 14496-12, 8.11.6).
    """
    place, end = 0, file.seek(0, 2)
    try:
        while place + 8 <= end:
            file.seek(place)
            size, kind = int.from_bytes(file.read(4), "big"), file.read(4)
            size = int.from_bytes(file.read(8), "big") if size == 1 else size or end - place
            if size < 8:
                break  # no box; libheif reads no further, too
            if kind == b"meta":
                file.seek(place)
                if not all(map(_is_text, _items(file.read(min(size, _MOST_META))))):
                    return False
            place += size
    finally:
        file.seek(0)
    return True


_MOST_META = 1 << 24  # bytes; a phone's has some thousand


def _items(meta: bytes) -> Iterator[bytes]:
    """What stands in the boxes `infe`, behind version, flags, number and protection of the item."""
    place = meta.find(b"infe")
    while place >= 4:
        size = int.from_bytes(meta[place - 4 : place], "big")
        start = place + (12 if size == 1 else 4)
        size = int.from_bytes(meta[place + 4 : place + 12], "big") if size == 1 else size
        wide = meta[start : start + 1] >= b"\3"  # the item's number has four bytes
        yield meta[start + (10 if wide else 8) : place - 4 + size if size else None]
        place = meta.find(b"infe", place + 4)


def _is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _require_size(name: str, size: tuple[int, int], kind: str) -> None:
    """Refuse a picture that would take too much memory."""
    width, height = size
    if width * height > MOST_PIXELS.get(kind, MOST_PIXELS_OF_OTHERS):
        raise InputError(name, f"is too large ({width} x {height} pixels); make it smaller")


def _upright_rgb(image: Image.Image, is_upright: bool = False) -> Image.Image:
    """The first frame, turned upright, as RGB with transparency on white; the image itself is left alone."""
    if image.tell():
        image.seek(0)  # which kinds of one picture alone refuse
    image.load()  # which turns a TIFF
    if 0 in image.size:
        raise ValueError("it has no pixels")
    turn = None if is_upright else _TURNS.get(_orientation(image))  # some modes lose their EXIF on conversion
    image = _flat(_reduced(image))
    return image if turn is None else image.transpose(turn)


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
    except Exception:  # as in `open_image`; the picture itself may be whole
        return 1


def _reduced(image: Image.Image) -> Image.Image:
    """A very large image at a half, a third, ... of its size, before anything else makes copies of it."""
    factor = math.ceil(math.sqrt(image.width * image.height / _LARGE))
    if factor <= 1:
        return image
    factors = (min(factor, image.width), min(factor, image.height))
    if image.mode.startswith("I;16"):
        return image.convert("I").reduce(factors).convert("I;16")
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode in ("1", "P"):
        image = image.convert("RGB")
    return image.reduce(factors)


def _flat(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB, with white behind what is transparent; always a new one."""
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("LA") if image.mode == "La" else image
    page = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit or floating-point grey to 8 bits; Pillow's own conversion cuts off what is above 255.

    Floating-point values from 0 to 1 are black to white. What else fits into 8 bits, or as whole numbers into
    16, is taken so; the rest is stretched from its darkest to its lightest value. What is no number is black.
    """
    values = np.asarray(image, dtype=np.float64)
    low, high = _range(image.mode, values[np.isfinite(values)])
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    key = image.info.get("transparency")
    if isinstance(key, int):  # the value that stands for what is transparent
        scaled[values == key] = 255.0
    return Image.fromarray(np.nan_to_num(scaled, posinf=255.0).round().clip(0, 255).astype(np.uint8))


def _range(mode: str, numbers: NDArray[np.float64]) -> tuple[float, float]:
    """The values that are black and white in an image of this mode."""
    if mode.startswith("I;16"):
        return 0.0, 65535.0
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
    for white in (1.0, 255.0) if mode == "F" else (255.0, 65535.0):
        if low >= 0.0 and high <= white:
            return 0.0, white
    return low, high
