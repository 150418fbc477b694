"""Utterances without their dull steps: those in which nothing but a blank is likely.

Comes in: log-probabilities (steps, symbols) of each utterance. Goes out: the steps in which a symbol is worth
trying, which a third of all are not, and what lies between them, each stretch as one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from speech.text import BLANK, SPACE, SYMBOLS

# A step is dull only if a blank is at least this probable: all else in it is divided by that.
_DULL = 0.5


class Condensed:
    """The steps of utterances in which something may happen.

    In a dull step no text becomes longer. A path that ends in a blank goes on by a blank; one that ends in a
    symbol by a blank or the same symbol; one that ends in a space by either, which makes no difference. Hence
    a stretch of such steps is one, with factors of its own for each symbol. They are all relative to the
    probability that the stretch is all blanks.

    Args:
        utterances: (steps, symbols) log-probabilities of each, on the CPU.
        temperature: they are divided by.
        least: symbols less probable than this are not tried.

    Attributes:
        lengths: (utterances,) steps that are left of each.
        heard: (steps, utterances, symbols) probabilities.
        likely: (steps, utterances, symbols) which symbols may follow.
        stays: (steps + 1, utterances, symbols) before each step and after the last, the factor of paths that
            end in a symbol and go on in it; of those that end in a space, in whatever.
        pauses: (steps + 1, utterances, symbols) the factor of paths that end in a symbol and go to a blank.
        log_blanks: (utterances,) log-probability that all dull steps are blanks.
    """

    def __init__(self, utterances: Sequence[Tensor], temperature: float, least: float) -> None:
        count, symbols = len(utterances), len(SYMBOLS)
        whole = np.array([len(log_probs) for log_probs in utterances])
        steps = int(whole.max(initial=0))
        # Probabilities add up several times faster than logarithms.
        heard = np.zeros((steps, count, symbols))
        for number, log_probs in enumerate(utterances):
            probabilities = _tempered(log_probs, temperature).numpy()
            heard[: len(log_probs), number, : log_probs.shape[1]] = probabilities
        likely = (heard >= least) & (heard > 0.0)
        likely[:, :, BLANK] = False
        dull = ~likely.any(axis=2) & (heard[:, :, BLANK] >= _DULL)
        busy = ~dull & (np.arange(steps)[:, None] < whole)
        place: NDArray[np.int64] = np.cumsum(busy, axis=0) - busy  # of each step, how many are left before it
        self.lengths = busy.sum(axis=0)
        most = int(self.lengths.max(initial=0))
        at = place[busy], np.nonzero(busy)[1]
        self.heard, self.likely = np.zeros((most, count, symbols)), np.zeros((most, count, symbols), bool)
        self.heard[at], self.likely[at] = heard[busy], likely[busy]
        self.stays, self.pauses = np.ones((most + 1, count, symbols)), np.zeros((most + 1, count, symbols))
        blank = np.where(dull, heard[:, :, BLANK], 1.0)
        relative = heard / blank[:, :, None]
        relative[:, :, SPACE] += 1.0
        for step in np.flatnonzero(dull.any(axis=1)):
            (who,) = np.nonzero(dull[step])
            gap = place[step, who], who
            self.pauses[gap] += self.stays[gap]
            self.stays[gap] *= relative[step, who]
        self.log_blanks = np.log(blank).sum(axis=0)


def _tempered(log_probs: Tensor, temperature: float) -> Tensor:
    """Log-probabilities (steps, symbols) -> probabilities, nearer to each other at a higher temperature."""
    probabilities = log_probs.double().exp()
    if temperature == 1.0:
        return probabilities
    probabilities = probabilities ** (1.0 / temperature)
    return probabilities / probabilities.sum(dim=-1, keepdim=True).clamp_min(1e-300)
