"""Captions become batches: nothing is lost, and the same generator gives the same batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from caption.data import Photograph
from caption.images import SIZE
from caption.model.text import END, START, Vocabulary
from caption.training.batches import TrainingPhotographs, TrainingText, encode_captions, pad_captions, vary

CAPTIONS = [
    ("A red dog .", "The dog runs"),
    ("A cat",),
    ("One", "Two cats", "Three red cats run"),
    ("A dog",),
]


@pytest.fixture
def photographs() -> list[Photograph]:
    return [Photograph(Path(f"{number}.png"), captions) for number, captions in enumerate(CAPTIONS)]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.of((caption for captions in CAPTIONS for caption in captions), least=1)


def test_captions_are_padded_with_the_end() -> None:
    inputs, targets, lengths = pad_captions([[5, 6, 7], [], [8]])
    assert inputs.tolist() == [[START, 5, 6, 7], [START, END, END, END], [START, 8, END, END]]
    assert targets.tolist() == [[5, 6, 7, END], [END, END, END, END], [8, END, END, END]]
    assert lengths.tolist() == [4, 1, 2]
    assert inputs.dtype == targets.dtype == lengths.dtype == torch.long


def training(
    photographs: list[Photograph], vocabulary: Vocabulary, grids: bool, longest: int = 22
) -> TrainingPhotographs:
    said = [encode_captions(one, vocabulary, longest=longest) for one in photographs]
    shades = np.arange(len(photographs), dtype=np.float16).reshape(-1, 1, 1)
    if grids:
        views: Any = (shades + np.zeros((4, 3), np.float16), 100 + shades + np.zeros((4, 3), np.float16))
    else:
        views = (shades[..., None] + np.zeros((3, SIZE, SIZE))).astype(np.uint8)
    return TrainingPhotographs(photographs, said, views, 3)


@pytest.mark.parametrize("grids", [True, False])
def test_a_batch_is_the_generator_s_alone(
    photographs: list[Photograph], vocabulary: Vocabulary, grids: bool
) -> None:
    one, other = (training(photographs, vocabulary, grids) for _ in range(2))
    batch = one.collate([2, 0, 3], np.random.default_rng(1))
    again = other.collate([2, 0, 3], np.random.default_rng(1))
    assert batch.numbers == (2, 0, 3)
    assert batch.views.shape == ((3, 4, 3) if grids else (3, 3, SIZE, SIZE))
    assert batch.views.dtype == (torch.float32 if grids else torch.uint8)
    assert len(batch.inputs) == len(batch.targets) == len(batch.lengths) == 6
    assert batch.counts.tolist() == [3, 2, 1]
    for part in ("views", "inputs", "targets", "lengths"):
        assert torch.equal(getattr(batch, part), getattr(again, part))
    different = one.collate([2, 0, 3], np.random.default_rng(2))
    assert not torch.equal(batch.views, different.views) or not torch.equal(batch.inputs, different.inputs)


def test_an_epoch_shows_every_photograph_once(photographs: list[Photograph], vocabulary: Vocabulary) -> None:
    training_set = training(photographs, vocabulary, grids=True)
    plan = training_set.plan(0, np.random.default_rng(1))
    assert [len(batch) for batch in plan] == [3, 1]
    assert sorted(number for batch in plan for number in batch) == [0, 1, 2, 3]
    assert plan == training_set.plan(0, np.random.default_rng(1))
    assert any(plan != training_set.plan(0, np.random.default_rng(seed)) for seed in range(2, 6))


def test_each_photograph_brings_its_own_captions_and_no_more_than_asked(
    photographs: list[Photograph], vocabulary: Vocabulary
) -> None:
    shown = training(photographs, vocabulary, grids=True)
    batch = shown.collate([2, 1], np.random.default_rng(1))
    said = [vocabulary.decode(row.tolist()) for row in batch.targets]
    assert set(said[:3]) == {"one", "two cats", "three red cats run"} and said[3:] == ["a cat"]
    shown.captions = 2
    assert shown.collate([2, 1], np.random.default_rng(1)).counts.tolist() == [2, 1]


def test_photographs_of_a_source_are_shown_as_often_as_it_counts(vocabulary: Vocabulary) -> None:
    photographs = [Photograph(Path(str(number)), ("a dog",), "ab"[number % 2]) for number in range(20)]
    said = [encode_captions(one, vocabulary) for one in photographs]
    shown = TrainingPhotographs(photographs, said, np.zeros((20, 1, 1)), 4, passes={"a": 2.5, "b": 0.5})
    plans = [shown.plan(0, np.random.default_rng(seed)) for seed in range(2)]
    for plan in plans:
        counts = Counter(number for batch in plan for number in batch)
        assert sum(counts[number] for number in range(0, 20, 2)) == 25
        assert sum(counts[number] for number in range(1, 20, 2)) == 5
        assert all(2 <= counts[number] <= 3 for number in range(0, 20, 2))
    assert len(plans[0]) == len(plans[1]) and plans[0] != plans[1]


def test_captions_of_a_kind_start_with_its_own_symbol(photographs: list[Photograph]) -> None:
    kinds = ("shop", "rooms")
    vocabulary = Vocabulary.of(["a dog runs"], least=1, kinds=kinds)
    shop = Photograph(Path("1"), ("a dog runs", "a dog"), "shop")
    plain = Photograph(Path("2"), ("a dog",), "elsewhere")
    said = [encode_captions(one, vocabulary, kinds) for one in (shop, plain)]
    assert [one.start for one in said[0]] == [vocabulary.start("shop")] * 2
    assert said[1][0].start == START
    grids = np.zeros((2, 1, 1), np.float16)
    shown = TrainingPhotographs([shop, plain], said, (grids, grids), 2)
    batch = shown.collate([1, 0], np.random.default_rng(1))
    assert batch.inputs[:, 0].tolist() == [START, vocabulary.start("shop"), vocabulary.start("shop")]
    assert vocabulary.words[vocabulary.start("rooms")] == "<rooms>"


def test_some_photographs_of_a_batch_keep_their_captions(
    photographs: list[Photograph], vocabulary: Vocabulary
) -> None:
    batch = training(photographs, vocabulary, grids=True).collate([2, 0, 1], np.random.default_rng(1))
    some = batch.of([2, 0])
    assert some.numbers == (1, 2) and some.counts.tolist() == [1, 3]
    assert torch.equal(some.targets, batch.targets[[5, 0, 1, 2]])
    assert torch.equal(some.views, batch.views[[2, 0]])


def test_long_captions_are_cut_and_still_end(photographs: list[Photograph], vocabulary: Vocabulary) -> None:
    shown = training(photographs, vocabulary, grids=True, longest=2)
    batch = shown.collate([2], np.random.default_rng(1))
    assert batch.targets.shape == (3, 3)
    assert "three red" in [vocabulary.decode(row.tolist()) for row in batch.targets]
    for row, length in zip(batch.targets.tolist(), batch.lengths.tolist(), strict=True):
        assert row[length - 1] == END and END not in row[: length - 1]


def text(captions: list[list[int]], nouns: list[int], most: int = 100) -> TrainingText:
    profiles = np.tile(np.array([-0.1, -2.0, -4.0, -6.0], np.float32), (3, 1))
    return TrainingText(captions, nouns, profiles, batch_size=2, captions=most)


def test_sentences_of_like_length_come_together_and_each_once() -> None:
    captions = [[10] * length for length in (5, 1, 3, 2, 4, 6)]
    plan = text(captions, list(range(10, 40))).plan(0, np.random.default_rng(1))
    assert sorted(number for batch in plan for number in batch) == list(range(6))
    lengths = [sorted(len(captions[number]) for number in batch) for batch in plan]
    assert sorted(lengths) == [[1, 2], [3, 4], [5, 6]]
    assert len(text(captions, list(range(10, 40)), most=4).plan(0, np.random.default_rng(1))) == 2


def test_most_of_a_sentence_s_nouns_are_believed_among_others_that_are_not_in_it() -> None:
    nouns = list(range(10, 40))
    shown = text([[5, 12, 6, 15]], nouns)
    own = 0
    for seed in range(200):
        batch = shown.collate([0], np.random.default_rng(seed))
        believed = batch.believed[0].tolist()
        assert len(set(believed)) == 4 and set(believed) <= set(nouns)
        assert batch.log_probs[0].tolist() == sorted(batch.log_probs[0].tolist(), reverse=True)
        own += len({12, 15} & set(believed))
    assert 0.65 < own / 400 < 0.85


def test_a_varied_picture_is_still_a_picture() -> None:
    picture = torch.arange(3 * SIZE * SIZE).remainder(256).to(torch.uint8).view(3, SIZE, SIZE)
    before = picture.clone()
    views = [vary(picture, mirrored, np.random.default_rng(1)) for mirrored in (False, True)]
    for view in views:
        assert view.shape == picture.shape and view.dtype == torch.uint8
    assert not torch.equal(*views)
    assert torch.equal(views[0], vary(picture, False, np.random.default_rng(1)))
    assert torch.equal(picture, before)
