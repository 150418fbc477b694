"""Training data: caches, buckets, augmentation, and corpora as they lie on disks."""

from __future__ import annotations

import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from speech.model.buckets import by_length
from speech.model.subwords import LETTER_SYMBOLS, Subwords
from speech.sound.features import FeatureConfig
from speech.training.augmentation import NO_AUGMENTATION, Augmentation
from speech.training.data import (
    FeatureCache,
    TrainingSet,
    Turn,
    Utterance,
    cache_features,
    change_speed,
    collate,
    utterances,
)

LETTERS = Subwords(LETTER_SYMBOLS)


def write_noise(path: Path, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0.0, 3000.0, round(16_000 * seconds))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(noise.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    folder = tmp_path_factory.mktemp("sound")
    return [
        Utterance(write_noise(folder / f"{number}.wav", 0.3 + 0.2 * number), text)
        for number, text in enumerate(["one", "two", "three", "four"])
    ]


def test_features_are_computed_once_and_then_opened(found: list[Utterance], tmp_path: Path) -> None:
    (first,) = cache_features(found, FeatureConfig(), tmp_path, processes=1)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (again,) = cache_features(found, FeatureConfig(), tmp_path, processes=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    assert first.lengths.tolist() == again.lengths.tolist() == [31, 51, 71, 91]
    assert np.array_equal(first.features(2), again.features(2))
    slow, same, fast = cache_features(found, FeatureConfig(), tmp_path, (0.9, 1.0, 1.1), processes=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}.items() >= files.items()
    assert slow.lengths.tolist() == [34, 56, 78, 101]
    assert fast.lengths.tolist() == [28, 46, 64, 82]
    assert np.array_equal(same.features(2), first.features(2))
    (alone,) = cache_features(found, FeatureConfig(), tmp_path / "other", (1.1,), processes=1)
    assert np.array_equal(fast.features(1), alone.features(1))


def test_two_trainings_may_fill_one_cache_at_the_same_time(found: list[Utterance], tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: cache_features(found, FeatureConfig(), tmp_path, processes=1), "12")
    assert one[0].lengths.tolist() == other[0].lengths.tolist() == [31, 51, 71, 91]
    assert np.array_equal(one[0].features(2), other[0].features(2))
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 2


def test_a_cache_is_that_of_these_files_as_they_are_and_of_no_others_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, lengths = tmp_path / "cache", []
    for project, seconds in (("one", 0.5), ("two", 0.8)):
        (tmp_path / project).mkdir()
        monkeypatch.chdir(tmp_path / project)
        write_noise(Path("a.wav"), seconds)
        (found,) = cache_features([Utterance(Path("a.wav"), "one")], FeatureConfig(), cache, processes=1)
        lengths.append(int(found.lengths[0]))
    write_noise(Path("a.wav"), 0.3)  # replaced
    (found,) = cache_features([Utterance(Path("a.wav"), "one")], FeatureConfig(), cache, processes=1)
    assert [*lengths, int(found.lengths[0])] == [51, 81, 31]


def test_speed_changes_length_and_pitch_together() -> None:
    tone = torch.sin(2 * torch.pi * 400 * torch.arange(16_000) / 16_000)
    fast = change_speed(tone, 1.1)
    assert len(fast) == pytest.approx(16_000 / 1.1, abs=1)
    spectrum = torch.fft.rfft(fast * torch.hann_window(len(fast))).abs()
    assert float(spectrum.argmax()) * 16_000 / len(fast) == pytest.approx(440, abs=2)


def test_joined_caches_are_their_utterances_one_after_another(found: list[Utterance], tmp_path: Path) -> None:
    (first,) = cache_features(found[:1], FeatureConfig(), tmp_path, processes=1)
    (rest,) = cache_features(found[1:], FeatureConfig(), tmp_path, processes=1)
    joined = FeatureCache.joined([first, FeatureCache.joined([rest, first])])
    assert joined.texts == ("one", "two", "three", "four", "one")
    assert joined.lengths.tolist() == [31, 51, 71, 91, 31]
    assert np.array_equal(joined.features(3), rest.features(2))
    assert np.array_equal(joined.features(4), first.features(0))


def test_buckets_hold_every_utterance_once_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(10, 400, 200)
    batches = by_length(lengths.tolist(), budget=1000)
    assert sorted(number for batch in batches for number in batch) == list(range(200))
    assert all(len(batch) * lengths[batch].max() <= 1000 for batch in batches)


def numbers(batches: list[list[Turn]]) -> list[list[int]]:
    return [[turn.number for turn in batch] for batch in batches]


def test_batches_are_sorted_by_how_long_each_utterance_is_heard(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(60, 1500, 300)
    ends = np.cumsum(frames)
    spans = np.stack([np.zeros(300, np.int64), ends - frames, ends], axis=1)
    cache = FeatureCache((np.zeros((ends[-1], 80), np.float16),), spans, ("a",) * 300)
    training_set = TrainingSet(
        [cache], FeatureConfig(), LETTERS.encode, LETTERS.encode, 12_000, Augmentation(), short_first=False
    )
    batches = training_set.plan(1, np.random.default_rng(1))
    assert sorted(turn.number for batch in batches for turn in batch) == list(range(300))
    lasting = [[turn.pace.frames(int(frames[turn.number])) for turn in batch] for batch in batches]
    padded = sum(len(batch) * max(batch) for batch in lasting)
    assert sum(map(sum, lasting)) > 0.93 * padded
    heard = training_set.collate(batches[0], np.random.default_rng(2))
    assert heard.lengths.tolist() == lasting[0]


def test_the_first_epoch_goes_from_short_to_long_and_later_ones_do_not(
    found: list[Utterance], tmp_path: Path
) -> None:
    (cache,) = cache_features(found, FeatureConfig(), tmp_path, processes=1)
    training_set = TrainingSet(
        [cache], FeatureConfig(), LETTERS.encode, LETTERS.encode, 100, augmentation=NO_AUGMENTATION
    )
    assert numbers(training_set.plan(0, np.random.default_rng(0))) == [[0], [1], [2], [3]]
    orders = [str(numbers(training_set.plan(epoch, np.random.default_rng(epoch)))) for epoch in range(1, 9)]
    assert len(set(orders)) > 1


def test_processes_side_by_side_read_batches_of_like_length(found: list[Utterance], tmp_path: Path) -> None:
    (cache,) = cache_features(found, FeatureConfig(), tmp_path, processes=1)
    training_set = TrainingSet(
        [cache], FeatureConfig(), LETTERS.encode, LETTERS.encode, 100, NO_AUGMENTATION, False, processes=2
    )
    for epoch in range(8):
        order = numbers(training_set.plan(epoch, np.random.default_rng(epoch)))
        lengths = [max(cache.lengths[batch]) for batch in order]
        assert sorted(map(tuple, order)) == [(0,), (1,), (2,), (3,)]
        assert {tuple(sorted(lengths[:2])), tuple(sorted(lengths[2:]))} == {
            tuple(sorted(cache.lengths)[:2]),
            tuple(sorted(cache.lengths)[2:]),
        }


def test_a_batch_is_padded_with_zeros_and_knows_its_symbols() -> None:
    features = [np.ones((3, 80), np.float32), np.ones((5, 80), np.float32)]
    batch = collate(features, [[3, 4], [5]], [[], [7, 9]])
    assert batch.features.shape == (2, 5, 80)
    assert not batch.features[0, 3:].any()
    assert batch.lengths.tolist() == [3, 5]
    assert batch.targets.tolist() == [3, 4, 5]
    assert batch.target_lengths.tolist() == [2, 1]
    assert batch.phones.tolist() == [7, 9]
    assert batch.phone_lengths.tolist() == [0, 2]


def test_rows_without_a_word_are_left_out() -> None:
    rows = [{"path": "a.wav", "text": "Hello, you!"}, {"path": "b.wav", "text": "..."}]
    assert utterances(rows) == [Utterance(Path("a.wav"), "hello you")]
