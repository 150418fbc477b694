"""N-gram models: counted and smoothed by the book, pruned without breaking, rounded by little."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from speech.language.count_ngrams import Counts, count_ngrams
from speech.language.kneser_ney import Order, estimate, make_model, prune
from speech.language.ngram import NgramModel, Spelling
from speech.language.trigram import Trigram
from speech.language.vocabulary import END

WORDS = 8  # the end and the unknown word among them


@pytest.fixture
def sentences() -> list[list[int]]:
    generator = np.random.default_rng(1)
    chances = 1.0 / np.arange(1, WORDS - 1)
    chances /= chances.sum()
    return [
        (1 + generator.choice(WORDS - 2, size, p=chances)).tolist()
        for size in generator.integers(0, 9, size=90)
    ]


def text(sentences: Sequence[Sequence[int]]) -> NDArray[np.uint16]:
    return np.array([word for sentence in sentences for word in (*sentence, END)], dtype=np.uint16)


def keep_all(counts: Sequence[Counts]) -> list[Order]:
    return estimate(counts, [np.ones(len(one.keys), bool) for one in counts])


def model_of(orders: Sequence[Order]) -> NgramModel:
    words = [f"word{chr(97 + number)}" for number in range(WORDS - 2)]
    empty = Spelling("", np.empty(0, np.int16), np.zeros(len(words), np.uint8))
    return make_model(orders, words, 1, empty)


def probabilities(orders: Sequence[Order], history: Sequence[int]) -> NDArray[np.float64]:
    """Of each word after a history, shares added up order by order."""
    found = np.full(WORDS, 1.0 / WORDS)
    for length, order in enumerate(orders):
        context = 0
        for word in history[len(history) - length :]:
            context = context << 16 | word
        (places,) = np.nonzero(order.counts.keys >> np.uint64(16) == np.uint64(context))
        shares, left = np.zeros(WORDS), 1.0
        if len(places):
            shares[order.counts.keys[places] & np.uint64(0xFFFF)] = order.shares[places]
            left = order.left[order.counts.prefixes[places[0]]]
        found = shares + left * found
    return found


def split(key: np.uint64, words: int) -> list[int]:
    return [int(key) >> 16 * distance & 0xFFFF for distance in range(words - 1, -1, -1)]


def histories(length: int) -> list[tuple[int, ...]]:
    """All that may come before a word: after an end there were but ends."""
    found = itertools.product(range(WORDS), repeat=length)
    return [one for one in found if all(a == END for a, b in itertools.pairwise(one) if b == END)]


def test_every_probability_is_that_of_the_plain_trigram(sentences: list[list[int]]) -> None:
    heavy, light = sentences[:50], sentences[50:]
    orders = keep_all(count_ngrams([(text(heavy), 3.0), (text(light), 0.5)], 3, WORDS))
    plain = Trigram(sentences, [3.0] * 50 + [0.5] * 40, WORDS, END)
    for history in histories(2):
        first, second = (np.full(WORDS, one) for one in history)
        expected = np.exp(plain.log_probs(first, second, np.arange(WORDS)))
        np.testing.assert_allclose(probabilities(orders, history), expected, rtol=1e-5)


def test_probabilities_of_trigrams_are_stored_with_them(sentences: list[list[int]]) -> None:
    orders = keep_all(count_ngrams([(text(sentences), 1.0)], 3, WORDS))
    longest = orders[-1]
    for number, key in enumerate(longest.counts.keys):
        *history, word = split(key, 3)
        expected = probabilities(orders, history)[word]
        assert longest.probabilities[number] == pytest.approx(expected, rel=1e-5)


def test_texts_of_several_weights_count_as_one_after_the_other(sentences: list[list[int]]) -> None:
    parts = [(text(sentences[:40]), 1.0), (text(sentences[40:70]), 2.0), (text(sentences[70:]), 1.0)]
    together = [(text(sentences[:40] + sentences[70:]), 1.0), (text(sentences[40:70]), 2.0)]
    for one, other in zip(count_ngrams(parts, 3, WORDS), count_ngrams(together, 3, WORDS), strict=True):
        np.testing.assert_array_equal(one.keys, other.keys)
        np.testing.assert_array_equal(one.raw, other.raw)
        np.testing.assert_allclose(one.weighted, other.weighted)


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("room", [10**6, 600, 150, 30])
def test_a_pruned_model_fits_its_room_and_its_probabilities_sum_to_one(
    sentences: list[list[int]], order: int, room: int
) -> None:
    orders = prune(count_ngrams([(text(sentences), 1.0)], order, WORDS), room)
    for history in histories(order - 1)[::7]:
        assert probabilities(orders, history).sum() == pytest.approx(1.0, rel=1e-5)
    model = model_of(orders)
    size = sum(3 * one.size + len(one.counts) + np.count_nonzero(one.counts) for one in model.longer)
    assert size <= room
    assert len(model.longer) == order - 1


def test_what_is_pruned_counts_in_full_below(sentences: list[list[int]]) -> None:
    counts = count_ngrams([(text(sentences), 1.0)], 3, WORDS)
    kept = [np.ones(len(one.keys), bool) for one in counts]
    kept[2][:] = kept[1][:] = False
    kept[0][:] = True
    unigrams = estimate(counts, kept)[0]
    # With nothing above it, a word is as frequent as it is in the text, but for the discount.
    often = np.bincount(text(sentences), minlength=WORDS)
    seen = often > 3  # all of these have the same discount
    discount = often[seen] - unigrams.shares[seen] * often.sum()
    np.testing.assert_allclose(discount, discount[0], atol=1e-3)


def test_a_pruned_model_predicts_its_text_better_than_one_with_less_room(
    sentences: list[list[int]],
) -> None:
    counts = count_ngrams([(text(sentences), 1.0)], 3, WORDS)
    scores = [
        model_of(prune(counts, room)).sentence_log_probs(sentences).sum() for room in (10**6, 700, 400, 60)
    ]
    assert scores == sorted(scores, reverse=True)


def test_rounding_changes_little_and_sums_stay_near_one(sentences: list[list[int]]) -> None:
    orders = prune(count_ngrams([(text(sentences), 1.0)], 3, WORDS), 500)
    model = model_of(orders)
    most = max(max(one.step, one.back_off_step) for one in model.longer)
    words = np.arange(WORDS)
    for history in histories(2):
        contexts = np.full((2, WORDS), -1)
        for word in history:
            contexts = model.after(contexts, np.full(WORDS, word))
        found = model.log_probs(contexts, words)
        np.testing.assert_allclose(found, np.log(probabilities(orders, history)), atol=2 * most)
        assert np.exp(found).sum() == pytest.approx(1.0, abs=2 * most)
