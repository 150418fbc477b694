"""Segments: cut in pauses, at the right place, in memory that does not grow."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from speech.sound.audio import SAMPLE_RATE, load_audio
from speech.sound.detector import WINDOW, DetectorState, SpeechDetector
from speech.sound.segments import (
    SoundSegment,
    SplitOptions,
    Splitter,
    clean,
    recording_seconds,
    split,
)

SAMPLES = Path(__file__).parents[3] / "speech" / "samples"
WINDOW_SECONDS = WINDOW / SAMPLE_RATE
OPTIONS = SplitOptions(longest_seconds=5.0, pause_seconds=0.64, context_seconds=0.32)


def loud(samples: Tensor, state: DetectorState | None) -> tuple[Tensor, DetectorState]:
    """A detector for sounds made in tests: what is loud is speech."""
    windows = samples.view(-1, WINDOW)
    remembered = DetectorState(windows[-1:], 0.0, None)
    return (windows.abs().mean(dim=1) > 0.05).float(), remembered


def sound(*stretches: tuple[str, float]) -> Tensor:
    """Stretches of "speech" or "quiet", each so many windows long."""
    swing = torch.tensor([0.5, -0.5]).repeat(WINDOW // 2)
    made = [swing.repeat(round(windows)) * (kind == "speech") for kind, windows in stretches]
    return torch.cat(made)


def cut(samples: Tensor, options: SplitOptions = OPTIONS, piece: int = 4000) -> list[SoundSegment]:
    """All segments of a sound that comes in pieces."""
    splitter = Splitter(loud, options)
    found = [segment for chunk in samples.split(piece) for segment in splitter.feed(chunk)]
    return found + splitter.finish()


def windows_of(segments: Iterable[SoundSegment]) -> list[tuple[int, int]]:
    """First window of each segment, and the first behind it."""
    starts = [round(one.start_seconds / WINDOW_SECONDS) for one in segments]
    return [(start, start + len(one.samples) // WINDOW) for start, one in zip(starts, segments, strict=True)]


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector.load()


@pytest.fixture(scope="module")
def sentence() -> Tensor:
    return load_audio(SAMPLES / "city.opus")


# --- where it is cut -------------------------------------------------------------------------------


def test_long_pauses_are_left_out_but_for_a_little_quiet_on_either_side() -> None:
    talk = sound(("quiet", 100), ("speech", 30), ("quiet", 200), ("speech", 40), ("quiet", 100))
    assert windows_of(cut(talk)) == [(90, 140), (320, 380)]


def test_short_pauses_do_not_cut() -> None:
    talk = sound(("speech", 30), ("quiet", 19), ("speech", 30))
    assert windows_of(cut(talk)) == [(0, 79)]


def test_speech_that_lasts_too_long_is_cut_in_its_longest_pause() -> None:
    talk = sound(
        ("speech", 40),
        ("quiet", 4),
        ("speech", 30),
        ("quiet", 12),
        ("speech", 40),
        ("quiet", 6),
        ("speech", 60),
    )
    assert windows_of(cut(talk)) == [(0, 80), (80, 192)]


def test_speech_without_a_pause_is_cut_at_its_quietest_place() -> None:
    talk = sound(("speech", 200))
    talk[120 * WINDOW : 123 * WINDOW] *= 0.3  # still loud enough to be speech
    assert windows_of(cut(talk)) == [(0, 121), (121, 200)]


def test_a_click_is_no_segment() -> None:
    assert cut(sound(("quiet", 50), ("speech", 2), ("quiet", 50))) == []


def test_what_follows_a_cut_is_cut_again_where_it_is_too_long() -> None:
    segments = cut(sound(("speech", 1000)))
    assert max(len(one.samples) for one in segments) <= OPTIONS.longest_seconds * SAMPLE_RATE
    assert sum(len(one.samples) for one in segments) == 1000 * WINDOW


@given(
    stretches=st.lists(st.integers(1, 120), min_size=1, max_size=12),
    speech_first=st.booleans(),
    piece=st.integers(1, 9000),
    extra=st.integers(0, WINDOW - 1),
)
def test_every_segment_is_the_sound_at_its_time_and_no_speech_is_lost_or_doubled(
    stretches: list[int], speech_first: bool, piece: int, extra: int
) -> None:
    kinds = ["speech", "quiet"] if speech_first else ["quiet", "speech"]
    talk = sound(*((kinds[number % 2], length) for number, length in enumerate(stretches)))
    talk = torch.cat([talk * torch.linspace(0.8, 1.2, len(talk)), torch.zeros(extra)])
    segments = cut(talk, replace(OPTIONS, least_windows=1), piece=max(piece, 64))
    covered = torch.zeros(len(talk))
    for segment in segments:
        start = round(segment.start_seconds * SAMPLE_RATE)
        end = start + len(segment.samples)
        assert torch.equal(segment.samples, talk[start:end])
        assert len(segment.samples) <= OPTIONS.longest_seconds * SAMPLE_RATE
        covered[start:end] += 1
    assert bool((covered <= 1).all())
    assert bool((covered[talk > 0.05] == 1).all())


@given(piece=st.integers(64, 20_000))
def test_the_pieces_that_a_sound_comes_in_do_not_matter(piece: int) -> None:
    talk = sound(("quiet", 15), ("speech", 170), ("quiet", 9), ("speech", 60), ("quiet", 70), ("speech", 9))
    assert windows_of(cut(talk, piece=piece)) == windows_of(cut(talk, piece=len(talk)))


def test_a_recording_no_longer_than_a_segment_stays_whole() -> None:
    talk = sound(("quiet", 40), ("speech", 20), ("quiet", 40), ("speech", 20), ("quiet", 20))
    (only,) = split(talk.split(1000), loud, OPTIONS)
    assert only.start_seconds == 0.0
    assert torch.equal(only.samples, talk)


def test_a_recording_in_which_nobody_speaks_has_no_segments() -> None:
    assert list(split([torch.zeros(3 * SAMPLE_RATE)], loud, OPTIONS)) == []
    assert list(split([torch.zeros(60 * SAMPLE_RATE)], loud, OPTIONS)) == []
    assert list(split([], loud, OPTIONS)) == []


def test_an_hour_is_never_held_in_memory() -> None:
    splitter = Splitter(loud, OPTIONS)
    minute = sound(("speech", 400), ("quiet", 875), ("speech", 600))
    most = 0
    for _ in range(60):
        for piece in minute.split(SAMPLE_RATE):
            splitter.feed(piece)
            most = max(most, splitter.samples.untyped_storage().nbytes() // 4, len(splitter.probabilities))
    assert most <= (OPTIONS.longest_seconds + 2) * SAMPLE_RATE


# --- what is speech --------------------------------------------------------------------------------


def test_the_detector_computes_what_the_package_computes(detector: SpeechDetector, sentence: Tensor) -> None:
    package = importlib.util.find_spec("silero_vad")
    assert package is not None and package.submodule_search_locations is not None
    # Loaded without the package, which would set all tests to one thread; its weights are another training's.
    original = torch.jit.load(Path(package.submodule_search_locations[0]) / "data" / "silero_vad.jit")
    names = {"decoder.decoder.2": "final_conv", "decoder.rnn": "recurrent.layers.0.0"}
    names |= {f"encoder.{number}.reparam_conv": f"conv{number + 1}" for number in range(4)}
    weights = {}
    for name, weight in original.state_dict().items():
        # The package's sines and cosines are a Fourier transform here.
        if name.startswith("_model.") and not name.startswith("_model.stft."):
            for their_name, our_name in names.items():
                name = name.replace(their_name, our_name)
            weights[name.removeprefix("_model.")] = weight
    ours = SpeechDetector()
    ours.load_state_dict(weights)
    windows = sentence[: 60 * WINDOW].view(-1, WINDOW)
    with torch.inference_mode():
        expected = torch.cat([original(window, SAMPLE_RATE).view(1) for window in windows])
        before = torch.cat([torch.zeros(1, 64), windows[:-1, -64:]])
        found, _ = ours.probabilities(torch.cat([before, windows], dim=1))
    assert float(expected.max()) > 0.9
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_detector_goes_on_where_it_stood(detector: SpeechDetector, sentence: Tensor) -> None:
    samples = sentence[: 90 * WINDOW]
    whole, _ = detector(samples)
    first, state = detector(samples[: 31 * WINDOW])
    second, _ = detector(samples[31 * WINDOW :], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("gain", [30.0, 1.0, 0.03, 0.003])
@pytest.mark.parametrize("name", ["city", "service", "tags"])
def test_speech_is_heard_however_loud_it_is(detector: SpeechDetector, name: str, gain: float) -> None:
    splitter = Splitter(detector)
    samples = load_audio(SAMPLES / f"{name}.opus") * gain
    segments = splitter.feed(samples) + splitter.finish()
    assert sum(len(one.samples) for one in segments) > 0.4 * len(samples)


@pytest.mark.parametrize("decibels", [-50, -70])
@pytest.mark.parametrize("name", ["city", "service", "tags"])
def test_a_16_bit_recording_is_heard_however_quiet_it_is(
    detector: SpeechDetector, name: str, decibels: int
) -> None:
    samples = load_audio(SAMPLES / f"{name}.opus")
    quiet = samples / samples.abs().max() * 10 ** (decibels / 20)
    (segment,) = split([(quiet * 32768).round() / 32768], detector)
    assert len(segment.samples) == len(samples)


def test_what_is_quieter_than_a_recording_can_be_is_not_speech(
    detector: SpeechDetector, sentence: Tensor
) -> None:
    rounding = 0.9e-4 * sentence / sentence.abs().max()
    assert list(split([rounding], detector)) == []
    assert list(split([torch.cat([rounding, torch.zeros(40 * SAMPLE_RATE)])], detector)) == []
    assert len(list(split([2 * rounding], detector))) == 1


def test_noise_hum_tones_and_clicks_are_not_speech(detector: SpeechDetector) -> None:
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    noise = torch.randn(len(time), generator=generator)
    clicks = torch.zeros(len(time))
    clicks[torch.randint(0, len(time), (20,), generator=generator)] = 0.9
    sounds = {
        "loud noise": 0.2 * noise,
        "faint noise": 0.0003 * noise,
        "rumble": 0.02 * noise.cumsum(0) / 40,
        "hum": 0.1 * torch.sin(2 * torch.pi * 50 * time),
        "tone": 0.3 * torch.sin(2 * torch.pi * 440 * time),
        "clicks": clicks,
        "offset": 0.4 + 0.001 * noise,
        "nothing": torch.zeros(len(time)),
    }
    for name, samples in sounds.items():
        assert list(split([samples], detector)) == [], name


# --- samples and files -----------------------------------------------------------------------------


def test_samples_that_are_no_finite_numbers_count_as_zero() -> None:
    damaged = torch.tensor([0.5, float("nan"), float("inf"), -float("inf"), 1e30, -0.5])
    assert clean(damaged).tolist() == [0.5, 0.0, 0.0, 0.0, 0.0, -0.5]


def test_a_recording_says_how_long_it_is_and_a_bad_one_says_nothing(tmp_path: Path) -> None:
    assert recording_seconds(SAMPLES / "city.opus") == pytest.approx(
        len(load_audio(SAMPLES / "city.opus")) / SAMPLE_RATE, abs=0.1
    )
    (tmp_path / "bad.wav").write_text("no sound")
    assert recording_seconds(tmp_path / "bad.wav") == 0.0
    assert recording_seconds(tmp_path / "none.wav") == 0.0
