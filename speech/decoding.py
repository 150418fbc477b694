"""Search: log-probabilities (steps, symbols) -> text.

Greedy takes the most probable symbol of every step and merges repeats: the best path, not the best text
(Graves et al. 2006, doi:10.1145/1143844.1143891). The prefix beam search adds up all paths of a text
(Graves and Jaitly 2014; Hannun et al. 2014, arXiv:1408.2873).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from speech.text import BLANK, decode

_NEVER = -math.inf


@dataclass(frozen=True)
class TextHypothesis:
    """A text that the search found.

    Attributes:
        symbols: of the text.
        log_prob: of all paths that were followed and give this text.
    """

    symbols: tuple[int, ...]
    log_prob: float


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


def prefix_beam_search(log_probs: Tensor, beam: int, least: float = 1e-4) -> list[TextHypothesis]:
    """The most probable texts of one utterance, each with the probability of all its paths.

    Args:
        log_probs: (steps, symbols).
        beam: texts that are followed at once.
        least: symbols less probable than this are not tried in a step; it saves most of the work.

    Returns:
        Up to `beam` texts, best first.
    """
    threshold = math.log(least) if least > 0.0 else _NEVER
    # A text's paths end either in a blank or in its last symbol: only in the first case does the same
    # symbol once more make a new letter.
    texts: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, _NEVER)}
    for step in log_probs.tolist():
        likely = [symbol for symbol, value in enumerate(step) if value >= threshold and symbol != BLANK]
        following: dict[tuple[int, ...], tuple[float, float]] = {}
        for text, (blank, symbol_end) in texts.items():
            either = _add(blank, symbol_end)
            last = text[-1] if text else None
            stay_blank, stay_symbol = following.get(text, (_NEVER, _NEVER))
            if last is not None:
                stay_symbol = _add(stay_symbol, symbol_end + step[last])
            following[text] = (_add(stay_blank, either + step[BLANK]), stay_symbol)
            for symbol in likely:
                before = blank if symbol == last else either
                if before == _NEVER:
                    continue
                longer = (*text, symbol)
                longer_blank, longer_symbol = following.get(longer, (_NEVER, _NEVER))
                following[longer] = (longer_blank, _add(longer_symbol, before + step[symbol]))
        ranked = sorted(following.items(), key=lambda one: -_add(*one[1]))
        texts = dict(ranked[:beam])
    return [TextHypothesis(text, _add(*ends)) for text, ends in texts.items()]


def _add(first: float, second: float) -> float:
    """The logarithm of the sum of two probabilities, given as logarithms."""
    if first < second:
        first, second = second, first
    return first if second == _NEVER else first + math.log1p(math.exp(second - first))
