"""What this machine can train with: which device, in which precision."""

from __future__ import annotations

import torch
from torch import nn

from common.commands.options import Device, Precision
from common.core.quantized import can_compute_in_bfloat16
from common.core.recurrent import RecurrentStack
from common.errors import InputError
from common.training.progress import say


def training_device(device: Device, local_rank: int = 0) -> torch.device:
    """The device that is meant; "auto" is the fastest. Processes of a machine take its CUDA devices in turn.

    Raises:
        InputError: if this machine has none.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    kind = next(name for name, is_there in there.items() if is_there) if device == "auto" else device
    if not there[kind]:
        raise InputError("device", f"this machine has no {kind}; there is always cpu")
    return (
        torch.device(kind, local_rank % torch.cuda.device_count()) if kind == "cuda" else torch.device(kind)
    )


def usable_precision(network: nn.Module, precision: Precision, device: str) -> Precision:
    """The precision that is asked for; float32 where the network cannot be computed in it, which is said."""
    cells = {stack.config.cell for stack in network.modules() if isinstance(stack, RecurrentStack)}
    impossible = sorted(cell for cell in cells if not can_compute_in_bfloat16(cell, device))
    if precision == "32-true" or not impossible:
        return precision
    what = " and ".join(cell.upper() for cell in impossible)
    say(f"{precision}: this {device} has no {what} in bfloat16; training in float32")
    return "32-true"
