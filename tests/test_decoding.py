"""Decoding against brute force over every path of a tiny alphabet."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.alignment import forced_path, words_of_path
from speech.decoding import collapse, greedy, prefix_beam_search
from speech.text import BLANK, encode


def every_text(log_probs: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Probability of each text: the sum over all its paths."""
    total: dict[tuple[int, ...], float] = defaultdict(float)
    steps, symbols = log_probs.shape
    for path in itertools.product(range(symbols), repeat=steps):
        merged = [symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK]
        total[tuple(merged)] += math.exp(sum(float(log_probs[t, s]) for t, s in enumerate(path)))
    return total


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 5), sharpness=st.floats(0.1, 4.0))
def test_a_beam_wide_enough_finds_the_most_probable_text(seed: int, steps: int, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (torch.randn(steps, 3, generator=generator, dtype=torch.float64) * sharpness).log_softmax(-1)
    truth = every_text(log_probs)
    found = prefix_beam_search(log_probs, beam=1000, least=0.0)
    assert {one.symbols for one in found} == set(truth)
    for one in found:
        assert math.exp(one.log_prob) == pytest.approx(truth[one.symbols])
    assert truth[found[0].symbols] == pytest.approx(max(truth.values()))


def test_the_beam_adds_up_paths_where_greedy_takes_one() -> None:
    # "a" is likelier than nothing, although blank, blank is the likeliest path.
    log_probs = torch.tensor([[0.6, 0.0, 0.0, 0.4], [0.6, 0.0, 0.0, 0.4]]).log()
    assert greedy(log_probs[None], torch.tensor([2])) == [""]
    assert prefix_beam_search(log_probs, beam=4)[0].symbols == (3,)


def test_a_letter_twice_needs_a_blank_between() -> None:
    certain = torch.full((3, 4), -50.0)
    for step, symbol in enumerate([3, BLANK, 3]):
        certain[step, symbol] = 0.0
    assert prefix_beam_search(certain, beam=3)[0].symbols == (3, 3)
    assert collapse([3, 3, 3]) == "a"


def test_a_known_text_is_found_along_its_own_path() -> None:
    text = encode("ab a")
    path = [BLANK, text[0], text[1], text[1], text[2], BLANK, text[3], BLANK]
    log_probs = torch.full((8, 29), -8.0)
    for step, symbol in enumerate(path):
        log_probs[step, symbol] = 0.0
    found = forced_path(log_probs.log_softmax(-1), text)
    assert found == path
    words = words_of_path(found, log_probs.log_softmax(-1), step_seconds=0.5)
    assert [(word.text, word.start, word.end) for word in words] == [("ab", 0.5, 1.5), ("a", 3.0, 3.5)]
    assert all(0.9 < word.confidence <= 1.0 for word in words)
