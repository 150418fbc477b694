"""Where the words of texts that are known are said in their recordings.

Comes in: recordings, each with its text. Goes out: the texts as they were given, with times.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from common.commands.processes import Helpers
from common.errors import InputError
from speech.acoustic import AcousticModel
from speech.original_text import OriginalText, fit
from speech.pipeline import process_segments
from speech.placing.alignment import Emissions, align_emissions, steps_needed
from speech.pool import SegmentFeatures
from speech.reading import read_all
from speech.sound.audio import AudioOptions
from speech.sound.detector import Detector
from speech.sources import Source, source_name
from speech.transcript import Transcript


def align_all(
    acoustic: AcousticModel,
    detector: Detector,
    recordings: Iterable[tuple[Source, str]],
    batch_size: int,
    audio: AudioOptions | None,
) -> Generator[tuple[int, Transcript | InputError], None, None]:
    """Find the words of any number of recordings, many together.

    Args:
        acoustic: what hears them.
        detector: what says where speech is.
        recordings: each with its text.
        batch_size: segments that go through the network together, at most.
        audio: which sound of the recordings is heard; channels are mixed.

    Yields:
        As soon as a recording is done: its number, and where its words are said or why that cannot be found.
    """
    # Of each recording that is read: its number, its name, and its text.
    known: list[tuple[int, str, OriginalText]] = []
    textless: list[tuple[int, str]] = []
    mixed = None if audio is None else replace(audio, split_channels=False)

    def sources() -> Iterator[Source]:
        for number, (source, given) in enumerate(recordings):
            text = OriginalText(given)
            if text.normalized:
                known.append((number, source_name(source), text))
                yield source
            else:
                textless.append((number, source_name(source)))

    @torch.inference_mode()
    def emissions_of(batch: Sequence[SegmentFeatures]) -> list[Emissions]:
        # A copy: the whole batch would otherwise be kept for each of its segments.
        return [replace(one, log_probs=one.log_probs.clone()) for one in acoustic.emissions(batch)]

    items = read_all(sources(), acoustic.log_mel, detector, mixed)
    for position, recording in process_segments(items, emissions_of, batch_size, Helpers.none()):
        number, name, text = known[position]
        yield number, recording.result(partial(_placed, acoustic, name, text))
    for number, name in textless:
        yield number, InputError(name, "its text has no letters: there is nothing to find")


def _placed(
    acoustic: AcousticModel,
    name: str,
    text: OriginalText,
    emissions: list[Emissions],
    _: list[int | None],
    duration: float,
) -> Transcript:
    """Where a text is said in a recording, given the network's answer to each of its segments.

    Raises:
        InputError: if nobody speaks in it, or its speech is too short for the text.
    """
    if not emissions:
        raise InputError(name, "nobody speaks in it: there is nothing to find the text in")
    subwords = acoustic.subwords
    symbols = subwords.encode(text.normalized)
    if steps_needed(symbols) > sum(len(one.log_probs) for one in emissions):
        spoken = sum(one.seconds for one in emissions)
        count = len(subwords.decode(symbols).split())
        reason = f"a text of {count} words cannot be said in its {spoken:.1f} s of speech"
        raise InputError(name, f"{reason}; is it the right one?")
    words = align_emissions(emissions, symbols, subwords, duration, acoustic.step_seconds)
    return text.placed(words, duration, score=fit(text.normalized, emissions, subwords))
