"""Ctrl-C and SIGTERM end a training after the step at hand, so that nothing of it is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody asked the training to end. Outside a step, and if asked twice, it ends at once."""

    def __init__(self) -> None:
        self.asked = False
        self._number = signal.SIGTERM
        self._within_step = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Inside the block signals are heard; only a program's main thread can do that."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self._hear) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
            self.end()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Inside the block a signal is only taken down."""
        self._within_step = True
        try:
            yield
        finally:
            self._within_step = False

    def end(self) -> None:
        """If it was asked for, do what the signal does to any program: end it, or raise KeyboardInterrupt."""
        if self.asked:
            interrupt = self._number == signal.SIGINT
            signal.signal(self._number, signal.default_int_handler if interrupt else signal.SIG_DFL)
            signal.raise_signal(self._number)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        """Take down a signal."""
        again, self.asked, self._number = self.asked, True, signal.Signals(number)
        if again or not self._within_step:
            self.end()
