"""What people hand over as a recording: a path, an open file, a file's bytes, or samples of any usual form.

Comes in: any of these. Goes out: a path, an open file, or float32 samples (channels, samples) at 16 kHz.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speech.sound.audio import SAMPLE_RATE, Resampler, is_rate

Samples = Tensor | NDArray[Any]
Source = str | Path | BinaryIO | bytes | bytearray | memoryview | Samples

# Of integers, what is full scale; sound of other types is refused, as nobody can tell what its zero is.
_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


def source_name(source: Source) -> str:
    """What a message calls a source."""
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, Tensor | np.ndarray):
        return "samples"
    return str(getattr(source, "name", "recording"))


def opened(source: Source, sample_rate: int = SAMPLE_RATE) -> str | Path | BinaryIO | Tensor:
    """A source as it can be read.

    Args:
        source: a path, an open binary file, the bytes of a file, or samples as in `to_samples`.
        sample_rate: of samples; files say their own.

    Raises:
        TypeError: if it is something else.
        ValueError: if samples have another shape, or no sound has this rate.
    """
    if isinstance(source, Tensor | np.ndarray):
        return to_samples(source, sample_rate)
    if isinstance(source, bytes | bytearray | memoryview):
        return BytesIO(source)
    if isinstance(source, str | Path) or hasattr(source, "read"):
        return source
    kinds = "a path, an open binary file, bytes, a NumPy array or a tensor"
    raise TypeError(f"a recording is {kinds}, not {type(source).__name__}")


def to_samples(samples: Samples, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Samples of any usual form as float32 (channels, samples), or (samples,), at 16 kHz.

    Args:
        samples: (samples,), (channels, samples) or (samples, channels), whichever the shape says: there are
            fewer channels than samples. Floating-point numbers from -1 to 1, or 16- or 32-bit integers.
        sample_rate: theirs.

    Raises:
        TypeError: if they are of another type.
        ValueError: if they have another shape, or no sound has this rate.
    """
    if not is_rate(sample_rate):
        raise ValueError(f"a sample rate of {sample_rate} Hz is no sound")
    array = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
    if array.ndim not in (1, 2):
        raise ValueError(f"samples have one or two dimensions, not {array.ndim}")
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32, copy=False)
    elif array.dtype in _FULL_SCALE:
        array = array.astype(np.float32) / np.float32(_FULL_SCALE[array.dtype])
    else:
        raise TypeError(f"samples are floating-point numbers or 16- or 32-bit integers, not {array.dtype}")
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        array = array.T
    found = torch.from_numpy(np.ascontiguousarray(array))
    if sample_rate == SAMPLE_RATE:
        return found
    channels = [_resampled(channel, sample_rate) for channel in torch.atleast_2d(found)]
    return torch.stack(channels) if found.dim() == 2 else channels[0]


def mono(samples: Tensor) -> Tensor:
    """The mean of the channels: (samples,) or (channels, samples) -> (samples,)."""
    return samples if samples.dim() == 1 else samples.mean(dim=0)


def _resampled(channel: Tensor, sample_rate: int) -> Tensor:
    """A channel (samples,) at 16 kHz."""
    resampler = Resampler()
    return torch.cat([resampler.feed(channel.numpy(), sample_rate), resampler.drain()])
