"""Live recognition: what is final never changes, and is what the file would give."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path

import pytest
import torch
import torchaudio
from torch import Tensor

from common.errors import InputError
from speech import Recognizer
from speech.cli import main
from speech.measuring.evaluate import word_lags
from speech.placing.alignment import Word
from speech.sound.audio import SAMPLE_RATE, load_audio
from speech.stream import Stream, Update, microphone, piped

SAMPLES = Path(__file__).parents[2] / "speech" / "samples"
NAMES = ("tags", "service", "city")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load()


@pytest.fixture(scope="module")
def talk() -> Tensor:
    """Three sentences with long pauses between them: longer than one segment may be."""
    pause = torch.zeros(4 * SAMPLE_RATE)
    return torch.cat([part for name in NAMES for part in (load_audio(SAMPLES / f"{name}.opus"), pause)])


def listen(stream: Stream, samples: Tensor, chunk: int, sample_rate: int = SAMPLE_RATE) -> list[Update]:
    """All updates of a sound that comes in chunks."""
    updates = [update for part in samples.split(chunk) for update in stream.feed(part, sample_rate)]
    return updates + stream.finish()


def final_text(updates: list[Update]) -> str:
    return " ".join(update.text for update in updates if update.final)


def test_the_final_text_is_the_transcript_of_the_same_sound(recognizer: Recognizer, talk: Tensor) -> None:
    transcript = recognizer.transcribe(talk)
    updates = listen(recognizer.stream(), talk, 1600)
    assert len(transcript.words) > 10
    assert final_text(updates) == transcript.text
    words = [word for update in updates if update.final for word in update.words]
    assert [word.start for word in words] == [word.start for word in transcript.words]


@pytest.mark.parametrize("chunk", [160, 4801, 10**9])
def test_the_size_of_the_chunks_does_not_change_what_is_final(
    recognizer: Recognizer, talk: Tensor, chunk: int
) -> None:
    short = talk[: 9 * SAMPLE_RATE]
    expected = final_text(listen(recognizer.stream(), short, 1600))
    assert expected
    assert final_text(listen(recognizer.stream(), short, chunk)) == expected


def test_text_is_shown_before_it_is_final_and_soon_after_it_was_said(
    recognizer: Recognizer, talk: Tensor
) -> None:
    stream = recognizer.stream()
    fed, first_shown, first_final = 0, None, None
    for part in talk[: 8 * SAMPLE_RATE].split(800):
        fed += len(part)
        for update in stream.feed(part):
            if update.text and first_shown is None:
                first_shown = fed / SAMPLE_RATE
            if update.final and first_final is None:
                first_final = (fed / SAMPLE_RATE, update.words)
    assert first_shown is not None and first_final is not None
    time, words = first_final
    assert first_shown < words[0].end + 1.5
    assert time < words[-1].end + 1.2


def test_how_late_live_words_are_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "live.tsv"
    manifest.write_text(f"path\ttext\n{SAMPLES / 'tags.opus'}\tthe first tags were made of tin\n")
    assert main(["evaluate", str(manifest), "--json", "--live", "--beam", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["live_words"] > 4
    assert 0.3 < told["live_final_lag"] < 5.0  # a pause must have come
    assert 0.0 < told["live_word_lag"] <= told["live_word_lag_90"]
    assert main(["evaluate", str(manifest), "--json", "--beam", "1"]) == 0
    assert "live_words" not in json.loads(capsys.readouterr().out)


def test_words_that_still_change_stand_there_from_their_last_change_on() -> None:
    def said(*words: str) -> tuple[Word, ...]:
        return tuple(Word(word, place, place + 0.5, 1.0) for place, word in enumerate(words))

    steps = [(1.0, ("a", "c")), (2.0, ("a", "b")), (2.5, ("a", "b", "d")), (3.0, ("a", "b", "c"))]
    shown = [(now, Update(" ".join(words), now == 3.0, said(*words))) for now, words in steps]
    assert word_lags(shown) == [1.0 - 0.5, 2.0 - 1.5, 3.0 - 2.5]


def test_every_shown_text_ends_in_a_final_or_an_empty_one(recognizer: Recognizer, talk: Tensor) -> None:
    updates = listen(recognizer.stream(), talk, 1600)
    assert updates[-1].final or not updates[-1].text


def test_another_sample_rate_says_the_same(recognizer: Recognizer) -> None:
    sentence = load_audio(SAMPLES / "city.opus")
    faster = torchaudio.functional.resample(sentence, 16_000, 48_000)
    there = final_text(listen(recognizer.stream(), sentence, 1600))
    back = final_text(listen(recognizer.stream(), faster, 4800, 48_000))
    same = sum(a == b for a, b in zip(there.split(), back.split(), strict=False))
    assert same >= 0.6 * len(there.split()) > 0


def test_silence_noise_and_bad_samples_give_no_words(recognizer: Recognizer) -> None:
    noise = 0.1 * torch.randn(3 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    nothing = torch.full((SAMPLE_RATE,), float("nan"))
    assert listen(recognizer.stream(), torch.cat([torch.zeros(SAMPLE_RATE), noise, nothing]), 1600) == []
    assert recognizer.stream().finish() == []
    assert recognizer.stream().feed(torch.zeros(0)) == []


def test_long_speech_without_a_pause_is_read_again_no_more_than_twenty_times() -> None:
    read = 0

    def hear(samples: Tensor, final: bool) -> tuple[()]:
        nonlocal read
        read += len(samples)
        return ()

    def always(samples: Tensor, state: object) -> tuple[Tensor, object]:
        return torch.ones(len(samples) // 512), state

    stream = Stream(hear, always)  # type: ignore[arg-type]
    seconds = 60
    for part in torch.rand(seconds * SAMPLE_RATE).split(1600):
        stream.feed(part)
    assert read <= 21 * seconds * SAMPLE_RATE


def test_chunks_of_a_wrong_shape_or_rate_are_refused(recognizer: Recognizer) -> None:
    with pytest.raises(ValueError, match="one dimension"):
        recognizer.stream().feed(torch.zeros(1, 160))
    with pytest.raises(ValueError, match="10 Hz"):
        recognizer.stream().feed(torch.zeros(160), 10)


# --- where chunks come from ------------------------------------------------------------------------


class Trickle(io.BytesIO):
    """A pipe that gives three bytes at a time: samples are torn apart."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read(3)


def test_what_comes_through_a_pipe_is_put_together_again() -> None:
    samples = torch.tensor([0, 1, -1, 32767, -32768], dtype=torch.int16)
    chunks = list(piped(Trickle(samples.numpy().astype("<i2").tobytes() + b"x")))
    assert (torch.cat(chunks) * 32768).tolist() == samples.tolist()


def test_without_the_package_for_it_the_microphone_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(InputError, match="pip install sounddevice"):
        next(microphone())


def test_the_microphone_gives_what_it_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    class RawInputStream:
        def __init__(self, callback: object, **settings: object) -> None:
            assert settings["samplerate"] == SAMPLE_RATE
            callback(bytes([0, 64, 0, 192]), 2, None, None)  # type: ignore[operator]

        def __enter__(self) -> RawInputStream:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    fake = types.SimpleNamespace(RawInputStream=RawInputStream, PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    heard = microphone()
    assert next(heard).tolist() == [0.5, -0.5]
    heard.close()  # type: ignore[attr-defined]
