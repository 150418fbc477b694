"""Where the time of an input goes: seconds by stage, measured where the work is done.

Whoever does a piece of work carries a stopwatch. What lies deep below says `with stage("read"):` and need not
know whose time it is; where nobody measures, that does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar, Token

READ = "read"  # waiting for the disk, or what stands in its place
DECODE = "decode"  # a file's bytes become samples or pixels
DETECT = "detect"  # where somebody speaks
FEATURES = "features"  # samples become what the network takes
NETWORK = "network"
SEARCH = "search"  # the network's answers become words
WRITE = "write"  # a result gets to where it belongs


class Stopwatch:
    """Seconds that each stage of some work took, on the wall's clock.

    A stage may stand within another: each second counts for the innermost alone. One thread uses it at a
    time, and no `with` of it holds a `yield`.

    Attributes:
        seconds: by stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage: str | None = None  # that is being done
        self._since = 0.0

    def of(self, stage: str) -> Span:
        """What is done inside is a part of a stage; so are stages that are named in rooms below."""
        return Span(self, stage)

    def running(self) -> Span:
        """What is done inside counts for the stages that rooms below name, and otherwise for none."""
        return Span(self, None)

    def turn(self, stage: str | None) -> str | None:
        """Another stage, or none, begins now; gives the one that ends."""
        now, before = time.perf_counter(), self._stage
        if before is not None:
            self.seconds[before] = self.seconds.get(before, 0.0) + now - self._since
        self._stage, self._since = stage, now
        return before


class Span:
    """From the beginning of a stage to its end; a context manager."""

    __slots__ = ("_before", "_stage", "_token", "_watch")

    def __init__(self, watch: Stopwatch | None, stage: str | None) -> None:
        self._watch = watch
        self._stage = stage
        self._before: str | None = None
        self._token: Token[Stopwatch | None] | None = None

    def __enter__(self) -> None:
        if self._watch is not None:
            self._token = _current.set(self._watch)
            self._before = self._watch.turn(self._stage)

    def __exit__(self, *_: object) -> None:
        if self._watch is not None and self._token is not None:
            self._watch.turn(self._before)
            _current.reset(self._token)


_current: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


def stage(name: str) -> Span:
    """What is done inside is a part of a stage of whatever is measured in this thread."""
    return Span(_current.get(), name)


def summed(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage of several pieces of work together."""
    total: dict[str, float] = {}
    for part in parts:
        for name, seconds in part.items():
            total[name] = total.get(name, 0.0) + seconds
    return total


def in_words(seconds: Mapping[str, float], stages: Iterable[str]) -> str:
    """Seconds by stage, as a person reads them: `read 0.4, network 12.0`."""
    return ", ".join(f"{name} {seconds.get(name, 0.0):.1f}" for name in stages)
