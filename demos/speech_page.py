"""The recogniser's page: a recording, from a file or the microphone, becomes text that can be played."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

import gradio as gr
from PIL import Image

from demos.live import LiveTexts
from demos.shell import in_words, page, refuse, say, scripted, serve
from demos.sound import (
    RATE,
    SPIKE_SECONDS,
    data_url,
    loudness,
    paint,
    samples_of,
    spikes,
    write_wav,
)
from speech import DecodingOptions, InputError, Recognizer, Transcript, recording_seconds

SAMPLES = Path(__file__).parents[1] / "speech" / "samples"
TITLE = "Speech becomes text"
INTRODUCTION = "Choose a recording or a video, or speak into the microphone. It stays on this machine."

# Of a recording on the page; the command takes any length. Three searches take three times as long as one.
MOST_SECONDS, MOST_COMPARED_SECONDS = 3600.0, 600.0
MOST_HOTWORDS, MOST_HOTWORD_LETTERS, MOST_GRAMMAR_LETTERS = 100, 60, 20_000

LANGUAGE_MODEL, BEAM, GREEDY = "Beam with language model", "Beam alone", "Greedy"

_PROGRESS = gr.Progress()
_LINE = "speech"  # calls with this name wait for one another: the recogniser uses all cores for one

_EXAMPLES = {
    SAMPLES / "city.opus": "“He was born and raised in New York City”",
    SAMPLES / "service.opus": "“There is no charge for this service”",
    SAMPLES / "tags.opus": "“The first tags were made of tin”",
}

_MICROPHONE = """
<div class="suite">
<div class="links"><button type="button" aria-pressed="false">Start the microphone</button></div>
<p role="status"></p>
<label>Text while you speak <textarea readonly rows="4"></textarea></label>
<p>A line is final 0.6 seconds after its last word; until then it may change.</p>
</div>
"""

Answer = tuple[str, dict[str, Any] | None, str]


def build_app(recognizer: Recognizer, options: DecodingOptions | None = None) -> gr.Blocks:
    """The page for a recogniser, which finds text as the options say; `demos.shell.serve` shows it."""
    app = page(TITLE, INTRODUCTION)
    with app:
        lay_out(recognizer, options)
    return app


def lay_out(recognizer: Recognizer, options: DecodingOptions | None = None) -> None:
    """Put the page's parts into the `gr.Blocks` that is open."""
    speech = SpeechPage(recognizer, options or DecodingOptions())
    with gr.Row():
        with gr.Column(min_width=300):
            # Not `gr.Audio`, which lets a video drop without a word: what cannot be read says so itself.
            recording = gr.File(label="Recording or video", height=190)
            button = gr.Button("Transcribe", variant="primary")
        with gr.Column(min_width=300):
            microphone, texts = _microphone(recognizer, speech.options, Path(recording.GRADIO_CACHE))
    examples = gr.Column()
    with gr.Accordion("Names, phrases and search", open=False):
        way, hotwords, grammar = _choices(speech.options)
    # Boxes for results can be reached by keyboard: a disabled one could not.
    text = gr.Textbox(label="Text", lines=2, buttons=["copy"], interactive=True, elem_classes="answer")
    about = gr.Markdown()
    played = scripted("transcript.js", produces="segments and words with times and confidences, and files")
    with gr.Accordion("Three searches side by side", open=False):
        gr.Markdown("What each search makes of the same sound; words that not all of them found are marked.")
        compare = gr.Button("Compare the searches")
        table = gr.HTML(label="Comparison", elem_classes="suite")
    inputs, outputs = [recording, way, hotwords, grammar], [text, played, about]
    transcribe = in_words(speech.transcribe)
    button.click(
        transcribe, inputs, outputs, api_name="transcribe", concurrency_id=_LINE, show_progress_on=text
    )
    microphone.submit(
        in_words(speech.transcribe_spoken(texts)),
        inputs[1:],
        [recording, *outputs],
        api_visibility="private",
        concurrency_id=_LINE,
        show_progress_on=text,
    )
    compare.click(
        in_words(speech.compare), [recording, hotwords], table, api_name="compare", concurrency_id=_LINE
    )
    with examples:
        gr.Examples(
            [[str(path)] for path in _EXAMPLES],
            recording,
            outputs,
            transcribe,
            run_on_click=True,
            cache_examples=False,
            api_visibility="private",
            label="Recordings to try",
            example_labels=list(_EXAMPLES.values()),
        )


