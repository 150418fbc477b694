"""Pairs of sentences: those that ship, and those that somebody brings."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from common.errors import InputError
from common.lessons.translation import SENTENCES, read_pairs, words_of


def test_words_and_signs_stand_apart_in_lower_case() -> None:
    assert words_of("Ich bin’s, Tom!") == ("ich", "bin's", ",", "tom", "!")


def test_each_english_sentence_that_ships_stands_once_and_says_something() -> None:
    pairs = read_pairs(SENTENCES)
    english = [one for _, one in pairs]
    assert len(pairs) == len(set(english)) == 24_319
    assert min(map(len, english)) >= 4 and all(german for german, _ in pairs)


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.xz"])
def test_other_sentences_are_read_packed_or_not(tmp_path: Path, name: str) -> None:
    text = "german\tenglish\tby\n" + "".join(f"Das ist {one}.\tThat is {one}.\tme\n" for one in range(100))
    data = text.encode()
    (tmp_path / name).write_bytes(lzma.compress(data) if name.endswith("xz") else data)
    pairs = read_pairs(tmp_path / name)
    assert len(pairs) == 100
    assert pairs[7] == (("das", "ist", "7", "."), ("that", "is", "7", "."))


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    for text, reason in (("a\tb\nDas.\tThat.\n", "100 are the fewest"), ("a\tb\nDas.\n", "line 2")):
        path.write_text(text)
        with pytest.raises(InputError, match=reason):
            read_pairs(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(tmp_path / "none.tsv")
