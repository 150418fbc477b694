"""The `caption` command: it parses, calls, prints, and computes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from caption.arguments import make_caption_parser
from caption.bundled import BUNDLED
from caption.destinations import as_text, check_report, destination, with_attention, with_metadata
from caption.options import (
    LOADERS,
    MOST_BATCH,
    MOST_BEAM,
    MOST_HYPOTHESES,
    STAGES,
    DescribeOptions,
    TrainOptions,
)
from caption.sources import Pictures, collect_photographs
from common.commands.batch import Outcome, in_batches, run
from common.commands.command import (
    check_builds,
    keep_memory,
    load_page,
    resolve_device,
    run_command,
)
from common.commands.inputs import Input
from common.commands.messages import say
from common.commands.options import read_options
from common.commands.outputs import Job
from common.commands.paths import require_apart, require_models_apart
from common.errors import InputError, shown
from common.files import require_writable
from common.stores import is_url

if TYPE_CHECKING:
    from torch import Tensor

    from caption.captioner import Caption, Captioner


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

    return run_command("caption", run_subcommand, sys.argv[1:] if arguments is None else arguments)


def describe(arguments: argparse.Namespace) -> int:
    """Describe photographs, and print or write their captions."""
    _check_sizes(arguments)
    inputs, pictures = collect_photographs(arguments.inputs, arguments.list), Pictures()
    if not inputs:
        raise InputError("describe", "nothing to do: name photographs, folders, globs or a --list")
    check_report(arguments, inputs)
    with ExitStack() as stack:
        return _described(arguments, inputs, pictures, stack)


def _described(
    arguments: argparse.Namespace, inputs: Sequence[Input], pictures: Pictures, stack: ExitStack
) -> int:
    """Describe what is left to be described; `stack` closes what is written to. The exit status."""
    load = functools.cache(lambda: _load(arguments))  # not before something is left to do
    jobs, deliver = destination(arguments, inputs, pictures, stack)
    if arguments.attention is not None:
        jobs, deliver = with_attention(arguments, jobs, deliver, pictures, lambda: load()[0])
    if arguments.write_metadata:
        jobs, deliver = with_metadata(arguments, jobs, deliver)
    elif arguments.even_read_only:
        raise InputError("--even-read-only", "says which photographs are written into: add --write-metadata")

    def here(left: Iterable[Job]) -> Iterator[Outcome[Caption]]:
        yield from _describing(*load(), arguments.batch_size, pictures)(left)

    process = _on_cluster(arguments, inputs) if arguments.engine == "ray" else here

    def deliver_or_say(job: Job, caption: Caption) -> None:
        if not caption.text and not caption.confidence:
            say("caption", _NOTHING_SEEN, event="warning", path=job.input.path)
        deliver(job, caption)

    summary = run(
        jobs,
        process,
        deliver_or_say,
        command="caption",
        report=arguments.report,
        unit="photo",
        stages=STAGES,
    )
    return summary.exit_status


def _describing(
    captioner: Captioner, options: DescribeOptions, batch_size: int, pictures: Pictures
) -> Callable[[Iterable[Job]], Iterator[Outcome[Caption]]]:
    """What describes the photographs of jobs."""
    from caption.images import load_image

    def read(path: str) -> Tensor:
        return load_image(pictures.open(path))

    def answer(batch: list[Tensor]) -> list[Caption]:
        return captioner.describe_batch(batch, options)

    return in_batches(read, answer, batch_size, LOADERS)


def _on_cluster(
    arguments: argparse.Namespace, inputs: Sequence[Input]
) -> Callable[[Iterable[Job]], Iterator[Outcome[Caption]]]:
    """What describes on a Ray cluster; its workers write text files, all else is written here."""
    from common.commands.cluster import on_ray

    return on_ray(
        functools.partial(_worker, arguments),
        None if arguments.sidecar else as_text,
        inputs,
        workers=arguments.workers,
        batch_size=arguments.batch_size,
        on_gpus=arguments.device.startswith("cuda"),
    )


def _worker(arguments: argparse.Namespace) -> Callable[[Iterable[Job]], Iterator[Outcome[Caption]]]:
    """What describes in a worker of a cluster, which has one core."""
    arguments.threads = 1
    return _describing(*_load(arguments), arguments.batch_size, Pictures())


_NOTHING_SEEN = "is of one colour and shows nothing; its caption is empty"


def search(arguments: argparse.Namespace) -> int:
    """Find photographs that a sentence describes, and print their paths, best first."""
    _check_sizes(arguments)
    inputs = collect_photographs(arguments.inputs)
    if arguments.index is not None:
        if any(is_url(one.path) for one in inputs):
            raise InputError("--index", "keeps what photographs of this machine show; leave it out for URLs")
        require_apart((one.path for one in inputs), [arguments.index])
        if not arguments.index.exists():
            require_writable(arguments.index.parent)
    elif not inputs:
        raise InputError("search", "nothing to search: name photographs, folders, globs or an --index")
    captioner = _captioner(arguments)
    from caption import search as searching

    unknown = captioner.unknown_words(arguments.sentence)
    if unknown:
        print(f"caption: never learned and passed over: {', '.join(unknown)}", file=sys.stderr)
    if arguments.index is None:
        found, summary = searching.search(captioner, arguments.sentence, inputs, arguments.batch_size)
    else:
        identity = searching.model_identity(arguments.model)
        with searching.SceneIndex(arguments.index, identity) as index:
            found, summary = searching.search_index(
                captioner, arguments.sentence, inputs or index.photographs(), arguments.batch_size, index
            )
    mean = sum(score for score, _ in found) / max(1, len(found))
    for score, path in sorted(found, key=lambda one: -one[0])[: arguments.limit]:
        print(f"{score - mean:+.3f}\t{shown(path)}" if arguments.scores else shown(path))
    return summary.exit_status


def evaluate(arguments: argparse.Namespace) -> int:
    """Score a captioner on a manifest, and print the scores."""
    _check_sizes(arguments)
    captioner, options = _load(arguments)
    from tqdm import tqdm

    from caption.measuring.evaluate import evaluate as evaluate_captioner

    with tqdm(unit="photo", disable=not sys.stderr.isatty()) as bar:
        report = evaluate_captioner(
            captioner,
            arguments.manifest,
            options,
            arguments.batch_size,
            bar.update,
            arguments.things,
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
    from caption.training.train import train as train_captioner

    options = read_options(TrainOptions, arguments)
    require_writable(options.run)
    train_captioner(options)
    print(options.run / "best")
    return 0


def average(arguments: argparse.Namespace) -> int:
    """Write the mean of several models."""
    check_builds("torchvision")
    from common.models.averaging import average as average_models

    require_models_apart(arguments.models, BUNDLED, arguments.output)
    require_writable(arguments.output.parent)
    average_models(
        arguments.models, arguments.shares, arguments.output, BUNDLED, "Captioner", arguments.storage
    )
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write a captioner's network as ONNX."""
    check_builds("torchvision")
    from caption.captioner import Captioner
    from caption.export import DECODER, ENCODER
    from caption.export import export as export_network

    require_models_apart([arguments.model], BUNDLED, arguments.output / ENCODER, arguments.output / DECODER)
    require_writable(arguments.output)
    export_network(Captioner.load(arguments.model, in_8_bits=False).network, arguments.output)
    print(arguments.output)
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Open the demo page on loopback until it is interrupted."""
    _check_sizes(arguments)
    open_page = load_page("caption")
    print("caption: reading the model ...", file=sys.stderr, flush=True)
    captioner, options = _load(arguments)
    print("caption: starting the page ...", file=sys.stderr, flush=True)
    open_page(captioner, options, arguments.port)
    return 0


def _check_sizes(arguments: argparse.Namespace) -> None:
    """Refuse a search that would take gigabytes, before anything is loaded."""
    beam, batch_size = getattr(arguments, "beam", 1), arguments.batch_size
    if beam > MOST_BEAM:
        raise InputError("--beam", f"{beam} is more than {MOST_BEAM}; a wider beam finds no better captions")
    if batch_size > MOST_BATCH:
        raise InputError("--batch-size", f"{batch_size} is more than {MOST_BATCH}, and would be no faster")
    if beam * batch_size > MOST_HYPOTHESES:
        most = MOST_HYPOTHESES // beam
        raise InputError(
            "--batch-size", f"{batch_size} takes too much memory with --beam {beam}; take {most}"
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
