"""The state of a run as bytes: numbers, names and tensors, and no program."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from common.errors import InputError


def pack(state: dict[str, Any]) -> bytes:
    """A state, in the form of `torch.save`."""
    buffer = BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, Any]:
    """The state that `pack` was given, on the processor; what would have to be unpickled is refused."""
    state: dict[str, Any] = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    return state


def read_checkpoint(path: Path, processes: int) -> dict[str, Any] | None:
    """The state in a checkpoint, on the processor; None if there is no such file.

    Args:
        path: of the checkpoint.
        processes: that are to go on with it.

    Raises:
        InputError: if it is damaged, holds anything that would have to be unpickled, or was written by
            another number of processes or by Lightning, which trained here before.
    """
    if not path.is_file():
        return None
    try:
        state = unpack(path.read_bytes())
        lightning = "pytorch-lightning_version" in state
        before = None if lightning else state["processes"]
    except Exception as error:  # a damaged file makes PyTorch raise almost anything
        reason = str(error).split("\n")[0][:120]
        way_out = "remove it to begin the run again"
        raise InputError(path, f"is no checkpoint of a run ({reason}); {way_out}") from error
    if lightning:
        raise InputError(path, "was written by an earlier version (Lightning); choose a new directory")
    if before != processes:
        raise InputError(path, f"was written by {before} processes, not {processes}; go on with as many")
    return state
