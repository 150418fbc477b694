"""Training for fewer wrong words: the estimate beside what can be worked out exactly."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from speech.model.subwords import BLANK, LETTER_SYMBOLS, Subwords
from speech.training.risk import expected_errors, word_errors

SUBWORDS = Subwords(LETTER_SYMBOLS)


def symbols(*pieces: str) -> list[int]:
    return [LETTER_SYMBOLS.index(piece) for piece in pieces]


def test_errors_stand_at_their_words() -> None:
    a, i, o = symbols("a_", "i_", "o_")
    paths = [[a, BLANK, i, o], [a, BLANK, BLANK, o], [i, BLANK, i, o], [a, i, o, i], [BLANK] * 4]
    errors = word_errors(["a", "i", "o"], paths, SUBWORDS)
    np.testing.assert_array_equal(errors, [[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 1, 1]])


def exact_errors(logits: Tensor, possible: list[int], words: list[str]) -> tuple[float, Tensor]:
    """The expected number of wrong words of one utterance, every path looked at, and its gradient."""
    logits = logits.clone().requires_grad_()
    log_probs = (logits / 0.5).log_softmax(dim=-1)
    expected = torch.zeros(())
    for path in product(possible, repeat=len(logits)):
        errors = float(word_errors(words, [path], SUBWORDS).sum())
        expected = expected + errors * log_probs[range(len(path)), list(path)].sum().exp()
    (gradient,) = torch.autograd.grad(expected, logits)
    return float(expected.detach()), gradient


@pytest.mark.parametrize("right", [["a_"], ["a", "i_"], ["a_", "i_"]])
def test_gradient_is_that_of_the_expected_errors(right: list[str]) -> None:
    torch.manual_seed(0)
    possible = [BLANK, *symbols("a", "a_", "i_")]
    logits = torch.full((4, len(LETTER_SYMBOLS)), -torch.inf)
    logits[:, possible] = torch.randn(4, len(possible))
    targets = torch.tensor(symbols(*right))
    words = SUBWORDS.decode(targets.tolist()).split()
    expected, exact = exact_errors(logits, possible, words)
    # Padding and an utterance without text add nothing.
    padded = torch.zeros(2, 6, len(LETTER_SYMBOLS))
    padded[0, :4] = logits
    padded = padded.requires_grad_()
    loss, wrong = expected_errors(
        padded.log_softmax(dim=-1),
        torch.tensor([4, 6]),
        targets,
        torch.tensor([len(targets), 0]),
        SUBWORDS,
        samples=30_000,
    )
    (estimate,) = torch.autograd.grad(loss * len(targets), padded)
    torch.testing.assert_close(estimate[0, :4], exact, atol=0.02, rtol=0.0)
    assert exact.abs().max() > 0.1
    assert not estimate[0, 4:].any() and not estimate[1].any()
    assert wrong * len(words) == pytest.approx(expected, abs=0.02)


def test_what_is_far_away_is_not_blamed() -> None:
    """Of seven words only the first and the last are unsure: steps of those between have no gradient."""
    names = ["a_", "i_", "o_", "u_", "e_", "y_", "s_"]
    right = symbols(*names)
    log_probs = torch.full((1, 14, len(LETTER_SYMBOLS)), -30.0)
    for number, symbol in enumerate(right):
        log_probs[0, 2 * number, symbol] = 0.0
        log_probs[0, 2 * number + 1, BLANK] = 0.0
    log_probs[0, 0, right[1]] = log_probs[0, 12, right[1]] = 0.0  # as likely as the right ones
    log_probs[0, 7, right[3]] = 0.0  # it may last for two steps: the text is the same
    logits = log_probs.requires_grad_()
    torch.manual_seed(1)
    loss, _ = expected_errors(
        logits.log_softmax(dim=-1), torch.tensor([14]), torch.tensor(right), torch.tensor([7]), SUBWORDS, 64
    )
    (gradient,) = torch.autograd.grad(loss, logits)
    first, last = gradient[0, 0], gradient[0, 12]
    assert first[right[0]] < 0.0 < first[right[1]]
    assert last[right[6]] < 0.0 < last[right[1]]
    assert gradient[0, 4:10].abs().max() < 1e-6
