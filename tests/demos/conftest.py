"""Pages with tiny untrained models, and who asks them."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gradio_client import Client
from tiny_models import sentence, tiny, tiny_captioner
from web import client_of

from caption import Captioner
from demos import caption_page, speech_page
from demos.shell import serve
from speech import Recognizer


@pytest.fixture(scope="session")
def speech_client() -> Iterator[Client]:
    address, close = serve(lambda: speech_page.build_app(tiny()), block=False)
    yield client_of(address)
    close()


@pytest.fixture(scope="session")
def captioner() -> Captioner:
    return tiny_captioner()


@pytest.fixture(scope="session")
def caption_client(captioner: Captioner) -> Iterator[Client]:
    address, close = serve(lambda: caption_page.build_app(captioner), block=False)
    yield client_of(address)
    close()


@pytest.fixture(scope="session")
def said() -> np.ndarray:
    """A sentence, 16 bits."""
    return sentence()


@pytest.fixture(scope="session")
def said_text(said: np.ndarray) -> str:
    """What a stream hears in it."""
    stream = Recognizer.load().stream()
    updates = [*stream.feed(torch.from_numpy(said / np.float32(32768))), *stream.finish()]
    return "\n".join(update.text for update in updates if update.final)


@pytest.fixture
def recording(said: np.ndarray, tmp_path: Path) -> Path:
    """The first second and a half of it as a file."""
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(said[:24_000].astype("<i2").tobytes())
    return path
