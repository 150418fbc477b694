"""A Ray cluster of this machine for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.commands.cluster import connect
from common.errors import InputError

ROOT = Path(__file__).parents[1]
_ATTEMPTS = 5  # Ray gives up within seconds where the machine is busy


@contextmanager
def ray_cluster(*folders: Path) -> Iterator[None]:
    """A cluster whose workers find the suite and modules in some folders."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, [ROOT, *folders])))
        for attempt in range(_ATTEMPTS):
            try:
                connect()
                break
            except InputError:
                ray.shutdown()
                if attempt == _ATTEMPTS - 1:
                    raise
        try:
            yield
        finally:
            ray.shutdown()
