"""A language model's directory: written and read, whichever kind it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.models.building import fitting_network, require_sizes
from common.models.directory import CONFIG
from common.models.fields import dataclass_from
from common.models.files import read_model, write_model
from speech.language.ngram import NgramModel, is_ngram_model, load_ngram_model
from speech.language.recurrent import LanguageModel, LanguageModelConfig, LanguageNetwork
from speech.language.vocabulary import SPECIAL

# A judge that knows fewer of the words is one of another language.
_LEAST_KNOWN = 0.1

AnyLanguageModel = LanguageModel | NgramModel


def load_any_language_model(directory: Path) -> AnyLanguageModel:
    """Read a model directory of either kind.

    Raises:
        InputError: if it is missing, damaged or no language model.
    """
    return load_ngram_model(directory) if is_ngram_model(directory) else load_language_model(directory)


def write_language_model(directory: Path, network: LanguageNetwork, card: str) -> None:
    """Write a model directory, in 8 bits.

    Raises:
        InputError: if it cannot be written.
    """
    # One string: a list would take a line of the file a word.
    config = dataclasses.asdict(network.config) | {"vocabulary": " ".join(network.config.vocabulary)}
    write_model(directory, config, network.state_dict(), card, storage="int8")


def load_language_model(directory: Path) -> LanguageModel:
    """Read a model directory; it steps in 8 bits, as it is stored.

    Raises:
        InputError: if it is missing, damaged or another kind of model.
    """
    stored, tensors = read_model(directory)
    config = _config(stored, directory / CONFIG)
    require_sizes(stored, tensors, directory, "a language model")
    network = fitting_network(lambda: LanguageNetwork(config), tensors, directory, "a language model")
    return LanguageModel(network, in_8_bits=True)


def load_judge(directory: Path, first: AnyLanguageModel) -> LanguageModel:
    """Read the model that judges texts which were found with another.

    Args:
        directory: of the model.
        first: the other.

    Raises:
        InputError: if it is missing, damaged, another kind of model, or knows hardly any words of the other.
    """
    if is_ngram_model(directory):
        reason = "is an n-gram model; a judge is a recurrent one, as speech train-lm writes it"
        raise InputError(directory, reason)
    model = load_language_model(directory)
    words = first.vocabulary[len(SPECIAL) :]
    known = len(set(words) & set(model.vocabulary))
    if known < _LEAST_KNOWN * len(words):
        reason = f"knows {known:,} of the {len(words):,} words of the language model; train it on like text"
        raise InputError(directory, f"cannot judge what is found: it {reason}")
    return model


def _config(stored: dict[str, Any], path: Path) -> LanguageModelConfig:
    """The checked configuration."""
    try:
        words = stored["vocabulary"].split()
        config: LanguageModelConfig = dataclass_from(LanguageModelConfig, {**stored, "vocabulary": words})
    except (TypeError, KeyError, AttributeError, ValueError, InputError) as error:
        raise InputError(path, "is not the configuration of a language model") from error
    if config.vocabulary[: len(SPECIAL)] != SPECIAL:
        raise InputError(path, f"is not the configuration of a language model: no {SPECIAL[0]} in it")
    return config
