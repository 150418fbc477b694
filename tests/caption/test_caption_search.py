"""Search by sentence with an index: the same answers, and nothing is looked at twice."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny_caption_config
from PIL import Image

import caption.search
from caption.captioner import Captioner
from caption.cli import main
from caption.model.network import CaptionNetwork
from caption.model.text import SPECIAL
from caption.search import SceneIndex, search, search_index
from common.commands.inputs import Input, collect_inputs
from common.errors import InputError
from common.models.files import write_model

WORDS = (*SPECIAL, "a", "dog", "cat", "runs")


def written_model(directory: Path, seed: int) -> str:
    torch.manual_seed(seed)
    config = tiny_caption_config(WORDS, hidden_size=16)
    write_model(directory, dataclasses.asdict(config), CaptionNetwork(config).state_dict(), "")
    return str(directory)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written_model(tmp_path_factory.mktemp("models") / "tiny", 1)


@pytest.fixture(scope="module")
def captioner(model: str) -> Captioner:
    return Captioner.load(model)


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        drawing(number).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def drawing(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(pixels).resize((60, 40))


class Looking:
    """Counts the photographs that a captioner looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked = 0
        look = Captioner.look

        def counted(captioner: Captioner, pictures: list[torch.Tensor]) -> object:
            self.looked += len(pictures)
            return look(captioner, pictures)

        monkeypatch.setattr(Captioner, "look", counted)

    def take(self) -> int:
        """How many since this was asked last."""
        looked, self.looked = self.looked, 0
        return looked


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Looking:
    return Looking(monkeypatch)


def run_search(model: str, *arguments: str) -> int:
    return main(["search", "a dog runs", *arguments, "--index", "index", "--model", model, "--threads", "1"])


def inputs_of(folder: Path) -> list[Input]:
    return collect_inputs([str(folder)], (".png",))


