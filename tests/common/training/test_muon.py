"""Muon beside PyTorch's own, and beside AdamW where no gates are named."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from common.training.muon import Muon, orthogonalized


def test_singular_values_come_near_one_and_directions_stay() -> None:
    torch.manual_seed(1)
    for rows, columns in ((24, 40), (40, 24), (32, 32)):
        spread = torch.logspace(0.0, -1.0, columns)
        matrix = torch.randn(rows, columns) * spread
        found = orthogonalized(matrix)
        assert found.shape == matrix.shape
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        between = left.T @ found @ right.T
        held = values > 0.01 * matrix.norm()
        gains = between.diagonal()[held]
        assert gains.min() > 0.4 and gains.max() < 1.7
        assert torch.allclose(between, torch.diag(between.diagonal()), atol=1e-3)


def test_eight_bits_are_enough_for_a_direction() -> None:
    torch.manual_seed(6)
    matrix = torch.randn(64, 96) * torch.logspace(0.0, -2.0, 96)
    whole, half = orthogonalized(matrix), orthogonalized(matrix.bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.cosine_similarity(whole.flatten(), half.float().flatten(), dim=0) > 0.99
    first, second = nn.Parameter(torch.zeros(64, 96)), nn.Parameter(torch.zeros(64, 96))
    for parameter, small in ((first, False), (second, True)):
        groups: list[dict[str, Any]] = [{"params": [parameter], "gates": 1, "weight_decay": 0.0}]
        _moved(Muon(groups, 0.01, (0.9, 0.98), half=small), parameter, [matrix])
    assert second.dtype == torch.float32 and not torch.equal(first, second)
    assert torch.cosine_similarity(first.flatten(), second.flatten(), dim=0) > 0.99


def test_a_zero_gradient_moves_nothing() -> None:
    assert torch.equal(orthogonalized(torch.zeros(3, 5)), torch.zeros(3, 5))


def _moved(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradients: list[Tensor]) -> Tensor:
    start = parameter.detach().clone()
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach() - start


def test_one_gate_moves_as_with_pytorchs_muon() -> None:
    torch.manual_seed(2)
    weight, gradients = torch.randn(32, 48), [torch.randn(32, 48) for _ in range(3)]
    mine, reference = nn.Parameter(weight.clone()), nn.Parameter(weight.clone())
    ours = Muon([{"params": [mine], "gates": 1, "weight_decay": 0.1}], 0.01, (0.9, 0.98))
    theirs = torch.optim.Muon([reference], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    one, other = _moved(ours, mine, gradients).flatten(), _moved(theirs, reference, gradients).flatten()
    assert torch.cosine_similarity(one, other, dim=0) > 0.95
    assert 0.8 < one.norm() / other.norm() < 1.25


def test_each_gate_moves_equally_far_however_small_its_gradient() -> None:
    torch.manual_seed(3)
    parameter = nn.Parameter(torch.zeros(4 * 16, 24))
    scales = torch.tensor([1.0, 1e-2, 1e-4, 1e2]).repeat_interleave(16).unsqueeze(1)
    optimizer = Muon([{"params": [parameter], "gates": 4, "weight_decay": 0.0}], 0.01, (0.9, 0.98))
    moved = _moved(optimizer, parameter, [torch.randn(4 * 16, 24) * scales])
    norms = torch.stack([gate.norm() for gate in moved.chunk(4)])
    assert norms.max() < 1.3 * norms.min()


def test_without_gates_it_is_adamw() -> None:
    torch.manual_seed(4)
    weight, gradients = torch.randn(6, 7), [torch.randn(6, 7) for _ in range(4)]
    mine, reference = nn.Parameter(weight.clone()), nn.Parameter(weight.clone())
    groups: list[dict[str, Any]] = [{"params": [mine], "weight_decay": 0.1}]
    ours = Muon(groups, 0.01, (0.9, 0.98))
    theirs = torch.optim.AdamW([reference], lr=0.01, betas=(0.9, 0.98), weight_decay=0.1)
    assert torch.equal(_moved(ours, mine, gradients), _moved(theirs, reference, gradients))


def test_it_goes_on_from_a_kept_state() -> None:
    torch.manual_seed(5)
    matrix, bias = torch.randn(8, 6), torch.randn(8)
    gradients = [(torch.randn(8, 6), torch.randn(8)) for _ in range(4)]

    def optimized() -> tuple[Muon, nn.Parameter, nn.Parameter]:
        first, second = nn.Parameter(matrix.clone()), nn.Parameter(bias.clone())
        groups: list[dict[str, Any]] = [
            {"params": [first], "gates": 2, "weight_decay": 0.1},
            {"params": [second], "weight_decay": 0.0},
        ]
        return Muon(groups, 0.01, (0.9, 0.98)), first, second

    def steps(optimizer: Muon, first: nn.Parameter, second: nn.Parameter, some: slice) -> None:
        for one, other in gradients[some]:
            first.grad, second.grad = one.clone(), other.clone()
            optimizer.step()

    whole, first, second = optimized()
    steps(whole, first, second, slice(0, 4))
    begun, begun_first, begun_second = optimized()
    steps(begun, begun_first, begun_second, slice(0, 2))
    resumed, resumed_first, resumed_second = optimized()
    with torch.no_grad():
        resumed_first.copy_(begun_first)
        resumed_second.copy_(begun_second)
    resumed.load_state_dict(begun.state_dict())
    steps(resumed, resumed_first, resumed_second, slice(2, 4))
    assert torch.equal(resumed_first, first) and torch.equal(resumed_second, second)
