"""How good a caption is beside what people said of the photograph, fast enough to train with.

CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726) and BLEU-4 (Papineni et al. 2002, "BLEU: a method for
automatic evaluation of machine translation"). Captions come in as symbols, a figure each goes out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from caption.model.text import END
from common.bleu import LONGEST, ngrams

Word = TypeVar("Word")
Ngram = tuple[int, ...]
Reward = Callable[[int, Sequence[int]], float]  # number of a photograph, caption -> how good it is

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
            frequency.update({ngram for one in several for ngram in ngrams((*one, *self.end))})
        self._log_size = math.log(len(references))
        self._log_frequency = {ngram: math.log(count) for ngram, count in frequency.items()}
        self._references = [[self._vector(one) for one in several] for several in references]

    def __call__(self, number: int, caption: Sequence[int]) -> float:
        """How well a caption (symbols without start and end) fits photograph `number`; 0 to 10."""
        said = self._vector(caption)
        references = self._references[number]
        total = sum(_similarity(said, reference) for reference in references)
        return 10.0 * total / (LONGEST * len(references))

    def _vector(self, caption: Sequence[int]) -> _Vector:
        weights: tuple[dict[Ngram, float], ...] = tuple({} for _ in range(LONGEST))
        counts = Counter(ngrams((*caption, *self.end)))
        for ngram, count in counts.items():
            weights[len(ngram) - 1][ngram] = count * (self._log_size - self._log_frequency.get(ngram, 0.0))
        norms = tuple(math.sqrt(sum(weight * weight for weight in one.values())) for one in weights)
        return _Vector(weights, norms, max(0, len(caption) + len(self.end) - 1))


class BleuReward:
    """BLEU-4 of single captions against the references of one set of photographs.

    Args:
        references: for each photograph what people said, as symbols without start and end.
        with_end: the end of a caption is a word of its own, as in `CiderReward`.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[int]]], with_end: bool = True) -> None:
        self.end = (END,) if with_end else ()
        self._most: list[Counter[Ngram]] = []  # of each n-gram, how often it stands in one reference at most
        self._lengths: list[list[int]] = []
        for several in references:
            most: Counter[Ngram] = Counter()
            for one in several:
                most |= Counter(ngrams((*one, *self.end)))
            self._most.append(most)
            self._lengths.append([len(one) + len(self.end) for one in several])

    def __call__(self, number: int, caption: Sequence[int]) -> float:
        """How much of a caption (symbols without start and end) was said of photograph `number`; 0 to 1."""
        said = (*caption, *self.end)
        if len(said) < LONGEST:
            return 0.0
        matches = [0] * LONGEST
        for ngram, count in Counter(ngrams(said)).items():
            matches[len(ngram) - 1] += min(count, self._most[number][ngram])
        if 0 in matches:
            return 0.0
        # Of references that are equally near in length, the shorter.
        wanted = min(self._lengths[number], key=lambda length: (abs(length - len(said)), length))
        logs = sum(math.log(matched / (len(said) - place)) for place, matched in enumerate(matches))
        return math.exp(logs / LONGEST + min(0.0, 1.0 - wanted / len(said)))


def reward_of(references: Sequence[Sequence[Sequence[int]]], bleu_weight: float) -> Reward:
    """CIDEr-D and, if it has a weight, so many times BLEU-4; see both."""
    cider = CiderReward(references)
    if bleu_weight == 0.0:
        return cider
    bleu = BleuReward(references)
    return lambda number, caption: cider(number, caption) + bleu_weight * bleu(number, caption)


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
