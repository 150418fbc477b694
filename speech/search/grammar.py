"""A grammar: the phrases of which one was said, and nothing else.

Comes in: a text file, one phrase a line; the log-probabilities of an utterance. Goes out: the
log-probability of every phrase, exact (Graves et al. 2006, doi:10.1145/1143844.1143891).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from common.errors import InputError
from speech.model.subwords import BLANK, Subwords
from speech.model.text import normalize

_AT_ONCE = 256  # phrases that are scored together: some 10 MB for ten seconds


def read_grammar(path: Path) -> tuple[str, ...]:
    """The phrases of a file, normalised, each once, in their order.

    Raises:
        InputError: if the file cannot be read or has no phrase in it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "is not a text file in UTF-8") from error
    phrases = tuple(dict.fromkeys(phrase for line in lines if (phrase := normalize(line))))
    if not phrases:
        raise InputError(path, "has no phrase in it; write one phrase on a line")
    return phrases


def phrase_log_probs(log_probs: Tensor, phrases: tuple[str, ...], subwords: Subwords) -> list[float]:
    """Log-probability of each phrase: of all paths of its spelling. -inf for one too long for the steps.

    Args:
        log_probs: (steps, symbols) of one utterance.
        phrases: normalised.
        subwords: the symbols.
    """
    scores: list[float] = []
    steps = len(log_probs)
    if steps == 0:
        return [0.0 if phrase == "" else -float("inf") for phrase in phrases]
    for start in range(0, len(phrases), _AT_ONCE):
        targets = [subwords.encode(phrase) for phrase in phrases[start : start + _AT_ONCE]]
        lengths = torch.tensor([len(target) for target in targets])
        padded = torch.full((len(targets), max(1, int(lengths.max()))), BLANK + 1)
        for row, target in enumerate(targets):
            padded[row, : len(target)] = torch.tensor(target)
        losses = torch.nn.functional.ctc_loss(
            log_probs.unsqueeze(1).expand(-1, len(targets), -1),  # (steps, phrases, symbols)
            padded,
            torch.full((len(targets),), steps),
            lengths,
            blank=BLANK,
            reduction="none",
        )
        scores += (-losses).tolist()
    return scores
