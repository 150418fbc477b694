"""A grammar: the phrases of which one was said, and nothing else.

Comes in: a text file, one phrase a line; the log-probabilities of an utterance. Goes out: the
log-probability of every phrase.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from common.errors import InputError
from speech.model.subwords import Subwords
from speech.model.text import normalize
from speech.search.text_probs import texts_log_probs

_AT_ONCE = 256  # phrases that are scored together: what is kept of them stays in the processor's cache


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
        log_probs: (steps, symbols) of one utterance, on the CPU.
        phrases: normalised.
        subwords: the symbols.
    """
    scores: list[float] = []
    for start in range(0, len(phrases), _AT_ONCE):
        texts = [subwords.encode(phrase) for phrase in phrases[start : start + _AT_ONCE]]
        scores += texts_log_probs([log_probs], [0] * len(texts), texts).tolist()
    return scores
