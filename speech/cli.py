"""The `speech` command: it parses, calls, prints, and computes nothing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from common.commands.batch import Outcome, run, write_outputs
from common.commands.command import check_builds, load_page, resolve_device, run_command
from common.commands.inputs import Input
from common.commands.outputs import Job
from common.commands.progress import Meter
from common.errors import InputError, shown
from common.files import write_whole
from speech.arguments import make_speech_parser
from speech.destinations import (
    chosen_formats,
    chosen_inputs,
    chosen_jobs,
    decoding_options,
    is_one_file,
    is_text_file,
    require_alignment_apart,
)
from speech.makers import MAKERS
from speech.options import STAGES, DecodingOptions
from speech.output.live import live_printer
from speech.output.writers import LINE_FORMATS, WRITERS, as_json

if TYPE_CHECKING:
    from tqdm import tqdm

    from speech.recognizer import Recognizer, WordHelpers
    from speech.sound.audio import AudioOptions
    from speech.transcript import Transcript

# Processes that recognise, unless somebody asks for more: each takes some 400 MB.
_MOST_PROCESSES = 4
_TOGETHER = (
    4  # recordings that a worker of a cluster gets at a time: short ones go through the network together
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    subcommands: dict[str, Callable[[argparse.Namespace], int]] = {
        "transcribe": transcribe,
        "listen": listen,
        "align": align,
        "evaluate": evaluate,
        "demo": demo,
        **MAKERS,
    }

    def run_subcommand() -> int:
        parsed = make_speech_parser().parse_args(arguments)
        return subcommands[parsed.subcommand](parsed)

    return run_command("speech", run_subcommand, sys.argv[1:] if arguments is None else arguments)


def transcribe(arguments: argparse.Namespace) -> int:
    """Transcribe recordings, and print or write what is said in them."""
    inputs = chosen_inputs(arguments)
    formats = chosen_formats(arguments, inputs)
    printing = arguments.output is None
    jobs = chosen_jobs(arguments, inputs, formats)
    on_cluster = arguments.engine == "ray"
    hours = None if on_cluster else Meter("h of sound")
    transcribed = _on_cluster(arguments, inputs) if on_cluster else partial(_transcribed, arguments, hours)

    def process(left: Sequence[Job]) -> Iterator[Outcome[Transcript]]:
        tried = list(left) if printing else left  # a job is told by what it is, not by what it says
        with closing(transcribed(tried)) as outcomes:
            yield from _in_order(tried, outcomes) if printing else outcomes

    def warnings(transcript: Transcript) -> list[str]:
        said, confidence = list(transcript.warnings), transcript.confidence
        if confidence is not None and confidence < arguments.least_confidence:
            reason = "the text is probably wrong; is it clear English speech?"
            said.append(f"mean confidence {confidence:.2f}: {reason}")
        return said

    summary = run(
        jobs,
        process,
        _printer(formats[0], is_one_file(arguments, inputs)) if printing else write_outputs(_render),
        command="speech",
        report=arguments.report,
        details={"duration": lambda transcript: f"{transcript.duration:.3f}"},
        warnings=warnings,
        partly=_is_partly,
        unit="recording",
        meter=hours,
        stages=STAGES,
    )
    return summary.exit_status


def _transcribed(
    arguments: argparse.Namespace, hours: Meter | None, jobs: Sequence[Job]
) -> Generator[Outcome[Transcript], None, None]:
    """Transcribe recordings in this process and its helpers."""
    recognizer, options = _load(arguments)
    if hours is not None and sys.stderr.isatty():
        Thread(target=_measure, args=(hours, jobs), daemon=True).start()
    with recognizer.helpers(_helpers(arguments), options) as helpers:
        yield from _outcomes(arguments, recognizer, options, jobs, hours, helpers)


def _outcomes(
    arguments: argparse.Namespace,
    recognizer: Recognizer,
    options: DecodingOptions,
    jobs: Sequence[Job],
    hours: Meter | None = None,
    helpers: WordHelpers | None = None,
) -> Generator[Outcome[Transcript], None, None]:
    """What a recogniser makes of each recording."""
    transcripts = recognizer.transcribe_all(
        (_recording(job.input.path) for job in jobs),
        options,
        arguments.batch_size,
        progress=None if hours is None else lambda seconds: hours.advance(seconds / 3600),
        helpers=helpers,
        audio=_audio(arguments),
    )
    with closing(transcripts):
        for number, result, stages in transcripts:
            yield Outcome(jobs[number], result, sum(stages.values()), stages)


def _on_cluster(
    arguments: argparse.Namespace, inputs: Sequence[Input]
) -> Callable[[Iterable[Job]], Generator[Outcome[Transcript], None, None]]:
    """What transcribes on a Ray cluster."""
    from common.commands.cluster import on_ray

    return on_ray(
        partial(_worker, arguments),
        _render,
        inputs,
        workers=arguments.workers,
        batch_size=_TOGETHER,
        on_gpus=arguments.device.startswith("cuda"),
    )


def _worker(arguments: argparse.Namespace) -> Callable[[Iterable[Job]], Iterable[Outcome[Transcript]]]:
    """What transcribes in a worker of a cluster, which has one core."""
    arguments.threads = 1
    return partial(_outcomes, arguments, *_load(arguments))


def _render(transcript: Transcript, path: str, format: str) -> str:
    """What a file of a format holds."""
    return WRITERS[format](transcript, path)


def listen(arguments: argparse.Namespace) -> int:
    """Print what is said while it is said, until standard input ends or somebody presses Ctrl-C."""
    recognizer, options = _load(arguments)
    from speech.stream import microphone, piped

    stream = recognizer.stream(options)
    live = live_printer()
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
    require_alignment_apart(arguments)
    if arguments.text is None:
        return _align_manifest(arguments)
    text = _read_text(Path(arguments.text)) if is_text_file(arguments.text) else arguments.text
    recording = _recording(arguments.recording)
    transcript = _recognizer(arguments).align(recording, text, arguments.batch_size, _audio(arguments))
    _print_or_write(WRITERS[arguments.format](transcript, arguments.recording), arguments.output)
    warnings = list(transcript.warnings)
    fits = transcript.score is None or transcript.score >= arguments.least_score
    if not fits:
        warnings.append(
            f"the text hardly fits the sound (score {transcript.score:.2f}); is it the right one?"
        )
    for warning in warnings:
        print(f"speech: {InputError(arguments.recording, warning)}", file=sys.stderr)
    return 1 if _is_partly(transcript) or (arguments.strict and not fits) else 0


def _is_partly(transcript: Transcript) -> bool:
    """Whether some of the recording could not be read."""
    from speech.sound.audio import is_lost

    return any(map(is_lost, transcript.warnings))


def _audio(arguments: argparse.Namespace) -> AudioOptions:
    """Which sound of the recordings somebody wants to be heard."""
    from speech.sound.audio import AudioOptions

    return AudioOptions(arguments.track, getattr(arguments, "channels", "mix") == "split")


def _align_manifest(arguments: argparse.Namespace) -> int:
    """Find the words of every recording of a manifest, and print or write it with them."""
    recognizer = _recognizer(arguments)
    from speech.measuring.word_times import with_word_times

    output: Path | None = arguments.output
    folder = Path() if output is None else output.parent
    with _bar() as bar:
        content, problems = with_word_times(
            recognizer, Path(arguments.recording), folder, arguments.batch_size, bar.update
        )
    for problem in problems:
        print(f"speech: {problem}", file=sys.stderr)
    _print_or_write(content, output)
    return 1 if problems else 0


def _print_or_write(content: str, output: Path | None) -> None:
    """Print a result, or write it whole."""
    if output is None:
        print(content, end="")
    else:
        write_whole(output, content)


def evaluate(arguments: argparse.Namespace) -> int:
    """Score a recogniser on a manifest, and print the scores."""
    recognizer, options = _load(arguments)
    helpers = _helpers(arguments)
    from speech.measuring.evaluate import evaluate as evaluate_recognizer
    from speech.measuring.evaluate import evaluate_live, evaluate_timing

    more: dict[str, object] = {}
    if arguments.timing:
        with _bar() as bar:
            more |= asdict(evaluate_timing(recognizer, arguments.manifest, arguments.batch_size, bar.update))
    if arguments.live:
        with _bar() as bar:
            more |= asdict(evaluate_live(recognizer, arguments.manifest, options, bar.update))
    with _bar() as bar:
        report = evaluate_recognizer(
            recognizer, arguments.manifest, options, arguments.batch_size, bar.update, helpers
        )
    fields = asdict(report) | more
    if arguments.json:
        print(json.dumps(fields))
        return 0
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name:{width}} {value:.2f}" if isinstance(value, float) else f"{name:{width}} {value}")
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Open the demo page on loopback until it is interrupted."""
    open_page = load_page("speech")
    print("speech: reading the model ...", file=sys.stderr, flush=True)
    recognizer, options = _load(arguments)
    print("speech: starting the page ...", file=sys.stderr, flush=True)
    open_page(recognizer, options, arguments.port)
    return 0


