"""The models that ship."""

from __future__ import annotations

from pathlib import Path

from common.models.directory import bundled_names

BUNDLED = Path(__file__).parent / "models"


def available_models() -> list[str]:
    """The names of the models that ship, each of which `load` takes."""
    return bundled_names(BUNDLED)
