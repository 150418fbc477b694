"""The trigram: Kneser-Ney by the book, checked by hand and by counting in dictionaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from speech.language.trigram import Trigram

END = 0


def book(sentences: list[list[int]], words: int) -> Callable[[int, int, int], float]:
    """Chen and Goodman's equations written down with dictionaries, one order after another."""
    rows = [[END, END, *sentence, END] for sentence in sentences]
    trigrams = Counter(tuple(row[i : i + 3]) for row in rows for i in range(len(row) - 2))
    bigrams = Counter(one[1:] for one in trigrams)
    unigrams = Counter(one[1:] for one in bigrams)

    def discounts(counts: Counter[tuple[int, ...]]) -> list[float]:
        n = [sum(count == wanted for count in counts.values()) for wanted in range(5)]
        y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.5
        if not all(n[1:]):
            return [0.0] + [min(y, 0.95)] * 3
        raw = [1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        return [0.0, *(min(max(one, 0.05), most) for most, one in enumerate(raw, 1))]

    def probability(
        counts: Counter[tuple[int, ...]], context: tuple[int, ...], word: int, below: float
    ) -> float:
        seen = {ngram: count for ngram, count in counts.items() if ngram[:-1] == context}
        if not seen:
            return below
        d = discounts(counts)
        total = sum(seen.values())
        left = sum(d[min(3, count)] for count in seen.values()) / total
        count = seen.get((*context, word), 0)
        return (count - d[min(3, count)]) / total + left * below

    def trigram(first: int, second: int, word: int) -> float:
        below = probability(unigrams, (), word, 1.0 / words)
        below = probability(bigrams, (second,), word, below)
        return probability(trigrams, (first, second), word, below)

    return trigram


@pytest.fixture
def sentences() -> list[list[int]]:
    generator = np.random.default_rng(1)
    chances = 1.0 / np.arange(1, 9)
    return [
        generator.choice(8, size, p=chances / chances.sum()).tolist()
        for size in generator.integers(0, 7, size=60)
    ]


def test_a_probability_is_what_one_works_out_by_hand() -> None:
    # "1 2" and "1 3", in a vocabulary of 4. No trigram stands more than twice: one discount an order.
    model = Trigram([[1, 2], [1, 3]], [1.0, 1.0], words=4, end=END)
    # Trigrams: 0 0 1 twice; 0 1 2, 0 1 3, 1 2 0, 1 3 0 once: D = 4 / (4 + 2 * 1) = 2/3.
    # Bigrams, each after one other word: 0 1, 1 2, 1 3, 2 0, 3 0: D = 5 / 5, at most 0.95.
    # Words by how many words they follow: 1, 2, 3 one each, 0 two: D = 3 / (3 + 2) = 3/5.
    word = (1 - 3 / 5) / 5 + (4 * 3 / 5) / 5 * (1 / 4)  # of "2"
    after_1 = (1 - 0.95) / 2 + 0.95 * word
    after_0_1 = (1 - 2 / 3) / 2 + (2 / 3) * after_1
    assert np.exp(model.log_probs([0], [1], [2])) == pytest.approx(after_0_1)


def test_every_probability_is_the_books(sentences: list[list[int]]) -> None:
    model, reference = Trigram(sentences, [1.0] * len(sentences), 9, END), book(sentences, 9)
    histories = [(first, second, word) for first in range(9) for second in range(9) for word in range(9)]
    expected = [reference(*one) for one in histories]
    np.testing.assert_allclose(np.exp(model.log_probs(*np.array(histories).T)), expected, rtol=1e-9)


@pytest.mark.parametrize("history", [(0, 0), (1, 2), (8, 1), (1, 8), (8, 8)])  # 8 was never seen
def test_probabilities_sum_to_one_after_seen_and_unseen_words(
    sentences: list[list[int]], history: tuple[int, int]
) -> None:
    weights = np.random.default_rng(2).uniform(0.1, 5.0, len(sentences)).tolist()
    model = Trigram(sentences, weights, 9, END)
    first, second = (np.full(9, one) for one in history)
    assert np.exp(model.log_probs(first, second, np.arange(9))).sum() == pytest.approx(1.0)


def test_one_weight_for_all_changes_nothing_but_more_weight_draws_towards_a_text(
    sentences: list[list[int]],
) -> None:
    count = len(sentences)
    plain = Trigram(sentences, [1.0] * count, 9, END)
    heavy = Trigram(sentences, [7.0] * count, 9, END)
    np.testing.assert_allclose(heavy.score(sentences), plain.score(sentences))
    leaning = Trigram(sentences, [4.0] * 5 + [1.0] * (count - 5), 9, END)
    assert leaning.score(sentences[:5]).sum() > plain.score(sentences[:5]).sum()


def test_a_sentence_costs_its_words_and_its_end(sentences: list[list[int]]) -> None:
    model = Trigram(sentences, [1.0] * len(sentences), 9, END)
    steps = model.log_probs([0, 0, 3], [0, 3, 1], [3, 1, 0])
    scores = model.score([[3, 1], [], [2]])
    assert scores[0] == pytest.approx(steps.sum())
    assert scores[1] == pytest.approx(model.log_probs([0], [0], [0])[0])
    assert len(scores) == 3
