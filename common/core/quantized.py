"""What is computed several times faster than PyTorch's own layers do it, where nothing is learned.

Products in 8 bits where a few vectors meet a large matrix, as in single steps; in bfloat16 where whole
sequences do; and the hyperbolic tangent.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor


def can_multiply_in_8_bits(device: torch.device) -> bool:
    """Whether PyTorch has such products for a device."""
    return device.type == "cpu" and torch.backends.quantized.engine != "none"


def multiplies_bfloat16_faster(device: torch.device) -> bool:
    """Whether a processor has instructions for bfloat16: an LSTM is then about twice as fast.

    Twice with AVX-512's (AMD's since Zen 4, some of Intel's), three times with Intel's matrix units (AMX).
    PyTorch says so since 2.11; of older ones nothing is expected.
    """
    tell = getattr(torch.cpu, "get_capabilities", dict)
    there: dict[str, Any] = tell() if device.type == "cpu" else {}
    if not (there.get("amx_bf16", False) or there.get("avx512_bf16", False)):
        return False
    return can_compute_in_bfloat16("lstm", device.type)


def fast_tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent by way of the sigmoid, of which PyTorch computes five to ten in the same time.

    2 sigmoid(2 x) - 1, two ten-millionths off at most. Where something learns it is PyTorch's own, which
    needs less memory to go back by.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return x.tanh()
    return (2.0 * x).sigmoid_().mul_(2.0).sub_(1.0)


@functools.cache
def can_compute_in_bfloat16(cell: str, device: str = "cpu") -> bool:
    """Whether a recurrent layer can be computed and learn in bfloat16 on a device: one tiny step is tried.

    No capability of the processor says so. PyTorch has oneDNN compute an LSTM in bfloat16, and on a processor
    without instructions for bfloat16 it refuses; other cells, and everything else, then take longer.

    Args:
        cell: "lstm", "gru", "rnn_tanh" or "rnn_relu".
        device: "cpu", "cuda" or "mps".
    """
    rows = {"lstm": 4, "gru": 3}.get(cell, 1)
    x = torch.zeros(1, 1, 1, device=device)
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, torch.bfloat16):
            matrices = [torch.zeros(rows, 1, device=device, requires_grad=True) for _ in range(2)]
            biases = [torch.zeros(rows, device=device) for _ in range(2)]
            first = (x, x) if cell == "lstm" else x
            # (input, state, weights, biases?, layers, dropout, training?, bidirectional?, batch first?)
            outputs = getattr(torch, cell)(x, first, [*matrices, *biases], True, 1, 0.0, True, False, True)[0]
            outputs.float().sum().backward()
    except RuntimeError:
        return False
    return True


def quantize_rows(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric 8-bit weights, one scale a row.

    Args:
        weights: (rows, ...), float32.

    Returns:
        int8 (rows, ...) in -127 to 127 and the scales (rows,): weights = integers * scale.
    """
    rows = weights.flatten(1)
    scales = rows.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / 127.0
    integers = (rows / scales.unsqueeze(1)).round().clamp(-127, 127).to(torch.int8)
    return integers.view(weights.shape), scales


class Packed:
    """A linear layer's weights in the form that 8-bit products take.

    The scales are those of a model directory in 8 bits, so that a model that was read from one loses nothing.

    Args:
        weights: (outputs, inputs).
        bias: (outputs,).
    """

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        integers, scales = quantize_rows(weights.detach().float())
        quantized = torch._make_per_channel_quantized_tensor(
            integers, scales.double(), torch.zeros(len(scales), dtype=torch.long), 0
        )
        self.bias = bias.detach().float()
        self._packed: Any = torch.ops.quantized.linear_prepack(quantized, None)
        # PyTorch rounds vectors by the lowest and the highest number among all of them. With this one beside
        # them, and each stretched to its own highest, what a vector becomes depends on no other.
        self._span = torch.zeros(1, weights.shape[1])
        self._span[0, 0], self._span[0, -1] = 1.0, -1.0

    def __call__(self, vectors: Tensor, bias: Tensor | None = None) -> Tensor:
        """(..., inputs) times the weights, plus bias: (..., outputs), each vector as if it were alone.

        Args:
            vectors: (..., inputs), any number.
            bias: in place of the layer's own: (outputs,), or (vectors, outputs).
        """
        if vectors.ndim != 2:
            return self(vectors.flatten(0, -2), bias).unflatten(0, vectors.shape[:-1])
        highest = vectors.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
        spread = torch.cat([vectors / highest, self._span])
        # The reduced range keeps processors without the newest instructions from overflowing.
        product = torch.ops.quantized.linear_dynamic(spread, self._packed, reduce_range=True)[:-1]
        return torch.addcmul(self.bias if bias is None else bias, product, highest)
