"""What lies far apart: two problems that a network solves only if it remembers for as long as it takes.

Comes in: a cell, a problem and lengths. Goes out: how well the trained cell solves it at each length.
`python -m common.lessons.gradients` runs them and draws the scores.

    copying   a symbol is read, then nothing for so many steps, then it is to be said
    adding    two numbers of a long sequence of them are marked, and their sum is wanted at its end

Both go back to Hochreiter and Schmidhuber (1997, doi:10.1162/neco.1997.9.8.1735); Arjovsky et al. (2016,
arXiv:1511.06464) give them in today's form. They have ten symbols copied, which takes far longer to learn: in
which order several came is hard for other reasons than the lag. One is enough to see who remembers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.core.recurrent import Cell, RecurrentConfig
from common.core.topologies import Aligned, ToVector
from common.lessons.learning import learn
from common.lessons.starts import Start, gaussian, keeping_up_to, pytorch_start

Problem = Literal["copying", "adding"]

SYMBOLS = 8  # how many there are to copy
CHANCE = {"copying": 1.0 / SYMBOLS, "adding": 1.0 / 6.0}  # accuracy, and variance of the sum
_HIDDEN, _BATCH = 32, 32


@dataclass(frozen=True)
class _Effort:
    """What a problem is trained with; adding takes longer to learn, and another rate.

    Attributes:
        budget: steps of a sequence that training at one length reads: its updates times the length.
        most_updates: at one length.
        later_rate: learning rate at all lengths but the first: what was learned before is to be kept.
        enough: loss at which training ends.
    """

    budget: int
    most_updates: int
    later_rate: float
    enough: float


_EFFORTS = {"copying": _Effort(60_000, 400, 0.005, 0.05), "adding": _Effort(250_000, 600, 0.01, 0.005)}
_FIRST_RATE = 0.02


def copying(batch: int, lag: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sequences of the copying problem.

    Returns:
        x (batch, 1 + lag + 1, 9): one of eight symbols, zeros, and the ninth feature where to say it; and the
        symbols (batch,).
    """
    symbols = torch.randint(SYMBOLS, (batch,), generator=generator)
    x = torch.zeros(batch, lag + 2, SYMBOLS + 1)
    x[:, 0, :SYMBOLS] = F.one_hot(symbols, SYMBOLS).float()
    x[:, -1, SYMBOLS] = 1.0
    return x, symbols


def adding(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sequences of the adding problem.

    Returns:
        x (batch, length, 2): a number from 0 to 1, and 1 where it is marked, once in either half; and the
        sums (batch,) of the marked numbers.
    """
    numbers = torch.rand(batch, length, generator=generator)
    marks = torch.zeros(batch, length)
    half = length // 2
    for low, high in ((0, half), (half, length)):
        marks.scatter_(1, torch.randint(low, high, (batch, 1), generator=generator), 1.0)
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(dim=1)


class Solver(nn.Module):
    """A small network for one of the problems: the core, and a head of a few lines.

    Args:
        problem: which.
        cell: of the core.
        start: what is done to the core before training.
        generator: where starts and sequences are drawn.
    """

    def __init__(self, problem: Problem, cell: Cell, start: Start, generator: torch.Generator) -> None:
        super().__init__()
        self.problem, self.generator = problem, generator
        inputs, outputs = (SYMBOLS + 1, SYMBOLS) if problem == "copying" else (2, 1)
        self.network = ToVector(RecurrentConfig(inputs, _HIDDEN, cell), outputs)
        start(self.network.stack, generator)

    def answer(self, batch: int, length: int) -> tuple[Tensor, Tensor]:
        """What it says of new sequences, and what is right.

        Returns:
            Logits (batch, symbols) and symbols (batch,), or sums (batch,) and sums.
        """
        if self.problem == "copying":
            x, symbols = copying(batch, length, self.generator)
            return self.network(x), symbols
        x, sums = adding(batch, length, self.generator)
        return self.network(x).squeeze(-1), sums

    def loss(self, length: int) -> Tensor:
        """Of a new batch: cross-entropy, or mean squared error."""
        answers, right = self.answer(_BATCH, length)
        return F.cross_entropy(answers, right) if self.problem == "copying" else F.mse_loss(answers, right)

    @torch.no_grad()
    def score(self, length: int, batch: int = 200) -> float:
        """Of new sequences: the share of symbols that are right, or the mean squared error of the sum."""
        answers, right = self.answer(batch, length)
        if self.problem == "copying":
            return float((answers.argmax(dim=-1) == right).float().mean())
        return float(F.mse_loss(answers, right))


@dataclass(frozen=True)
class Result:
    """What became of one cell with one problem.

    Attributes:
        scores: by length; see `Solver.score`.
        updates: of training, by length.
    """

    problem: Problem
    cell: Cell
    scores: dict[int, float]
    updates: dict[int, int]

    def solved(self, length: int) -> bool:
        """19 of 20 symbols right, or nine tenths of the sum's variance explained."""
        score = self.scores[length]
        return score > 0.95 if self.problem == "copying" else score < 0.1 * CHANCE["adding"]


def solve(
    problem: Problem,
    cell: Cell,
    lengths: Sequence[int],
    generator: torch.Generator,
    budget: int | None = None,
) -> Result:
    """Train a cell at growing lengths, each time from where the length before left it, and score it at each.

    The plain cell starts as PyTorch starts it, gated ones keep for up to the longest length. At each length
    training reads as many steps, `budget` or what is the problem's own, or fewer if the problem is solved
    before or seen often enough.
    """
    effort = _EFFORTS[problem]
    start = keeping_up_to(max(lengths)) if cell in ("lstm", "gru") else pytorch_start
    solver = Solver(problem, cell, start, generator)

    def enough(losses: list[float]) -> bool:
        return len(losses) >= 5 and max(losses[-5:]) < effort.enough

    scores, updates = {}, {}
    rate = _FIRST_RATE
    for length in sorted(lengths):
        most = max(1, min(effort.most_updates, (budget or effort.budget) // length))
        name = f"{problem} {cell} {length}"
        losses = learn(solver, partial(solver.loss, length), most, rate, name=name, done=enough)
        scores[length], updates[length] = solver.score(length), len(losses)
        rate = effort.later_rate
    return Result(problem, cell, scores, updates)


def solve_all(
    lengths: Sequence[int],
    generator: torch.Generator,
    cells: Sequence[Cell] = ("rnn_tanh", "gru", "lstm"),
    budget: int | None = None,
) -> Iterator[Result]:
    """Both problems with every cell, one after another."""
    for problem in get_args(Problem):
        for cell in cells:
            yield solve(problem, cell, lengths, generator, budget)


def diverge_or_converge(clip_norm: float, seed: int, updates: int = 150, length: int = 50) -> list[float]:
    """The losses of a run whose gradients explode: a ReLU network with a large start learns a running mean.

    With `clip_norm` infinite nothing is clipped; runs of one seed differ by that alone. The optimiser is
    stochastic gradient descent: Adam scales steps itself.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the core draws its first weights from the global generator
        network = Aligned(RecurrentConfig(1, _HIDDEN, "rnn_relu"), 1)
    gaussian(2.0)(network.stack, generator)

    def loss() -> Tensor:
        x = torch.rand(_BATCH, length, 1, generator=generator)
        means = x.cumsum(dim=1) / torch.arange(1, length + 1).view(1, -1, 1)
        return F.mse_loss(network(x, return_state=False)[0], means)

    return learn(network, loss, updates, 0.05, clip_norm, "clipping", optimizer=torch.optim.SGD)
