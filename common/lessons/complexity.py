"""What training costs, and what makes it cheaper: seconds of a step with each remedy and without it.

`python -m common.lessons.complexity`. What is timed is a forward and a backward pass of an LSTM layer. One of
h units costs 4 (h + inputs) h multiplications for each vector that it reads, once forward and twice backward;
and each vector waits for the one before, so a processor is busy only if much is done at once:

    reversal   each sequence is turned round within its length, the fused loop runs over all; packed sequences
               leave that loop
    bucketing  sequences of like length share a batch: less of it is padding
    fused      PyTorch's own loop over the steps, in place of one in Python
    bfloat16   half the bytes, on processors that multiply it; others refuse
    compiled   `torch.compile` makes one loop of many small operations; what is fused already gains nothing
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from common.benchmark import compare, timings
from common.commands.command import at_least, run_command
from common.core.recurrent import RecurrentConfig, RecurrentStack
from common.lessons.learning import make_parser, set_up


@dataclass(frozen=True)
class Sizes:
    """Of what is timed.

    Attributes:
        hidden: units of a direction, half of what a step reads.
        batch: sequences that are read together.
        steps: of the longest sequence.
        repeats: of each timing; the median counts.
    """

    hidden: int = 96
    batch: int = 16
    steps: int = 120
    repeats: int = 3

    def stack(self, bidirectional: bool = True) -> RecurrentStack:
        """A fresh layer."""
        config = RecurrentConfig(2 * self.hidden, self.hidden, bidirectional=bidirectional)
        return RecurrentStack(config)


@dataclass(frozen=True)
class Remedy:
    """One line of the table.

    Attributes:
        name: what is done, for people.
        without, with_: seconds of a step; None where it cannot be done here.
        note: what else is to be said.
    """

    name: str
    without: float
    with_: float | None
    note: str = ""

    def __str__(self) -> str:
        if self.with_ is None:
            return f"{self.name:32}{self.without:10.4f}{'-':>10}{'':9}{self.note}"
        ratio = f"{self.without / self.with_:7.1f} x "
        return f"{self.name:32}{self.without:10.4f}{self.with_:10.4f}{ratio}{self.note}".rstrip()


def seconds(work: Callable[[], Tensor], repeats: int) -> float:
    """Median seconds of a forward and backward pass; `work` gives what is summed up as the loss."""
    return statistics.median(timings(lambda: work().sum().backward(), repeats))


def reversal(sizes: Sizes) -> Remedy:
    """Packed sequences, and the core's way, on the same sequences; see `common.benchmark`."""
    timing = compare("lstm", sizes.hidden, sizes.batch, sizes.steps, sizes.repeats)
    return Remedy("reversal, not packing", timing.packed, timing.ours)


def padding_share(lengths: Tensor, batch: int) -> float:
    """The share of padding where sequences (count,) are read in this order, so many together."""
    batches = lengths.split(batch)
    return 1.0 - float(lengths.sum()) / sum(len(one) * int(one.max()) for one in batches)


def bucketing(sizes: Sizes, generator: torch.Generator) -> Remedy:
    """Eight batches of sequences whose lengths differ up to tenfold: as they come, and sorted by length."""
    shares = 10.0 ** -torch.rand(8 * sizes.batch, generator=generator)
    lengths = (shares * sizes.steps).long().clamp_min(1)
    stack = sizes.stack()

    def read(order: Tensor) -> Tensor:
        total = torch.zeros(())
        for several in order.split(sizes.batch):
            x = torch.ones(len(several), int(several.max()), 2 * sizes.hidden)
            total = total + stack(x, several, return_state=False)[0].sum()
        return total

    ordered = lengths.sort().values
    note = f"padding {padding_share(lengths, sizes.batch):.0%} -> {padding_share(ordered, sizes.batch):.0%}"
    without, with_ = (seconds(partial(read, order), sizes.repeats) for order in (lengths, ordered))
    return Remedy("bucketing", without / 8, with_ / 8, note)


def fused(sizes: Sizes) -> Remedy:
    """One direction, step by step from Python, and in PyTorch's loop."""
    stack = sizes.stack(bidirectional=False)
    x = torch.ones(sizes.batch, sizes.steps, 2 * sizes.hidden)

    def one_by_one() -> Tensor:
        state, outputs = stack.init_state(sizes.batch), []
        for step in x.unbind(1):
            output, state = stack.step(step, state)
            outputs.append(output)
        return torch.stack(outputs, dim=1)

    return Remedy(
        "fused loop", seconds(one_by_one, sizes.repeats), seconds(lambda: stack(x)[0], sizes.repeats)
    )


def in_bfloat16(sizes: Sizes) -> Remedy:
    """The same layer in float32 and in bfloat16, where the processor computes an LSTM in it."""
    stack = sizes.stack()
    x = torch.ones(sizes.batch, sizes.steps, 2 * sizes.hidden)
    without = seconds(lambda: stack(x)[0], sizes.repeats)

    def halved() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return stack(x)[0].float()

    try:
        return Remedy("bfloat16", without, seconds(halved, sizes.repeats))
    except RuntimeError:
        # PyTorch has oneDNN compute it, which refuses without instructions for it.
        return Remedy("bfloat16", without, None, "this processor has no instructions for it")


def lstm_equations(from_input: Tensor, from_hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """An LSTM's step behind its two products: (batch, 4 * hidden) each, (batch, hidden) -> hidden, memory."""
    enter, forget, new, leave = (from_input + from_hidden).chunk(4, dim=1)
    memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * memory.tanh(), memory


def compiled(sizes: Sizes) -> Remedy:
    """An LSTM's equations one by one, and compiled into one loop, the products left out."""
    from_input = torch.ones(16 * sizes.batch, 4 * sizes.hidden, requires_grad=True)
    memory = torch.zeros(16 * sizes.batch, sizes.hidden)

    def run(equations: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        return equations(from_input, from_input, memory)[0]

    without = seconds(lambda: run(lstm_equations), 20 * sizes.repeats)
    try:
        quick = torch.compile(lstm_equations)
        return Remedy("compiled equations", without, seconds(lambda: run(quick), 20 * sizes.repeats))
    except Exception as error:  # whatever is missing: a compiler, its headers, a platform
        reason = str(error).strip().split("\n")[0][:60]
        return Remedy("compiled equations", without, None, f"cannot be compiled here: {reason}")


def measure_all(sizes: Sizes, generator: torch.Generator, compile_too: bool) -> Iterator[Remedy]:
    """Every remedy in turn."""
    yield reversal(sizes)
    yield bucketing(sizes, generator)
    yield fused(sizes)
    yield in_bfloat16(sizes)
    if compile_too:
        yield compiled(sizes)


def main() -> int:
    """Print a line for each remedy."""
    parser = make_parser("complexity", "Seconds of a training step, with each remedy and without it.")
    for name in ("hidden", "batch", "steps", "repeats"):
        default = getattr(Sizes, name)
        parser.add_argument(f"--{name}", type=at_least(1), default=default, metavar="N", help="(%(default)s)")
    parser.add_argument("--no-compile", action="store_true", help="leave out what is compiled first")
    arguments = parser.parse_args()
    generator = set_up(arguments)
    sizes = Sizes(arguments.hidden, arguments.batch, arguments.steps, arguments.repeats)
    print(f"{'seconds of a step':32}{'without':>10}{'with':>10}")
    for remedy in measure_all(sizes, generator, not arguments.no_compile):
        print(remedy, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_command("complexity", main))
