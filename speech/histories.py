"""What the words so far say about the next: the language model's side of the search.

Comes in: histories of words, as the search comes upon them. Goes out: for each a row of log-probabilities, of
the more frequent words of the lexicon; of each of the others where it is said. Rows are long, so only those
are kept that the search still needs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.recurrent import State
from speech.lexicon import Lexicon, WordModel

# What a history's row says besides the words of the lexicon, numbered as if they were words, too; a row is in
# the order of these numbers.
END, UNKNOWN = -2, -1
_SPECIAL = 2

# The history before the first word; its row is always known.
NOTHING = 0
_NOBODY = -1

# Histories whose memory there is room for at first.
_MEMORIES = 256

# Words of the lexicon whose best is worked out once a row: what is asked for begins and ends in between.
_BLOCK = 32

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]


class WordScores:
    """A language model, asked in the words of a lexicon.

    Words of the lexicon that the language model judges after every history have a place in each row. How
    likely another is, is worked out where it is said, and estimated before by how frequent it is among those.

    Args:
        lexicon: whose words are scored.
        model: that scores them by those before; None leaves it to the lexicon: all histories are then one.

    Attributes:
        first: what the model remembers before the first word, and what it expects: as `after` gives it.
        places: in a row; the last is for all words without one.
        place: of the end, the unknown word and each word of the lexicon; -1 for none.
        place_before: (words + 1,) of each stretch of words from the first, the places it takes.
        rare: highest log-probabilities, in a stretch of words, of those without a place among all such.
    """

    def __init__(self, lexicon: Lexicon, model: WordModel | None) -> None:
        self.model = model
        self.first: tuple[State, tuple[Tensor, Tensor]]
        numbers = np.zeros(len(lexicon.words) + _SPECIAL, np.int64)
        shares = np.full(len(lexicon.words), -np.inf)
        placed = np.ones(len(numbers), bool)
        self._columns: Tensor | None = None
        self._shares: Tensor | None = None
        if model is None:
            row = torch.tensor([[0.0, lexicon.unknown, *lexicon.log_probs, -torch.inf]])
            self.first = (), (row, row[:, :0])
        else:
            known = {word: number for number, word in enumerate(model.vocabulary)}
            numbers[:] = model.end, model.unknown, *(known.get(word, model.unknown) for word in lexicon.words)
            placed = numbers < model.frequent
            # As frequent as their rank says (Zipf 1949).
            share = 1.0 / np.arange(1, len(model.vocabulary) + 1)
            share /= max(share[model.frequent :].sum(), share[-1])
            shares[~placed[_SPECIAL:]] = np.log(share[numbers[~placed]])
            # In what the model says, the column of each place; a word that only the lexicon knows is one of
            # all those that the language model does not know.
            self._columns = torch.from_numpy(np.append(numbers[placed], model.frequent))
            only_lexicon = self._columns == model.unknown
            only_lexicon[UNKNOWN + _SPECIAL] = False
            if only_lexicon.any():
                self._shares = only_lexicon * model.unknown_share
            self.first = model.expect_first()
        self.numbers = numbers
        self.place = np.where(placed, np.cumsum(placed) - 1, -1)
        self.place_before = np.concatenate([[0], np.cumsum(placed)])[_SPECIAL:]
        self.places = int(np.count_nonzero(placed)) + 1
        self.rare = _Highest(shares)

    def after(self, words: Numbers, state: State) -> tuple[State, tuple[Tensor, Tensor]]:
        """What the model remembers and expects after one word more.

        Args:
            words: (histories,) the last word of each, by its number in the language model.
            state: (layers, histories, hidden) each, before that word.
        """
        assert self.model is not None  # without one, there is but one history
        return self.model.expect(torch.from_numpy(words), state)

    def in_order(self, log_probs: Tensor, rows: Tensor) -> Tensor:
        """Write what the language model says (histories, frequent + 1) to rows (histories, places)."""
        if self._columns is None:
            return rows.copy_(log_probs)
        torch.index_select(log_probs, 1, self._columns, out=rows)
        if self._shares is not None:
            rows += self._shares
        return rows

    def without_place(self, vectors: Tensor, words: Numbers) -> Values:
        """Log-probabilities of words of the lexicon that have no place, each after a history."""
        assert self.model is not None
        numbers = torch.from_numpy(self.numbers[words + _SPECIAL])
        return self.model.rare_log_probs(vectors, numbers).double().numpy()


class _Highest:
    """The highest number in any stretch of a list, after a preparation that takes all its powers of two.

    Bender and Farach-Colton 2000, doi:10.1007/10719839_9.
    """

    def __init__(self, values: Values) -> None:
        self.levels = [values]
        while (half := 1 << (len(self.levels) - 1)) * 2 <= len(values):
            below = self.levels[-1]
            self.levels.append(np.maximum(below[:-half], below[half:]))
        # All of them in one, each from where it begins.
        self.starts = np.concatenate([[0], np.cumsum([len(level) for level in self.levels])])
        self.values = np.concatenate(self.levels)

    def __call__(self, first: Numbers, last: Numbers) -> Values:
        """The highest from `first` to before `last`, which is behind it."""
        level = np.frexp((last - first).astype(np.float64))[1] - 1  # the power of two that fits
        start = self.starts[level]
        highest: Values = np.maximum(self.values[start + first], self.values[start + last - (1 << level)])
        return highest


class Histories:
    """The histories that a search comes upon, each by its number; the utterances of a batch share them.

    Args:
        scores: what is asked about them.
        room: rows to begin with; there is room for more once they are needed.
    """

    def __init__(self, scores: WordScores, room: int = 8) -> None:
        self._scores = scores
        state, (log_probs, vectors) = scores.first
        self._longer: dict[tuple[int, int], int] = {}
        # Of each history: the one before its last word, that word in the language model, where its row lies
        # (-1 while it is not known), and where what the model remembers lies (-1 before it was asked).
        self._parent, self._word, self._row, self._memory = (np.zeros(64, np.int64) for _ in range(4))
        self._count = 1
        self._rows = torch.empty(room, scores.places)
        self._vectors = torch.empty(room, vectors.shape[1])  # of each row, for words without a place
        self._bests = torch.empty(room, scores.places // _BLOCK)  # of each row, the highest of each block
        self._owner = np.append(NOTHING, np.full(room - 1, _NOBODY))  # of each row, the history
        self._state = tuple(part.repeat(1, _MEMORIES, 1) for part in state)
        self._remembered = 1
        self._write(np.array([NOTHING]), log_probs, vectors)

    def after(self, histories: Numbers, words: Numbers) -> Numbers:
        """Each history and one word more, by its number in the lexicon, or `UNKNOWN`."""
        if self._scores.model is None:
            return histories
        numbers = self._scores.numbers[words + _SPECIAL]
        longer = zip(histories.tolist(), numbers.tolist(), strict=True)
        return np.array([self._longer.get(one) or self._add(*one) for one in longer], dtype=np.int64)

    def know(self, needed: Numbers, others: Numbers) -> None:
        """Know the rows of histories; where others are in the way, keep those of `others` and no more."""
        unasked = np.unique(needed[self._row[needed] < 0])
        if len(unasked) == 0:
            return
        memories = torch.from_numpy(self._memory[self._parent[unasked]])
        state = tuple(part.index_select(1, memories) for part in self._state)
        state, (log_probs, vectors) = self._scores.after(self._word[unasked], state)
        self._remember(unasked, state)
        kept = np.isin(self._owner, np.concatenate([[_NOBODY, NOTHING], needed, others]))
        forgotten = self._owner[~kept]
        self._row[forgotten] = -1
        self._owner[~kept] = _NOBODY
        self._write(unasked, log_probs, vectors)

    def log_probs(self, histories: Numbers, words: Numbers | int) -> Values:
        """Of words of the lexicon by number, `UNKNOWN` or `END`, after each history, whose row is known."""
        rows, places = self._row[histories], self._scores.place[words + _SPECIAL]
        found = self._rows.numpy()[rows, places].astype(np.float64)
        alone = places < 0
        if np.any(alone):
            vectors = self._vectors[torch.from_numpy(rows[alone])]
            found[alone] = self._scores.without_place(vectors, words[alone])  # type: ignore[index]
        return found

    def best(self, histories: Numbers, first: Numbers, last: Numbers) -> Values:
        """The highest of the words from `first` to before `last` after each history, whose row is known."""
        rows = self._row[histories]
        found = self._rows.numpy()[rows, -1] + self._scores.rare(first, last)
        first, last = self._scores.place_before[first], self._scores.place_before[last]
        (some,) = np.nonzero(first < last)
        found[some] = np.maximum(found[some], self._best_placed(rows[some], first[some], last[some]))
        return found

    def _best_placed(self, rows: Numbers, first: Numbers, last: Numbers) -> Values:
        """The highest of the places from `first` to before `last` of each row."""
        if len(rows) == 0:
            return np.empty(0)
        values, rows = self._rows.numpy(), rows[:, None]
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

    def _write(self, histories: Numbers, log_probs: Tensor, vectors: Tensor) -> None:
        """Write what is expected after histories to rows next to each other."""
        count = len(histories)
        taken = np.flatnonzero(np.append(self._owner, NOTHING) != _NOBODY)
        (gaps,) = np.nonzero(np.diff(taken) > count)
        if len(gaps) == 0:
            more = max(count, len(self._owner))
            self._rows, self._vectors, self._bests = (
                torch.cat([part, part.new_empty(more, part.shape[1])])
                for part in (self._rows, self._vectors, self._bests)
            )
            self._owner = np.append(self._owner, np.full(more, _NOBODY))
            return self._write(histories, log_probs, vectors)
        start = int(taken[gaps[0]]) + 1
        rows = self._scores.in_order(log_probs, self._rows[start : start + count])
        whole = rows[:, : self._bests.shape[1] * _BLOCK].unflatten(1, (self._bests.shape[1], _BLOCK))
        torch.amax(whole, dim=-1, out=self._bests[start : start + count])
        self._vectors[start : start + count] = vectors
        self._owner[start : start + count] = histories
        self._row[histories] = np.arange(start, start + count)
