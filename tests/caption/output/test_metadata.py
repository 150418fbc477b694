"""Captions in the files themselves: found by other readers, and nothing else changed."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from xml.dom import minidom

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from caption.output.metadata import described, read_description, write_description
from common.errors import InputError

# What XML can hold.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=60
).filter(str.strip)  # spaces alone describe nothing


def picture(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (21, 30, len(mode)), np.uint8)
    return Image.fromarray(pixels, mode)


def saved(path: Path, **options: Any) -> Path:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    image = picture("RGBA" if options.pop("transparent", False) else "RGB")
    image.save(path, exif=exif, **options)
    return path


def words_in(element: minidom.Element) -> str:
    text = element.firstChild
    assert isinstance(text, minidom.Text)
    return text.data


KINDS = [
    ("a.jpg", {}),
    ("a.png", {}),
    ("lossy.webp", {}),
    ("lossless.webp", {"lossless": True}),
    ("transparent.webp", {"lossless": True, "transparent": True}),
]


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_other_readers_find_the_caption_and_the_pixels_are_the_same(
    tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    path = saved(tmp_path / name, **options)
    with Image.open(path) as image:
        before, mode = np.asarray(image), image.mode
    for text in ("a dog <runs> & jumps", "zwei Füße im Gras"):  # the second replaces the first
        write_description(path, text)
        with Image.open(path) as image:
            assert image.mode == mode
            assert np.array_equal(np.asarray(image), before)
            assert image.getexif()[0x010F] == "A camera"
            packet = image.info.get("xmp") or image.info["XML:com.adobe.xmp"]
        (line,) = minidom.parseString(packet).getElementsByTagName("rdf:li")
        assert words_in(line) == text
        assert read_description(path.read_bytes()) == text


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_file_without_any_metadata_gets_its_first(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"plain.{suffix}"
    picture().save(path)
    assert read_description(path.read_bytes()) is None
    write_description(path, "a dog")
    with Image.open(path) as image:
        assert image.size == (30, 21)
        image.load()
    assert read_description(path.read_bytes()) == "a dog"


def test_what_else_xmp_says_is_kept() -> None:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    changed = described(packet, "a dog")
    assert b'xmp:Rating="5"' in changed
    assert described(changed.split(b"?>", 1)[1].rsplit(b"<?", 1)[0], "a dog") == changed


@given(text=TEXTS)
def test_any_caption_comes_back_as_it_was(text: str) -> None:
    data = io.BytesIO()
    picture().save(data, "JPEG", xmp=described(None, text))
    assert read_description(data.getvalue()) == text


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.gif", b"GIF89a"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"),
        ("empty.jpg", b""),
        ("empty.webp", b"RIFF\4\0\0\0WEBP"),
    ],
)
def test_a_file_without_a_place_for_it_is_left_as_it_is(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be written into it"):
        write_description(path, "a dog")
    assert path.read_bytes() == data


LANGUAGES = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/">
 <rdf:Description rdf:about=""><dc:description><rdf:Alt><rdf:li xml:lang="de">ein Hund</rdf:li>
 <rdf:li xml:lang="x-default">my own words</rdf:li><rdf:li xml:lang="fr">un chien</rdf:li></rdf:Alt>
 </dc:description></rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_other_languages_of_the_description_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    picture().save(path, xmp=LANGUAGES.encode())
    assert read_description(path.read_bytes()) == "my own words"
    write_description(path, "a dog")
    with Image.open(path) as image:
        found = minidom.parseString(image.info["xmp"]).getElementsByTagName("rdf:li")
    said = {line.getAttribute("xml:lang"): words_in(line) for line in found}
    assert said == {"x-default": "a dog", "de": "ein Hund", "fr": "un chien"}
    assert found[0].getAttribute("xml:lang") == "x-default"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ('dc:description="my own words"/>', "my own words"),
        ("><dc:description>my own words</dc:description></rdf:Description>", "my own words"),
        (
            '><dc:description><rdf:Alt><rdf:li xml:lang="de">ein Hund</rdf:li></rdf:Alt></dc:description>'
            "</rdf:Description>",
            "ein Hund",
        ),
        ("><dc:description><rdf:Alt><rdf:li/></rdf:Alt></dc:description></rdf:Description>", None),
    ],
)
def test_a_description_is_found_however_it_is_written(form: str, expected: str | None) -> None:
    head = LANGUAGES.partition("><dc:description>")[0]
    packet = f"{head} {form}</rdf:RDF></x:xmpmeta>".encode()
    data = io.BytesIO()
    picture().save(data, "JPEG", xmp=packet)
    assert read_description(data.getvalue()) == expected
    again = described(packet, "a dog")
    assert again.count(b"my own words") == 0
    assert again.count(b"a dog") == 1


def test_a_link_stays_a_link_and_leads_to_the_caption(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg")
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "b.jpg"
    link.symlink_to("../a.jpg")
    write_description(link, "a dog")
    assert link.is_symlink()
    assert read_description(path.read_bytes()) == "a dog"
    assert [entry.name for entry in (tmp_path / "links").iterdir()] == ["b.jpg"]


def test_a_file_under_two_names_is_left_whole(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg")
    os.link(path, tmp_path / "b.jpg")
    before = path.read_bytes()
    with pytest.raises(InputError, match="is one file under 2 names"):
        write_description(path, "a dog")
    assert path.samefile(tmp_path / "b.jpg")
    assert path.read_bytes() == before


def test_a_read_only_file_is_changed_only_if_that_is_meant(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg")
    path.chmod(0o444)
    with pytest.raises(InputError, match="is read-only"):
        write_description(path, "a dog")
    assert read_description(path.read_bytes()) is None
    write_description(path, "a dog", even_read_only=True)
    assert read_description(path.read_bytes()) == "a dog"
    assert path.stat().st_mode & 0o777 == 0o444


def test_a_write_that_fails_leaves_the_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.jpg")
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_description(path, "a dog")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jpg"]


def test_a_private_file_stays_private(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg")
    path.chmod(0o600)
    write_description(path, "a dog")
    assert path.stat().st_mode & 0o777 == 0o600
