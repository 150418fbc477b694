"""The tables of the word search: beginnings of texts, and the symbols that may follow each.

All texts that are followed, of all utterances, stand in the columns of two tables, those of an utterance next
to each other, so that a step is worked out for all of them together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from speech.model.subwords import BLANK, Subwords

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]


class Pieces:
    """What the search asks about symbols.

    Attributes:
        letters: (symbols,) how many each writes.
        ends_word: (symbols,) whether it is the last of its word.
        begins_word, follows: (symbols,) whether a word may begin with it, or have it further on: an
            apostrophe stands within a word.
    """

    def __init__(self, subwords: Subwords) -> None:
        letters = subwords.letters
        self.letters = np.array([len(one) for one in letters])
        self.ends_word = subwords.ends_word
        self.follows = ~(self.ends_word & np.array([one.endswith("'") for one in letters]))
        self.begins_word = self.follows & ~np.array([one.startswith("'") for one in letters])


class Texts:
    """Beginnings of texts, in columns; those of an utterance in a row.

    Attributes:
        numbers: (11, texts), whose rows are the next eleven.
        utterance: that the text is of.
        key, parent: of the text, and of the text without its last symbol.
        symbol: the last one.
        letters: of the word that has begun; 0 before a word's first piece.
        node: of that word in the lexicon.
        history: the words before it.
        hot: state among the hotwords.
        trace: where the symbols are written down.
        read: the trace up to which a judge has read the text, at the end of a word.
        beginning: what it has read, by the judge's number.
        values: (4, texts), whose rows are the next four.
        blank, last: probability of the paths so far that end in a blank, and in the last symbol; only in the
            first case does the same symbol once more make a new piece. A factor that an utterance's texts
            have in common is kept apart.
        settled: what complete words have added to the score.
        bonus: the same, and what is expected of the word that has begun.
    """

    def __init__(self, numbers: Numbers, values: Values) -> None:
        self.numbers, self.values = numbers, values
        self.utterance, self.key, self.parent, self.symbol, self.letters = numbers[:5]
        self.node, self.history, self.hot, self.trace, self.read, self.beginning = numbers[5:]
        self.blank, self.last, self.settled, self.bonus = values

    @staticmethod
    def empty(utterances: int) -> Texts:
        """An empty text of each utterance, with a path of probability 1."""
        texts = Texts(np.zeros((11, utterances), dtype=np.int64), np.zeros((4, utterances)))
        texts.utterance[:] = np.arange(utterances)
        texts.key[:] = 1 + np.arange(utterances)
        texts.symbol[:] = BLANK
        texts.blank[:] = 1.0
        return texts

    def __len__(self) -> int:
        return len(self.utterance)

    def __getitem__(self, columns: Numbers | NDArray[np.bool_]) -> Texts:
        """Some of the texts, as copies."""
        return Texts(self.numbers[:, columns], self.values[:, columns])

    @staticmethod
    def joined(parts: Sequence[Texts]) -> Texts:
        """Several as one."""
        numbers = np.concatenate([part.numbers for part in parts], axis=1)
        return Texts(numbers, np.concatenate([part.values for part in parts], axis=1))


class Traces:
    """The symbols of texts: each trace is one more symbol behind another, and 0 is that of an empty text.

    Args:
        subwords: the symbols.
    """

    def __init__(self, subwords: Subwords) -> None:
        self._subwords, self._ends_word = subwords, subwords.ends_word.tolist()
        self._before, self._symbol = [-1], [BLANK]

    def longer(self, before: Numbers, symbols: Numbers) -> Numbers:
        """New traces, (traces,): of each the one before and the symbol behind it."""
        start = len(self._before)
        self._before += before.tolist()
        self._symbol += symbols.tolist()
        return np.arange(start, len(self._before))

    def whole(self, trace: int, since: int = 0) -> int:
        """As much of a trace as is whole words; `since`, which is one of it, if that is all."""
        while trace != since and not self._ends_word[self._symbol[trace]]:
            trace = self._before[trace]
        return trace

    def symbols(self, trace: int, since: int = 0) -> tuple[int, ...]:
        """The symbols of a trace behind one of it."""
        symbols = []
        while trace != since:
            symbols.append(self._symbol[trace])
            trace = self._before[trace]
        return tuple(reversed(symbols))

    def words(self, trace: int, since: int) -> list[str]:
        """The words of a trace behind one of it; both are whole words."""
        return self._subwords.decode(self.symbols(trace, since)).split()


class Following:
    """The pairs of a text and a symbol that may follow it, those of a text next to each other.

    Args:
        texts: of the beam.
        likely: (utterances, symbols) which symbols may follow.

    Attributes:
        likely: as given.
        parents, symbols: (pairs,) of each.
    """

    def __init__(self, texts: Texts, likely: NDArray[np.bool_]) -> None:
        self.likely = likely
        _, listed = np.nonzero(likely)
        counts = np.count_nonzero(likely, axis=1)
        own = counts[texts.utterance]
        self._first = np.cumsum(own) - own  # of each text, its first pair
        # From a pair to the place of its symbol in the list.
        offset = (np.cumsum(counts) - counts)[texts.utterance] - self._first
        self.parents = np.repeat(np.arange(len(texts)), own)
        self.symbols = listed[np.arange(len(self.parents)) + offset[self.parents]]
        self._rank = np.cumsum(likely, axis=1) - 1  # of each symbol in its utterance's part of the list
        self._utterance = texts.utterance

    def pairs(self, parents: Numbers, symbols: Numbers) -> Numbers:
        """The pair of each text and a symbol that may follow it."""
        found: Numbers = self._first[parents] + self._rank[self._utterance[parents], symbols]
        return found


def text_scores(texts: Texts) -> Values:
    """What the beam compares texts by."""
    scores: Values = np.log(texts.blank + texts.last) + texts.bonus
    return scores


def runs(values: Numbers) -> tuple[Numbers, Numbers]:
    """Where each run of like values starts, and how long it is."""
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    return starts, np.concatenate([starts[1:], [len(values)]]) - starts
