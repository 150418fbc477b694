"""What the words so far say about the next: the language model's side of the search.

Comes in: histories of words, as the search comes upon them. Goes out: for each a row of log-probabilities, of
every word of the lexicon. Rows are long, so only those are kept that the search still needs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.recurrent import State
from speech.lexicon import Lexicon, WordModel

# Places in a history's row, behind the words of the lexicon.
UNKNOWN, END = -2, -1

# The history before the first word; its row is always known.
NOTHING = 0
_NOBODY = -1

# Words of the lexicon whose best is worked out once a row: what is asked for begins and ends in between.
_BLOCK = 32

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]


class WordScores:
    """A language model, asked in the words of a lexicon.

    Args:
        lexicon: whose words are scored.
        model: that scores them by those before; None leaves it to the lexicon: all histories are then one.

    Attributes:
        first: what the model remembers before the first word, and what it expects: as `after` gives it.
        places: in a row.
    """

    def __init__(self, lexicon: Lexicon, model: WordModel | None) -> None:
        self.model = model
        self.first: tuple[State, Tensor]
        self.places = len(lexicon.words) + 2
        self._shares: Tensor | None = None
        if model is None:
            self.first = (), torch.tensor([[*lexicon.log_probs, lexicon.unknown, 0.0]])
            self._columns = torch.arange(self.places)
            return
        known = {word: number for number, word in enumerate(model.vocabulary)}
        numbers = [known.get(word, model.unknown) for word in lexicon.words]
        # In the language model, the number of each word of the lexicon, of the unknown word, of the end.
        self.numbers = np.array([*numbers, model.unknown, model.end])
        self._columns = torch.from_numpy(self.numbers)
        # A word that only the lexicon knows is one of all those that the language model does not know.
        only_lexicon = self._columns == model.unknown
        only_lexicon[UNKNOWN] = False
        if only_lexicon.any():
            self._shares = only_lexicon * model.unknown_share
        self.first = model.start()

    def after(self, words: Numbers, state: State) -> tuple[State, Tensor]:
        """What the model remembers and expects after one word more.

        Args:
            words: (histories,) the last word of each, by its number in the language model.
            state: (layers, histories, hidden) each, before that word.

        Returns:
            The state, and the log-probabilities (histories, vocabulary) of the next word.
        """
        assert self.model is not None  # without one, there is but one history
        return self.model.advance(torch.from_numpy(words), state)

    def in_order(self, log_probs: Tensor, rows: Tensor) -> Tensor:
        """Write (histories, vocabulary) of the language model to rows (histories, places), in their order."""
        torch.index_select(log_probs, 1, self._columns, out=rows)
        if self._shares is not None:
            rows += self._shares
        return rows


class Histories:
    """The histories that a search comes upon, each by its number; the utterances of a batch share them.

    Args:
        scores: what is asked about them.
        room: rows to begin with; there is room for more once they are needed.
    """

    def __init__(self, scores: WordScores, room: int = 8) -> None:
        self._scores = scores
        state, log_probs = scores.first
        self._longer: dict[tuple[int, int], int] = {}
        # Of each history: the one before its last word, that word in the language model, where its row lies
        # (-1 while it is not known), and where what the model remembers lies (-1 before it was asked).
        self._parent, self._word, self._row, self._memory = (np.zeros(64, np.int64) for _ in range(4))
        self._count = 1
        self._rows = torch.empty(room, scores.places)
        self._bests = torch.empty(room, scores.places // _BLOCK)  # of each row, the highest of each block
        self._owner = np.append(NOTHING, np.full(room - 1, _NOBODY))  # of each row, the history
        self._state = tuple(part.repeat(1, 8, 1) for part in state)
        self._remembered = 1
        self._write(np.array([NOTHING]), log_probs)

    def after(self, histories: Numbers, words: Numbers) -> Numbers:
        """Each history and one word more, by its number in the lexicon; -1 is a word that is not in it."""
        if self._scores.model is None:
            return histories
        numbers = self._scores.numbers[np.where(words < 0, UNKNOWN, words)]
        longer = zip(histories.tolist(), numbers.tolist(), strict=True)
        return np.array([self._longer.get(one) or self._add(*one) for one in longer], dtype=np.int64)

    def know(self, needed: Numbers, others: Numbers) -> None:
        """Know the rows of histories; where others are in the way, keep those of `others` and no more."""
        unasked = np.unique(needed[self._row[needed] < 0])
        if len(unasked) == 0:
            return
        memories = torch.from_numpy(self._memory[self._parent[unasked]])
        state = tuple(part.index_select(1, memories) for part in self._state)
        state, log_probs = self._scores.after(self._word[unasked], state)
        self._remember(unasked, state)
        kept = np.isin(self._owner, np.concatenate([[_NOBODY, NOTHING], needed, others]))
        forgotten = self._owner[~kept]
        self._row[forgotten] = -1
        self._owner[~kept] = _NOBODY
        self._write(unasked, log_probs)

    def log_probs(self, histories: Numbers, places: Numbers | int) -> Values:
        """Of words of the lexicon by number, `UNKNOWN` or `END`, after each history, whose row is known."""
        return self._rows.numpy()[self._row[histories], places].astype(np.float64)

    def best(self, histories: Numbers, first: Numbers, last: Numbers) -> Values:
        """The highest of the words from `first` to before `last` after each history, whose row is known."""
        values, rows = self._rows.numpy(), self._row[histories][:, None]
        width = int(min((last - first).max(), _BLOCK))
        edge = np.arange(width)
        found = values[rows, np.minimum(first[:, None] + edge, last[:, None] - 1)].max(axis=1)
        (long,) = np.nonzero(last - first > width)
        if len(long):
            rows, first, last = rows[long], first[long], last[long]
            ends = values[rows, last[:, None] - 1 - edge].max(axis=1)
            whole_from, whole_to = -(-first // _BLOCK), last // _BLOCK
            inner = np.arange((whole_to - whole_from).max())
            blocks = np.minimum(whole_from[:, None] + inner, np.maximum(whole_to, 1)[:, None] - 1)
            middle = self._bests.numpy()[rows, blocks].max(axis=1, initial=-np.inf)
            middle[whole_from >= whole_to] = -np.inf  # the ends meet
            found[long] = np.maximum(np.maximum(found[long], ends), middle)
        return found.astype(np.float64)

    def _add(self, history: int, word: int) -> int:
        """A new history."""
        number = self._longer[history, word] = self._count
        if number == len(self._parent):
            self._parent, self._word, self._row, self._memory = (
                np.concatenate([part, np.zeros_like(part)])
                for part in (self._parent, self._word, self._row, self._memory)
            )
        self._parent[number], self._word[number] = history, word
        self._row[number] = self._memory[number] = -1
        self._count += 1
        return number

    def _remember(self, histories: Numbers, state: State) -> None:
        """Keep what the model remembers of histories, once more if it was asked about one before."""
        end = self._remembered + len(histories)
        while end > self._state[0].shape[1]:
            self._state = tuple(torch.cat([part, part], dim=1) for part in self._state)
        for kept, part in zip(self._state, state, strict=True):
            kept[:, self._remembered : end] = part
        self._memory[histories] = np.arange(self._remembered, end)
        self._remembered = end

    def _write(self, histories: Numbers, log_probs: Tensor) -> None:
        """Write what is expected after histories to rows next to each other."""
        count = len(histories)
        taken = np.flatnonzero(np.append(self._owner, NOTHING) != _NOBODY)
        (gaps,) = np.nonzero(np.diff(taken) > count)
        if len(gaps) == 0:
            more = max(count, len(self._owner))
            self._rows = torch.cat([self._rows, self._rows.new_empty(more, self._rows.shape[1])])
            self._bests = torch.cat([self._bests, self._bests.new_empty(more, self._bests.shape[1])])
            self._owner = np.append(self._owner, np.full(more, _NOBODY))
            return self._write(histories, log_probs)
        start = int(taken[gaps[0]]) + 1
        rows = self._scores.in_order(log_probs, self._rows[start : start + count])
        whole = rows[:, : self._bests.shape[1] * _BLOCK].unflatten(1, (self._bests.shape[1], _BLOCK))
        torch.amax(whole, dim=-1, out=self._bests[start : start + count])
        self._owner[start : start + count] = histories
        self._row[histories] = np.arange(start, start + count)
