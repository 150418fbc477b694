"""Model directories that anybody may have made: read or refused, and no crash, no hang, no full memory."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import lzma
import random
import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import BYTES, SECONDS, failures, peak
from networks import tiny_caption_config

from caption import Captioner
from caption.images import SIZE
from caption.model import text as caption_text
from caption.model.network import CaptionNetwork
from common.errors import InputError
from common.models.compressed import compress
from common.models.directory import COMPRESSED, CONFIG, WEIGHTS
from common.models.files import write_model
from speech import DecodingOptions, Recognizer
from speech.language.count_ngrams import count_ngrams
from speech.language.kneser_ney import make_model, prune
from speech.language.lexicon import Lexicon
from speech.language.loading import load_any_language_model, write_language_model
from speech.language.ngram import NgramModel, spell_all, write_ngram_model
from speech.language.recurrent import LanguageModel, LanguageModelConfig, LanguageNetwork
from speech.language.vocabulary import END, SPECIAL
from speech.model.network import SpeechConfig, SpeechNetwork
from speech.model.subwords import LETTER_SYMBOLS, Subwords
from speech.pool import SegmentFeatures
from speech.search.judging import TextJudge

VALUES: list[Any] = [0, -1, 1, 2, 3, 64, 10**9, 2**63, 10**400, 0.5, float("nan"), float("inf"), -1e308]
VALUES += [True, None, "", "x", "\\ud800", [], {}, [[]], ["a", 1], {"a": {}}, [0] * 99, "english"]


@dataclass(frozen=True)
class Kind:
    """A kind of model: what writes the smallest one into a directory, and what reads and uses it."""

    write: Callable[[Path], None]
    use: Callable[[Path], object]


def write_speech(directory: Path) -> None:
    torch.manual_seed(0)
    config = SpeechConfig(
        LETTER_SYMBOLS, LETTER_SYMBOLS, channels=4, hidden_size=4, lower_layers=1, upper_layers=1
    )
    write_model(directory, dataclasses.asdict(config), SpeechNetwork(config).state_dict(), "")


def use_speech(directory: Path) -> None:
    recognizer = Recognizer.load(directory)
    mels = recognizer.acoustic.network.config.features.mels
    features = torch.randn(40, mels, generator=torch.Generator().manual_seed(1))
    segment = SegmentFeatures(0, 0, 0.0, features, 0.4)
    recognizer.finder.words([segment], DecodingOptions(beam=4, min_prob=1e-3))


def write_words(directory: Path) -> None:
    config = LanguageModelConfig((*SPECIAL, "one", "two"), embedding_size=4, hidden_size=4)
    write_language_model(directory, LanguageNetwork(config), "")


def write_ngrams(directory: Path) -> None:
    words = ["ate", "bee", "cat"]
    generator = np.random.default_rng(0)
    text = np.where(generator.random(300) < 0.2, END, generator.integers(1, 5, 300)).astype(np.uint16)
    counts = count_ngrams([(text, 1.0)], 3, len(words) + len(SPECIAL))
    model = make_model(prune(counts, 10**6), words, 5, spell_all(Subwords(LETTER_SYMBOLS), words))
    write_ngram_model(directory, model, "")


def use_words(directory: Path) -> None:
    model = load_any_language_model(directory)
    texts = ["one two", "cat bee ate cat", "ate"]
    model.score(texts)
    if isinstance(model, LanguageModel):
        beginnings = TextJudge(model, model, 1.0, 0.5).beginnings()
        words = [text.split() for text in texts]
        beginnings.end_changes(beginnings.after(np.zeros(len(words), np.int64), words))
    if isinstance(model, NgramModel):
        subwords = Subwords(LETTER_SYMBOLS)
        Lexicon(dict.fromkeys(model.words, 0.0), subwords, model.spelled(subwords))
        items = np.zeros(2, np.int64)
        model.best(np.stack([model.start] * 2, axis=1), items, items + len(model.vocabulary))


def write_photos(directory: Path) -> None:
    torch.manual_seed(0)
    words = (*caption_text.SPECIAL, "<start shop>", "a", "dog", "cat")
    config = tiny_caption_config(words, kinds=("shop",), classes=("dog", "", "cat, dog"), beliefs=2)
    write_model(directory, dataclasses.asdict(config), CaptionNetwork(config).state_dict(), "")


def use_photos(directory: Path) -> None:
    picture = torch.randint(256, (3, SIZE, SIZE), generator=torch.Generator().manual_seed(1))
    Captioner.load(directory).describe(picture.to(torch.uint8))


KINDS = {
    "speech": Kind(write_speech, use_speech),
    "words": Kind(write_words, use_words),
    "n-grams": Kind(write_ngrams, use_words),
    "photos": Kind(write_photos, use_photos),
}


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest recogniser."""
    folder = tmp_path_factory.mktemp("models") / "speech"
    write_speech(folder)
    return folder


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
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(CONFIG, WEIGHTS, COMPRESSED))
    file = COMPRESSED if (source / COMPRESSED).exists() else WEIGHTS
    stored = json.loads((source / CONFIG).read_text())
    how = generator.randrange(4)
    if how < 2:
        part = generator.choice(["config", None])
        if part is None:
            stored = mutated_config(stored, generator)
        else:
            stored[part] = mutated_config(stored[part], generator)
        config = json.dumps(stored).encode()
    elif how == 2:
        config = mutated_bytes((source / CONFIG).read_bytes(), generator)
    else:
        weights = (source / file).read_bytes()
        if file == COMPRESSED and generator.random() < 0.7:  # what is inside, or else the pieces
            weights, stored["pieces"] = compress(mutated_bytes(lzma.decompress(weights), generator))
        else:
            weights = mutated_bytes(weights, generator)
        (target / file).write_bytes(weights)
        config = json.dumps({**stored, "sha256": hashlib.sha256(weights).hexdigest()}).encode()
    (target / CONFIG).write_bytes(config)
    if how != 3:
        (target / file).hardlink_to(source / file)


