"""The recogniser's page: a recording, from a file or the microphone, becomes text below its sound picture."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from demos.live import LiveTexts
from demos.shell import in_words, page, sentence, serve
from speech import DecodingOptions, InputError, Recognizer, Word

SAMPLES = Path(__file__).parents[1] / "speech" / "samples"

# From quiet to loud, the colours of the sound picture: readable on light and dark pages, and in grey.
_COLOURS = np.array(
    [[13, 8, 35], [68, 20, 104], [154, 43, 98], [228, 90, 49], [250, 175, 40], [252, 255, 200]]
)

# WebP, which the picture travels as, ends at 16,383 columns: 164 seconds.
_MOST_COLUMNS = 1200

_EXAMPLES = {
    SAMPLES / "city.opus": "“He was born and raised in New York City”",
    SAMPLES / "service.opus": "“There is no charge for this service”",
    SAMPLES / "tags.opus": "“The first tags were made of tin”",
}

_MICROPHONE = """
<button type="button" class="lg primary" aria-pressed="false">Start the microphone</button>
<p role="status"></p>
<label>Text <textarea readonly rows="6"></textarea></label>
"""

_UNSURE = 0.5
_LEGEND = "The stronger a word is coloured, the less sure it is; below 50% it is underlined."

Picture = NDArray[np.uint8]


def build_app(recognizer: Recognizer, options: DecodingOptions | None = None) -> gr.Blocks:
    """The page for a recogniser, which finds text as the options say; `demos.shell.serve` shows it."""

    def transcribe(recording: str | None) -> tuple[Picture, str, str, str]:
        if recording is None:
            raise gr.Error("Choose a recording or make one first.", print_exception=False)
        loudness = recognizer.loudness(recording)
        transcript = recognizer.transcribe(recording, options)
        heard = transcript.to_txt().rstrip("\n") or "(no words were heard)"
        about = " ".join([f"{transcript.duration:.1f} seconds of sound.", *map(_remark, transcript.warnings)])
        return paint(loudness.numpy()), heard, shade(transcript.words), about

    app = page(
        "Speech becomes text",
        "Choose a recording or a video, or speak into the microphone. It stays on this machine.",
    )
    with app, gr.Tabs():
        with gr.Tab("A recording"):
            # Not `gr.Audio`, which lets a video drop without a word: what cannot be read says so itself.
            recording = gr.File(label="Recording or video", height=120)
            button = gr.Button("Transcribe", variant="primary")
            picture = gr.Image(
                label="Sound picture",
                interactive=False,
                buttons=[],
                alt_text="What the network hears: time to the right, pitch upwards, loudness as brightness",
                elem_classes="picture",
            )
            # Boxes for results can be reached by keyboard: a disabled one could not.
            text = gr.Textbox(
                label="Text", lines=2, buttons=["copy"], interactive=True, elem_classes="answer"
            )
            words = gr.HTML(
                label="How sure it is of each word", show_label=True, container=True, padding=True
            )
            about = gr.Markdown()
            outputs = [picture, text, words, about]
            asked = in_words(transcribe, InputError, _reason)
            button.click(asked, recording, outputs, api_name="transcribe", show_progress_on=text)
            gr.Examples(
                [[str(path)] for path in _EXAMPLES],
                recording,
                outputs,
                asked,
                run_on_click=True,
                cache_examples=False,
                api_visibility="private",
                label="Recordings to try",
                example_labels=list(_EXAMPLES.values()),
            )
        with gr.Tab("While you speak"):
            _live(recognizer, options)
    return app


def _live(recognizer: Recognizer, options: DecodingOptions | None) -> None:
    """The microphone whose text appears while somebody speaks into it.

    Gradio's own microphone forgets what comes while a call runs, so the page has one that does not.
    """
    texts = LiveTexts(recognizer, options)

    # Gradio marks what the browser may call, and a method cannot be marked.
    def hear(chunk: dict[str, Any]) -> dict[str, str]:
        return texts.hear(chunk)

    def stop(session: str) -> dict[str, str]:
        return texts.stop(session)

    gr.HTML(
        html_template=_MICROPHONE,
        js_on_load=(Path(__file__).parent / "live.js").read_text(encoding="utf-8"),
        server_functions=[hear, stop],
        container=True,
        padding=True,
    )
    gr.Markdown("A line is final 0.6 seconds after its last word; until then it may change.")


def paint(decibels: NDArray[np.float32]) -> Picture:
    """Loudness (frames, mels) in decibels -> a picture (2 * mels, columns, 3), low pitches at the bottom.

    A column is a frame; of a long recording, the loudest of several.
    """
    if len(decibels) > _MOST_COLUMNS:
        edges = np.linspace(0, len(decibels), _MOST_COLUMNS + 1).astype(int)
        decibels = np.maximum.reduceat(decibels, edges[:-1], axis=0)
    low, high = float(decibels.min()), float(decibels.max())
    level = (decibels - low) / max(high - low, 1e-6) * (len(_COLOURS) - 1)
    below = np.clip(level.astype(int), 0, len(_COLOURS) - 2)
    share = (level - below)[..., None]
    colours = _COLOURS[below] * (1.0 - share) + _COLOURS[below + 1] * share  # (frames, mels, 3)
    return colours.astype(np.uint8).transpose(1, 0, 2)[::-1].repeat(2, axis=0)


def shade(words: Sequence[Word]) -> str:
    """Words as HTML: the less sure, the darker the ground; the unsure ones are underlined and say so."""
    if not words:
        return ""
    shaded = " ".join(_shaded(word) for word in words)
    return f'<p>{_LEGEND}</p><p class="words">{shaded}</p>'


def open_page(recognizer: Recognizer, options: DecodingOptions, port: int | None) -> None:
    """Serve the page and show it in the browser, until Ctrl-C."""
    serve(lambda: build_app(recognizer, options), port, open_browser=True)


def _remark(warning: str) -> str:
    """A warning as a sentence."""
    return f"{warning[0].upper()}{warning[1:]}{'' if warning[-1] in '.?!' else '.'}"


def _reason(error: Exception) -> str:
    """What is wrong with an upload."""
    assert isinstance(error, InputError)
    return sentence(error.path, error.reason)


def _shaded(word: Word) -> str:
    """One word with its ground; its time and confidence are shown when it is pointed at."""
    told = f"{word.confidence:.0%} sure, {word.start:.2f} to {word.end:.2f} s"
    ground = f"background: rgb(245 158 11 / {0.7 * (1.0 - word.confidence):.2f})"
    name, note = ("unsure", "<small> (unsure)</small>") if word.confidence < _UNSURE else ("sure", "")
    text = html.escape(word.text)
    return f'<span class="{name}" style="{ground}" title="{told}">{text}{note}</span>'
