"""Gates that can be read: equal to the fused loops, and doing what theory says of them."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from common.core.gates import readings, trace_gates
from common.core.recurrent import Cell, RecurrentConfig, RecurrentStack
from common.lessons.gates import draw_register, mean_by_command, remembering_unit, train

SHUT = 50.0  # a pre-activation at which a gate is open or closed to the last digit


@pytest.mark.parametrize("cell", get_args(Cell))
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_traced_values_are_those_of_the_fused_loop(cell: Cell, bidirectional: bool) -> None:
    torch.manual_seed(1)
    stack = RecurrentStack(RecurrentConfig(4, 5, cell, 2, bidirectional, normalization="layer"))
    x = torch.randn(3, 7, 4)
    state = tuple(torch.randn_like(part) for part in stack.init_state(3))
    outputs, after = stack(x, state=state)
    traces = trace_gates(stack, x, state)
    last = torch.cat([trace["hidden"] for trace in traces[-1]], dim=-1)
    torch.testing.assert_close(last, outputs)
    ends = [(trace, -1 if side == 0 else 0) for layer in traces for side, trace in enumerate(layer)]
    for name, part in zip(("hidden", "memory"), after, strict=False):
        torch.testing.assert_close(torch.stack([trace[name][:, end] for trace, end in ends]), part)


def test_what_a_stack_reads_is_noted_as_a_whole_and_step_by_step() -> None:
    torch.manual_seed(1)
    first = RecurrentStack(RecurrentConfig(4, 5, "gru"))
    second = RecurrentStack(RecurrentConfig(5, 3, "lstm", bidirectional=True))
    third = RecurrentStack(RecurrentConfig(2, 3))
    network = torch.nn.ModuleDict({"first": first, "second": second, "third": third})
    x, begun = torch.randn(2, 6, 4), (torch.randn(1, 2, 5),)
    with torch.no_grad():
        with readings(network) as found:
            state: tuple[torch.Tensor, ...] = begun
            hidden = []
            for step in x.unbind(1):
                output, state = first.step(step, state)
                hidden.append(output)
            outputs, _ = second(torch.stack(hidden, dim=1))
        assert set(found) == {"first", "second"}
        assert torch.equal(found["first"].x, x) and found["first"].state == begun
        forwards, both = [torch.stack(hidden, dim=1)], outputs.chunk(2, dim=-1)
        for name, stack, right in (("first", first, forwards), ("second", second, both)):
            traces = trace_gates(stack, *found[name])[-1]
            for trace, one in zip(traces, right, strict=True):
                torch.testing.assert_close(trace["hidden"], one)
        first(x)  # nothing is noted any more
        assert torch.equal(found["first"].x, x) and "step" not in vars(first)


def gated(cell: Cell, gates: dict[int, float]) -> RecurrentStack:
    """A stack of one layer, some of whose gates stand as these pre-activations say, whatever is read."""
    torch.manual_seed(2)
    stack = RecurrentStack(RecurrentConfig(3, 4, cell))
    with torch.no_grad():
        for name, weight in stack.named_parameters():
            for gate, value in gates.items():
                weight[4 * gate : 4 * gate + 4] = value if name.endswith("bias_ih") else 0.0
    return stack


def test_a_closed_forget_gate_erases() -> None:
    stack = gated("lstm", {1: -SHUT})
    x = torch.randn(2, 6, 3)
    trace = trace_gates(stack, x)[0][0]
    assert not trace["forget"].gt(1e-9).any()
    torch.testing.assert_close(trace["memory"], trace["input"] * trace["new"])
    # With the hidden vector's weights at zero too, nothing of what was before is left in the state.
    with torch.no_grad():
        stack.get_parameter("layers.0.0.weight_hh").zero_()
    before = tuple(torch.randn_like(part) for part in stack.init_state(2))
    for ours, fresh in zip(stack(x[:, :1], state=before)[1], stack(x[:, :1])[1], strict=True):
        torch.testing.assert_close(ours, fresh)


def test_a_closed_input_gate_and_an_open_forget_gate_keep() -> None:
    stack = gated("lstm", {0: -SHUT, 1: SHUT})
    before = tuple(torch.randn_like(part) for part in stack.init_state(2))
    _, after = stack(torch.randn(2, 100, 3), state=before)
    assert torch.equal(after[1], before[1])


def test_an_open_update_gate_of_a_gru_keeps_and_a_closed_reset_gate_ignores_what_was() -> None:
    x = torch.randn(2, 100, 3)
    stack = gated("gru", {1: SHUT})
    (before,) = (torch.randn_like(part) for part in stack.init_state(2))
    torch.testing.assert_close(stack(x, state=(before,))[1][0], before)
    stack = gated("gru", {0: -SHUT, 1: -SHUT})
    torch.testing.assert_close(stack(x[:, :1], state=(before,))[1], stack(x[:, :1])[1])


def test_gates_are_not_read_while_dropout_draws() -> None:
    stack = RecurrentStack(RecurrentConfig(3, 4, layers=2, dropout=0.5))
    with pytest.raises(ValueError, match="eval"):
        trace_gates(stack, torch.zeros(1, 2, 3))
    trace_gates(stack.eval(), torch.zeros(1, 2, 3))


def test_a_register_holds_what_was_written_last_until_it_is_erased() -> None:
    drawn = draw_register(20, 30, torch.Generator().manual_seed(1))
    assert drawn.commands.unique().tolist() == [0, 1, 2]
    for x, held, commands in zip(drawn.x, drawn.held, drawn.commands, strict=True):
        now = 0.0
        for (write, erase, number), value, command in zip(x.tolist(), held, commands, strict=True):
            now = number if write else 0.0 if erase else now
            assert float(value) == now
            assert int(command) == (0 if write else 1 if erase else 2)


def test_gates_are_averaged_by_what_was_to_be_done() -> None:
    gate = torch.tensor([[0.2, 0.4, 0.9, 0.1]])
    assert mean_by_command(gate, torch.tensor([[0, 0, 1, 2]])) == pytest.approx([0.3, 0.9, 0.1])


def test_the_unit_that_remembers_may_do_so_upside_down() -> None:
    held = torch.rand(5, 9, generator=torch.Generator().manual_seed(1))
    hidden = torch.stack([torch.ones(5, 9), -2.0 * held, held.flip(0)], dim=-1)
    assert remembering_unit({"hidden": hidden}, held) == 1


def test_after_seconds_of_training_the_lstm_opens_its_input_gate_to_write() -> None:
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    network = train("lstm", 150, generator)
    drawn = draw_register(100, 20, generator)
    with torch.no_grad():
        trace = trace_gates(network.stack, drawn.x)[0][0]
        error = (network(drawn.x)[0].squeeze(-1) - drawn.held).square().mean()
    assert error < 0.5 * drawn.held.var()  # who always says the mean is off by the variance
    unit = remembering_unit(trace, drawn.held)
    write, _, keep = mean_by_command(trace["input"][..., unit], drawn.commands)
    assert write > keep
