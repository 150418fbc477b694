"""How much gradient reaches back through time: measured, named, drawn.

Comes in: a recurrent stack and sequences. Goes out: how strongly the last output still feels each input,
and what that means. `python -m common.gradients` shows how the cells differ and what helps them:

    vanishing   each step back multiplies the gradient by less than one; the network cannot learn what lies
                far apart (Hochreiter 1991; Bengio et al. 1994, doi:10.1109/72.279181)
    exploding   each step multiplies it by more than one; a single step of training can undo everything
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from common.batch import write_whole
from common.command import at_least, run_command
from common.recurrent import Cell, RecurrentConfig, RecurrentStack

Verdict = Literal["vanishes", "reaches", "explodes", "is cut"]

# A gradient that fell below, or grew over, this share of itself from the first step to the last.
_LOST, _BLOWN_UP = 1e-4, 1e4


@dataclass(frozen=True)
class Reach:
    """How far back the gradient reaches.

    Attributes:
        profile: (steps,) norm of the last output's gradient by the input of 0, 1, 2, ... steps ago, as
            a share of that by the last input.
        factor: by which a step back multiplies it, in the geometric mean over all steps it reaches.
    """

    profile: Tensor
    factor: float

    @property
    def half_life(self) -> float:
        """Steps in which the gradient halves; infinite where it does not fade."""
        if self.factor <= 0.0:
            return 0.0
        return math.log(0.5) / math.log(self.factor) if self.factor < 1.0 else math.inf

    @property
    def verdict(self) -> Verdict:
        """What became of it on the way from the last step to the first."""
        oldest = float(self.profile[-1])
        if oldest == 0.0 and float(self.profile[self.profile > 0.0][-1]) > _LOST:
            return "is cut"
        return "vanishes" if oldest < _LOST else "explodes" if oldest > _BLOWN_UP else "reaches"


def measure(
    stack: RecurrentStack, x: Tensor, generator: torch.Generator, truncate: int | None = None
) -> Reach:
    """Measure how strongly the last output feels every input.

    The norm is that of the Jacobian, estimated with one random direction a sequence: the expected square
    of its product with a standard normal vector is the square of its Frobenius norm. Measure in double
    precision; single precision ends at 1e-38, which a hundred steps can reach.

    Args:
        stack: any recurrent stack, trained or not.
        x: (batch, steps, input_size) what it reads; the measure is the mean over the batch.
        generator: where the random directions come from.
        truncate: cut the gradient every so many steps, as truncated back-propagation does.
    """
    x = x.detach().requires_grad_()
    state = stack.init_state(len(x))
    for piece in x.split(truncate or x.shape[1], dim=1):
        outputs, state = stack(piece, state=stack.detach(state))
    direction = torch.randn(outputs[:, -1].shape, generator=generator, dtype=outputs.dtype)
    (gradient,) = torch.autograd.grad((outputs[:, -1] * direction).sum(), x)
    norms = gradient.norm(dim=-1).mean(dim=0).flip(0)  # (steps,), the last step first
    return reach_of(norms / norms[0])


def reach_of(profile: Tensor) -> Reach:
    """The reach whose profile (steps,) was measured; its factor is a least-squares fit of the logarithms."""
    felt = profile > 0.0
    if felt.sum() < 2:
        return Reach(profile, 0.0)
    steps = torch.arange(len(profile), dtype=torch.float64)[felt]
    logs = profile.double()[felt].log()
    steps = steps - steps.mean()
    return Reach(profile, math.exp(float((steps * (logs - logs.mean())).sum() / steps.square().sum())))


def spectral_radius(matrix: Tensor) -> float:
    """The largest absolute eigenvalue of a square matrix: what many steps multiply by, per step."""
    return float(torch.linalg.eigvals(matrix.detach().double()).abs().max())


def recurrent_radius(stack: RecurrentStack) -> float:
    """The largest spectral radius among the recurrent matrices of all layers, directions and gates."""
    size = stack.config.hidden_size
    weights = [weight for name, weight in stack.named_parameters() if name.endswith("weight_hh")]
    return max(spectral_radius(block) for weight in weights for block in weight.split(size))


@dataclass(frozen=True)
class Experiment:
    """One row of the table: a network before training, and what was done to it.

    Attributes:
        name: what was done, for people.
        cell: of the network.
        prepare: changes the fresh network.
        truncate: as in `measure`.
    """

    name: str
    cell: Cell
    prepare: Callable[[RecurrentStack, torch.Generator], None] | None = None
    truncate: int | None = None


def gaussian(radius: float) -> Callable[[RecurrentStack, torch.Generator], None]:
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


def keeping_bias(value: float) -> Callable[[RecurrentStack, torch.Generator], None]:
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


EXPERIMENTS = (
    Experiment("rnn_tanh, PyTorch's start", "rnn_tanh", pytorch_start),
    Experiment("rnn_tanh, Gaussian start, radius 3", "rnn_tanh", gaussian(3.0)),
    Experiment("rnn_relu, Gaussian start, radius 2", "rnn_relu", gaussian(2.0)),
    Experiment("rnn_tanh, orthogonal start", "rnn_tanh"),
    Experiment("rnn_relu, orthogonal start", "rnn_relu"),
    Experiment("gru, update bias 0", "gru"),
    Experiment("gru, update bias 2", "gru", keeping_bias(2.0)),
    Experiment("lstm, forget bias 0", "lstm", keeping_bias(0.0)),
    Experiment("lstm, forget bias 1", "lstm"),
    Experiment("lstm, forget bias 3", "lstm", keeping_bias(3.0)),
    Experiment("lstm, truncated every 25 steps", "lstm", truncate=25),
)


def run_experiment(
    experiment: Experiment, steps: int = 100, hidden_size: int = 64, batch: int = 16, seed: int = 1
) -> tuple[Reach, float]:
    """Measure one experiment on weak random sequences: its reach, and the recurrent spectral radius."""
    stack, x, generator = _set_up(experiment, steps, hidden_size, batch, seed)
    return measure(stack, x, generator, experiment.truncate), recurrent_radius(stack)


def clip(
    experiment: Experiment, steps: int = 100, hidden_size: int = 64, seed: int = 1
) -> tuple[float, float]:
    """Norm of the weights' gradient, that of the last output's sum, before and after clipping it to 1.

    Clipping does not let a gradient reach further; it keeps one that exploded from undoing the training
    so far (Pascanu et al. 2013, arXiv:1211.5063).
    """
    stack, x, _ = _set_up(experiment, steps, hidden_size, 1, seed)
    outputs, _ = stack(x)
    outputs[:, -1].sum().backward()
    before = torch.nn.utils.clip_grad_norm_(stack.parameters(), 1.0)
    after = torch.nn.utils.get_total_norm(
        [weight.grad for weight in stack.parameters() if weight.grad is not None]
    )
    return float(before), float(after)


def _set_up(
    experiment: Experiment, steps: int, hidden_size: int, batch: int, seed: int
) -> tuple[RecurrentStack, Tensor, torch.Generator]:
    """An experiment's network, what it reads (batch, steps, hidden_size), and a generator to go on with."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the core draws its first weights from the global generator
        stack = RecurrentStack(RecurrentConfig(hidden_size, hidden_size, experiment.cell)).double()
    if experiment.prepare is not None:
        experiment.prepare(stack, generator)
    x = 0.1 * torch.randn(batch, steps, hidden_size, generator=generator, dtype=torch.float64)
    return stack, x, generator


