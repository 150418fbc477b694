"""What every lesson shares: its command line, and the loop that trains a small network.

Comes in: a network and a function that draws a batch and gives its loss. Goes out: the losses.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from common.commands.command import at_least


def make_parser(name: str, description: str) -> argparse.ArgumentParser:
    """The command line of a lesson: `seed`, `threads`, and `output`, a picture that is drawn if asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m common.lessons.{name}", description=description)
    parser.add_argument("--output", type=Path, metavar="FILE", help="draw the picture into this PNG file")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--threads", type=at_least(1), default=1, metavar="N", help="such small networks need one (1)"
    )
    return parser


def set_up(arguments: argparse.Namespace) -> torch.Generator:
    """Seed what draws initial weights, take the threads, and give the generator for everything else."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    return torch.Generator().manual_seed(arguments.seed)


def learn(
    network: nn.Module,
    loss: Callable[[], Tensor],
    updates: int,
    rate: float = 0.01,
    clip_norm: float = 1.0,
    name: str = "",
    done: Callable[[list[float]], bool] = lambda losses: False,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
) -> list[float]:
    """Train with Adam (Kingma and Ba 2015, arXiv:1412.6980) or another; a terminal sees a progress bar.

    Args:
        network: whose parameters are changed.
        loss: draws a batch and gives its loss.
        updates: how many; the learning rate falls to a tenth in a straight line over them.
        rate: the first learning rate.
        clip_norm: gradients are scaled down to this norm (Pascanu et al. 2013, arXiv:1211.5063).
        name: stands before the progress bar.
        done: is asked before each update, with all losses so far, whether it is enough.
        optimizer: makes the steps.

    Returns:
        The loss before each update. Training that diverged has ended with one that is infinite or no number.
    """
    from tqdm import tqdm

    steps = optimizer(network.parameters(), lr=rate)
    losses: list[float] = []
    network.train()
    for update in tqdm(range(updates), desc=name, leave=False, disable=None):
        steps.param_groups[0]["lr"] = rate * (1.0 - 0.9 * update / updates)
        steps.zero_grad()
        value = loss()
        losses.append(float(value.detach()))
        if not math.isfinite(losses[-1]) or done(losses):
            break  # the network stays as it was when this loss was measured
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        steps.step()
    network.eval()
    return losses
