"""The only door for sound: a file in any usual container -> float32 (samples,), 16 kHz, mono.

PyAV carries its own FFmpeg libraries, so wav, flac, mp3, m4a, ogg, opus, webm and the sound tracks of mp4
and mkv are read without anything else being installed.
"""

from __future__ import annotations

import logging
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import InputError

SAMPLE_RATE = 16_000

# Below this peak nothing was recorded: 1e-4 is -80 dB of full scale, three steps of 16-bit sound.
SILENCE_PEAK = 1e-4

# A lower rate is a damaged header: at 1 Hz, a megabyte would become 30 gigabytes of samples.
LOWEST_RATE = 1000

# Larger samples are damage, and their squares no float32; the largest that are written are 32-bit integers.
LARGEST_SAMPLE = 2.0**32

_LOG = logging.getLogger(__name__)


def load_audio(source: str | Path | BinaryIO) -> Tensor:
    """Read a whole recording.

    Args:
        source: a file's path, or an open binary file.

    Returns:
        Samples (samples,) float32 at 16 kHz: the mean of the channels, about -1 to 1; samples that are
        not numbers, infinite or absurdly large count as 0. Of a damaged or cut file, what can be decoded:
        pieces that cannot are a warning in the log, a missing end goes unnoticed where the format does
        not tell how long it should be.

    Raises:
        InputError: if the file is missing, empty, no sound file, without a sound track, damaged all
            through, or silent.
    """
    name = _name(source)
    pieces = list(read_audio(source))
    samples = torch.cat(pieces) if pieces else torch.zeros(0)
    require_sound(samples, name)
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
        raise not_recorded(name, samples.numel() / SAMPLE_RATE)


def is_silence(spread: float) -> bool:
    """Whether nothing was recorded, if so much lies between lowest and highest sample.

    It is not the peak that tells: a constant offset is no sound.
    """
    return spread < 2 * SILENCE_PEAK


def not_recorded(name: str | Path, seconds: float) -> InputError:
    """What is said of a recording of so many seconds in which there is nothing."""
    return InputError(name, f"no sound in this file ({seconds:.1f} s); was it recorded?")


def read_audio(source: str | Path | BinaryIO) -> Iterator[Tensor]:
    """Read a recording piece by piece, in memory that does not grow with its length.

    Args:
        source: a file's path, or an open binary file.

    Yields:
        Samples (samples,) float32 at 16 kHz mono, a fraction of a second at a time.

    Raises:
        InputError: if the file is missing, empty, no sound file, without a sound track or damaged all
            through.
    """
    name = _name(source)
    _require_file(source, name)
    try:
        # Without `file:`, FFmpeg takes what stands before a colon in a name for a protocol: `12:30.wav`.
        with av.open(f"file:{name}" if isinstance(source, str | Path) else source, mode="r") as container:
            if not container.streams.audio:
                raise InputError(name, "has no sound track")
            yield from _resampled(_channel_means(container, name))
    except av.FFmpegError as error:
        reason = "is not a sound file that can be read, or it is damaged"
        raise InputError(name, f"{reason} ({error.strerror})") from error


def _name(source: str | Path | BinaryIO) -> str:
    """What a message calls the source."""
    if isinstance(source, str | Path):
        return os.fspath(source)
    return str(getattr(source, "name", "recording"))


def _require_file(source: str | Path | BinaryIO, name: str) -> None:
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


def _channel_means(
    container: av.container.InputContainer, name: str
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Decode the first sound track: pairs of samples (samples,) and their rate.

    A packet that cannot be decoded is passed over: a recording with a scratch is still worth reading.
    """
    decoded = damaged = 0
    convert: av.AudioResampler | None = None
    made_for: tuple[str, int] | None = None
    for frame in _frames(container):
        if frame is None:
            damaged += 1
            continue
        decoded += 1
        layout = (frame.layout.name, frame.sample_rate)
        if convert is None or layout != made_for:
            if frame.sample_rate < LOWEST_RATE:
                raise InputError(name, f"is damaged: a sample rate of {frame.sample_rate} Hz is no sound")
            # Interleaved: of planar sound PyAV cannot read eight channels without a layout.
            convert, made_for = av.AudioResampler(format="flt"), layout
        for plain in convert.resample(frame):
            interleaved = plain.to_ndarray()
            # Written so that NaN, which compares with nothing, goes too.
            sound = np.where(np.abs(interleaved) <= LARGEST_SAMPLE, interleaved, np.float32(0.0))
            channels = sound.reshape(-1, plain.layout.nb_channels)
            yield channels.mean(axis=1, dtype=np.float32), plain.sample_rate
    if damaged and not decoded:
        raise InputError(name, "is damaged: nothing of it can be decoded")
    if damaged:
        _LOG.warning("%s: damaged; %d pieces of it could not be decoded", name, damaged)


def _frames(container: av.container.InputContainer) -> Iterator[av.AudioFrame | None]:
    """Frames of the first sound track; None for each packet that cannot be read or decoded."""
    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            packet = next(packets, None)
        except EOFError:
            return
        except av.FFmpegError:  # nothing can be read behind this
            yield None
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            yield None
            continue
        yield from frames


def _resampled(pieces: Iterator[tuple[NDArray[np.float32], int]]) -> Iterator[Tensor]:
    """Bring pieces of any rate to 16 kHz."""
    resampler: av.AudioResampler | None = None
    rate = 0

    def drain(frame: av.AudioFrame | None) -> Iterator[Tensor]:
        if resampler is not None:
            for out in resampler.resample(frame):
                yield torch.from_numpy(out.to_ndarray()[0].copy())

    for samples, piece_rate in pieces:
        if piece_rate == SAMPLE_RATE and resampler is None:
            yield torch.from_numpy(samples)
            continue
        if resampler is None or piece_rate != rate:  # a rate that changes midway is rare, but legal
            yield from drain(None)
            resampler, rate = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE), piece_rate
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = piece_rate
        yield from drain(frame)
    yield from drain(None)
