"""A network from a model directory that anybody may have made: nothing is built before it is known to fit.

A configuration of a few bytes could otherwise ask for a network of gigabytes, or of a billion layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from common.core.recurrent import without_initial_weights
from common.errors import InputError

Network = TypeVar("Network", bound=nn.Module)

_MOST_LAYERS = 64


def require_sizes(
    stored: Mapping[str, Any], weights: Mapping[str, Tensor], directory: Path, kind: str
) -> None:
    """Make sure that no size in a configuration is beyond what the weights can be of.

    Args:
        stored: the configuration, as `read_model` gives it.
        weights: of the network.
        directory: where both come from, for the error.
        kind: what the model should be: "a speech model".

    Raises:
        InputError: if a size (`..._size`, `channels`) is larger than every dimension of the weights, or the
            number of layers is none of a network.
    """
    largest = max((size for tensor in weights.values() for size in tensor.shape), default=0)
    elements = sum(tensor.numel() for tensor in weights.values())
    for name, value in stored.items():
        if name.endswith("layers"):
            fits = type(value) is int and 1 <= value <= _MOST_LAYERS
        elif name.endswith("_size") or name == "channels":
            fits = type(value) is int and 1 <= value <= largest
            # A recurrent matrix has at least as many elements.
            fits = fits and (name != "hidden_size" or value * value <= elements)
        else:
            continue
        if not fits:
            raise InputError(directory, f"is not {kind}: {name} {value!r} does not fit its weights")


def fitting_network(
    make: Callable[[], Network], weights: Mapping[str, Tensor], directory: Path, kind: str
) -> Network:
    """Build a network and give it its weights; first without memory, to see whether they fit.

    Args:
        make: builds the network; whatever it raises, the configuration is to blame.
        weights: of the network.
        directory: where they come from, for the error.
        kind: as in `require_sizes`.

    Raises:
        InputError: if it cannot be built, or the weights are of another shape.
    """
    try:
        with torch.device("meta"), without_initial_weights():
            wanted = {name: tensor.shape for name, tensor in make().state_dict().items()}
    except InputError:
        raise
    except Exception as error:  # a configuration may be wrong in any way
        raise InputError(directory, f"is not {kind}: {error}") from error
    if wanted != {name: tensor.shape for name, tensor in weights.items()}:
        raise InputError(directory, f"is not {kind}: config and weights do not match")
    with without_initial_weights():
        network = make()
    network.load_state_dict(dict(weights))
    return network
