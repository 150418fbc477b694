"""What the words so far say about the next: the language model's side of the search.

Comes in: histories of words, as the search comes upon them. Goes out: for each a row of log-probabilities, of
every word of the lexicon. Rows are long, so only those are kept that the search still needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.recurrent import State
from speech.lexicon import Lexicon, WordModel

# Places in a history's row, behind the words of the lexicon.
UNKNOWN, END = -2, -1


class History:
    """The words before a word, as far as the language model tells them apart.

    Attributes:
        parent, word: the history before the last word, and its number in the language model.
        following: the histories that are one word longer, by that word's number.
        state: what the language model remembers, once it was asked.
        row: log-probabilities of what comes next: of each word of the lexicon, of any word that is not in it
            (`UNKNOWN`), of the end (`END`); None before it was asked for, and when it is needed no longer.
    """

    __slots__ = ("following", "parent", "row", "state", "word")

    def __init__(self, parent: History | None, word: int) -> None:
        self.parent, self.word = parent, word
        self.following: dict[int, History] = {}
        self.state: State | None = None
        self.row: NDArray[np.float32] | None = None

    def log_prob(self, place: int) -> float:
        """Of a word of the lexicon by its number, of `UNKNOWN` or `END`; the row must be known."""
        assert self.row is not None
        return float(self.row[place])


class WordScores:
    """A language model, asked in the words of a lexicon.

    Args:
        lexicon: whose words are scored.
        model: that scores them by those before; None leaves it to the lexicon: all histories are then one.
    """

    def __init__(self, lexicon: Lexicon, model: WordModel | None) -> None:
        self.model = model
        self._start: tuple[State | None, NDArray[np.float32]]
        if model is None:
            log_probs = [*lexicon.log_probs, lexicon.unknown, 0.0]
            self._start = None, np.array(log_probs, dtype=np.float32)
            return
        known = {word: number for number, word in enumerate(model.vocabulary)}
        numbers = [known.get(word, model.unknown) for word in lexicon.words]
        self._numbers = [*numbers, model.unknown, model.end]
        self._columns = torch.tensor(self._numbers)
        # A word that only the lexicon knows is one of all those that the language model does not know.
        only_lexicon = self._columns == model.unknown
        only_lexicon[UNKNOWN] = False
        self._shares = only_lexicon * model.unknown_share if only_lexicon.any() else None
        state, log_probs_of_first = model.start()
        self._start = state, self._rows(log_probs_of_first)[0]

    def start(self) -> History:
        """Before the first word."""
        history = History(None, -1)
        history.state, history.row = self._start
        return history

    def after(self, history: History, word: int | None) -> History:
        """The history that is a word of the lexicon longer; None is a word that is not in it."""
        if self.model is None:
            return history
        number = self._numbers[UNKNOWN if word is None else word]
        if number not in history.following:
            history.following[number] = History(history, number)
        return history.following[number]

    def ask(self, unasked: Sequence[History]) -> None:
        """Make the rows of histories known: a question costs about the same for one and for ten."""
        assert self.model is not None  # without one, the row of the only history is always known
        states = [history.parent.state for history in unasked if history.parent and history.parent.state]
        joined = tuple(torch.cat(parts, dim=1) for parts in zip(*states, strict=True))
        state, log_probs = self.model.advance(torch.tensor([history.word for history in unasked]), joined)
        for place, (history, row) in enumerate(zip(unasked, self._rows(log_probs), strict=True)):
            history.row = row
            history.state = tuple(part[:, place : place + 1] for part in state)

    def _rows(self, log_probs: Tensor) -> NDArray[np.float32]:
        """(histories, vocabulary) of the language model -> (histories, words of the lexicon and two more)."""
        of_words = log_probs.index_select(1, self._columns)
        rows: NDArray[np.float32] = (of_words if self._shares is None else of_words + self._shares).numpy()
        return rows


class KnownRows:
    """The rows of one utterance's histories: asked for when they are needed, dropped when they are not.

    Args:
        scores: what is asked.
    """

    def __init__(self, scores: WordScores) -> None:
        self._scores = scores
        self._known: dict[History, None] = {}

    def keep(self, histories: Iterable[History]) -> None:
        """From now on know the rows of these histories, and no others."""
        needed = dict.fromkeys(histories)
        unasked = [history for history in needed if history.row is None]
        if not unasked:
            return  # what is known too much goes with the next question
        for history in self._known:
            if history not in needed:
                history.row = None
        self._scores.ask(unasked)
        self._known = needed
