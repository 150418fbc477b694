"""What was found, listened to once more: how well the phones of each text fit what the lower stack heard.

Comes in: the best texts of utterances, and log-probabilities (steps, phones) of the lower stack. Goes out:
the texts in their new order. In their scores, a share of the log-probability of their subwords is exchanged
for that of their phones. The two stacks err in different places: one answers in steps of 40 ms with what is
heard, the other in 80 with what is written. How words are spoken, a pronouncing dictionary says. A text with
a word that it does not know is taken to gain or lose what the middle one of the others does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from speech.language.spoken import Pronunciations
from speech.search.text_probs import texts_log_probs
from speech.search.word_search import TextHypothesis

# Texts of an utterance whose phones are compared; the others are so much worse that it hardly ever matters.
_COMPARED = 32

# In place of the log-probability of a text that cannot have been said: there is no other where all are so.
_LEAST_LOG_PROB = -1e4

Values = NDArray[np.float64]


class PhoneListener:
    """Compares texts with what the lower stack heard.

    Args:
        pronunciations: of the words, in the names of phones.
        phones: the lower stack's, CTC's blank first.
        share: of the phones in the log-probability of what is heard, 0 to 1.
        temperature: the log-probability of phones is divided by it.
    """

    def __init__(
        self, pronunciations: Pronunciations, phones: Sequence[str], share: float, temperature: float = 1.0
    ) -> None:
        self.share, self.temperature = share, temperature
        self._pronunciations = pronunciations
        self._numbers = {phone: number for number, phone in enumerate(phones)}

    def __call__(
        self, found: Sequence[Sequence[TextHypothesis]], phone_log_probs: Sequence[Tensor]
    ) -> list[list[TextHypothesis]]:
        """The texts of each utterance in their new order.

        Args:
            found: of each utterance, best first.
            phone_log_probs: (steps, phones) of each, on the CPU.
        """
        spoken: dict[tuple[int, int], list[int]] = {}  # by utterance and place among its texts
        for utterance, texts in enumerate(found):
            for place, text in enumerate(texts[:_COMPARED] if len(texts) > 1 else ()):
                one = self._phones(text.text)
                if one is not None and text.log_prob > -np.inf:
                    spoken[utterance, place] = one
        log_probs = texts_log_probs(phone_log_probs, [number for number, _ in spoken], [*spoken.values()])
        phones = np.full((len(found), _COMPARED), np.nan)
        for known, log_prob in zip(spoken, np.maximum(log_probs, _LEAST_LOG_PROB), strict=True):
            phones[known] = log_prob
        return [self._reordered(texts, one) for texts, one in zip(found, phones, strict=True)]

    def _phones(self, text: str) -> list[int] | None:
        """How a text is spoken; None if a word of it is not known."""
        phones: list[int] = []
        for word in text.split():
            spoken = self._pronunciations.get(word)
            if spoken is None or not self._numbers.keys() >= {*spoken}:
                return None
            phones += [self._numbers[phone] for phone in spoken]
        return phones

    def _reordered(self, texts: Sequence[TextHypothesis], phones: Values) -> list[TextHypothesis]:
        """Texts by their new scores.

        Args:
            texts: of one utterance.
            phones: log-probability of the phones of the first texts; not a number where that is not known.
        """
        (known,) = np.nonzero(~np.isnan(phones))
        if not len(known):
            return list(texts)
        log_probs = np.array([text.log_prob for text in texts])
        gains = phones[known] / self.temperature - log_probs[known]
        added = np.full(len(texts), np.median(gains))
        added[known] = gains
        changed = [
            replace(text, score=text.score + self.share * gain)
            for text, gain in zip(texts, added.tolist(), strict=True)
        ]
        return sorted(changed, key=attrgetter("score"), reverse=True)
