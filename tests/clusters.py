"""A Ray cluster of this machine for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.commands import cluster

TESTS = Path(__file__).parent
ATTEMPTS = 10  # where many tests run side by side, Ray comes up late


@contextmanager
def ray_cluster(*folders: Path) -> Iterator[None]:
    """A cluster whose workers find the suite, what the tests share, and modules in some folders."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, [TESTS.parent, TESTS, *folders])))
        patch.setattr(cluster, "_ATTEMPTS", ATTEMPTS)
        cluster.connect()
        try:
            yield
        finally:
            ray.shutdown()
