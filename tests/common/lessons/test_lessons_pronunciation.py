"""Spelling to sound: what is read from a dictionary, and how errors are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InputError
from common.lessons import pronunciation
from common.lessons.pronunciation import error_rate, exact, installed_dictionary, read_words


def test_words_of_letters_alone_are_read_with_their_phones(tmp_path: Path) -> None:
    path = tmp_path / "words.dict"
    letters = [f"{one}{other}" for one in "abcdefghij" for other in "klmnopqrst"]
    lines = [
        "A  AH0",
        "O'CLOCK  AH0 K L AA1 K",
        "PHOTO  F OW1 T OW2",
        *(f"{word}  AH0 T" for word in letters),
    ]
    path.write_text("\n".join(lines))
    pairs = read_words(path)
    assert len(pairs) == 101
    assert pairs[0] == (tuple("photo"), ("F", "OW", "T", "OW"))


def test_a_dictionary_of_a_few_words_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.dict"
    path.write_text("PHOTO  F OW1 T OW2")
    with pytest.raises(InputError, match="100 are the fewest"):
        read_words(path)


def test_errors_are_those_of_levenshtein_a_phone_that_should_be_there() -> None:
    right = [("F", "OW"), ("T", "AH", "P")]
    said = [("F", "OW"), ("T", "P", "S")]  # one is missing, one too many
    assert exact(said, right) == 0.5
    assert error_rate(said, right) == pytest.approx(2 / 5)


def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pronunciation, "_PACKAGE", "no_such_dictionary")
    with pytest.raises(ModuleNotFoundError) as caught:
        installed_dictionary()
    assert caught.value.name == "no_such_dictionary"
