"""Damaged files of every format: refused in one line or read, never a crash, a hang or a flood of memory."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from fuzzing import BYTES, SECONDS, failures, mutated, peak
from recordings import WRITTEN, tone, write

from common.errors import InputError
from speech.sound.audio import AudioOptions, AudioReader

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


def read_damaged(data: bytes, options: AudioOptions) -> None:
    """Read it all; what is no file is an `InputError`."""
    started = time.process_time()
    reader = AudioReader(io.BytesIO(data), options)
    with suppress(InputError):
        for piece in reader:
            assert piece.dim() == 2
            assert piece.isfinite().all()
    assert time.process_time() - started < SECONDS


def prepare(suffix: str) -> Callable[[int], None]:
    """What reads the damaged files of a format, by their numbers."""
    (whole,) = (sample(*one) for one in WRITTEN if one[0] == suffix)
    read_damaged(whole, AudioOptions())
    return lambda seed: read_damaged(mutated(whole, seed), AudioOptions(split_channels=seed % 2 == 1))


def test_hundreds_of_damaged_files_are_read_or_refused() -> None:
    attempts = [prepare(suffix) for suffix, _, _ in WRITTEN]
    before = peak()
    for number in range(8 * len(attempts)):
        attempts[number % len(attempts)](number // len(attempts))
    assert peak() - before < BYTES


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [suffix for suffix, _, _ in WRITTEN])
def test_ten_thousand_damaged_files_are_read_or_refused(suffix: str) -> None:
    assert failures(__file__, suffix) == []


@pytest.mark.parametrize("rate", [1, 999, 48_000_000, 2**31 - 1])
def test_a_rate_that_no_sound_has_is_damage_and_costs_nothing(rate: int) -> None:
    whole = sample("wav", "pcm_s16le", 16_000)
    place = whole.index(b"fmt ") + 12
    damaged = whole[:place] + rate.to_bytes(4, "little") + whole[place + 4 :]
    before = peak()
    with pytest.raises(InputError, match=f"a sample rate of {rate} Hz is no sound"):
        list(AudioReader(io.BytesIO(damaged)))
    assert peak() - before < 50_000_000
