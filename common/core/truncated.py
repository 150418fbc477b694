"""Truncated back-propagation through time: long sequences, learned in the memory that a piece takes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from common.core.recurrent import RecurrentStack, State


def backward_in_pieces(
    forward: Callable[[Tensor, State | None], tuple[Tensor, State]],
    loss: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    targets: Tensor,
    steps: int,
) -> float:
    """Truncated back-propagation through time: the state goes on from piece to piece, the gradient does not.

    A long sequence is learned in memory for `steps` steps; what lies further back is remembered, but not
    blamed (Williams and Peng 1990, doi:10.1162/neco.1990.2.4.490). Gradients are added to the parameters'.

    Args:
        forward: a piece (batch, at most `steps`, features) and the state before it (None at the start) ->
            outputs and the state after it.
        loss: outputs and targets of a piece -> the sum of its losses.
        x: (batch, all steps, features).
        targets: (batch, all steps, ...).
        steps: of a piece.

    Returns:
        The loss of the whole sequence.
    """
    state: State | None = None
    total = 0.0
    for piece, wanted in zip(x.split(steps, dim=1), targets.split(steps, dim=1), strict=True):
        outputs, state = forward(piece, state)
        value = loss(outputs, wanted)
        value.backward()
        total += float(value.detach())
        state = RecurrentStack.detach(state)
    return total
