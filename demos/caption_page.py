"""The captioner's page: photographs become captions, with their runners-up and where the network looked."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from caption import Caption, Captioner, DescribeOptions, InputError, light, open_image
from demos.shell import in_words, page, refuse, scripted, sentence, serve
from demos.sound import data_url

SAMPLES = Path(__file__).parents[1] / "caption" / "samples"
TITLE = "A photograph becomes a sentence"
INTRODUCTION = "Choose photographs, paste one, or take one. They stay on this machine."

MOST_PICTURES = 24
MOST_WORDS = 200  # letters of a sentence that is searched for

_LINE = "caption"  # calls with this name wait for one another: the captioner uses all cores for one
_TILE, _THUMBNAIL = 384, 128  # pixels of the longer side

_CAMERA = """
<div class="suite">
<div class="links"><button type="button" data-do="choose">Add photographs</button>
<button type="button" data-do="take">Open the camera</button>
<button type="button" data-do="paste">Paste a photograph</button></div>
<input type="file" multiple hidden>
<p>They are described at once. More can be dropped here, too.</p>
<p role="status"></p>
<video hidden playsinline muted aria-label="What the camera sees"></video>
</div>
"""

Asked = tuple[str, dict[str, Any] | None]


def build_app(captioner: Captioner, options: DescribeOptions | None = None) -> gr.Blocks:
    """The page for a captioner; `demos.shell.serve` shows it.

    Args:
        captioner: what describes.
        options: how it searches, until somebody moves the slider.
    """
    app = page(TITLE, INTRODUCTION)
    with app:
        lay_out(captioner, options)
    return app


def lay_out(captioner: Captioner, options: DescribeOptions | None = None) -> None:
    """Put the page's parts into the `gr.Blocks` that is open."""
    options = options or DescribeOptions()
    captions = CaptionPage(captioner, options)
    with gr.Row():
        with gr.Column(min_width=300):
            # Not `gr.Gallery`, which takes only what the browser can show: the captioner's own door reads the
            # files, and says what is wrong. Nor can its buttons be reached by keyboard.
            pictures = gr.File(label=f"Photographs, up to {MOST_PICTURES}", file_count="multiple", height=190)
        with gr.Column(min_width=300):
            camera = scripted("camera.js", _CAMERA)
    button = gr.Button("Describe", variant="primary")
    examples = gr.Column()
    # It can be reached by keyboard: a disabled one could not.
    text = gr.Textbox(label="Captions", lines=2, buttons=["copy"], interactive=True, elem_classes="answer")
    looked = scripted("caption.js", produces="for each picture its caption, runners-up and glances")
    with gr.Accordion("Search these photographs by a sentence", open=False):
        sought = gr.Textbox(label="Sentence", placeholder="a dog runs on the beach", max_length=MOST_WORDS)
        search = gr.Button("Search")
        found = gr.HTML(label="Found", elem_classes="suite")
    with gr.Accordion("How captions are searched", open=False):
        beam = gr.Slider(1, 10, options.beam, step=1, label="Captions followed at once (beam width)")
    describe = in_words(captions.describe)
    button.click(
        describe,
        [pictures, beam],
        [text, looked],
        api_name="describe",
        concurrency_id=_LINE,
        show_progress_on=text,
    )
    camera.submit(
        in_words(captions.added(Path(pictures.GRADIO_CACHE))),
        [pictures, beam],
        [pictures, text, looked],
        api_visibility="private",
        concurrency_id=_LINE,
        show_progress_on=text,
    )
    ask = in_words(captions.search)
    search.click(ask, [pictures, sought], found, api_name="search", concurrency_id=_LINE)
    sought.submit(ask, [pictures, sought], found, api_visibility="private", concurrency_id=_LINE)
    samples = sorted(SAMPLES.glob("*.jpg"))
    with examples:
        gr.Examples(
            [[[str(path)]] for path in samples],
            pictures,
            [text, looked],
            describe,
            run_on_click=True,
            cache_examples=False,
            api_visibility="private",
            label="Photographs to try",
            example_labels=[path.stem.capitalize() for path in samples],
        )


