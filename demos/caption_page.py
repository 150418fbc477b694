"""The captioner's page: a photograph becomes a caption, with its runners-up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gradio as gr
from PIL import Image

from caption import Captioner, DescribeOptions, InputError, light, open_image
from demos.shell import in_words, page, sentence, serve

SAMPLES = Path(__file__).parents[1] / "caption" / "samples"

Row = list[str]
Tile = tuple[Image.Image, str]

_TILE = 240  # pixels of a tile's longer side


def build_app(captioner: Captioner, options: DescribeOptions | None = None) -> gr.Blocks:
    """The page for a captioner; `demos.shell.serve` shows it.

    Args:
        captioner: what describes.
        options: how it searches, until somebody moves the slider.
    """
    options = options or DescribeOptions()

    def describe(photograph: str | None, beam: int) -> tuple[str, list[Row], list[Tile]]:
        if photograph is None:
            raise gr.Error("Choose a photograph first.", print_exception=False)
        caption = captioner.describe(photograph, dataclasses.replace(options, beam=int(beam)))
        rows = [[one.text, f"{one.confidence:.0%}"] for one in (caption, *caption.alternatives)]
        return caption.text, rows, _tiles(captioner, photograph, caption.text)

    app = page(
        "A photograph becomes a sentence",
        "Choose a photograph, paste one, or take one. It stays on this machine.",
    )
    with app:
        photograph = gr.Image(
            sources=["upload", "clipboard", "webcam"],
            type="filepath",
            label="Photograph",
            height=340,
            buttons=[],
        )
        # The file is handed on as it is: the captioner's own door reads it, and says what is wrong.
        photograph.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign]
        button = gr.Button("Describe", variant="primary")
        # It can be reached by keyboard: a disabled one could not.
        text = gr.Textbox(label="Caption", lines=2, buttons=["copy"], interactive=True, elem_classes="answer")
        runners = gr.Dataframe(
            headers=["caption", "confidence"],
            label="The best captions that were found",
            interactive=False,
            wrap=True,
            column_widths=["75%", "25%"],
        )
        tiles = gr.Gallery(
            label="Where it looked for each word",
            columns=4,
            height="auto",
            interactive=False,
            buttons=[],
            elem_classes="glances",
        )
        with gr.Accordion("Search", open=False):
            beam = gr.Slider(1, 10, options.beam, step=1, label="Captions followed at once (beam width)")
        inputs, outputs = [photograph, beam], [text, runners, tiles]
        asked = in_words(describe, InputError, _reason)
        button.click(asked, inputs, outputs, api_name="describe", show_progress_on=text)
        gr.Examples(
            [[str(path)] for path in sorted(SAMPLES.glob("*.jpg"))],
            photograph,
            outputs,
            lambda chosen: asked(chosen, options.beam),
            run_on_click=True,
            cache_examples=False,
            api_visibility="private",
            label="Photographs to try",
            example_labels=[path.stem.capitalize() for path in sorted(SAMPLES.glob("*.jpg"))],
        )
    return app


def open_page(captioner: Captioner, options: DescribeOptions, port: int | None) -> None:
    """Serve the page and show it in the browser, until Ctrl-C."""
    serve(lambda: build_app(captioner, options), port, open_browser=True)


def _tiles(captioner: Captioner, photograph: str, caption: str) -> list[Tile]:
    """For each word the photograph, bright where the captioner looked when it chose it."""
    image = open_image(photograph)
    image.thumbnail((_TILE, _TILE))
    return [(light(image, glance.weights), glance.word) for glance in captioner.glances(photograph, caption)]


def _reason(error: Exception) -> str:
    """What is wrong with an upload."""
    assert isinstance(error, InputError)
    return sentence(error.path, error.reason)
