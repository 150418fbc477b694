"""An interpolated Kneser-Ney trigram: the yardstick for the recurrent language model, and nothing else.

Comes in: sentences as arrays of word numbers, each with a weight. Goes out: probabilities of words after
two others, and of sentences. Kneser and Ney 1995 (doi:10.1109/ICASSP.1995.479394) with the three discounts
of Chen and Goodman 1999 (doi:10.1006/csla.1999.0128).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ORDER = 3


@dataclass(frozen=True)
class _Level:
    """The probabilities of one order, to be added up with those of the order below.

    Attributes:
        ngrams: those seen, as one number each (base: the vocabulary), ascending.
        shares: of each, what is left of its relative frequency after the discount.
        contexts: the ngrams without their last word, ascending.
        left: of each context, what the discounts took: the weight of the order below.
    """

    ngrams: Integers
    shares: Floats
    contexts: Integers
    left: Floats


class Trigram:
    """Interpolated Kneser-Ney over word numbers; the end of a sentence also stands, twice, before its start.

    A sentence's weight multiplies what its trigrams count, but how much is discounted is decided by how
    often they truly stand in the text: counted 4 times each, words seen once would look well known.
    Between texts of one weight this is Kneser-Ney to the letter.

    Args:
        sentences: arrays of word numbers, without the end.
        weights: of each sentence.
        words: size of the vocabulary.
        end: number of the end of a sentence.
    """

    def __init__(
        self, sentences: Sequence[npt.ArrayLike], weights: Sequence[float], words: int, end: int
    ) -> None:
        self.words = words
        self.end = end
        trigrams, lengths = self._trigrams(sentences)
        ngrams, places, raw = np.unique(trigrams, return_inverse=True, return_counts=True)
        weighted = _sums(places, np.repeat(np.asarray(weights, dtype=np.float64), lengths), len(ngrams))
        self.levels: list[_Level] = []
        for order in range(ORDER, 0, -1):
            self.levels.append(_level(ngrams, raw, weighted, words))
            if order > 1:
                # The order below asks after how many different words an ngram stands, not how often.
                mean = weighted / raw
                ngrams, places, raw = np.unique(
                    ngrams % words ** (order - 1), return_inverse=True, return_counts=True
                )
                weighted = _sums(places, mean, len(ngrams))

    def log_probs(self, first: npt.ArrayLike, second: npt.ArrayLike, word: npt.ArrayLike) -> Floats:
        """Log-probability of each word after `first second`; three arrays of one shape (n,)."""
        first, second, word = (np.asarray(one, dtype=np.int64) for one in (first, second, word))
        return self._log_probs((first * self.words + second) * self.words + word)

    def score(self, sentences: Sequence[npt.ArrayLike]) -> Floats:
        """Log-probability of each sentence, its end included: (sentences,)."""
        trigrams, lengths = self._trigrams(sentences)
        owners = np.repeat(np.arange(len(lengths)), lengths)
        return _sums(owners, self._log_probs(trigrams), len(lengths))

    def _log_probs(self, trigrams: Integers) -> Floats:
        """Of each trigram's last word, given the two before it."""
        probabilities = np.full(len(trigrams), 1.0 / self.words)
        for order, level in enumerate(reversed(self.levels), start=1):
            ngrams = trigrams % self.words**order
            left = _look_up(level.contexts, level.left, ngrams // self.words, missing=1.0)
            probabilities = _look_up(level.ngrams, level.shares, ngrams, missing=0.0) + left * probabilities
        return np.log(probabilities)

    def _trigrams(self, sentences: Sequence[npt.ArrayLike]) -> tuple[Integers, Integers]:
        """All trigrams of all sentences as numbers, and how many each has: its words and its end."""
        padding = np.array([self.end, self.end])
        rows = [np.concatenate([padding, np.asarray(one, dtype=np.int64), padding[:1]]) for one in sentences]
        lengths = np.array([len(row) - 2 for row in rows], dtype=np.int64)
        words = np.concatenate([*rows, np.empty(0, dtype=np.int64)])
        starts = np.repeat(np.cumsum(lengths + 2) - lengths - 2, lengths + 2)
        positions = np.arange(len(words))
        lasts = positions[positions - starts >= 2]  # a trigram ends with any word but the first two
        return (words[lasts - 2] * self.words + words[lasts - 1]) * self.words + words[lasts], lengths


def _level(ngrams: Integers, raw: Integers, weighted: Floats, words: int) -> _Level:
    """Discount the counts of one order: ngrams ascending, how often they stand, what that weighs."""
    discount = discounts(raw)[np.minimum(raw, 3)]
    contexts, places = np.unique(ngrams // words, return_inverse=True)
    totals = _sums(places, weighted, len(contexts))
    taken = weighted * discount / raw
    left = _sums(places, taken, len(contexts)) / totals
    return _Level(ngrams, (weighted - taken) / totals[places], contexts, left)


def discounts(raw: Integers) -> Floats:
    """What is taken from ngrams that stand 0 (nothing), 1, 2, 3 or more times in the text: (4,).

    In a text so small that some count does not occur, the one discount of Kneser and Ney is used for all.
    """
    once, twice, thrice, four = (int((raw == count).sum()) for count in range(1, 5))
    share = once / (once + 2.0 * twice) if once else 0.5
    single = min(share, 0.95)  # in a text of nothing but rarities all would be taken
    if not (once and twice and thrice and four):
        return np.array([0.0, single, single, single])
    three = [1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four / thrice]
    return np.array([0.0, *(min(max(one, 0.05), count) for count, one in enumerate(three, start=1))])


def _look_up(keys: Integers, values: Floats, wanted: Integers, missing: float) -> Floats:
    """The value behind each wanted key; keys ascend."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], missing)


def _sums(places: Integers, values: Floats, size: int) -> Floats:
    """The sum of the values at each place, (size,)."""
    return np.bincount(places, values, size).astype(np.float64, copy=False)
