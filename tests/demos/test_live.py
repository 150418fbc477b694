"""Live text: nothing that is said is lost, whoever speaks and however slow the answers are."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import wave
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tiny_models import tiny
from web import PATIENCE

from demos import speech_page
from demos.live import MOST_TEXTS, LiveTexts
from demos.shell import serve
from speech import Recognizer


def chunk(session: str, number: int, samples: np.ndarray, rate: int = 16_000) -> dict[str, Any]:
    """A chunk (samples,) int16 as the browser sends it."""
    data = base64.b64encode(samples.astype("<i2").tobytes()).decode()
    return {"session": session, "number": number, "rate": rate, "samples": data}


def test_live_text_grows_and_ends_as_the_stream_says(said: np.ndarray, said_text: str) -> None:
    texts = LiveTexts(Recognizer.load())
    told = []
    for number, start in enumerate(range(0, len(said), 8000)):
        sent = chunk("me", number, said[start : start + 8000])
        told.append(texts.hear(sent)["text"])
        assert texts.hear(sent)["text"] == told[-1]  # sent again, it counts once
    assert sum(text.endswith("…") for text in told) >= 3
    assert texts.stop("me") == {"text": said_text}
    assert texts.stop("me") == {"text": said_text}  # asked again, because the answer was lost on its way
    assert texts.stop("nobody") == {"text": ""}


def test_what_was_said_is_kept_to_be_played(said: np.ndarray, tmp_path: Path) -> None:
    texts = LiveTexts(tiny(), folder=tmp_path / "uploads")
    for number, start in enumerate(range(0, len(said), 8000)):
        texts.hear(chunk("me", number, said[start : start + 8000]))
        texts.hear(chunk("me", number, said[start : start + 8000]))
    assert texts.recording("me") is None  # somebody still speaks
    texts.stop("me")
    path = texts.recording("me")
    assert path is not None
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        assert file.readframes(len(said) + 1) == said.astype("<i2").tobytes()
    assert texts.recording("nobody") is None


def test_a_live_text_has_a_bound_and_says_when_it_is_full(
    said: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demos.live.MOST_SECONDS", 1.0)
    texts = LiveTexts(tiny())
    full = [texts.hear(chunk("me", number, said[:8000]))["full"] for number in range(3)]
    assert full == [False, True, True]


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
const watchers = [];
const trigger = (name, data) => watchers.push([name, data.session.length]);
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
Function("element", "server", "trigger", fs.readFileSync(process.argv[3], "utf-8"))(element, server, trigger);
(async () => {
  await button.click();
  const started = Date.now();
  for (let place = 0; place < sound.length; place += 1600) {
    tap.port.onmessage({ data: [sound.slice(place, place + 1600)] });
    const due = started + (place + 1600) / 16 - Date.now();
    if (due > 0) await new Promise((done) => setTimeout(done, due));
  }
  await button.click();
  console.log(JSON.stringify({ text: parts.textarea.value, state: status.textContent, told: watchers }));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no JavaScript here")
def test_no_sound_is_lost_while_calls_run(
    said: np.ndarray, said_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's own script, at real time, with a recogniser that takes longer than the sound."""
    recognizer = Recognizer.load()
    words = recognizer.finder.words

    def slowly(*arguments: Any) -> Any:
        ends = time.monotonic() + 0.7
        found = words(*arguments)
        while time.monotonic() < ends:  # it works, and leaves less to everybody else
            pass
        return found

    monkeypatch.setattr(recognizer.finder, "words", slowly)
    address, close = serve(lambda: speech_page.build_app(recognizer), block=False)
    try:
        config = httpx.get(f"{address}config", timeout=PATIENCE).json()
        (component,) = [one["id"] for one in config["components"] if one["props"].get("server_fns")]
        (tmp_path / "browser.js").write_text(BROWSER)
        (tmp_path / "said").write_bytes(said.astype("<i2").tobytes())
        asked = json.dumps({"address": address, "component": component, "bytes": str(tmp_path / "said")})
        script = Path(speech_page.__file__).parent / "live.js"
        command = ["node", str(tmp_path / "browser.js"), asked, str(script)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    finally:
        close()
    state = "The recording stands below, with its text."
    told = [["submit", 36]]  # the page is told, with the session's name
    assert json.loads(done.stdout) == {"text": said_text, "state": state, "told": told}, done.stderr
