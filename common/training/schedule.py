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


def decayed(network: nn.Module, weight_decay: float, gates: int = 0, **options: Any) -> list[dict[str, Any]]:
    """Parameter groups: matrices with weight decay, biases and normalisation without; frozen left out.

    Args:
        network: whose parameters they are.
        weight_decay: of matrices.
        gates: of its recurrent cells, if the matrices of these are to be a group of their own, for Muon.
        options: of all groups.
    """
    named = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
    recurrent = [one for name, one in named if gates and name.endswith(("weight_ih", "weight_hh"))]
    apart = {id(one) for one in recurrent}
    parameters = [one for _, one in named if id(one) not in apart]
    groups = [{"params": recurrent, "weight_decay": weight_decay, "gates": gates, **options}] if gates else []
    return [
        *groups,
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay, **options},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, **options},
    ]
