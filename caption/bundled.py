"""Where the models that ship lie."""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).parent / "models"
