"""The words that follow others, with their log-probabilities: the tables of an n-gram model.

Comes in: what a model directory holds of one length of n-grams. Goes out: which words follow a context, how
likely each is, and the likeliest of a range of words, for many contexts at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Bits of a word's number.
WORD_BITS = 16

# Log-probabilities are stored as 1 to 255: 255 is 0.0, each less is a step less.
LARGEST_CODE = 255

# So many of them are used: with twice as many, perplexity is less than a thousandth lower, and a model takes
# a twelfth more on disk.
_LEVELS = 127

# A number of followers that does not fit 8 bits is written elsewhere.
_MANY = 255

# Followers that are compared at once, after a binary search among the first of each so many.
_BLOCK = 16

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]
Codes = NDArray[np.uint8]


class Followers:
    """The n-grams of one length, each a context and the word that follows it.

    A context is a number. Its n-grams lie next to each other; the place of each is its number as a context of
    longer ones.

    Args:
        words: the last word of each n-gram; of a context they ascend.
        codes: of the log-probability of each.
        step: of these codes.
        counts: (contexts,) how many n-grams each has.
        back_off: (contexts,) codes of back-off weights: a word that does not follow is so much less likely
            than it is without the context's first word. Of a context without n-grams it means nothing.
        back_off_step: of these codes.
    """

    def __init__(
        self,
        words: NDArray[np.uint16],
        codes: Codes,
        step: float,
        counts: NDArray[Any],
        back_off: Codes,
        back_off_step: float,
    ) -> None:
        self.size, self.step, self.back_off_step = len(words), step, back_off_step
        self.counts, self.back_off = counts, back_off
        self._values, self._back_off_values = code_values(step), code_values(back_off_step)
        self._starts = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=self._starts[1:])
        blocks = max(1, -(-self.size // _BLOCK))
        self._words = np.zeros((blocks, _BLOCK), np.uint16)
        self._codes = np.zeros((blocks, _BLOCK), np.uint8)
        self._words.ravel()[: self.size], self._codes.ravel()[: self.size] = words, codes
        # Of each block, the context and the word that it begins with.
        contexts = np.repeat(np.arange(len(counts), dtype=np.int32), counts)[::_BLOCK].astype(np.int64)
        self._keys = np.zeros(blocks, np.int64)
        self._keys[: len(contexts)] = contexts << WORD_BITS | words[::_BLOCK]
        self._highest_of_blocks = RangeMaximum(self._codes.max(axis=1))

    @property
    def words(self) -> NDArray[np.uint16]:
        """As given."""
        return self._words.ravel()[: self.size]

    @property
    def codes(self) -> Codes:
        """As given."""
        return self._codes.ravel()[: self.size]

    def follow(self, contexts: Numbers) -> NDArray[np.bool_]:
        """Whether any word follows each context; none follows -1."""
        some: NDArray[np.bool_] = (contexts >= 0) & (self.counts[contexts] > 0)
        return some

    def find(self, contexts: Numbers, words: Numbers) -> Numbers:
        """The place of a word among those that follow each context; -1 where it is not there."""
        blocks = self._blocks(contexts << WORD_BITS | words, "right")
        same = self._words[blocks] == words.astype(np.uint16)[:, None]
        same &= self._inside(contexts, blocks)
        columns = same.argmax(axis=1)
        return np.where(same[np.arange(len(same)), columns], blocks * _BLOCK + columns, -1)

    def log_probs(self, contexts: Numbers, words: Numbers, shorter: Values) -> Values:
        """Log-probabilities of words after contexts; `shorter` without the context's first word."""
        places = self.find(contexts, words)
        stored = self._values[self._codes.ravel()[places]]
        return np.where(places < 0, shorter + self._back_off_values[self.back_off[contexts]], stored)

    def best(self, contexts: Numbers, first: Numbers, last: Numbers, shorter: Values) -> Values:
        """The highest log-probability of the words from `first` to before `last` after each context.

        It is the best of those that follow, or else of all without the context's first word: a word that
        follows is never less likely than if it did not.

        Args:
            contexts: (items,).
            first, last: (items,), `last` is behind `first`.
            shorter: (items,) the same without the context's first word.
        """
        backed_off = shorter + self._back_off_values[self.back_off[contexts]]
        keys = contexts << WORD_BITS
        begin, end = self._blocks(keys | first, "right"), self._blocks(keys | last, "left")
        # Both ends word by word, and the blocks between them.
        blocks, contexts = np.concatenate([begin, end]), np.concatenate([contexts, contexts])
        low, width = first.astype(np.uint16), (last - first).astype(np.uint16)
        low, width = np.concatenate([low, low])[:, None], np.concatenate([width, width])[:, None]
        inside = (self._words[blocks] - low) < width  # what is below 0 is above all
        inside &= self._inside(contexts, blocks)
        codes = (self._codes[blocks] * inside).max(axis=1)
        found = np.maximum(codes[: len(begin)], codes[len(begin) :])
        (long,) = np.nonzero(end - begin > 1)
        if len(long):
            found[long] = np.maximum(found[long], self._highest_of_blocks(begin[long] + 1, end[long]))
        return np.maximum(backed_off, self._values[found])

    def reordered(self, contexts: Numbers, words: Numbers) -> tuple[Followers, Numbers]:
        """The same, when contexts and words have other numbers.

        Args:
            contexts: (contexts,) the new number of each.
            words: (vocabulary,) the new number of each.

        Returns:
            The n-grams in their new order, and the new place of each by its old one.
        """
        renamed = words[self.words]
        order = np.argsort(np.repeat(contexts, self.counts) << WORD_BITS | renamed)
        old = np.argsort(contexts)
        followers = Followers(
            renamed[order].astype(np.uint16),
            self.codes[order],
            self.step,
            self.counts[old],
            self.back_off[old],
            self.back_off_step,
        )
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        return followers, places

    def stored(self) -> tuple[dict[str, float], dict[str, Tensor]]:
        """For a model directory: the steps, and the tensors."""
        (many,) = np.nonzero(self.counts >= _MANY)
        arrays = {
            "words": self.words.view(np.int16),
            "codes": self.codes,
            "counts": np.minimum(self.counts, _MANY).astype(np.uint8),
            # Counts that do not fit: place and count.
            "many": np.stack([many, self.counts[many]], axis=1).astype(np.int32),
            "back_off": self.back_off[self.counts > 0],
        }
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return {"step": self.step, "back_off_step": self.back_off_step}, tensors

    @staticmethod
    def restored(steps: Mapping[str, float], tensors: Mapping[str, Tensor]) -> Followers:
        """What `stored` gave.

        Raises:
            KeyError, TypeError, ValueError: if it gave nothing of the kind.
        """
        words, codes, packed, many, some = (
            _of_type(tensors[name], dtype)
            for name, dtype in (
                ("words", torch.int16),
                ("codes", torch.uint8),
                ("counts", torch.uint8),
                ("many", torch.int32),
                ("back_off", torch.uint8),
            )
        )
        counts = packed.astype(np.int32)
        if many.shape != (len(many), 2) or ((many < 0) | (many[:, :1] >= len(counts))).any():
            raise ValueError("counts belong to no context")
        counts[many[:, 0]] = many[:, 1]
        if words.ndim > 1 or words.shape != codes.shape or counts.sum(dtype=np.int64) != len(words):
            raise ValueError("there are other n-grams than are counted")
        if set(steps) != {"step", "back_off_step"} or not all(map(_is_step, steps.values())):
            raise ValueError("steps are positive numbers")
        back_off = np.zeros(len(counts), np.uint8)
        back_off[counts > 0] = some
        return Followers(words.view(np.uint16), codes, counts=counts, back_off=back_off, **steps)

    def _blocks(self, keys: Numbers, side: Any) -> Numbers:
        """The last block that begins before a key, or at it if `side` is "right"; the first if none does."""
        return np.maximum(np.searchsorted(self._keys, keys, side) - 1, 0)

    def _inside(self, contexts: Numbers, blocks: Numbers) -> NDArray[np.bool_]:
        """Which columns of blocks belong to contexts: (items, _BLOCK)."""
        begin = np.clip(self._starts[contexts] - blocks * _BLOCK, 0, _BLOCK)
        width = np.clip(self._starts[contexts + 1] - blocks * _BLOCK, 0, _BLOCK) - begin
        columns = np.arange(_BLOCK, dtype=np.uint8) - begin.astype(np.uint8)[:, None]
        inside: NDArray[np.bool_] = columns < width.astype(np.uint8)[:, None]
        return inside


