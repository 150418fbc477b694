"""The pronouncing dictionary: CMUdict's form in, phones out."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InputError
from speech.training.pronunciations import PHONES, read_pronunciations


def test_a_dictionary_in_either_of_cmudicts_forms_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dictionary"
    path.write_text(
        ";;; a comment\n"
        "HELLO  HH AH0 L OW1\n"
        "TOMATO  T AH0 M EY1 T OW2\n"
        "TOMATO(2)  T AH0 M AA1 T OW2\n"
        "aalborg AO1 L B AO0 R G # place, danish\n"
    )
    assert read_pronunciations(path) == {
        "hello": ("HH", "AH", "L", "OW"),
        "tomato": ("T", "AH", "M", "EY", "T", "OW"),
        "aalborg": ("AO", "L", "B", "AO", "R", "G"),
    }


def test_there_are_thirty_nine_phones_and_a_blank() -> None:
    assert len(set(PHONES)) == len(PHONES) == 40


@pytest.mark.parametrize(
    ("text", "reason"),
    [("one  W AH1 N\ntwo\n", "line 2"), ("one  W AH1 Q\n", "line 1"), ("", "no pronunciation")],
)
def test_what_is_not_a_dictionary_is_said_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "dictionary"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_pronunciations(path)


def test_a_missing_dictionary_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_pronunciations(tmp_path / "none")
