"""What may be said: a trie of known words, and what scores them.

Comes in: words with their log-probabilities. Goes out: tables that a search walks letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import numpy as np
from torch import Tensor

from common.errors import InputError
from speech.text import SYMBOLS, encode

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
# The symbol of each letter, by its code.
_SYMBOL_OF = np.zeros(128, dtype=np.int64)
for _letter in "'abcdefghijklmnopqrstuvwxyz":
    (_SYMBOL_OF[ord(_letter)],) = encode(_letter)


# What a word model predicts, a vector a history -> how likely certain words are: logits (histories, columns).
Judge = Callable[[Tensor], Tensor]


class WordModel(Protocol):
    """A language model over words, as `speech.language_model.LanguageModel` is one.

    Attributes:
        vocabulary: the words by number, the most frequent first; what cannot be spelled, such as the end, is
            never said.
        end: number of the end of a sentence.
        unknown: number of the unknown word.
        unknown_share: log-probability that the unknown word is one certain unknown word.
        frequent: words with a lower number are judged after every history, end and unknown word among them.
    """

    vocabulary: tuple[str, ...]
    end: int
    unknown: int
    unknown_share: float
    frequent: int

    def judge(self, words: Tensor) -> Judge:
        """What tells how likely words are after a history, for `expect`.

        Args:
            words: (columns,) by number, all frequent ones among them; `frequent` for all others together; -1
                for a column of minus infinity.
        """

    def expect_first(self, judge: Judge) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
        """Before the first word: the state of one history, and what is expected, as in `expect`."""

    def expect(
        self, words: Tensor, state: tuple[Tensor, ...], judge: Judge, out: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
        """Go on by one word.

        Args:
            words: (histories,) the last word of each.
            state: tensors (layers, histories, hidden), what is remembered of the words before it.
            judge: of the words that are asked about.
            out: (histories, columns), to be written to.

        Returns:
            The new state; log-probabilities (histories, columns) of each word; and vectors (histories,
            features), which tell more about those that are not frequent.
        """

    def rare_log_probs(self, vectors: Tensor, words: Tensor) -> Tensor:
        """Of words that are not frequent, (histories,), one after each history, given its vector."""


class Lexicon:
    """Words as a trie: tables that a search walks for many texts at once.

    Args:
        log_probs: each word's log-probability, whatever stands before it; what is no word of a-z and inner
            apostrophes is passed over.

    Attributes:
        words: sorted.
        log_probs: of the words.
        unknown: log-probability of a word that is not among them, before it is spelled: the rarest one's.
        children: (nodes, symbols) the node that a symbol leads to. Node 0 is the root; the last one stands
            for all that begins no word, and leads to itself.
        word: (nodes,) number of the word that ends at a node; -1 if none does.
        first, last: (nodes,) the words at a node and below are those from `first` to before `last`.

    Raises:
        InputError: if there is no word.
    """

    def __init__(self, log_probs: Mapping[str, float]) -> None:
        self.words = sorted(word for word in log_probs if _WORD.fullmatch(word))
        if not self.words:
            raise InputError("lexicon", "has no word of the letters a-z in it")
        self.log_probs = [log_probs[word] for word in self.words]
        self.unknown = min(self.log_probs)
        self._build()

    def _build(self) -> None:
        """Make the trie, all nodes of a depth at once: a node is a stretch of the sorted words."""
        count = len(self.words)
        letters = np.array([word.encode() for word in self.words])
        table = letters.view(np.uint8).reshape(count, -1)  # (words, longest), zeros behind a word
        lengths = (table != 0).sum(axis=1)
        alike = (table[1:] == table[:-1]) & (table[1:] != 0)
        # With how many letters each word begins as the one before it does.
        shared = np.concatenate([[0], np.cumprod(alike, axis=1).sum(axis=1)])
        first, last, edges = [np.array([0])], [np.array([count])], []
        above = np.array([0])  # nodes one letter higher
        nodes = 1
        for depth in range(1, table.shape[1] + 1):
            starts = np.flatnonzero(shared < depth)
            ends = np.append(starts[1:], count)
            deep = lengths[starts] >= depth
            starts, ends = starts[deep], ends[deep]
            parents = above[np.searchsorted(first[-1], starts, side="right") - 1]
            above = np.arange(nodes, nodes + len(starts))
            edges.append((parents, _SYMBOL_OF[table[starts, depth - 1]], above))
            first.append(starts)
            last.append(ends)
            nodes += len(starts)
        self.children = np.full((nodes + 1, len(SYMBOLS)), nodes, dtype=np.int32)
        for parents, symbols, below in edges:
            self.children[parents, symbols] = below
        depths = np.repeat(np.arange(len(first)), [len(level) for level in first])
        self.first, self.last = np.concatenate([*first, [0]]), np.concatenate([*last, [0]])
        self.word = np.where(lengths[self.first[:-1]] == depths, self.first[:-1], -1)
        self.word = np.append(self.word, -1)

    def including(self, words: Iterable[str]) -> Lexicon:
        """This lexicon and the words that it lacks, as likely as its rarest one."""
        known = dict(zip(self.words, self.log_probs, strict=True))
        return Lexicon({**dict.fromkeys(words, self.unknown), **known})
