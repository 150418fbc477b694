"""The `caption` command: it parses, calls, prints, and computes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from caption import writers
from caption.options import DescribeOptions, TrainOptions
from caption.sidecars import EXISTING, plan_sidecars, write_sidecars
from common.batch import Job, Outcome, in_batches, plan_outputs, run, write_outputs
from common.command import (
    add_batch_options,
    add_shared_options,
    add_subcommand,
    at_least,
    check_builds,
    load_page,
    make_parser,
    positive,
    resolve_device,
    run_command,
    share,
)
from common.errors import InputError
from common.inputs import Input, collect_inputs
from common.options import add_options, read_options

if TYPE_CHECKING:
    from torch import Tensor

    from caption.captioner import Caption, Captioner

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff", ".ppm")

OUTPUT_HELP = (
    "txt: a folder, with one file a photograph, or a file for a single photograph; jsonl, csv, html: one "
    "file, to which photographs are added that it does not have yet; several formats: a folder for all. "
    "Without it captions are printed: alone for one photograph that is named, otherwise behind its path "
    "and a tab"
)

# Photographs are decoded in this many threads while the network describes those before.
LOADERS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    subcommands: dict[str, Callable[[argparse.Namespace], int]] = {
        "describe": describe,
        "search": search,
        "evaluate": evaluate,
        "train": train,
        "demo": demo,
    }

    def run_subcommand() -> int:
        parsed = make_caption_parser().parse_args(arguments)
        return subcommands[parsed.subcommand](parsed)

    return run_command("caption", run_subcommand)


def make_caption_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser, subcommands = make_parser("caption", "Photographs become sentences, offline.")

    one = add_subcommand(
        subcommands,
        "describe",
        "say what photographs show",
        "caption describe holiday/ --format jsonl --output captions.jsonl",
    )
    add_batch_options(one, kind="photographs", formats=writers.FORMATS, output=OUTPUT_HELP)
    one.add_argument(
        "--sidecar", action="store_true", help="write a .txt beside each photograph (in place of --output)"
    )
    one.add_argument(
        "--existing",
        choices=EXISTING,
        help="what happens to a sidecar that is there: tags and captions are joined with a comma (skip)",
    )
    one.add_argument(
        "--attention", type=Path, metavar="DIR", help="draw there, for each word, where it looked (PNG)"
    )
    _add_decoding_options(one, batch_size=16)

    one = add_subcommand(
        subcommands,
        "search",
        "find photographs that a sentence describes",
        'caption search "a dog on a beach" holiday/ --limit 10',
    )
    one.add_argument("sentence", metavar="SENTENCE", help="what they show, in simple words")
    one.add_argument("inputs", nargs="+", metavar="INPUT", help="photographs, folders of them, or globs")
    one.add_argument("--limit", type=at_least(1), metavar="N", help="print the best N (all)")
    one.add_argument(
        "--scores", action="store_true", help="print how many nats a word better than the mean, and a tab"
    )
    add_shared_options(one, model="photos", batch_size=16)

    one = add_subcommand(
        subcommands,
        "evaluate",
        "score captions against what people said",
        "caption evaluate flickr8k-dev.tsv --beam 3 --json",
    )
    one.add_argument("manifest", type=Path, help="TSV file: path, caption; one row a reference")
    one.add_argument("--json", action="store_true", help="print one JSON object")
    one.add_argument("--java", action="store_true", help="add METEOR and SPICE where Java and they are found")
    _add_decoding_options(one, batch_size=32)

    one = add_subcommand(
        subcommands,
        "train",
        "train a captioner, or go on where the run stands",
        "caption train --train train.tsv --dev dev.tsv --run runs/photos",
    )
    add_options(one, TrainOptions)

    one = add_subcommand(subcommands, "demo", "open the page on this machine", "caption demo --port 7861")
    one.add_argument("--port", type=at_least(1), metavar="N", help="of the page (the first that is free)")
    _add_decoding_options(one, batch_size=1)
    return parser


def describe(arguments: argparse.Namespace) -> int:
    """Describe photographs, and print or write their captions."""
    inputs = collect_inputs(arguments.inputs, SUFFIXES, "photographs", arguments.list)
    if not inputs:
        raise InputError("describe", "nothing to do: name photographs, folders, globs or a --list")
    load = functools.cache(lambda: _load(arguments))  # not before something is left to do
    jobs, deliver = _destination(arguments, inputs)
    if arguments.attention is not None:
        jobs, deliver = _with_attention(arguments, jobs, deliver, lambda: load()[0])

    def process(left: Iterable[Job]) -> Iterator[Outcome[Caption]]:
        captioner, options = load()
        from caption.images import load_image

        def answer(pictures: list[Tensor]) -> list[Caption]:
            return captioner.describe_batch(pictures, options)

        yield from in_batches(load_image, answer, arguments.batch_size, LOADERS)(left)

    summary = run(jobs, process, deliver, command="caption", report=arguments.report, unit="photo")
    return summary.exit_status


def search(arguments: argparse.Namespace) -> int:
    """Find photographs that a sentence describes, and print their paths, best first."""
    inputs = collect_inputs(arguments.inputs, SUFFIXES, "photographs")
    captioner = _captioner(arguments)
    from caption.images import load_image

    unknown = captioner.unknown_words(arguments.sentence)
    if unknown:
        print(f"caption: never learned and passed over: {', '.join(unknown)}", file=sys.stderr)
    found: list[tuple[float, str]] = []

    def answer(pictures: list[Tensor]) -> list[float]:
        return captioner.log_likelihoods(arguments.sentence, pictures)

    answer([])  # a sentence without a known word is said once, not for every photograph
    summary = run(
        [Job(one) for one in inputs],
        in_batches(load_image, answer, arguments.batch_size, LOADERS),
        lambda job, score: found.append((score, job.input.path)),
        command="caption",
        unit="photo",
    )
    mean = sum(score for score, _ in found) / max(1, len(found))
    for score, path in sorted(found, key=lambda one: -one[0])[: arguments.limit]:
        print(f"{score - mean:+.3f}\t{path}" if arguments.scores else path)
    return summary.exit_status


def evaluate(arguments: argparse.Namespace) -> int:
    """Score a captioner on a manifest, and print the scores."""
    captioner, options = _load(arguments)
    from tqdm import tqdm

    from caption.evaluate import evaluate as evaluate_captioner

    with tqdm(unit="photo", disable=not sys.stderr.isatty()) as bar:
        report = evaluate_captioner(
            captioner, arguments.manifest, options, arguments.batch_size, bar.update, arguments.java
        )
    fields = {name: value for name, value in dataclasses.asdict(report).items() if value is not None}
    if arguments.json:
        print(json.dumps(fields))
        return 0
    for name, value in fields.items():
        print(f"{name:10} {value:.1f}" if isinstance(value, float) else f"{name:10} {value}")
    return 0


def train(arguments: argparse.Namespace) -> int:
    """Train a captioner."""
    check_builds("torchvision")
    from caption.train import train as train_captioner

    options = read_options(TrainOptions, arguments)
    train_captioner(options)
    print(options.run / "best")
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Open the demo page on loopback until it is interrupted."""
    captioner, options = _load(arguments)
    load_page("caption")(captioner, options, arguments.port)
    return 0


