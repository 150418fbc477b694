"""What the words so far say about the next: the language model's side of the search.

Comes in: histories of words, as the search comes upon them. Goes out: for each a row of log-probabilities, of
the more frequent words of the lexicon; of each of the others where it is said. Rows are long, so only those
are kept that the search still needs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from common.core.recurrent import State
from speech.language.followers import RangeMaximum
from speech.language.lexicon import Judge, Lexicon, WordModel

# What a history's row says besides the words of the lexicon, numbered as if they were words, too; a row is in
# the order of these numbers.
LEXICON_END, LEXICON_UNKNOWN = -2, -1
LEXICON_SPECIAL = 2

# The history before the first word; its row is always known.
NOTHING = 0
_NOBODY = -1

# Histories whose memory there is room for at first.
_MEMORIES = 256

# Words of the lexicon whose best is worked out once a row: what is asked for begins and ends in between.
_BLOCK = 32

# Histories of an utterance that are followed at once, in most steps.
_ROWS = 64

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
        first: what the model remembers before the first word, and what it expects: the row and the vector.
        places: in a row; the last is for all words without one.
        place: of the end, the unknown word and each word of the lexicon; -1 for none.
        place_before: (words + 1,) of each stretch of words from the first, the places it takes.
        rare: highest log-probabilities, in a stretch of words, of those without a place among all such.
    """

    def __init__(self, lexicon: Lexicon, model: WordModel | None) -> None:
        self.model = model
        self.first: tuple[State, tuple[Tensor, Tensor]]
        numbers = np.zeros(len(lexicon.words) + LEXICON_SPECIAL, np.int64)
        shares = np.full(len(lexicon.words), -np.inf)
        placed = np.ones(len(numbers), bool)
        self._judge: Judge | None = None
        self._only_lexicon: Tensor | None = None
        if model is not None:
            known = {word: number for number, word in enumerate(model.vocabulary)}
            numbers[:] = model.end, model.unknown, *(known.get(word, model.unknown) for word in lexicon.words)
            placed = numbers < model.frequent
            # As frequent as their rank says (Zipf 1949).
            share = 1.0 / np.arange(1, len(model.vocabulary) + 1)
            share /= max(share[model.frequent :].sum(), share[-1])
            shares[~placed[LEXICON_SPECIAL:]] = np.log(share[numbers[~placed]])
        self.numbers = numbers
        self.place = np.where(placed, np.cumsum(placed) - 1, -1)
        self.place_before = np.concatenate([[0], np.cumsum(placed)])[LEXICON_SPECIAL:]
        self.places = int(np.count_nonzero(placed)) + 1
        self.rare = RangeMaximum(shares)
        if model is None:
            row = torch.tensor([[0.0, lexicon.unknown, *lexicon.log_probs, -torch.inf]])
            row = torch.nn.functional.pad(row, (0, _BLOCK), value=-torch.inf)
            self.first = (), (row, row[:, :0])
        else:
            asked = numbers[placed]
            # A word that only the lexicon knows is one of all those that the language model does not know.
            only_lexicon = asked == model.unknown
            only_lexicon[LEXICON_UNKNOWN + LEXICON_SPECIAL] = False
            asked[only_lexicon] = -1
            if only_lexicon.any():
                (self._only_lexicon,) = torch.from_numpy(only_lexicon).nonzero(as_tuple=True)
            missing = np.setdiff1d(np.arange(model.frequent), asked)
            empty = np.full(_BLOCK, -1)
            self._judge = model.judge(
                torch.from_numpy(np.concatenate([asked, [model.frequent], empty, missing]))
            )
            self.first = model.expect_first(self._judge)
            self._complete(self.first[1][0])

    def histories(self, utterances: int) -> Histories:
        """For one search in so many utterances."""
        return Histories(self, _ROWS * (utterances + 1))

    @property
    def columns(self) -> int:
        """Of a row: its places, `_BLOCK` columns of minus infinity, and what the lexicon lacks."""
        return self.first[1][0].shape[1]

    def after(self, words: Numbers, state: State, rows: Tensor) -> tuple[State, Tensor]:
        """What the model remembers and expects after one word more.

        Args:
            words: (histories,) the last word of each, by its number in the language model.
            state: (layers, histories, hidden) each, before that word.
            rows: (histories, columns), to be written to.

        Returns:
            The state, and (histories, features) for `without_place`.
        """
        assert self.model is not None  # without one, there is but one history
        assert self._judge is not None
        state, (_, vectors) = self.model.expect(torch.from_numpy(words), state, self._judge, rows)
        self._complete(rows)
        return state, vectors

    @torch.inference_mode()
    def _complete(self, rows: Tensor) -> None:
        """Judge the words that only the lexicon knows."""
        if self._only_lexicon is not None:
            assert self.model is not None
            unknown = rows[:, LEXICON_UNKNOWN + LEXICON_SPECIAL, None] + self.model.unknown_share
            rows[:, self._only_lexicon] = unknown

    def without_place(self, vectors: Tensor, words: Numbers) -> Values:
        """Log-probabilities of words of the lexicon that have no place, each after a history."""
        assert self.model is not None
        numbers = torch.from_numpy(self.numbers[words + LEXICON_SPECIAL])
        return self.model.rare_log_probs(vectors, numbers).double().numpy()


