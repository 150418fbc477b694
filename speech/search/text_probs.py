"""How probable texts are: all paths of each, by CTC's forward algorithm for many texts at once.

Comes in: log-probabilities (steps, symbols) of utterances, and texts that may have been said. Goes out: the
log-probability of each, exact but for probabilities below 1e-12.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from speech.model.subwords import BLANK

# Steps from one time that probabilities are made larger to the next, and the least that one may be: 16 of
# them together are still a number.
_RESCALED_EVERY = 16
_LEAST_PROB = 1e-12


def texts_log_probs(
    log_probs: Sequence[Tensor], utterances: Sequence[int], texts: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
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
