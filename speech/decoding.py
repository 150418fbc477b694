"""Search: log-probabilities (steps, symbols) -> text.

Greedy takes the most probable symbol of every step and merges repeats: the best path, not the best text
(Graves et al. 2006, doi:10.1145/1143844.1143891).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from speech.text import BLANK, decode


def greedy(log_probs: Tensor, steps: Tensor) -> list[str]:
    """The text along the most probable path of each utterance.

    Args:
        log_probs: (batch, steps, symbols).
        steps: (batch,) steps of each utterance; what lies behind them is not read.
    """
    best = log_probs.argmax(dim=-1).tolist()
    return [collapse(path[:length]) for path, length in zip(best, steps.tolist(), strict=True)]


def collapse(path: Sequence[int]) -> str:
    """A path, one symbol a step, as text: repeats become one, then blanks go."""
    symbols = [
        symbol
        for position, symbol in enumerate(path)
        if symbol != BLANK and (position == 0 or symbol != path[position - 1])
    ]
    return " ".join(decode(symbols).split())
