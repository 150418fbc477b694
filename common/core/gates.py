"""What the gates of a recurrent stack do at each step, computed from its weights so that a person can look.

Comes in: a stack and the sequences that it reads. Goes out: each gate's values over time. The core runs
PyTorch's fused loops, which show their outputs alone; here the same equations stand one by one:

    LSTM   input, forget, output = sigmoid(W x + U h + b), one row block each    (Hochreiter and Schmidhuber
           new = tanh(W x + U h + b)                                             1997; forget gate: Gers et
           memory = forget * memory before + input * new                         al. 2000)
           hidden = output * tanh(memory)

    GRU    reset, update = sigmoid(W x + b + U h + c)                            (Cho et al. 2014,
           new = tanh(W x + b + reset * (U h + c))                               arXiv:1406.1078)
           hidden = update * hidden before + (1 - update) * new
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.core.recurrent import Cell, RecurrentStack, State

# name -> (batch, steps, hidden)
Trace = dict[str, Tensor]


class Reading(NamedTuple):
    """What a stack was given to read.

    Attributes:
        x: (batch, steps, input_size).
        state: before the first step; None if it started afresh.
    """

    x: Tensor
    state: State | None


@contextmanager
def readings(network: nn.Module) -> Iterator[dict[str, Reading]]:
    """Note what the recurrent stacks of a network read while the block runs, for `trace_gates`.

    Args:
        network: of any kind; stacks are found by themselves, wherever they are in it.

    Yields:
        By the stack's name in the network what it read last, as a whole sequence or step by step; filled when
        the block ends. Stacks that read nothing are left out.
    """
    found: dict[str, Reading] = {}
    steps: dict[str, list[tuple[Tensor, State]]] = {}
    stacks = {name: one for name, one in network.named_modules() if isinstance(one, RecurrentStack)}
    hooks = [
        one.register_forward_pre_hook(_noting(name, found), with_kwargs=True) for name, one in stacks.items()
    ]
    for name, stack in stacks.items():
        object.__setattr__(stack, "step", _noting_steps(stack, steps.setdefault(name, [])))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
        for stack in stacks.values():
            object.__delattr__(stack, "step")
    for name, several in steps.items():
        if several:
            found[name] = Reading(torch.stack([x for x, _ in several], dim=1), several[0][1])


def _noting(name: str, found: dict[str, Reading]) -> Any:
    """A hook that notes what a stack reads as a whole."""

    def note(stack: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        state = given[2] if len(given) > 2 else named.get("state")
        found[name] = Reading(given[0].detach(), state)

    return note


def _noting_steps(stack: RecurrentStack, steps: list[tuple[Tensor, State]]) -> Any:
    """The stack's `step`, which notes what it reads."""
    original = stack.step

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        steps.append((x.detach(), state))
        return original(x, state)

    return step


def trace_gates(stack: RecurrentStack, x: Tensor, state: State | None = None) -> list[list[Trace]]:
    """Read sequences step by step and keep what every gate did.

    Args:
        stack: in evaluation mode, where dropout is off.
        x: (batch, steps, input_size), sequences that fill the batch.
        state: what the stack remembers of earlier steps; None to start afresh.

    Returns:
        For each layer and each of its directions the values (batch, steps, hidden) by name, as above; plain
        cells have `hidden` alone. The backward direction's stand at the step that it had read last.

    Raises:
        ValueError: for a stack that trains, whose dropout draws anew at each reading.
    """
    if stack.training and stack.config.dropout > 0.0:
        raise ValueError("dropout would draw anew; call eval() first")
    if state is None:
        state = stack.init_state(len(x))
    traces: list[list[Trace]] = []
    for index, directions in enumerate(stack.layers):
        if index > 0:
            x = stack.norms[index - 1](x)
        of_layer = []
        for side, direction in enumerate(cast(nn.ModuleList, directions)):
            before = tuple(part[index * stack.config.directions + side] for part in state)
            trace = _trace_direction(stack.config.cell, direction, x if side == 0 else x.flip(1), before)
            of_layer.append(trace if side == 0 else {name: part.flip(1) for name, part in trace.items()})
        traces.append(of_layer)
        x = torch.cat([trace["hidden"] for trace in of_layer], dim=-1)
    return traces


def _trace_direction(cell: Cell, direction: nn.Module, x: Tensor, state: State) -> Trace:
    """One direction of one layer: x (batch, steps, input), state of (batch, hidden)."""
    weights = dict(direction.named_parameters())
    from_inputs = F.linear(x, weights["weight_ih"], weights["bias_ih"])  # (batch, steps, gates * hidden)
    steps = []
    for from_input in from_inputs.unbind(1):
        from_hidden = F.linear(state[0], weights["weight_hh"], weights["bias_hh"])
        values, state = _step(cell, from_input, from_hidden, state)
        steps.append(values)
    return {name: torch.stack([values[name] for values in steps], dim=1) for name in steps[0]}


def _step(cell: Cell, from_input: Tensor, from_hidden: Tensor, state: State) -> tuple[Trace, State]:
    """The equations: what input and hidden vector bring (batch, gates * hidden) -> each gate, the state."""
    if cell == "lstm":
        enter, forget, new, leave = (from_input + from_hidden).chunk(4, dim=1)
        values = {"input": enter.sigmoid(), "forget": forget.sigmoid(), "new": new.tanh()}
        values["output"] = leave.sigmoid()
        values["memory"] = values["forget"] * state[1] + values["input"] * values["new"]
        values["hidden"] = values["output"] * values["memory"].tanh()
        return values, (values["hidden"], values["memory"])
    if cell == "gru":
        reset_in, update_in, new_in = from_input.chunk(3, dim=1)
        reset_hidden, update_hidden, new_hidden = from_hidden.chunk(3, dim=1)
        values = {
            "reset": (reset_in + reset_hidden).sigmoid(),
            "update": (update_in + update_hidden).sigmoid(),
        }
        values["new"] = (new_in + values["reset"] * new_hidden).tanh()
        values["hidden"] = values["update"] * state[0] + (1.0 - values["update"]) * values["new"]
        return values, (values["hidden"],)
    total = from_input + from_hidden
    hidden = total.tanh() if cell == "rnn_tanh" else total.relu()
    return {"hidden": hidden}, (hidden,)