class CaptionPage:
    """What the page does when it is asked.

    Args:
        captioner: what describes.
        options: how it searches.
    """

    def __init__(self, captioner: Captioner, options: DescribeOptions) -> None:
        self.captioner = captioner
        self.options = options

    def describe(self, pictures: list[str] | None, beam: float | None = None) -> Asked:
        """Describe photographs.

        Args:
            pictures: files of up to 24 photographs.
            beam: captions that are followed at once, 1 to 10.

        Returns:
            The captions, a line each; and `pictures`, of each `name` and either `error` or `thumbnail`,
            `caption`, `alt`, `confidence`, `alternatives` of `text` and `confidence`, and `glances` of
            `word` and `url`: the photograph, bright where the network looked when it chose the word.
        """
        paths = _required(pictures)
        width = self.options.beam if beam is None else int(beam)
        if not 1 <= width <= 10:
            refuse("Choose a beam width from 1 to 10.")
        options = dataclasses.replace(self.options, beam=width)
        described = []
        for path in paths:
            try:
                described.append(self._shown(path, self.captioner.describe(path, options)))
            except InputError as error:
                if len(paths) == 1 or error.path.startswith("--"):
                    raise
                described.append({"name": Path(path).name, "error": sentence(error)})
        lines = [one.get("caption", one.get("error", "")) for one in described]
        return "\n".join(lines), {"pictures": described}

    def added(self, folder: Path) -> Callable[..., tuple[list[str], *Asked]]:
        """What happens when more photographs come from files, camera or clipboard: all are described.

        Args:
            folder: of the page, below which uploads lie; nothing else is taken.
        """

        def add(pictures: list[str] | None, beam: float, event: gr.EventData) -> tuple[list[str], *Asked]:
            more = [Path(str(path)).resolve() for path in event.paths]
            if not all(path.is_relative_to(folder.resolve()) and path.is_file() for path in more):
                refuse("The photograph did not arrive. Please try again.")
            files = [*(pictures or []), *map(str, more)]
            return files, *self.describe(files, beam)

        return add

    def search(self, pictures: list[str] | None, sentence: str) -> str:
        """Which of the photographs fits a sentence best?

        Args:
            pictures: files of up to 24 photographs.
            sentence: what to look for.

        Returns:
            A list as HTML, best first, each with log p(sentence | photograph) in nats a word.
        """
        paths = _required(pictures)
        if not sentence.strip() or len(sentence) > MOST_WORDS:
            refuse(f"Write what to look for, in up to {MOST_WORDS} letters.")
        unknown = self.captioner.unknown_words(sentence)
        try:
            scores = self.captioner.log_likelihoods(sentence, paths)
        except InputError as error:
            if error.path == repr(sentence):
                refuse("The captioner knows none of these words; say it in other ones.")
            raise
        best = sorted(zip(scores, paths, strict=True), reverse=True)
        note = f"<p>It never learned: {html.escape(', '.join(unknown))}.</p>" if unknown else ""
        rows = "".join(_row(rank, score, path) for rank, (score, path) in enumerate(best, 1))
        heads = "".join(f'<th scope="col">{name}</th>' for name in ("Rank", "Photograph", "Nats a word"))
        return f"{note}<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"

    def _shown(self, path: str, caption: Caption) -> dict[str, Any]:
        """One described photograph, as demos/caption.js draws it."""
        image = open_image(path)
        image.thumbnail((_TILE, _TILE))
        return {
            "name": Path(path).name,
            "thumbnail": _small(image),
            "photograph": data_url(image, "jpeg"),
            "caption": caption.text,
            "alt": alt_text(caption.text),
            "confidence": caption.confidence,
            "alternatives": [
                {"text": other.text, "confidence": other.confidence} for other in caption.alternatives
            ],
            "glances": [
                {"word": glance.word, "url": data_url(light(image, glance.weights), "jpeg")}
                for glance in self.captioner.glances(path, caption.text)
            ],
        }


def alt_text(caption: str) -> str:
    """A caption as its photograph's alternative text: a sentence; empty if there is nothing to see."""
    return f"{caption[0].upper()}{caption[1:]}." if caption else ""


def open_page(captioner: Captioner, options: DescribeOptions, port: int | None) -> None:
    """Serve the page and show it in the browser, until Ctrl-C."""
    warm(captioner, options)
    serve(lambda: build_app(captioner, options), port, open_browser=True)


def warm(captioner: Captioner, options: DescribeOptions | None) -> None:
    """Describe an example, so that nobody waits for what is done at the first time alone."""
    captioner.describe(min(SAMPLES.glob("*.jpg")), options)


def _required(pictures: list[str] | None) -> list[str]:
    """The photographs; an error if there are none, or too many."""
    if not pictures:
        refuse("Choose a photograph first.")
    if len(pictures) > MOST_PICTURES:
        refuse(
            f"{len(pictures)} photographs are too many here: {MOST_PICTURES} are the most. "
            "For a folder there is `caption describe`."
        )
    return pictures


def _row(rank: int, score: float, path: str) -> str:
    """A photograph that was found, as a row of a table."""
    image = open_image(path)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    name = html.escape(Path(path).name)
    picture = f'<img src="{_small(image)}" alt=""> {name}'
    return f'<tr><th scope="row">{rank}</th><td>{picture}</td><td>{score:.2f}</td></tr>'


def _small(image: Image.Image) -> str:
    """A thumbnail's address."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return data_url(small, "jpeg")
