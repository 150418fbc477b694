"""What variable length costs: PyTorch's packed sequences beside the recurrent core, in one run.

`python -m common.benchmark` times a forward and backward pass of one bidirectional layer over sequences of
unlike length, and prints the ratio. Both get the same weights and give the same results.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common.commands.command import at_least, run_command
from common.core.recurrent import Cell, RecurrentConfig, RecurrentStack


@dataclass(frozen=True)
class Timing:
    """Median seconds of a forward and backward pass."""

    packed: float
    ours: float

    @property
    def ratio(self) -> float:
        """How many times as long the packed sequences take."""
        return self.packed / self.ours


def packed_module(stack: RecurrentStack) -> nn.RNNBase:
    """PyTorch's module of the same shape, which shares the stack's weights."""
    config = stack.config
    kinds: dict[str, Callable[..., nn.RNNBase]] = {
        "rnn_tanh": partial(nn.RNN, nonlinearity="tanh"),
        "rnn_relu": partial(nn.RNN, nonlinearity="relu"),
        "lstm": nn.LSTM,
        "gru": nn.GRU,
    }
    module = kinds[config.cell](
        config.input_size,
        config.hidden_size,
        num_layers=config.layers,
        bidirectional=config.bidirectional,
        batch_first=True,
    )
    for name, parameter in stack.named_parameters():
        _, layer, side, weight = name.split(".")
        setattr(module, f"{weight}_l{layer}{'_reverse' if side == '1' else ''}", parameter)
    return module


def compare(
    cell: Cell = "lstm",
    hidden_size: int = 320,
    batch: int = 32,
    steps: int = 375,
    repeats: int = 3,
    seed: int = 1,
) -> Timing:
    """Time both on the same sequences, whose lengths lie evenly between half of `steps` and `steps`.

    Raises:
        AssertionError: if their outputs differ.
    """
    generator = torch.Generator().manual_seed(seed)
    stack = RecurrentStack(RecurrentConfig(2 * hidden_size, hidden_size, cell, bidirectional=True))
    module = packed_module(stack)
    x = torch.randn(batch, steps, 2 * hidden_size, generator=generator)
    lengths = torch.linspace(steps / 2, steps, batch).long()

    def ours() -> Tensor:
        return stack(x, lengths)[0]

    def packed() -> Tensor:
        sequences = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(module(sequences)[0], batch_first=True)[0]

    with torch.no_grad():
        torch.testing.assert_close(ours(), packed(), atol=1e-5, rtol=1e-5)

    def seconds(forward: Callable[[], Tensor]) -> float:
        return statistics.median(timings(lambda: forward().sum().backward(), repeats))

    return Timing(packed=seconds(packed), ours=seconds(ours))


def timings(work: Callable[[], object], repeats: int) -> list[float]:
    """Seconds that a piece of work takes, each of several times, after once that is not timed."""
    work()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return taken


def main() -> int:
    """Print one line for each number of threads."""
    parser = argparse.ArgumentParser(
        prog="python -m common.benchmark",
        description="Packed sequences beside the recurrent core: seconds of a forward and backward pass.",
    )
    parser.add_argument("--cell", choices=get_args(Cell), default="lstm", help="(%(default)s)")
    for name, default in [("hidden-size", 320), ("batch", 32), ("steps", 375), ("repeats", 3)]:
        parser.add_argument(f"--{name}", type=at_least(1), default=default, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--threads", type=at_least(1), nargs="+", default=[1, 2], metavar="N", help="each is timed (1 2)"
    )
    arguments = parser.parse_args()
    print(
        f"one bidirectional {arguments.cell} layer of {arguments.hidden_size} units, "
        f"{arguments.batch} sequences of {arguments.steps // 2} to {arguments.steps} steps"
    )
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        timing = compare(
            arguments.cell, arguments.hidden_size, arguments.batch, arguments.steps, arguments.repeats
        )
        print(
            f"{threads} threads: packed {timing.packed:.2f} s, ours {timing.ours:.2f} s, "
            f"ratio {timing.ratio:.1f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmark", main))
