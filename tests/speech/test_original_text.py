"""A text comes back from alignment as it was given, whatever stands in it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speech.model.subwords import LETTER_SYMBOLS, Subwords
from speech.model.text import normalize
from speech.original_text import OriginalText, fit
from speech.placing.alignment import Emissions, Word

LETTERS = Subwords(LETTER_SYMBOLS)
GIVEN = '"Well — yes," said Dr. Møller:\n\n  it\'s 42% (of £1,000)...\n* * *\n¿No?\n'


def timed(text: OriginalText) -> list[Word]:
    return [Word(word, float(n), n + 0.5, 0.5) for n, word in enumerate(text.normalized.split())]


@given(st.text(st.one_of(st.characters(), st.sampled_from("ab '.,19%&’´ \n\t\u00a0")), max_size=40))
def test_token_by_token_a_text_is_normalised_as_it_is_as_a_whole(text: str) -> None:
    assert OriginalText(text).normalized == normalize(text)


def test_words_come_back_with_case_punctuation_figures_and_signs() -> None:
    text = OriginalText(GIVEN)
    transcript = text.placed(timed(text), 60.0, 0.9)
    assert [segment.text for segment in transcript.segments] == [
        '"Well — yes," said Dr. Møller:',
        "it's 42% (of £1,000)...",
        "¿No?",
    ]
    assert transcript.text.split() == [word for word in GIVEN.split() if word != "*"]
    assert [word.text for word in transcript.words][:2] == ['"Well —', 'yes,"']
    number = transcript.words[6]
    assert (number.text, number.start, number.end) == ("42%", 6.0, 8.5)  # forty, two, percent
    assert transcript.score == 0.9


def test_other_words_than_those_of_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match="not the words"):
        OriginalText("a b").placed([Word("a", 0.0, 1.0, 1.0)], 2.0, 1.0)


def heard(text: str) -> Emissions:
    """A piece in which the network hears a text."""
    path = [symbol for letter in LETTERS.encode(text) for symbol in (letter, 0)]
    log_probs = torch.full((len(path), len(LETTER_SYMBOLS)), -9.0)
    log_probs[range(len(path)), path] = 0.0
    return Emissions(0.0, 1.0, log_probs)


def test_what_is_missing_from_the_text_counts_as_what_is_too_much_in_it() -> None:
    assert fit("so it is", [heard("so it"), heard("is")], LETTERS) == 1.0
    assert fit("so", [heard("so it is so")], LETTERS) < 0.3
    assert fit("so it is so", [heard("so")], LETTERS) < 0.3
    assert fit("quick brown fox", [heard("what is this")], LETTERS) < 0.4
