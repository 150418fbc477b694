"""Captions on paper: lines that any reader takes, and a table that survives a kill."""

from __future__ import annotations

import base64
import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from caption.captioner import Caption
from caption.output.tables import CaptionTable
from caption.output.writers import as_json, as_named_text, as_row, as_text, header
from common.errors import InputError

# The tables that need nothing of a photograph but its path.
ROWS = ("jsonl", "csv")

# What a file system may hold: any character but NUL, and bytes that are no UTF-8.
NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1)
CAPTIONS = st.builds(
    Caption,
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r")),
    log_prob=st.floats(-100, 0),
    confidence=st.floats(0, 1),
)


def caption(text: str = "a dog runs") -> Caption:
    return Caption(text, -3.21987, 0.87654)


def rows(path: Path, format: str) -> list[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    if format == "csv":
        return [(row["path"], row["caption"]) for row in csv.DictReader(io.StringIO(text, newline=""))]
    return [(row["path"], row["caption"]) for row in map(json.loads, text.splitlines())]


def test_text_is_the_caption_alone_or_behind_its_path() -> None:
    assert as_text(caption()) == "a dog runs\n"
    assert as_named_text("a/b.jpg", caption()) == "a/b.jpg\ta dog runs\n"
    assert as_named_text("a\nb\tc.jpg", caption()) == "a\\nb\\tc.jpg\ta dog runs\n"


@given(path=NAMES, caption=CAPTIONS)
def test_any_name_and_caption_are_one_line_of_json(path: str, caption: Caption) -> None:
    line = as_json(path, caption)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    fields = json.loads(line.encode())
    assert (fields["path"], fields["caption"]) == (path, caption.text)
    assert fields["confidence"] == pytest.approx(caption.confidence, abs=1e-4)
    assert fields["log_prob"] == pytest.approx(caption.log_prob, abs=1e-4)


def test_json_holds_the_runners_up_with_their_scores() -> None:
    others = (Caption("a cat sits", -3.0, 0.25), Caption("a cat", -4.0, 0.125))
    fields = json.loads(as_json("a.jpg", Caption("a dog runs", -2.0, 0.5, others)))
    told = [(one["caption"], one["log_prob"], one["confidence"]) for one in fields["alternatives"]]
    assert told == [("a cat sits", -3.0, 0.25), ("a cat", -4.0, 0.125)]


@given(path=NAMES, caption=CAPTIONS)
def test_any_name_and_caption_are_one_row_of_csv(path: str, caption: Caption) -> None:
    text = header("csv") + as_row("csv", path, caption)
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["path"], row["caption"]) == (path, caption.text)


@pytest.mark.parametrize("format", ROWS)
def test_a_table_goes_on_where_it_stopped(tmp_path: Path, format: str) -> None:
    path = tmp_path / "new" / "table"
    CaptionTable(path, format).add("a.jpg", caption())
    table = CaptionTable(path, format)
    assert table.captions == {"a.jpg": "a dog runs"}
    table.add('b,"c".jpg', caption("zwei"))
    assert rows(path, format) == [("a.jpg", "a dog runs"), ('b,"c".jpg', "zwei")]


@pytest.mark.parametrize("format", ROWS)
def test_a_line_torn_at_any_byte_is_dropped(tmp_path: Path, format: str) -> None:
    path = tmp_path / "table"
    table = CaptionTable(path, format)
    table.add("é.jpg", caption())
    table.add("ü.jpg", caption("über"))
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        torn = CaptionTable(path, format)
        assert torn.captions.keys() <= {"é.jpg", "ü.jpg"}
        for name, text in [("é.jpg", "a dog runs"), ("ü.jpg", "über")]:
            if name not in torn.captions:
                torn.add(name, caption(text))
        assert path.read_bytes() == data


@pytest.mark.parametrize("format", ROWS)
def test_a_table_that_is_overwritten_stays_until_its_first_row(tmp_path: Path, format: str) -> None:
    path = tmp_path / "table"
    CaptionTable(path, format).add("a.jpg", caption())
    table = CaptionTable(path, format, overwrite=True)
    assert rows(path, format) == [("a.jpg", "a dog runs")]
    table.add("b.jpg", caption("new"))
    table.add("c.jpg", caption("new"))
    assert rows(path, format) == [("b.jpg", "new"), ("c.jpg", "new")]


@pytest.mark.parametrize("format", ROWS)
@pytest.mark.parametrize("content", [b"Dear diary,\n", b"{}\n", b"x", b"\xff\xd8\xff", b"[1]\n", b"\n"])
def test_a_file_of_another_kind_is_never_cut(tmp_path: Path, format: str, content: bytes) -> None:
    path = tmp_path / "diary"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"is there, and is not {format} with captions"):
        CaptionTable(path, format)
    assert path.read_bytes() == content


def test_a_table_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        CaptionTable(tmp_path / "file" / "table", "jsonl").add("a.jpg", caption())


class Page(HTMLParser):
    """What a browser finds on a page: each figure's path, alt text, caption and picture."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[dict[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "figure":
            self.figures.append({"path": found["data-path"]})
        if tag == "img":
            self.figures[-1] |= {"alt": found["alt"], "src": found["src"]}


@pytest.mark.parametrize("name", ["a.png", 'a "b" <i> & c.png', "line\nbreak.png"])
def test_a_page_shows_each_photograph_with_its_caption_as_alt_text(tmp_path: Path, name: str) -> None:
    photograph = tmp_path / name
    Image.new("RGB", (800, 400), "red").save(photograph)
    table = CaptionTable(tmp_path / "page.html", "html")
    table.add(str(photograph), caption('a "red" <wall>'))
    page = Page((tmp_path / "page.html").read_text())
    assert [figure["path"] for figure in page.figures] == [str(photograph)]
    assert page.figures[0]["alt"] == 'a "red" <wall>'
    with Image.open(io.BytesIO(base64.b64decode(page.figures[0]["src"].split(",")[1]))) as thumbnail:
        assert thumbnail.size == (320, 160)


def test_a_torn_page_goes_on_after_its_last_whole_figure(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.new("RGB", (8, 8)).save(path)
    target = tmp_path / "page.html"
    table = CaptionTable(target, "html")
    for path in paths[:2]:
        table.add(str(path), caption())
    target.write_bytes(target.read_bytes()[:-20])
    again = CaptionTable(target, "html")
    assert again.captions.keys() == {str(paths[0])}
    for path in paths[1:]:
        again.add(str(path), caption())
    assert [figure["path"] for figure in Page(target.read_text()).figures] == [str(path) for path in paths]


def test_somebody_elses_page_is_not_written_to(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("<!doctype html><p>mine")
    with pytest.raises(InputError, match="is not html with captions"):
        CaptionTable(target, "html")
