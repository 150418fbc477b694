"""Scoring: jiwer behind our normaliser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.measuring.scoring import error_rates


def test_errors_are_counted_over_all_words_after_normalising() -> None:
    scores = error_rates(["THE cat, sat!", "it's 5"], ["the cat", "its five five"])
    assert (scores.deletions, scores.substitutions, scores.insertions) == (1, 1, 1)
    assert scores.words == 5
    assert scores.wer == pytest.approx(60.0)


@given(st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=6))
def test_a_text_has_no_errors_against_itself_and_all_against_nothing(words: list[str]) -> None:
    text = " ".join(words)
    assert error_rates([text], [text]).wer == 0.0
    assert error_rates([text], [""]).wer == pytest.approx(100.0)


def test_an_empty_reference_counts_what_was_invented() -> None:
    assert error_rates(["one two", ""], ["one two", "three"]).insertions == 1


def test_scoring_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        error_rates([""], ["one"])
