"""The subcommands of `speech` that make models and take them elsewhere, and the one that lets one write."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from common.commands.command import check_builds
from common.commands.options import read_options
from common.commands.paths import require_models_apart
from common.errors import InputError
from common.files import require_writable, require_writable_file
from speech.destinations import require_manifest_apart
from speech.language.options import CountOptions, LanguageModelOptions
from speech.options import TrainOptions


def train(arguments: argparse.Namespace) -> int:
    """Train a recogniser."""
    check_builds("torchaudio")
    from speech.training.train import train as train_recognizer

    options = read_options(TrainOptions, arguments)
    require_writable(options.run)
    train_recognizer(options)
    print(options.run / "best")
    return 0


def train_lm(arguments: argparse.Namespace) -> int:
    """Train a language model."""
    check_builds()
    from speech.language.train import train_language_model

    options = read_options(LanguageModelOptions, arguments)
    require_writable(options.run)
    train_language_model(options)
    print(options.run / "best")
    return 0


def count_lm(arguments: argparse.Namespace) -> int:
    """Make an n-gram language model."""
    check_builds()
    from speech.language.count import count_language_model

    options = read_options(CountOptions, arguments)
    count_language_model(options)
    print(options.output)
    return 0


def average(arguments: argparse.Namespace) -> int:
    """Write the mean of several models."""
    from common.models.averaging import average as average_models
    from speech.bundled import BUNDLED

    require_models_apart(arguments.models, BUNDLED, arguments.output)
    require_writable(arguments.output.parent)
    average_models(
        arguments.models, arguments.shares, arguments.output, BUNDLED, "Speech recogniser", arguments.storage
    )
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write a recogniser's network as ONNX."""
    check_builds("torchaudio")
    from speech.bundled import BUNDLED
    from speech.export import export as export_network
    from speech.export import word_error_rate
    from speech.recognizer import Recognizer

    require_models_apart([arguments.model], BUNDLED, arguments.output)
    if arguments.check is not None:
        require_manifest_apart(arguments.check, arguments.output)
    require_writable_file(arguments.output)
    export_network(Recognizer.load(arguments.model).acoustic.network, arguments.output, arguments.int8)
    print(arguments.output)
    if arguments.check is not None:
        print(f"wer {word_error_rate(arguments.output, arguments.check):.1f}")
    return 0


def generate(arguments: argparse.Namespace) -> int:
    """Print text that a language model writes."""
    check_builds("torchaudio")
    import torch

    from common.models.files import find_model
    from speech.bundled import BUNDLED
    from speech.language.loading import load_any_language_model
    from speech.recognizer import LANGUAGE

    directory = arguments.language_model
    if directory is None:
        directory = find_model(arguments.model, BUNDLED) / LANGUAGE
        if not directory.is_dir():
            raise InputError(arguments.model, "has no language model; name one with --language-model")
    model = load_any_language_model(directory)
    generator = torch.Generator()
    if arguments.seed is None:
        generator.seed()
    else:
        generator.manual_seed(arguments.seed)
    for _ in range(arguments.count):
        print(
            model.generate(
                arguments.prompt, arguments.words, arguments.temperature, arguments.top_p, generator
            ),
            flush=True,
        )
    return 0


MAKERS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": train,
    "train-lm": train_lm,
    "count-lm": count_lm,
    "average": average,
    "export": export,
    "generate": generate,
}
