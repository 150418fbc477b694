"""What is computed faster than PyTorch's own layers: nearly, or to the last digits, the same."""

from __future__ import annotations

import pytest
import torch

from common.core.quantized import Packed, can_multiply_in_8_bits, fast_tanh, quantize_rows

needs_8_bits = pytest.mark.skipif(
    not can_multiply_in_8_bits(torch.device("cpu")), reason="PyTorch has no products in 8 bits here"
)


def test_the_fast_hyperbolic_tangent_is_the_hyperbolic_tangent() -> None:
    x = torch.cat([torch.linspace(-12.0, 12.0, 4001), torch.tensor([-1e30, -1e-6, 0.0, 1e-6, 1e30])])
    given = x.clone()
    torch.testing.assert_close(fast_tanh(x), x.tanh(), atol=3e-7, rtol=0.0)
    assert torch.equal(x, given) and float(fast_tanh(torch.zeros(1))) == 0.0
    assert fast_tanh(torch.tensor([torch.nan])).isnan().all()


def test_gradients_go_through_the_fast_hyperbolic_tangent() -> None:
    x = torch.linspace(-3.0, 3.0, 50, requires_grad=True)
    (gradient,) = torch.autograd.grad(fast_tanh(x).sum(), x)
    torch.testing.assert_close(gradient, 1.0 - x.detach().tanh() ** 2)


@needs_8_bits
def test_what_is_added_to_a_product_may_differ_for_each_vector() -> None:
    torch.manual_seed(0)
    weights, own = torch.randn(6, 40), torch.randn(6)
    vectors, others = 100.0 * torch.randn(3, 40), torch.randn(3, 6)
    layer = Packed(weights, own)
    exact = vectors @ weights.T
    assert (layer(vectors) - own - exact).abs().max() < 0.02 * exact.abs().max()
    torch.testing.assert_close(
        layer(vectors, bias=others) - others, layer(vectors) - own, atol=1e-3, rtol=0.0
    )
    torch.testing.assert_close(layer(vectors.view(3, 1, 40)), layer(vectors).view(3, 1, 6))


@needs_8_bits
def test_weights_of_a_model_in_8_bits_are_taken_as_they_are() -> None:
    torch.manual_seed(1)
    integers, scales = quantize_rows(torch.randn(5, 8))
    weights = integers * scales[:, None]
    again, same = quantize_rows(weights)
    assert torch.equal(again, integers)
    torch.testing.assert_close(same, scales)
