"""How wrong a captioner is: logits of the next words and what should have come -> one number."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def caption_loss(logits: Tensor, targets: Tensor, lengths: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy with label smoothing, averaged over words, in nats.

    Args:
        logits: (captions, steps, words), or those of the steps that count in a row.
        targets: (captions, steps) the next word at each step, the end symbol last.
        lengths: (captions,) steps that count.
        smoothing: share of the probability that is spread over all words (Szegedy et al. 2016).
    """
    mask = own_steps(lengths, targets.shape[1])
    own = logits if logits.ndim == 2 else logits[mask]
    return F.cross_entropy(own.float(), targets[mask], label_smoothing=smoothing)


def distillation_loss(logits: Tensor, taught: Tensor, lengths: Tensor) -> Tensor:
    """Cross-entropy with what teachers expect (Hinton et al. 2015, arXiv:1503.02531), averaged over words.

    Args:
        logits: (captions, steps, words).
        taught: (captions, steps, words), probabilities.
        lengths: (captions,) steps that count.
    """
    mask = own_steps(lengths, logits.shape[1])
    return F.cross_entropy(logits[mask].float(), taught[mask])


def own_steps(lengths: Tensor, steps: int) -> Tensor:
    """Which steps are a caption's own and not padding: lengths (captions,) -> (captions, steps)."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(1)
