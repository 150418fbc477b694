"""The pages, driven as a browser drives them, with tiny untrained models."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import wave
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from recordings import tone, write

from caption import Captioner, DescribeOptions
from caption.model.network import CaptionConfig, CaptionNetwork
from caption.model.text import SPECIAL
from common.commands.command import load_page
from demos import caption_page, speech_page
from demos.live import MOST_TEXTS, LiveTexts
from demos.shell import delete_old, in_words, serve
from speech import InputError, Recognizer, Word
from speech.model.network import SpeechConfig, SpeechNetwork
from speech.model.subwords import LETTER_SYMBOLS
from speech.sound.audio import load_audio
from speech.training.pronunciations import PHONES


def tiny() -> Recognizer:
    """An untrained recogniser."""
    torch.manual_seed(0)
    config = SpeechConfig(LETTER_SYMBOLS, PHONES, channels=8, hidden_size=8, lower_layers=1, upper_layers=1)
    return Recognizer(SpeechNetwork(config), "tiny")


@pytest.fixture(scope="module")
def speech_client() -> Iterator[Client]:
    address, close = serve(lambda: speech_page.build_app(tiny()), block=False)
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
    address, close = serve(lambda: caption_page.build_app(captioner), block=False)
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
    assert about == "1.5 seconds of sound."


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
    address, close = serve(
        lambda: caption_page.build_app(captioner, DescribeOptions(prefix=prefix)), block=False
    )
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
    with pytest.raises(InputError, match="another program"):
        serve(lambda: speech_page.build_app(tiny()), port, block=False)


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


def chunk(session: str, number: int, samples: np.ndarray, rate: int = 16_000) -> dict[str, Any]:
    """A chunk (samples,) int16 as the browser sends it."""
    data = base64.b64encode(samples.astype("<i2").tobytes()).decode()
    return {"session": session, "number": number, "rate": rate, "samples": data}


@pytest.fixture(scope="module")
def said() -> np.ndarray:
    """A sentence, 16 bits."""
    return (load_audio(speech_page.SAMPLES / "city.opus").numpy() * 32767).astype(np.int16)


@pytest.fixture(scope="module")
def said_text(said: np.ndarray) -> str:
    """What a stream hears in it."""
    stream = Recognizer.load().stream()
    updates = [*stream.feed(torch.from_numpy(said / np.float32(32768))), *stream.finish()]
    return "\n".join(update.text for update in updates if update.final)


def test_live_text_grows_and_ends_as_the_stream_says(said: np.ndarray, said_text: str) -> None:
    texts = LiveTexts(Recognizer.load())
    told = []
    for number, start in enumerate(range(0, len(said), 8000)):
        sent = chunk("me", number, said[start : start + 8000])
        told.append(texts.hear(sent)["text"])
        assert texts.hear(sent) == {"text": told[-1]}  # sent again, it counts once
    assert sum(text.endswith("…") for text in told) >= 3
    assert texts.stop("me") == {"text": said_text}
    assert texts.stop("me") == {"text": ""}


def test_another_rate_says_about_the_same(said: np.ndarray, said_text: str) -> None:
    texts = LiveTexts(Recognizer.load())
    texts.hear(chunk("me", 0, np.repeat(said, 3), 48_000))
    there, here = texts.stop("me")["text"].split(), said_text.split()
    assert len(set(there) & set(here)) >= 0.6 * len(here) > 0


def test_texts_of_several_people_do_not_mix_and_a_missing_chunk_is_said(said: np.ndarray) -> None:
    texts = LiveTexts(Recognizer.load())
    for session in ("a", "b"):
        assert "text" in texts.hear(chunk(session, 0, said[: 8000 if session == "a" else 0]))
    assert "interrupted" in texts.hear(chunk("a", 2, said[:8000]))["error"]
    assert texts.stop("b") == {"text": ""}
    for number in range(2 * MOST_TEXTS):
        texts.hear(chunk(str(number), 0, said[:0]))
    assert len(texts._texts) == MOST_TEXTS


@pytest.mark.parametrize(
    "change", [{"samples": "not Base64"}, {"rate": 0}, {"rate": "?"}, {"number": None}, {"samples": "QQ=="}]
)
def test_a_chunk_that_no_microphone_sends_is_a_sentence(change: dict[str, Any]) -> None:
    texts = LiveTexts(Recognizer.load())
    assert "cannot be understood" in texts.hear(chunk("me", 0, np.zeros(10)) | change)["error"]


BROWSER = """
const fs = require("fs");
const { address, component, bytes } = JSON.parse(process.argv[2]);
const samples = new Int16Array(new Uint8Array(fs.readFileSync(bytes)).buffer);
const sound = new Float32Array(samples).map((one) => one / 32768);
const call = (name) => async (data) => {
  const body = JSON.stringify({ data, component_id: component, fn_name: name, session_hash: "browser" });
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${address}gradio_api/component_server/`, { method: "POST", body, headers });
  return answer.ok ? answer.json() : undefined;
};
const server = { hear: call("hear"), stop: call("stop") };
const button = { setAttribute() {}, addEventListener(_, click) { this.click = click; } };
const parts = { button, textarea: {} };
const status = {};
const element = { querySelector: (name) => parts[name] || status };
const tap = { port: {} };
globalThis.AudioWorkletNode = class { constructor() { return tap; } };
globalThis.AudioContext = class {
  sampleRate = 16000;
  audioWorklet = { addModule: async () => {} };
  createMediaStreamSource() { return { connect() {} }; }
  async close() {}
};
const media = { getUserMedia: async () => ({ getTracks: () => [] }) };
Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: media }, configurable: true });
Function("element", "server", fs.readFileSync(process.argv[3], "utf-8"))(element, server);
(async () => {
  await button.click();
  const started = Date.now();
  for (let place = 0; place < sound.length; place += 1600) {
    tap.port.onmessage({ data: [sound.slice(place, place + 1600)] });
    const due = started + (place + 1600) / 16 - Date.now();
    if (due > 0) await new Promise((done) => setTimeout(done, due));
  }
  await button.click();
  console.log(JSON.stringify({ text: parts.textarea.value, state: status.textContent }));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no JavaScript here")
def test_no_sound_is_lost_while_calls_run(said: np.ndarray, said_text: str, tmp_path: Path) -> None:
    """The page's own script, at real time, with a recogniser that takes longer than the sound."""
    recognizer = Recognizer.load()
    words = recognizer.finder.words

    def slowly(*arguments: Any) -> Any:
        ends = time.monotonic() + 0.7
        found = words(*arguments)
        while time.monotonic() < ends:  # it works, and leaves less to everybody else
            pass
        return found

    recognizer.finder.words = slowly  # type: ignore[method-assign]
    address, close = serve(lambda: speech_page.build_app(recognizer), block=False)
    try:
        config = httpx.get(f"{address}config").json()
        (component,) = [one["id"] for one in config["components"] if one["props"].get("server_fns")]
        (tmp_path / "browser.js").write_text(BROWSER)
        (tmp_path / "said").write_bytes(said.astype("<i2").tobytes())
        asked = json.dumps({"address": address, "component": component, "bytes": str(tmp_path / "said")})
        script = Path(speech_page.__file__).parent / "live.js"
        command = ["node", str(tmp_path / "browser.js"), asked, str(script)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    finally:
        close()
    assert json.loads(done.stdout) == {"text": said_text, "state": ""}, done.stderr


# --- uploads, and who can reach what ---------------------------------------------------------------


def test_uploads_are_gone_when_the_page_ends_and_after_an_hour(recording: Path, tmp_path: Path) -> None:
    before = os.environ.get("GRADIO_TEMP_DIR")
    address, close = serve(lambda: speech_page.build_app(tiny()), block=False)
    uploads = Path(os.environ["GRADIO_TEMP_DIR"])
    Client(address, verbose=False).predict(handle_file(recording), api_name="/transcribe")
    assert list(uploads.rglob("speech.wav"))
    close()
    assert not uploads.exists()
    assert os.environ.get("GRADIO_TEMP_DIR") == before
    old, new = tmp_path / "a" / "old", tmp_path / "a" / "new"
    old.parent.mkdir()
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    delete_old(tmp_path, 3600)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_page_takes_no_upload_above_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("demos.shell.LARGEST_UPLOAD", 1000)
    address, close = serve(lambda: speech_page.build_app(tiny()), block=False)
    try:
        answers = [
            httpx.post(f"{address}gradio_api/upload", files={"files": ("a.wav", bytes(size))}).status_code
            for size in (900, 2000)
        ]
    finally:
        close()
    assert answers == [200, 413]
    assert capfd.readouterr().out == ""  # nobody is told to share the page


def test_every_box_has_a_label_every_example_a_name_and_results_are_reachable(captioner: Captioner) -> None:
    for app in (speech_page.build_app(tiny()), caption_page.build_app(captioner)):
        blocks = list(app.blocks.values())
        boxes = [one for one in blocks if isinstance(one, gr.Textbox | gr.File | gr.Image | gr.Gallery)]
        assert all(box.label and box.show_label is not False for box in boxes)
        assert all(box.interactive for box in boxes if isinstance(box, gr.Textbox))
        (examples,) = [one for one in blocks if isinstance(one, gr.Dataset)]
        assert examples.sample_labels and all(examples.sample_labels)


def test_a_video_is_taken_and_its_sound_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    write(path, [tone(16_000)], "aac", 16_000, pictures=5)
    # A page of its own: those of the other tests keep uploads in a folder that is gone with the last of them.
    address, close = serve(lambda: speech_page.build_app(tiny()), block=False)
    try:
        *_, about = Client(address, verbose=False).predict(handle_file(path), api_name="/transcribe")
    finally:
        close()
    assert about == "1.0 seconds of sound."


@pytest.mark.parametrize("component", [gr.Image])
def test_no_button_shares_an_upload(component: type) -> None:
    app = speech_page.build_app(tiny())
    shown = [block for block in app.blocks.values() if isinstance(block, component)]
    assert shown and all("share" not in block.buttons for block in shown)


@pytest.mark.parametrize("page", ["speech", "caption"])
def test_the_commands_find_their_page_without_an_import_upwards(page: str) -> None:
    (entry,) = entry_points(group="recurrent_suite.pages", name=page)
    assert entry.load() is {"speech": speech_page, "caption": caption_page}[page].open_page
    assert load_page(page) is entry.load()
