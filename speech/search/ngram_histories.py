"""What the words so far say about the next, when the language model is one of n-grams: for the search.

Comes in: histories of words, as the search comes upon them. Goes out: log-probabilities of words after them,
and the best of a range of words. Of a history only the last words matter, so many texts share one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from speech.language.followers import Numbers, Values
from speech.language.ngram import NgramModel
from speech.language.vocabulary import SPECIAL, UNKNOWN
from speech.search.histories import LEXICON_SPECIAL, LEXICON_UNKNOWN, NOTHING

# Bits of a word's number among those of a lexicon and the two beside them; a history has what is left.
_WORD_BITS = 20

# Answers that are remembered of each kind, in tables of 3 MB.
_ANSWERS = 1 << 17

_NO_KEY = -1
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2 ** 64 divided by the golden ratio (Knuth 1973, 6.4)


class Remembered:
    """Answers that were computed once: a search asks most questions again in the next step.

    Each question has one place in a table, and an answer stays until another takes its place.

    Args:
        places: a power of two.
    """

    def __init__(self, places: int) -> None:
        self._keys = np.full(places, _NO_KEY)
        self._answers = np.zeros(places)
        self._last = np.zeros(places, np.int64)  # question that asked for a place last
        self._shift = np.uint64(64 - (places - 1).bit_length())

    def __call__(self, keys: Numbers, compute: Callable[[Numbers], Values]) -> Values:
        """The answer to each question.

        Args:
            keys: of the questions, (questions,), 0 or more; no two questions share one.
            compute: answers those whose places in `keys` it is given.
        """
        places = ((keys.view(np.uint64) * _HASH_FACTOR) >> self._shift).view(np.int64)
        answers = self._answers[places]
        missing = np.flatnonzero(self._keys[places] != keys)
        if len(missing) == 0:
            return answers
        taken = places[missing]
        # Of those that share a place, often because they are the same, one is computed and stays.
        self._last[taken] = missing
        first = missing[self._last[taken] == missing]
        self._keys[places[first]], self._answers[places[first]] = keys[first], compute(first)
        answers[missing] = self._answers[taken]
        others = missing[self._keys[taken] != keys[missing]]
        if len(others):
            answers[others] = compute(others)
        return answers


class NgramScores:
    """An n-gram model, asked in the words of a lexicon.

    Args:
        words: of the lexicon, in its order; all that the model knows, and maybe others. It is quick if the
            former stand in the order of the model, and takes a second otherwise.
        model: scores words by those before them.

    Attributes:
        model: its words in the order of the lexicon.
        numbers: in the model, of the end, the unknown word and each word of the lexicon.
        known_before, unknown_before: (words + 1,) how many of the words before each the model knows, and how
            many it does not; of the former, as numbers in the model.
    """

    def __init__(self, words: Sequence[str], model: NgramModel) -> None:
        numbers = np.arange(len(words) + LEXICON_SPECIAL)
        if list(words) != model.words:
            known = set(model.words)
            shared = [word for word in words if word in known]
            if shared != model.words:
                model = model.reordered(shared)
            is_known = np.array([True, True, *(word in known for word in words)])
            numbers = np.where(is_known, np.cumsum(is_known) - 1, UNKNOWN)
        self.model, self.numbers = model, numbers
        unknown = numbers[LEXICON_SPECIAL:] == UNKNOWN
        self.unknown_before = np.concatenate([[0], np.cumsum(unknown)])
        self.known_before = np.concatenate([[0], np.cumsum(~unknown)]) + len(SPECIAL)

    def histories(self, _: int) -> NgramHistories:
        """For one search, in any number of utterances."""
        return NgramHistories(self)


class NgramHistories:
    """The histories that a search comes upon, each by its number; the utterances of a batch share them.

    Args:
        scores: what is asked about them.
    """

    def __init__(self, scores: NgramScores) -> None:
        self._scores, self._model = scores, scores.model
        # Of each history, its contexts in the model, which are all that matters of it.
        self._contexts = np.repeat(self._model.start[:, None], 64, axis=1)
        self._known = {tuple(self._model.start.tolist()): NOTHING}
        self._log_probs = Remembered(_ANSWERS)
        self._best = Remembered(_ANSWERS)

    def after(self, histories: Numbers, words: Numbers) -> Numbers:
        """Each history and one word more, by its number in the lexicon, or `LEXICON_UNKNOWN`."""
        longer = self._model.after(
            self._contexts[:, histories], self._scores.numbers[words + LEXICON_SPECIAL]
        )
        known = self._known
        there = len(known)
        found = np.array(
            [known.setdefault(one, len(known)) for one in zip(*longer.tolist(), strict=True)], dtype=np.int64
        )
        while len(known) > self._contexts.shape[1]:
            self._contexts = np.concatenate([self._contexts, self._contexts], axis=1)
        new = found >= there
        self._contexts[:, found[new]] = longer[:, new]
        return found

    def know(self, needed: Numbers, others: Numbers) -> None:
        """Nothing has to be known before it is asked for."""

    def log_probs(self, histories: Numbers, words: Numbers | int) -> Values:
        """Of words of the lexicon by number, `LEXICON_UNKNOWN` or `LEXICON_END`, after each history."""
        words = np.broadcast_to(np.asarray(words), histories.shape)
        keys = histories << _WORD_BITS | (words + LEXICON_SPECIAL)
        return self._log_probs(keys, lambda asked: self._compute_log_probs(histories[asked], words[asked]))

    def best(self, histories: Numbers, first: Numbers, last: Numbers) -> Values:
        """The highest of the words from `first` to before `last`, which is behind it, after each history."""
        keys = (histories << _WORD_BITS | first) << _WORD_BITS | last
        return self._best(keys, lambda asked: self._find_best(histories[asked], first[asked], last[asked]))

    def _compute_log_probs(self, histories: Numbers, words: Numbers) -> Values:
        """As `log_probs`."""
        numbers = self._scores.numbers[words + LEXICON_SPECIAL]
        found = self._model.log_probs(self._contexts[:, histories], numbers)
        # A word that only the lexicon knows is one of all those that the language model does not know.
        found[(numbers == UNKNOWN) & (words != LEXICON_UNKNOWN)] += self._model.unknown_share
        return found

    def _find_best(self, histories: Numbers, first: Numbers, last: Numbers) -> Values:
        """As `best`."""
        scores, contexts = self._scores, self._contexts[:, histories]
        low, high = scores.known_before[first], scores.known_before[last]
        if len(scores.numbers) == len(self._model.vocabulary):
            return self._model.best(contexts, low, high)
        found = np.full(len(histories), -np.inf)
        (known,) = np.nonzero(low < high)
        found[known] = self._model.best(contexts[:, known], low[known], high[known])
        (others,) = np.nonzero(scores.unknown_before[first] < scores.unknown_before[last])
        unknown = self._model.log_probs(contexts[:, others], np.full(len(others), UNKNOWN))
        found[others] = np.maximum(found[others], unknown + self._model.unknown_share)
        return found
