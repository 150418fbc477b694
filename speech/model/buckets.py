"""Batches of like length: little of them is padding."""

from __future__ import annotations

from collections.abc import Sequence


def by_length(lengths: Sequence[int], budget: int, most: int | None = None) -> list[list[int]]:
    """Numbers of examples, shortest first, in batches that take at most `budget` with their padding.

    Args:
        lengths: of the examples, in whatever unit the budget counts.
        budget: for a batch; a longer example is a batch of its own.
        most: examples in a batch; None for any number.
    """
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda one: lengths[one]):
        count = len(batches[-1]) + 1 if batches else 0
        if not batches or count * lengths[number] > budget or (most is not None and count > most):
            batches.append([])
        batches[-1].append(number)
    return batches