def table(results: Mapping[str, tuple[Reach, float]]) -> str:
    """The results as lines of text."""
    steps = len(next(iter(results.values()))[0].profile)
    marks = [mark for mark in (10, 30, 100, 300) if mark < steps] or [steps - 1]
    width = max(map(len, results))
    head = "".join(f"{f'{mark} back':>10}" for mark in marks)
    lines = [f"{'network':{width}}  radius  a step  half-life{head}{f'{steps - 1} back':>10}  the gradient"]
    for name, (reach, radius) in results.items():
        values = "".join(f"{float(reach.profile[mark]):>10.0e}" for mark in (*marks, steps - 1))
        half = f"{reach.half_life:.1f}"
        lines.append(
            f"{name:{width}}  {radius:6.2f}  {reach.factor:6.3f}  {half:>9}{values}  {reach.verdict}"
        )
    return "\n".join(lines)


def plot(results: Mapping[str, Reach]) -> str:
    """The profiles as an SVG figure: steps back to the right, powers of ten upwards."""
    left, top, wide, high, low, upper = 60, 20, 560, 360, -12.0, 6.0
    steps = max(len(reach.profile) for reach in results.values())

    def place(step: int, share: float) -> str:
        power = min(upper, max(low, math.log10(share) if share > 0.0 else low))
        across = left + wide * step / max(1, steps - 1)
        return f"{across:.1f},{top + high * (upper - power) / (upper - low):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 290}" height="{top + high + 50}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for power in range(int(low), int(upper) + 1, 3):
        down = place(0, 10.0**power).split(",")[1]
        parts.append(f'<path d="M{left} {down}H{left + wide}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{down}" text-anchor="end">1e{power}</text>')
    middle, bottom = left + wide / 2, top + high + 35
    parts.append(f'<text x="{middle}" y="{bottom}" text-anchor="middle">steps back (0 to {steps - 1})</text>')
    for number, (name, reach) in enumerate(results.items()):
        color = f"hsl({360 * number // len(results)},70%,40%)"
        points = " ".join(place(step, share) for step, share in enumerate(reach.profile.tolist()))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{left + wide + 12}" y="{top + 18 * number + 12}" fill="{color}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    """Print the table, and draw the figure if somebody asks for it."""
    parser = argparse.ArgumentParser(
        prog="python -m common.gradients",
        description="How much gradient reaches back through time, cell by cell, remedy by remedy.",
    )
    parser.add_argument("--steps", type=at_least(2), default=100, metavar="N", help="(%(default)s)")
    parser.add_argument("--hidden-size", type=at_least(2), default=64, metavar="N", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(%(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also write the profiles as an SVG figure")
    arguments = parser.parse_args()
    results = {
        experiment.name: run_experiment(
            experiment, arguments.steps, arguments.hidden_size, seed=arguments.seed
        )
        for experiment in EXPERIMENTS
    }
    print(table(results))
    worst = max(EXPERIMENTS, key=lambda experiment: results[experiment.name][0].factor)
    before, after = clip(worst, arguments.steps, arguments.hidden_size, arguments.seed)
    print(f"\nclipping, {worst.name}: the weights' gradient falls from norm {before:.0e} to {after:.0f}")
    if arguments.plot is not None:
        write_whole(arguments.plot, plot({name: reach for name, (reach, _) in results.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(run_command("gradients", main))
