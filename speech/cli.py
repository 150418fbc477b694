"""The `speech` command: it parses, calls, prints, and computes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from shutil import get_terminal_size
from threading import Thread
from typing import TYPE_CHECKING

from common.batch import Job, Meter, Outcome, plan_outputs, run, write_outputs, write_whole
from common.command import (
    add_batch_options,
    add_shared_options,
    add_subcommand,
    at_least,
    check_builds,
    load_page,
    make_parser,
    resolve_device,
    run_command,
)
from common.errors import InputError
from common.inputs import Input, collect_inputs
from common.options import add_options, field_docs, read_options
from speech.language_model_options import LanguageModelOptions
from speech.options import DecodingOptions, TrainOptions
from speech.writers import LINE_FORMATS, WRITERS, as_json

if TYPE_CHECKING:
    from speech.recognizer import Recognizer, Transcript
    from speech.stream import Update

# Folders are searched for these; a file that is named may be called anything.
SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".wma", ".aiff", ".aif", ".amr"),
    *(".webm", ".mp4", ".mkv", ".mka", ".mov", ".avi", ".caf"),
)

OUTPUT_HELP = (
    "folder for the transcripts, one file a recording and format, in the same folders as the recordings; "
    "without it they are printed: alone for one recording, otherwise behind its path and a tab"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    subcommands: dict[str, Callable[[argparse.Namespace], int]] = {
        "transcribe": transcribe,
        "listen": listen,
        "align": align,
        "evaluate": evaluate,
        "train": train,
        "train-lm": train_lm,
        "export": export,
        "demo": demo,
    }

    def run_subcommand() -> int:
        parsed = make_speech_parser().parse_args(arguments)
        return subcommands[parsed.subcommand](parsed)

    return run_command("speech", run_subcommand)


def make_speech_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser, subcommands = make_parser("speech", "Recordings become text, offline.")

    one = add_subcommand(
        subcommands,
        "transcribe",
        "write down what is said in recordings; - is one on standard input",
        "speech transcribe interviews/ --format txt,json --output transcripts/",
    )
    add_batch_options(one, kind="recordings", formats=tuple(WRITERS), output=OUTPUT_HELP)
    _add_decoding_options(one)

    one = add_subcommand(
        subcommands,
        "listen",
        "write down what is said while it is said",
        "speech listen - < talk.raw",
    )
    one.add_argument(
        "source",
        nargs="?",
        choices=["-"],
        metavar="-",
        help="raw sound on standard input, 16-bit little-endian mono at 16 kHz, as it comes from "
        "`arecord -t raw -f S16_LE -r 16000`; without it, the microphone",
    )
    _add_decoding_options(one)

    one = add_subcommand(
        subcommands,
        "align",
        "find when each word of a known text is said",
        "speech align interview.mp3 interview.txt --format json --output interview.json",
    )
    one.add_argument("recording", metavar="RECORDING", help="of any length; - is standard input")
    one.add_argument(
        "text",
        metavar="TEXT",
        help="what is said in it: the words themselves or, if it ends in .txt, a file that holds them",
    )
    one.add_argument("--format", choices=tuple(WRITERS), default="json", help="of the result (%(default)s)")
    one.add_argument("--output", type=Path, metavar="FILE", help="where the result goes; else it is printed")
    add_shared_options(one, model="english", batch_size=32)
    one.set_defaults(language_model=None)  # what is said is known

    one = add_subcommand(
        subcommands,
        "evaluate",
        "score transcripts against what was said",
        "speech evaluate dev.tsv --json",
    )
    one.add_argument("manifest", type=Path, help="TSV file: path, text")
    one.add_argument("--json", action="store_true", help="print one JSON object")
    one.add_argument(
        "--timing",
        action="store_true",
        help="also print how far from their true times (column words) the true words are placed",
    )
    _add_decoding_options(one)

    one = add_subcommand(
        subcommands,
        "train",
        "train a recogniser, or go on where the run stands",
        "speech train --train train.tsv --dev dev.tsv --run runs/english",
    )
    add_options(one, TrainOptions)

    one = add_subcommand(
        subcommands,
        "train-lm",
        "train a language model, or go on where the run stands",
        "speech train-lm --text sentences.txt.xz:2 novels.txt --run runs/words",
    )
    add_options(one, LanguageModelOptions)

    one = add_subcommand(
        subcommands,
        "export",
        "write the network as ONNX, for other programs",
        "speech export --model english --output english.onnx",
    )
    one.add_argument("--model", default="english", help="bundled model or model directory (%(default)s)")
    one.add_argument("--output", type=Path, required=True, metavar="FILE", help="where the graph goes")
    one.add_argument("--int8", action="store_true", help="in 8 bits: a third of the size, twice as fast")

    one = add_subcommand(subcommands, "demo", "open the page on this machine", "speech demo --port 7860")
    one.add_argument("--port", type=at_least(1), metavar="N", help="of the page (the first that is free)")
    _add_decoding_options(one)
    return parser


def transcribe(arguments: argparse.Namespace) -> int:
    """Transcribe recordings, and print or write what is said in them."""
    formats = list(dict.fromkeys(arguments.formats or ["txt"]))
    if arguments.output is None and len(formats) > 1:
        raise InputError("--format", "several formats need a folder to go to: add --output FOLDER")
    if "-" in arguments.inputs and "-" in arguments.list:
        raise InputError("-", "standard input is either a recording or a list, not both")
    piped = [Input("-", "stdin")] if "-" in arguments.inputs else []
    named = [name for name in arguments.inputs if name != "-"]
    inputs = piped + collect_inputs(named, SUFFIXES, "recordings", arguments.list)
    if not inputs:
        raise InputError("transcribe", "nothing to do: name recordings, folders, globs or a --list")
    printing = arguments.output is None
    if printing and len(inputs) > 1 and formats[0] not in LINE_FORMATS:
        reason = f"{formats[0]} of several recordings needs a folder to go to: add --output FOLDER"
        raise InputError("--format", reason)
    jobs = plan_outputs(inputs, arguments.output, formats, arguments.overwrite)
    alone = arguments.inputs == [inputs[0].path] and not arguments.list
    hours = Meter("h of sound")

    def process(left: Iterable[Job]) -> Iterator[Outcome[Transcript]]:
        recognizer, options = _load(arguments)
        tried = list(left)
        if sys.stderr.isatty():
            Thread(target=_measure, args=(hours, tried), daemon=True).start()
        transcripts = recognizer.transcribe_all(
            (_recording(job.input.path) for job in tried),
            options,
            arguments.batch_size,
            progress=lambda seconds: hours.advance(seconds / 3600),
        )
        with closing(transcripts):
            outcomes = (Outcome(tried[number], result, took) for number, result, took in transcripts)
            yield from _in_order(tried, outcomes) if printing else outcomes

    def render(transcript: Transcript, path: str, format: str) -> str:
        return WRITERS[format](transcript, path)

    summary = run(
        jobs,
        process,
        _printer(formats[0], alone) if printing else write_outputs(render),
        command="speech",
        report=arguments.report,
        details={"duration": lambda transcript: f"{transcript.duration:.3f}"},
        unit="recording",
        meter=hours,
    )
    return summary.exit_status


def listen(arguments: argparse.Namespace) -> int:
    """Print what is said while it is said, until standard input ends or somebody presses Ctrl-C."""
    recognizer, options = _load(arguments)
    from speech.stream import microphone, piped

    stream = recognizer.stream(options)
    live = _live_printer()
    try:
        for chunk in piped(sys.stdin.buffer) if arguments.source else microphone():
            for update in stream.feed(chunk):
                live(update)
    except KeyboardInterrupt:
        pass  # it is how one stops talking
    for update in stream.finish():
        live(update)
    return 0


def align(arguments: argparse.Namespace) -> int:
    """Find when each word of a known text is said, and print or write it."""
    text = _read_text(Path(arguments.text)) if arguments.text.endswith(".txt") else arguments.text
    recording = _recording(arguments.recording)
    transcript = _recognizer(arguments).align(recording, text, arguments.batch_size)
    content = WRITERS[arguments.format](transcript, arguments.recording)
    if arguments.output is None:
        print(content, end="")
    else:
        write_whole(arguments.output, content)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Score a recogniser on a manifest, and print the scores."""
    recognizer, options = _load(arguments)
    from tqdm import tqdm

    from speech.evaluate import evaluate as evaluate_recognizer
    from speech.evaluate import evaluate_timing

    timing: dict[str, object] = {}
    if arguments.timing:
        with tqdm(unit="recording", disable=not sys.stderr.isatty()) as bar:
            timing = dataclasses.asdict(evaluate_timing(recognizer, arguments.manifest, bar.update))
    with tqdm(unit="recording", disable=not sys.stderr.isatty()) as bar:
        report = evaluate_recognizer(
            recognizer, arguments.manifest, options, arguments.batch_size, progress=bar.update
        )
    fields = dataclasses.asdict(report) | timing
    if arguments.json:
        print(json.dumps(fields))
        return 0
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name:{width}} {value:.2f}" if isinstance(value, float) else f"{name:{width}} {value}")
    return 0