def _add_decoding_options(parser: argparse.ArgumentParser, batch_size: int) -> None:
    """What decides a caption: the same for every subcommand that asks the captioner."""
    defaults = DescribeOptions()
    add_shared_options(parser, model="photos", batch_size=batch_size, beam=defaults.beam)
    parser.add_argument(
        "--max-words",
        type=at_least(1),
        default=defaults.most_words,
        metavar="N",
        help="longest caption (%(default)s)",
    )
    parser.add_argument("--prefix", default="", metavar="WORDS", help='begin every caption so: "a photo of"')
    parser.add_argument(
        "--no-repeat",
        type=at_least(0),
        default=defaults.no_repeat,
        metavar="N",
        help="no N words in a row twice in a caption, 0 allows it (%(default)s)",
    )
    parser.add_argument(
        "--nucleus",
        type=share,
        default=defaults.nucleus,
        metavar="P",
        help="draw each word among the likeliest that together have probability P, and keep the best of as "
        "many captions as the beam is wide; 0 searches instead (%(default)s)",
    )
    parser.add_argument(
        "--temperature",
        type=positive,
        default=defaults.temperature,
        metavar="T",
        help="of the draws; higher is bolder (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=defaults.seed, metavar="N", help="of the draws (%(default)s)"
    )


def _load(arguments: argparse.Namespace) -> tuple[Captioner, DescribeOptions]:
    """The captioner and the search that somebody asks for."""
    options = DescribeOptions(
        beam=arguments.beam,
        most_words=arguments.max_words,
        prefix=arguments.prefix,
        no_repeat=arguments.no_repeat,
        nucleus=arguments.nucleus,
        temperature=arguments.temperature,
        seed=arguments.seed,
    )
    return _captioner(arguments), options


def _captioner(arguments: argparse.Namespace) -> Captioner:
    """The captioner that somebody asks for."""
    check_builds("torchvision")
    from caption.captioner import Captioner

    return Captioner.load(arguments.model, resolve_device(arguments.device), arguments.threads)


