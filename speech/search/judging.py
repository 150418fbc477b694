"""The judge: a recurrent language model reads the beginnings of texts beside the search's own.

Comes in: the words that beginnings have come to. Goes out: what is to be added to their scores, which is
lm_weight * (log P - log P_first) of their words, where each word of P has the probability
share * p_judge + (1 - share) * p_first: the judge is interpolated with the search's own language model, each
of which knows what the other does not. Mikolov et al. 2010 (Recurrent neural network based language model);
Sundermeyer et al. 2015 (doi:10.1109/TASLP.2015.2400218).

Beginnings are a tree: what texts have in common is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speech.language.lexicon import Judge
from speech.language.loading import AnyLanguageModel
from speech.language.ngram import NgramModel
from speech.language.recurrent import LanguageModel
from speech.language.vocabulary import END, UNKNOWN

_NEVER = -1  # the row of a beginning that has not been read, and what stands before the first

# Numbers in a table of log-probabilities: 64 MB.
_MOST_NUMBERS = 1 << 24

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]


class TextJudge:
    """Two language models that judge together.

    Args:
        judge: the recurrent model.
        first: the language model that the search asks.
        weight: of language models' log-probabilities in scores.
        share: of the judge in a word's probability, above 0.
    """

    def __init__(self, judge: LanguageModel, first: AnyLanguageModel, weight: float, share: float) -> None:
        self.weight = weight
        with np.errstate(divide="ignore"):
            self.log_shares = np.log([share, 1.0 - share])
        self._makers = [_reader_maker(model) for model in (judge, first)]

    def beginnings(self) -> Beginnings:
        """For one search, in any number of utterances."""
        return Beginnings(self)

    def readers(self) -> list[Reader]:
        """New ones, of the judge and of the first model."""
        return [make() for make in self._makers]


class Beginnings:
    """The beginnings that a search comes upon, each by its number; 0 is that of all texts.

    Args:
        judge: what judges them.

    Attributes:
        changes: (beginnings,) what the judge adds to the score of each.
    """

    def __init__(self, judge: TextJudge) -> None:
        self._judge, self._readers = judge, judge.readers()
        self._numbers: dict[tuple[int, str], int] = {}
        self.changes: Values = np.zeros(1)

    def after(self, beginnings: Numbers, words: Sequence[Sequence[str]]) -> Numbers:
        """Each beginning and the words that follow it: (beginnings,) -> (beginnings,)."""
        found = beginnings.copy()
        for place in range(max(map(len, words), default=0)):
            longer = [number for number, said in enumerate(words) if len(said) > place]
            asked = [(int(found[number]), words[number][place]) for number in longer]
            self._read([one for one in dict.fromkeys(asked) if one not in self._numbers])
            found[longer] = [self._numbers[one] for one in asked]
        return found

    def end_changes(self, beginnings: Numbers) -> Values:
        """What the judge adds to the score of each beginning for being a whole text."""
        different, places = np.unique(beginnings, return_inverse=True)
        ends = np.full(len(different), END)
        return self._changes([reader.log_probs(different, ends) for reader in self._readers])[places]

    def _read(self, new: Sequence[tuple[int, str]]) -> None:
        """Judge a word after each of some beginnings: they are beginnings as well."""
        if not new:
            return
        before = np.array([beginning for beginning, _ in new])
        log_probs = []
        for reader in self._readers:
            numbers = np.array([reader.numbers.get(word, UNKNOWN) for _, word in new])
            log_probs.append(reader.log_probs(before, numbers) + reader.unknown_share * (numbers == UNKNOWN))
            reader.add(before, numbers)
        self._numbers.update(zip(new, range(len(self.changes), len(self.changes) + len(new)), strict=True))
        self.changes = np.concatenate([self.changes, self.changes[before] + self._changes(log_probs)])

    def _changes(self, log_probs: Sequence[Values]) -> Values:
        """What log-probabilities by the judge and by the first model come to."""
        (judge, first), (own, other) = log_probs, self._judge.log_shares
        changes: Values = self._judge.weight * (np.logaddexp(own + judge, other + first) - first)
        return changes


class Reader(Protocol):
    """A language model that reads beginnings.

    Attributes:
        numbers: of its words.
        unknown_share: log-probability that the unknown word is one certain unknown word.
    """

    numbers: dict[str, int]
    unknown_share: float

    def add(self, before: Numbers, words: Numbers) -> None:
        """New beginnings, numbered as they come: words, each after another beginning (beginnings,)."""

    def log_probs(self, beginnings: Numbers, words: Numbers) -> Values:
        """Log-probability of a word after each of some beginnings (beginnings,)."""


def _reader_maker(model: AnyLanguageModel) -> Callable[[], Reader]:
    """What makes readers of a model."""
    if isinstance(model, NgramModel):
        return partial(NgramReader, model)
    everything = torch.arange(model.frequent + 1)  # all words that are not frequent as one
    return partial(RecurrentReader, model, model.judge(everything))


class NgramReader:
    """An n-gram model that reads beginnings; see `Reader`."""

    def __init__(self, model: NgramModel) -> None:
        self.numbers, self.unknown_share = model.numbers, model.unknown_share
        self._model = model
        self._contexts = model.start[:, None]

    def add(self, before: Numbers, words: Numbers) -> None:
        """New beginnings; see `Reader`."""
        longer = self._model.after(self._contexts[:, before], words)
        self._contexts = np.concatenate([self._contexts, longer], axis=1)

    def log_probs(self, beginnings: Numbers, words: Numbers) -> Values:
        """Log-probabilities of words; see `Reader`."""
        return self._model.log_probs(self._contexts[:, beginnings], words)


class RecurrentReader:
    """A recurrent model that reads beginnings; see `Reader`.

    A beginning is read when a word after it is asked about for the first time: many are not gone on with.

    Args:
        model: that reads.
        table: what tells how likely all its words are, from `model.judge`.
    """

    def __init__(self, model: LanguageModel, table: Judge) -> None:
        self.numbers, self.unknown_share = model.numbers, model.unknown_share
        self._model, self._table = model, table
        self._before, self._words = np.array([_NEVER]), np.array([END])  # an end also stands before a text
        # Of each beginning, the row of its state and of what it expects; those of the first are made now.
        self._rows = np.array([0])
        self._rows_used = 1
        self._state, (_, self._expected) = model.expect_first(table)

    def add(self, before: Numbers, words: Numbers) -> None:
        """New beginnings; see `Reader`."""
        self._before = np.concatenate([self._before, before])
        self._words = np.concatenate([self._words, words])
        self._rows = np.concatenate([self._rows, np.full(len(words), _NEVER)])

    @torch.inference_mode()
    def log_probs(self, beginnings: Numbers, words: Numbers) -> Values:
        """Log-probabilities of words; see `Reader`."""
        different = np.unique(beginnings)
        unread = different[self._rows[different] == _NEVER]
        size = max(1, _MOST_NUMBERS // (self._model.frequent + 1))
        for start in range(0, len(unread), size):
            self._read(unread[start : start + size])
        rows = torch.from_numpy(self._rows[beginnings])
        log_probs: Values = (
            self._model.rare_log_probs(self._expected[rows], torch.from_numpy(words)).double().numpy()
        )
        return log_probs

    def _read(self, beginnings: Numbers) -> None:
        """Read the last word of each beginning; what stands before it has been read."""
        before = torch.from_numpy(self._rows[self._before[beginnings]])
        state = self._model.reorder(self._state, before)
        words = torch.from_numpy(self._words[beginnings])
        state, (_, expected) = self._model.expect(words, state, self._table)
        used = slice(self._rows_used, self._rows_used + len(beginnings))
        self._rows[beginnings] = np.arange(used.start, used.stop)
        self._rows_used = used.stop
        while self._rows_used > len(self._expected):
            self._expected = _doubled(self._expected, dim=0)
            self._state = tuple(_doubled(part, dim=1) for part in self._state)
        self._expected[used] = expected
        for part, new in zip(self._state, state, strict=True):
            part[:, used] = new


def _doubled(table: Tensor, dim: int) -> Tensor:
    """A table with room for as many rows again; what they hold does not matter yet."""
    shape = [*table.shape]
    shape[dim] *= 2
    larger = table.new_empty(shape)
    larger.narrow(dim, 0, table.shape[dim]).copy_(table)
    return larger
