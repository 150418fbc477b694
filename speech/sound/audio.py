"""The only door for sound: a file in any usual container -> float32 samples at 16 kHz.

PyAV carries its own FFmpeg libraries, so wav, flac, mp3, m4a, ogg, opus, webm, the sound tracks of mp4 and
mkv and whatever else `speech.sound.formats` lists are read without anything else being installed.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import torch
from av.stream import Disposition
from numpy.typing import NDArray
from torch import Tensor

from common.errors import OUT_OF_MEMORY, InputError
from common.stages import READ, stage
from common.stores import local_copy
from speech.sound.containers import LARGEST_SAMPLE, PIECE_SECONDS, Decoded, Track, is_rate
from speech.sound.truncation import cut_short

__all__ = ["LARGEST_SAMPLE", "SAMPLE_RATE", "AudioOptions", "AudioReader", "is_rate", "load_audio"]

SAMPLE_RATE = 16_000

# Below this peak nothing was recorded: 1e-4 is -80 dB of full scale, three steps of 16-bit sound.
SILENCE_PEAK = 1e-4

# The channels cancel each other where their mean has less than this share of the louder one's energy. Of two
# that have nothing in common it has a half, of one beside silence a quarter.
CANCELLED = 0.05
_CANCELLING_HALF_LIFE = 10.0  # seconds after which sound counts half when channels are compared

_LOG = logging.getLogger(__name__)

Source = str | Path | BinaryIO


@dataclass(frozen=True)
class AudioOptions:
    """Which sound of a recording is read.

    Attributes:
        track: number of the sound track, from 1; None for the one that is marked as default or, if that is
            silent, the first with sound.
        split_channels: whether each channel is heard on its own, because each has a speaker of its own.
    """

    track: int | None = None
    split_channels: bool = False


class AudioReader:
    """A recording that is read piece by piece, in memory that does not grow with its length.

    Iterating over it gives samples (channels, samples) float32 at 16 kHz, a piece at a time.
    There is one channel, the mean of all - the louder one, where they cancel each other -, unless they are to
    be kept apart. Where the container says that nothing was recorded, and in place of what cannot be decoded,
    there is silence: the time in the samples is the recording's own.

    Args:
        source: a file's path or URL, or an open binary file.
        options: which of its sound is read.
        piece_seconds: of sound that are gathered for a piece; small pieces take several times as long. 0
            gives at once what was decoded, for sound that is only just being said.

    Attributes:
        name: what a message calls the recording.
        offset_seconds: of the recording before its sound begins (a video's may begin later than its
            pictures); known from the first piece on.
        warnings: what could not be read, a sentence each; complete when all was read.

    Raises, when it is iterated over:
        InputError: if the file is missing, empty, no sound file, without such a sound track or damaged all
            through.
    """

    def __init__(
        self, source: Source, options: AudioOptions | None = None, piece_seconds: float = PIECE_SECONDS
    ) -> None:
        self.name = _name(source)
        self.offset_seconds = 0.0
        self.warnings: list[str] = []
        self._given = self._source = source
        self._options = options or AudioOptions()
        self._piece_seconds = piece_seconds

    def __iter__(self) -> Iterator[Tensor]:
        with ExitStack() as stack:
            with stage(READ):
                self._source = stack.enter_context(local_copy(self._given))
            yield from self._pieces()

    def _pieces(self) -> Iterator[Tensor]:
        """What iterating gives, of a source that can be read to and fro."""
        with stage(READ):
            _require_file(self._source, self.name)
        number = self._options.track
        with _opened(self._source, self.name) as container:
            marked = [bool(one.disposition & Disposition.default) for one in container.streams.audio]
            if number is not None or len(marked) < 2 or not _can_be_read_again(self._source):
                yield from self._read(container, number or 1)
                return
        number = _track_with_sound(self._source, self.name, marked)
        with _opened(self._source, self.name) as container:
            yield from self._read(container, number)

    def _read(self, container: av.container.InputContainer, number: int) -> Iterator[Tensor]:
        """The samples of one track of the open container."""
        track = Track(container, self.name, number, self._piece_seconds)
        self.offset_seconds, self.warnings = track.offset_seconds, track.warnings
        yield from _resampled(_apart(track) if self._options.split_channels else _mixed(track))
        short = "" if track.warnings else cut_short(self._source, track.formats, track.seconds)
        track.warnings += [short] if short else []


def read_audio(source: Source, options: AudioOptions | None = None) -> Iterator[Tensor]:
    """Read a recording piece by piece: samples (samples,) as `load_audio` gives them.

    Raises:
        InputError: as `AudioReader` does.
    """
    reader = AudioReader(source, options)
    for piece in reader:
        yield piece[0]
    for warning in reader.warnings:
        _LOG.warning("%s: %s", reader.name, warning)


def load_audio(source: Source) -> Tensor:
    """Read a whole recording.

    Args:
        source: a file's path or URL, or an open binary file.

    Returns:
        Samples (samples,) float32 at 16 kHz: the mean of the channels, about -1 to 1; samples that are
        not numbers, infinite or absurdly large count as 0. Of a damaged or cut file, what can be decoded,
        with a warning in the log; a missing end goes unnoticed where the format does not tell how long it
        should be.

    Raises:
        InputError: if the file is missing, empty, no sound file, without a sound track, damaged all
            through, or silent.
    """
    pieces = list(read_audio(source))
    samples = torch.cat(pieces) if pieces else torch.zeros(0)
    require_sound(samples, _name(source))
    return samples


def require_sound(samples: Tensor, name: str | Path) -> None:
    """Refuse what holds no sound: no samples, digital silence, a constant, or no numbers.

    Raises:
        InputError: naming the recording and how long it is.
    """
    lowest, highest = samples.aminmax() if samples.numel() else (samples.new_zeros(()),) * 2
    spread = float(highest - lowest)
    if not math.isfinite(spread):
        raise InputError(name, "holds samples that are not finite numbers; set them to 0")
    if is_silence(spread):
        raise InputError(name, not_recorded(samples.numel() / SAMPLE_RATE))


_NOT_RECORDED = "no sound in this file"


def is_silence(spread: float) -> bool:
    """Whether nothing was recorded, if so much lies between lowest and highest sample.

    It is not the peak that tells: a constant offset is no sound.
    """
    return spread < 2 * SILENCE_PEAK


def not_recorded(seconds: float) -> str:
    """What is said of a recording of so many seconds in which there is nothing."""
    return f"{_NOT_RECORDED} ({seconds:.1f} s); was it recorded?"


def is_lost(warning: str) -> bool:
    """Whether a warning about a recording says that some of its sound could not be read."""
    return not warning.startswith(_NOT_RECORDED)


class Resampler:
    """Brings a sound to 16 kHz, chunk by chunk; its rate may change midway."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._rate = SAMPLE_RATE

    def feed(self, samples: NDArray[np.float32], sample_rate: int) -> Tensor:
        """What the next samples (samples,) become; a little is kept until the next ones come."""
        drained = self.drain() if sample_rate != self._rate else torch.zeros(0)
        self._rate = sample_rate
        if not len(samples):
            return drained
        if sample_rate == SAMPLE_RATE:
            return torch.cat([drained, torch.from_numpy(samples)])
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = sample_rate
        return torch.cat([drained, *map(_samples, self._resampler.resample(frame))])

    def drain(self) -> Tensor:
        """What is left when the sound has ended."""
        resampler, self._resampler = self._resampler, None
        if resampler is None:
            return torch.zeros(0)
        return torch.cat([torch.zeros(0), *map(_samples, resampler.resample(None))])


