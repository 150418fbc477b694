"""The door for pictures: people's files become the right pixels, or one clear line."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features
from torch import Tensor

import caption
import caption.images
from caption.images import SIZE, is_blank, load_image, open_image
from common.errors import InputError

SAMPLES = Path(__file__).parents[1] / "data"
RED, GREEN, BLUE, WHITE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (128, 128, 128)


def quarters() -> Image.Image:
    """Red and green above, blue and white below; taller than wide, so that a turn shows."""
    image = Image.new("RGB", (64, 96))
    for color, corner in ((RED, (0, 0)), (GREEN, (32, 0)), (BLUE, (0, 48)), (WHITE, (32, 48))):
        image.paste(color, (*corner, corner[0] + 32, corner[1] + 48))
    return image


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8))


def corners(picture: Tensor) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters, as in `quarters`, to the nearest 0, 128 or 255."""
    low, high = SIZE // 4, 3 * SIZE // 4
    found = [picture[:, y, x].tolist() for y, x in ((low, low), (low, high), (high, low), (high, high))]
    return [tuple(255 if v > 240 else 0 if v < 15 else 128 if 118 < v < 138 else v for v in c) for c in found]


def saved(path: Path, image: Image.Image, **how: object) -> Path:
    image.save(path, **how)  # type: ignore[arg-type]
    return path


def failure(source: Path | io.BytesIO) -> str:
    """The one line that a person reads."""
    with pytest.raises(InputError) as caught:
        load_image(source)
    line = str(caught.value)
    assert "\n" not in line
    if isinstance(source, Path):
        assert line.startswith(f"{source}: ")
    assert len(line.removeprefix(f"{source}: ")) < 300
    return line


# How a picture was turned before it was stored, by the orientation that says so.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_a_photograph_stands_as_its_camera_was_held(orientation: int, suffix: str, tmp_path: Path) -> None:
    image = quarters()
    turn = STORED[orientation]
    if turn is not None:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"photo.{suffix}", image, exif=exif, quality=95)
    assert corners(load_image(path)) == [RED, GREEN, BLUE, WHITE]
    assert open_image(path).size == (64, 96)


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_a_phone_s_photograph_is_turned_once(orientation: int) -> None:
    """HEIC by libheif and x265, 0.8 kB each, turned by a property of the file and by EXIF, as phones do."""
    path = SAMPLES / f"turned-{orientation}.heic"
    assert corners(load_image(path)) == [RED, GREEN, BLUE, WHITE]
    assert open_image(path).size == (64, 96)
    assert corners(load_image(io.BytesIO(path.read_bytes()))) == [RED, GREEN, BLUE, WHITE]


def test_in_heif_the_orientation_of_exif_alone_does_not_count() -> None:
    assert corners(load_image(SAMPLES / "exif-only.heic")) == [RED, GREEN, BLUE, WHITE]


def test_what_is_transparent_in_heif_is_white() -> None:
    assert corners(load_image(SAMPLES / "transparent.heic")) == [RED, GREEN, WHITE, WHITE]


def test_a_cut_or_empty_heif_file_is_refused() -> None:
    data = (SAMPLES / "turned-6.heic").read_bytes()
    assert "is damaged" in failure(io.BytesIO(data[:-100]))
    assert "is damaged" in failure(io.BytesIO(data[:100]))


def test_a_kind_that_cannot_be_read_is_not_called_damaged() -> None:
    file = io.BytesIO()
    Image.new("P", (8, 8)).save(file, "bmp")
    data = bytearray(file.getvalue())
    data[28:30] = (2).to_bytes(2, "little")  # bits of a pixel
    assert failure(io.BytesIO(data)) == "picture: cannot be read (Unsupported BMP pixel depth (2))"


