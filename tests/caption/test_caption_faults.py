"""Photographs on a bad day, and where their time goes."""

from __future__ import annotations

import json
import sys
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from describing import describe, drawn
from nights import Nights, kill_and_resume
from PIL import Image, ImageFile
from reports import rows_by_name

from caption import cli
from caption.images import _TimedFile, open_image
from caption.options import STAGES
from caption.output.tables import CaptionTable
from common.stages import Stopwatch


def failed_alone(model: str) -> str:
    """Describe the photographs, of which `b.jpg` fails; why it does."""
    assert describe(model, "photos", "--output", "out.jsonl", "--report", "report.tsv") == 1
    found = rows_by_name(Path("report.tsv"))
    assert {name: row["status"] for name, row in found.items()} == {
        "a.png": "done",
        "b.jpg": "failed",
        "c.png": "done",
        "": "total",
    }
    return found["b.jpg"]["reason"]


def test_a_photograph_that_vanishes_after_it_was_listed_is_one_line(
    model: str, photographs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = cli._captioner

    def load_late(*arguments: Any) -> Any:
        (photographs / "b.jpg").unlink()
        return load(*arguments)

    monkeypatch.setattr(cli, "_captioner", load_late)
    assert failed_alone(model) == "no such file"
    assert "caption: photos/b.jpg: no such file" in capsys.readouterr().err


def test_a_photograph_for_which_memory_does_not_suffice_is_one_line(
    model: str, photographs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = ImageFile.ImageFile.load

    def refused(self: ImageFile.ImageFile) -> Any:
        if self.format == "JPEG":
            raise MemoryError
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", refused)
    assert failed_alone(model).startswith("needs more memory than there is")
    assert "Traceback" not in capsys.readouterr().err


def test_the_report_tells_the_seconds_of_each_stage(model: str, photographs: Path) -> None:
    assert describe(model, "photos", "--output", "out.jsonl", "--report", "report.tsv") == 0
    found = rows_by_name(Path("report.tsv"))
    total = found.pop("")
    for name in STAGES:
        measured = [float(row[name]) for row in found.values()]
        assert float(total[name]) == pytest.approx(sum(measured), abs=0.01)
        assert all(row[name] for row in found.values()), "measured, if in less than half a millisecond"


def test_a_slow_disk_is_told_from_slow_decoding(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]  # what the clock shows; only slow work moves it
    monkeypatch.setattr("common.stages.time", SimpleNamespace(perf_counter=lambda: now[0]))
    load = ImageFile.ImageFile.load

    class SlowFile(FileIO):
        def readinto(self, buffer: Any) -> int | None:
            now[0] += 1.0
            return super().readinto(buffer)

    def slowly(self: ImageFile.ImageFile) -> Any:
        now[0] += 64.0
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", slowly)
    watch = Stopwatch()
    _TimedFile.__bases__ = (SlowFile,)
    try:
        with watch.of("decode"):
            open_image(photographs / "a.png")
    finally:
        _TimedFile.__bases__ = (FileIO,)
    assert 0.0 < watch.seconds["read"] < 64.0
    assert watch.seconds["decode"] % 64.0 == 0.0 < watch.seconds["decode"]


def test_with_json_every_line_is_an_object(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (8, 8)).save(photographs / "black.png")
    (photographs / "bad.png").write_text("no picture")
    assert describe(model, "photos", "--output", "out.jsonl", "--log-format", "json") == 1
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    by_event: dict[str, list[dict[str, Any]]] = {}
    for one in said:
        by_event.setdefault(one["event"], []).append(one)
    assert {Path(one["input"]).name for one in by_event["done"]} == {"a.png", "b.jpg", "c.png", "black.png"}
    assert [Path(one["input"]).name for one in by_event["failed"]] == ["bad.png"]
    assert [Path(one["input"]).name for one in by_event["warning"]] == ["black.png"]
    assert (said[-1]["event"], said[-1]["done"], said[-1]["failed"]) == ("end", 4, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not to be had")
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)], ids=["three", "twenty"])
def test_a_batch_that_is_killed_at_any_moment_has_every_caption_once_in_every_format(
    kills: int, model: str, tmp_path: Path
) -> None:
    count, photos, output = 4 * kills + 8, tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    for number in range(count):
        drawn((40, 5 * number % 256, 90)).save(photos / f"{number:02d}.png")
    arguments = ["describe", str(photos), "--output", str(output), "--format", "txt,jsonl,csv,html"]
    arguments += ["--model", model, "--beam", "2", "--max-words", "4", "--batch-size", "1", "--threads", "1"]
    nights = Nights("import caption.captioner; from caption.cli import main")
    names, done = kill_and_resume(
        nights, arguments, lambda: list(output.glob("*.txt")), tmp_path, kills, 0.02
    )
    nights.close()
    assert names == [f"{number:02d}.txt" for number in range(count)]
    assert max(done.values()) == 1
    for format in ("jsonl", "csv", "html"):
        table = CaptionTable(output / f"captions.{format}", format)
        assert sorted(table.captions) == sorted(map(str, photos.iterdir()))
        assert not table._outdated, "no photograph has two rows"
        for path, caption in table.captions.items():
            assert (output / Path(path).with_suffix(".txt").name).read_text() == f"{caption}\n"
