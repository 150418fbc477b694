"""Utterances without their dull steps: those in which nothing but a blank is likely.

Comes in: log-probabilities (steps, symbols) of each utterance. Goes out: the steps in which a symbol is worth
trying, which some are not, and what lies between them, each stretch as one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from speech.model.subwords import BLANK

# A step is dull only if a blank is at least this probable: all else in it is divided by that.
_DULL = 0.5

# Hot symbols are tried down to this share of the probability that others have to have.
_HOT_SHARE = 0.1

Values = NDArray[np.float64]


class Condensed:
    """The steps of utterances in which something may happen.

    In a dull step no text becomes longer. A path that ends in a blank goes on by a blank; one that ends in a
    symbol by a blank or the same symbol. Hence a stretch of such steps is one, with factors of its own for
    each symbol. They are all relative to the probability that the stretch is all blanks.

    Args:
        utterances: (steps, symbols) log-probabilities of each, on the CPU.
        temperature: they are divided by.
        min_prob: symbols less probable than this are not tried.
        hot: those of hotwords, which are tried down to a tenth of it.

    Attributes:
        lengths: (utterances,) steps that are left of each.
        heard: (steps, utterances, symbols) probabilities.
        likely: (steps, utterances, symbols) which symbols may follow.
        stays: (steps + 1, utterances, symbols) before each step and after the last, the factor of paths that
            end in a symbol and go on in it.
        pauses: (steps + 1, utterances, symbols) the factor of paths that end in a symbol and go to a blank.
        log_blanks: (utterances,) log-probability that all dull steps are blanks.
    """

    def __init__(
        self,
        utterances: Sequence[Tensor],
        temperature: float,
        min_prob: float,
        hot: Sequence[int] = (),
    ) -> None:
        parts = [_Part(_tempered(one, temperature).numpy(), min_prob, hot) for one in utterances]
        self.lengths = np.array([len(part.heard) for part in parts], dtype=np.int64)
        self.heard = _stacked([part.heard for part in parts])
        self.stays = _stacked([part.stays for part in parts])
        self.pauses = _stacked([part.pauses for part in parts])
        self.likely = _likely(self.heard, min_prob, hot)
        self.log_blanks = np.array([part.log_blanks for part in parts])


class _Part:
    """One utterance of them; attributes as above.

    Args:
        probabilities: (steps, symbols).
        min_prob, hot: as above.
    """

    def __init__(self, probabilities: Values, min_prob: float, hot: Sequence[int]) -> None:
        blanks = probabilities[:, BLANK]
        dull = ~_likely(probabilities, min_prob, hot).any(axis=1) & (blanks >= _DULL)
        self.heard = probabilities[~dull]
        shape = len(self.heard) + 1, probabilities.shape[1]
        self.stays, self.pauses = np.ones(shape), np.zeros(shape)
        places = np.cumsum(~dull)[dull]  # how many steps are left before each dull one
        for place, step in zip(places.tolist(), probabilities[dull] / blanks[dull, None], strict=True):
            self.pauses[place] += self.stays[place]
            self.stays[place] *= step
        self.log_blanks = float(np.log(blanks[dull]).sum())


def _likely(probabilities: Values, min_prob: float, hot: Sequence[int]) -> NDArray[np.bool_]:
    """Which symbols may follow, where such are their probabilities (..., symbols)."""
    likely: NDArray[np.bool_] = probabilities >= min_prob
    likely[..., list(hot)] = probabilities[..., list(hot)] >= _HOT_SHARE * min_prob
    likely &= probabilities > 0.0
    likely[..., BLANK] = False
    return likely


def _stacked(parts: Sequence[Values]) -> Values:
    """(steps, symbols) of each utterance -> (most steps, utterances, symbols), zeros behind each."""
    most = max((len(part) for part in parts), default=0)
    symbols = max((part.shape[1] for part in parts), default=0)
    stacked = np.zeros((most, len(parts), symbols))
    for number, part in enumerate(parts):
        stacked[: len(part), number] = part
    return stacked


def _tempered(log_probs: Tensor, temperature: float) -> Tensor:
    """Log-probabilities (steps, symbols) -> probabilities, nearer to each other at a higher temperature."""
    probabilities = log_probs.double().exp()
    if temperature == 1.0:
        return probabilities
    probabilities = probabilities ** (1.0 / temperature)
    return probabilities / probabilities.sum(dim=-1, keepdim=True).clamp_min(1e-300)
