"""How good a caption is beside what people said of the photograph: CIDEr-D, fast enough to train with.

Vedantam et al. 2015, arXiv:1411.5726. Comes in: captions as sequences of symbols. Goes out: one figure each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caption.text import END

Ngram = tuple[int, ...]

_LONGEST = 4
# Of the penalty for captions that are longer or shorter than the reference.
_SIGMA = 6.0


@dataclass(frozen=True)
class _Vector:
    """A caption's n-grams, weighed by how telling they are, one entry for each n.

    Attributes:
        weights: n-gram -> weight.
        norms: Euclidean lengths.
        pairs: bigrams of the caption; the reference implementation measures its length so.
    """

    weights: tuple[dict[Ngram, float], ...]
    norms: tuple[float, ...]
    pairs: int


class CiderReward:
    """CIDEr-D against the references of one set of photographs, whose rare n-grams count most.

    Args:
        references: for each photograph what people said, as symbols without start and end.
        with_end: the end of a caption is a word of its own. Without that, captions that are trained
            for this reward break off after "with a".
    """

    def __init__(self, references: Sequence[Sequence[Sequence[int]]], with_end: bool = True) -> None:
        self.end = (END,) if with_end else ()
        frequency: Counter[Ngram] = Counter()
        for several in references:
            frequency.update({ngram for one in several for ngram in _ngrams((*one, *self.end))})
        self._log_size = math.log(len(references))
        self._log_frequency = {ngram: math.log(count) for ngram, count in frequency.items()}
        self._references = [[self._vector(one) for one in several] for several in references]

    def __call__(self, number: int, caption: Sequence[int]) -> float:
        """How well a caption (symbols without start and end) fits photograph `number`; 0 to 10."""
        said = self._vector(caption)
        references = self._references[number]
        total = sum(_similarity(said, reference) for reference in references)
        return 10.0 * total / (_LONGEST * len(references))

    def _vector(self, caption: Sequence[int]) -> _Vector:
        weights: tuple[dict[Ngram, float], ...] = tuple({} for _ in range(_LONGEST))
        counts = Counter(_ngrams((*caption, *self.end)))
        for ngram, count in counts.items():
            weights[len(ngram) - 1][ngram] = count * (self._log_size - self._log_frequency.get(ngram, 0.0))
        norms = tuple(math.sqrt(sum(weight * weight for weight in one.values())) for one in weights)
        return _Vector(weights, norms, max(0, len(caption) + len(self.end) - 1))


def _ngrams(caption: Sequence[int]) -> Iterator[Ngram]:
    """All n-grams of a caption, n from 1 to 4."""
    symbols = tuple(caption)
    for size in range(1, _LONGEST + 1):
        for start in range(len(symbols) - size + 1):
            yield symbols[start : start + size]


def _similarity(said: _Vector, reference: _Vector) -> float:
    """Sum over n of the clipped cosine between two captions, less for unlike lengths."""
    total = 0.0
    for ours, our_norm, theirs, their_norm in zip(
        said.weights, said.norms, reference.weights, reference.norms, strict=True
    ):
        if our_norm == 0.0 or their_norm == 0.0:
            continue
        shared = 0.0
        for ngram, weight in ours.items():
            other = theirs.get(ngram)
            if other is not None:
                shared += min(weight, other) * other
        total += shared / (our_norm * their_norm)
    return total * math.exp(-((said.pairs - reference.pairs) ** 2) / (2.0 * _SIGMA**2))
