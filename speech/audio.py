"""The only door for sound: a file in any usual container -> float32 (samples,), 16 kHz, mono.

PyAV carries its own FFmpeg libraries, so wav, flac, mp3, m4a, ogg, opus, webm and the sound tracks of mp4
and mkv are read without anything else being installed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
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

_LOG = logging.getLogger(__name__)


def load_audio(source: str | Path | BinaryIO) -> Tensor:
    """Read a whole recording.

    Args:
        source: a file's path, or an open binary file.

    Returns:
        Samples (samples,) float32 at 16 kHz: the mean of the channels, about -1 to 1; samples that are
        not numbers count as 0. Of a damaged file, what can be decoded (with a warning in the log).

    Raises:
        InputError: if the file is missing, empty, no sound file, without a sound track, or silent.
    """
    name = _name(source)
    pieces = list(read_audio(source))
    samples = torch.cat(pieces) if pieces else torch.zeros(0)
    require_sound(samples, name)
    return samples


def require_sound(samples: Tensor, name: str | Path) -> None:
    """Refuse what holds no sound: no samples, or digital silence.

    Raises:
        InputError: naming the recording and how long it is.
    """
    if samples.numel() == 0 or float(samples.abs().max()) < SILENCE_PEAK:
        seconds = samples.numel() / SAMPLE_RATE
        raise InputError(name, f"no sound in this file ({seconds:.1f} s); was it recorded?")


def read_audio(source: str | Path | BinaryIO) -> Iterator[Tensor]:
    """Read a recording piece by piece, in memory that does not grow with its length.

    Args:
        source: a file's path, or an open binary file.

    Yields:
        Samples (samples,) float32 at 16 kHz mono, a fraction of a second at a time.

    Raises:
        InputError: if the file is missing, empty, no sound file or without a sound track.
    """
    name = _name(source)
    _require_file(source, name)
    try:
        with av.open(os.fspath(source) if isinstance(source, Path) else source, mode="r") as container:
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
        if path.stat().st_size == 0:
            raise InputError(name, "is empty (0 bytes)")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
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
    damaged = 0
    convert: av.AudioResampler | None = None
    made_for: tuple[str, int] | None = None
    with suppress(EOFError):
        for packet in container.demux(container.streams.audio[0]):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                damaged += 1
                continue
            for frame in frames:
                layout = (frame.layout.name, frame.sample_rate)
                if convert is None or layout != made_for:
                    # Interleaved: of planar sound PyAV cannot read eight channels without a layout.
                    convert, made_for = av.AudioResampler(format="flt"), layout
                for plain in convert.resample(frame):
                    interleaved = np.nan_to_num(plain.to_ndarray(), nan=0.0, posinf=0.0, neginf=0.0)
                    channels = interleaved.reshape(-1, plain.layout.nb_channels)
                    yield channels.mean(axis=1, dtype=np.float32), plain.sample_rate
    if damaged:
        _LOG.warning("%s: damaged; %d pieces of it could not be decoded", name, damaged)


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
