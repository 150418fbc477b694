"""The `caption` command: it parses, calls, prints, and computes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from caption import writers
from caption.destinations import destination, with_attention, with_metadata
from caption.options import LOADERS, DescribeOptions, TrainOptions
from caption.sidecars import EXISTING
from common.batch import Job, Outcome, in_batches, run
from common.command import (
    add_average_options,
    add_batch_options,
    add_shared_options,
    add_subcommand,
    at_least,
    check_builds,
    keep_memory,
    load_page,
    make_parser,
    positive,
    resolve_device,
    run_command,
    share,
)
from common.errors import InputError
from common.inputs import collect_inputs
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    subcommands: dict[str, Callable[[argparse.Namespace], int]] = {
        "describe": describe,
        "search": search,
        "evaluate": evaluate,
        "train": train,
        "average": average,
        "export": export,
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
        "--write-metadata",
        action="store_true",
        help="write captions into the photographs themselves (XMP description of JPEG, PNG, WebP), unless "
        "they have one or --overwrite is given; pixels stay as they are",
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

    one = add_subcommand(
        subcommands,
        "average",
        "write the mean of several models of one shape, often better than each",
        "caption average runs/first/best runs/second/best --shares 0.4 0.6 --output runs/mean",
    )
    add_average_options(one)

    one = add_subcommand(
        subcommands,
        "export",
        "write the network as ONNX, for other programs",
        "caption export --model photos --output photos/",
    )
    one.add_argument("--model", default="photos", help="bundled model or model directory (%(default)s)")
    one.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="for encoder.onnx and decoder.onnx"
    )

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
    jobs, deliver = destination(arguments, inputs)
    if arguments.attention is not None:
        jobs, deliver = with_attention(arguments, jobs, deliver, lambda: load()[0])
    if arguments.write_metadata:
        jobs, deliver = with_metadata(arguments, jobs, deliver)

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


def average(arguments: argparse.Namespace) -> int:
    """Write the mean of several models."""
    check_builds("torchvision")
    from caption.captioner import BUNDLED
    from common.averaging import average as average_models

    average_models(arguments.models, arguments.shares, arguments.output, BUNDLED, "Captioner")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write a captioner's network as ONNX."""
    check_builds("torchvision")
    from caption.captioner import Captioner
    from caption.export import export as export_network

    export_network(Captioner.load(arguments.model, in_8_bits=False).network, arguments.output)
    print(arguments.output)
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
        dest="most_words",
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
    captioner, options = _captioner(arguments), read_options(DescribeOptions, arguments)
    captioner.describe_batch(
        [], options
    )  # a prefix that it cannot say is said once, not for every photograph
    return captioner, options


def _captioner(arguments: argparse.Namespace) -> Captioner:
    """The captioner that somebody asks for."""
    check_builds("torchvision")
    keep_memory()
    from caption.captioner import Captioner

    return Captioner.load(arguments.model, resolve_device(arguments.device), arguments.threads)


if __name__ == "__main__":
    sys.exit(main())
