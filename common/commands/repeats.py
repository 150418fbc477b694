"""What stands more than once among very many: told from eight bytes for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)


def repeated(things: Callable[[], Iterable[Thing]], count: int) -> set[Thing]:
    """Those that stand more than once.

    Args:
        things: gives them anew, each time that it is called.
        count: how many they are.
    """
    import numpy as np

    hashes = np.fromiter(map(hash, things()), np.int64, count)
    hashes.sort()
    suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not suspects:
        return set()
    counts = Counter(thing for thing in things() if hash(thing) in suspects)
    return {thing for thing, times in counts.items() if times > 1}
