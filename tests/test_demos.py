"""The pages, driven as a browser drives them, with tiny untrained models."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from caption import Captioner, DescribeOptions
from caption.network import CaptionConfig, CaptionNetwork
from caption.text import SPECIAL
from common.command import load_page
from demos import caption_page, speech_page
from demos.live import LiveText, hear, stop
from demos.shell import in_words, serve
from speech import InputError, Recognizer, Word
from speech.audio import load_audio
from speech.network import SpeechConfig, SpeechNetwork
from speech.pronunciations import PHONES
from speech.subwords import LETTER_SYMBOLS


@pytest.fixture(scope="module")
def speech_client() -> Iterator[Client]:
    torch.manual_seed(0)
    network = SpeechNetwork(
        SpeechConfig(LETTER_SYMBOLS, PHONES, channels=8, hidden_size=8, lower_layers=1, upper_layers=1)
    )
    address, close = serve(speech_page.build_app(Recognizer(network, "tiny")), block=False)
    yield Client(address, verbose=False)
    close()


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    torch.manual_seed(0)
    words = (*SPECIAL, "a", "dog", "runs")
    sizes = dict(hidden_size=8, embedding_size=8, attention_size=8, context_size=8)
    return Captioner(CaptionNetwork(CaptionConfig(words=words, **sizes)), "tiny")


@pytest.fixture(scope="module")
def caption_client(captioner: Captioner) -> Iterator[Client]:
    address, close = serve(caption_page.build_app(captioner), block=False)
    yield Client(address, verbose=False)
    close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    speech = load_audio(speech_page.SAMPLES / "city.opus")[:24_000]
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((speech.numpy() * 32767).astype("<i2").tobytes())
    return path


def test_a_recording_becomes_text_below_its_picture(speech_client: Client, recording: Path) -> None:
    picture, text, words, about = speech_client.predict(handle_file(recording), api_name="/transcribe")
    assert Image.open(picture if isinstance(picture, str) else picture["path"]).size == (151, 160)
    assert text
    assert words.count("<span") == len(text.split())
    assert about == "1.5 seconds of sound"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty (0 bytes)"), (b"this is no sound" * 50, "is not a sound file that can be read")],
)
def test_a_bad_recording_gives_a_sentence(
    speech_client: Client, tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(AppError) as caught:
        speech_client.predict(handle_file(path), api_name="/transcribe")
    assert f"bad.wav: {reason}" in str(caught.value)
    assert str(caught.value).endswith("Please choose another file.")


def test_no_recording_gives_a_sentence(speech_client: Client) -> None:
    with pytest.raises(AppError, match="Choose a recording"):
        speech_client.predict(None, api_name="/transcribe")


def test_a_photograph_becomes_a_caption_with_runners_up(caption_client: Client, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.effect_noise((64, 48), 80).convert("RGB").save(path)
    text, table, tiles = caption_client.predict(handle_file(path), 3, api_name="/describe")
    assert set(text.split()) <= {"a", "dog", "runs"}
    assert table["headers"] == ["caption", "confidence"]
    assert len(table["data"]) == 3
    assert table["data"][0][0] == text
    assert [tile["caption"] for tile in tiles] == text.split()
    assert all(Image.open(tile["image"]).size == (64, 48) for tile in tiles)


def test_the_page_searches_as_the_command_was_told_to(captioner: Captioner, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.effect_noise((40, 30), 80).save(path)
    prefix = "dog a dog"
    address, close = serve(caption_page.build_app(captioner, DescribeOptions(prefix=prefix)), block=False)
    text, *_ = Client(address, verbose=False).predict(handle_file(path), 2, api_name="/describe")
    close()
    assert text.startswith(prefix)


def test_a_bad_photograph_gives_a_sentence(caption_client: Client, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    path.write_text("no picture")
    with pytest.raises(AppError) as caught:
        caption_client.predict(handle_file(path), 3, api_name="/describe")
    assert "bad.jpg: is not a picture" in str(caught.value)


def test_a_port_that_is_taken_is_one_line(speech_client: Client) -> None:
    port = int(speech_client.src.rstrip("/").rsplit(":", 1)[1])
    network = SpeechNetwork(
        SpeechConfig(LETTER_SYMBOLS, PHONES, channels=8, hidden_size=8, lower_layers=1, upper_layers=1)
    )
    with pytest.raises(InputError, match="another program"):
        serve(speech_page.build_app(Recognizer(network, "tiny")), port, block=False)


def test_pages_are_served_to_this_machine_alone(speech_client: Client, caption_client: Client) -> None:
    for client in (speech_client, caption_client):
        assert client.src.startswith("http://127.0.0.1:")


def test_the_sound_picture_has_low_pitches_at_the_bottom() -> None:
    loudness = np.full((10, 80), -80.0, np.float32)
    loudness[:, 0] = 0.0
    picture = speech_page.paint(loudness)
    assert picture.shape == (160, 10, 3)
    assert picture[-1].sum() > picture[0].sum()


def test_an_hour_makes_no_wider_picture_than_a_browser_shows() -> None:
    loudness = np.full((360_000, 80), -80.0, np.float32)
    loudness[180_000] = 0.0
    picture = speech_page.paint(loudness)
    assert picture.shape == (160, 1200, 3)
    assert picture[0].sum(axis=-1).argmax() == 600


def test_a_word_is_shaded_by_doubt_and_an_unsure_one_says_so() -> None:
    html = speech_page.shade([Word("rock", 0.3, 0.6, 1.0), Word("<b>", 0.6, 0.9, 0.4)])
    assert "rgb(245 158 11 / 0.00)" in html and "rgb(245 158 11 / 0.42)" in html
    assert html.count("(unsure)") == 1
    assert "&lt;b&gt;" in html and "<b>" not in html


def test_a_file_name_cannot_put_markup_on_the_page() -> None:
    def refuse() -> None:
        raise InputError("<img>.wav", "is empty")

    with pytest.raises(gr.Error) as caught:
        in_words(refuse, InputError, str)()
    assert caught.value.message == "&lt;img&gt;.wav: is empty"


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("shape", ["mono", "stereo"])
def test_live_text_grows_and_ends_as_the_stream_says(rate: int, shape: str) -> None:
    said = load_audio(speech_page.SAMPLES / "city.opus").numpy()
    sound = (np.repeat(said, rate // 16_000) * 32767).astype(np.int16)
    if shape == "stereo":
        sound = np.stack([sound, sound], axis=1)
    recognizer = Recognizer.load()
    live: LiveText | None = None
    told = []
    for start in range(0, len(sound), rate // 2):
        live, text = hear(recognizer, None, (rate, sound[start : start + rate // 2]), live)
        told.append(text)
    assert sum(text.endswith("…") for text in told) >= 3
    assert hear(recognizer, None, None, live) == (live, told[-1])
    nothing, text = stop(live)
    assert nothing is None
    assert text and "…" not in text
    if rate == 16_000:
        stream = recognizer.stream()
        samples = torch.from_numpy(sound.reshape(len(said), -1)[:, 0] / np.float32(32767))
        updates = [*stream.feed(samples), *stream.finish()]
        assert text.split("\n") == [update.text for update in updates if update.final]


def test_a_microphone_that_was_never_heard_says_nothing() -> None:
    assert hear(Recognizer.load(), None, None, None) == (None, "")
    assert stop(None) == (None, "")


@pytest.mark.parametrize("component", [gr.Audio, gr.Image])
def test_no_button_shares_an_upload(component: type) -> None:
    torch.manual_seed(0)
    network = SpeechNetwork(
        SpeechConfig(LETTER_SYMBOLS, PHONES, channels=8, hidden_size=8, lower_layers=1, upper_layers=1)
    )
    app = speech_page.build_app(Recognizer(network, "tiny"))
    shown = [block for block in app.blocks.values() if isinstance(block, component)]
    assert shown and all("share" not in block.buttons for block in shown)


@pytest.mark.parametrize("page", ["speech", "caption"])
def test_the_commands_find_their_page_without_an_import_upwards(page: str) -> None:
    (entry,) = entry_points(group="recurrent_suite.pages", name=page)
    assert entry.load() is {"speech": speech_page, "caption": caption_page}[page].open_page
    assert load_page(page) is entry.load()
