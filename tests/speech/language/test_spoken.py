"""How a language model's words are spoken, in its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.models.files import read_model, write_model
from speech.language.ngram import NgramModel, Spelling, load_ngram_model, write_ngram_model
from speech.language.spoken import known_only, restored, stored

SPOKEN = {"cat": ("K", "AE", "T"), "she": ("SH", "IY"), "a": ("AH",)}


def model() -> NgramModel:
    words = ["she", "zyx", "cat"]
    spelling = Spelling("", np.empty(0, np.int16), np.zeros(3, np.uint8))
    return NgramModel(words, np.full(5, -1.0, np.float32), [], 1, spelling)


def test_pronunciations_come_back() -> None:
    words = ["she", "zyx", "cat", "a"]
    assert restored(words, stored(words, SPOKEN)) == SPOKEN
    assert stored(words, {}) == {} and restored(words, {}) == {}


def test_only_words_of_the_model_are_kept() -> None:
    endless = ("AH",) * 256  # more than a byte counts
    assert known_only(["cat", "dog", "oh"], {**SPOKEN, "oh": endless, "dog": ()}) == {"cat": SPOKEN["cat"]}


@pytest.mark.parametrize(
    ("phones", "lengths"),
    [
        (torch.tensor([39, 1], dtype=torch.uint8), torch.tensor([2, 0], dtype=torch.uint8)),
        (torch.tensor([1, 1], dtype=torch.uint8), torch.tensor([1, 0], dtype=torch.uint8)),
        (torch.tensor([1, 1], dtype=torch.uint8), torch.tensor([2], dtype=torch.uint8)),
        (torch.tensor([1.0, 1.0]), torch.tensor([2, 0], dtype=torch.uint8)),
        (torch.tensor([[1, 1]], dtype=torch.uint8), torch.tensor([2, 0], dtype=torch.uint8)),
        (torch.tensor([1, 1], dtype=torch.uint8), torch.tensor([[2, 0]], dtype=torch.uint8)),
    ],
)
def test_what_names_nothing_is_refused(phones: torch.Tensor, lengths: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="cannot be spoken"):
        restored(["cat", "she"], {"spoken.phones": phones, "spoken.lengths": lengths})


def test_a_model_keeps_them(tmp_path: Path) -> None:
    spoken = model().spoken(SPOKEN)
    assert spoken.pronunciations == {word: SPOKEN[word] for word in ("she", "cat")}
    write_ngram_model(tmp_path / "model", spoken, "")
    assert load_ngram_model(tmp_path / "model").pronunciations == spoken.pronunciations
    assert spoken.reordered(["cat", "she", "zyx"]).pronunciations == spoken.pronunciations
    write_ngram_model(tmp_path / "plain", model(), "")
    assert load_ngram_model(tmp_path / "plain").pronunciations == {}


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    write_ngram_model(tmp_path / "model", model().spoken(SPOKEN), "")
    config, tensors = read_model(tmp_path / "model")
    tensors["spoken.lengths"] = tensors["spoken.lengths"][:2]
    write_model(tmp_path / "model", config, tensors, "", compressed=True)
    with pytest.raises(InputError, match="does not fit its configuration"):
        load_ngram_model(tmp_path / "model")
