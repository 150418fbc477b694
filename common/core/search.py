"""Search over any step function: the likeliest sequences, or some at random.

Comes in: a step function that gives the log-probabilities of the next symbol, and the state to start
from. Goes out: for each element of the batch its hypotheses, best first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

S = TypeVar("S")

# symbols (hypotheses,), state -> log-probabilities (hypotheses, vocabulary), state
Step = Callable[[Tensor, S], tuple[Tensor, S]]
# state, indices (new hypotheses,) -> the state in which hypothesis i goes on from `indices[i]`
Reorder = Callable[[S, Tensor], S]


@dataclass(frozen=True)
class Hypothesis:
    """A sequence that the search found.

    Attributes:
        symbols: without start and end.
        log_probs: of each symbol, and of the end if it was reached.
        finished: the end was reached, and not the limit.
        score: what it was ranked by.
    """

    symbols: tuple[int, ...]
    log_probs: tuple[float, ...]
    finished: bool
    score: float

    @property
    def log_prob(self) -> float:
        """Of the whole sequence."""
        return sum(self.log_probs)


@dataclass(frozen=True)
class BeamOptions:
    """How to search.

    Attributes:
        width: hypotheses that are followed at once; 1 is greedy.
        most_steps: longest sequence, end included.
        length_power: a hypothesis is ranked by log-probability / length ** power; 0 favours short ones.
        no_repeat: no n-gram of this many symbols stands twice in a hypothesis; 0 allows it.
        least_steps: the end cannot come before so many symbols.
        once: symbols that may not stand twice in a hypothesis.
    """

    width: int = 3
    most_steps: int = 30
    length_power: float = 0.7
    no_repeat: int = 0
    least_steps: int = 0
    once: frozenset[int] = frozenset()


def beam_search(
    step: Step[S],
    reorder: Reorder[S],
    state: S,
    batch: int,
    start: int | Tensor,
    end: int,
    options: BeamOptions,
    device: torch.device | str = "cpu",
) -> list[list[Hypothesis]]:
    """Follow the likeliest beginnings of every element of a batch.

    An element is done when no hypothesis that is still open could overtake its `width` finished ones.

    Args:
        step: gives log-probabilities of the next symbol.
        reorder: carries the state over to the hypotheses that survive.
        state: of the batch before the first symbol, one hypothesis an element.
        batch: elements.
        start: symbol that opens every sequence, or (batch,) one for each.
        end: symbol that closes one.
        options: how to search.
        device: where step and reorder want symbols and indices.

    Returns:
        For each element up to `width` hypotheses, best first; those that the limit cut off come last.
    """
    width = options.width
    # As many again may end here and leave room. A greedy search never looks at the second best.
    reach = 2 * width if width > 1 else 1
    open_: list[list[_Open]] = [[_Open((), (), 0.0)] for _ in range(batch)]
    done: list[list[Hypothesis]] = [[] for _ in range(batch)]
    symbols = torch.as_tensor(start, dtype=torch.long, device=device).expand(batch)
    for position in range(1, options.most_steps + 1):
        log_probs, state = step(symbols, state)
        log_probs = _without_repeats(log_probs.cpu(), open_, options)
        if position <= options.least_steps:
            log_probs = log_probs.index_fill(-1, torch.tensor([end]), float("-inf"))
        likeliest, choices = log_probs.topk(min(reach, log_probs.shape[-1]), dim=-1)
        best_rows, best_symbols = likeliest.tolist(), choices.tolist()
        row = 0
        parents: list[int] = []
        chosen: list[int] = []
        for element in range(batch):
            candidates: list[tuple[float, int, int, _Open, float]] = []
            for hypothesis in open_[element]:
                for value, symbol in zip(best_rows[row], best_symbols[row], strict=True):
                    if value > float("-inf"):
                        total = hypothesis.total + value
                        candidates.append((total, row, symbol, hypothesis, value))
                row += 1
            candidates.sort(key=lambda one: -one[0])
            following: list[_Open] = []
            for total, parent, symbol, hypothesis, value in candidates[:reach]:
                values = (*hypothesis.log_probs, value)
                if symbol == end:
                    score = total / len(values) ** options.length_power
                    done[element].append(Hypothesis(hypothesis.symbols, values, True, score))
                elif len(following) < width:
                    following.append(_Open((*hypothesis.symbols, symbol), values, total))
                    parents.append(parent)
                    chosen.append(symbol)
            done[element].sort(key=lambda one: -one.score)
            del done[element][width:]
            if following and _settled(done[element], following[0].total, position, options):
                del parents[-len(following) :], chosen[-len(following) :]
                following = []
            open_[element] = following
        if not chosen:
            break
        symbols = torch.tensor(chosen, device=device)
        state = reorder(state, torch.tensor(parents, device=device))
    for element in range(batch):
        for left in open_[element]:
            score = left.total / max(1, len(left.log_probs)) ** options.length_power
            if len(done[element]) < width:
                done[element].append(Hypothesis(left.symbols, left.log_probs, False, score))
    return done


@dataclass(frozen=True)
class _Open:
    """A hypothesis that has not reached its end."""

    symbols: tuple[int, ...]
    log_probs: tuple[float, ...]
    total: float


def _settled(done: list[Hypothesis], best_open: float, position: int, options: BeamOptions) -> bool:
    """Whether no open hypothesis can still come among the best: its total only falls as it grows."""
    if len(done) < options.width:
        return False
    lengths = (position + 1, options.most_steps)
    reachable = max(best_open / length**options.length_power for length in lengths)
    return reachable <= done[-1].score


def _without_repeats(log_probs: Tensor, open_: list[list[_Open]], options: BeamOptions) -> Tensor:
    """Log-probabilities (hypotheses, vocabulary) without what a hypothesis may not say again."""
    if options.no_repeat < 1 and not options.once:
        return log_probs
    rows: list[int] = []
    banned: list[int] = []
    for row, hypothesis in enumerate(one for several in open_ for one in several):
        symbols = _banned(hypothesis.symbols, options.no_repeat)
        symbols |= options.once.intersection(hypothesis.symbols)
        rows += [row] * len(symbols)
        banned += symbols
    if not rows:
        return log_probs
    return log_probs.index_put((torch.tensor(rows), torch.tensor(banned)), torch.tensor(-torch.inf))


def _banned(symbols: tuple[int, ...], size: int) -> set[int]:
    """The symbols that would make an n-gram of this size stand a second time."""
    if size < 1 or len(symbols) < size:
        return set()
    tail = symbols[len(symbols) - size + 1 :]
    return {
        symbols[position + size - 1]
        for position in range(len(symbols) - size + 1)
        if symbols[position : position + size - 1] == tail
    }


def sample(
    step: Step[S],
    state: S,
    batch: int,
    start: int,
    end: int,
    generator: torch.Generator,
    most_steps: int = 30,
    temperature: float = 1.0,
    nucleus: float = 1.0,
    device: torch.device | str = "cpu",
) -> list[Hypothesis]:
    """Draw one sequence an element.

    Args:
        step, state, batch, start, end, device: as in `beam_search`.
        generator: where the draws come from; on the CPU, so that every device draws the same.
        most_steps: longest sequence, end included.
        temperature: below 1 prefers the likely, above 1 the unlikely.
        nucleus: draw only among the likeliest symbols that together have this probability (Holtzman et
            al. 2020, arXiv:1904.09751).
    """
    symbols = torch.full((batch,), start, dtype=torch.long, device=device)
    drawn: list[list[int]] = [[] for _ in range(batch)]
    values: list[list[float]] = [[] for _ in range(batch)]
    finished = [False] * batch
    for _ in range(most_steps):
        log_probs, state = step(symbols, state)
        probabilities = (log_probs.cpu() / temperature).softmax(dim=-1)
        chosen = torch.multinomial(_nucleus(probabilities, nucleus), 1, generator=generator).squeeze(1)
        symbols = chosen.to(device)
        picked = log_probs.cpu().gather(1, chosen.unsqueeze(1)).squeeze(1).tolist()
        for element, symbol in enumerate(chosen.tolist()):
            if finished[element]:
                continue
            values[element].append(picked[element])
            if symbol == end:
                finished[element] = True
            else:
                drawn[element].append(symbol)
        if all(finished):
            break
    return [
        Hypothesis(tuple(one), tuple(logs), ended, sum(logs))
        for one, logs, ended in zip(drawn, values, finished, strict=True)
    ]


def _nucleus(probabilities: Tensor, share: float) -> Tensor:
    """Keep the fewest likeliest symbols of each row whose probabilities reach `share`."""
    if share >= 1.0:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    before[..., 0] = -1.0  # one symbol is always left
    ordered = ordered.masked_fill(before >= share, 0.0)
    return torch.zeros_like(probabilities).scatter(-1, order, ordered)