def _samples(frame: av.AudioFrame) -> Tensor:
    """The samples (samples,) of a frame with one channel."""
    return torch.from_numpy(frame.to_ndarray()[0].copy())


def _name(source: Source) -> str:
    """What a message calls the source."""
    if isinstance(source, str | Path):
        return os.fspath(source)
    return str(getattr(source, "name", "recording"))


def _require_file(source: Source, name: str) -> None:
    """Refuse what cannot be a recording before FFmpeg says it in its own words."""
    if not isinstance(source, str | Path):
        return
    path = Path(source)
    try:
        if path.is_dir():
            raise InputError(name, "is a folder, not a recording")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe has no size, and is opened only once
            return
        if status.st_size == 0:
            raise InputError(name, "is empty (0 bytes)")
        with path.open("rb"):
            pass
    except (FileNotFoundError, ValueError) as error:  # ValueError: no name may hold a null character
        raise InputError(name, "no such file") from error
    except PermissionError as error:
        raise InputError(name, "may not be read; check its permissions") from error
    except OSError as error:
        raise InputError(name, f"cannot be read: {error.strerror}") from error


@contextmanager
def _opened(source: Source, name: str) -> Iterator[av.container.InputContainer]:
    """The container, open; what FFmpeg cannot read is an `InputError`. A file is left where it stood."""
    start = source.tell() if not isinstance(source, str | Path) and _can_be_read_again(source) else None
    try:
        # Without `file:`, FFmpeg takes what stands before a colon in a name for a protocol: `12:30.wav`.
        file = f"file:{os.fspath(source)}" if isinstance(source, str | Path) else source
        with stage(READ):
            container = av.open(file, mode="r", metadata_errors="replace")  # tags need not be UTF-8
        with container:
            yield container
    except av.FFmpegError as error:
        if error.errno == errno.ENOMEM:
            raise InputError(name, OUT_OF_MEMORY) from error
        reason = "is not a sound file that can be read, or it is damaged"
        raise InputError(name, f"{reason} ({error.strerror})") from error
    finally:
        if start is not None and not isinstance(source, str | Path):
            source.seek(start)


