"""The recogniser's page: a recording, from a file or the microphone, becomes text below its sound picture."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from demos.shell import in_words, page, sentence, serve
from speech import InputError, Recognizer

SAMPLES = Path(__file__).parents[1] / "speech" / "samples"

# From quiet to loud, the colours of the sound picture: readable on light and dark pages, and in grey.
_COLOURS = np.array(
    [[13, 8, 35], [68, 20, 104], [154, 43, 98], [228, 90, 49], [250, 175, 40], [252, 255, 200]]
)

Picture = NDArray[np.uint8]
Words = list[tuple[str, float | None]]


def build_app(recognizer: Recognizer) -> gr.Blocks:
    """The page for a recogniser; `demos.shell.serve` shows it."""

    def transcribe(recording: str | None) -> tuple[Picture, str, Words, str]:
        if recording is None:
            raise gr.Error("Choose a recording or make one first.", print_exception=False)
        loudness = recognizer.loudness(recording)
        transcript = recognizer.transcribe(recording)
        words: Words = [(f"{word.text} ", round(word.confidence, 2)) for word in transcript.words]
        heard = transcript.text or "(no words were heard)"
        return paint(loudness.numpy()), heard, words, f"{transcript.duration:.1f} seconds of sound"

    app = page(
        "Speech becomes text",
        "Choose a recording, or make one with the microphone. It stays on this machine.",
    )
    with app:
        recording = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Recording")
        button = gr.Button("Transcribe", variant="primary")
        picture = gr.Image(
            label="What the network hears: time to the right, pitch upwards, loudness as brightness",
            interactive=False,
            buttons=[],
            elem_classes="picture",
        )
        text = gr.Textbox(label="Text", lines=2, buttons=["copy"], elem_classes="answer")
        words = gr.HighlightedText(label="How sure it is of each word, 0 to 1", show_legend=True)
        about = gr.Markdown()
        outputs = [picture, text, words, about]
        asked = in_words(transcribe, InputError, _reason)
        button.click(asked, recording, outputs, api_name="transcribe")
        gr.Examples(
            [[str(path)] for path in sorted(SAMPLES.glob("*.opus"))],
            recording,
            outputs,
            asked,
            run_on_click=True,
            cache_examples=False,
            api_visibility="private",
            label="Recordings to try",
        )
    return app


def paint(decibels: NDArray[np.float32]) -> Picture:
    """Loudness (frames, mels) in decibels -> a picture (2 * mels, frames, 3), low pitches at the bottom."""
    low, high = float(decibels.min()), float(decibels.max())
    level = (decibels - low) / max(high - low, 1e-6) * (len(_COLOURS) - 1)
    below = np.clip(level.astype(int), 0, len(_COLOURS) - 2)
    share = (level - below)[..., None]
    colours = _COLOURS[below] * (1.0 - share) + _COLOURS[below + 1] * share  # (frames, mels, 3)
    return colours.astype(np.uint8).transpose(1, 0, 2)[::-1].repeat(2, axis=0)


def open_page(recognizer: Recognizer, port: int | None) -> None:
    """Serve the page and show it in the browser, until Ctrl-C."""
    serve(build_app(recognizer), port, open_browser=True)


def _reason(error: Exception) -> str:
    """What is wrong with an upload."""
    assert isinstance(error, InputError)
    return sentence(error.path, error.reason)
