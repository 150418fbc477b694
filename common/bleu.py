"""How well sentences agree with references: BLEU, by the n-grams that they share.

Comes in: for each sentence its references, as words. Goes out: a figure for all together, that of the COCO
caption evaluation, whose reference implementation the tests compare with.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

Word = TypeVar("Word")
Words = Sequence[str]

LONGEST = 4  # words of an n-gram

# Keep the reference implementation's fractions from being 0 / 0.
_TINY, _SMALL = 1e-15, 1e-9


def corpus_bleu(references: Sequence[Sequence[Words]], sentences: Sequence[Words]) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4 of all sentences together, 0 to 1.

    Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation". Of references that
    are equally near in length, the shorter counts.

    Args:
        references: for each sentence at least one.
        sentences: one sentence each.
    """
    matched, made = [0] * 4, [0] * 4
    wanted = said = 0
    for several, sentence in zip(references, sentences, strict=True):
        most: Counter[tuple[str, ...]] = Counter()
        for one in several:
            most |= Counter(ngrams(one))
        for ngram, count in Counter(ngrams(sentence)).items():
            matched[len(ngram) - 1] += min(count, most[ngram])
        for size in range(4):
            made[size] += max(0, len(sentence) - size)
        said += len(sentence)
        wanted += min((len(one) for one in several), key=lambda length: (abs(length - len(sentence)), length))
    ratio = (said + _TINY) / (wanted + _SMALL)
    brevity = math.exp(min(0.0, 1.0 - 1.0 / ratio))
    scores, product = [], 1.0
    for size in range(4):
        product *= (matched[size] + _TINY) / (made[size] + _SMALL)
        scores.append(brevity * product ** (1.0 / (size + 1)))
    return tuple(scores)


def ngrams(sentence: Sequence[Word]) -> Iterator[tuple[Word, ...]]:
    """All n-grams of a sentence, whose words are of any kind; n from 1 to 4."""
    symbols = tuple(sentence)
    for size in range(1, LONGEST + 1):
        for start in range(len(symbols) - size + 1):
            yield symbols[start : start + size]
