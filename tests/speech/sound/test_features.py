"""Features: one frame a hop, the same whatever the recording's level and surrounding quiet."""

from __future__ import annotations

import torch

from speech.sound.features import FeatureConfig, LogMel


def speechlike(seconds: float, seed: int = 0) -> torch.Tensor:
    """Bursts of coloured noise with pauses: (samples,) at 16 kHz."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(int(16_000 * seconds), generator=generator)
    noise = torch.nn.functional.avg_pool1d(noise[None], 4, 1, 2)[0, : len(noise)]
    time = torch.arange(len(noise)) / 16_000
    return 0.1 * noise * (time * 3).sin().clamp_min(0.0)


def test_there_is_one_frame_a_hop() -> None:
    log_mel = LogMel(FeatureConfig())
    assert log_mel(speechlike(1.0)).shape == (101, 80)
    assert log_mel(torch.randn(10)).shape[1] == 80


def test_level_does_not_change_the_features() -> None:
    log_mel = LogMel(FeatureConfig())
    samples = speechlike(2.0)
    torch.testing.assert_close(log_mel(samples), log_mel(samples * 0.05), atol=0.02, rtol=0.02)


def test_quiet_around_the_words_does_not_change_their_features() -> None:
    log_mel = LogMel(FeatureConfig())
    samples = speechlike(2.0)
    quiet = torch.zeros(32_000)
    alone, inside = log_mel(samples), log_mel(torch.cat([quiet, samples, quiet]))
    # The first and last frames see over the edge; the others are the same.
    torch.testing.assert_close(inside[203:398], alone[3:198], atol=1e-3, rtol=1e-3)


def test_features_of_active_frames_have_zero_mean_and_unit_variance() -> None:
    log_mel = LogMel(FeatureConfig(active_decibels=200.0))
    features = log_mel(speechlike(3.0))
    torch.testing.assert_close(features.mean(0), torch.zeros(80), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.std(0, correction=0), torch.ones(80), atol=1e-3, rtol=0)


def test_silence_gives_finite_features() -> None:
    assert LogMel(FeatureConfig())(torch.zeros(16_000)).isfinite().all()
