"""Batches in an order that can be taken up midway, and shared among processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

Batch = TypeVar("Batch")


class ResumableBatches(Generic[Batch]):
    """Batches in an order that depends on the seed and the epoch alone, and that can be taken up midway.

    Args:
        plan: epoch and generator -> the epoch's batches, each some examples as `collate` takes them; every
            epoch must have equally many.
        collate: examples and generator -> a batch. The generator is the batch's own, so that
            augmentation is the same after a resume.
        seed: of both.

    Processes that train side by side (`share`) take turns: each has every n-th batch of the one order, and
    what is left over at an epoch's end is left out.
    """

    def __init__(
        self,
        plan: Callable[[int, np.random.Generator], Sequence[Any]],
        collate: Callable[[Any, np.random.Generator], Batch],
        seed: int,
    ) -> None:
        self.plan = plan
        self.collate = collate
        self.seed = seed
        self.epoch = 0
        self.next_batch = 0
        self._process, self._processes = 0, 1
        self._planned = len(plan(0, np.random.default_rng([seed, 0])))

    def share(self, process: int, processes: int) -> None:
        """Give this process its share: of every `processes` batches the one with number `process`."""
        self._process, self._processes = process, processes

    def __len__(self) -> int:
        return self._planned // self._processes

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the epoch; the next one begins when all of it has been taken."""
        order = self.plan(self.epoch, np.random.default_rng([self.seed, self.epoch]))
        if len(order) != self._planned:
            raise ValueError(f"epoch {self.epoch} has {len(order)} batches, the first had {self._planned}")
        while self.next_batch < len(self):
            number = self.next_batch * self._processes + self._process
            self.next_batch += 1
            yield self.collate(order[number], np.random.default_rng([self.seed, self.epoch, number, 1]))
        self.epoch, self.next_batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Where the order stands."""
        return {"epoch": self.epoch, "next_batch": self.next_batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a kept state."""
        self.epoch, self.next_batch = state["epoch"], state["next_batch"]
