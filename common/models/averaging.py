"""Several trained models of one shape become one: the weighted mean of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from common.errors import InputError, OptionError
from common.models.files import Storage, find_model, read_model, write_model

_MAY_DIFFER = {"dropout", "frequencies"}  # of the training, not of the shape


def average(
    models: Sequence[str | Path],
    shares: Sequence[float] | None,
    output: Path,
    bundled: Path,
    title: str,
    storage: Storage = "float16",
) -> None:
    """Write the mean of models that grew from one another, or from one start.

    Such models lie in one valley of the loss, and what lies between them is often better than each (Wortsman
    et al. 2022, "Model soups", arXiv:2203.05482). Only the weights and their configuration are written.

    Args:
        models: bundled names or model directories; the configuration is that of the last one.
        shares: of each in the mean; their sum need not be 1. None: all count the same.
        output: model directory to write.
        bundled: where models with a name lie.
        title: of the model's page.
        storage: of the weights; see `write_model`.

    Raises:
        InputError: if a model cannot be read, shapes differ, or shares and models do not fit together.
    """
    shares = shares or [1.0] * len(models)
    if len(shares) != len(models):
        raise OptionError("shares", f"{len(shares)} shares for {len(models)} models; give one for each")
    total = sum(shares)
    if total <= 0.0:
        raise OptionError("shares", "must add up to more than 0")
    read = [read_model(find_model(model, bundled)) for model in models]
    config, last = read[-1]
    for model, (other, _) in zip(models, read, strict=True):
        unlike = {name for name in {*config, *other} - _MAY_DIFFER if config.get(name) != other.get(name)}
        if unlike:
            raise InputError(model, f"is of another shape than {models[-1]}: {', '.join(sorted(unlike))}")
    weighed = [(share / total, tensors) for share, (_, tensors) in zip(shares, read, strict=True)]
    mean = {
        name: torch.stack([share * one[name] for share, one in weighed]).sum(dim=0)
        if tensor.is_floating_point()
        else tensor  # a count
        for name, tensor in last.items()
    }
    parts = ", ".join(f"{share:g} of {model}" for share, model in zip(shares, models, strict=True))
    write_model(output, config, mean, f"# {title}\n\nThe mean of {parts}.\n", storage)