def _can_be_read_again(source: Source) -> bool:
    """Whether a source can be opened twice: a pipe cannot."""
    return Path(source).is_file() if isinstance(source, str | Path) else source.seekable()


def _track_with_sound(source: Source, name: str, marked: Sequence[bool]) -> int:
    """The number of the track that is marked as default or, if that is silent, of the first with sound.

    Of several that are marked, the first; where none has sound, the one that is marked.
    """
    numbers = sorted(range(1, len(marked) + 1), key=lambda number: not marked[number - 1])
    return next((number for number in numbers if not _is_silent_track(source, name, number)), numbers[0])


def _is_silent_track(source: Source, name: str, number: int) -> bool:
    """Whether a track holds no sound, or none that can be read."""
    lowest, highest = math.inf, -math.inf
    try:
        with _opened(source, name) as container:
            for samples, _ in _mixed(Track(container, name, number)):
                if samples.size:
                    lowest, highest = min(lowest, float(samples.min())), max(highest, float(samples.max()))
                if not is_silence(highest - lowest):
                    return False
    except InputError:
        pass
    return True


def _mixed(track: Track) -> Iterator[Decoded]:
    """The mean of the channels, (samples, 1); where they cancel each other, the louder one.

    A cable with one inverted wire, or a microphone that was connected so, gives a channel that is the other's
    negative: their sum is silence.
    """
    energies = np.zeros(0)  # of each channel, and of their mean; what is long ago counts less
    for samples, rate in track:
        if samples.shape[1] == 1:
            yield samples, rate
            continue
        channels = np.ascontiguousarray(samples.T)  # many times faster to go through than (samples, 2)
        mean = channels.sum(axis=0, dtype=np.float32) / np.float32(len(channels))
        if len(energies) != len(channels) + 1:
            energies = np.zeros(len(channels) + 1)
        energies *= 0.5 ** (len(samples) / rate / _CANCELLING_HALF_LIFE)
        energies += [_energy(channel) for channel in (*channels, mean)]
        loudest = int(energies[:-1].argmax())
        if energies[-1] < CANCELLED * energies[loudest]:
            mean = channels[loudest]
        yield mean[:, None], rate


def _energy(samples: NDArray[np.float32]) -> float:
    """Of samples (samples,), at least one: the squares of what is no constant offset, added up."""
    varying = samples - samples.mean()
    return float(varying @ varying)


def _apart(track: Track) -> Iterator[Decoded]:
    """Every channel, (samples, channels): as many from beginning to end as there are at first."""
    channels = 0
    for samples, rate in track:
        channels = channels or samples.shape[1]
        missing = channels - samples.shape[1]
        yield np.pad(samples[:, :channels], ((0, 0), (0, max(0, missing)))), rate


def _resampled(pieces: Iterator[Decoded]) -> Iterator[Tensor]:
    """Bring pieces (samples, channels) of any rate to 16 kHz: (channels, samples)."""
    resamplers: list[Resampler] = []
    for samples, rate in pieces:
        resamplers = resamplers or [Resampler() for _ in range(samples.shape[1])]
        channels = zip(resamplers, np.ascontiguousarray(samples.T), strict=True)
        yield torch.stack([resampler.feed(channel, rate) for resampler, channel in channels])
    if resamplers:
        yield torch.stack([resampler.drain() for resampler in resamplers])
