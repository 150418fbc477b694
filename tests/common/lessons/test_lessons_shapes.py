"""The four shapes: what is judged was never learned, and seconds of training teach something."""

from __future__ import annotations

import pytest
import torch

from common.lessons.shapes import (
    BITS,
    HELD_OUT,
    SHAPES,
    Answer,
    Brackets,
    Figures,
    Names,
    Sums,
    bits,
    matches,
    name_of,
    share_right,
    train,
    vectors,
)


@pytest.fixture
def generator() -> torch.Generator:
    torch.manual_seed(1)
    return torch.Generator().manual_seed(2)


def test_bits_stand_the_lowest_first() -> None:
    assert bits(torch.tensor([6]))[0].tolist() == [0.0, 1.0, 1.0, *[0.0] * (BITS - 3)]


def test_figures_of_a_number_are_one_vector() -> None:
    assert vectors([205]).nonzero()[:, 1].tolist() == [2, 10 + 0, 20 + 5]


@pytest.mark.parametrize(
    ("text", "right"), [("()", True), ("(())()", True), (")(", False), ("(()", False), ("())", False)]
)
def test_brackets_match_if_each_has_its_partner(text: str, right: bool) -> None:
    assert matches(text) == right


def test_half_of_the_brackets_match_and_those_judged_are_longer(generator: torch.Generator) -> None:
    drawn = [Brackets._draw(generator, 8) for _ in range(400)]
    assert 0.4 < sum(map(matches, drawn)) / len(drawn) < 0.6
    assert max(map(len, drawn)) == 16 < min(len(one.read) for one in Brackets().answers(20, generator))


def test_numbers_that_are_judged_were_not_learned(generator: torch.Generator) -> None:
    one, other = Sums._draw(200, generator, False)
    assert one.remainder(HELD_OUT).ne(0).all() and (one + other).lt(2**BITS).all()
    assert Sums._draw(200, generator, True)[0].remainder(HELD_OUT).eq(0).all()
    assert all(int(one.read) % HELD_OUT == 0 for one in Names().answers(50, generator))
    assert all(name_of(int(one.right)) == one.read for one in Figures().answers(50, generator))


@pytest.mark.parametrize("name", SHAPES)
def test_seconds_of_training_lower_the_loss(name: str, generator: torch.Generator) -> None:
    shape, losses = train(name, 30, generator)
    assert len(losses) == 30
    assert sum(losses[-5:]) < sum(losses[:5])
    assert len(shape.answers(7, generator)) == 7


def test_a_plain_cell_learns_to_carry(generator: torch.Generator) -> None:
    shape, _ = train("aligned", 300, generator)
    assert share_right(shape.answers(100, generator)) > 0.9


def test_an_answer_is_right_if_all_of_it_is() -> None:
    assert share_right([Answer("a", "12", "12"), Answer("b", "12", "123")]) == 0.5
