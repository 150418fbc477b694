"""Counting n-grams: weighted texts in, how often every sequence of words stands in them out.

A hundred million words are counted in a few minutes and gigabytes: an n-gram is one number, so that sorting
brings like ones together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from speech.language.followers import WORD_BITS
from speech.language.options import Source
from speech.language.sentences import read_normalized
from speech.language.vocabulary import END, SPECIAL, UNKNOWN

# A number holds so many words.
MOST_ORDER = 64 // WORD_BITS

# N-grams that are looked at at once, where that saves memory.
TOGETHER = 1 << 24

Keys = NDArray[np.uint64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Text:
    """The words of a source.

    Attributes:
        words: (words,) by number, each sentence with its end.
        weight: how often a sentence counts.
    """

    words: NDArray[np.int32]
    weight: float


@dataclass(frozen=True)
class Counts:
    """How often the n-grams of one length stand in the text.

    Attributes:
        order: words of each.
        keys: the n-grams, ascending; each word's number takes `WORD_BITS` bits, the last word's the lowest.
        raw: how often each stands there; of those that are not the longest, after how many different words.
        weighted: the same, each sentence counted as often as its weight says.
        prefixes, suffixes: of each, the places of its first and its last words among the n-grams that are one
            word shorter; 0 for single words.
    """

    order: int
    keys: Keys
    raw: NDArray[np.int32]
    weighted: NDArray[np.float32]
    prefixes: NDArray[np.int32]
    suffixes: NDArray[np.int32]


def read_texts(sources: Sequence[Source]) -> tuple[list[str], list[Text]]:
    """Read sources; a sentence that stands in one several times is read once.

    Returns:
        All words by number, the end of a sentence first; and the texts.

    Raises:
        InputError: if a source cannot be read or holds no words.
    """
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    end = SPECIAL[END]
    numbers[end] = END
    texts = []
    for source in sources:
        seen: set[int] = set()
        parts: list[NDArray[np.int32]] = []
        for block in read_normalized(source.path):
            new = []
            for sentence in block:
                mark = hash(sentence)  # a hundredth of the sentence's memory
                if mark not in seen:
                    seen.add(mark)
                    new.append(sentence)
            words = f" {end} ".join([*new, ""]).split()
            parts.append(np.fromiter(map(numbers.__getitem__, words), np.int32, len(words)))
        if not seen:
            raise InputError(source.path, "holds no words")
        texts.append(Text(np.concatenate(parts), source.weight))
    return list(numbers), texts


def choose_words(words: Sequence[str], texts: Iterable[Text], size: int) -> list[str]:
    """The most frequent words of weighted texts; ties by the alphabet.

    Args:
        words: by number, the end of a sentence first.
        texts: of these words.
        size: most of them, the end and the unknown word included.
    """
    counts = np.zeros(len(words))
    for text in texts:
        counts += text.weight * np.bincount(text.words, minlength=len(words))
    ranked = sorted(range(1, len(words)), key=lambda number: (-counts[number], words[number]))
    return [words[number] for number in ranked[: size - len(SPECIAL)]]


def renumber(words: Sequence[str], vocabulary: Sequence[str]) -> NDArray[np.uint16]:
    """The number that each word has in a model of certain words, (words,)."""
    numbers = {word: number for number, word in enumerate(vocabulary, start=len(SPECIAL))}
    numbers[SPECIAL[END]] = END
    return np.array([numbers.get(word, UNKNOWN) for word in words], dtype=np.uint16)


def count_ngrams(texts: Iterable[tuple[NDArray[np.uint16], float]], order: int, words: int) -> list[Counts]:
    """Count n-grams of 1 to `order` words.

    Only the longest are counted as they stand. Of shorter ones it counts after how many different words they
    stand (Kneser and Ney 1995). A sentence's weight multiplies what its n-grams count, but how much is
    discounted is decided by how often they truly stand in the text: counted 4 times each, words seen once
    would look well known. After each different word an n-gram counts what it weighs there on the average.

    Args:
        texts: words by number, each sentence with its end; and the text's weight.
        order: words of the longest.
        words: in the vocabulary; all of them are counted, if as 0.
    """
    by_weight: dict[float, list[NDArray[np.uint16]]] = defaultdict(list)
    for numbers, weight in texts:
        by_weight[weight].append(numbers)
    keys, raw, weighted = np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.float32)
    # The most first: to put little into much is quick.
    for weight, parts in sorted(by_weight.items(), key=lambda one: -sum(map(len, one[1]))):
        more, counts = _count(parts, order)
        places = np.searchsorted(keys, more)
        there = np.zeros(len(more), bool)
        if len(keys):
            there = keys[np.minimum(places, len(keys) - 1)] == more
        raw[places[there]] += counts[there]
        weighted[places[there]] += (weight * counts[there]).astype(np.float32)
        places, counts = places[~there], counts[~there]
        keys = np.insert(keys, places, more[~there])
        raw = np.insert(raw, places, counts)
        weighted = np.insert(weighted, places, weight * counts)
    return _with_shorter(order, keys, raw, weighted, words)


def sums(places: NDArray[np.int32], values: NDArray[np.floating] | NDArray[np.integer], size: int) -> Values:
    """The sum of the values at each place, (size,)."""
    found = np.zeros(size)
    for start in range(0, len(places), TOGETHER):
        part = slice(start, start + TOGETHER)
        found += np.bincount(places[part], values[part], size)
    return found


def _count(parts: Sequence[NDArray[np.uint16]], order: int) -> tuple[Keys, NDArray[np.int32]]:
    """The n-grams of one length and how often each stands in texts."""
    keys = np.empty(sum(map(len, parts)), np.uint64)
    filled = 0
    for words in parts:
        for start in range(0, len(words), TOGETHER):
            last = words[start : start + TOGETHER]
            key = last.astype(np.uint64)
            before_is_end = np.zeros(len(last), bool)
            for distance in range(1, order):
                before = _shifted(words, start, len(last), distance)
                # Before a sentence there are but ends.
                before[before_is_end] = END
                before_is_end = before == END
                key |= before.astype(np.uint64) << np.uint64(WORD_BITS * distance)
            keys[filled : filled + len(key)] = key
            filled += len(key)
    keys.sort()
    starts = _starts(keys)
    counts = np.diff(np.append(starts, len(keys))).astype(np.int32)
    return keys[starts], counts


def _shifted(words: NDArray[np.uint16], start: int, count: int, distance: int) -> NDArray[np.uint16]:
    """The words so many places before those from `start`; before the first there are ends."""
    missing = max(0, distance - start)
    shifted = np.full(count, END, np.uint16)
    shifted[missing:] = words[start - distance + missing : start - distance + count]
    return shifted


def _with_shorter(
    order: int, keys: Keys, raw: NDArray[np.int32], weighted: NDArray[np.float32], words: int
) -> list[Counts]:
    """The n-grams of 1 to `order` words, given the longest."""
    if order == 1:
        nothing = np.zeros(len(keys), np.int32)
        return [Counts(order, keys, raw, weighted, nothing, nothing)]
    last_words = keys & np.uint64((1 << WORD_BITS * (order - 1)) - 1)
    if order == 2:
        shorter = np.arange(words, dtype=np.uint64)
    else:
        # The beginning of a sentence is a context, though nothing was counted that ends with it.
        shorter = np.append(last_words, np.uint64(0))
        shorter.sort()  # far faster than `np.unique`
        shorter = shorter[_starts(shorter)]
    suffixes = np.empty(len(keys), np.int32)
    for start in range(0, len(keys), TOGETHER):
        suffixes[start : start + TOGETHER] = np.searchsorted(shorter, last_words[start : start + TOGETHER])
    del last_words
    contexts = keys >> np.uint64(WORD_BITS)
    starts = _starts(contexts)
    prefixes = np.searchsorted(shorter, contexts[starts]).astype(np.int32)
    del contexts
    prefixes = np.repeat(prefixes, np.diff(np.append(starts, len(keys))))
    longest = Counts(order, keys, raw, weighted, prefixes, suffixes)
    raw, weighted = continuations(longest, np.ones(len(keys), bool), raw, weighted, len(shorter))
    return [*_with_shorter(order - 1, shorter, raw, weighted, words), longest]


def continuations(
    longer: Counts,
    kept: NDArray[np.bool_],
    raw: NDArray[np.int32],
    weighted: NDArray[np.floating],
    size: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """What n-grams count after a word more was in front of them.

    Args:
        longer: with that word.
        kept: of the longer ones, which have a probability of their own: they count once, others in full.
        raw, weighted: counts of the longer ones.
        size: how many are one word shorter.

    Returns:
        The raw and the weighted counts of the shorter ones.
    """
    once = np.where(kept, np.minimum(raw, 1), raw)
    shorter_raw = sums(longer.suffixes, once, size).astype(np.int32)
    # After each different word, what it weighs there on the average.
    once = np.where(kept, weighted / np.maximum(raw, 1), weighted)
    return shorter_raw, sums(longer.suffixes, once, size).astype(np.float32)


def _starts(keys: Keys) -> NDArray[np.int64]:
    """Where each different one of ascending numbers begins."""
    new = np.ones(len(keys), bool)
    new[1:] = keys[1:] != keys[:-1]
    return np.flatnonzero(new)
