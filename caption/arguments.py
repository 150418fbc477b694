"""The arguments of the `caption` command: which subcommands there are, and what each can be told."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from caption.options import DescribeOptions, TrainOptions
from caption.output import writers
from caption.output.sidecars import EXISTING
from common.commands.cluster import add_engine_options
from common.commands.command import (
    add_average_options,
    add_batch_options,
    add_shared_options,
    add_subcommand,
    at_least,
    make_parser,
    positive,
    share,
)
from common.commands.options import add_options
from common.locations import location

if TYPE_CHECKING:
    from common.commands.command import Subcommands

_OUTPUT_HELP = (
    "txt: a folder, with one file a photograph, or a file for a single photograph; jsonl, csv, html: one "
    "file, to which photographs are added that it does not have yet; several formats: a folder for all; "
    "here or on an object store, where what has no suffix is a folder (s3://bucket/captions.jsonl). "
    "Without it captions are printed: alone for one photograph that is named, otherwise behind its path "
    "and a tab"
)


def make_caption_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser, subcommands = make_parser("caption", "Photographs become sentences, offline.")

    for add in (_add_describe, _add_search, _add_evaluate, _add_makers, _add_export, _add_demo):
        add(subcommands)
    return parser


def _add_describe(subcommands: Subcommands) -> None:
    """Photographs to captions."""
    one = add_subcommand(
        subcommands,
        "describe",
        "say what photographs show",
        "caption describe holiday/ --format jsonl --output captions.jsonl",
    )
    add_batch_options(one, kind="photographs", formats=writers.FORMATS, output=_OUTPUT_HELP)
    _add_destination_options(one)
    _add_decoding_options(one, batch_size=32)
    add_engine_options(one)


def _add_search(subcommands: Subcommands) -> None:
    """A sentence to photographs."""
    one = add_subcommand(
        subcommands,
        "search",
        "find photographs that a sentence describes",
        'caption search "a dog on a beach" holiday/ --limit 10',
    )
    one.add_argument("sentence", metavar="SENTENCE", help="what they show, in simple words")
    one.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="photographs, folders of them, or globs; none: all that the --index has",
    )
    one.add_argument(
        "--index",
        type=Path,
        metavar="FILE",
        help="keep in FILE what the network saw, so that the next search need not look again; it is made if "
        "it is not there, and brought up to date when photographs were added or changed",
    )
    one.add_argument("--limit", type=at_least(1), metavar="N", help="print the best N (all)")
    one.add_argument(
        "--scores",
        action="store_true",
        help="print in front of each path, with a tab between, how many nats a word the sentence fits better "
        "than it fits the others on average",
    )
    add_shared_options(one, model="photos", batch_size=16)


def _add_evaluate(subcommands: Subcommands) -> None:
    """Captions to scores."""
    one = add_subcommand(
        subcommands,
        "evaluate",
        "score captions against what people said",
        "caption evaluate flickr8k-dev.tsv --beam 3 --json",
    )
    one.add_argument(
        "manifest",
        type=location,
        help="TSV file with a header: path, caption; one row a reference; it and its paths may be URLs",
    )
    one.add_argument("--json", action="store_true", help="print the scores as one JSON object")
    one.add_argument(
        "--things", action="store_true", help="add how many of the everyday things that people name are named"
    )
    _add_decoding_options(one, batch_size=32)


def _add_makers(subcommands: Subcommands) -> None:
    """What trains and averages models."""
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


def _add_export(subcommands: Subcommands) -> None:
    """A model for other programs."""
    one = add_subcommand(
        subcommands,
        "export",
        "write the network as ONNX, for other programs",
        "caption export --model photos --output photos/",
    )
    one.add_argument(
        "--model", default="photos", help="bundled model or model directory to export (%(default)s)"
    )
    one.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where encoder.onnx and decoder.onnx are written (required)",
    )


def _add_demo(subcommands: Subcommands) -> None:
    """The page."""
    one = add_subcommand(subcommands, "demo", "open the page on this machine", "caption demo --port 7861")
    one.add_argument(
        "--port",
        type=at_least(1),
        metavar="N",
        help="port on which the page is served (the first that is free)",
    )
    _add_decoding_options(one, batch_size=1)


def _add_destination_options(parser: argparse.ArgumentParser) -> None:
    """Where else captions go: beside the photographs, into them, and onto sheets."""
    parser.add_argument(
        "--sidecar", action="store_true", help="write photo.txt beside each photo.jpg, in place of --output"
    )
    parser.add_argument(
        "--existing",
        choices=EXISTING,
        help="what becomes of a sidecar that is there; append and prepend join its words and the caption "
        "with a comma (skip)",
    )
    parser.add_argument(
        "--write-metadata",
        action="store_true",
        help="write captions into the photographs themselves (XMP description of JPEG, PNG, WebP), unless "
        "they have one or --overwrite is given; pixels and descriptions in other languages stay as they are",
    )
    parser.add_argument(
        "--even-read-only",
        action="store_true",
        help="with --write-metadata: write into photographs that are marked read-only, too",
    )
    parser.add_argument(
        "--attention",
        type=location,
        metavar="DIR",
        help="draw there, for each photograph, where the network looked for each word: NAME.attention.png",
    )


def _add_decoding_options(parser: argparse.ArgumentParser, batch_size: int) -> None:
    """What decides a caption: the same for every subcommand that asks the captioner."""
    defaults = DescribeOptions()
    add_shared_options(parser, model="photos", batch_size=batch_size, beam=defaults.beam)
    group = parser.add_argument_group("captions")
    group.add_argument(
        "--max-words",
        dest="most_words",
        type=at_least(1),
        default=defaults.most_words,
        metavar="N",
        help="cut captions off after N words (%(default)s)",
    )
    group.add_argument(
        "--min-words",
        dest="fewest_words",
        type=at_least(0),
        default=defaults.fewest_words,
        metavar="N",
        help="shortest caption (%(default)s)",
    )
    group.add_argument(
        "--length-power",
        type=positive,
        default=defaults.length_power,
        metavar="P",
        help="captions are ranked by log-probability / words ** P; higher favours long ones (%(default)s)",
    )
    group.add_argument(
        "--insist",
        type=float,
        default=defaults.insist,
        metavar="X",
        help="how much it weighs that the encoder believes to see what the likeliest caption leaves out; "
        "0 leaves it out (%(default)s)",
    )
    group.add_argument(
        "--doubt",
        type=share,
        default=defaults.doubt,
        metavar="P",
        help='a caption with less confidence says only "a photograph of a cat", if that much is sure '
        "(%(default)s)",
    )
    group.add_argument(
        "--prefix",
        default=defaults.prefix,
        metavar="WORDS",
        help='begin every caption with these words: "a photo of" (none)',
    )
    group.add_argument(
        "--no-repeat",
        type=at_least(0),
        default=defaults.no_repeat,
        metavar="N",
        help="let no N words in a row stand twice in a caption; 0 lets them (%(default)s)",
    )
    _add_drawing_options(group, defaults)


def _add_drawing_options(group: argparse._ArgumentGroup, defaults: DescribeOptions) -> None:
    """Captions that are drawn at random."""
    group.add_argument(
        "--nucleus",
        type=share,
        default=defaults.nucleus,
        metavar="P",
        help="draw captions at random instead of searching the likeliest: each word among the likeliest that "
        "together have probability P; of as many captions as --beam says, the best is kept; 0 searches "
        "(%(default)s)",
    )
    group.add_argument(
        "--temperature",
        type=positive,
        default=defaults.temperature,
        metavar="T",
        help="with --nucleus: above 1 draws unlikely words more often, below 1 less often (%(default)s)",
    )
    group.add_argument(
        "--seed",
        type=at_least(0),
        default=defaults.seed,
        metavar="N",
        help="with --nucleus: another number draws other captions (%(default)s)",
    )
