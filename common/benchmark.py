"""What variable length costs: PyTorch's packed sequences beside the recurrent core, in one run.

`python -m common.benchmark` times a forward and backward pass of one bidirectional layer over sequences of
unlike length. Both get the same weights and give the same results. `--scale` tells instead what very many
inputs cost. Both applications' benchmarks print their tables as this one does: seconds, ratios in the same
run, and what is reached of the machine's own ceiling, which is its multiplication of large matrices.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common.commands.command import at_least, run_command
from common.core.recurrent import Cell, RecurrentConfig, RecurrentStack
from common.scale import print_scale


@dataclass(frozen=True)
class Timing:
    """Median seconds of a forward and backward pass, and the multiplications and additions that it takes."""

    packed: float
    ours: float
    operations: float

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

    # A step multiplies with each weight once, and twice more on the way back.
    weights = sum(weight.numel() for weight in stack.parameters() if weight.ndim > 1)
    operations = 3 * 2.0 * weights * int(lengths.sum())
    return Timing(packed=seconds(packed), ours=seconds(ours), operations=operations)


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table.

    Attributes:
        name: who did it.
        seconds: of the fastest run.
        value: the same by another measure, as a person compares it; shown as text.
        operations: multiplications and additions that it took; None where nobody has counted them.
    """

    name: str
    seconds: float
    value: str
    operations: float | None = None


def table(heading: str, measure: str, rows: Sequence[Row], ceiling: float) -> str:
    """Rows as text, each beside the first and beside what the machine can reach.

    Args:
        heading: what all rows have in common.
        measure: what `Row.value` is.
        rows: at least one.
        ceiling: operations a second that the machine reaches when it multiplies large matrices.
    """
    titles = f"{'times ours':>10} {'GFLOP/s':>8} {'of ceiling':>10}"
    lines = [f"{heading:44} {'seconds':>8} {measure:>18} {titles}"]
    for row in rows:
        ratio = row.seconds / rows[0].seconds
        line = f"  {row.name:42} {row.seconds:8.3f} {row.value:>18} {ratio:10.2f}"
        if row.operations is not None:
            speed = row.operations / row.seconds
            line += f" {speed / 1e9:8.1f} {speed / ceiling:10.0%}"
        lines.append(line)
    return "\n".join(lines)


def multiplication_speed(dtype: torch.dtype = torch.float32, repeats: int = 3, size: int = 1024) -> float:
    """Operations a second that this machine reaches when it multiplies two matrices."""
    left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)

    def multiply() -> None:
        for _ in range(10):
            torch.mm(left, right)

    return 10 * 2.0 * size**3 / min(timings(multiply, repeats))


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
    parser.add_argument(
        "--scale",
        type=at_least(1000),
        nargs="?",
        const=100_000,
        metavar="FILES",
        help="instead: what listing, planning and remembering 1000 to FILES inputs costs (100000)",
    )
    parser.add_argument("--cell", choices=get_args(Cell), default="lstm", help="(%(default)s)")
    for name, default in [("hidden-size", 320), ("batch", 32), ("steps", 375), ("repeats", 3)]:
        parser.add_argument(f"--{name}", type=at_least(1), default=default, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--threads", type=at_least(1), nargs="+", default=[1, 2], metavar="N", help="each is timed (1 2)"
    )
    arguments = parser.parse_args()
    if arguments.scale is not None:
        print_scale(arguments.scale)
        return 0
    print(
        f"one bidirectional {arguments.cell} layer of {arguments.hidden_size} units, "
        f"{arguments.batch} sequences of {arguments.steps // 2} to {arguments.steps} steps"
    )
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        timing = compare(
            arguments.cell, arguments.hidden_size, arguments.batch, arguments.steps, arguments.repeats
        )
        rows = [
            Row("the recurrent core", timing.ours, "", timing.operations),
            Row("PyTorch's packed sequences", timing.packed, "", timing.operations),
        ]
        ceiling = multiplication_speed(repeats=arguments.repeats)
        print(f"\n{table(f'{threads} threads', '', rows, ceiling)}")
        print(f"  the ceiling, 1024 x 1024 products: {ceiling / 1e9:.1f} GFLOP/s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmark", main))
