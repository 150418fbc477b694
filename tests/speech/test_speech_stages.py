"""What the stages cost adds up to what a recording costs, and their text is the recogniser's."""

from __future__ import annotations

from pathlib import Path

import torch

from speech.options import DecodingOptions
from speech.recognizer import Recognizer
from speech.sound.audio import SAMPLE_RATE, load_audio
from speech.stages import STAGES, encode, stage_costs

SAMPLES = Path(__file__).parents[2] / "speech" / "samples"


def test_stage_by_stage_the_same_words_are_heard() -> None:
    recognizer, path = Recognizer.load(), SAMPLES / "service.opus"
    seconds, transcript = stage_costs(recognizer, path, DecodingOptions())
    assert tuple(seconds) == STAGES
    assert all(one > 0.0 for one in seconds.values())
    expected = recognizer.transcribe(path)
    assert transcript.text
    assert [(word.text, word.start) for word in transcript.words] == [
        (word.text, word.start) for word in expected.words
    ]


def test_a_recording_that_is_stored_lasts_as_long(tmp_path: Path) -> None:
    samples = load_audio(SAMPLES / "tags.opus")
    for name, codec, rate in (("a.opus", "libopus", 48_000), ("a.mp3", "libmp3lame", 44_100)):
        encode(tmp_path / name, samples, codec, rate)
        stored = load_audio(tmp_path / name)
        assert abs(len(stored) - len(samples)) < 0.1 * SAMPLE_RATE
        own = slice(SAMPLE_RATE // 2, 2 * SAMPLE_RATE)
        correlation = torch.corrcoef(torch.stack([stored[own].abs(), samples[own].abs()]))[0, 1]
        assert float(correlation) > 0.5
