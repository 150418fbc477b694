"""The recogniser: recordings of any length, many at once, none spoiled by another."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import threading
import wave
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny_network
from torch import Tensor

from common.core.quantized import multiplies_bfloat16_faster
from common.errors import InputError, UnexpectedError
from speech import DecodingOptions, Recognizer, Transcript
from speech.placing.alignment import Word
from speech.pool import BATCH_FRAMES, SegmentFeatures, batches
from speech.sound.audio import SAMPLE_RATE, load_audio
from speech.sources import Source

SAMPLES = Path(__file__).parents[2] / "speech" / "samples"
NAMES = ("tags", "service", "city")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load()


@pytest.fixture(scope="module")
def tiny() -> Recognizer:
    return Recognizer(tiny_network(), "tiny")


@pytest.fixture(scope="module")
def sentences() -> list[Tensor]:
    return [load_audio(SAMPLES / f"{name}.opus") for name in NAMES]


def silence(seconds: float) -> Tensor:
    return torch.zeros(round(seconds * SAMPLE_RATE))


def hiss(seconds: float) -> Tensor:
    return 0.1 * torch.randn(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))


def times(transcript: Transcript) -> list[tuple[str, float, float]]:
    return [(word.text, round(word.start, 3), round(word.end, 3)) for word in transcript.words]


# --- any length ------------------------------------------------------------------------------------


def test_behind_long_pauses_the_words_are_those_said_alone_and_their_times_are_right(
    recognizer: Recognizer, sentences: list[Tensor]
) -> None:
    parts, starts, length = [], [], 0
    for sentence in sentences:
        starts.append(length / SAMPLE_RATE)
        parts += [sentence, silence(9.0)]
        length += len(sentence) + len(parts[-1])
    together = recognizer.transcribe(torch.cat(parts))
    assert together.duration == length / SAMPLE_RATE
    for number, sentence in enumerate(sentences):
        start, end = starts[number], [*starts, together.duration][number + 1]
        said = [word for word in together.words if start <= word.start < end]
        alone = recognizer.transcribe(sentence)
        # The segment has less quiet around it than the recording: a word may be spelled otherwise.
        same = [
            word
            for word in alone.words
            if any(one.text == word.text and abs(one.start - start - word.start) < 0.1 for one in said)
        ]
        assert len(same) >= 0.6 * len(alone.words) > 0


def test_a_sentence_moves_by_exactly_the_silence_in_front_of_it(
    recognizer: Recognizer, sentences: list[Tensor]
) -> None:
    windows = 512 * 100  # the detector's windows then fall on the same samples
    early, late = (
        recognizer.transcribe(torch.cat([torch.zeros(front), sentences[NAMES.index("tags")], silence(25.0)]))
        for front in (windows, 5 * windows)
    )
    moved = 4 * windows / SAMPLE_RATE
    assert early.words
    assert late.text == early.text
    for before, after in zip(early.words, late.words, strict=True):
        assert after.start == pytest.approx(before.start + moved, abs=1e-6)
        assert after.end == pytest.approx(before.end + moved, abs=1e-6)


def test_words_stand_in_order_and_within_the_recording(
    recognizer: Recognizer, sentences: list[Tensor]
) -> None:
    transcript = recognizer.transcribe(torch.cat(sentences * 6))
    starts = [word.start for word in transcript.words]
    assert transcript.duration > 60
    assert starts == sorted(starts)
    assert transcript.words[-1].end <= transcript.duration + 0.1
    assert transcript.text == " ".join(word.text for word in transcript.words)


PEAK = """
import resource, sys
from speech import Recognizer
from speech.model.network import SpeechConfig, SpeechNetwork
from speech.training.pronunciations import PHONES
from speech.model.subwords import LETTER_SYMBOLS
config = SpeechConfig(LETTER_SYMBOLS, PHONES, channels=8, hidden_size=8, lower_layers=1, upper_layers=1)
Recognizer(SpeechNetwork(config), "tiny").transcribe(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_forty_minutes_take_no_more_memory_than_ten(sentences: list[Tensor], tmp_path: Path) -> None:
    minute = (torch.cat([*sentences, *sentences, *sentences, *sentences, silence(10.0)]) * 32767).short()
    megabytes = {}
    for minutes in (10, 40):
        path = tmp_path / f"{minutes}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            for _ in range(round(minutes * 60 * SAMPLE_RATE / len(minute))):
                file.writeframes(minute.numpy().astype("<i2").tobytes())
        told = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
        megabytes[minutes] = int(told.stdout)
    # Half an hour of samples alone would be 115 MB.
    assert megabytes[40] <= megabytes[10] + 40
    assert megabytes[40] < 1500


# --- many at once ----------------------------------------------------------------------------------


def test_a_batch_gives_what_one_by_one_gives(recognizer: Recognizer, sentences: list[Tensor]) -> None:
    long = torch.cat([sentences[0], silence(2.0), sentences[2], silence(22.0), sentences[1]])
    sources = [sentences[2], hiss(1.0), long, sentences[0][: 2 * SAMPLE_RATE], sentences[1]]
    together = recognizer.transcribe_batch(sources)
    alone = [recognizer.transcribe(source) for source in sources]
    assert [times(one) for one in together] == [times(one) for one in alone]
    assert [one.duration for one in together] == [len(source) / SAMPLE_RATE for source in sources]
    assert len(together[2].words) > len(together[0].words) > 0


@pytest.mark.skipif(
    not multiplies_bfloat16_faster(torch.device("cpu")), reason="the processor has no units for bfloat16"
)
def test_in_bfloat16_a_recording_sounds_the_same_alone_and_almost_as_in_float32(
    recognizer: Recognizer, sentences: list[Tensor]
) -> None:
    features = [recognizer.acoustic.log_mel(sentence) for sentence in sentences]
    together, steps = recognizer.acoustic.log_probs(features)
    for number, length in enumerate(steps.tolist()):
        alone, (steps_alone,) = recognizer.acoustic.log_probs(features[number : number + 1])
        assert steps_alone == length
        assert torch.equal(alone[0], together[number, :length])
    exact, _ = Recognizer.load(exact=True).acoustic.log_probs(features)
    assert not torch.equal(exact, together)
    for one, other, length in zip(exact, together, steps.tolist(), strict=True):
        assert (one[:length].exp() - other[:length].exp()).abs().mean() < 1e-3


def test_a_helper_process_hears_what_this_one_hears(
    recognizer: Recognizer, sentences: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [*sentences, torch.zeros(0), *sentences] * 3
    alone = in_order(recognizer.transcribe_all(sources, batch_size=2))
    here = 0

    def words(batch: Sequence[SegmentFeatures], options: DecodingOptions) -> list[tuple[Word, ...]]:
        nonlocal here
        here += len(batch)
        return recognizer.finder.words(batch, options)

    with recognizer.helpers(1) as helpers:
        helpers.start()
        twin = Recognizer.load()
        monkeypatch.setattr(twin.finder, "words", words)
        found = in_order(twin.transcribe_all(sources, batch_size=2, helpers=helpers))
    assert 0 < here < 18
    assert [told(result) for _, result, _ in found] == [told(result) for _, result, _ in alone]


def told(result: Transcript | InputError) -> list[tuple[str, float, float]] | str:
    return times(result) if isinstance(result, Transcript) else str(result)


def test_a_network_that_was_not_read_from_a_directory_has_no_helpers(tiny: Recognizer) -> None:
    assert tiny.helpers(3).count == 0


def in_order(
    found: Iterable[tuple[int, Transcript | InputError, Mapping[str, float]]],
) -> list[tuple[int, Transcript | InputError, Mapping[str, float]]]:
    return sorted(found, key=lambda one: one[0])


def test_bad_recordings_are_told_and_the_others_are_done(tiny: Recognizer, tmp_path: Path) -> None:
    bad, cut = tmp_path / "bad.wav", tmp_path / "cut.ogg"
    bad.write_text("no sound")
    cut.write_bytes((SAMPLES / "city.opus").read_bytes()[:200])
    tags, city = SAMPLES / "tags.opus", SAMPLES / "city.opus"
    sources: list[Source] = [tags, bad, tmp_path / "none.wav", city, cut, torch.zeros(0)]
    found = {number: result for number, result, _ in tiny.transcribe_all(sources)}
    assert sorted(found) == list(range(6))
    assert {number for number, result in found.items() if isinstance(result, Transcript)} == {0, 3}
    assert "0.0 s" in str(found[5])
    with pytest.raises(InputError, match=r"bad\.wav"):
        tiny.transcribe_batch(sources)


def test_a_recording_comes_as_soon_as_it_is_done_and_no_more_is_read_than_needed(
    tiny: Recognizer, sentences: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speech.pool.POOL_SECONDS", 20.0)
    taken = 0

    def endless() -> Iterator[Tensor]:
        nonlocal taken
        for taken in itertools.count(1):
            yield sentences[taken % 3]

    transcripts = tiny.transcribe_all(endless())
    first = list(itertools.islice(transcripts, 5))
    assert taken < 60  # seven in a pool, and what waits behind it
    assert all(isinstance(result, Transcript) and sum(stages.values()) > 0 for _, result, stages in first)
    transcripts.close()
    readers = [thread for thread in threading.enumerate() if thread.name == "read ahead"]
    for reader in readers:
        reader.join(5.0)
    assert not any(reader.is_alive() for reader in readers)


def test_a_mistake_in_the_search_costs_its_recording_and_none_beside_it(
    sentences: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = Recognizer.load()
    words = recognizer.finder.words
    unlucky = len(recognizer.acoustic.log_mel(sentences[1]))

    def sometimes(segments: Sequence[SegmentFeatures], options: DecodingOptions) -> list[tuple[Word, ...]]:
        if any(abs(len(one.features) - unlucky) <= 2 for one in segments):
            raise IndexError("a bug")
        return words(segments, options)

    expected = [times(recognizer.transcribe(one)) for one in (sentences[0], sentences[2])]
    monkeypatch.setattr(recognizer.finder, "words", sometimes)
    found = {number: result for number, result, _ in recognizer.transcribe_all(sentences)}
    assert isinstance(found[1], UnexpectedError)
    assert "IndexError: a bug" in str(found[1])
    assert "sometimes" in found[1].log
    assert [told(found[number]) for number in (0, 2)] == expected


def test_what_goes_wrong_with_the_sources_themselves_is_not_lost(tiny: Recognizer) -> None:
    def broken() -> Iterator[Tensor]:
        yield silence(0.1)
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        list(tiny.transcribe_all(broken()))


def test_progress_adds_up_to_all_the_sound(tiny: Recognizer, sentences: list[Tensor]) -> None:
    sources = [torch.cat([*sentences, silence(30.0), *sentences, silence(3.0)]), silence(2.0), sentences[0]]
    told: list[float] = []
    list(tiny.transcribe_all(sources, progress=told.append))
    assert sum(told) == pytest.approx(sum(map(len, sources)) / SAMPLE_RATE)
    assert min(told) >= 0.0
    assert len(told) > len(sources)


def test_batches_hold_like_lengths_and_no_more_than_asked() -> None:
    seconds = [0.5, 19.0, 0.6, 18.0, 0.4, 20.0, 0.5, 17.0, 20.0, 20.0, 20.0, 20.0]
    segments = [
        SegmentFeatures(0, number, 0.0, torch.zeros(round(100 * length), 1), length)
        for number, length in enumerate(seconds)
    ]
    made = [[one.sound_seconds for one in batch] for batch in batches(segments, 3)]
    assert sorted(itertools.chain(*made)) == sorted(seconds)
    assert all(len(batch) <= 3 for batch in made)
    assert made[0] == [0.4, 0.5, 0.5]
    assert [len(batch) for batch in made] == [3, 3, 3, 3]
    limit = BATCH_FRAMES / 100
    assert all(max(batch) * len(batch) <= limit for batch in batches_of(segments * 3, 100))
    assert batches([], 3) == []
    (longest,) = batches([SegmentFeatures(0, 0, 0.0, torch.zeros(100_000, 1), 1000.0)], 3)
    assert len(longest) == 1


def batches_of(segments: list[SegmentFeatures], size: int) -> list[list[float]]:
    return [[one.sound_seconds for one in batch] for batch in batches(segments, size)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_are_even_and_there_is_one_for_each_worker(workers: int) -> None:
    seconds = [round(1.0 + 0.2 * number, 1) for number in range(40)]
    segments = [
        SegmentFeatures(0, number, 0.0, torch.zeros(round(100 * length), 1), length)
        for number, length in enumerate(seconds)
    ]
    made = [[one.sound_seconds for one in batch] for batch in batches(segments, 32, workers)]
    assert [second for batch in made for second in batch] == seconds
    assert len(made) == {1: 2, 2: 2, 3: 3}[workers]
    work = [max(batch) * len(batch) for batch in made]
    assert max(work) <= 1.3 * min(work)
    assert max(work) <= BATCH_FRAMES / 100
    assert len(batches(segments[:2], 32, workers)) == min(2, workers)


# --- what holds no speech --------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.5, 5.0, 30.0])
def test_where_nobody_speaks_the_transcript_is_empty(recognizer: Recognizer, seconds: float) -> None:
    noise = hiss(seconds)
    assert recognizer.transcribe(noise) == Transcript("", len(noise) / SAMPLE_RATE, (), None)


@pytest.mark.parametrize("seconds", [0.05, 30.0])
@pytest.mark.parametrize("sample", [0.0, 0.7, float("nan")])
def test_where_every_sample_is_the_same_nothing_was_recorded(
    tiny: Recognizer, sample: float, seconds: float
) -> None:
    transcript = tiny.transcribe(silence(seconds) + sample)
    assert (transcript.text, transcript.words) == ("", ())
    assert transcript.warnings == (f"no sound in this file ({seconds:.1f} s); was it recorded?",)


def test_a_file_without_samples_was_not_recorded(tiny: Recognizer) -> None:
    empty = io.BytesIO()
    with wave.open(empty, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
    empty.seek(0)
    with pytest.raises(InputError, match=r"no sound in this file \(0\.0 s\)"):
        tiny.transcribe(empty)
    with pytest.raises(InputError, match=r"no sound in this file \(0\.0 s\)"):
        tiny.transcribe(torch.zeros(0))


def test_bad_samples_among_good_ones_do_not_spoil_them(
    recognizer: Recognizer, sentences: list[Tensor]
) -> None:
    damaged = sentences[2].clone()
    damaged[:100] = float("nan")
    damaged[-100:] = float("inf")
    mended = sentences[2].clone()
    mended[:100] = mended[-100:] = 0.0
    assert times(recognizer.transcribe(damaged)) == times(recognizer.transcribe(mended))


@pytest.mark.parametrize("beam", [1, 3])
def test_a_word_cut_short_gives_an_answer(tiny: Recognizer, sentences: list[Tensor], beam: int) -> None:
    for samples in (2, 100, 800, 3000):
        said = sentences[2][SAMPLE_RATE : SAMPLE_RATE + samples]
        transcript = tiny.transcribe(said, DecodingOptions(beam=beam))
        assert transcript.duration == samples / SAMPLE_RATE


@pytest.mark.parametrize("gain", [1e-3, 50.0])
def test_faint_and_clipped_speech_is_still_speech(
    recognizer: Recognizer, sentences: list[Tensor], gain: float
) -> None:
    heard = recognizer.transcribe((sentences[2] * gain).clamp(-1, 1))
    assert len(heard.words) >= 5


def test_a_picture_of_what_holds_no_sound_is_refused(recognizer: Recognizer) -> None:
    with pytest.raises(InputError):
        recognizer.loudness(silence(1.0))
    assert np.isfinite(recognizer.loudness(SAMPLES / "city.opus").numpy()).all()
