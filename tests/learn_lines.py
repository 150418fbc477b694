"""A training of seconds that tests run as a program: `learn_lines RUN PROCESSES BATCH [--die]`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from common.commands.command import run_command
from common.training.batches import ResumableBatches
from common.training.loop import FitOptions, TrainingModule, fit
from common.training.processes import Processes, join

EXAMPLES, EPOCHS = 12, 2


class Lines(TrainingModule[nn.Sequential]):
    """Learns the sum of three numbers; as the second process it can die on the way."""

    def __init__(self, rank: int, die: bool) -> None:
        torch.manual_seed(rank)  # the others are to begin with what the first has
        super().__init__(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), learning_rate=0.05)
        self.dies = die and rank == 1

    def training_step(self, batch: Tensor, batch_number: int) -> Tensor:
        if self.dies and self.global_step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return (self.network(batch) - batch.sum(1, keepdim=True)).square().mean()

    def dev_metrics(self) -> dict[str, float]:
        x = torch.eye(3)
        return {"error": float((self.network(x) - 1.0).square().mean())}

    def export(self, directory: Path, metrics: dict[str, float]) -> None:
        pass


def batches(size: int) -> ResumableBatches[Tensor]:
    """The same examples in the same order, so many in a batch."""

    def plan(epoch: int, generator: np.random.Generator) -> list[Sequence[int]]:
        order = generator.permutation(EXAMPLES).tolist()
        return [order[first : first + size] for first in range(0, EXAMPLES, size)]

    def collate(numbers: Sequence[int], generator: np.random.Generator) -> Tensor:
        rows = [np.random.default_rng(number).normal(size=3) for number in numbers]
        return torch.from_numpy(np.array(rows, dtype=np.float32))

    return ResumableBatches(plan, collate, seed=3)


def learn(run: Path, size: int, together: Processes, die: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """Train, and give each step's gradient, as the optimizer saw it, and the weights at the end."""
    module = Lines(together.rank, die)
    gradients: list[Tensor] = []

    def keep(*_: object) -> None:
        whole = [weight.grad for weight in module.network.parameters() if weight.grad is not None]
        gradients.append(torch.cat([one.flatten() for one in whole]))

    hook = register_optimizer_step_pre_hook(keep)
    try:
        fit(module, batches(size), FitOptions(run, EPOCHS, checkpoint_minutes=0.0), together)
    finally:
        hook.remove()
    return gradients, [weight.detach() for weight in module.network.parameters()]


def main() -> None:
    run, processes, size, *rest = sys.argv[1:]
    together = join(int(processes))
    found = learn(Path(run), int(size), together, bool(rest))
    if together.rank == 0:
        torch.save(found, Path(run) / "found.pt")


if __name__ == "__main__":
    sys.exit(run_command("lines", main))
