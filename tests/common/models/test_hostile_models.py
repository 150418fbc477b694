"""Model directories that anybody may have made: read or refused, and no crash, no hang, no full memory."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import random
import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import InputError
from common.models.files import write_model
from speech import Recognizer
from speech.language.loading import load_language_model, write_language_model
from speech.language.recurrent import LanguageModelConfig, LanguageNetwork
from speech.language.vocabulary import SPECIAL
from speech.model.network import SpeechConfig, SpeechNetwork
from speech.model.subwords import LETTER_SYMBOLS

VALUES: list[Any] = [0, -1, 1, 2, 3, 64, 10**9, 2**63, 10**400, 0.5, float("nan"), float("inf"), -1e308]
VALUES += [True, None, "", "x", "\\ud800", [], {}, [[]], ["a", 1], {"a": {}}, [0] * 99, "english"]
SECONDS, MEGABYTES = 10.0, 500


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    """The smallest models of two kinds, and what reads each."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = SpeechConfig(
        LETTER_SYMBOLS, LETTER_SYMBOLS, channels=4, hidden_size=4, lower_layers=1, upper_layers=1
    )
    network = SpeechNetwork(config)
    write_model(folder / "speech", dataclasses.asdict(config), network.state_dict(), "")
    words = LanguageNetwork(LanguageModelConfig((*SPECIAL, "one", "two"), embedding_size=4, hidden_size=4))
    write_language_model(folder / "words", words, "")
    return {
        "speech": (folder / "speech", Recognizer.load),
        "words": (folder / "words", load_language_model),
    }


def mutated_config(stored: dict[str, Any], generator: random.Random) -> dict[str, Any]:
    """The same configuration with something else somewhere in it."""
    stored = copy.deepcopy(stored)
    place: Any = stored
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return stored
        key = generator.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and generator.random() < 0.8:
            place = place[key]
            continue
        how = generator.randrange(4)
        if how == 0:
            del place[key]
        elif how == 1 and isinstance(place, dict):
            place[generator.choice(["layers", "x", "features", "dtype"])] = generator.choice(VALUES)
        else:
            place[key] = generator.choice(VALUES)
        return stored


def mutated_bytes(data: bytes, generator: random.Random) -> bytes:
    """The same bytes with some of them changed, cut out, doubled; mostly at the beginning."""
    found = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(generator.choice([9, 200, len(data)]))
        how = generator.randrange(5)
        if how == 0:
            found[place : place + 1] = bytes([generator.randrange(256)])
        elif how == 1:
            del found[place : place + generator.randint(1, 20)]
        elif how == 2:
            found[place:place] = found[place : place + generator.randint(1, 20)]
        elif how == 3:
            found[:8] = struct.pack("<Q", generator.choice([0, 1, 2**31, 2**63, len(data), len(data) - 8]))
        else:
            digits = [at for at, byte in enumerate(found[:400]) if chr(byte).isdigit()]
            for at in digits[: generator.randint(0, 3)]:
                found[at] = ord(generator.choice("0123456789-"))
    return bytes(found)


def attack(source: Path, target: Path, generator: random.Random) -> None:
    """A copy of a model that somebody has tampered with."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    config, weights = target / "config.json", target / "model.safetensors"
    stored = json.loads(config.read_text())
    how = generator.randrange(4)
    if how < 2:
        part = generator.choice(["config", None])
        if part is None:
            stored = mutated_config(stored, generator)
        else:
            stored[part] = mutated_config(stored[part], generator)
        config.write_text(json.dumps(stored))
    elif how == 2:
        config.write_bytes(mutated_bytes(config.read_bytes(), generator))
    else:
        weights.write_bytes(mutated_bytes(weights.read_bytes(), generator))
        stored["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
        config.write_text(json.dumps(stored))


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def try_all(
    models: dict[str, tuple[Path, Callable[[Path], object]]], target: Path, attempts: int, seed: int
) -> int:
    """Attack so often; gives how many were refused."""
    generator, refused = random.Random(seed), 0
    for source, read in models.values():
        read(source)
    before = megabytes()
    for number in range(attempts):
        source, read = models[("speech", "words")[number % 2]]
        attack(source, target, generator)
        started, lines = time.process_time(), 1
        try:
            read(target)
        except InputError as error:
            refused += 1
            lines = str(error).count("\n") + 1
        assert lines == 1 and time.process_time() - started < SECONDS
    assert megabytes() - before < MEGABYTES
    return refused


def test_whatever_a_model_directory_holds_it_is_read_or_refused(
    models: dict[str, tuple[Path, Callable[[Path], object]]], tmp_path: Path
) -> None:
    assert try_all(models, tmp_path / "model", 300, seed=1) > 150


@pytest.mark.slow
def test_ten_thousand_hostile_models_are_read_or_refused(
    models: dict[str, tuple[Path, Callable[[Path], object]]], tmp_path: Path
) -> None:
    assert try_all(models, tmp_path / "model", 10_000, seed=2) > 5000


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_size", 10**9), ("lower_layers", 10**9), ("channels", 10**9), ("kernel", 10**9), ("stride", 0)],
)
def test_a_few_bytes_do_not_ask_for_gigabytes(
    models: dict[str, tuple[Path, Callable[[Path], object]]], tmp_path: Path, name: str, value: int
) -> None:
    source, read = models["speech"]
    shutil.copytree(source, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    stored = json.loads(path.read_text())
    stored["config"][name] = value
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match=name):
        read(tmp_path / "model")


def test_scales_that_fit_no_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save

    write_model(tmp_path / "model", {}, {"a": torch.zeros(2, 2)}, "")
    tensors = {"a": torch.zeros(3, 2, dtype=torch.int8), "a:scale": torch.zeros(7)}
    data = save(tensors)
    (tmp_path / "model" / "model.safetensors").write_bytes(data)
    path = tmp_path / "model" / "config.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "sha256": hashlib.sha256(data).hexdigest()}))
    with pytest.raises(InputError, match="is not a safetensors file of a model"):
        Recognizer.load(tmp_path / "model")
