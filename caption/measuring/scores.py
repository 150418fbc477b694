"""How well captions agree with what people said of the same photographs: corpus BLEU, ROUGE-L and CIDEr.

Comes in: for each photograph references and one caption, as words. Goes out: a figure each. They are those of
the COCO caption evaluation, whose reference implementation the tests compare with.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from caption.measuring.reward import CiderReward, ngrams

Words = Sequence[str]

# Weight of recall beside precision in ROUGE-L.
_BETA = 1.2
# Keep the reference implementation's fractions from being 0 / 0.
_TINY, _SMALL = 1e-15, 1e-9


def corpus_bleu(references: Sequence[Sequence[Words]], captions: Sequence[Words]) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4 of all captions together, 0 to 1.

    Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation". Of references that
    are equally near in length, the shorter counts.

    Args:
        references: for each photograph at least one.
        captions: one a photograph.
    """
    matched, made = [0] * 4, [0] * 4
    wanted = said = 0
    for several, caption in zip(references, captions, strict=True):
        most: Counter[tuple[str, ...]] = Counter()
        for one in several:
            most |= Counter(ngrams(one))
        for ngram, count in Counter(ngrams(caption)).items():
            matched[len(ngram) - 1] += min(count, most[ngram])
        for size in range(4):
            made[size] += max(0, len(caption) - size)
        said += len(caption)
        wanted += min((len(one) for one in several), key=lambda length: (abs(length - len(caption)), length))
    ratio = (said + _TINY) / (wanted + _SMALL)
    brevity = math.exp(min(0.0, 1.0 - 1.0 / ratio))
    scores, product = [], 1.0
    for size in range(4):
        product *= (matched[size] + _TINY) / (made[size] + _SMALL)
        scores.append(brevity * product ** (1.0 / (size + 1)))
    return tuple(scores)


def rouge_l(references: Sequence[Sequence[Words]], captions: Sequence[Words]) -> float:
    """ROUGE-L, 0 to 1: the mean over captions of how much stands in a reference in the same order.

    Lin 2004, "ROUGE: a package for automatic evaluation of summaries". Best precision and best recall may be
    those of different references.
    """
    total = 0.0
    for several, caption in zip(references, captions, strict=True):
        common = [longest_common(one, caption) for one in several]
        precision = max(length / len(caption) for length in common) if caption else 0.0
        recall = max(length / len(one) for length, one in zip(common, several, strict=True) if one)
        if precision and recall:
            total += (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
    return total / len(captions)


def longest_common(one: Words, other: Words) -> int:
    """Length of the longest sequence of words that stand in both, in this order, perhaps with gaps."""
    row = [0] * (len(other) + 1)
    for word in one:
        above_left = 0
        for place, another in enumerate(other, start=1):
            above = row[place]
            row[place] = above_left + 1 if word == another else max(above, row[place - 1])
            above_left = above
    return row[-1]


def cider(references: Sequence[Sequence[Words]], captions: Sequence[Words]) -> float:
    """CIDEr-D, 0 to 10: the mean over captions of their agreement, weighed by how telling words are.

    Vedantam et al. 2015, arXiv:1411.5726.
    """
    numbers: dict[str, int] = {}

    def numbered(words: Words) -> list[int]:
        return [numbers.setdefault(word, len(numbers)) for word in words]

    reward = CiderReward([[numbered(one) for one in several] for several in references], with_end=False)
    return sum(reward(place, numbered(caption)) for place, caption in enumerate(captions)) / len(captions)
