"""What can be said to the `speech` command: its subcommands and their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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
from common.commands.options import add_options, field_docs, shown_value
from common.locations import location
from speech.language.options import CountOptions, LanguageModelOptions
from speech.options import DecodingOptions, TrainOptions
from speech.output.writers import WRITERS

if TYPE_CHECKING:
    from common.commands.command import Subcommands

OUTPUT_HELP = (
    "folder for the transcripts, one file a recording and format, in the same folders as the recordings, or "
    "a file for a single recording (talk.srt), here or on an object store (s3://bucket/folder/); without it "
    "they are printed: alone for one recording, otherwise behind its path and a tab"
)


# Of a recording with a lower mean confidence, the text is probably wrong.
LEAST_CONFIDENCE = 0.3

# A text with a lower score does not belong to the recording, or only in part.
LEAST_SCORE = 0.4


def make_speech_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser, subcommands = make_parser("speech", "Recordings become text, offline.")

    for add in (
        _add_transcribe,
        _add_listen,
        _add_align,
        _add_evaluate,
        _add_makers,
        _add_export,
        _add_generate,
        _add_demo,
    ):
        add(subcommands)
    return parser


def _add_transcribe(subcommands: Subcommands) -> None:
    """Recordings to text."""
    one = add_subcommand(
        subcommands,
        "transcribe",
        "write down what is said in recordings; - is one on standard input",
        "speech transcribe interviews/ --format txt,json --output transcripts/",
    )
    add_batch_options(one, kind="recordings", formats=tuple(WRITERS), output=OUTPUT_HELP)
    group = _add_track_option(one)
    group.add_argument(
        "--channels",
        choices=("mix", "split"),
        default="mix",
        help="mix: hear all channels together; split: hear each on its own, where each has a speaker of its "
        "own (%(default)s)",
    )
    one.add_argument(
        "--least-confidence",
        type=share,
        default=LEAST_CONFIDENCE,
        metavar="X",
        help="warn of a recording whose words are less sure than this on average, because its text is "
        "probably wrong: music, noise, another language (%(default)s; 0 never warns)",
    )
    _add_decoding_options(one)
    add_engine_options(one)


def _add_listen(subcommands: Subcommands) -> None:
    """The microphone, or a pipe, to text."""
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
        help="sound on standard input: a file (mp3, wav, ogg ...), or raw sound, 16-bit little-endian mono "
        "at 16 kHz, as it comes from `arecord -t raw -f S16_LE -r 16000`; without it, the microphone",
    )
    _add_decoding_options(one)


def _add_align(subcommands: Subcommands) -> None:
    """A known text to times."""
    one = add_subcommand(
        subcommands,
        "align",
        "find when each word of a known text is said",
        "speech align interview.mp3 interview.txt --format json --output interview.json",
    )
    one.add_argument(
        "recording",
        metavar="RECORDING",
        help="of any length; - is standard input. Without a TEXT it is a manifest (TSV: path, text), which "
        "comes out with a column more: words, a JSON list of [word, start, end]",
    )
    one.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        help="what is said in it: a file that holds the words, if there is one of that name, otherwise the "
        "words themselves",
    )
    one.add_argument("--format", choices=tuple(WRITERS), default="json", help="of the result (%(default)s)")
    one.add_argument("--output", type=Path, metavar="FILE", help="where the result goes (standard output)")
    one.add_argument(
        "--least-score",
        type=share,
        default=LEAST_SCORE,
        metavar="X",
        help="warn if the text fits the sound less well than this, from 0 to 1 (%(default)s)",
    )
    one.add_argument("--strict", action="store_true", help="exit with status 1 if it does")
    _add_track_option(one)
    _add_model_options(one)
    one.set_defaults(language_model=None)  # what is said is known


def _add_evaluate(subcommands: Subcommands) -> None:
    """Transcripts to scores."""
    one = add_subcommand(
        subcommands,
        "evaluate",
        "score transcripts against what was said",
        "speech evaluate dev.tsv --json",
    )
    one.add_argument("manifest", type=location, help="TSV file: path, text; it and its paths may be URLs")
    one.add_argument("--json", action="store_true", help="print one JSON object")
    one.add_argument(
        "--timing",
        action="store_true",
        help="also print how far from their true times (column words) the true words are placed",
    )
    one.add_argument(
        "--live",
        action="store_true",
        help="also print how late their words stand there when they are heard while they are said",
    )
    _add_decoding_options(one)


def _add_makers(subcommands: Subcommands) -> None:
    """What trains, counts and averages models."""
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
        "count-lm",
        "count a language model of n-grams: minutes where training takes hours",
        "speech count-lm --text sentences.txt.xz:2 novels.txt --model runs/first/best --output runs/words",
    )
    add_options(one, CountOptions)

    one = add_subcommand(
        subcommands,
        "average",
        "write the mean of several models of one shape, often better than each",
        "speech average runs/first/best runs/second/best --shares 0.7 0.3 --output runs/mean",
    )
    add_average_options(one)


def _add_export(subcommands: Subcommands) -> None:
    """A model for other programs."""
    one = add_subcommand(
        subcommands,
        "export",
        "write the network as ONNX, for other programs",
        "speech export --model english --output english.onnx",
    )
    one.add_argument("--model", default="english", help="bundled model or model directory (%(default)s)")
    one.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="where the graph goes (required)"
    )
    one.add_argument("--int8", action="store_true", help="in 8 bits: a third of the size, twice as fast")
    one.add_argument(
        "--check",
        type=Path,
        metavar="MANIFEST",
        help="run the file on these recordings, greedily, and print its word error rate",
    )


def _add_generate(subcommands: Subcommands) -> None:
    """A language model writes."""
    one = add_subcommand(
        subcommands,
        "generate",
        "let the language model write on from a beginning",
        'speech generate --prompt "the old man" --count 3 --top-p 0.9',
    )
    one.add_argument("--prompt", default="", metavar="TEXT", help="the beginning (none)")
    one.add_argument("--count", type=at_least(1), default=1, metavar="N", help="texts (%(default)s)")
    one.add_argument("--words", type=at_least(1), default=30, metavar="N", help="at most (%(default)s)")
    one.add_argument(
        "--temperature",
        type=positive,
        default=1.0,
        metavar="X",
        help="below 1 the likely comes more often, above 1 the unlikely (%(default)s)",
    )
    one.add_argument(
        "--top-p",
        type=share,
        default=1.0,
        metavar="X",
        help="draw only among the likeliest words that together have this probability (%(default)s)",
    )
    one.add_argument("--seed", type=at_least(0), metavar="N", help="the same texts each time (others)")
    one.add_argument("--model", default="english", help="bundled model or model directory (%(default)s)")
    one.add_argument(
        "--language-model", type=Path, metavar="DIR", help="language model directory (that of the model)"
    )


def _add_demo(subcommands: Subcommands) -> None:
    """The page."""
    one = add_subcommand(subcommands, "demo", "open the page on this machine", "speech demo --port 7860")
    one.add_argument(
        "--port", type=at_least(1), metavar="N", help="port of the page (the first that is free)"
    )
    _add_decoding_options(one)


def _add_track_option(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Which sound track is heard."""
    group = parser.add_argument_group("sound")
    group.add_argument(
        "--track",
        type=at_least(1),
        metavar="N",
        help="the sound track of a video that is heard, from 1 (the one marked as default or, if that is "
        "silent, the first with sound)",
    )
    return group


def _add_model_options(parser: argparse.ArgumentParser, beam: int | None = None) -> None:
    """What every subcommand with a recogniser can be told about it."""
    add_shared_options(parser, model="english", batch_size=32, beam=beam)
    parser.add_argument(
        "--exact",
        action="store_true",
        help="run the network in float32 also where the processor is much faster in bfloat16: the same "
        "everywhere, and no better",
    )


def _add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """What decides a transcript: the same for every subcommand that asks the recogniser."""
    defaults, explained = DecodingOptions(), field_docs(DecodingOptions)
    _add_model_options(parser, beam=defaults.beam)
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
            default=argparse.SUPPRESS,  # else argparse shows it a second time
            help=f"{explained[name]} ({shown_value(default)})",
        )
        parser.set_defaults(**{name: default})
    for name in ("hotword_boost", "prior_weight", "lm_weight", "judge_share", "phone_share", "word_bonus"):
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=float,
            default=getattr(defaults, name),
            metavar="X",
            help=f"{explained[name]} (%(default)s)",
        )
