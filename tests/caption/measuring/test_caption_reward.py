"""The rewards: pycocoevalcap's CIDEr and BLEU-4, one caption at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

from caption.measuring.reward import BleuReward, CiderReward

CAPTION = st.lists(st.integers(3, 8), min_size=1, max_size=12)
REFERENCES = st.lists(CAPTION, min_size=1, max_size=3)
PHOTOGRAPHS = st.lists(st.tuples(REFERENCES, CAPTION), min_size=2, max_size=5)
# The reference takes a caption of fewer than four words for better than one in which nothing fits.
LONG = st.lists(st.integers(3, 5), min_size=4, max_size=12)


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


@given(st.lists(st.tuples(REFERENCES, LONG), min_size=2, max_size=5))
def test_the_bleu_reward_is_the_reference_implementations_bleu_4(
    photographs: list[tuple[list[list[int]], list[int]]],
) -> None:
    references = {number: [words(one) for one in several] for number, (several, _) in enumerate(photographs)}
    said = {number: [words(caption)] for number, (_, caption) in enumerate(photographs)}
    _, by_length = Bleu(4).compute_score(references, said, verbose=0)
    reward = BleuReward([several for several, _ in photographs], with_end=False)
    for (number, (_, caption)), expected in zip(enumerate(photographs), by_length[3], strict=True):
        # The reference puts a little in the place of nothing, so that its logarithm is finite.
        assert reward(number, caption) == pytest.approx(expected, abs=1e-3)


def test_the_bleu_reward_wants_all_and_no_more() -> None:
    reward = BleuReward([[[3, 4, 5, 6, 7]], [[8, 9]]])
    whole = reward(0, [3, 4, 5, 6, 7])
    assert whole == pytest.approx(1.0)
    assert whole > reward(0, [3, 4, 5, 6, 7, 7]) > 0.0
    assert whole > reward(0, [3, 4, 5, 6]) > 0.0
    assert reward(1, [3, 4, 5, 6, 7]) == reward(0, [3, 4]) == 0.0
