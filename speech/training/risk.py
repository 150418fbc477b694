"""Training for fewer wrong words: what a network's own answers would cost, and how to make them cost less.

CTC makes the right text likely. What counts is another thing: how many words are wrong in what is written.
Paths are drawn from the network's answer, their texts are compared with the right one, and paths with fewer
errors than the others' mean become likelier (Graves and Jaitly 2014, "Towards end-to-end speech recognition
with recurrent neural networks"; Shannon 2017, arXiv:1706.02776).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from speech.model.subwords import BLANK, Subwords
from speech.placing.alignment import forced_path, steps_needed
from speech.search.decoding import collapse


def expected_errors(
    log_probs: Tensor,
    steps: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    subwords: Subwords,
    samples: int = 16,
    temperature: float = 0.5,
) -> tuple[Tensor, float]:
    """A loss whose gradient is an estimate of that of the expected number of wrong words.

    A step is held to account for the errors in its own word, in the one before and in the one after, and not
    for those in the rest of the utterance, on which it has no influence but is as often blamed as praised:
    the estimate is much less noisy. Which word is a step's own says the most probable path of the right text.

    Args:
        log_probs: (batch, steps, symbols), blank first.
        steps: (batch,) steps of each utterance.
        targets: (sum of target lengths,) symbols of all utterances, one after another.
        target_lengths: (batch,); utterances without symbols, or with more than fit, add nothing.
        subwords: the symbols.
        samples: paths drawn for each utterance, at least 2.
        temperature: the log-probabilities are divided by it. Below 1 fewer paths are drawn that nobody would
            choose, because each step takes what is hardly likely there.

    Returns:
        The loss, a symbol of the targets: its gradient matters, its value does not. And how many words were
        wrong in the texts that were drawn, as a share of the right words.
    """
    log_probs = (log_probs / temperature).log_softmax(dim=-1)
    with torch.no_grad():
        drawn = torch.multinomial(log_probs.exp().flatten(0, 1), samples, replacement=True)
    paths = drawn.unflatten(0, log_probs.shape[:2])  # (batch, steps, samples)
    blame = torch.zeros(paths.shape)
    wrong, right = 0.0, 0
    texts = targets.cpu().split(target_lengths.tolist())
    for number, (text, length) in enumerate(zip(texts, steps.tolist(), strict=True)):
        symbols = text.tolist()
        if not symbols or steps_needed(symbols) > length:
            continue
        words = subwords.decode(symbols).split()
        errors = word_errors(words, paths[number, :length].T.tolist(), subwords)
        own = _word_of_each_step(forced_path(log_probs[number, :length].detach().cpu(), symbols), subwords)
        blame[number, :length] = torch.from_numpy(_nearby(errors - errors.mean(axis=0))[:, own].T)
        wrong += errors.sum() / samples
        right += len(words)
    chosen = log_probs.gather(-1, paths)
    loss = (blame.to(chosen) * chosen).sum()
    return loss / (samples - 1) / target_lengths.sum().clamp_min(1), wrong / max(1, right)


def word_errors(
    words: Sequence[str], paths: Sequence[Sequence[int]], subwords: Subwords
) -> NDArray[np.float32]:
    """How many errors the text of each path has at each word.

    Args:
        words: that are right, at least one.
        paths: of symbols, one a step.
        subwords: the symbols.

    Returns:
        (paths, words); a word too many counts at the one before which it stands, or at the last.
    """
    errors = np.zeros((len(paths), len(words)), np.float32)
    for row, path in zip(errors, paths, strict=True):
        found = subwords.decode(collapse(path)).split()
        for operation in Levenshtein.editops(words, found):
            row[min(operation.src_pos, len(words) - 1)] += 1.0
    return errors


def _word_of_each_step(path: Sequence[int], subwords: Subwords) -> NDArray[np.int64]:
    """The number of the word that each step of a path belongs to: blanks to the word before them."""
    symbols = np.array(path)
    new = (symbols != BLANK) & (symbols != np.concatenate([[BLANK], symbols[:-1]]))
    ends = np.flatnonzero(new & subwords.ends_word[symbols])
    # A step behind the last piece of n words is still of the nth, until the next piece comes.
    begun = np.flatnonzero(new)
    last_begun = np.searchsorted(begun, np.arange(len(symbols)), side="right") - 1
    owner = np.searchsorted(ends, begun, side="left")
    return owner[np.maximum(last_begun, 0)]


def _nearby(errors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of each word's errors and its neighbours': (paths, words) -> (paths, words)."""
    padded = np.pad(errors, ((0, 0), (1, 1)))
    return padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