def _of_type(tensor: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    """A tensor as an array; a ValueError if it is of another type."""
    if tensor.dtype != dtype or tensor.ndim == 0:
        raise ValueError(f"a list of {dtype} is {tensor.dtype}")
    return tensor.numpy()


def _is_step(value: object) -> bool:
    """Whether a value can be the step of codes: more than 0, and 255 of them a number."""
    return type(value) in (int, float) and 0 < float(value) < 1e6  # type: ignore[arg-type]


class RangeMaximum:
    """The highest number in any range of a list, after a preparation that takes all its powers of two.

    Bender and Farach-Colton 2000, doi:10.1007/10719839_9.
    """

    def __init__(self, values: NDArray[Any]) -> None:
        levels = [values]
        while (half := 1 << (len(levels) - 1)) * 2 <= len(values):
            levels.append(np.maximum(levels[-1][:-half], levels[-1][half:]))
        # All of them in one, each from where it begins.
        self._starts = np.concatenate([[0], np.cumsum([len(level) for level in levels])])
        self._values = np.concatenate(levels)

    def __call__(self, first: Numbers, last: Numbers) -> NDArray[Any]:
        """The highest from `first` to before `last`, which is behind it."""
        level = np.frexp((last - first).astype(np.float64))[1] - 1  # of the power of two that fits
        start = self._starts[level]
        highest: NDArray[Any] = np.maximum(
            self._values[start + first], self._values[start + last - (1 << level)]
        )
        return highest


def code_values(step: float) -> Values:
    """The log-probability of each code, (256,); that of 0, which none has, is minus infinity."""
    values: Values = (np.arange(LARGEST_CODE + 1) - LARGEST_CODE).astype(np.float64) * step
    values[0] = -np.inf
    return values


def nearest_codes(log_probs: Values) -> tuple[Codes, float]:
    """Log-probabilities, none above 0 or minus infinity, as codes; and the step of the codes."""
    step = max(-float(log_probs.min(initial=0.0)), 1e-3) / (_LEVELS - 1)
    codes = np.rint(LARGEST_CODE + log_probs / step)
    return np.clip(codes, 1, LARGEST_CODE).astype(np.uint8), step
