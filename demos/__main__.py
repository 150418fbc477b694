"""All pages in tabs, on one server: python -m demos [--port 7860]."""

from __future__ import annotations

import argparse
import sys
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

    from caption import Captioner
    from speech import Recognizer

TITLE = "Speech and photographs become text"


def main(arguments: list[str] | None = None) -> int:
    """Serve all pages until Ctrl-C; says what it does from the first second, because it takes some."""
    parser = argparse.ArgumentParser(
        prog="python -m demos",
        description="Show all pages in the browser, served to this machine alone.",
        epilog="example: python -m demos --port 7860",
    )
    parser.add_argument("--port", type=int, help="where; a free one if it is not given")
    parser.add_argument("--no-browser", action="store_true", help="say where the pages are, and open none")
    chosen = parser.parse_args(arguments)
    started = monotonic()

    def say(step: str) -> None:
        print(f"demos: {step} ... ({monotonic() - started:.0f} s)", file=sys.stderr, flush=True)

    say("loading PyTorch")
    from speech import InputError, Recognizer

    try:
        say("reading the recogniser")
        recognizer = Recognizer.load()
        say("reading the captioner")
        from caption import Captioner

        captioner = Captioner.load()
        say("loading Gradio")
        from demos import caption_page, speech_page
        from demos.shell import serve

        say("trying both once")
        speech_page.warm(recognizer, None)
        caption_page.warm(captioner, None)
        say("starting the pages")
        serve(lambda: build_app(recognizer, captioner), chosen.port, open_browser=not chosen.no_browser)
    except InputError as error:
        print(f"demos: {error}", file=sys.stderr)
        return 1
    return 0


def build_app(recognizer: Recognizer, captioner: Captioner) -> gr.Blocks:
    """All pages in tabs; `demos.shell.serve` shows them."""
    import gradio as gr

    from demos import caption_page, lab_page, speech_page
    from demos.shell import page

    app = page(TITLE, "Everything stays on this machine.")
    with app, gr.Tabs(overflow_behavior="wrap"):
        with gr.Tab("Speech"):
            gr.Markdown(f"## {speech_page.TITLE}\n\n{speech_page.INTRODUCTION}")
            speech_page.lay_out(recognizer)
        with gr.Tab("Photographs"):
            gr.Markdown(f"## {caption_page.TITLE}\n\n{caption_page.INTRODUCTION}")
            caption_page.lay_out(captioner)
        with gr.Tab(lab_page.TITLE):
            gr.Markdown(f"## {lab_page.TITLE}\n\n{lab_page.INTRODUCTION}")
            lab_page.lay_out(recognizer, captioner)
    return app


if __name__ == "__main__":
    sys.exit(main())