def _bar() -> tqdm:
    """The progress bar over recordings; it shows nothing but on a terminal."""
    from tqdm import tqdm

    return tqdm(unit="recording", disable=not sys.stderr.isatty())


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
    from speech.sound.segments import recording_seconds

    for job in jobs:  # what lies behind a URL is not fetched for it
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


def _load(arguments: argparse.Namespace) -> tuple[Recognizer, DecodingOptions]:
    """The recogniser and the search that somebody asks for."""
    options = decoding_options(arguments)  # what cannot be meant is said before anything is loaded
    recognizer = _recognizer(arguments)
    recognizer.finder.decoder(options)  # what cannot be used is said once, not for every recording
    return recognizer, options


def _recognizer(arguments: argparse.Namespace) -> Recognizer:
    """The recogniser that somebody asks for."""
    check_builds("torchaudio")
    from speech.recognizer import Recognizer

    return Recognizer.load(
        arguments.model,
        resolve_device(arguments.device),
        arguments.threads,
        arguments.language_model,
        arguments.exact,
    )


def _helpers(arguments: argparse.Namespace) -> int:
    """How many processes recognise beside this one; each works with one core.

    Several threads in one process are no faster, because the search is Python.
    """
    import torch

    processes = arguments.threads or min(torch.get_num_threads(), _MOST_PROCESSES)
    torch.set_num_threads(1)
    return processes - 1


def _printer(format: str, alone: bool) -> Callable[[Job, Transcript], None]:
    """What prints transcripts on standard output."""

    def deliver(job: Job, transcript: Transcript) -> None:
        path = job.input.path
        if format == "json":
            print(as_json(transcript, path), flush=True)
        elif format not in LINE_FORMATS or alone:
            print(WRITERS[format](transcript, path), end="", flush=True)
        else:
            print(f"{shown(path)}\t{transcript.text}", flush=True)

    return deliver


if __name__ == "__main__":
    sys.exit(main())
