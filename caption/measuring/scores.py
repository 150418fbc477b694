"""How well captions agree with what people said of the same photographs: ROUGE-L and CIDEr.

Comes in: for each photograph references and one caption, as words. Goes out: a figure each. They are those of
the COCO caption evaluation, whose reference implementation the tests compare with.
"""

from __future__ import annotations

from collections.abc import Sequence

from caption.measuring.reward import CiderReward

Words = Sequence[str]

# Weight of recall beside precision in ROUGE-L.
_BETA = 1.2


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
