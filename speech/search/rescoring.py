"""The second pass: a recurrent language model reads the texts that a search found, each as a whole.

Comes in: texts of utterances with their scores. Goes out: the same texts with new scores, best first. To each
score is added lm_weight * (log P(text) - log P_first(text)), where each word of P has the probability
share * p_judge + (1 - share) * p_first: the judge is interpolated with the search's own language model, each
of which knows what the other does not. Mikolov et al. 2010 (Recurrent neural network based language model);
Sundermeyer et al. 2015 (doi:10.1109/TASLP.2015.2400218). An empty text has no words and no end, as in the
search, and keeps its score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

import numpy as np
import torch
from numpy.typing import NDArray

from common.core.recurrent import State
from speech.language.loading import AnyLanguageModel
from speech.language.recurrent import LanguageModel
from speech.language.vocabulary import END, UNKNOWN
from speech.search.word_search import TextHypothesis

# A text is judged if it could win were the judge's log-probability, less that of the first model, so many
# nats higher than it is for the first text. Measured with the models that ship, on 22,760 texts of 700
# utterances: between two texts of one that difference scatters by 3.7 nats (standard deviation), and was 17.8
# at most; what half of it changes in a text's log-probability, 10.6. Without a margin one utterance of the
# 700 would have got another text; three texts of ten need not be judged.
MARGIN = 20.0

# Numbers in a table of log-probabilities: 64 MB.
_MOST_NUMBERS = 1 << 24

Numbers = NDArray[np.int64]
Values = NDArray[np.float64]


class Rescorer:
    """What judges texts a second time.

    Args:
        judge: the recurrent model.
        first: the language model that the search asked.
        weight: of language models' log-probabilities in scores.
        share: of the judge in a word's probability, above 0.
    """

    def __init__(self, judge: LanguageModel, first: AnyLanguageModel, weight: float, share: float) -> None:
        self.weight, self.margin = weight, MARGIN * weight * share
        with np.errstate(divide="ignore"):
            self._log_shares = np.log([share, 1.0 - share])
        self._judge = word_scorer(judge)
        self._first = word_scorer(first) if isinstance(first, LanguageModel) else first.score_words

    def __call__(self, found: Sequence[Sequence[TextHypothesis]]) -> list[list[TextHypothesis]]:
        """The texts of each utterance with new scores, best first.

        Args:
            found: of each utterance its texts, best first, at least one.
        """
        judged = [[text for text in texts if text.score >= texts[0].score - self.margin] for texts in found]
        different = list(dict.fromkeys(one.text for texts in judged for one in texts if one.text))
        by_text = dict(zip(different, self._changes(different), strict=True))
        return [
            _anew(texts, {one.text: by_text.get(one.text, 0.0) for one in some})
            for texts, some in zip(found, judged, strict=True)
        ]

    def _changes(self, texts: Sequence[str]) -> list[float]:
        """What is added to the score of each text."""
        both = zip(self._judge(texts), self._first(texts), strict=True)
        own, other = self._log_shares
        return [
            self.weight * float((np.logaddexp(own + judge, other + first) - first).sum())
            for judge, first in both
        ]


def _anew(texts: Sequence[TextHypothesis], changes: Mapping[str, float]) -> list[TextHypothesis]:
    """The texts of an utterance, best first, after the scores of some have changed.

    Those that were not judged stay as far behind the first as they were.
    """
    others = changes[texts[0].text]
    moved = [
        replace(one, score=one.score + (changes.get(one.text, others) if one.text else 0.0)) for one in texts
    ]
    return sorted(moved, key=attrgetter("score"), reverse=True)


def word_scorer(model: LanguageModel) -> Callable[[Sequence[str]], list[Values]]:
    """What scores the words of many texts as `LanguageModel.score` does, in a fraction of the time.

    Beginnings that texts have in common are read once: the words of all texts are followed side by side, and
    of equal ones after equal beginnings there is one. Only frequent words are judged after each beginning, if
    the model has such, others where they are said; and single steps multiply in 8 bits if the model's do.

    Returns:
        Texts -> of each text the log-probability of each word and of its end, in nats, (words + 1,).
    """
    judge = model.judge(torch.arange(model.frequent + 1))  # and all others together
    words_known = len(model.vocabulary)

    def expected(read: Numbers, state: State, owners: Numbers, words: Numbers) -> tuple[State, Values]:
        """Read a word after each beginning: the states, and how likely words are after some of them."""
        after, (log_probs, vectors) = model.expect(torch.from_numpy(read), state, judge)
        rows, columns = torch.from_numpy(owners), torch.from_numpy(words)
        found = log_probs[rows, columns.clamp_max(model.frequent)].double()
        (rare,) = torch.nonzero(columns >= model.frequent, as_tuple=True)
        found[rare] = model.rare_log_probs(vectors[rows[rare]], columns[rare]).double()
        return after, found.numpy()

    def in_parts(read: Numbers, state: State, owners: Numbers, words: Numbers) -> tuple[State, Values]:
        """As `expected`, of any number of beginnings; owners ascend."""
        size = max(1, _MOST_NUMBERS // (model.frequent + 1))
        states, found = [], []
        for start in range(0, len(read), size):
            first, last = np.searchsorted(owners, [start, start + size])
            part = tuple(one[:, start : start + size] for one in state)
            own = slice(first, last)
            after, log_probs = expected(read[start : start + size], part, owners[own] - start, words[own])
            states.append(after)
            found.append(log_probs)
        return tuple(torch.cat(parts, dim=1) for parts in zip(*states, strict=True)), np.concatenate(found)

    @torch.inference_mode()
    def scored(texts: Sequence[str]) -> list[Values]:
        """Log-probabilities of the words of each text."""
        sentences = [[*model.encode(text), END] for text in texts]
        lengths = np.array([len(one) for one in sentences], dtype=np.int64)
        words = np.full((len(texts), lengths.max(initial=0)), END)
        words[np.arange(words.shape[1]) < lengths[:, None]] = [word for one in sentences for word in one]
        scores = model.unknown_share * (words == UNKNOWN)
        # An end also stands before the first word. Of each text, its beginning among the different ones.
        read, beginnings, going_on = np.array([END]), np.zeros(len(texts), np.int64), np.arange(len(texts))
        state: State = model.network.aligned.stack.init_state(1)
        for place in range(words.shape[1]):
            following = words[going_on, place]
            keys, kinds = np.unique(beginnings * words_known + following, return_inverse=True)
            owners, nexts = np.divmod(keys, words_known)
            state, log_probs = in_parts(read, state, owners, nexts)
            scores[going_on, place] += log_probs[kinds]
            longer = nexts != END
            read = nexts[longer]
            state = model.reorder(state, torch.from_numpy(owners[longer]))
            goes_on = following != END
            beginnings, going_on = (np.cumsum(longer) - 1)[kinds[goes_on]], going_on[goes_on]
        return [row[:length] for row, length in zip(scores, lengths.tolist(), strict=True)]

    return scored
