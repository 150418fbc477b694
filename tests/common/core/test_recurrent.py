"""The recurrent core against PyTorch's own packed sequences."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common.core.recurrent import (
    Cell,
    LockedDropout,
    RecurrentConfig,
    RecurrentStack,
    without_initial_weights,
)
from common.errors import InputError

CELLS: tuple[Cell, ...] = ("rnn_tanh", "rnn_relu", "lstm", "gru")


def reference(stack: RecurrentStack) -> nn.RNNBase:
    """PyTorch's own module with the stack's weights (which it shares)."""
    config = stack.config
    options = dict(num_layers=config.layers, bidirectional=config.bidirectional, batch_first=True)
    if config.cell == "lstm":
        module: nn.RNNBase = nn.LSTM(config.input_size, config.hidden_size, **options)
    elif config.cell == "gru":
        module = nn.GRU(config.input_size, config.hidden_size, **options)
    else:
        module = nn.RNN(config.input_size, config.hidden_size, nonlinearity=config.cell[4:], **options)
    for layer, directions in enumerate(stack.layers):
        assert isinstance(directions, nn.ModuleList)
        for side, direction in enumerate(directions):
            for name, parameter in direction.named_parameters():
                setattr(module, f"{name}_l{layer}{'_reverse' if side else ''}", parameter)
    return module


def gradient(leaf: torch.Tensor) -> torch.Tensor:
    """A copy of it."""
    assert leaf.grad is not None
    return leaf.grad.clone()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_stack_equals_packed_sequences_in_values_and_gradients(
    cell: Cell, bidirectional: bool, layers: int
) -> None:
    torch.manual_seed(1)
    stack = RecurrentStack(RecurrentConfig(5, 7, cell, layers, bidirectional))
    module = reference(stack)
    x = torch.randn(4, 9, 5)
    lengths = torch.tensor([3, 9, 1, 6])
    state = tuple(torch.randn_like(part) for part in stack.init_state(4))

    def run(packed: bool) -> list[torch.Tensor]:
        inputs = [x.clone().requires_grad_(), *(part.clone().requires_grad_() for part in state)]
        stack.zero_grad()
        if packed:
            first = tuple(inputs[1:]) if cell == "lstm" else inputs[1]
            output, after = module(
                pack_padded_sequence(inputs[0], lengths, batch_first=True, enforce_sorted=False), first
            )
            output, _ = pad_packed_sequence(output, batch_first=True)
            after = after if cell == "lstm" else (after,)
        else:
            output, after = stack(inputs[0], lengths, tuple(inputs[1:]))
        weigh = torch.arange(output.numel()).view_as(output).sin()
        loss = (output * weigh).sum() + sum((part * part.detach().cos()).sum() for part in after)
        loss.backward()
        gradients = [gradient(leaf) for leaf in [*inputs, *stack.parameters()]]
        return [output.detach(), *(part.detach() for part in after), *gradients]

    for ours, theirs in zip(run(packed=False), run(packed=True), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_without_its_state_a_stack_gives_the_same_outputs_and_gradients(cell: Cell) -> None:
    torch.manual_seed(3)
    stack = RecurrentStack(RecurrentConfig(4, 6, cell, 2, True, normalization="layer"))
    x = torch.randn(3, 8, 4)
    x[0, 5:] = torch.inf
    lengths = torch.tensor([5, 8, 1])
    found = []
    for return_state in (True, False):
        stack.zero_grad()
        output, state = stack(x, lengths, return_state=return_state)
        assert bool(state) == return_state
        output.sin().sum().backward()
        found.append([output.detach(), *map(gradient, stack.parameters())])
    for kept, forgotten in zip(*found, strict=True):
        torch.testing.assert_close(kept, forgotten, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_never_reaches_an_answer(cell: Cell) -> None:
    torch.manual_seed(2)
    stack = RecurrentStack(RecurrentConfig(4, 6, cell, 2, True, normalization="layer")).eval()
    x = torch.randn(2, 8, 4)
    lengths = torch.tensor([5, 8])
    output, state = stack(x, lengths)
    x[0, 5:] = 1e4
    other_output, other_state = stack(x, lengths)
    assert torch.equal(output, other_output)
    assert all(torch.equal(a, b) for a, b in zip(state, other_state, strict=True))
    assert not output[0, 5:].any()
    alone, _ = stack(x[:1, :5])
    torch.testing.assert_close(output[:1, :5], alone)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_one_at_a_time_equal_the_whole_sequence(cell: Cell) -> None:
    torch.manual_seed(3)
    stack = RecurrentStack(RecurrentConfig(4, 6, cell, 2, normalization="layer")).eval()
    x = torch.randn(3, 7, 4)
    whole, whole_state = stack(x)
    state = stack.init_state(3)
    for position in range(7):
        output, state = stack.step(x[:, position], state)
        torch.testing.assert_close(output, whole[:, position])
    for ours, theirs in zip(state, whole_state, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_sequence_read_in_two_pieces_equals_the_whole() -> None:
    torch.manual_seed(4)
    stack = RecurrentStack(RecurrentConfig(4, 6, "lstm", 2)).eval()
    x = torch.randn(2, 10, 4)
    whole, _ = stack(x)
    first, state = stack(x[:, :6])
    second, _ = stack(x[:, 6:], state=stack.detach(state))
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


def test_reorder_carries_each_hypothesis_own_past() -> None:
    torch.manual_seed(5)
    stack = RecurrentStack(RecurrentConfig(4, 6, "gru", 2)).eval()
    _, state = stack(torch.randn(3, 5, 4))
    x = torch.randn(3, 4)
    output, _ = stack.step(x, state)
    indices = torch.tensor([2, 0, 0, 1])
    reordered, _ = stack.step(x[indices], stack.reorder(state, indices))
    torch.testing.assert_close(reordered, output[indices])


def test_no_weights_are_drawn_for_a_model_that_is_read_and_afterwards_they_are_again() -> None:
    usual, drawn = dict(vars(nn.init)), torch.get_rng_state()
    with suppress(InputError), without_initial_weights():
        RecurrentStack(RecurrentConfig(3, 4, layers=2))
        raise InputError("english", "is of another kind")
    assert torch.equal(torch.get_rng_state(), drawn)
    assert vars(nn.init) == usual
    RecurrentStack(RecurrentConfig(3, 4))
    assert not torch.equal(torch.get_rng_state(), drawn)


def test_while_a_model_is_read_other_threads_draw_as_usual() -> None:
    torch.manual_seed(1)
    usual = RecurrentStack(RecurrentConfig(3, 4)).state_dict()
    torch.manual_seed(1)
    with without_initial_weights(), ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(lambda: RecurrentStack(RecurrentConfig(3, 4)).state_dict()).result()
    assert all(torch.equal(drawn[name], usual[name]) for name in usual)


def test_initialisation_is_orthogonal_with_an_open_forget_gate() -> None:
    stack = RecurrentStack(RecurrentConfig(4, 6, "lstm"))
    weights = {
        name: stack.get_parameter(f"layers.0.0.{name}") for name in ("weight_hh", "bias_ih", "bias_hh")
    }
    for gate in range(4):
        block = weights["weight_hh"][gate * 6 : gate * 6 + 6]
        torch.testing.assert_close(block @ block.T, torch.eye(6), atol=1e-5, rtol=0)
    bias = (weights["bias_ih"] + weights["bias_hh"]).view(4, 6)
    assert bias[1].eq(1).all() and not bias[[0, 2, 3]].any()


@pytest.mark.parametrize("lengths", [[0, 3], [4, 2], [3]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    stack = RecurrentStack(RecurrentConfig(2, 3))
    with pytest.raises(ValueError, match="lengths"):
        stack(torch.zeros(2, 3, 2), torch.tensor(lengths))


def test_a_dropped_feature_is_missing_at_all_steps_of_its_sequence_alone() -> None:
    torch.manual_seed(6)
    dropout = LockedDropout(0.25)
    dropped = dropout(torch.ones(50, 7, 40))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert float((dropped == 0.0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(dropped[0], dropped[1])
    x = torch.randn(2, 3, 4)
    assert torch.equal(dropout.eval()(x), x)


def test_a_step_in_training_drops_features_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    stack = RecurrentStack(RecurrentConfig(4, 50, "gru", 2, dropout=0.5))
    read: list[torch.Tensor] = []

    def noted(x: torch.Tensor, state: object) -> object:
        read.append(x)
        return state

    monkeypatch.setattr(stack.get_submodule("layers.1.0"), "step", noted)
    stack.step(torch.randn(3, 4), stack.init_state(3))
    dropped = read[0] == 0.0
    assert dropped.any(dim=1).all() and not dropped.all(dim=1).any()


@pytest.mark.parametrize("cell", CELLS)
def test_steps_in_8_bits_are_nearly_those(cell: Cell) -> None:
    torch.manual_seed(3)
    stack = RecurrentStack(RecurrentConfig(12, 40, cell, layers=2, normalization="layer")).eval()
    x = torch.randn(5, 12)
    state = tuple(torch.randn_like(part).tanh() for part in stack.init_state(5))
    with torch.no_grad():
        exact, exact_after = stack.step(x, state)
        stack.step_in_8_bits()
        quick, after = stack.step(x, state)
    assert not torch.equal(quick, exact)
    assert torch.allclose(quick, exact, atol=0.06)
    for part, exact_part in zip(after, exact_after, strict=True):
        assert torch.allclose(part, exact_part, atol=0.06)
    with torch.no_grad():  # each sequence as if it were alone
        alone = [
            stack.step(x[place : place + 1], tuple(part[:, place : place + 1] for part in state))
            for place in range(5)
        ]
    assert torch.allclose(quick, torch.cat([output for output, _ in alone]), atol=1e-6)


def test_a_bidirectional_stack_has_no_single_step() -> None:
    stack = RecurrentStack(RecurrentConfig(2, 3, bidirectional=True))
    with pytest.raises(ValueError, match="bidirectional"):
        stack.step(torch.zeros(1, 2), stack.init_state(1))
