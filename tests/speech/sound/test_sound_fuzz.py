"""Damaged files of every format: refused in one line or read, never a crash, a hang or a flood of memory."""

from __future__ import annotations

import io
import resource
import time
from contextlib import suppress

import numpy as np
import pytest
from recordings import WRITTEN, tone, write

from common.errors import InputError
from speech.sound.audio import AudioOptions, AudioReader

MOST_SECONDS = 10.0  # of one file
MOST_BYTES = 1 << 30  # of memory, all of them together

# Containers that PyAV writes by another name than their suffix.
FORMATS = {
    **{
        "m4a": "ipod",
        "m4b": "ipod",
        "m4v": "mp4",
        "aif": "aiff",
        "aifc": "aiff",
        "ac3": "ac3",
        "mts": "mpegts",
    },
    **{"m2ts": "mpegts", "ts": "mpegts", "mkv": "matroska", "mka": "matroska", "mpg": "mpeg", "mpeg": "mpeg"},
    **{"aac": "adts", "opus": "ogg", "oga": "ogg", "spx": "ogg"},
}


def sample(suffix: str, codec: str, rate: int) -> bytes:
    """The smallest file of a format."""
    file = io.BytesIO()
    write(file, [tone(rate, 0.3)], codec, rate, format=FORMATS.get(suffix, suffix))
    return file.getvalue()


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """A file that was damaged in one of the ways in which files are damaged."""
    damaged = bytearray(data)
    kind = generator.integers(5)
    # Headers decide most: half of the damage is done to them.
    end = len(data) if generator.random() < 0.5 else min(len(data), 200)
    if kind == 0:  # bits
        for place in generator.integers(0, end, 1 + generator.integers(8)):
            damaged[place] ^= 1 << generator.integers(8)
    elif kind == 1:  # numbers at their bounds
        for place in generator.integers(0, end, 1 + generator.integers(4)):
            damaged[place : place + 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"][
                generator.integers(3)
            ]
    elif kind == 2:  # cut short
        del damaged[generator.integers(1, len(data)) :]
    elif kind == 3:  # a stretch that is lost
        start = generator.integers(0, end)
        del damaged[start : start + generator.integers(1, 200)]
    else:  # a stretch that is there twice
        start = generator.integers(0, end)
        damaged[start:start] = damaged[start : start + generator.integers(1, 200)]
    return bytes(damaged)


def read_damaged(data: bytes, options: AudioOptions) -> None:
    """Read it all; what is no file is an `InputError`."""
    started = time.process_time()
    reader = AudioReader(io.BytesIO(data), options)
    with suppress(InputError):
        for piece in reader:
            assert piece.dim() == 2
            assert piece.isfinite().all()
    assert time.process_time() - started < MOST_SECONDS


def fuzz(files: int, seed: int) -> None:
    """Read so many damaged files, as many of each format."""
    generator = np.random.default_rng(seed)
    samples = [sample(*one) for one in WRITTEN]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(files):
        data = mutated(samples[number % len(samples)], generator)
        read_damaged(data, AudioOptions(split_channels=bool(generator.integers(2))))
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MOST_BYTES


def test_hundreds_of_damaged_files_are_read_or_refused() -> None:
    fuzz(files=300, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_ten_thousand_damaged_files_are_read_or_refused(seed: int) -> None:
    fuzz(files=1000, seed=seed)
