"""Where a network starts: what is done to a fresh recurrent stack before it is measured or trained.

Comes in: a stack, and a generator where numbers are drawn. Goes out: the same stack, other weights. The core
itself starts orthogonal, an LSTM's forget gates a little open (`common.core.recurrent`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from common.core.recurrent import RecurrentStack

Start = Callable[[RecurrentStack, torch.Generator], None]


def spectral_radius(matrix: Tensor) -> float:
    """The largest absolute eigenvalue of a square matrix: what many steps multiply by, per step."""
    return float(torch.linalg.eigvals(matrix.detach().double()).abs().max())


def gaussian(radius: float) -> Start:
    """Recurrent matrices drawn from a normal distribution, with this spectral radius."""

    def prepare(stack: RecurrentStack, generator: torch.Generator) -> None:
        size = stack.config.hidden_size
        with torch.no_grad():
            for name, weight in stack.named_parameters():
                if name.endswith("weight_hh"):
                    for block in weight.split(size):
                        block.copy_(torch.randn(block.shape, generator=generator))
                        block.mul_(radius / spectral_radius(block))

    return prepare


def pytorch_start(stack: RecurrentStack, generator: torch.Generator) -> None:
    """Recurrent matrices as PyTorch's own modules draw them, uniformly: their radius is about 0.58."""
    bound = stack.config.hidden_size**-0.5
    with torch.no_grad():
        for name, weight in stack.named_parameters():
            if name.endswith("weight_hh"):
                weight.copy_(torch.rand(weight.shape, generator=generator).mul(2.0).sub(1.0).mul(bound))


def keeping_bias(value: float) -> Start:
    """A bias of the gate that keeps what was: an LSTM's forget gate, a GRU's update gate.

    The core starts with 1 in an LSTM (Jozefowicz et al. 2015) and 0 in a GRU, as PyTorch has it.
    """

    def prepare(stack: RecurrentStack, generator: torch.Generator) -> None:
        size = stack.config.hidden_size
        with torch.no_grad():
            for name, bias in stack.named_parameters():
                if name.endswith("bias_ih"):
                    bias[size : 2 * size] = value  # the second gate of either cell

    return prepare


def keeping_up_to(steps: int) -> Start:
    """Units of an LSTM or a GRU that keep what they hold for 2 to `steps` steps, each for a time of its own.

    A gate of 1 - 1/n keeps for about n steps, and sigmoid(log(n - 1)) = 1 - 1/n. An LSTM's input gate lets as
    much less in, so that a long sequence of nothing does not fill the memory (Tallec and Ollivier 2018,
    arXiv:1804.11188).
    """

    def prepare(stack: RecurrentStack, generator: torch.Generator) -> None:
        size = stack.config.hidden_size
        with torch.no_grad():
            for name, bias in stack.named_parameters():
                if name.endswith("bias_ih"):
                    keep = (1.0 + torch.rand(size, generator=generator) * (steps - 2)).log()
                    bias[size : 2 * size] = keep
                    if stack.config.cell == "lstm":
                        bias[:size] = -keep

    return prepare
