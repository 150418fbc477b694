"""Measuring a recogniser: a manifest of recordings with their texts -> word and character error rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.manifest import read_manifest
from speech.options import DecodingOptions
from speech.recognizer import Recognizer
from speech.scoring import error_rates


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


def evaluate(
    recognizer: Recognizer,
    manifest: Path,
    options: DecodingOptions | None = None,
    batch_size: int = 16,
    progress: Callable[[int], object] | None = None,
) -> SpeechReport:
    """Transcribe every recording of a manifest (`path`, `text`) and score it.

    Args:
        recognizer: what is measured.
        manifest: TSV with a header, paths relative to it.
        options: how text is found; None for the defaults.
        batch_size: recordings that the network reads at once.
        progress: called with the number of recordings done since the last call.

    Raises:
        InputError: if the manifest or a recording cannot be read.
    """
    started = time.perf_counter()
    rows = read_manifest(manifest, ["path", "text"])
    texts = [""] * len(rows)
    audio_seconds = 0.0
    paths = [row["path"] for row in rows]
    for number, result, _ in recognizer.transcribe_all(paths, options, batch_size):
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
