"""Subwords write every text, in the pieces that byte pair encoding prescribes."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.model.subwords import (
    BLANK,
    LETTER_SYMBOLS,
    LETTERS,
    Subwords,
    learn_subwords,
    symbol_frequencies,
)

WORDS = {"low": 5, "lower": 2, "newest": 6, "widest": 3}  # the example of Sennrich et al. 2016


def slow_pairs(spelled: dict[tuple[str, ...], int]) -> Counter[tuple[str, str]]:
    """How often each pair of neighbours occurs, counted anew."""
    pairs: Counter[tuple[str, str]] = Counter()
    for pieces, count in spelled.items():
        for pair in pairwise(pieces):
            pairs[pair] += count
    return pairs


def test_the_most_frequent_pair_is_joined_again_and_again() -> None:
    symbols = learn_subwords(WORDS, len(LETTER_SYMBOLS) + 4)
    assert symbols[len(LETTER_SYMBOLS) :] == ("es", "est_", "lo", "ew")


@given(st.dictionaries(st.text("abc", min_size=1, max_size=6), st.integers(1, 9), min_size=1, max_size=8))
def test_each_piece_is_the_most_frequent_pair_of_its_time(words: dict[str, int]) -> None:
    symbols = learn_subwords(words, len(LETTER_SYMBOLS) + 6)
    spelled: dict[tuple[str, ...], int] = {(*word[:-1], word[-1] + "_"): n for word, n in words.items()}
    for piece in symbols[len(LETTER_SYMBOLS) :]:
        pairs = slow_pairs(spelled)
        joined = [pair for pair, count in pairs.items() if count == max(pairs.values())]
        assert piece in {"".join(pair) for pair in joined}
        pair = min(pair for pair in joined if "".join(pair) == piece)
        after = {}
        for pieces, count in spelled.items():
            new: list[str] = []
            for one in pieces:
                if new and (new[-1], one) == pair:
                    new[-1] += one
                else:
                    new.append(one)
            after[tuple(new)] = count
        spelled = after


@given(st.lists(st.text(LETTERS, min_size=1, max_size=9), max_size=5))
def test_every_text_is_written_and_read_back(words: list[str]) -> None:
    subwords = Subwords(learn_subwords(WORDS, len(LETTER_SYMBOLS) + 8))
    text = " ".join(words)
    symbols = subwords.encode(text)
    assert subwords.decode(symbols) == text
    assert sum(subwords.ends_word[symbol] for symbol in symbols) == len(words)


@given(
    st.lists(st.text("abc'", min_size=1, max_size=9), max_size=8),
    st.lists(st.text("abc'", min_size=2, max_size=4).flatmap(lambda s: st.sampled_from([s, s + "_"]))),
)
def test_many_words_are_spelled_as_one_is(words: list[str], pieces: list[str]) -> None:
    subwords = Subwords(tuple(dict.fromkeys((*LETTER_SYMBOLS, *pieces))))
    table = subwords.spell_all(words)
    assert [tuple(row[row != BLANK].tolist()) for row in table] == [subwords.spell(word) for word in words]
    assert all(
        (row[: len(subwords.spell(word))] != BLANK).all() for row, word in zip(table, words, strict=True)
    )


def test_earlier_pieces_are_preferred() -> None:
    subwords = Subwords((*LETTER_SYMBOLS, "bc", "ab", "abc_"))
    assert [subwords.symbols[symbol] for symbol in subwords.spell("abcd")] == ["a", "bc", "d_"]


def test_symbols_are_counted_as_often_as_words_are_said() -> None:
    subwords = Subwords((*LETTER_SYMBOLS, "ab"))
    frequencies = symbol_frequencies({"abc": 3, "c": 1}, subwords)
    shares = {subwords.symbols[symbol]: share for symbol, share in enumerate(frequencies) if share}
    assert shares == {"ab": round(3 / 7, 6), "c_": round(4 / 7, 6)}
    assert symbol_frequencies({}, subwords) == (0.0,) * len(subwords)


def test_what_is_no_letter_cannot_be_written() -> None:
    with pytest.raises(KeyError):
        Subwords(LETTER_SYMBOLS).encode("naïve")
    with pytest.raises(KeyError, match="naïve"):
        Subwords(LETTER_SYMBOLS).spell_all(["so", "naïve"])


@pytest.mark.parametrize(
    "symbols",
    [
        LETTER_SYMBOLS[:-1],
        LETTER_SYMBOLS[1:],
        (*LETTER_SYMBOLS, "a"),
        (*LETTER_SYMBOLS, "_"),
        (*LETTER_SYMBOLS, "a b"),
    ],
)
def test_symbols_that_could_not_write_text_are_refused(symbols: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="symbol"):
        Subwords(symbols)
