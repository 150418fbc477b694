"""Captioned photographs become batches: nothing is lost, and the same generator gives the same batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from caption.data import (
    Photograph,
    TrainingPhotographs,
    cache_grids,
    cache_pictures,
    pad_captions,
    read_photographs,
    vary,
)
from caption.images import SIZE
from caption.text import END, START, Vocabulary
from common.errors import InputError

CAPTIONS = [
    ("A red dog .", "The dog runs"),
    ("A cat",),
    ("One", "Two cats", "Three red cats run"),
    ("A dog",),
]


@pytest.fixture
def photographs(tmp_path: Path) -> list[Photograph]:
    found = []
    for number, captions in enumerate(CAPTIONS):
        path = tmp_path / f"{number}.png"
        shades = np.linspace(0, 255, 40 * 30 * 3).reshape(40, 30, 3) * (number + 1) / len(CAPTIONS)
        Image.fromarray(shades.astype(np.uint8)).save(path)
        found.append(Photograph(path, captions))
    return found


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.of((caption for captions in CAPTIONS for caption in captions), least=1)


def test_rows_of_one_photograph_are_gathered_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg"):
        (tmp_path / name).touch()
    manifest = tmp_path / "photos.tsv"
    manifest.write_text("path\tcaption\tby\nb.jpg\tone\tx\na.jpg\ttwo\ty\nb.jpg\tthree\tz\n")
    assert read_photographs(manifest) == [
        Photograph(tmp_path / "b.jpg", ("one", "three")),
        Photograph(tmp_path / "a.jpg", ("two",)),
    ]


def test_captions_are_padded_with_the_end() -> None:
    inputs, targets, lengths = pad_captions([[5, 6, 7], [], [8]])
    assert inputs.tolist() == [[START, 5, 6, 7], [START, END, END, END], [START, 8, END, END]]
    assert targets.tolist() == [[5, 6, 7, END], [END, END, END, END], [8, END, END, END]]
    assert lengths.tolist() == [4, 1, 2]
    assert inputs.dtype == targets.dtype == lengths.dtype == torch.long


def brightness(pictures: Tensor) -> Tensor:
    """An encoder of a kind: a grid of 2 x 2 means."""
    return torch.nn.functional.adaptive_avg_pool2d(pictures.float(), 2).flatten(2).transpose(1, 2)


def training(
    photographs: list[Photograph], vocabulary: Vocabulary, tmp_path: Path, grids: bool, longest: int = 22
) -> TrainingPhotographs:
    pictures = cache_pictures(photographs, tmp_path / "cache")
    if not grids:
        return TrainingPhotographs(photographs, vocabulary, pictures, 3, longest=longest)
    straight, mirrored = (
        cache_grids(brightness, {}, photographs, pictures, tmp_path / "cache", flipped)
        for flipped in (False, True)
    )
    return TrainingPhotographs(photographs, vocabulary, (straight, mirrored), 3, longest=longest)


@pytest.mark.parametrize("grids", [True, False])
def test_a_batch_is_the_generator_s_alone(
    photographs: list[Photograph], vocabulary: Vocabulary, tmp_path: Path, grids: bool
) -> None:
    one, other = (training(photographs, vocabulary, tmp_path, grids) for _ in range(2))
    batch = one.collate([2, 0, 3], np.random.default_rng(1))
    again = other.collate([2, 0, 3], np.random.default_rng(1))
    assert batch.numbers == (2, 0, 3)
    assert batch.views.shape == ((3, 4, 3) if grids else (3, 3, SIZE, SIZE))
    assert batch.views.dtype == (torch.float32 if grids else torch.uint8)
    assert len(batch.inputs) == len(batch.targets) == len(batch.lengths) == 15
    for part in ("views", "inputs", "targets", "lengths"):
        assert torch.equal(getattr(batch, part), getattr(again, part))
    different = one.collate([2, 0, 3], np.random.default_rng(2))
    assert not torch.equal(batch.views, different.views) or not torch.equal(batch.inputs, different.inputs)


def test_an_epoch_shows_every_photograph_once(
    photographs: list[Photograph], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    training_set = training(photographs, vocabulary, tmp_path, grids=True)
    plan = training_set.plan(0, np.random.default_rng(1))
    assert [len(batch) for batch in plan] == [3, 1]
    assert sorted(number for batch in plan for number in batch) == [0, 1, 2, 3]
    assert plan == training_set.plan(0, np.random.default_rng(1))
    assert any(plan != training_set.plan(0, np.random.default_rng(seed)) for seed in range(2, 6))


def test_a_photograph_with_few_captions_repeats_all_of_them(
    photographs: list[Photograph], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    batch = training(photographs, vocabulary, tmp_path, grids=True).collate([2, 1], np.random.default_rng(1))
    said = [vocabulary.decode(row.tolist()) for row in batch.targets]
    assert set(said[:5]) == {"one", "two cats", "three red cats run"}
    assert said[5:] == ["a cat"] * 5


def test_long_captions_are_cut_and_still_end(
    photographs: list[Photograph], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    batch = training(photographs, vocabulary, tmp_path, grids=True, longest=2).collate(
        [2], np.random.default_rng(1)
    )
    assert batch.targets.shape == (5, 3)
    assert "three red" in [vocabulary.decode(row.tolist()) for row in batch.targets]
    for row, length in zip(batch.targets.tolist(), batch.lengths.tolist(), strict=True):
        assert row[length - 1] == END and END not in row[: length - 1]


def test_caches_are_made_once_and_used_again(photographs: list[Photograph], tmp_path: Path) -> None:
    calls = []

    def encode(pictures: Tensor) -> Tensor:
        calls.append(len(pictures))
        return brightness(pictures)

    def grids(weight: float, flipped: bool = False) -> np.ndarray:
        pictures = cache_pictures(photographs, tmp_path / "cache")
        weights = {"weight": torch.tensor([weight])}
        calls.clear()
        return cache_grids(encode, weights, photographs, pictures, tmp_path / "cache", flipped, batch_size=3)

    pictures = cache_pictures(photographs, tmp_path / "cache")
    expected = brightness(torch.from_numpy(np.array(pictures)))
    made = grids(1.0)
    assert calls == [1, 3, 1] and made.dtype == np.float16
    np.testing.assert_allclose(made, expected.numpy(), rtol=1e-3)
    used = grids(1.0)
    assert calls == [1]  # it asks for the shape alone
    np.testing.assert_array_equal(used, made)
    # Another encoder, or the other way round, is another cache.
    mirrored = grids(1.0, flipped=True)
    assert len(calls) == 3
    np.testing.assert_allclose(mirrored, expected.numpy()[:, [1, 0, 3, 2]], rtol=1e-3)
    grids(2.0)
    assert len(calls) == 3
    assert not list((tmp_path / "cache").glob("*.part"))


def test_a_photograph_that_changed_is_read_again(photographs: list[Photograph], tmp_path: Path) -> None:
    before = np.array(cache_pictures(photographs, tmp_path / "cache"))
    Image.new("RGB", (50, 50), "white").save(photographs[1].path)
    after = cache_pictures(photographs, tmp_path / "cache")
    assert (after[1] == 255).all() and not (before[1] == 255).all()
    np.testing.assert_array_equal(after[2], before[2])


def test_a_damaged_photograph_is_named_and_leaves_no_cache(
    photographs: list[Photograph], tmp_path: Path
) -> None:
    photographs[2].path.write_bytes(b"nonsense")
    for _ in range(2):
        with pytest.raises(InputError, match=r"2\.png"):
            cache_pictures(photographs, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.memmap"))


def test_a_varied_picture_is_still_a_picture() -> None:
    picture = torch.arange(3 * SIZE * SIZE).remainder(256).to(torch.uint8).view(3, SIZE, SIZE)
    before = picture.clone()
    views = [vary(picture, mirrored, np.random.default_rng(1)) for mirrored in (False, True)]
    for view in views:
        assert view.shape == picture.shape and view.dtype == torch.uint8
    assert not torch.equal(*views)
    assert torch.equal(views[0], vary(picture, False, np.random.default_rng(1)))
    assert torch.equal(picture, before)
