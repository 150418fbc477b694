"""Maximum mutual information: the sum over all texts beside every path looked at."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from speech.model.network import ctc_loss
from speech.model.subwords import BLANK
from speech.search.decoding import collapse
from speech.training.rivals import Bigrams, count_bigrams, rival_loss, text_log_prob

SYMBOLS = 4
BIGRAMS = count_bigrams([[1, 2], [2, 2, 3], [], [3, 1]], SYMBOLS)


def text_prob(text: list[int]) -> Tensor:
    """What the bigrams say of a text."""
    before = [BLANK, *text]
    steps = [BIGRAMS.transitions[pair] for pair in zip(before, text, strict=False)]
    return torch.stack([*steps, BIGRAMS.ends[before[-1]]]).prod()


def every_path(log_probs: Tensor) -> Tensor:
    """The same as `text_log_prob` of one utterance."""
    paths = product(range(SYMBOLS), repeat=len(log_probs))
    probs = [
        text_prob(collapse(list(path))) * log_probs[range(len(path)), list(path)].sum().exp()
        for path in paths
    ]
    return torch.stack(probs).sum().log()


def test_bigrams_are_probabilities_and_those_of_the_texts() -> None:
    assert BIGRAMS.transitions[:, BLANK].tolist() == [0.0] * SYMBOLS
    torch.testing.assert_close(BIGRAMS.transitions.sum(dim=1) + BIGRAMS.ends, torch.ones(SYMBOLS))
    assert (BIGRAMS.transitions[:, 1:] > 0.0).all() and (BIGRAMS.ends > 0.0).all()
    # One of three texts begins with 2. Half of each of three counts is shared out: of 10 symbols, ends among
    # them, 3 are a 2, and each of 4 counts half a time more.
    assert BIGRAMS.transitions[BLANK, 2] == pytest.approx((0.5 + 1.5 * 3.5 / 12) / 3)
    assert BIGRAMS.transitions[1, 3] == pytest.approx(1.0 * 2.5 / 12 / 2)


def test_nothing_is_known_of_what_follows_a_symbol_that_was_never_there() -> None:
    bigrams = count_bigrams([[1], [1, 1, 2]], SYMBOLS)
    row = bigrams.transitions[3]
    assert row[1] > row[2] > row[3] > 0.0
    assert float(row.sum() + bigrams.ends[3]) == pytest.approx(1.0)


def test_all_texts_together_are_as_probable_as_path_by_path() -> None:
    torch.manual_seed(0)
    answer = torch.randn(3, 6, SYMBOLS).requires_grad_()
    steps = torch.tensor([6, 4, 1])
    found = text_log_prob(answer.log_softmax(dim=-1), steps, BIGRAMS)
    right = torch.stack(
        [every_path(one[:own].log_softmax(dim=-1)) for one, own in zip(answer, steps, strict=True)]
    )
    torch.testing.assert_close(found, right)
    (gradient,) = torch.autograd.grad(found.sum(), answer, retain_graph=True)
    (exact,) = torch.autograd.grad(right.sum(), answer)
    torch.testing.assert_close(gradient, exact, atol=1e-6, rtol=1e-4)
    assert not gradient[1, 4:].any()


def test_thousands_of_steps_neither_vanish_nor_overflow() -> None:
    torch.manual_seed(1)
    answer = (4.0 * torch.randn(1, 3000, SYMBOLS)).requires_grad_()
    found = text_log_prob(answer.log_softmax(dim=-1), torch.tensor([3000]), BIGRAMS)
    found.sum().backward()
    assert answer.grad is not None and answer.grad.isfinite().all() and answer.grad.any()
    assert -10_000.0 < float(found.detach()) < -1000.0


def test_the_loss_is_the_right_text_against_all() -> None:
    """With CTC's loss it is minus the log of the right text's share, but for a constant."""
    torch.manual_seed(2)
    log_probs = torch.randn(2, 5, SYMBOLS).log_softmax(dim=-1)
    steps, text = torch.tensor([5, 5]), [2, 2, 1]
    targets, lengths = torch.tensor(text), torch.tensor([3, 0])
    loss = ctc_loss(log_probs, steps, targets, lengths) + rival_loss(log_probs, steps, lengths, BIGRAMS)
    own = [path for path in product(range(SYMBOLS), repeat=5) if collapse(list(path)) == text]
    right = torch.stack([log_probs[0, range(5), list(path)].sum().exp() for path in own]).sum()
    share = right * text_prob(text) / every_path(log_probs[0]).exp()
    assert float(loss) == pytest.approx(float((text_prob(text).log() - share.log()) / 3), rel=1e-4)
    assert float(share) < 1.0


def test_bigrams_move_to_a_device() -> None:
    moved = BIGRAMS.to(torch.device("meta"))
    assert isinstance(moved, Bigrams) and moved.transitions.device.type == moved.ends.device.type == "meta"
