"""Averaged weights: a mean over the last steps errs less than the weights of any of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of the weights, kept beside them (Polyak and Juditsky 1992).

    The decay grows from 0 in the first steps, so that the average does not remember the start.

    Args:
        decay: share of the old average in the new one; 0 keeps no average.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the weights of this step."""
        if self.decay <= 0.0:
            return
        self.updates += 1
        decay = min(self.decay, (1.0 + self.updates) / (10.0 + self.updates))
        for name, weight in network.state_dict().items():
            if name not in self.weights or not weight.is_floating_point():
                self.weights[name] = weight.clone()
            else:
                self.weights[name].lerp_(weight, 1.0 - decay)

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """The network with averaged weights inside the block, with its own again after it."""
        if not self.weights:
            yield
            return
        own = {name: weight.clone() for name, weight in network.state_dict().items()}
        network.load_state_dict(self.weights)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"updates": self.updates, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up a kept average, on the device where the network is."""
        self.updates = state["updates"]
        self.weights = {name: weight.to(device) for name, weight in state["weights"].items()}
