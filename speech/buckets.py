"""Batches of like length: little of them is padding."""

from __future__ import annotations

from collections.abc import Sequence


def by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Numbers of examples, shortest first, in batches that take at most `budget` with their padding.

    Args:
        lengths: of the examples, in whatever unit the budget counts.
        budget: for a batch; a longer example is a batch of its own.
    """
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda one: lengths[one]):
        if not batches or (len(batches[-1]) + 1) * lengths[number] > budget:
            batches.append([])
        batches[-1].append(number)
    return batches
