"""A model directory: `config.json`, `model.safetensors` and `README.md`; found, read, checked, written.

Weights are stored in half precision, or as 8-bit integers with one scale a row, and are float32 again
when they have been read. Tables of numbers, which repeat themselves as weights don't, are compressed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from common.core.quantized import quantize_rows
from common.errors import InputError
from common.files import clear_abandoned, part_of
from common.models.compressed import compress, decompress
from common.models.directory import CARD, COMPRESSED, CONFIG, WEIGHTS, aside, put_back
from common.models.directory import Storage as Storage
from common.models.directory import find_model as find_model

FORMAT_VERSION = 1

# Stands behind the name of an 8-bit tensor: its scales, one a row.
_SCALE = ":scale"
# Smaller tensors, and those with short rows (depthwise kernels), would save next to nothing in 8 bits.
_LEAST_ELEMENTS, _LEAST_ROW = 4096, 16
_LARGEST_HALF = torch.finfo(torch.float16).max


def read_model(directory: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a model directory.

    Returns:
        The configuration as it was written (tuples have become lists), and the tensors by name:
        floating-point ones as float32 whatever their storage, integers and truth values as they are.

    Raises:
        InputError: if a file is missing or corrupt, or was written by a later version.
    """
    put_back(directory)
    stored = _read_config(directory / CONFIG)
    pieces = stored.get("pieces")
    path = directory / (WEIGHTS if pieces is None else COMPRESSED)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != stored["sha256"]:
        raise InputError(path, f"is damaged or not the file that {CONFIG} describes; fetch the model again")
    try:
        tensors = _restored(load(data if pieces is None else decompress(data, pieces)))
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"is not a safetensors file of a model: {error}") from error
    return stored["config"], tensors


def write_model(
    directory: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    card: str,
    storage: Storage = "float16",
    compressed: bool = False,
) -> None:
    """Write a model directory, whole or not at all; an older model in its place is replaced.

    Args:
        directory: where; its parents are made.
        config: what rebuilds the network; must be JSON.
        tensors: a network's `state_dict()`, of any floating-point or integer types, on any device.
        card: the model card, Markdown.
        storage: "float16", or "int8": matrices and kernels as 8-bit integers with one scale an output
            row (a quarter of float32, at most 0.4 % of a row's largest weight off), the rest as float16.
        compressed: as an xz file, which takes a second for each 30 MB and core to read.

    Raises:
        InputError: if it cannot be written, or files that belong to no model would be lost.
    """
    if storage not in get_args(Storage):
        raise ValueError(f"storage must be one of {get_args(Storage)}, not {storage!r}")
    data = save(_packed(tensors, storage))
    pieces = None
    if compressed:
        data, pieces = compress(data)
    stored: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "storage": storage,
        "sha256": hashlib.sha256(data).hexdigest(),
        "config": dict(config),
    }
    if pieces is not None:
        stored["pieces"] = pieces
    text = json.dumps(stored, indent=1, ensure_ascii=False, allow_nan=False)
    files = {
        CONFIG: f"{text}\n".encode(),
        WEIGHTS if pieces is None else COMPRESSED: data,
        CARD: card.encode(),
    }
    try:
        _replace_directory(directory.resolve(), files)
    except OSError as error:
        raise InputError(directory, f"cannot be written: {error.strerror or error}") from error


def _read_config(path: Path) -> dict[str, Any]:
    """The checked content of `config.json`."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"is not JSON: {error}") from error
    if not isinstance(stored, dict) or "format_version" not in stored:
        raise InputError(path, "is not the configuration of a model: it has no format_version")
    if stored["format_version"] != FORMAT_VERSION:
        raise InputError(
            path,
            f"has format {stored['format_version']}, this version reads {FORMAT_VERSION}; upgrade the suite",
        )
    if not isinstance(stored.get("config"), dict) or not isinstance(stored.get("sha256"), str):
        raise InputError(path, "is not the configuration of a model: config or sha256 is missing")
    return stored


def _packed(tensors: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """The tensors as they are stored, with the scales of 8-bit ones."""
    packed: dict[str, Tensor] = {}
    for name, original in tensors.items():
        if name.endswith(_SCALE):
            raise ValueError(f"a tensor's name cannot end in {_SCALE}: {name}")
        tensor = original.detach().to("cpu", copy=True).contiguous()
        if not tensor.is_floating_point():
            packed[name] = tensor
        elif storage == "int8" and _fits_8_bits(tensor):
            packed[name], packed[name + _SCALE] = quantize_rows(tensor.float())
        else:
            # A weight beyond half precision's range would become infinite.
            fits = not tensor.isfinite().any() or tensor[tensor.isfinite()].abs().max() <= _LARGEST_HALF
            packed[name] = tensor.to(torch.float16 if fits else torch.float32)
    return packed


def _fits_8_bits(tensor: Tensor) -> bool:
    """Whether 8 bits save space, and lose no infinity."""
    if tensor.ndim < 2 or tensor.numel() < _LEAST_ELEMENTS:
        return False
    return tensor[0].numel() >= _LEAST_ROW and bool(tensor.isfinite().all())


def _restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stored tensors -> the tensors of the network."""
    restored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(_SCALE):
            continue
        if name + _SCALE in tensors:
            restored[name] = dequantize_rows(tensor, tensors[name + _SCALE])
        else:
            restored[name] = tensor.float() if tensor.is_floating_point() else tensor
    return restored


def dequantize_rows(integers: Tensor, scales: Tensor) -> Tensor:
    """int8 (rows, ...) and scales (rows,) -> float32 (rows, ...)."""
    return integers.float() * scales.view(-1, *[1] * (integers.ndim - 1))


def _replace_directory(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write the files to a directory beside it, then let that take its place."""
    put_back(directory)
    if directory.exists():
        strangers = sorted({path.name for path in directory.iterdir()} - {*files, WEIGHTS, COMPRESSED})
        if strangers:
            raise InputError(directory, f"holds other files ({strangers[0]}); choose a new directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(directory.parent)
    part, old = part_of(directory), aside(directory)
    part.mkdir()
    try:
        for name, data in files.items():
            with (part / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if directory.exists():
            shutil.rmtree(old, ignore_errors=True)
            directory.rename(old)
        # A process that is killed here leaves the old model aside; whoever asks for it puts it back.
        try:
            part.rename(directory)
        except OSError:
            put_back(directory)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
