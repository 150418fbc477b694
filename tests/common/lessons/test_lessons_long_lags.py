"""The copying and the adding problem: their data, and who solves them."""

from __future__ import annotations

import math

import pytest
import torch

from common.core.recurrent import RecurrentConfig, RecurrentStack
from common.lessons.long_lags import CHANCE, SYMBOLS, adding, copying, diverge_or_converge, solve
from common.lessons.starts import keeping_up_to


@pytest.fixture
def generator() -> torch.Generator:
    torch.manual_seed(1)
    return torch.Generator().manual_seed(2)


def test_copying_shows_a_symbol_once_and_then_nothing_until_it_asks(generator: torch.Generator) -> None:
    x, symbols = copying(50, 10, generator)
    assert x.shape == (50, 1 + 10 + 1, SYMBOLS + 1)
    assert torch.equal(x[:, 0, :SYMBOLS].argmax(-1), symbols)
    assert x[:, 0].sum(-1).eq(1).all() and not x[:, 0, SYMBOLS].any()
    assert not x[:, 1:-1].any()
    assert x[:, -1, SYMBOLS].eq(1).all() and x[:, -1].sum(-1).eq(1).all()
    assert symbols.unique().tolist() == list(range(SYMBOLS))


def test_adding_marks_one_number_in_each_half_and_wants_their_sum(generator: torch.Generator) -> None:
    x, sums = adding(2000, 11, generator)
    numbers, marks = x.unbind(-1)
    assert marks[:, :5].sum(1).eq(1).all() and marks[:, 5:].sum(1).eq(1).all()
    assert marks.sum(0).gt(0).all()
    torch.testing.assert_close(sums, numbers[marks == 1].view(-1, 2).sum(1))
    assert float(sums.var()) == pytest.approx(CHANCE["adding"], rel=0.1)  # who always says 1 is so far off


def test_units_keep_from_one_step_to_as_many_as_are_asked_for(generator: torch.Generator) -> None:
    stack = RecurrentStack(RecurrentConfig(2, 400, "lstm"))
    keeping_up_to(100)(stack, generator)
    enter, forget, *_ = dict(stack.named_parameters())["layers.0.0.bias_ih"].detach().view(4, 400)
    kept = 1.0 / (1.0 - forget.sigmoid())  # steps
    assert 2.0 <= float(kept.min()) < 10.0
    assert 90.0 < float(kept.max()) <= 100.1
    torch.testing.assert_close(enter.sigmoid() + forget.sigmoid(), torch.ones(400))


def test_training_ends_where_the_problem_is_solved(generator: torch.Generator) -> None:
    result = solve("copying", "lstm", [2], generator, budget=2000)
    assert result.solved(2)
    assert result.updates[2] < 400


def test_gates_carry_a_symbol_over_fifty_steps_and_a_plain_cell_does_not(generator: torch.Generator) -> None:
    gated = [solve("copying", cell, [50], generator, budget=15_000) for cell in ("gru", "lstm")]
    plain = solve("copying", "rnn_tanh", [50], generator, budget=sum(one.updates[50] for one in gated) * 25)
    assert [one.solved(50) for one in gated] == [True, True]
    assert not plain.solved(50)


def test_without_clipping_the_run_diverges_and_with_it_the_same_run_converges() -> None:
    wild, tame = diverge_or_converge(math.inf, 1, 60), diverge_or_converge(1.0, 1, 60)
    assert wild[0] == tame[0]
    assert not wild[-1] < 10.0 * wild[0]  # or no number at all
    assert tame[-1] < 0.3 * tame[0]