class Histories:
    """The histories that a search comes upon, each by its number; the utterances of a batch share them.

    Args:
        scores: what is asked about them.
        room: rows to begin with; there is room for more once they are needed.
    """

    def __init__(self, scores: WordScores, room: int = 8) -> None:
        self._scores = scores
        state, (row, vector) = scores.first
        self._longer: dict[tuple[int, int], int] = {}
        # Of each history: the one before its last word, that word in the language model, where its row lies
        # (-1 while it is not known), and where what the model remembers lies (-1 before it was asked).
        self._parent, self._word, self._row, self._memory = (np.zeros(64, np.int64) for _ in range(4))
        self._count = 1
        self._rows = torch.empty(room, scores.columns)
        self._vectors = torch.empty(room, vector.shape[1])  # of each row, for words without a place
        # Of each row, the highest of each block.
        self._bests = torch.full((room, scores.places // _BLOCK + _BLOCK), -torch.inf)
        self._owner = np.append(NOTHING, np.full(room - 1, _NOBODY))  # of each row, the history
        self._state = tuple(part.repeat(1, _MEMORIES, 1) for part in state)
        self._remembered = 1
        self._rows[NOTHING], self._vectors[NOTHING] = row, vector
        self._find_bests(slice(1))

    def after(self, histories: Numbers, words: Numbers) -> Numbers:
        """Each history and one word more, by its number in the lexicon, or `LEXICON_UNKNOWN`."""
        if self._scores.model is None:
            return histories
        numbers = self._scores.numbers[words + LEXICON_SPECIAL]
        longer = zip(histories.tolist(), numbers.tolist(), strict=True)
        return np.array([self._longer.get(one) or self._add(*one) for one in longer], dtype=np.int64)

    def know(self, needed: Numbers, others: Numbers) -> None:
        """Know the rows of histories; where others are in the way, keep those of `others` and no more."""
        asked = np.zeros(self._count, bool)
        asked[needed] = True
        unasked = np.flatnonzero(asked & (self._row[: self._count] < 0))
        if len(unasked) == 0:
            return
        asked[others] = asked[NOTHING] = True
        forgotten = (self._owner != _NOBODY) & ~asked[self._owner]
        self._row[self._owner[forgotten]] = -1
        self._owner[forgotten] = _NOBODY
        memories = torch.from_numpy(self._memory[self._parent[unasked]])
        state = tuple(part.index_select(1, memories) for part in self._state)
        rows = self._room_for(unasked)
        state, vectors = self._scores.after(self._word[unasked], state, self._rows[rows])
        self._remember(unasked, state)
        self._vectors[rows] = vectors
        self._find_bests(rows)

    def log_probs(self, histories: Numbers, words: Numbers | int) -> Values:
        """Of words by number in the lexicon, or one of the two beside it, after histories with known rows."""
        rows, places = self._row[histories], self._scores.place[words + LEXICON_SPECIAL]
        found = self._rows.numpy()[rows, places].astype(np.float64)
        alone = places < 0
        if np.any(alone):
            vectors = self._vectors[torch.from_numpy(rows[alone])]
            found[alone] = self._scores.without_place(vectors, words[alone])  # type: ignore[index]
        return found

    def best(self, histories: Numbers, first: Numbers, last: Numbers) -> Values:
        """The highest of the words from `first` to before `last` after each history, whose row is known."""
        rows = self._row[histories]
        found = self._rows.numpy()[rows, self._scores.places - 1] + self._scores.rare(first, last)
        first, last = self._scores.place_before[first], self._scores.place_before[last]
        (some,) = np.nonzero(first < last)
        found[some] = np.maximum(found[some], self._best_placed(rows[some], first[some], last[some]))
        return found

    def _best_placed(self, rows: Numbers, first: Numbers, last: Numbers) -> Values:
        """The highest of the places from `first` to before `last`, which is behind it, of each row."""
        (long,) = np.nonzero(last - first > _BLOCK)
        first_block, last_block = -(-first[long] // _BLOCK), last[long] // _BLOCK
        # A long stretch is both its ends and the blocks between them.
        starts = np.concatenate([first, last[long] - _BLOCK])
        ends = np.concatenate([np.minimum(last, first + _BLOCK), last[long]])
        found = _highest(self._rows, np.concatenate([rows, rows[long]]), starts, ends)
        found, found_ends = found[: len(rows)], found[len(rows) :]
        blocks = _highest(self._bests, rows[long], first_block, last_block)
        found[long] = np.maximum(np.maximum(found[long], found_ends), blocks)
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

    def _room_for(self, histories: Numbers) -> slice:
        """Rows next to each other, which are those of histories from now on."""
        count = len(histories)
        taken = np.flatnonzero(np.append(self._owner, NOTHING) != _NOBODY)
        (gaps,) = np.nonzero(np.diff(taken) > count)
        if len(gaps) == 0:
            more = max(count, len(self._owner))
            self._rows, self._vectors, self._bests = (
                torch.cat([part, part.new_full((more, part.shape[1]), -torch.inf)])
                for part in (self._rows, self._vectors, self._bests)
            )
            self._owner = np.append(self._owner, np.full(more, _NOBODY))
            return self._room_for(histories)
        start = int(taken[gaps[0]]) + 1
        rows = slice(start, start + count)
        self._owner[rows] = histories
        self._row[histories] = np.arange(start, start + count)
        return rows

    def _find_bests(self, rows: slice) -> None:
        """Find the highest of each block of rows that were written."""
        blocks = self._bests.shape[1] - _BLOCK
        whole = self._rows[rows, : blocks * _BLOCK].unflatten(1, (blocks, _BLOCK))
        torch.amax(whole, dim=-1, out=self._bests[rows, :blocks])


# Added to `_BLOCK` numbers, of which so many count.
_COUNTED = np.where(np.arange(_BLOCK) < np.arange(_BLOCK + 1)[:, None], 0.0, -np.inf).astype(np.float32)


def _highest(table: Tensor, rows: Numbers, first: Numbers, last: Numbers) -> NDArray[np.float32]:
    """The highest of the columns from `first` to before `last` of each row of a table.

    It is minus infinity where there are none. A table has `_BLOCK` columns more, of minus infinity. NumPy
    copies so many at once nearly as fast as one, and PyTorch is far faster at finding the highest of each.
    """
    found = np.full(len(rows), -np.inf, np.float32)
    windows = sliding_window_view(table.numpy(), _BLOCK, axis=1)
    left = np.arange(len(rows))
    while len(left):
        counted = np.clip(last - first, 0, _BLOCK)
        window = windows[rows, first] + _COUNTED.take(counted, axis=0)
        found[left] = np.maximum(found[left], torch.from_numpy(window).amax(dim=1).numpy())
        (more,) = np.nonzero(last - first > _BLOCK)
        left, rows, first, last = left[more], rows[more], first[more] + _BLOCK, last[more]
    return found
