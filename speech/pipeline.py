"""From recordings to what is heard in each of their segments.

Comes in: recordings, cut in segments (`reading.py`). Goes out: each as soon as all its segments were heard.
A thread reads ahead, segments of like length are heard together, and other processes may do a share.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial

from common.commands.processes import Helpers
from speech.pool import End, Heard, batches, pools, read_ahead
from speech.transcript import Part, Recording

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
        items: the recordings' segments and ends, see `speech.reading`.
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


def timed(hear: Callable[[Sequence[Heard]], list[Part]], batch: Sequence[Heard]) -> Timed[Part]:
    """What is made of a batch, which may be empty, and the seconds that it takes."""
    started = time.perf_counter()
    parts = hear(batch) if batch else []
    return parts, time.perf_counter() - started