def _destination(
    arguments: argparse.Namespace, inputs: Sequence[Input]
) -> tuple[list[Job], Callable[[Job, Caption], None]]:
    """What is still to be done, and how a caption gets to where it belongs."""
    output: Path | None = arguments.output
    if arguments.sidecar:
        return _sidecars(arguments, inputs)
    if arguments.existing is not None:
        raise InputError("--existing", "says what happens to sidecars: add --sidecar")
    formats = _formats(arguments.formats, output)
    if output is None:
        if len(formats) > 1:
            raise InputError("--format", "several formats need a folder to go to: add --output FOLDER")
        return [Job(one) for one in inputs], _printer(formats[0], alone=_is_one_file(arguments, inputs))
    folder = len(formats) > 1 or output.is_dir()
    tables = {
        format: writers.CaptionTable(
            output / f"captions.{format}" if folder else output, format, arguments.overwrite
        )
        for format in formats
        if format in writers.TABLES
    }
    jobs = [Job(one, done=True) for one in inputs]
    if "txt" in formats:
        jobs = _text_jobs(arguments, inputs, output)
    jobs = [dataclasses.replace(job, done=job.done and _is_in(job, tables.values())) for job in jobs]

    def render(caption: Caption, path: str, format: str) -> str:
        return writers.as_text(caption)

    write_text = write_outputs(render)

    def deliver(job: Job, caption: Caption) -> None:
        write_text(job, caption)
        for table in tables.values():
            if job.input.path not in table.paths:
                table.add(job.input.path, caption)

    return jobs, deliver


def _sidecars(
    arguments: argparse.Namespace, inputs: Sequence[Input]
) -> tuple[list[Job], Callable[[Job, Caption], None]]:
    """The sidecars that are still to be written."""
    if arguments.output is not None or arguments.formats is not None:
        raise InputError("--sidecar", "goes beside each photograph, as text: leave out --output and --format")
    existing = arguments.existing or ("overwrite" if arguments.overwrite else "skip")
    if arguments.overwrite and existing != "overwrite":
        raise InputError("--overwrite", f"does not go with --existing {existing}")
    return plan_sidecars(inputs, existing), write_sidecars(existing)


def _with_attention(
    arguments: argparse.Namespace,
    jobs: Sequence[Job],
    deliver: Callable[[Job, Caption], None],
    load: Callable[[], Captioner],
) -> tuple[list[Job], Callable[[Job, Caption], None]]:
    """The same jobs and delivery, and a sheet with attention maps for each photograph beside it."""
    plan = plan_outputs([job.input for job in jobs], arguments.attention, ["png"], arguments.overwrite)
    sheets = {job.input.path: job for job in plan}

    def render(caption: Caption, path: str, format: str) -> bytes:
        from caption.attention import draw
        from caption.images import open_image

        image, sheet = open_image(path), io.BytesIO()
        draw(image, load().glances(image, caption.text)).save(sheet, format)
        return sheet.getvalue()

    write_sheet = write_outputs(render)

    def both(job: Job, caption: Caption) -> None:
        deliver(job, caption)
        write_sheet(sheets[job.input.path], caption)

    return [dataclasses.replace(job, done=job.done and sheets[job.input.path].done) for job in jobs], both


def _formats(asked: Sequence[str] | None, output: Path | None) -> list[str]:
    """The formats that are meant, each once: those asked for, or the output's suffix, or txt."""
    if asked:
        return list(dict.fromkeys(asked))
    suffix = output.suffix.lower().removeprefix(".") if output is not None and not output.is_dir() else ""
    return [suffix if suffix in writers.FORMATS else "txt"]


def _text_jobs(arguments: argparse.Namespace, inputs: Sequence[Input], output: Path) -> list[Job]:
    """The text files that are still to be written."""
    if output.suffix.lower() != ".txt" or output.is_dir():
        return plan_outputs(inputs, output, ["txt"], arguments.overwrite)
    if not _is_one_file(arguments, inputs):
        reason = "txt is one file a photograph; name a folder, or take --format jsonl or csv"
        raise InputError(output, reason)
    left = {"txt": output} if arguments.overwrite or not output.exists() else {}
    return [Job(inputs[0], left, done=not left)]


def _is_in(job: Job, tables: Iterable[writers.CaptionTable]) -> bool:
    """Whether all tables have a photograph."""
    return all(job.input.path in table.paths for table in tables)


def _is_one_file(arguments: argparse.Namespace, inputs: Sequence[Input]) -> bool:
    """Whether somebody named one photograph, and no folder, glob or list that could have held more."""
    return arguments.inputs == [inputs[0].path] and not arguments.list


def _printer(format: str, alone: bool) -> Callable[[Job, Caption], None]:
    """What prints captions on standard output."""
    print(writers.header(format), end="")

    def deliver(job: Job, caption: Caption) -> None:
        path = job.input.path
        if format == "txt":
            text = writers.as_text(caption) if alone else writers.as_named_text(path, caption)
        else:
            text = writers.as_row(format, path, caption)
        print(text, end="", flush=True)

    return deliver


if __name__ == "__main__":
    sys.exit(main())