def train(arguments: argparse.Namespace) -> int:
    """Train a recogniser."""
    check_builds("torchaudio")
    from speech.train import train as train_recognizer

    options = read_options(TrainOptions, arguments)
    train_recognizer(options)
    print(options.run / "best")
    return 0


def train_lm(arguments: argparse.Namespace) -> int:
    """Train a language model."""
    check_builds()
    from speech.train_language_model import train_language_model

    options = read_options(LanguageModelOptions, arguments)
    train_language_model(options)
    print(options.run / "best")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write a recogniser's network as ONNX."""
    check_builds("torchaudio")
    from speech.export import export as export_network
    from speech.recognizer import Recognizer

    export_network(Recognizer.load(arguments.model).network, arguments.output, arguments.int8)
    print(arguments.output)
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Open the demo page on loopback until it is interrupted."""
    recognizer, options = _load(arguments)
    load_page("speech")(recognizer, options, arguments.port)
    return 0


class _Piped(BytesIO):
    """A recording that came on standard input, with the name by which messages call it."""

    name = "-"


def _recording(path: str) -> str | BytesIO:
    """What the recogniser reads; standard input is kept, because some containers are read to and fro."""
    if path != "-":
        return path
    return _Piped(sys.stdin.buffer.read())


def _read_text(path: Path) -> str:
    """What a text file holds."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "is not UTF-8; save it as plain text") from error


