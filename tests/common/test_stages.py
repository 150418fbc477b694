"""Seconds go to the stage in which they are spent, and nowhere else."""

from __future__ import annotations

import threading
import time

import pytest

from common.stages import Stopwatch, in_words, stage, summed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock shows; a test moves it."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_stage_within_another_takes_its_seconds_from_it(clock: list[float]) -> None:
    watch = Stopwatch()
    with watch.of("decode"):
        clock[0] += 1.0
        with stage("read"):
            clock[0] += 2.0
        clock[0] += 4.0
        with stage("read"):
            clock[0] += 8.0
    clock[0] += 16.0  # nobody's
    assert watch.seconds == {"decode": 5.0, "read": 10.0}


def test_what_fails_has_taken_its_time(clock: list[float]) -> None:
    def fail() -> None:
        with watch.running(), stage("read"):
            clock[0] += 3.0
            raise KeyError

    watch = Stopwatch()
    with pytest.raises(KeyError):
        fail()
    with stage("read"):
        clock[0] += 5.0  # nobody measures any more
    assert watch.seconds == {"read": 3.0}


def test_each_thread_has_its_own() -> None:
    def work() -> None:
        with stage("read"):
            pass

    watch = Stopwatch()
    with watch.running():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert not watch.seconds


def test_sums_are_by_stage_and_words_are_in_order() -> None:
    total = summed([{"read": 1.0, "write": 0.25}, {}, {"read": 2.0}])
    assert total == {"read": 3.0, "write": 0.25}
    assert in_words(total, ("write", "read", "search")) == "write 0.2, read 3.0, search 0.0"
