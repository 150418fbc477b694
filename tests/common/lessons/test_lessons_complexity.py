"""What training costs: like is compared with like."""

from __future__ import annotations

import pytest
import torch

from common.core.gates import trace_gates
from common.core.recurrent import RecurrentConfig, RecurrentStack
from common.lessons.complexity import Remedy, Sizes, lstm_equations, measure_all, padding_share

SMALL = Sizes(hidden=4, batch=3, steps=10, repeats=1)


def test_every_remedy_is_timed_or_says_why_not() -> None:
    found = list(measure_all(SMALL, torch.Generator().manual_seed(1), compile_too=False))
    assert [one.name.split(",")[0] for one in found] == ["reversal", "bucketing", "fused loop", "bfloat16"]
    assert all(one.without > 0 for one in found)
    assert all(one.note if one.with_ is None else one.with_ > 0 for one in found)


def test_padding_is_what_the_longest_of_a_batch_costs_the_others() -> None:
    lengths = torch.tensor([1, 4, 1, 4])
    assert padding_share(lengths, 2) == pytest.approx(1 - 10 / 16)
    assert padding_share(lengths.sort().values, 2) == 0.0


def test_the_equations_that_are_compiled_are_those_of_the_core() -> None:
    torch.manual_seed(1)
    stack = RecurrentStack(RecurrentConfig(3, 4))
    x, state = torch.randn(2, 1, 3), tuple(torch.randn_like(part) for part in stack.init_state(2))
    trace = trace_gates(stack, x, state)[0][0]
    weights = {name.split(".")[-1]: weight for name, weight in stack.named_parameters()}
    hidden, memory = lstm_equations(
        torch.nn.functional.linear(x[:, 0], weights["weight_ih"], weights["bias_ih"]),
        torch.nn.functional.linear(state[0][0], weights["weight_hh"], weights["bias_hh"]),
        state[1][0],
    )
    torch.testing.assert_close(hidden, trace["hidden"][:, 0])
    torch.testing.assert_close(memory, trace["memory"][:, 0])


def test_a_line_says_how_many_times_as_fast_a_remedy_is() -> None:
    assert "4.0 x" in str(Remedy("quick", 0.2, 0.05))
    assert "not here" in str(Remedy("slow", 0.2, None, "not here"))
