"""The benchmark compares like with like."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from common.benchmark import compare, packed_module
from common.core.recurrent import Cell, RecurrentConfig, RecurrentStack


@pytest.mark.parametrize("cell", get_args(Cell))
def test_both_sides_read_the_same_and_are_timed(cell: Cell) -> None:
    timing = compare(cell, hidden_size=4, batch=3, steps=6, repeats=1)
    assert timing.packed > 0
    assert timing.ours > 0


def test_both_sides_share_every_weight() -> None:
    stack = RecurrentStack(RecurrentConfig(3, 4, "gru", layers=2, bidirectional=True))
    shared = {id(parameter) for parameter in packed_module(stack).parameters()}
    assert shared == {id(parameter) for parameter in stack.parameters()}


@pytest.mark.slow
@pytest.mark.usefixtures("threads_restored")
def test_packed_sequences_take_several_times_as_long() -> None:
    torch.set_num_threads(1)
    assert compare(batch=16, steps=200, repeats=1).ratio > 1.5
