"""What begins as a sound file is told from raw samples."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import WRITTEN, tone, write

from common.errors import InputError
from speech.sound.audio import SAMPLE_RATE, load_audio
from speech.sound.formats import HEAD_BYTES, SUFFIXES, begins_a_file
from speech.stream import piped

SAMPLES = Path(__file__).parents[3] / "speech" / "samples"


@pytest.mark.parametrize(("suffix", "codec", "rate"), WRITTEN)
def test_every_file_begins_like_one(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    path = tmp_path / f"tone.{suffix}"
    write(path, [tone(rate, 0.5)], codec, rate)
    assert begins_a_file(path.read_bytes()[:HEAD_BYTES])


def test_raw_samples_do_not() -> None:
    generator = np.random.default_rng(0)
    heads = [bytes(HEAD_BYTES), b"", b"x"]
    for scale in (3, 300, 30_000):
        heads += [
            generator.normal(0, scale, 2048).clip(-32768, 32767).astype("<i2").tobytes() for _ in range(300)
        ]
    assert not any(map(begins_a_file, heads))


def test_suffixes_are_lower_case_and_stand_there_once() -> None:
    assert len(set(SUFFIXES)) == len(SUFFIXES)
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)
    asked = ".m4b .m4v .ts .mts .3gp .wmv .flv .mpg .au .ac3 .gsm .spx .wv .ape .aif .aiff .caf .amr .opus"
    assert set(asked.split()) | {".oga", ".mka", ".webm"} <= set(SUFFIXES)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp3", "libmp3lame"), ("wav", "pcm_s16le"), ("ogg", "libopus")]
)
def test_a_file_that_comes_through_a_pipe_is_read_as_one(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    write(path, [tone(48_000, 1.0)], codec, 48_000)
    heard = torch.cat(list(piped(io.BytesIO(path.read_bytes()))))
    expected = load_audio(path)
    assert len(heard) == pytest.approx(len(expected), abs=0.05 * SAMPLE_RATE)
    torch.testing.assert_close(heard[2000:12_000], expected[2000:12_000], atol=1e-3, rtol=0)


def test_a_file_that_cannot_be_read_from_a_pipe_says_so() -> None:
    with pytest.raises(InputError, match="-: is not a sound file"):
        list(piped(io.BytesIO(b"RIFF" + bytes(5000))))
