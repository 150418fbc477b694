"""Work that one process would take too long for is shared with others: helpers.

Comes in: items, and what is to be done with each. Goes out: the results, as they are ready. Python lets one
thread of a process work at a time, so threads do not speed up what is written in Python; processes do.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from common.commands.messages import JsonLines, is_json, say

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

Item = TypeVar("Item")
Result = TypeVar("Result")

# What a helper works with; there is one piece of work in the life of its process.
_work: Callable[[Any], Any] | None = None


class Helpers(Generic[Item, Result]):
    """Processes that do the same work as this one, beside it.

    A helper takes a second or two to start, so they are started when this process has worked so long that
    there may be much to do; until they are ready it goes on alone. If one dies (the system may be out of
    memory), nothing is lost: this process does what it had, and the rest alone. They end with this process,
    however it ends.

    Args:
        prepare: makes what does the work, in each helper; a function of a module, or a `functools.partial` of
            one. PyTorch has one thread there.
        count: of helpers; 0 leaves all to this process.
        patience: seconds of work that this process does alone first.
    """

    def __init__(
        self, prepare: Callable[[], Callable[[Item], Result]], count: int, patience: float = 1.0
    ) -> None:
        self.count = count
        self._prepare = prepare
        self._patience = patience
        self._worked = 0.0
        self._pool: ProcessPoolExecutor | None = None
        self._up: Synchronized[int] | None = None  # how many are up; each counts itself

    @classmethod
    def none(cls) -> Helpers[Item, Result]:
        """Nobody: this process does all of it."""

        def prepare() -> Callable[[Item], Result]:
            raise AssertionError("there is nobody to make ready")

        return cls(prepare, 0)

    def __enter__(self) -> Helpers[Item, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start them now, and wait until they are ready."""
        self._start()
        while self.ready < self.count and self._pool is not None:
            try:
                self._pool.submit(_nothing).result()  # fails if one has died
            except BrokenExecutor:
                self._give_up()
            else:
                time.sleep(0.01)

    def work(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """Work on items, here and in the helpers.

        Args:
            work: does here what `prepare` makes the helpers do.
            items: taken one by one, as they are needed.

        Yields:
            Each item with its result as soon as it is there: in order only if nobody helps. What `work`
            raises comes through in its place.
        """
        waiting: dict[Future[Result], Item] = {}

        def here(item: Item) -> tuple[Item, Result]:
            started = time.perf_counter()
            result = work(item)
            self._worked += time.perf_counter() - started
            return item, result

        def finished() -> Iterator[tuple[Item, Result]]:
            for future in [future for future in waiting if future.done()]:
                item = waiting.pop(future)
                try:
                    result = future.result()
                except BrokenExecutor:
                    self._give_up()
                    yield here(item)
                else:
                    yield item, result

        try:
            for item in items:
                yield from finished()
                if self._worked >= self._patience:
                    self._start()
                future = self._submit(item) if self._has_room(len(waiting)) else None
                if future is None:
                    yield here(item)
                else:
                    waiting[future] = item
            for future in [future for future in waiting if future.cancel()]:
                yield here(waiting.pop(future))  # none of them has begun with it
            while waiting:
                wait(waiting, return_when=FIRST_COMPLETED)
                yield from finished()
        finally:
            for future in waiting:
                future.cancel()

    @property
    def ready(self) -> int:
        """How many can be counted on now."""
        return self._up.value if self.count and self._up is not None else 0

    def close(self) -> None:
        """End them at once, whatever they do: nobody waits for it any more. None is started any more.

        One that is still starting would otherwise look for what this process has put away already.
        """
        self.count = 0
        if self._pool is None:
            return
        processes = list((self._pool._processes or {}).values())  # a pool that is shut down has none
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()

    def _has_room(self, waiting: int) -> bool:
        """Whether a helper could take one item more: each has one, and one waits for whoever is first."""
        return 0 < self.ready >= waiting

    def _start(self) -> None:
        """Start them if they are not, and if there are any."""
        if not self.count or self._pool is not None:
            return
        # Started anew and not forked: PyTorch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._up = context.Value("i", 0)
        self._pool = ProcessPoolExecutor(self.count, context, _begin, (self._prepare, self._up, is_json()))
        with _without_interrupts():
            self._pool.submit(_nothing)  # starts all of them

    def _submit(self, item: Item) -> Future[Result] | None:
        """Give an item to the helpers; None if there are none any more."""
        assert self._pool is not None
        try:
            return self._pool.submit(_do, item)
        except BrokenExecutor:
            self._give_up()
            return None

    def _give_up(self) -> None:
        """Go on alone."""
        if self.count:
            say(None, "a helper process died; going on without", event="helper_died")
        self.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that are started here never hear Ctrl-C, not even before they can ask to be spared.

    It is for whoever started them. This process hears it a moment later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(prepare: Callable[[], Callable[[Any], Any]], up: Synchronized[int], as_json: bool) -> None:
    """Make a helper ready."""
    global _work
    if as_json:
        sys.stderr = JsonLines(sys.stderr, "helper")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    _work = prepare()
    with up.get_lock():
        up.value += 1


def _end_with_parent() -> None:
    """A process that is killed cannot tell its helpers to end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _nothing() -> None:
    """What a helper does to show that it is ready."""


def _do(item: Any) -> Any:
    """One item, in a helper."""
    assert _work is not None
    return _work(item)
