"""Work in several threads: order, errors, what waits, and PyTorch's own threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from common.threads import in_threads


def test_results_come_in_order_with_their_items() -> None:
    assert list(in_threads(lambda one: one * one, range(20), threads=3)) == [(n, n * n) for n in range(20)]
    assert list(in_threads(lambda one: one * one, [], threads=3)) == []


def test_several_are_worked_on_at_once() -> None:
    meeting = threading.Barrier(2, timeout=20)
    assert [result for _, result in in_threads(lambda _: meeting.wait() in (0, 1), range(4), 2)] == [True] * 4


@pytest.mark.parametrize(("items", "threads"), [(1, 4), (3, 1)])
def test_one_alone_is_worked_on_where_it_is_wanted(items: int, threads: int) -> None:
    here = threading.get_ident()
    assert {result for _, result in in_threads(lambda _: threading.get_ident(), range(items), threads)} == {
        here
    }


@pytest.mark.usefixtures("threads_restored")
def test_each_thread_has_one_of_pytorchs_and_nobody_else_loses_any() -> None:
    interval = sys.getswitchinterval()
    torch.set_num_threads(3)
    found = [result for _, result in in_threads(lambda _: torch.get_num_threads(), range(6), threads=2)]
    assert found == [1] * 6
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), later) == (3, [3])
    assert sys.getswitchinterval() == interval


def test_few_items_wait() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    for done, _ in enumerate(in_threads(str, items(), threads=2)):
        assert taken <= done + 5


def test_what_fails_comes_through_and_nothing_is_left_working() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = in_threads(work, range(10), threads=2)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_who_stops_early_need_not_wait_for_the_rest() -> None:
    begun: list[int] = []
    results = in_threads(lambda one: begun.append(one), range(1000), threads=2)
    next(results)
    results.close()
    assert len(begun) < 10
