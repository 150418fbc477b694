"""How far each weight moves: the learning rate over a run, and which weights decay."""

from __future__ import annotations

import math
from typing import Any

from torch import nn


def one_cycle(step: int, total: int, warmup: float) -> float:
    """Factor on the learning rate: linear up over the `warmup` share, then a cosine down to 1 %.

    Smith and Topin 2018, arXiv:1708.07120.
    """
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    progress = min(1.0, (step - rise) / max(1, total - rise))
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))


def decayed(network: nn.Module, weight_decay: float, **options: Any) -> list[dict[str, Any]]:
    """Parameter groups: matrices with weight decay, biases and normalisation without; frozen left out."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay, **options},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, **options},
    ]
