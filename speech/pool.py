"""Segments of many recordings, made ready for the network.

Comes in: what is read, one recording after another. Goes out: pools of a few minutes, and batches of segments
of like length in them. A thread reads ahead.
"""

from __future__ import annotations

import queue
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import InputError
from speech.model.buckets import by_length

Item = TypeVar("Item")

POOL_SECONDS = 240.0  # sound that is sorted by length before it goes through the network
BATCH_FRAMES = 24_000  # that go through the network together, padding included: 240 s of sound
POOL_ITEMS = 512  # segments and recordings in a pool, at most: many may hold no speech
READ_AHEAD = 32  # segments that wait for the network, at most


@dataclass(frozen=True)
class SegmentFeatures:
    """A segment on its way to the network: the recording's number, its own, and its features."""

    number: int
    index: int
    start_seconds: float
    features: Tensor  # (frames, mels)
    sound_seconds: float
    channel: int | None = None  # from 1, where channels are kept apart

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: its numbers. A tensor would take shared memory, which can be scarce."""
        features = self.features.numpy()
        rest = (self.sound_seconds, self.channel)
        return _segment_features, (self.number, self.index, self.start_seconds, features, *rest)


def _segment_features(
    number: int, index: int, start: float, features: NDArray[np.float32], seconds: float, channel: int | None
) -> SegmentFeatures:
    """A segment that came from another process."""
    return SegmentFeatures(number, index, start, torch.from_numpy(features), seconds, channel)


@dataclass(frozen=True)
class RecordingEnd:
    """A recording was read: how many segments it has, how long it is, and why it cannot be used.

    Attributes:
        name: of the recording, for messages.
        duration: seconds of the recording, those before its sound begins included.
        stages: seconds that the reading took, by stage.
        offset: seconds of the recording before its sound begins.
        warnings: what about it a person should know.
    """

    number: int
    segments: int
    duration: float
    problem: InputError | None
    stages: Mapping[str, float]
    offset: float = 0.0
    warnings: tuple[str, ...] = ()
    name: str = "recording"


def pools(items: Iterable[SegmentFeatures | RecordingEnd]) -> Iterator[list[SegmentFeatures | RecordingEnd]]:
    """Gather what was read, a few minutes of speech at a time."""
    pool: list[SegmentFeatures | RecordingEnd] = []
    seconds = 0.0
    for item in items:
        pool.append(item)
        seconds += item.sound_seconds if isinstance(item, SegmentFeatures) else 0.0
        if seconds >= POOL_SECONDS or len(pool) >= POOL_ITEMS:
            yield pool
            pool, seconds = [], 0.0
    if pool:
        yield pool


def batches(
    segments: Sequence[SegmentFeatures], batch_size: int, workers: int = 1
) -> list[Sequence[SegmentFeatures]]:
    """Segments of like length together, as many as fit into `BATCH_FRAMES` and `batch_size`.

    All batches are about as much work, and each of the workers has as many.
    """
    lengths = [len(one.features) for one in segments]

    def made(budget: int) -> list[list[int]]:
        return by_length(lengths, budget, batch_size)

    count = min(len(segments), -(-len(made(BATCH_FRAMES)) // workers) * workers)
    least = bisect_left(range(BATCH_FRAMES), -count, key=lambda budget: -len(made(budget)))
    return [[segments[number] for number in numbers] for numbers in made(least)]


def read_ahead(items: Iterator[Item], most: int = READ_AHEAD) -> Iterator[Item]:
    """The same items, made by a thread while what takes them works; at most so many wait."""
    waiting: queue.Queue[Item | BaseException | None] = queue.Queue(most)
    stopped = threading.Event()

    def put(item: Item | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(item, timeout=0.2)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # it belongs to whoever waits for the items
            put(error)

    threading.Thread(target=work, name="read ahead", daemon=True).start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
