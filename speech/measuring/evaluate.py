"""Measuring a recogniser on a manifest of recordings.

Their texts give word and character error rate; their words' true times, how far from them it places words;
fed as if they were being recorded, they show how late a live text is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles

import torch

from common.errors import InputError
from common.locations import Location
from common.manifest import read_manifest
from speech.measuring.scoring import error_rates
from speech.measuring.word_times import timed_words
from speech.options import DecodingOptions
from speech.recognizer import Recognizer
from speech.sound.audio import SAMPLE_RATE, load_audio
from speech.stream import Update


@dataclass(frozen=True)
class SpeechReport:
    """How well a recogniser did on a manifest.

    Attributes:
        wer, cer: word and character error rate, in percent, after the normaliser on both sides.
        utterances: how many recordings.
        audio_seconds: how long they last together.
        seconds: how long reading and recognising them took.
        model: the model's name.
        decoding: how the text was found.
    """

    wer: float
    cer: float
    utterances: int
    audio_seconds: float
    seconds: float
    model: str
    decoding: str


@dataclass(frozen=True)
class TimingReport:
    """How far from the truth words are placed.

    Attributes:
        word_start_error_ms, word_end_error_ms: mean absolute difference of start and end, in milliseconds.
        word_start_median_ms, word_end_median_ms: median of the absolute differences.
        timed_words: how many words were compared.
    """

    word_start_error_ms: float
    word_start_median_ms: float
    word_end_error_ms: float
    word_end_median_ms: float
    timed_words: int


@dataclass(frozen=True)
class LiveReport:
    """How late a live text is, the time that recognising takes included.

    Attributes:
        live_final_lag: median seconds from the end of a segment's last word until its text is final.
        live_word_lag: median seconds from the end of a word until it stands where it stays.
        live_word_lag_90: the same for the slowest but a tenth of the words.
        live_words: how many there were.
    """

    live_final_lag: float
    live_word_lag: float
    live_word_lag_90: float
    live_words: int


def evaluate(
    recognizer: Recognizer,
    manifest: Location,
    options: DecodingOptions | None = None,
    batch_size: int = 16,
    progress: Callable[[int], object] | None = None,
    helpers: int = 0,
) -> SpeechReport:
    """Transcribe every recording of a manifest (`path`, `text`) and score it.

    Args:
        recognizer: what is measured.
        manifest: TSV with a header, paths relative to it.
        options: how text is found; None for the defaults.
        batch_size: recordings that the network reads at once.
        progress: called with the number of recordings done since the last call.
        helpers: processes that recognise beside this one.

    Raises:
        InputError: if the manifest or a recording cannot be read.
    """
    started = time.perf_counter()
    rows = read_manifest(manifest, ["path", "text"], urls=True)
    texts = [""] * len(rows)
    audio_seconds = 0.0
    paths = [row["path"] for row in rows]
    with recognizer.helpers(helpers, options) as beside:
        for number, result, _ in recognizer.transcribe_all(paths, options, batch_size, helpers=beside):
            if isinstance(result, InputError):
                raise result
            texts[number] = result.text
            audio_seconds += result.duration
            if progress is not None:
                progress(1)
    scores = error_rates([row["text"] for row in rows], texts)
    return SpeechReport(
        wer=scores.wer,
        cer=scores.cer,
        utterances=len(rows),
        audio_seconds=audio_seconds,
        seconds=time.perf_counter() - started,
        model=recognizer.name,
        decoding=str(options or DecodingOptions()),
    )


def evaluate_timing(
    recognizer: Recognizer,
    manifest: Location,
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
) -> TimingReport:
    """Find the true words of every recording of a manifest, and compare their times with the true ones.

    The words are found by `Recognizer.align`, so every word has its counterpart and what is measured is where
    words are placed, not whether they are recognised. Every word counts alike. One that the normaliser makes
    several of (`42`) lasts from the first to the last of them, one that it makes none of is left out.

    Args:
        recognizer: what is measured.
        manifest: TSV with the columns `path` and `words`, a JSON list of `[word, start, end]` in seconds.
        batch_size: segments that go through the network together, at most.
        progress: called with the number of recordings done since the last call.

    Raises:
        InputError: if the manifest or a recording cannot be read or aligned, or there are no words.
    """
    rows = read_manifest(manifest, ["path", "words"], urls=True)
    truths = [timed_words(row) for row in rows]
    for row, truth in zip(rows, truths, strict=True):
        if not truth:
            raise InputError(row["path"], "its column 'words' holds no words")
    starts: list[float] = []
    ends: list[float] = []
    told = (
        (row["path"], " ".join(word.text for word in truth)) for row, truth in zip(rows, truths, strict=True)
    )
    for number, result in recognizer.align_all(told, batch_size):
        if isinstance(result, InputError):
            raise result
        said = iter(result.words)
        for word in truths[number]:
            parts = [next(said) for _ in word.text.split()]
            starts.append(1000 * abs(parts[0].start - word.start))
            ends.append(1000 * abs(parts[-1].end - word.end))
        if progress is not None:
            progress(1)
    return TimingReport(fmean(starts), median(starts), fmean(ends), median(ends), len(starts))


def evaluate_live(
    recognizer: Recognizer,
    manifest: Location,
    options: DecodingOptions | None = None,
    progress: Callable[[int], object] | None = None,
) -> LiveReport:
    """Feed recordings to a stream as if they were being recorded, and see when their words stand there.

    A second of silence follows each, because no text is final before a pause.

    Args:
        recognizer: what is measured.
        manifest: TSV with a column `path`.
        options: how final text is found; None for the defaults.
        progress: called with the number of recordings done since the last call.

    Raises:
        InputError: if the manifest or a recording cannot be read, or no words come out.
    """
    final_lags: list[float] = []
    lags: list[float] = []
    for row in read_manifest(manifest, ["path"], urls=True):
        samples = torch.cat([load_audio(row["path"]), torch.zeros(SAMPLE_RATE)])
        stream = recognizer.stream(options)
        shown: list[tuple[float, Update]] = []  # since the last final text, with when it stood there
        for start in range(0, len(samples), _CHUNK):
            began = time.perf_counter()
            updates = stream.feed(samples[start : start + _CHUNK])
            now = (start + _CHUNK) / SAMPLE_RATE + time.perf_counter() - began
            for update in updates:
                shown.append((now, update))
                if update.final:
                    final_lags.append(now - update.words[-1].end)
                    lags += word_lags(shown)
                    shown.clear()
        if progress is not None:
            progress(1)
    if not lags:
        raise InputError(manifest, "not a word was heard in its recordings")
    slowest = quantiles(lags, n=10, method="inclusive")[-1] if len(lags) > 1 else lags[0]
    return LiveReport(median(final_lags), median(lags), slowest, len(lags))


# Samples that come at once: a tenth of a second.
_CHUNK = SAMPLE_RATE // 10


def word_lags(shown: Sequence[tuple[float, Update]]) -> list[float]:
    """For each word of the last text, the seconds from its end until it stood where it stays."""
    _, final = shown[-1]
    lags = []
    for place, word in enumerate(final.words):
        since = shown[-1][0]
        for now, update in reversed(shown):
            if place >= len(update.words) or update.words[place].text != word.text:
                break
            since = now
        lags.append(since - word.end)
    return lags
