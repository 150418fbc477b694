"""What may be said: a trie of known words, and what scores them.

Comes in: words with their log-probabilities. Goes out: tables that a search walks piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.errors import InputError
from speech.model.subwords import BLANK, Subwords

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")

Numbers = NDArray[np.int64]

# What a word model predicts, a vector a history -> how likely certain words are: logits (histories, columns).
Judge = Callable[[Tensor], Tensor]


class WordModel(Protocol):
    """A language model over words, as `speech.language.recurrent.LanguageModel` is one.

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
    """Words as a trie of the pieces that spell them: tables that a search walks for many texts at once.

    Args:
        log_probs: each word's log-probability, whatever stands before it; what is no word of a-z and inner
            apostrophes is passed over.
        subwords: that spell the words.
        spelled: (words, most symbols) how, blanks behind each, where that is known; none is then passed over.

    Attributes:
        subwords: as given.
        words: sorted by the symbols that spell them, so that those with a beginning in common are neighbours.
        log_probs: of the words.
        unknown: log-probability of a word that is not among them, before it is spelled: the rarest one's.
        outside: the node of all that begins no word. Node 0 is the root.
        first, last: (nodes,) the words at a node and below are those from `first` to before `last`. What ends
            with a piece that ends words is one word, or outside.

    Raises:
        InputError: if there is no word.
    """

    def __init__(
        self,
        log_probs: Mapping[str, float],
        subwords: Subwords,
        spelled: NDArray[np.int16] | None = None,
    ) -> None:
        words = list(log_probs)
        if spelled is None:
            words = [word for word in words if _WORD.fullmatch(word)]
            spelled = subwords.spell_all(words) if words else np.zeros((0, 0), np.int16)
        if not words:
            raise InputError("lexicon", "has no word of the letters a-z in it")
        order = np.lexsort(spelled.T[::-1])
        self.subwords = subwords
        self.words = [words[number] for number in order.tolist()]
        self.log_probs = [log_probs[word] for word in self.words]
        self.unknown = min(self.log_probs)
        self._spelled = spelled[order]
        self._build(self._spelled)

    def _build(self, spelled: NDArray[np.int16]) -> None:
        """Make the trie, all nodes of a depth at once: a node is a stretch of the sorted words.

        Args:
            spelled: (words, most symbols), sorted; blanks behind a word.
        """
        count = len(spelled)
        lengths = (spelled != BLANK).sum(axis=1)
        alike = (spelled[1:] == spelled[:-1]) & (spelled[1:] != BLANK)
        # With how many symbols each word begins as the one before it does.
        shared = np.concatenate([[0], np.cumprod(alike, axis=1).sum(axis=1)])
        first, last, edges = [np.array([0])], [np.array([count])], []
        above = np.array([0])  # nodes one symbol higher
        nodes = 1
        for depth in range(1, spelled.shape[1] + 1):
            starts = np.flatnonzero(shared < depth)
            ends = np.append(starts[1:], count)
            deep = lengths[starts] >= depth
            starts, ends = starts[deep], ends[deep]
            parents = above[np.searchsorted(first[-1], starts, side="right") - 1]
            above = np.arange(nodes, nodes + len(starts))
            edges.append(parents * len(self.subwords) + spelled[starts, depth - 1])
            first.append(starts)
            last.append(ends)
            nodes += len(starts)
        self.outside = nodes
        # Of each node but the root, the one above it and its symbol. They are in order: as the nodes are.
        self._edges = np.concatenate([*edges, [np.iinfo(np.int64).max]])
        self.first, self.last = np.concatenate([*first, [0]]), np.concatenate([*last, [0]])

    def after(self, nodes: Numbers, symbols: Numbers) -> Numbers:
        """The nodes that symbols lead to, one from each node."""
        edges = nodes * len(self.subwords) + symbols
        places = np.searchsorted(self._edges, edges)
        return np.where(self._edges[places] == edges, places + 1, self.outside)

    def including(self, words: Iterable[str]) -> Lexicon:
        """This lexicon and the words that it lacks, as likely as its rarest one."""
        known = dict(zip(self.words, self.log_probs, strict=True))
        more = [word for word in dict.fromkeys(words) if word not in known]
        if not more:
            return self
        tables = self._spelled, self.subwords.spell_all(more)
        width = max(table.shape[1] for table in tables)
        spelled = np.concatenate(
            [np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=BLANK) for table in tables]
        )
        return Lexicon({**known, **dict.fromkeys(more, self.unknown)}, self.subwords, spelled)