def test_a_heif_file_of_kinds_that_libheif_passes_over_says_so() -> None:
    data = (SAMPLES / "turned-6.heic").read_bytes().replace(b"hvc1", b"unci")  # uncompressed
    assert failure(io.BytesIO(data)) == "picture: holds no picture that can be read"


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_avif_is_turned_once(orientation: int, tmp_path: Path) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    image, turn, exif = quarters(), STORED[orientation], Image.Exif()
    exif[0x0112] = orientation
    path = saved(
        tmp_path / "photo.avif", image if turn is None else image.transpose(turn), exif=exif, quality=95
    )
    assert corners(load_image(path)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12", b"nonsense"])
def test_a_damaged_note_about_a_photograph_does_not_spoil_it(exif: bytes, tmp_path: Path) -> None:
    assert corners(load_image(saved(tmp_path / "photo.jpg", quarters(), exif=exif, quality=95)))[0] == RED


def test_a_note_that_cannot_be_written_again_still_turns_the_photograph(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    path = saved(
        tmp_path / "photo.jpg", quarters().transpose(Image.Transpose.ROTATE_90), exif=exif, quality=95
    )
    data = path.read_bytes()
    # The maker's name is said to be a number of a type that the text is not.
    entry = data.index(struct.pack(">HH", 0x010F, 2))
    path.write_bytes(data[:entry] + struct.pack(">HH", 0x010F, 7) + data[entry + 4 :])
    assert corners(load_image(path)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("suffix", ["jpg", "jfif", "png", "webp", "bmp", "tiff", "ppm", "avif", "jp2", "tga"])
def test_every_usual_format_is_read(suffix: str, tmp_path: Path) -> None:
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    path = saved(tmp_path / f"photo.{suffix}", quarters(), quality=95)
    picture = load_image(path)
    assert picture.shape == (3, SIZE, SIZE) and picture.dtype == torch.uint8
    assert corners(picture) == [RED, GREEN, BLUE, WHITE]
    with path.open("rb") as file:
        assert torch.equal(load_image(file), picture)
    assert torch.equal(load_image(io.BytesIO(path.read_bytes())), picture)
    assert torch.equal(load_image(str(path)), picture)


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_printers_inks_become_red_green_and_blue(suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"photo.{suffix}", quarters().convert("CMYK"), quality=95)
    assert corners(load_image(path)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_palette_s_transparent_colour_is_white(suffix: str, tmp_path: Path) -> None:
    image = quarters().quantize(4)
    blue = image.getpixel((0, 95))
    assert isinstance(blue, int)
    path = saved(tmp_path / f"photo.{suffix}", image, transparency=blue)
    assert corners(load_image(path)) == [RED, GREEN, WHITE, WHITE]


@pytest.mark.parametrize(("mode", "key"), [("L", 0), ("RGB", (0, 0, 0)), ("1", 0), ("I;16", 0)])
def test_a_colour_that_means_transparent_is_white(mode: str, key: object, tmp_path: Path) -> None:
    values = grey_quarters([0, 65535, 0, 65535], np.uint16)
    image = Image.fromarray(values if mode == "I;16" else (values // 257).astype(np.uint8))
    path = saved(tmp_path / "photo.png", image.convert(mode), transparency=key)
    assert corners(load_image(path)) == [WHITE] * 4


def test_a_palette_may_be_half_transparent(tmp_path: Path) -> None:
    image = Image.fromarray(grey_quarters([0, 1, 2, 1], np.uint8))
    image.putpalette([0, 0, 0, 0, 0, 0, 255, 0, 0])
    path = saved(tmp_path / "photo.png", image, transparency=bytes([255, 127, 0]))
    with Image.open(path) as stored:
        assert stored.mode == "P"
    assert corners(load_image(path)) == [(0, 0, 0), GREY, WHITE, GREY]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (32, 0, 64, 32))
    image.paste((0, 0, 0, 127), (0, 32, 32, 64))
    path = saved(tmp_path / "photo.png", image.convert(mode))
    assert corners(load_image(path)) == [(0, 0, 0), WHITE, GREY, (0, 0, 0)]


def grey_quarters(values: list[int], dtype: type) -> np.ndarray:
    return np.kron(np.array(values, dtype).reshape(2, 2), np.ones((32, 32), dtype))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_keeps_its_shades(suffix: str, tmp_path: Path) -> None:
    image = Image.fromarray(grey_quarters([0, 32896, 65535, 32896], np.uint16))
    path = saved(tmp_path / f"photo.{suffix}", image)
    with Image.open(path) as stored:
        assert stored.mode == "I;16"
    assert corners(load_image(path)) == [(0, 0, 0), GREY, WHITE, GREY]


@pytest.mark.parametrize(("mode", "top"), [("I", 65535), ("I", 255), ("F", 255), ("F", 4000)])
def test_wide_grey_keeps_its_shades(mode: str, top: int, tmp_path: Path) -> None:
    values = grey_quarters([0, top, 0, top], np.int32 if mode == "I" else np.float32)
    path = saved(tmp_path / "photo.tiff", Image.fromarray(values))
    with Image.open(path) as stored:
        assert stored.mode == mode
    assert corners(load_image(path)) == [(0, 0, 0), WHITE] * 2


@pytest.mark.parametrize(("black", "white"), [(0.0, 1.0), (0.0, 255.0), (-3.0, 5.0), (0.0, 4000.0)])
def test_floating_point_pictures_keep_their_shades(black: float, white: float, tmp_path: Path) -> None:
    middle = (black + white) / 2
    values = grey_quarters([black, middle, white, middle], np.float32)  # type: ignore[list-item]
    path = saved(tmp_path / "photo.tiff", Image.fromarray(values))
    assert corners(load_image(path)) == [(0, 0, 0), GREY, WHITE, GREY]


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_does_not_spoil_the_other_shades(hole: float) -> None:
    values = grey_quarters([0, 1, 0, 1], np.float32)
    values[:4, :4] = hole
    assert corners(load_image(Image.fromarray(values))) == [(0, 0, 0), WHITE] * 2


def test_colours_in_floating_point_are_refused_not_misread(tmp_path: Path) -> None:
    path = tmp_path / "photo.pfm"
    path.write_bytes(b"PF\n2 2\n-1.0\n" + np.ones((2, 2, 3), "<f4").tobytes())
    assert "not a picture" in failure(path)


@pytest.mark.parametrize("color", ["black", "white", (17, 80, 200)])
def test_a_picture_of_one_colour_is_blank(color: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 200), color)
    assert is_blank(load_image(saved(tmp_path / "photo.jpg", image)))
    rng = np.random.default_rng(0)
    noisy = np.asarray(image.resize((900, 600))) + rng.normal(0, 3, (600, 900, 3))  # a lens with its cap on
    assert is_blank(load_image(Image.fromarray(noisy.clip(0, 255).astype(np.uint8))))
    image.paste((128, 128, 128), (140, 90, 160, 110))
    assert not is_blank(load_image(image))


def test_a_photograph_is_not_blank() -> None:
    assert not is_blank(load_image(Path(caption.images.__file__).parent / "samples" / "temple.jpg"))


def test_black_and_white_has_two_shades(tmp_path: Path) -> None:
    image = Image.fromarray(grey_quarters([0, 255, 255, 0], np.uint8)).convert("1")
    assert corners(load_image(saved(tmp_path / "fax.png", image))) == [(0, 0, 0), WHITE, WHITE, (0, 0, 0)]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_is_its_first_frame(suffix: str, tmp_path: Path) -> None:
    others = [Image.new("RGB", (64, 96), color) for color in (GREEN, BLUE)]
    path = saved(
        tmp_path / f"moving.{suffix}", quarters(), save_all=True, append_images=others, lossless=True
    )
    assert corners(load_image(path)) == [RED, GREEN, BLUE, WHITE]
    with Image.open(path) as image:
        image.seek(2)
        assert corners(load_image(image)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000), (2000, 1500)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_any_shape_becomes_the_square(size: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    picture = load_image(saved(tmp_path / f"photo.{suffix}", Image.new("RGB", size, RED)))
    assert picture.shape == (3, SIZE, SIZE)
    assert corners(picture) == [RED] * 4


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tiff"])
def test_a_truncated_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"photo.{suffix}", noise())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "is damaged" in failure(path) or "not a picture" in failure(path)


def png(width: int, height: int) -> bytes:
    """A tiny PNG file that says it is very large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I", "F", "I;16", "CMYK"])
def test_a_very_large_picture_of_any_mode_is_brought_to_a_fraction(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = quarters()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "1":
        image = image.convert("L").point(lambda value: 255 * (value > 100)).convert("1")
    else:
        image = image.convert("L" if mode in ("I", "F") else mode).convert(mode)
    whole = open_image(image)
    monkeypatch.setattr(caption.images, "_LARGE", 2000)  # 64 x 96 pixels are more than three times as many
    found = open_image(image)
    assert found.size == (32, 48)
    for x, y in ((8, 12), (24, 12), (8, 36), (24, 36)):
        np.testing.assert_allclose(np.asarray(found)[y, x], np.asarray(whole)[2 * y, 2 * x], atol=2)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="it has no pixels"):
        load_image(Image.new("RGB", size))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photo.jpg")
    assert "is a pipe or a device" in failure(tmp_path / "photo.jpg")


def test_a_file_that_is_a_program_is_not_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "drawing.eps", quarters())
    assert "is not a picture" in failure(path)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (13_350, 13_350), (2**31 - 1, 1)])
def test_an_absurdly_large_picture_is_refused_unread(width: int, height: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(width, height))
    assert "too large" in failure(path)


def test_a_picture_of_a_size_that_it_does_not_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.png"
    path.write_bytes(png(5000, 5000))
    assert "is damaged" in failure(path)


def test_what_is_no_picture_is_said_to_be_none(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("This is not a photograph.\n" * 50)
    assert "is not a picture" in failure(text)
    empty = tmp_path / "empty.jpg"
    empty.touch()
    assert "is empty (0 bytes)" in failure(empty)
    assert "no such file" in failure(tmp_path / "missing.jpg")
    assert "is a folder" in failure(tmp_path)
    link = tmp_path / "link.jpg"
    link.symlink_to(tmp_path / "nowhere.jpg")
    assert "link to nothing" in failure(link)
    assert "not a picture" in failure(io.BytesIO(b""))
    assert "cannot be read" in failure(text / "photo.jpg")
    assert "cannot be read" in failure(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.png", quarters())
    path.chmod(0)
    assert "may not be read" in failure(path)


def test_a_damaged_pillow_image_is_an_error_that_a_person_can_cause(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.jpg", noise())
    path.write_bytes(path.read_bytes()[:-2000])
    with Image.open(path) as image, pytest.raises(InputError, match="is damaged"):
        load_image(image)


def encoded(suffix: str) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    how: dict[str, object] = {} if suffix in ("gif", "bmp", "ppm", "tga") else {"exif": exif}
    Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(file, suffix, **how)
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp", "gif", "tiff", "bmp", "ppm", "tga", "avif"])
def test_damage_of_any_kind_is_an_error_that_a_person_can_cause(
    suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption.images, "MOST_PIXELS", {})
    monkeypatch.setattr(caption.images, "MOST_PIXELS_OF_OTHERS", 1_000_000)  # headers lie
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    whole = encoded(suffix)

    @settings(max_examples=30, deadline=None, database=None)
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=8))
    def damage(changes: list[tuple[int, int]]) -> None:
        data = bytearray(whole)
        for position, value in changes:
            data[position] = value
        with contextlib.suppress(InputError):
            assert load_image(io.BytesIO(bytes(data))).shape == (3, SIZE, SIZE)

    damage()


def test_a_pillow_image_is_left_as_it_was() -> None:
    image = quarters()
    before = image.tobytes()
    assert corners(load_image(image)) == [RED, GREEN, BLUE, WHITE]
    assert image.tobytes() == before


def test_every_form_of_a_picture_is_read_alike() -> None:
    path = Path(caption.images.__file__).parent / "samples" / "temple.jpg"
    data = path.read_bytes()
    expected = load_image(path)
    for form in (data, bytearray(data), memoryview(data), BytesIO(data)):
        assert torch.equal(load_image(form), expected)
    with Image.open(path) as image:
        whole = np.asarray(image.convert("RGB"))
    assert torch.equal(load_image(whole), load_image(Image.fromarray(whole)))
    assert torch.equal(load_image(whole / 255.0), load_image(whole))
    assert torch.equal(load_image(whole[..., 0]), load_image(np.stack([whole[..., 0]] * 3, axis=-1)))
    opaque = np.concatenate([whole, np.full_like(whole[..., :1], 255)], axis=-1)
    assert torch.equal(load_image(opaque), load_image(whole))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (np.zeros((4, 4, 2), np.uint8), ValueError, "not \\(4, 4, 2\\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "not \\(0, 4, 3\\)"),
        (np.full((4, 4, 3), 7.0), ValueError, "lies in 0 to 1, not 7 to 7"),
        (np.zeros((4, 4, 3), np.int64), TypeError, "not int64"),
        (7, TypeError, "not int"),
    ],
)
def test_what_can_be_no_picture_is_refused(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_image(given)


def test_the_public_face_says_what_there_is() -> None:
    assert caption.available_models() == ["photos"]
    assert caption.__version__[0].isdigit()
    for name in caption.__all__:
        assert getattr(caption, name) is not None


@pytest.mark.parametrize("kind", [b"E\xff\xffi", b"mim\xff", b"\x80\0\0\0"])
def test_a_heic_whose_items_are_of_no_readable_type_is_refused_before_it_ends_the_process(
    kind: bytes,
) -> None:
    data = (SAMPLES / "turned-6.heic").read_bytes()
    assert b"Exif" in data
    said = failure(io.BytesIO(data.replace(b"Exif", kind)))
    assert said == "picture: is damaged (an item in it is of no type that can be read)"
