"""A search that passes over dull steps finds what one finds that takes every step."""

from __future__ import annotations

import math

import pytest
import torch

from speech.language.lexicon import Lexicon
from speech.model.subwords import BLANK, LETTER_SYMBOLS, Subwords
from speech.options import DecodingOptions
from speech.search.condensed import Condensed
from speech.search.word_search import WordSearch

LETTERS = Subwords(LETTER_SYMBOLS)
(A,) = LETTERS.spell("a")


def _sound(seed: int, steps: int = 24) -> torch.Tensor:
    """Log-probabilities of which two thirds are of steps in which all but a blank is improbable."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(steps, len(LETTERS), generator=generator, dtype=torch.float64) * 2.0
    dull = torch.rand(steps, generator=generator) < 0.65
    logits[dull] *= 0.2
    logits[dull, BLANK] = 16.0
    return logits.log_softmax(-1)


def test_fewer_than_half_of_the_steps_are_left_and_the_scores_are_the_same() -> None:
    sounds = [_sound(seed, 12 + 3 * seed) for seed in range(6)]
    assert 0 < Condensed(sounds, 1.0, 1e-5).lengths.sum() < 0.5 * sum(map(len, sounds))
    lexicon = Lexicon({"a": -1.0, "an": -2.0, "ant": -2.5, "noon": -2.0, "too": -1.5}, LETTERS)
    for temperature in (1.0, 1.3):
        skipping, whole = (
            WordSearch(
                DecodingOptions(beam=400, beam_margin=40.0, min_prob=least, temperature=temperature), lexicon
            )
            for least in (1e-5, 0.0)
        )
        for some, every in zip(skipping(sounds), whole(sounds), strict=True):
            assert some[0].text == every[0].text
            assert some[0].score == pytest.approx(every[0].score, abs=0.02)


def test_hours_of_dull_steps_keep_what_was_heard() -> None:
    letter = torch.full((1, len(LETTERS)), -30.0, dtype=torch.float64)
    letter[0, A] = 0.0
    dull = torch.full((1, len(LETTERS)), -12.0, dtype=torch.float64)
    dull[0, BLANK] = -0.05
    log_probs = torch.cat([dull.repeat(20_000, 1), letter, dull.repeat(20_000, 1)])
    (found,) = WordSearch(DecodingOptions(temperature=1.3), Lexicon({"a": -1.0}, LETTERS))([log_probs])
    assert found[0].text == "a"
    blank, other = (math.exp(value / 1.3) for value in (-0.05, -12.0))
    every = blank + (len(LETTERS) - 1) * other
    # Before the text all are blanks; behind it the letter may go on for a while.
    share = other / blank
    rest = 40_000 * math.log(blank / every) + math.log((1 - share**20_001) / (1 - share))
    assert found[0].log_prob == pytest.approx(rest, abs=0.01)


def test_a_step_in_which_nothing_is_likely_makes_no_text_longer() -> None:
    log_probs = torch.zeros(5, len(LETTERS)).log_softmax(-1)
    log_probs[0, A] = 0.0
    options = DecodingOptions(temperature=1.0, min_prob=0.6, beam_margin=40.0)
    (found,) = WordSearch(options, Lexicon({"a": -1.0}, LETTERS))([log_probs])
    assert [one.text for one in found] == ["a", ""]
