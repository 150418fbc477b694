"""Muon for recurrent layers: each gate's matrix moves in all of its directions equally fast.

A gradient of a weight matrix has a few strong directions and many weak ones. Muon (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/) makes the singular values of each step nearly equal, so the weak
directions learn as well. A recurrent layer stacks the matrices of its gates; they differ in scale and in
purpose, so each gate has a step of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

# a, b, c of x -> a x + (b A + c A^2) x with A = x x^T, for the first iterations in turn: the best polynomials
# for singular values from 0.001 to 1 (Amsel et al. 2025, arXiv:2505.16932, table 1).
_POLYNOMIALS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
)
_MOMENTUM = 0.95
_RMS = 0.2  # root mean square of an AdamW step over its learning rate (Liu et al. 2025, arXiv:2502.16982)


class Muon(torch.optim.AdamW):
    """AdamW, and Muon for those parameter groups that say `gates`.

    Both take steps of about the same size, so one learning rate does for both.

    Args:
        groups: parameter groups as AdamW's. A group with `gates=n` holds matrices (n * rows, columns), which
            are n matrices (rows, columns) on each other.
        lr: learning rate.
        betas: AdamW's.
        half: makes the matrices of a step orthogonal in bfloat16, whose eight bits are enough for it.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], lr: float, betas: tuple[float, float], half: bool = False
    ) -> None:
        super().__init__(list(groups), lr=lr, betas=betas)
        self._dtype = torch.bfloat16 if half else torch.float32
        # A hook, and no `step` of its own, so that a step stays one step to whoever counts them.
        self.register_step_pre_hook(lambda *_: self._move_gates())

    @torch.no_grad()
    def _move_gates(self) -> None:
        """Move the groups with `gates`, and use up their gradients, so that AdamW passes over them."""
        for group in self.param_groups:
            if "gates" not in group:
                continue
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)
                    parameter.grad = None

    def _step(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        """Move one stack of matrices."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
            state["step"] = torch.tensor(0.0)  # AdamW looks for it in a kept state
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1.0 - _MOMENTUM)
        ahead = gradient.lerp(momentum, _MOMENTUM)  # Nesterov's
        parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        for matrix, direction in zip(
            parameter.chunk(group["gates"]), ahead.chunk(group["gates"]), strict=True
        ):
            size = group["lr"] * _RMS * max(matrix.shape) ** 0.5
            matrix.sub_(orthogonalized(direction.to(self._dtype)), alpha=size)


def orthogonalized(matrix: Tensor) -> Tensor:
    """The matrix with all of its singular values near 1: (rows, columns) -> (rows, columns).

    They come out between 0.5 and 1.6 for all that are above a hundredth of the matrix's norm, which is near
    enough for a step, and takes a tenth of the time of a decomposition.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (1.01 * wide.norm() + 1e-12)
    for a, b, c in _POLYNOMIALS:
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if wide is matrix else x.T
