"""What a search asks an n-gram model twice is answered as it was the first time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from speech.search.ngram_histories import Remembered


def roots(questions: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Answers the questions at these places."""
    return lambda asked: np.sqrt(questions[asked])


@pytest.mark.parametrize("places", [1, 4, 64, 4096])
def test_answers_are_right_however_few_are_remembered(places: int) -> None:
    remembered, generator = Remembered(places), np.random.default_rng(1)
    for count in (0, 1, 7, 500, 500, 500):
        questions = generator.integers(0, 300, count) << 33
        answers = remembered(questions, roots(questions))
        assert np.array_equal(answers, np.sqrt(questions))


def test_what_was_answered_is_not_computed_again() -> None:
    computed: list[int] = []

    def compute(asked: np.ndarray) -> np.ndarray:
        computed.append(len(asked))
        return asked * 0.5

    remembered, questions = Remembered(1 << 16), np.array([3, 5, 3, 3, 8])
    first = remembered(questions, compute)
    assert computed == [3]
    assert np.array_equal(remembered(questions, compute), first)
    assert computed == [3]
