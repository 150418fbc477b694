"""From recordings to what is made of each of their segments.

Comes in: recordings, cut in segments (`reading.py`). Goes out: each as soon as all its segments are done.
A thread reads ahead, segments of like length are processed together, and other processes may do a share.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial

from common.commands.processes import Helpers
from common.errors import UnexpectedError
from common.stages import Stopwatch
from speech.pool import RecordingEnd, SegmentFeatures, batches, pools, read_ahead
from speech.transcript import Part, Recording

# What was made of each segment of a batch, or why nothing was, and the seconds that it took by stage.
Timed = tuple[Sequence[Part | UnexpectedError], Mapping[str, float]]


def process_segments(
    items: Iterator[SegmentFeatures | RecordingEnd],
    process: Callable[[Sequence[SegmentFeatures]], list[Part]],
    batch_size: int,
    helpers: Helpers[Sequence[SegmentFeatures], Timed[Part]],
    progress: Callable[[float], object] | None = None,
) -> Iterator[tuple[int, Recording[Part]]]:
    """Process the segments of any number of recordings, in batches of like length.

    Args:
        items: the recordings' segments and ends, see `speech.reading`.
        process: what is made of the segments of a batch.
        batch_size: segments that are processed together, at most.
        helpers: processes that do the same.
        progress: called with the seconds of sound that were done since the last call.

    Yields:
        As soon as a recording is done: its number, and the recording.
    """
    recordings: dict[int, Recording[Part]] = {}
    report = progress or (lambda _: None)

    def waiting() -> Generator[Sequence[SegmentFeatures], None, None]:
        for pool in pools(read_ahead(items)):
            for item in pool:
                recordings.setdefault(item.number, Recording()).take(item)
            segments = [
                item for item in pool if isinstance(item, SegmentFeatures) and item.number in recordings
            ]
            yield from batches(segments, batch_size, 1 + helpers.ready)
            if not segments:
                yield []  # nothing is said in what was read: that is done as well

    with closing(waiting()) as found, closing(helpers.work(partial(timed, process), found)) as results:
        for batch, (parts, stages) in results:
            sound = max(1e-9, sum(one.sound_seconds for one in batch))
            for segment, part in zip(batch, parts, strict=True):
                # It is there no more if its rest could not be read.
                if (recording := recordings.get(segment.number)) is not None:
                    share = segment.sound_seconds / sound
                    shares = {name: share * seconds for name, seconds in stages.items()}
                    report(recording.add(segment, part, shares))
            for number in [number for number, one in recordings.items() if one.done]:
                report(recordings[number].rest)
                yield number, recordings.pop(number)


def timed(
    process: Callable[[Sequence[SegmentFeatures]], list[Part]], batch: Sequence[SegmentFeatures]
) -> Timed[Part]:
    """What is made of a batch, which may be empty, and the seconds that it takes by stage.

    A segment that cannot be processed because of a mistake in this program costs its own recording, not those
    beside it: what raised as a batch is tried one by one.
    """
    watch = Stopwatch()
    parts: Sequence[Part | UnexpectedError]
    with watch.running():
        try:
            parts = process(batch) if batch else []
        except Exception:
            alone = partial(_alone, process)
            parts = [alone(segment) for segment in batch]
    return parts, watch.seconds


def _alone(
    process: Callable[[Sequence[SegmentFeatures]], list[Part]], segment: SegmentFeatures
) -> Part | UnexpectedError:
    """What is made of a segment, or why nothing is."""
    try:
        return process([segment])[0]
    except Exception as error:
        return UnexpectedError.of(f"segment at {segment.start_seconds:.1f} s", error)
