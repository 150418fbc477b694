"""Training features are varied: what is drawn, what is kept, and what it sounds like."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from speech.sound.features import FeatureConfig, LogMel
from speech.training.augmentation import (
    NO_AUGMENTATION,
    Augmentation,
    Pace,
    at_tempo,
    draw_pace,
    views,
    warped,
)

CONFIG = FeatureConfig()


def noise(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, CONFIG.mels)).astype(np.float32)


def only(**shares: Any) -> Augmentation:
    return dataclasses.replace(NO_AUGMENTATION, **shares)


def augment(
    features: np.ndarray, config: FeatureConfig, augmentation: Augmentation, generator: np.random.Generator
) -> np.ndarray:
    return views(features, config, augmentation, draw_pace(augmentation, generator), generator, 1)[0]


def test_augmentation_is_what_its_generator_draws() -> None:
    features = noise(100)
    before = features.copy()
    first, again, other = (
        augment(features, CONFIG, Augmentation(), np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(features, before)
    assert np.array_equal(augment(features, CONFIG, NO_AUGMENTATION, np.random.default_rng(5)), features)


@pytest.mark.parametrize("frames", [1, 2, 5, 30])
def test_even_the_shortest_utterance_can_be_augmented(frames: int) -> None:
    for seed in range(50):
        features = augment(noise(frames), CONFIG, Augmentation(), np.random.default_rng(seed))
        assert len(features) >= round(frames / 1.12)
        assert features.dtype == np.float32
        assert np.isfinite(features).all()


def test_a_faster_utterance_passes_through_the_same_sounds() -> None:
    ramp = np.linspace(0.0, 1.0, 101, dtype=np.float32)[:, None].repeat(3, axis=1)
    faster = at_tempo(ramp, 1.25)
    assert faster.shape == (81, 3)
    np.testing.assert_allclose(faster, np.linspace(0.0, 1.0, 81)[:, None].repeat(3, axis=1), atol=1e-6)
    assert at_tempo(ramp[:1], 0.9).shape == (1, 3)


def test_quiet_is_added_at_either_end_and_the_words_stay() -> None:
    features = noise(50)
    (longer,) = views(features, CONFIG, NO_AUGMENTATION, Pace(1.0, 30, 7), np.random.default_rng(0), 1)
    assert np.array_equal(longer[30:80], features)
    assert len(longer) == 87
    assert {row.tobytes() for row in longer[:30]} == {row.tobytes() for row in features[:12]}


def tone(hertz: float) -> np.ndarray:
    samples = torch.sin(2 * torch.pi * hertz * torch.arange(16_000) / 16_000)
    return LogMel(CONFIG).decibels(samples).numpy()


@pytest.mark.parametrize("ratio", [0.88, 0.95, 1.05, 1.12])
def test_a_warped_tone_is_a_tone_of_another_height(ratio: float) -> None:
    loudest = warped(tone(1500.0), ratio, CONFIG).mean(axis=0).argmax()
    assert abs(int(loudest) - int(tone(1500.0 * ratio).mean(axis=0).argmax())) <= 1
    assert np.allclose(warped(tone(1500.0), 1.0, CONFIG), tone(1500.0), atol=1e-3)


def test_an_echo_fills_the_quiet_after_a_sound_and_not_before_it() -> None:
    features = np.full((120, CONFIG.mels), -4.0, np.float32)
    features[40:60] = np.linspace(0.5, 1.5, CONFIG.mels, dtype=np.float32)
    heard = augment(features, CONFIG, only(echo_share=1.0), np.random.default_rng(0)).mean(axis=1)
    assert heard[30] < heard[70]
    assert heard[40:60].min() > heard[70] > heard[90]


def test_noise_covers_the_quiet_and_leaves_the_loud() -> None:
    features = noise(200)
    features[:60] -= 4.0
    heard = [
        augment(features, CONFIG, only(noise_share=1.0), np.random.default_rng(seed)) for seed in range(9)
    ]
    like = [np.corrcoef(one[:60].ravel(), features[:60].ravel())[0, 1] for one in heard]
    alike = [np.corrcoef(one[60:].ravel(), features[60:].ravel())[0, 1] for one in heard]
    assert all(loud > quiet for loud, quiet in zip(alike, like, strict=True))
    assert min(like) < 0.2


def test_masks_are_the_mean_of_the_features() -> None:
    features = noise(200) + 10.0
    heard = augment(features, CONFIG, only(frequency_masks=2, frequency_width=15), np.random.default_rng(1))
    blotted = (heard == 0.0).all(axis=0)
    assert 0 < blotted.sum() <= 30
    assert np.array_equal(heard[:, ~blotted], features[:, ~blotted])


@pytest.mark.parametrize("frames", [60, 1000])
def test_so_much_of_the_time_is_blotted_out(frames: int) -> None:
    blotted = []
    for seed in range(60):
        features = noise(frames, seed) + 10.0
        heard = augment(features, CONFIG, only(masked=0.15, mask_frames=25), np.random.default_rng(seed))
        gone = (heard == 0.0).all(axis=1)
        assert np.array_equal(heard[~gone], features[~gone])
        blotted.append(gone.mean())
    # Masks overlap, and in a short utterance they are shorter.
    assert (0.03 if frames == 60 else 0.11) < np.mean(blotted) < 0.15


def test_views_of_an_utterance_differ_but_not_in_length() -> None:
    features = noise(60)
    for seed in range(6):
        pace = draw_pace(Augmentation(), np.random.default_rng(seed))
        first, second = views(features, CONFIG, Augmentation(), pace, np.random.default_rng(seed), 2)
        assert len(first) == pace.frames(60)
        assert first.shape == second.shape
        assert not np.array_equal(first, second)
