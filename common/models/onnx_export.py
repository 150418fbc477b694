"""A network as an ONNX graph that carries what somebody without this suite has to know.

Comes in: a network, example inputs, names, metadata. Goes out: a graph, and from it one file, written whole
or not at all.
"""

from __future__ import annotations

import importlib
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.files import write_whole

if TYPE_CHECKING:
    from onnx import ModelProto

# Of 2021, so that runtimes of any age read it; LayerNorm is an operator of its own from here on.
OPSET = 17


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: as it is called in the file.
        axes: the name of every axis whose length is free, by its position.
    """

    name: str
    axes: Mapping[int, str]


def to_onnx(
    network: nn.Module,
    example: tuple[Tensor, ...],
    inputs: tuple[Port, ...],
    outputs: tuple[Port, ...],
    metadata: Mapping[str, Any],
) -> ModelProto:
    """A network as an ONNX graph.

    Args:
        network: in inference mode; it takes and gives tensors only, and its Python must not depend on
            what they hold or how long they are: it is run once, and what was done is written down.
        example: inputs of any values, every axis longer than 1.
        inputs, outputs: in the order of the network's own.
        metadata: kept in the file, each value as JSON.

    Raises:
        InputError: if the package onnx is missing.
    """
    onnx = require("onnx")
    traced = io.BytesIO()
    with warnings.catch_warnings():
        # PyTorch's newer exporter needs another package, and writes what runtimes of two years ago refuse.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            example,
            traced,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=[port.name for port in inputs],
            output_names=[port.name for port in outputs],
            dynamic_axes={port.name: dict(port.axes) for port in (*inputs, *outputs)},
        )
    model = onnx.load_model_from_string(traced.getvalue())
    onnx.helper.set_model_props(
        model, {name: json.dumps(value, ensure_ascii=False) for name, value in metadata.items()}
    )
    onnx.checker.check_model(model)
    return model


def write_onnx(model: ModelProto, path: Path) -> None:
    """Write a graph; an older file is replaced.

    Raises:
        InputError: if it cannot be written.
    """
    write_whole(path, model.SerializeToString())


def require(package: str) -> ModuleType:
    """A package that nothing but the export needs.

    Raises:
        InputError: if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise InputError(name, f"the export needs this package: pip install {name}") from error