class SpeechPage:
    """What the page does when it is asked.

    Args:
        recognizer: that hears.
        options: how text is found, until somebody chooses otherwise on the page.
    """

    def __init__(self, recognizer: Recognizer, options: DecodingOptions) -> None:
        self.recognizer = recognizer
        self.options = options

    def transcribe(
        self,
        recording: str | None,
        search: str = LANGUAGE_MODEL,
        hotwords: str = "",
        grammar: str = "",
        progress: gr.Progress = _PROGRESS,
    ) -> Answer:
        """Transcribe a recording or the sound of a video.

        Args:
            recording: a sound or video file of up to an hour.
            search: "Beam with language model", "Beam alone" or "Greedy".
            hotwords: names and rare words that may be said, with commas or one a line.
            grammar: phrases, one a line, of which one is said; nothing else can come out.
            progress: Gradio's own, by which the page shows how far it is.

        Returns:
            The text, a line a segment; segments and words with times and confidences and the files in five
            formats; remarks about the recording.
        """
        path = _required(recording, MOST_SECONDS)
        options = self.chosen(Path(path).parent, search, hotwords, grammar)
        transcript = self._transcript(path, options, progress)
        heard = transcript.to_txt().rstrip("\n") or "(no words were heard)"
        about = " ".join([f"{transcript.duration:.1f} seconds of sound.", *map(say, transcript.warnings)])
        return heard, shown(self.recognizer, Path(path), transcript), about

    def _transcript(self, path: str, options: DecodingOptions, progress: gr.Progress) -> Transcript:
        """The transcript of a recording; the page shows how far it is."""
        whole, done = recording_seconds(path), 0.0

        def report(seconds: float) -> None:
            nonlocal done
            done += seconds
            if whole:
                progress(min(1.0, done / whole), desc=f"{done:.0f} of {whole:.0f} seconds heard")

        ((_, result, _),) = self.recognizer.transcribe_all([path], options, progress=report)
        if isinstance(result, InputError):
            raise result
        return result

    def transcribe_spoken(self, texts: LiveTexts) -> Callable[..., tuple[str, *Answer]]:
        """What happens when the microphone is switched off: its recording is transcribed like any other."""

        def spoken(search: str, hotwords: str, grammar: str, event: gr.EventData) -> tuple[str, *Answer]:
            path = texts.recording(event.session)
            if path is None or not path.exists():
                refuse("Nothing was recorded. Please allow the microphone and speak.")
            return str(path), *self.transcribe(str(path), search, hotwords, grammar)

        return spoken

    def compare(self, recording: str | None, hotwords: str = "") -> str:
        """Transcribe a recording of up to ten minutes with each of the three searches.

        Args:
            recording: a sound or video file.
            hotwords: as in `transcribe`; only the search with the language model knows them.

        Returns:
            A table as HTML: search, text, mean confidence, seconds that it took.
        """
        path = _required(recording, MOST_COMPARED_SECONDS)
        rows = []
        for search in (GREEDY, BEAM, LANGUAGE_MODEL):
            names = hotwords if search == LANGUAGE_MODEL else ""
            options = self.chosen(Path(path).parent, search, names, "")
            started = monotonic()
            transcript = self.recognizer.transcribe(path, options)
            rows.append((search, transcript, monotonic() - started))
        return side_by_side(rows)

    def chosen(self, folder: Path, search: str, hotwords: str, grammar: str) -> DecodingOptions:
        """The options that somebody chose on the page.

        Args:
            folder: where a grammar is written to; its name says what is in it, so that it never changes.
            search: one of the three.
            hotwords: with commas or one a line.
            grammar: phrases, one a line.
        """
        names = tuple(name.strip() for name in hotwords.replace("\n", ",").split(",") if name.strip())
        if len(names) > MOST_HOTWORDS or max(map(len, names), default=0) > MOST_HOTWORD_LETTERS:
            bound = f"{MOST_HOTWORDS} names of {MOST_HOTWORD_LETTERS} letters each"
            refuse(f"That are too many names: leave some out, {bound} fit.")
        if len(grammar) > MOST_GRAMMAR_LETTERS:
            refuse("That are too many phrases for the page; use the command.")
        if names and grammar.strip():
            refuse("Clear the names or the phrases: phrases say already all that can be said.")
        if names and search != LANGUAGE_MODEL:
            refuse(f"Names need the search “{LANGUAGE_MODEL}”: choose it, or clear the names.")
        file = None
        if grammar.strip():
            file = folder / f"phrases-{hashlib.sha256(grammar.encode()).hexdigest()[:16]}.txt"
            file.write_text(grammar, encoding="utf-8")
        beam = self.options.beam if self.options.beam > 1 else DecodingOptions().beam
        return replace(
            self.options,
            beam=1 if search == GREEDY else beam,
            words=search == LANGUAGE_MODEL,
            hotwords=names,
            grammar=file,
        )


