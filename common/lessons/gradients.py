"""How much gradient reaches back through time: measured, named, drawn, and what comes of it in training.

Comes in: a recurrent stack and sequences. Goes out: how strongly the last output still feels each input,
and what that means. `python -m common.lessons.gradients` shows how the cells differ and what helps them:

    vanishing   each step back multiplies the gradient by less than one; the network cannot learn what lies
                far apart (Hochreiter 1991; Bengio et al. 1994, doi:10.1109/72.279181)
    exploding   each step multiplies it by more than one; a single step of training can undo everything

Then it clips a gradient that explodes, and has cells solve problems whose parts lie far apart
(`common.lessons.long_lags`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from common.commands.command import at_least, run_command
from common.core.recurrent import Cell, RecurrentConfig, RecurrentStack
from common.lessons.drawing import Chart, Line, write_png
from common.lessons.learning import make_parser, set_up
from common.lessons.long_lags import CHANCE, Result, diverge_or_converge, solve_all
from common.lessons.starts import Start, gaussian, keeping_bias, pytorch_start, spectral_radius

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
    prepare: Start | None = None
    truncate: int | None = None


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

CLIPPING = {"without clipping": math.inf, "clipped to norm 1": 1.0}


def run_experiment(
    experiment: Experiment, steps: int = 100, hidden_size: int = 64, batch: int = 16, seed: int = 1
) -> tuple[Reach, float]:
    """Measure one experiment on weak random sequences: its reach, and the recurrent spectral radius."""
    stack, x, generator = _set_up(experiment, steps, hidden_size, batch, seed)
    return measure(stack, x, generator, experiment.truncate), recurrent_radius(stack)


def clip(
    experiment: Experiment, steps: int = 100, hidden_size: int = 64, seed: int = 1, norm: float = 1.0
) -> tuple[float, float]:
    """Norm of the weights' gradient, that of the last output's sum, before and after clipping it to `norm`.

    Clipping does not let a gradient reach further; it keeps one that exploded from undoing the training
    so far (Pascanu et al. 2013, arXiv:1211.5063).
    """
    stack, x, _ = _set_up(experiment, steps, hidden_size, 1, seed)
    outputs, _ = stack(x)
    outputs[:, -1].sum().backward()
    before = torch.nn.utils.clip_grad_norm_(stack.parameters(), norm)
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


def table_of_lags(results: Sequence[Result]) -> str:
    """The scores at each length as lines of text, with a star where the problem is solved."""
    lengths = sorted(results[0].scores)
    lines = [f"{'problem':9}{'cell':9}" + "".join(f"{length:>9} " for length in lengths) + "   chance"]
    for result in results:
        form = "9.1%" if result.problem == "copying" else "9.4f"
        row = "".join(f"{result.scores[one]:{form}}{'*' if result.solved(one) else ' '}" for one in lengths)
        lines.append(f"{result.problem:9}{result.cell:9}{row}{CHANCE[result.problem]:{form}}")
    return "\n".join(lines)


def reach_panel(results: Mapping[str, Reach]) -> Chart:
    """The profiles: steps back to the right, powers of ten upwards."""
    lines = [Line(name, reach.profile.tolist()) for name, reach in results.items()]
    return Chart("Gradient of the last output", lines, "steps back", 1e-12, 1e6, powers=True)


def clipping_panel(runs: Mapping[str, Sequence[float]]) -> Chart:
    """The losses of runs: updates to the right, powers of ten upwards."""
    lines = [Line(name, losses) for name, losses in runs.items()]
    return Chart("A gradient that explodes: loss", lines, "updates", 1e-4, 1e8, powers=True)


def lags_panels(results: Sequence[Result]) -> list[Chart]:
    """The scores of each problem over the lengths."""
    panels = []
    for problem, title, high in (
        ("copying", "Copying: share of symbols that are right", 1.0),
        ("adding", "Adding: mean squared error", 0.2),
    ):
        lines = []
        for result in results:
            if result.problem == problem:
                lengths = sorted(result.scores)
                lines.append(Line(result.cell, [result.scores[one] for one in lengths], lengths))
        panels.append(Chart(title, lines, "steps", 0.0, high))
    return panels


def main() -> int:
    """Print the tables, and draw the picture if somebody asks for it."""
    parser = make_parser("gradients", "How much gradient reaches back through time, and what comes of it.")
    parser.add_argument("--steps", type=at_least(2), default=100, metavar="N", help="(%(default)s)")
    parser.add_argument("--hidden-size", type=at_least(2), default=64, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--lengths",
        type=at_least(4),
        nargs="*",
        default=[10, 50, 200, 800],
        metavar="N",
        help="of the copying and the adding problem; none leaves them out (10 50 200 800)",
    )
    arguments = parser.parse_args()
    generator = set_up(arguments)
    steps, hidden, seed = arguments.steps, arguments.hidden_size, arguments.seed
    results = {one.name: run_experiment(one, steps, hidden, seed=seed) for one in EXPERIMENTS}
    print(table(results), flush=True)
    worst = max(EXPERIMENTS, key=lambda experiment: results[experiment.name][0].factor)
    before, after = clip(worst, steps, hidden, seed)
    print(f"\nclipping, {worst.name}: the weights' gradient falls from norm {before:.0e} to {after:.0f}")
    runs = {name: diverge_or_converge(norm, seed) for name, norm in CLIPPING.items()}
    for name, losses in runs.items():
        print(f"{name:19} loss {losses[0]:.3g}, after {len(losses)} updates {losses[-1]:.3g}", flush=True)
    panels = [reach_panel({name: reach for name, (reach, _) in results.items()}), clipping_panel(runs)]
    if arguments.lengths:
        solved = list(solve_all(arguments.lengths, generator))
        print(f"\n{table_of_lags(solved)}\n* solved")
        panels += lags_panels(solved)
    if arguments.output is not None:
        write_png(arguments.output, panels)
    return 0


if __name__ == "__main__":
    sys.exit(run_command("gradients", main))
