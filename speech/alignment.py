"""Words with times: a path through the steps -> words, each with start, end and confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from speech.text import BLANK, decode


@dataclass(frozen=True)
class Word:
    """A word that was heard.

    Attributes:
        text: the word.
        start, end: seconds from the beginning of the recording.
        confidence: mean probability of the word's symbols, 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float


def forced_path(log_probs: Tensor, symbols: Sequence[int]) -> list[int]:
    """The most probable path of a known text: a symbol for every step.

    Args:
        log_probs: (steps, symbols).
        symbols: of the text, no blanks; as many as fit into the steps.
    """
    from torchaudio.functional import forced_align

    if not symbols:
        return [BLANK] * len(log_probs)
    path, _ = forced_align(log_probs[None].contiguous(), torch.tensor([list(symbols)]), blank=BLANK)
    return [int(symbol) for symbol in path[0]]


def words_of_path(path: Sequence[int], log_probs: Tensor, step_seconds: float) -> tuple[Word, ...]:
    """The words along a path.

    A CTC network gives a symbol at the step where it has become sure, so a word lasts from its first
    symbol's step to the end of its last one's.

    Args:
        path: a symbol for every step, blanks and repeats included.
        log_probs: (steps, symbols).
        step_seconds: time from one step to the next.
    """
    words: list[Word] = []
    letters: list[tuple[int, int, float]] = []  # symbol, step, probability

    def close() -> None:
        text = decode([symbol for symbol, _, _ in letters])
        if text:
            confidence = sum(probability for _, _, probability in letters) / len(letters)
            end = letters[-1][1] + 1
            words.append(Word(text, letters[0][1] * step_seconds, end * step_seconds, confidence))
        letters.clear()

    probabilities = log_probs.exp()
    for step, symbol in enumerate(path):
        if symbol == BLANK or (step > 0 and path[step - 1] == symbol):
            continue
        if decode([symbol]).isspace():
            close()
        else:
            letters.append((symbol, step, float(probabilities[step, symbol])))
    close()
    return tuple(words)
