"""The benchmark compares like with like."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from common.benchmark import Row, compare, packed_module, table
from common.core.recurrent import Cell, RecurrentConfig, RecurrentStack
from common.scale import print_scale


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


def test_a_table_has_ratios_to_its_first_row_and_to_the_ceiling() -> None:
    rows = [Row("ours", 2.0, "0.5"), Row("theirs", 5.0, "1.2", operations=1e10)]
    head, ours, theirs = table("1 thread", "factor", rows, ceiling=4e9).splitlines()
    assert head.split()[-4:] == ["ours", "GFLOP/s", "of", "ceiling"]
    assert ours.split() == ["ours", "2.000", "0.5", "1.00"]
    assert theirs.split() == ["theirs", "5.000", "1.2", "2.50", "2.0", "50%"]


def test_the_operations_are_those_of_every_weight_once_forward_and_twice_backward() -> None:
    timing = compare("lstm", hidden_size=4, batch=2, steps=6, repeats=1)  # of 3 and 6 steps
    weights = 2 * (4 * 4 * 8 + 4 * 4 * 4)  # two directions, four gates, inputs and state
    assert timing.operations == 3 * 2 * weights * (3 + 6)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is not told otherwise")
def test_a_thousand_files_are_measured_from_listing_to_resuming(capsys: pytest.CaptureFixture[str]) -> None:
    print_scale(1000)
    head, measured, million, ten = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head[:4] == ["files", "list", "plan", "write"]
    assert (measured[0], million[0], ten[0]) == ("1,000", "(1,000,000)", "(10,000,000)")
    assert all(float(number) > 0 for number in million[1:])
    assert float(ten[1]) == pytest.approx(10 * float(million[1]), abs=0.2)