def test_an_index_gives_the_answers_of_a_search_without(
    captioner: Captioner, photographs: Path, looking: Looking, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, _ = search(captioner, "a dog runs", inputs_of(photographs), 2)
    looking.take()
    for looked in (3, 0):
        with SceneIndex(Path("index"), "model") as index:
            found, summary = search_index(captioner, "a dog runs", inputs_of(photographs), 2, index)
        assert [path for _, path in found] == [path for _, path in expected]
        np.testing.assert_allclose([s for s, _ in found], [s for s, _ in expected], atol=2e-3)
        assert summary.failed == 0
        assert looking.take() == looked
    assert capsys.readouterr().err == ""


def test_only_what_changed_is_looked_at_again(model: str, photographs: Path, looking: Looking) -> None:
    assert run_search(model, "photos") == 0
    assert looking.take() == 3
    drawing(7).save(photographs / "b.png")
    os.utime(photographs / "b.png", ns=(1, 1))
    drawing(8).save(photographs / "d.png")
    (photographs / "a.png").unlink()
    assert run_search(model, "photos") == 0
    assert looking.take() == 2
    with sqlite3.connect("index") as file:
        names = {os.fsdecode(row[0]) for row in file.execute("SELECT path FROM photographs")}
    file.close()
    assert names == {str(photographs / name) for name in ("b.png", "c.png", "d.png")}


def test_a_changed_photograph_is_found_by_what_it_shows_now(captioner: Captioner, photographs: Path) -> None:
    for seed in (1, 9):
        drawing(seed).save(photographs / "b.png")
        os.utime(photographs / "b.png", ns=(seed, seed))
        with SceneIndex(Path("index"), "model") as index:
            found, _ = search_index(captioner, "a dog runs", inputs_of(photographs), 2, index)
        (expected,) = captioner.log_likelihoods("a dog runs", [photographs / "b.png"])
        assert dict((path, score) for score, path in found)[str(photographs / "b.png")] == pytest.approx(
            expected, abs=2e-3
        )


def test_without_inputs_all_that_the_index_has_is_searched(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search(model, "photos") == 0
    first = capsys.readouterr().out.splitlines()
    (photographs / "b.png").unlink()
    assert run_search(model) == 0
    expected = [str(Path.cwd() / path) for path in first if path != "photos/b.png"]
    assert capsys.readouterr().out.splitlines() == expected
    assert main(["search", "a dog", "--model", model]) == 1
    assert "nothing to search" in capsys.readouterr().err


def test_another_model_makes_the_index_anew_and_says_so(
    model: str, photographs: Path, tmp_path: Path, looking: Looking, capsys: pytest.CaptureFixture[str]
) -> None:
    other = written_model(tmp_path / "other", 2)
    for used, said in ((model, ""), (other, "another model; it is made anew"), (other, "")):
        looking.take()
        assert run_search(used, "photos") == 0
        captured = capsys.readouterr()
        assert said in captured.err and captured.err.count("\n") == bool(said)
        assert looking.take() == (0 if (used, said) == (other, "") else 3)
        best = captured.out.splitlines()[0]
        scores = Captioner.load(used).log_likelihoods("a dog runs", [photographs / "a.png", best])
        assert scores[1] >= scores[0] - 2e-3


def test_photographs_on_a_disk_that_is_away_are_not_forgotten(
    model: str, photographs: Path, tmp_path: Path, looking: Looking
) -> None:
    assert run_search(model, "photos") == 0
    photographs.rename(tmp_path / "away")
    (tmp_path / "other").mkdir()
    drawing(5).save(tmp_path / "other" / "e.png")
    assert run_search(model, "other") == 0
    (tmp_path / "away").rename(photographs)
    looking.take()
    assert run_search(model, "photos") == 0
    assert looking.take() == 0


def test_an_interrupted_update_keeps_what_was_looked_at(
    model: str, photographs: Path, monkeypatch: pytest.MonkeyPatch, looking: Looking
) -> None:
    add = SceneIndex.add

    def interrupted(index: SceneIndex, place: str, *rest: object) -> None:
        if place.endswith("c.png"):
            raise KeyboardInterrupt
        add(index, place, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(SceneIndex, "add", interrupted)
        assert run_search(model, "photos", "--batch-size", "1") == 130
    looking.take()
    assert run_search(model, "photos") == 0
    assert looking.take() == 1


def test_a_photograph_that_cannot_be_read_any_more_is_said_each_time(
    captioner: Captioner, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for failed in (0, 1, 1):
        with SceneIndex(Path("index"), "model") as index:
            found, summary = search_index(captioner, "a dog", inputs_of(photographs), 2, index)
        assert summary.failed == failed
        assert capsys.readouterr().err.count("b.png: is not a picture") == failed
        assert len(found) == 3 - failed
        (photographs / "b.png").write_bytes(b"no picture")


@pytest.mark.parametrize("content", [b"my own notes", b"SQLite format 3\0" + bytes(100)])
def test_what_is_no_index_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index").write_bytes(content)
    with pytest.raises(InputError, match=r"index: is (there, and is no index|damaged)"):
        SceneIndex(tmp_path / "index", "model")
    assert (tmp_path / "index").read_bytes() == content


def test_somebody_else_s_database_is_left_as_it_is(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "index") as file:
        file.execute("CREATE TABLE photographs (path)")
    file.close()
    before = (tmp_path / "index").read_bytes()
    with pytest.raises(InputError, match="is no index of photographs; choose another file"):
        SceneIndex(tmp_path / "index", "model")
    assert (tmp_path / "index").read_bytes() == before


def test_a_photograph_is_never_the_index(model: str, photographs: Path) -> None:
    before = (photographs / "a.png").read_bytes()
    arguments = ["search", "a dog", "photos", "--index", "photos/a.png", "--model", model]
    assert main(arguments) == 1
    assert (photographs / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE photographs SET scene = substr(scene, 1, 10)",
        "UPDATE photographs SET layout = '[[[1000000, 1000000], \"float16\"]]'",
        "UPDATE photographs SET layout = '[[[-1], \"float16\"]]'",
        "UPDATE photographs SET layout = '[[[1], \"object\"]]'",
        "UPDATE photographs SET layout = '{}'",
        "UPDATE photographs SET layout = 'no JSON'",
        "UPDATE photographs SET layout = replace(layout, '49, 8', '8, 49')",
        "UPDATE photographs SET scene = 'text'",
    ],
)
def test_a_tampered_index_is_an_error_that_names_it(
    captioner: Captioner, photographs: Path, change: str
) -> None:
    with SceneIndex(Path("index"), "model") as index:
        search_index(captioner, "a dog", inputs_of(photographs), 2, index)
    with sqlite3.connect("index") as file:
        file.execute(change)
    file.close()
    with SceneIndex(Path("index"), "model") as index, pytest.raises(InputError, match="index: is damaged"):
        search_index(captioner, "a dog", inputs_of(photographs), 2, index)


def test_a_cut_index_is_an_error_that_names_it(captioner: Captioner, photographs: Path) -> None:
    with SceneIndex(Path("index"), "model") as index:
        search_index(captioner, "a dog", inputs_of(photographs), 2, index)
    data = Path("index").read_bytes()
    Path("index").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="index: "), SceneIndex(Path("index"), "model") as index:
        search_index(captioner, "a dog", inputs_of(photographs), 2, index)


def test_symbols_of_words_come_back_exactly(tmp_path: Path) -> None:
    """Half precision holds whole numbers up to 2048; vocabularies are larger."""
    scene = (torch.tensor([[2049, 5999]]), torch.tensor([[[0.5, -3.0]]]), torch.zeros(1, 0, 4))
    with SceneIndex(tmp_path / "index", "model") as index:
        index.add("photo.png", (1, 2), scene)  # type: ignore[arg-type]
        (row,) = index._file.execute("SELECT layout, scene FROM photographs")
    found = caption.search._restored(*row)
    for part, expected in zip(found, scene, strict=True):
        assert part.dtype == expected.dtype
        assert torch.equal(part, expected)


def test_an_index_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be"):
        SceneIndex(tmp_path / "file" / "index", "model")
