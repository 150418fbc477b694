"""From counts to a language model: smoothing, pruning and rounding.

Comes in: how often n-grams stand in a text. Goes out: probabilities of words after others, of as many n-grams
as there is room for. Interpolated Kneser-Ney with three discounts (Chen and Goodman 1999,
doi:10.1006/csla.1999.0128).

A word's share of a lower order is counted by the contexts that it stands in, because it is asked only where
the higher order knows nothing. That is no longer so where the higher order was pruned: then all that was
pruned counts below as often as it stands (Siivola, Hirsimäki and Virpioja 2007,
doi:10.1109/TASL.2007.902872). Without it pruned Kneser-Ney is worse than cruder smoothing (Chelba et al.
2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.language.count_ngrams import Counts, continuations, sums
from speech.language.followers import LARGEST_CODE, WORD_BITS, Followers, code_values, nearest_codes
from speech.language.ngram import MOST_WORDS, NgramModel, Spelling
from speech.language.trigram import discounts

# Bytes of an n-gram: its word and its probability; of one that may be a context, how many words follow; of
# one that is, its back-off weight.
_NGRAM, _MAYBE_CONTEXT, _CONTEXT = 3, 1, 1

# Of the longest n-grams, so many times as many as fit are judged; the others stand too rarely.
_JUDGED = 5

# N-grams that a model is asked about at once.
_TOGETHER = 1 << 17

Values = NDArray[np.float64]
Truths = NDArray[np.bool_]


@dataclass(frozen=True)
class Order:
    """The probabilities of the n-grams of one length.

    Attributes:
        counts: of the n-grams.
        kept: (ngrams,) which have a probability of their own.
        shares: (ngrams,) what they have besides that of the shorter n-gram; 0 if not kept.
        left: (contexts,) weight of the shorter n-grams; a context is an n-gram that is one word shorter.
        probabilities: (ngrams,) of the last word, given the others.
    """

    counts: Counts
    kept: Truths
    shares: NDArray[np.float32]
    left: Values
    probabilities: NDArray[np.float32]


def estimate(counts: Sequence[Counts], kept: Sequence[Truths]) -> list[Order]:
    """The probabilities of all n-grams when some are kept.

    Args:
        counts: of 1 word, 2 words and so on.
        kept: of each of these, (ngrams,); all of 1 word.
    """
    sizes = [1, *(len(one.keys) for one in counts)]  # of all contexts, from the empty one
    raw, weighted = counts[-1].raw, counts[-1].weighted
    shares: list[NDArray[np.float32]] = []
    for one in reversed(counts):
        its_kept, contexts = kept[one.order - 1], sizes[one.order - 1]
        shares.insert(0, _shares(one, raw, weighted, its_kept, contexts))
        if one.order > 1:
            raw, weighted = continuations(one, its_kept, raw, weighted, contexts)
    found: list[Order] = []
    shorter = np.full(1, 1.0 / len(counts[0].keys), np.float32)
    for one, its_kept, its_shares, contexts in zip(counts, kept, shares, sizes, strict=False):
        # Not 0 by rounding: a discount is left of every context.
        left = np.maximum(1.0 - sums(one.prefixes, its_shares, contexts), 1e-7)
        probabilities = left.astype(np.float32)[one.prefixes]
        probabilities *= shorter[one.suffixes]
        probabilities += its_shares
        found.append(Order(one, its_kept, its_shares, left, probabilities))
        shorter = probabilities
    return found


def _shares(
    counts: Counts, raw: NDArray[np.int32], weighted: NDArray[np.float32], kept: Truths, contexts: int
) -> NDArray[np.float32]:
    """What is left of the relative frequency of each n-gram after the discount; 0 if it is not kept."""
    discount = discounts(raw.astype(np.int64)).astype(np.float32)
    rest = (1.0 - discount[np.minimum(raw, 3)] / np.maximum(raw, 1)).astype(np.float32)
    shares: NDArray[np.float32] = weighted * rest
    shares /= np.maximum(sums(counts.prefixes, weighted, contexts), 1e-30).astype(np.float32)[counts.prefixes]
    shares[~kept] = 0.0
    return shares


def prune(counts: Sequence[Counts], room: int) -> list[Order]:
    """The probabilities of as many n-grams as there is room for: those without which most would be lost.

    Args:
        counts: of 1 word, 2 words and so on.
        room: bytes for the n-grams of 2 words and more.
    """
    kept = [np.ones(len(one.keys), bool) for one in counts]
    if _size(counts, kept) <= room:
        return estimate(counts, kept)
    most = max(1, _JUDGED * room // _NGRAM)
    longest = counts[-1].weighted
    if len(longest) > most:
        kept[-1] = longest > np.partition(longest, -most)[-most]
    lost = _losses(estimate(counts, kept))
    low, high = 1e-12, 1.0
    while high / low > 1.001:
        bound = (low * high) ** 0.5
        if _size(counts, _above(counts, lost, bound)) <= room:
            high = bound
        else:
            low = bound
    return estimate(counts, _above(counts, lost, high))


def _losses(orders: Sequence[Order]) -> list[NDArray[np.float32]]:
    """How much worse predictions get, in nats a word, if an n-gram is not kept: of each order but the first.

    It is the relative entropy of Stolcke 1998 ("Entropy-based pruning of backoff language models"), with how
    often the context truly stands in the text: the shorter n-grams' probabilities would not tell.
    """
    found: list[NDArray[np.float32]] = []
    stands = orders[-1].counts.weighted
    total = float(stands.sum(dtype=np.float64))
    for order, shorter in zip(orders[:0:-1], orders[-2::-1], strict=True):
        counts, contexts = order.counts, len(order.left)
        often = sums(counts.prefixes, stands, contexts) / total
        (kept,) = np.nonzero(order.kept)
        prefixes, suffixes = counts.prefixes[kept], counts.suffixes[kept]
        below = shorter.probabilities[suffixes].astype(np.float64)
        known = sums(prefixes, below, contexts)[prefixes]  # what the shorter ones say of all that are kept
        share, left = order.shares[kept].astype(np.float64), order.left[prefixes]
        probability = share + left * below
        change = probability * np.log(probability / ((left + share) * below))
        change -= share * np.maximum(known - below, 0.0)
        change -= left * np.maximum(1.0 - known, 0.0) * np.log1p(share / left)
        losses = np.zeros(len(order.kept), np.float32)
        losses[kept] = change * often[prefixes]
        found.insert(0, losses)
        stands = sums(counts.suffixes, stands, contexts).astype(np.float32)
    return found


def _above(counts: Sequence[Counts], losses: Sequence[NDArray[np.float32]], bound: float) -> list[Truths]:
    """Which n-grams are kept: those whose loss is above a bound, contexts of those, and single words."""
    kept = [np.ones(len(counts[0].keys), bool), *(one > bound for one in losses)]
    for number in range(len(counts) - 1, 1, -1):
        kept[number - 1][counts[number].prefixes[kept[number]]] = True
    return kept


def _size(counts: Sequence[Counts], kept: Sequence[Truths]) -> int:
    """Bytes that n-grams of 2 words and more take in a model."""
    size = 0
    for number in range(1, len(counts)):
        some = np.zeros(len(kept[number - 1]), bool)
        some[counts[number].prefixes[kept[number]]] = True
        size += _NGRAM * int(np.count_nonzero(kept[number])) + _CONTEXT * int(np.count_nonzero(some))
        size += _MAYBE_CONTEXT * int(np.count_nonzero(kept[number - 1]))
    return size


def make_model(
    orders: Sequence[Order], words: Sequence[str], unknown_words: int, spelling: Spelling
) -> NgramModel:
    """Round what was estimated to 8 bits.

    Args:
        orders: of 1 word, 2 words and so on.
        words: without the end and the unknown word.
        unknown_words: how many different ones the text had.
        spelling: of the words.
    """
    unigrams = np.log(orders[0].probabilities).astype(np.float16).astype(np.float32)
    model = NgramModel(words, unigrams, [], unknown_words, spelling)
    places = np.arange(len(unigrams))  # of each kept n-gram among the kept ones
    for order in orders[1:]:
        keys = order.counts.keys[order.kept]
        contexts = places[order.counts.prefixes[order.kept]]
        counts = np.bincount(contexts, minlength=int(places[-1]) + 1).astype(np.int32)
        codes, step = nearest_codes(np.log(order.probabilities[order.kept].astype(np.float64)))
        left = np.ones(len(counts))
        left[contexts] = order.left[order.counts.prefixes[order.kept]]
        back_off, back_off_step = nearest_codes(np.log(left))
        # A word that follows must not become less likely than if it did not, by rounding.
        history = [
            (keys >> np.uint64(WORD_BITS * distance) & np.uint64(MOST_WORDS)).astype(np.int64)
            for distance in range(order.counts.order - 1, -1, -1)
        ]
        floor = _log_probs(model, history[1:]) + code_values(back_off_step)[back_off[contexts]]
        codes = np.maximum(codes, np.ceil(LARGEST_CODE + floor / step)).astype(np.uint8)
        codes += code_values(step)[codes] < floor
        last = history[-1].astype(np.uint16)
        longer = [*model.longer, Followers(last, codes, step, counts, back_off, back_off_step)]
        model = NgramModel(words, unigrams, longer, unknown_words, spelling)
        places = np.cumsum(order.kept) - 1
    return model


def _log_probs(model: NgramModel, words: Sequence[NDArray[np.int64]]) -> Values:
    """Of the last of some words after the others, which are as many as the model looks at."""
    found = np.empty(len(words[0]))
    for start in range(0, len(found), _TOGETHER):
        *history, last = (one[start : start + _TOGETHER] for one in words)
        contexts = np.full((len(model.longer), len(last)), -1)
        for word in history:
            contexts = model.after(contexts, word)
        found[start : start + _TOGETHER] = model.log_probs(contexts, last)
    return found
