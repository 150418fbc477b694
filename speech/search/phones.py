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
from speech.model.subwords import BLANK
from speech.search.word_search import TextHypothesis

# Texts of an utterance whose phones are compared; the others are so much worse that it hardly ever matters.
_COMPARED = 32

# Steps from one time that probabilities are made larger to the next, and the least that one may be: 16 of
# them together are still a number.
_RESCALED_EVERY = 16
_LEAST_PROB = 1e-12

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


def texts_log_probs(
    log_probs: Sequence[Tensor], utterances: Sequence[int], texts: Sequence[Sequence[int]]
) -> Values:
    """Log-probability of texts: CTC's forward algorithm for all of them at once, whatever their lengths.

    As PyTorch's `ctc_loss`, several times faster on one core: probabilities are added and multiplied, and
    made larger now and then, in place of logarithms (Graves et al. 2006, doi:10.1145/1143844.1143891).

    Args:
        log_probs: (steps, symbols) of each utterance, CTC's blank first, on the CPU.
        utterances: (texts,) the utterance of each text.
        texts: the symbols of each, no blanks.

    Returns:
        (texts,); minus infinity where a text takes more steps than there are.
    """
    result = np.full(len(texts), -np.inf)
    if not len(texts):
        return result
    lengths = np.array([len(log_probs[number]) for number in utterances])
    order = np.argsort(-lengths, kind="stable")  # those that go on stand in front of those that have ended
    lengths = lengths[order]
    sounds, rows = np.unique(np.array(utterances)[order], return_inverse=True)
    steps, width = int(lengths[0]), log_probs[0].shape[1]
    probs = np.ones((steps, len(sounds), width))
    for place, number in enumerate(sounds.tolist()):
        heard = log_probs[number].numpy()
        probs[: len(heard), place] = np.maximum(np.exp(heard), _LEAST_PROB)
    counts = np.array([len(texts[number]) for number in order])
    symbols = np.zeros((len(order), int(counts.max(initial=0))), np.int64)
    for row, number in zip(symbols, order.tolist(), strict=True):
        row[: len(texts[number])] = texts[number]
    asked = symbols + (rows * width)[:, None]  # places in what is heard at a step
    # The symbol before may be followed at once, without a blank, unless it is the same.
    skips = np.zeros(symbols.shape)
    skips[:, 1:] = symbols[:, 1:] != symbols[:, :-1]
    # Paths that end in the blank before each symbol or behind the last, and in each symbol.
    blanks, spoken = np.zeros((len(order), symbols.shape[1] + 1)), np.zeros(symbols.shape)
    blanks[:, 0] = 1.0
    scales = np.zeros(len(order))
    active = len(order)
    for step in range(steps + 1):
        while active and lengths[active - 1] == step:
            active -= 1
            count = counts[active]
            whole = blanks[active, count] + (spoken[active, count - 1] if count else 0.0)
            result[order[active]] = np.log(whole) + scales[active] if whole > 0.0 else -np.inf
        if not active:
            break
        heard = probs[step].ravel()
        before, blank = spoken[:active], blanks[:active]
        longer = before + blank[:, :-1]
        longer[:, 1:] += before[:, :-1] * skips[:active, 1:]
        longer *= heard.take(asked[:active])
        blank[:, 1:] += before
        blank *= heard[rows[:active] * width + BLANK][:, None]
        before[:] = longer
        if step % _RESCALED_EVERY == _RESCALED_EVERY - 1:
            largest = np.maximum(blank.max(axis=1), before.max(axis=1, initial=0.0))
            blank /= largest[:, None]
            before /= largest[:, None]
            scales[:active] += np.log(largest)
    return result