def _measure(hours: Meter, jobs: Iterable[Job]) -> None:
    """Find out how much there is to do, while it is being done."""
    from speech.segments import recording_seconds

    for job in jobs:
        hours.expect(recording_seconds(job.input.path) / 3600)


def _in_order(jobs: Iterable[Job], outcomes: Iterable[Outcome[Transcript]]) -> Iterator[Outcome[Transcript]]:
    """The same outcomes in the order of their jobs."""
    early: dict[int, Outcome[Transcript]] = {}
    left = iter(jobs)
    job = next(left, None)
    for outcome in outcomes:
        early[id(outcome.job)] = outcome
        while job is not None and id(job) in early:
            yield early.pop(id(job))
            job = next(left, None)


def _live_printer() -> Callable[[Update], None]:
    """Print final texts, one a line; rewrite the text that may still change on the terminal's last line."""
    is_terminal = sys.stderr.isatty()

    def show(text: str) -> None:
        if is_terminal:
            width = get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[-width:]}", end="", file=sys.stderr, flush=True)

    def deliver(update: Update) -> None:
        show("" if update.final else update.text)
        if update.final:
            print(update.text, flush=True)

    return deliver


def _add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """What decides a transcript: the same for every subcommand that asks the recogniser."""
    defaults, explained = DecodingOptions(), field_docs(DecodingOptions)
    add_shared_options(parser, model="english", batch_size=32, beam=defaults.beam)
    group = parser.add_argument_group("words")
    group.add_argument(
        "--hotword",
        action="append",
        dest="hotwords",
        default=[],
        metavar="NAME",
        help="a word or phrase that is likely to be said; may be given several times",
    )
    group.add_argument(
        "--grammar",
        type=Path,
        metavar="FILE",
        help="phrases, one a line, of which one is said in each recording; nothing else can come out",
    )
    group.add_argument(
        "--language-model",
        type=Path,
        metavar="DIR",
        help="in place of the model's own; speech train-lm makes one",
    )
    for name in ("words", "open_vocabulary"):
        default = getattr(defaults, name)
        group.add_argument(
            f"--{name.replace('_', '-')}",
            action=argparse.BooleanOptionalAction,
            default=default,
            help=f"{explained[name]} ({'yes' if default else 'no'})",
        )
    for name in ("hotword_boost", "lm_weight", "word_bonus"):
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=float,
            default=getattr(defaults, name),
            metavar="X",
            help=f"{explained[name]} (%(default)s)",
        )


def _load(arguments: argparse.Namespace) -> tuple[Recognizer, DecodingOptions]:
    """The recogniser and the search that somebody asks for."""
    recognizer = _recognizer(arguments)
    options = DecodingOptions(
        beam=arguments.beam,
        words=arguments.words,
        lm_weight=arguments.lm_weight,
        word_bonus=arguments.word_bonus,
        open_vocabulary=arguments.open_vocabulary,
        hotwords=tuple(arguments.hotwords),
        hotword_boost=arguments.hotword_boost,
        grammar=arguments.grammar,
    )
    recognizer.decoder(options)  # what cannot be used is said once, not for every recording
    return recognizer, options


def _recognizer(arguments: argparse.Namespace) -> Recognizer:
    """The recogniser that somebody asks for."""
    check_builds("torchaudio")
    from speech.recognizer import Recognizer

    device, language_model = resolve_device(arguments.device), arguments.language_model
    return Recognizer.load(arguments.model, device, arguments.threads, language_model)


def _printer(format: str, alone: bool) -> Callable[[Job, Transcript], None]:
    """What prints transcripts on standard output."""

    def deliver(job: Job, transcript: Transcript) -> None:
        path = job.input.path
        if format == "json":
            print(as_json(transcript, path), flush=True)
        elif format not in LINE_FORMATS:
            print(WRITERS[format](transcript, path), end="", flush=True)
        elif alone:
            print(transcript.text, flush=True)
        else:
            print(f"{path}\t{transcript.text}", flush=True)

    return deliver


if __name__ == "__main__":
    sys.exit(main())
