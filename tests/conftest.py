"""How all tests run: one thread, and no stopwatch on property tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The networks of the tests are tiny: on a busy machine several threads would wait for each other. PyTorch
# reads this when it is imported, and so do the programs that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture
def threads_restored() -> Iterator[None]:
    """PyTorch's threads afterwards are as many as before, whatever the test sets."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
