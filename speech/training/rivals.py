"""Maximum mutual information: the right text against all others, each as probable as a language model says.

CTC asks only that the right text be likely. The search asks more: it must be likelier than every other text
that people would say. So what the answer gives to all texts together is added to CTC's loss, each weighted
by how probable it is (Bahl et al. 1986, doi:10.1109/ICASSP.1986.1169179; without lattices: Povey et al. 2016,
Interspeech; over CTC's paths: Xiang and Ou 2019, arXiv:1911.08747).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from speech.model.subwords import BLANK


@dataclass(frozen=True)
class Bigrams:
    """Probabilities of symbols after one another.

    Attributes:
        transitions: (symbols, symbols) of each column after each row. The blank's row is the beginning of a
            text, its column is zero.
        ends: (symbols,) that a text ends after each row.
    """

    transitions: Tensor
    ends: Tensor

    def to(self, device: torch.device) -> Bigrams:
        """The same on another device."""
        return Bigrams(self.transitions.to(device), self.ends.to(device))


def count_bigrams(texts: Iterable[Sequence[int]], symbols: int, discount: float = 0.5) -> Bigrams:
    """Bigrams of texts, with absolute discounting (Ney, Essen and Kneser 1994, doi:10.1006/csla.1994.1001).

    Args:
        texts: of symbols, without blanks; an empty one says nothing.
        symbols: how many there are, the blank counted.
        discount: taken from each count, and given to all symbols as frequent as they are.
    """
    counts = np.zeros((symbols, symbols))
    # The blank's place stands for the beginning as a row, and for the end as a column.
    for pair, count in Counter(
        pair for text in texts if text for pair in pairwise([BLANK, *text, BLANK])
    ).items():
        counts[pair] = count
    frequencies = (counts.sum(axis=0) + 0.5) / (counts.sum() + 0.5 * symbols)
    total = counts.sum(axis=1, keepdims=True)
    spared = np.where(total > 0.0, discount * (counts > 0.0).sum(axis=1, keepdims=True), 1.0)
    probs = (np.maximum(counts - discount, 0.0) + spared * frequencies) / np.maximum(total, 1.0)
    transitions = torch.from_numpy(probs.astype(np.float32))
    ends = transitions[:, BLANK].clone()
    transitions[:, BLANK] = 0.0
    return Bigrams(transitions, ends)


def text_log_prob(log_probs: Tensor, steps: Tensor, bigrams: Bigrams) -> Tensor:
    """The log of the probability, by the bigrams, of what an answer says: the mean over all that it may say.

    Args:
        log_probs: (batch, steps, symbols), blank first.
        steps: (batch,) steps of each utterance, at least 1.
        bigrams: of the symbols, on any device.

    Returns:
        (batch,) in nats. A text counts as often as CTC's paths say it; the bigrams are asked once a symbol.
    """
    bigrams = bigrams.to(log_probs.device)
    with torch.autocast(log_probs.device.type, enabled=False):
        probs = log_probs.float().exp()
        again = bigrams.transitions.diagonal()
        # By the symbol written last: the last step was that symbol, or a blank behind it.
        sounding = torch.zeros_like(probs[:, 0])
        silent = nn.functional.one_hot(torch.full_like(steps, BLANK), probs.shape[-1]).to(probs)
        total = torch.zeros_like(probs[:, 0, 0])
        own = torch.arange(probs.shape[1], device=steps.device) < steps[:, None]
        for here, real in zip(probs.unbind(dim=1), own.unbind(dim=1), strict=True):
            last = sounding + silent
            written = here * (sounding + last @ bigrams.transitions - sounding * again)
            held = here[:, BLANK, None] * last
            size = written.sum(dim=-1) + held.sum(dim=-1)
            total = total + torch.where(real, size.log(), 0.0)
            # What lies behind an utterance's own steps leaves everything as it is.
            sounding = torch.where(real[:, None], written / size[:, None], sounding)
            silent = torch.where(real[:, None], held / size[:, None], silent)
        return total + ((sounding + silent) @ bigrams.ends).log()


def rival_loss(log_probs: Tensor, steps: Tensor, target_lengths: Tensor, bigrams: Bigrams) -> Tensor:
    """What is added to CTC's loss: `text_log_prob` of all utterances with a text, in nats a target symbol.

    Args:
        log_probs, steps, bigrams: as for `text_log_prob`.
        target_lengths: (batch,) symbols of each; an utterance without adds nothing.
    """
    found = text_log_prob(log_probs, steps, bigrams).masked_fill(target_lengths == 0, 0.0)
    return found.sum() / target_lengths.sum().clamp_min(1)
