"""The `speech` command: it parses, calls, prints, and computes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.batch import Job, Outcome, in_batches, plan_outputs, run, write_outputs
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
from common.inputs import collect_inputs
from common.options import add_options, read_options
from speech.language_model_options import LanguageModelOptions
from speech.options import DecodingOptions, TrainOptions
from speech.writers import WRITERS, as_json

if TYPE_CHECKING:
    from torch import Tensor

    from speech.recognizer import Recognizer, Transcript

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
        "evaluate": evaluate,
        "train": train,
        "train-lm": train_lm,
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
        "write down what is said in recordings",
        "speech transcribe interviews/ --format txt,json --output transcripts/",
    )
    add_batch_options(one, kind="recordings", formats=tuple(WRITERS), output=OUTPUT_HELP)
    _add_decoding_options(one)

    one = add_subcommand(
        subcommands,
        "evaluate",
        "score transcripts against what was said",
        "speech evaluate dev.tsv --json",
    )
    one.add_argument("manifest", type=Path, help="TSV file: path, text")
    one.add_argument("--json", action="store_true", help="print one JSON object")
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

    one = add_subcommand(subcommands, "demo", "open the page on this machine", "speech demo --port 7860")
    one.add_argument("--port", type=at_least(1), metavar="N", help="of the page (the first that is free)")
    add_shared_options(one, model="english", batch_size=8)
    return parser


def transcribe(arguments: argparse.Namespace) -> int:
    """Transcribe recordings, and print or write what is said in them."""
    formats = list(dict.fromkeys(arguments.formats or ["txt"]))
    if arguments.output is None and len(formats) > 1:
        raise InputError("--format", "several formats need a folder to go to: add --output FOLDER")
    inputs = collect_inputs(arguments.inputs, SUFFIXES, "recordings", arguments.list)
    if not inputs:
        raise InputError("transcribe", "nothing to do: name recordings, folders, globs or a --list")
    jobs = plan_outputs(inputs, arguments.output, formats, arguments.overwrite)
    alone = arguments.inputs == [inputs[0].path] and not arguments.list

    def process(left: Iterable[Job]) -> Iterator[Outcome[Transcript]]:
        recognizer, options = _load(arguments)
        from speech.audio import load_audio

        def answer(recordings: list[Tensor]) -> list[Transcript]:
            return recognizer.transcribe_batch(recordings, options)

        yield from in_batches(load_audio, answer, arguments.batch_size)(left)

    def render(transcript: Transcript, path: str, format: str) -> str:
        return WRITERS[format](transcript, path)

    summary = run(
        jobs,
        process,
        _printer(formats[0], alone) if arguments.output is None else write_outputs(render),
        command="speech",
        report=arguments.report,
        details={"duration": lambda transcript: f"{transcript.duration:.3f}"},
        unit="recording",
    )
    return summary.exit_status


def evaluate(arguments: argparse.Namespace) -> int:
    """Score a recogniser on a manifest, and print the scores."""
    recognizer, options = _load(arguments)
    from tqdm import tqdm

    from speech.evaluate import evaluate as evaluate_recognizer

    with tqdm(unit="recording", disable=not sys.stderr.isatty()) as bar:
        report = evaluate_recognizer(
            recognizer, arguments.manifest, options, arguments.batch_size, progress=bar.update
        )
    fields = dataclasses.asdict(report)
    if arguments.json:
        print(json.dumps(fields))
        return 0
    for name, value in fields.items():
        print(f"{name:13} {value:.2f}" if isinstance(value, float) else f"{name:13} {value}")
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


def demo(arguments: argparse.Namespace) -> int:
    """Open the demo page on loopback until it is interrupted."""
    load_page("speech")(_recognizer(arguments), arguments.port)
    return 0


def _add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """What decides a transcript: the same for every subcommand that asks the recogniser."""
    add_shared_options(parser, model="english", batch_size=8, beam=DecodingOptions().beam)
    parser.add_argument(
        "--grammar",
        type=Path,
        metavar="FILE",
        help="phrases, one a line, of which one is said in each recording; nothing else can come out",
    )


def _load(arguments: argparse.Namespace) -> tuple[Recognizer, DecodingOptions]:
    """The recogniser and the search that somebody asks for."""
    recognizer = _recognizer(arguments)
    options = DecodingOptions(beam=arguments.beam, grammar=arguments.grammar)
    recognizer.decoder(options)  # what cannot be used is said once, not for every recording
    return recognizer, options


def _recognizer(arguments: argparse.Namespace) -> Recognizer:
    """The recogniser that somebody asks for."""
    check_builds("torchaudio")
    from speech.recognizer import Recognizer

    return Recognizer.load(arguments.model, resolve_device(arguments.device), arguments.threads)


def _printer(format: str, alone: bool) -> Callable[[Job, Transcript], None]:
    """What prints transcripts on standard output."""

    def deliver(job: Job, transcript: Transcript) -> None:
        path = job.input.path
        if format == "json":
            print(as_json(transcript, path), flush=True)
        elif alone:
            print(transcript.text, flush=True)
        else:
            print(f"{path}\t{transcript.text}", flush=True)

    return deliver


if __name__ == "__main__":
    sys.exit(main())
