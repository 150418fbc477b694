"""Several things are worked on at once, each in a thread of its own in which PyTorch works alone.

Comes in: items, and what is to be done with each. Goes out: the results, in the items' order. Layers that are
shared out among threads leave much of each idle; a batch a thread keeps them busy.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

_SWITCH_SECONDS = 1e-4

Item = TypeVar("Item")
Result = TypeVar("Result")


def threads_for(device: torch.device) -> int:
    """How many threads should work on batches: as many as PyTorch has on the processor, or one elsewhere."""
    import torch

    return torch.get_num_threads() if device.type == "cpu" else 1


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[tuple[Item, Result], None, None]:
    """Work on items, as many at once as there are threads.

    Args:
        work: done in those threads, each with one of PyTorch's; with one thread, or for a single item, in the
            calling thread, with all of PyTorch's.
        items: taken one by one in the calling thread; at most one more than there are threads waits.
        threads: at least 1.

    Yields:
        Each item with its result, in order. What `work` or `items` raise comes through in its place.
    """
    left = iter(items)
    first = list(islice(left, 2)) if threads > 1 else []
    if len(first) < 2:
        for item in chain(first, left):
            yield item, work(item)
        return
    with ExitStack() as stack:
        # Python lets one thread work at a time, for 5 ms: the others' next small step would wait as long.
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_SECONDS)
        pool = _threads(threads, stack)
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in chain(first, left):
            waiting.append((item, pool.submit(work, item)))
            while len(waiting) > threads or (waiting and waiting[0][1].done()):
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()


def _threads(threads: int, stack: ExitStack) -> ThreadPoolExecutor:
    """Threads in each of which PyTorch works alone, until the stack is left: then at most a batch each."""
    import torch  # whoever has work for several threads has imported it long before

    def work_alone() -> None:
        # A thread takes over the process's number when it first asks, even if it has set its own before.
        torch.get_num_threads()
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(threads, initializer=work_alone)
    stack.callback(pool.shutdown, wait=False, cancel_futures=True)
    all_ready = threading.Barrier(threads + 1)
    stack.callback(all_ready.abort)
    usual = torch.get_num_threads()
    try:
        for _ in range(threads):  # none is idle before all have started, so each gets a thread of its own
            pool.submit(all_ready.wait)
        all_ready.wait()
    finally:
        # What a thread sets is also what later threads begin with: not these, but all others.
        torch.set_num_threads(usual)
    return pool