def shown(recognizer: Recognizer, path: Path, transcript: Transcript) -> dict[str, Any]:
    """What demos/transcript.js draws.

    Returns:
        `name`; `audio`, an address; `duration` and `offset` in seconds; `segments` of `start` and `words`,
        each with `text`, `start`, `end`, `confidence`; `picture` with `url`, `width` and `seconds`; `spikes`
        of (seconds, probability, symbol), None where the recording is long; `files`, a text for each format.
    """
    samples = samples_of(str(path), MOST_SECONDS)
    played = path.with_name(f"{path.stem}.played.wav")
    write_wav(played, samples)
    picture = Image.fromarray(paint(loudness(recognizer, samples)))
    found = spikes(recognizer, samples, transcript) if transcript.duration <= SPIKE_SECONDS else None
    return {
        "name": path.stem,
        "audio": f"/gradio_api/file={quote(str(played))}",
        "duration": transcript.duration,
        "offset": transcript.offset,
        "segments": [
            {
                "start": segment.start,
                "words": [
                    {"text": word.text, "start": word.start, "end": word.end, "confidence": word.confidence}
                    for word in segment.words
                ],
            }
            for segment in transcript.segments
        ],
        "picture": {
            "url": data_url(picture),
            "width": picture.width,
            "seconds": max(len(samples) / RATE, 0.01),
        },
        "spikes": None
        if found is None
        else [[round(one.seconds, 3), round(one.probability, 3), one.symbol] for one in found],
        "files": {
            "txt": transcript.to_txt(),
            "srt": transcript.to_srt(),
            "vtt": transcript.to_vtt(),
            "tsv": transcript.to_tsv(),
            "json": transcript.to_json(path.name),
        },
    }


def side_by_side(rows: list[tuple[str, Transcript, float]]) -> str:
    """A table of searches, what each found and how long it took; words that not all have found are marked."""
    common = set.intersection(*(set(transcript.text.split()) for _, transcript, _ in rows))
    lines = []
    for search, transcript, seconds in rows:
        words = [html.escape(word) for word in transcript.text.split()]
        text = " ".join(word if word in common else f"<mark>{word}</mark>" for word in words) or "(no words)"
        sure = "–" if transcript.confidence is None else f"{transcript.confidence:.0%}"
        lines.append(
            f'<tr><th scope="row">{search}</th><td>{text}</td><td>{sure}</td><td>{seconds:.1f} s</td></tr>'
        )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Search", "Text", "Sure", "Took"))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def open_page(recognizer: Recognizer, options: DecodingOptions, port: int | None) -> None:
    """Serve the page and show it in the browser, until Ctrl-C."""
    warm(recognizer, options)
    serve(lambda: build_app(recognizer, options), port, open_browser=True)


def warm(recognizer: Recognizer, options: DecodingOptions | None) -> None:
    """Transcribe an example, so that nobody waits for what is read at the first time."""
    recognizer.transcribe(next(iter(_EXAMPLES)), options)


def _microphone(recognizer: Recognizer, options: DecodingOptions, folder: Path) -> tuple[gr.HTML, LiveTexts]:
    """The microphone whose text appears while somebody speaks into it, and what knows that text.

    Gradio's own microphone forgets what comes while a call runs, so the page has one that does not.
    """
    texts = LiveTexts(recognizer, options, folder)

    # Gradio marks what the browser may call, and a method cannot be marked.
    def hear(chunk: dict[str, Any]) -> dict[str, Any]:
        return texts.hear(chunk)

    def stop(session: str) -> dict[str, str]:
        return texts.stop(session)

    return scripted("live.js", _MICROPHONE, server_functions=[hear, stop]), texts


def _choices(options: DecodingOptions) -> tuple[gr.Radio, gr.Textbox, gr.Textbox]:
    """How text is found: the search, names, phrases; as the command was told, to begin with."""
    search = GREEDY if options.beam == 1 else LANGUAGE_MODEL if options.words else BEAM
    way = gr.Radio([LANGUAGE_MODEL, BEAM, GREEDY], value=search, label="Search")
    hotwords = gr.Textbox(
        ", ".join(options.hotwords),
        label="Names and rare words (hotwords)",
        info="That may be said, with commas between them: Zagreb, Ana Horvat",
    )
    phrases = "" if options.grammar is None else options.grammar.read_text(encoding="utf-8-sig")
    grammar = gr.Textbox(
        phrases,
        label="Only these phrases (grammar)",
        info="One a line; one of them is said, nothing else can come out.",
        lines=3,
    )
    return way, hotwords, grammar


def _required(recording: str | None, most_seconds: float) -> str:
    """The recording; an error if there is none, or one that is too long for the page."""
    if recording is None:
        refuse("Choose a recording or make one first.")
    seconds = recording_seconds(recording)
    if seconds > most_seconds:
        bound = f"{seconds / 60:.0f} minutes, and {most_seconds / 60:.0f} are the most here"
        refuse(f"The recording has {bound}. For longer ones there is `speech transcribe`.")
    return recording
