"""The reward: pycocoevalcap's CIDEr, one caption at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider

from caption.reward import CiderReward

CAPTION = st.lists(st.integers(3, 8), min_size=1, max_size=12)
PHOTOGRAPHS = st.lists(st.tuples(st.lists(CAPTION, min_size=1, max_size=3), CAPTION), min_size=2, max_size=5)


def words(caption: list[int]) -> str:
    return " ".join(f"w{symbol}" for symbol in caption)


@given(PHOTOGRAPHS)
def test_the_reward_is_the_reference_implementations_cider(
    photographs: list[tuple[list[list[int]], list[int]]],
) -> None:
    references = {number: [words(one) for one in several] for number, (several, _) in enumerate(photographs)}
    said = {number: [words(caption)] for number, (_, caption) in enumerate(photographs)}
    _, expected = Cider().compute_score(references, said)
    reward = CiderReward([several for several, _ in photographs], with_end=False)
    ours = [reward(number, caption) for number, (_, caption) in enumerate(photographs)]
    assert ours == pytest.approx(list(expected), abs=1e-6)


def test_a_caption_that_breaks_off_is_worth_less_where_the_end_counts() -> None:
    references = [[[3, 4, 5, 6]], [[7, 8, 9, 10]], [[11, 3, 5]]]
    reward = CiderReward(references)
    assert reward(0, [3, 4, 5, 6]) > reward(0, [3, 4, 5, 6, 4]) > reward(1, [3, 4, 5, 6])
    assert reward(0, [3, 4, 5, 6]) == pytest.approx(10.0)


def test_nothing_said_is_worth_nothing() -> None:
    assert CiderReward([[[3, 4]], [[5]]], with_end=False)(0, []) == 0.0
