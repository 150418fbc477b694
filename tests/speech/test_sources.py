"""Whatever form a recording has, the same is heard."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import speech
from speech import InputError, Recognizer, SuiteError
from speech.sound.audio import SAMPLE_RATE, load_audio
from speech.sources import Source, opened, source_name, to_samples

SAMPLE = Path(__file__).parents[2] / "speech" / "samples" / "service.opus"


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load()


@pytest.fixture(scope="module")
def samples() -> NDArray[np.float32]:
    return load_audio(SAMPLE).numpy()


def test_every_form_of_a_recording_gives_the_same_text(
    recognizer: Recognizer, samples: NDArray[np.float32]
) -> None:
    text = recognizer.transcribe(SAMPLE).text
    assert text
    data = SAMPLE.read_bytes()
    stereo = np.stack([samples, samples])
    forms: list[Source] = [str(SAMPLE), data, bytearray(data), memoryview(data), BytesIO(data)]
    forms += [samples, stereo, stereo.T]
    forms += [torch.from_numpy(samples), (samples * 2**15).round().clip(-(2**15), 2**15 - 1).astype(np.int16)]
    forms += [samples.astype(np.float64), samples.astype(np.float16)]
    assert [recognizer.transcribe(form).text for form in forms] == [text] * len(forms)


def test_samples_of_another_rate_are_brought_to_16_khz(
    recognizer: Recognizer, samples: NDArray[np.float32]
) -> None:
    positions = np.arange(0, len(samples), SAMPLE_RATE / 48_000)
    tripled = np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)
    transcript = recognizer.transcribe(tripled, sample_rate=48_000)
    assert transcript.text == recognizer.transcribe(samples).text
    assert transcript.duration == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.05)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.zeros((2, 50)), (2, 50)),
        (np.zeros((50, 2)), (2, 50)),
        (np.zeros((1, 1)), (1, 1)),
        (np.zeros(0), (0,)),
        (torch.zeros(50, 1), (1, 50)),
    ],
)
def test_the_shorter_side_is_the_channels(given: NDArray[Any] | Tensor, expected: tuple[int, ...]) -> None:
    assert to_samples(given).shape == expected


def test_full_scale_of_integers_is_one() -> None:
    assert to_samples(np.array([-(2**15), 2**14], np.int16)).tolist() == [-1.0, 0.5]
    assert to_samples(np.array([-(2**31), 2**30], np.int32)).tolist() == [-1.0, 0.5]


@pytest.mark.parametrize(
    ("given", "rate", "error", "words"),
    [
        (np.zeros((2, 3, 4)), SAMPLE_RATE, ValueError, "one or two dimensions, not 3"),
        (np.array(1.0), SAMPLE_RATE, ValueError, "one or two dimensions, not 0"),
        (np.zeros(9, np.uint8), SAMPLE_RATE, TypeError, "not uint8"),
        (np.zeros(9, complex), SAMPLE_RATE, TypeError, "not complex128"),
        (np.zeros(9), 7, ValueError, "7 Hz is no sound"),
        ([0.0, 0.1], SAMPLE_RATE, TypeError, "not list"),
        (None, SAMPLE_RATE, TypeError, "not NoneType"),
    ],
)
def test_what_can_be_no_recording_is_refused(
    recognizer: Recognizer, given: Any, rate: int, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        recognizer.transcribe(given, sample_rate=rate)


def test_a_file_is_left_for_its_reader() -> None:
    file = BytesIO(b"abc")
    assert opened(file) is file
    assert source_name(file) == "recording"
    assert source_name(np.zeros(3)) == "samples"


def test_the_public_face_says_what_there_is() -> None:
    assert speech.available_models() == ["english"]
    assert speech.__version__[0].isdigit()
    assert issubclass(InputError, SuiteError)
    for name in speech.__all__:
        assert getattr(speech, name) is not None
