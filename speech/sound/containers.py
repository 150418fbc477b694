"""A container's sound track -> decoded samples on the container's clock, and what of it could not be read.

Comes in: a file that PyAV opened. Goes out: interleaved samples with their rate, in order, with silence where
the container says that nothing was recorded or where something could not be decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import av
import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.stages import READ, stage

# A lower rate is a damaged header: at 1 Hz, a megabyte would become 30 gigabytes of samples.
LOWEST_RATE = 1000
# So is a higher one: at 800 MHz, the resampler alone would take a gigabyte. DSD512 has 2.8 MHz.
HIGHEST_RATE = 6_144_000

# Larger samples are damage, and their squares no float32; the largest that are written are 32-bit integers.
LARGEST_SAMPLE = 2.0**32

# Times in containers are rounded and jitter; a shorter gap is none.
SHORTEST_GAP_SECONDS = 0.1

# A longer gap is a damaged time.
LONGEST_GAP_SECONDS = 3600.0

# A longer silence in all is none where a recording may pause, and where it may not.
_MOST_SILENCE_SECONDS, _MOST_DAMAGE_SECONDS = 8 * 3600.0, 3600.0

# In these a recording may pause without anything being wrong: each packet says when it is heard.
_TIMED = frozenset({"matroska", "webm", "mov", "mpegts", "mpeg", "flv", "asf", "avi", "nut", "rm"})

# In these nothing says how long the sound is: FFmpeg takes it from the file's size, and may be far off.
_GUESSED = frozenset({"mp3", "aac", "ac3", "eac3", "amr", "loas", "dts", "gsm", "mpeg", "rm", "g722", "avi"})

_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")

# A demuxer that fails so often in a row will not go on.
_MOST_FAILURES = 5

# Sound that is gathered before it is gone through: of more, nothing becomes faster.
PIECE_SECONDS = 1.0

Decoded = tuple[NDArray[np.float32], int]


def is_rate(sample_rate: int) -> bool:
    """Whether sound can have so many samples a second."""
    return LOWEST_RATE <= sample_rate <= HIGHEST_RATE


class Track:
    """One sound track of an open container.

    Args:
        container: as `av.open` gives it.
        name: what a message calls the recording.
        number: of the sound track, from 1.
        piece_seconds: of sound that are gathered before they are given.

    Attributes:
        offset_seconds: of the recording, before its sound begins.
        warnings: what could not be read, a sentence each; complete when all was read.
        seconds: that were read so far.
        formats: FFmpeg's names for the container's format.

    Raises:
        InputError: if there is no such track or nothing here decodes it.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        name: str,
        number: int,
        piece_seconds: float = PIECE_SECONDS,
    ) -> None:
        tracks = container.streams.audio
        if not tracks:
            raise InputError(name, "has no sound track")
        if not 1 <= number <= len(tracks):
            have = "1 sound track" if len(tracks) == 1 else f"{len(tracks)} sound tracks"
            raise InputError(name, f"has {have}, and no track {number}")
        self.container = container
        self.name = name
        self._piece_seconds = piece_seconds
        self.stream = tracks[number - 1]
        if self.stream.codec_context is None:
            raise InputError(name, "its sound is in a format that cannot be decoded here")
        self.warnings: list[str] = []
        self.seconds = 0.0
        self.formats = frozenset(container.format.name.split(","))
        # The container's clock begins with its first track: that is where players begin.
        self._begin = (container.start_time or 0) / av.time_base
        self._duration = (container.duration or 0) / av.time_base  # 0 where it is not known
        self.offset_seconds = self._offset()
        self._damaged = 0  # packets that could not be decoded, or only in part
        self._gaps = 0.0  # seconds within the sound that are not there
        self._broken_off = ""  # why nothing could be read any more

    def __iter__(self) -> Iterator[Decoded]:
        """Samples (samples, channels) float32 with their rate; what is no number or absurd counts as 0."""
        clock: float | None = self._time(self.stream.start_time)  # when the next frame is expected
        frames: _Gathered | None = None
        made_for: tuple[str, str, int] | None = None
        for frame in self._frames():
            rate = frame.sample_rate
            if (kind := (frame.format.name, frame.layout.name, rate)) != made_for:
                if frames is not None:
                    yield from frames.taken()
                if not is_rate(rate):
                    raise InputError(self.name, f"is damaged: a sample rate of {rate} Hz is no sound")
                frames, made_for = _Gathered(rate, self._piece_seconds), kind
            assert frames is not None
            time = frame.time
            clock = time if clock is None else clock
            gap = self._gap(clock, time)
            if gap is not None:
                yield from frames.taken()
                clock = time
                for length in _pieces(round(gap * rate), rate):
                    self.seconds += length / rate
                    yield np.zeros((length, frame.layout.nb_channels), np.float32), rate
            seconds = frame.samples / rate
            self.seconds += seconds
            clock = None if clock is None else clock + seconds
            if frames.take(frame):
                yield from frames.taken()
        if frames is not None:
            yield from frames.taken()
        if not self.seconds and (self._damaged or self._broken_off):
            raise InputError(self.name, "is damaged: nothing of it can be decoded")
        self._sum_up()

    def _offset(self) -> float:
        """When the sound begins on the container's clock; 0 where that is not known or absurd."""
        start = self._time(self.stream.start_time)
        if start is None or self.container.start_time is None:
            return 0.0
        offset = start - self._begin
        latest = self._duration or LONGEST_GAP_SECONDS
        return offset if 0.001 < offset <= latest else 0.0  # containers round their clock to microseconds

    def _time(self, stamp: int | None) -> float | None:
        """A time of the track in seconds."""
        return (
            None if stamp is None or self.stream.time_base is None else float(stamp * self.stream.time_base)
        )

    def _gap(self, expected: float | None, time: float | None) -> float | None:
        """Seconds of silence in front of a frame, perhaps 0; None if it comes when it is expected."""
        if expected is None or time is None or abs(time - expected) < SHORTEST_GAP_SECONDS:
            return None
        gap = time - expected
        latest = self._begin + self._duration if self._duration else float("inf")
        if gap < 0 or gap > LONGEST_GAP_SECONDS or time > latest:
            return 0.0  # another file begins (chained Ogg), or the time is damaged
        if self._gaps + gap > (_MOST_SILENCE_SECONDS if self.formats & _TIMED else _MOST_DAMAGE_SECONDS):
            return 0.0  # a damaged clock makes hours of a few bytes
        self._gaps += gap
        return gap

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Frames that can be decoded; what cannot is passed over and counted.

        A recording with a scratch is still worth reading.
        """
        packets = self.container.demux(self.stream)
        failures = 0  # in a row
        reason = ""  # of the last one
        while failures < _MOST_FAILURES:
            try:
                with stage(READ):
                    packet = next(packets, None)
            except EOFError:
                break
            except IndexError:  # a packet of a track that was not there at the beginning, as in broadcasts
                packets = self.container.demux(self.stream)
                continue
            except (av.FFmpegError, ValueError, OSError) as error:
                failures += 1
                reason = getattr(error, "strerror", None) or str(error)
                packets = self.container.demux(self.stream)
                continue
            if packet is None or (not packet.size and failures):
                break
            self._damaged += failures + packet.is_corrupt
            failures = 0
            try:
                frames = packet.decode()
            except EOFError:
                break
            except (av.FFmpegError, ValueError, OSError):
                self._damaged += not packet.is_corrupt
                continue
            yield from frames
        if failures:
            self._broken_off = reason

    def _sum_up(self) -> None:
        """Say what of the track could not be read."""
        gaps = self._gaps if self._damaged or not self.formats & _TIMED else 0.0
        stated = self._stated_seconds()
        missing = max(0.0, stated - self.seconds) if stated else 0.0
        missing = gaps + (missing if missing >= SHORTEST_GAP_SECONDS else 0.0)
        if self._broken_off:
            where = f"{self.offset_seconds + self.seconds:.1f} s"
            self.warnings.append(f"cannot be read beyond {where} ({self._broken_off})")
        elif missing >= SHORTEST_GAP_SECONDS:
            whole = max(stated, self.seconds)
            self.warnings.append(f"damaged or cut short: {missing:.1f} of its {whole:.1f} s are missing")
        elif self._damaged:
            pieces = "a piece" if self._damaged == 1 else f"{self._damaged} pieces"
            self.warnings.append(f"damaged: {pieces} of it could not be decoded")

    def _stated_seconds(self) -> float:
        """How long the track says that it is; 0 where it does not say, or nobody should believe it."""
        if self.formats & _GUESSED:
            return 0.0
        if self.stream.duration is not None:
            return max(0.0, (self._time(self.stream.duration) or 0.0) - self._lead_in())
        if found := _CLOCK.fullmatch(self.stream.metadata.get("DURATION", "")):  # as Matroska's tags say it
            hours, minutes, seconds = map(float, found.groups())
            return max(0.0, 3600 * hours + 60 * minutes + seconds - self.offset_seconds)
        # Beside pictures, nobody says that the sound lasts as long as they do.
        alone = len(self.container.streams) == len(self.container.streams.audio) == 1
        return max(0.0, self._duration - self.offset_seconds) if alone else 0.0

    def _lead_in(self) -> float:
        """Seconds at the beginning that are no sound but count as such: Opus in Ogg says how many to drop.

        See RFC 7845, section 5.1: from the tenth byte of the header on, in samples of 48 kHz.
        """
        header = self.stream.codec_context.extradata or b""
        if "ogg" not in self.formats or not header.startswith(b"OpusHead"):
            return 0.0
        return int.from_bytes(header[10:12], "little") / 48_000


class _Gathered:
    """Frames of one kind, which become samples together.

    Coders make frames of some 20 ms. What is done with one takes about as long as what is done with a second
    of them: one by one, to read stereo in Opus takes nine times as long.

    Args:
        rate: of all frames.
        seconds: of sound that are gathered.
    """

    def __init__(self, rate: int, seconds: float) -> None:
        self._rate, self._most = rate, seconds * rate
        self._fifo = av.AudioFifo()
        # Interleaved: of planar sound PyAV cannot read eight channels without a layout.
        self._convert = av.AudioResampler(format="flt")

    def take(self, frame: av.AudioFrame) -> bool:
        """Take the next frame; whether enough has been gathered."""
        frame.pts = None  # here they only follow each other
        self._fifo.write(frame)
        return bool(self._fifo.samples >= self._most)

    def taken(self) -> Iterator[Decoded]:
        """What has been gathered: samples (samples, channels), of which none is no number or absurd."""
        frame = self._fifo.read(0, partial=True) if self._fifo.samples else None
        for plain in self._convert.resample(frame) if frame is not None else ():
            interleaved = plain.to_ndarray().astype(np.float32, copy=False)
            samples = interleaved.reshape(-1, plain.layout.nb_channels)
            # Written so that NaN, which compares with nothing, goes too.
            if not -LARGEST_SAMPLE <= samples.min(initial=0.0) <= samples.max(initial=0.0) <= LARGEST_SAMPLE:
                samples = np.where(np.abs(samples) <= LARGEST_SAMPLE, samples, np.float32(0.0))
            yield samples, self._rate


def _pieces(length: int, most: int) -> Iterator[int]:
    """A length in parts of at most so much."""
    while length > 0:
        yield min(length, most)
        length -= most
