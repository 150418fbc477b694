"""Captions remember what they were made from: none is trusted that is of another photograph or of old."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from describing import describe, drawn, lines

from caption.captioner import Captioner
from caption.output.metadata import picture_digest, read_description, write_description
from common.commands.ledger import NAME

FORMATS = ("txt", "csv", "jsonl", "html")


@pytest.fixture(autouse=True)
def _there(photographs: Path) -> None:
    """Every test has the photographs."""


def captions(format: str) -> dict[str, str]:
    """What stands in `out`, by photograph."""
    if format == "txt":
        return {f"photos/{path.stem}": path.read_text().rstrip() for path in Path("out").rglob("*.txt")}
    path = Path("out") / f"captions.{format}"
    if format == "jsonl":
        rows = lines(path)
    elif format == "csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        figures = [line for line in path.read_text().split("\n") if line.startswith("<figure")]
        rows = [
            {"path": one.split('"')[1], "caption": one.split('alt="')[1].split('"')[0]} for one in figures
        ]
    assert len({row["path"] for row in rows}) == len(rows)
    return {row["path"].rpartition(".")[0]: row["caption"] for row in rows}


def writes(model: str, format: str, *arguments: str) -> int:
    Path("out").mkdir(exist_ok=True)
    return describe(model, "photos", "--format", format, "--output", "out", *arguments)


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_again_does_nothing(model: str, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writes(model, format) == 0
    before = captions(format)
    assert len(before) == 3
    monkeypatch.setattr(Captioner, "load", None)
    assert writes(model, format) == 0
    assert captions(format) == before


@pytest.mark.parametrize("format", FORMATS)
def test_other_options_describe_again_and_that_is_said(
    model: str, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert writes(model, format) == 0
    assert writes(model, format, "--prefix", "a dog") == 0
    said = capsys.readouterr().err
    assert "photos/a.png (and 2 more): is done again with prefix a dog in place of" in said
    found = captions(format)
    assert len(found) == 3
    assert all(text.startswith("a dog") for text in found.values())


@pytest.mark.parametrize("format", FORMATS)
def test_a_photograph_that_was_replaced_is_described_again(
    model: str, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert writes(model, format, "--prefix", "a dog") == 0
    drawn("yellow").resize((50, 50)).save("photos/a.png")
    assert writes(model, format, "--prefix", "a dog") == 0
    said = capsys.readouterr().err
    assert "photos/a.png: has changed, and is done again\n" in said
    assert "1 done, 2 already there" in said
    assert len(captions(format)) == 3


@pytest.mark.parametrize("format", ["csv", "jsonl", "html"])
def test_the_same_path_seen_from_another_folder_is_another_photograph(
    model: str, format: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = str(Path.cwd() / f"captions.{format}")
    assert describe(model, "photos/a.png", "--output", table) == 0
    Path("elsewhere/photos").mkdir(parents=True)
    drawn("yellow").save("elsewhere/photos/a.png")
    monkeypatch.chdir("elsewhere")
    assert describe(model, "photos/a.png", "--output", table) == 1
    assert "is there, and was made from photos/a.png; --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_rows_that_somebody_wrote_or_changed_are_neither_trusted_nor_lost(
    model: str, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert writes(model, format, "--prefix", "a dog") == 0
    table = Path("out") / f"captions.{format}"
    mine = table.read_text().replace("a dog", "my dog", 1)
    table.write_text(mine)
    assert writes(model, format, "--prefix", "a dog") == 0
    assert table.read_text() == mine
    assert writes(model, format, "--prefix", "a cat") == 1
    said = capsys.readouterr().err
    assert f"somebody has changed its row in out/captions.{format} since it was written; --overwrite" in said
    found = captions(format)
    assert found.pop("photos/a").startswith("my dog")
    assert all(text.startswith("a cat") for text in found.values())
    (Path("out") / NAME).unlink()
    assert writes(model, format, "--prefix", "a cat") == 1
    assert "it is not known what it was made from" in capsys.readouterr().err
    assert writes(model, format, "--prefix", "a cat", "--overwrite") == 0
    assert all(text.startswith("a cat") for text in captions(format).values())


def test_a_run_that_was_killed_between_old_and_new_rows_leaves_one_row_a_photograph(model: str) -> None:
    assert writes(model, "jsonl") == 0
    table = Path("out/captions.jsonl")
    table.write_text(table.read_text() + json.dumps({"path": "photos/b.jpg", "caption": "newer"}) + "\n")
    drawn("yellow").save("photos/d.png")
    assert writes(model, "jsonl") == 0
    assert captions("jsonl")["photos/b"] == "newer"
    assert len(captions("jsonl")) == 4


def test_one_named_text_file_remembers_its_photograph(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert describe(model, "photos/a.png", "--output", "one.txt") == 0
    assert describe(model, "photos/b.jpg", "--output", "one.txt") == 1
    assert "one.txt is there, and was made from photos/a.png" in capsys.readouterr().err
    assert describe(model, "photos/a.png", "--output", "one.txt", "--prefix", "a dog") == 0
    assert "is done again with prefix a dog" in capsys.readouterr().err
    assert Path("one.txt").read_text().startswith("a dog")


def test_sheets_are_drawn_again_with_other_options_and_never_over_somebody_elses(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["photos/a.png", "--attention", "maps"]
    assert describe(model, *arguments) == 0
    before = Path("maps/a.attention.png").read_bytes()
    assert describe(model, *arguments, "--prefix", "a dog runs") == 0
    assert "is done again with prefix" in capsys.readouterr().err
    assert Path("maps/a.attention.png").read_bytes() != before
    Path(f"maps/{NAME}").unlink()
    assert describe(model, *arguments) == 1
    assert "it is not known what it was made from" in capsys.readouterr().err


def test_sidecars_are_written_again_when_photograph_or_options_change(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photos/a.txt").write_text("my own words\n")
    assert describe(model, "photos", "--sidecar") == 0
    assert describe(model, "photos", "--sidecar", "--prefix", "a dog") == 0
    assert "photos/b.jpg (and 1 more): is done again with prefix a dog" in capsys.readouterr().err
    assert Path("photos/a.txt").read_text() == "my own words\n"
    assert Path("photos/b.txt").read_text().startswith("a dog")
    Path("photos/b.txt").write_text("mended by hand\n")
    assert describe(model, "photos", "--sidecar", "--prefix", "a cat") == 0
    assert "photos/b.jpg: its sidecar stays as somebody has changed it" in capsys.readouterr().err
    assert Path("photos/b.txt").read_text() == "mended by hand\n"
    assert Path("photos/deep/c.txt").read_text().startswith("a cat")
    monkeypatch.setattr(Captioner, "load", None)
    assert describe(model, "photos", "--sidecar", "--prefix", "a cat") == 0


def test_a_caption_is_joined_to_a_sidecar_once_whatever_the_options(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos/a.txt").write_text("sks\n")
    arguments = ["photos/a.png", "--sidecar", "--existing", "append", "--prefix"]
    for _ in range(2):
        assert describe(model, *arguments, "a dog") == 0
    joined = Path("photos/a.txt").read_text()
    assert joined.startswith("sks, a dog") and joined.count("sks") == 1
    assert describe(model, *arguments, "a cat") == 1
    assert "was joined with the caption from before; --existing overwrite" in capsys.readouterr().err
    assert Path("photos/a.txt").read_text() == joined


@pytest.mark.skipif(os.name == "nt", reason="no such device")
def test_what_is_no_file_is_written_to_and_remembers_nothing(model: str) -> None:
    for _ in range(2):
        assert describe(model, "photos", "--format", "csv", "--output", os.devnull) == 0


@pytest.mark.parametrize("arguments", [["--output", "out"], ["--output", "out/captions.csv"], ["--sidecar"]])
def test_a_caption_written_into_a_photograph_makes_it_no_other(
    model: str,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("out").mkdir()
    arguments = ["photos", "--attention", "maps", *arguments]
    assert describe(model, *arguments, "--write-metadata") == 0
    assert describe(model, *arguments[:1], "--write-metadata", "--overwrite", "--prefix", "a cat") == 0
    assert read_description(Path("photos/b.jpg").read_bytes()) is not None
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(Captioner, "load", None)
        assert describe(model, *arguments) == 0
        assert describe(model, *arguments, "--write-metadata") == 0
        assert "3 already there" in capsys.readouterr().err
    drawn("white").save("photos/a.png")
    assert describe(model, *arguments) == 0
    assert "photos/a.png: has changed, and is done again" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif"])
def test_the_digest_of_a_picture_is_of_all_but_its_description(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    drawn("red").save(path)
    before = picture_digest(str(path), 1, 1)
    assert len(before) == 64
    if suffix != "gif":
        write_description(path, "a dog")
        assert picture_digest(str(path), 1, 2) == before
        write_description(path, "a cat runs")
        assert picture_digest(str(path), 1, 3) == before
    drawn("blue").save(path)
    assert picture_digest(str(path), 1, 4) != before
