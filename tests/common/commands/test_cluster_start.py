"""A Ray cluster that does not come up, and workers that cannot begin; Ray itself is played."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from common.commands import cluster
from common.commands.inputs import Input
from common.commands.outputs import Job
from common.errors import InputError


def played(failures: int) -> tuple[Any, list[str]]:
    """Ray's module, whose cluster comes up after so many failures; and what was asked of it."""
    asked: list[str] = []

    def begin(**_: object) -> None:
        asked.append("init")
        if asked.count("init") <= failures:
            raise RuntimeError("The current node timed out during startup.")

    ray = SimpleNamespace(
        init=begin,
        shutdown=lambda: asked.append("shutdown"),
        is_initialized=lambda: False,
        _private=SimpleNamespace(worker=SimpleNamespace()),
    )
    return ray, asked


def test_a_cluster_of_this_machine_that_does_not_come_up_is_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray, asked = played(failures=1)
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert cluster.connect() == (ray, True)
    assert asked == ["init", "shutdown", "init"]


@pytest.mark.parametrize(("address", "attempts"), [(None, 3), ("head:6379", 1)])
def test_a_cluster_that_cannot_be_reached_is_one_line(
    address: str | None, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    ray, asked = played(failures=99)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(InputError, match=r"^--engine: the Ray cluster cannot be reached \(The current node"):
        cluster.connect()
    assert asked.count("init") == attempts


def test_workers_that_cannot_begin_end_the_run_and_say_why() -> None:
    class ActorError(Exception):
        actor_init_failed = True

    def get(_: object) -> None:
        raise ActorError("The actor died:\n\nModuleNotFoundError: No module named 'speech'\n")

    ray = SimpleNamespace(
        wait=lambda busy, num_returns: (busy, []),
        get=get,
        exceptions=SimpleNamespace(RayActorError=ActorError, RayTaskError=KeyError),
    )
    worker = SimpleNamespace(do=SimpleNamespace(remote=lambda batch: "answer"))
    outcomes = cluster._pool(ray, lambda: worker, 1, [Job(Input("a.wav", "a.wav"))], 1)
    with pytest.raises(InputError, match=r"can begin \(ModuleNotFoundError: No module named 'speech'\)$"):
        list(outcomes)
