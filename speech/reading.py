"""A recording becomes features, segment by segment: sound is read, cut in pauses, and looked at.

Comes in: a file or samples. Goes out: its segments on their way to the network, and an end that says how long
it is and what about it a person should know. Times are on the recording's own clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from common.errors import InputError, UnexpectedError
from common.stages import DECODE, DETECT, FEATURES, Stopwatch
from speech.pool import RecordingEnd, SegmentFeatures
from speech.sound.audio import SAMPLE_RATE, AudioOptions, AudioReader, is_silence, not_recorded
from speech.sound.detector import Detector
from speech.sound.segments import RecordingSplitter, SoundSegment, clean
from speech.sources import Source, opened, source_name

_PIECE = 5 * SAMPLE_RATE  # samples that are cut at once


def read_segments(
    number: int,
    source: str | Path | BinaryIO | Tensor,
    features: Callable[[Tensor], Tensor],
    detector: Detector,
    audio: AudioOptions | None = None,
) -> Iterator[SegmentFeatures | RecordingEnd]:
    """Read one recording: its segments, and its end.

    Args:
        number: of the recording, which its segments carry.
        source: a file's path, an open binary file, or samples (samples,) or (channels, samples).
        features: samples (samples,) of a segment -> its features (frames, mels).
        detector: what says where speech is.
        audio: which of its sound is read.
    """
    audio = audio or AudioOptions()
    reader = SamplesReader(source, audio) if isinstance(source, Tensor) else AudioReader(source, audio)
    cutter = _Cutter(detector)
    count = 0
    problem: InputError | None = None
    try:
        for channel, segment in cutter.segments(reader):
            with cutter.watch.of(FEATURES):
                log_mel = features(segment.samples)
            start, sound = segment.start_seconds + reader.offset_seconds, len(segment.samples) / SAMPLE_RATE
            heard = channel + 1 if audio.split_channels else None
            yield SegmentFeatures(number, count, start, log_mel, sound, heard)
            count += 1
        if not cutter.length:
            problem = InputError(reader.name, not_recorded(0.0))
    except InputError as error:
        problem = error
    except Exception as error:  # costs this recording, and none of the others
        problem = UnexpectedError.of(reader.name, error)
    seconds = cutter.length / SAMPLE_RATE
    warnings = tuple(reader.warnings)
    if cutter.length and is_silence(cutter.spread):
        warnings += (not_recorded(seconds),)
    offset, stages = reader.offset_seconds, cutter.watch.seconds
    yield RecordingEnd(number, count, seconds + offset, problem, stages, offset, warnings, reader.name)


def read_all(
    sources: Iterable[Source],
    features: Callable[[Tensor], Tensor],
    detector: Detector,
    audio: AudioOptions | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> Iterator[SegmentFeatures | RecordingEnd]:
    """Read recordings one after another, as `read_segments` reads each.

    Raises:
        TypeError, ValueError: if a source is nothing that can be a recording (see `speech.sources.opened`).
    """
    for number, source in enumerate(sources):
        yield from read_segments(number, opened(source, sample_rate), features, detector, audio)


class SamplesReader:
    """Samples that somebody has, as `AudioReader` gives those of a file."""

    def __init__(self, samples: Tensor, options: AudioOptions) -> None:
        self.name = source_name(samples)
        self.offset_seconds = 0.0
        self.warnings: list[str] = []
        channels = torch.atleast_2d(clean(samples))
        self._channels = channels if options.split_channels else channels.mean(dim=0, keepdim=True)

    def __iter__(self) -> Iterator[Tensor]:
        yield from self._channels.split(_PIECE, dim=1)


class _Cutter:
    """Cuts each channel of a recording, and notes how long it is and how far its samples lie apart."""

    def __init__(self, detector: Detector) -> None:
        self.length = 0  # samples
        self.spread = 0.0  # of the channel where it is largest
        self.watch = Stopwatch()
        self._detector = detector

    def segments(self, pieces: AudioReader | SamplesReader) -> Iterator[tuple[int, SoundSegment]]:
        """The segments of all channels, each with the number of its channel from 0."""
        splitters: list[RecordingSplitter] = []
        lowest = highest = torch.zeros(0)
        left = iter(pieces)
        while True:
            with self.watch.of(DECODE):
                piece = next(left, None)
            if piece is None:
                break
            if not piece.shape[1]:
                continue
            if not splitters:
                splitters = [RecordingSplitter(self._detector) for _ in piece]
                lowest = torch.full((len(piece),), math.inf)
                highest = -lowest
            lowest, highest = lowest.minimum(piece.amin(dim=1)), highest.maximum(piece.amax(dim=1))
            self.length += piece.shape[1]
            self.spread = float((highest - lowest).max())
            for channel, splitter in enumerate(splitters):
                with self.watch.of(DETECT):
                    found = splitter.feed(piece[channel])
                for segment in found:
                    yield channel, segment
        for channel, splitter in enumerate(splitters):
            with self.watch.of(DETECT):
                found = splitter.finish()
            for segment in found:
                yield channel, segment