class Attempts:
    """Tries models of a kind that somebody has tampered with, each by its number."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.refused = KINDS[kind], folder, 0
        self.kind.write(folder / "whole")
        self.kind.use(folder / "whole")

    def __call__(self, number: int) -> None:
        attack(self.folder / "whole", self.folder / "attacked", random.Random(number))
        started, lines = time.process_time(), 1
        try:
            self.kind.use(self.folder / "attacked")
        except InputError as error:
            self.refused += 1
            lines = len(str(error).splitlines())
        assert lines == 1
        assert time.process_time() - started < SECONDS


def prepare(kind: str) -> Attempts:
    """What tries the models of a kind; see `fuzzing`."""
    return Attempts(kind, Path(tempfile.mkdtemp(prefix="hostile-models-")))


@pytest.mark.parametrize(
    ("kind", "count"), [("speech", 150), ("words", 150), ("n-grams", 150), ("photos", 15)]
)
def test_whatever_a_model_directory_holds_it_is_used_or_refused(
    kind: str, count: int, tmp_path: Path
) -> None:
    attempts, before = Attempts(kind, tmp_path), peak()
    for number in range(count):
        attempts(number)
    assert peak() - before < BYTES
    assert attempts.refused > count // 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_hostile_models_are_used_or_refused(kind: str) -> None:
    assert failures(__file__, kind) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_size", 10**9), ("lower_layers", 10**9), ("channels", 10**9), ("kernel", 10**9), ("stride", 0)],
)
def test_a_few_bytes_do_not_ask_for_gigabytes(speech: Path, tmp_path: Path, name: str, value: int) -> None:
    shutil.copytree(speech, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    stored = json.loads(path.read_text())
    stored["config"][name] = value
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match=name):
        Recognizer.load(tmp_path / "model")


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


def test_symbols_that_are_no_subwords_are_one_line(speech: Path, tmp_path: Path) -> None:
    shutil.copytree(speech, tmp_path / "model")
    path = tmp_path / "model" / CONFIG
    stored = json.loads(path.read_text())
    stored["config"]["symbols"][3] = "x"
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match="is not a recogniser that writes subwords"):
        Recognizer.load(tmp_path / "model")
