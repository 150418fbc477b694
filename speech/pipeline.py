"""From recordings to what is heard in each of their segments.

Comes in: recordings, one after another. Goes out: each as soon as all its segments were heard. A thread reads
ahead, segments of like length are heard together, and other processes may do a share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from common.errors import InputError
from common.processes import Helpers
from speech.audio import SAMPLE_RATE, is_silence, not_recorded, read_audio
from speech.features import LogMel
from speech.pool import End, Heard, batches, pools, read_ahead
from speech.segments import Detector, clean, split
from speech.transcript import Part, Recording

Source = str | Path | BinaryIO | Tensor

# What was made of each segment of a batch, and the seconds that it took.
Timed = tuple[list[Part], float]


def hear_all(
    items: Iterator[Heard | End],
    hear: Callable[[Sequence[Heard]], list[Part]],
    batch_size: int,
    helpers: Helpers[Sequence[Heard], Timed[Part]],
    progress: Callable[[float], object] | None = None,
) -> Iterator[tuple[int, Recording[Part]]]:
    """Have the segments of any number of recordings heard, in batches of like length.

    Args:
        items: the recordings' segments and ends, see `read`.
        hear: what is made of the segments of a batch.
        batch_size: segments that are heard together, at most.
        helpers: processes that do the same.
        progress: called with the seconds of sound that were done since the last call.

    Yields:
        As soon as a recording is done: its number, and the recording.
    """
    recordings: dict[int, Recording[Part]] = {}
    report = progress or (lambda _: None)

    def waiting() -> Generator[Sequence[Heard], None, None]:
        for pool in pools(read_ahead(items)):
            for item in pool:
                recordings.setdefault(item.number, Recording()).take(item)
            segments = [item for item in pool if isinstance(item, Heard) and item.number in recordings]
            yield from batches(segments, batch_size, 1 + helpers.ready)
            if not segments:
                yield []  # nothing is said in what was read: that is done as well

    with closing(waiting()) as found, closing(helpers.work(partial(timed, hear), found)) as results:
        for batch, (parts, seconds) in results:
            share = seconds / max(1e-9, sum(one.sound_seconds for one in batch))
            for segment, part in zip(batch, parts, strict=True):
                # It is there no more if its rest could not be read.
                if (recording := recordings.get(segment.number)) is not None:
                    report(recording.add(segment, part, share * segment.sound_seconds))
            for number in [number for number, one in recordings.items() if one.done]:
                report(recordings[number].rest)
                yield number, recordings.pop(number)


def read(sources: Iterable[Source], detector: Detector, log_mel: LogMel) -> Iterator[Heard | End]:
    """Read recordings one after another: their segments, and an end for each.

    Args:
        sources: sound or video files, open binary files, or samples (samples,) at 16 kHz.
        detector: finds where somebody speaks.
        log_mel: makes the segments' features.
    """
    for number, source in enumerate(sources):
        started, waited = time.perf_counter(), 0.0
        samples = count = 0
        lowest, highest = math.inf, -math.inf

        def pieces(source: Source = source) -> Iterator[Tensor]:
            nonlocal samples, lowest, highest
            for piece in [clean(source)] if isinstance(source, Tensor) else read_audio(source):
                if len(piece):
                    samples += len(piece)
                    low, high = piece.aminmax()
                    lowest, highest = min(lowest, float(low)), max(highest, float(high))
                    yield piece

        problem: InputError | None = None
        try:
            for segment in split(pieces(), detector):
                seconds = len(segment.samples) / SAMPLE_RATE
                heard = Heard(number, count, segment.start_seconds, log_mel(segment.samples), seconds)
                count += 1
                paused = time.perf_counter()
                yield heard
                waited += time.perf_counter() - paused
            if is_silence(highest - lowest):
                raise not_recorded(source_name(source), samples / SAMPLE_RATE)
        except InputError as error:
            problem = error
        spent = time.perf_counter() - started - waited
        yield End(number, count, samples / SAMPLE_RATE, problem, spent)


def timed(hear: Callable[[Sequence[Heard]], list[Part]], batch: Sequence[Heard]) -> Timed[Part]:
    """What is made of a batch, which may be empty, and the seconds that it takes."""
    started = time.perf_counter()
    parts = hear(batch) if batch else []
    return parts, time.perf_counter() - started


def source_name(source: Source) -> str:
    """What a message calls a source."""
    if isinstance(source, Tensor):
        return "samples"
    return str(source) if isinstance(source, str | Path) else str(getattr(source, "name", "recording"))
