"""Jobs that are done by the machines of a Ray cluster, or by several processes of this one.

Comes in: jobs, and what loads a model. Goes out: one outcome a job, as soon as it is there. Each worker loads
the model once, reads its inputs itself and writes its outputs through the same writer, and remembers them in
the same place, as one process does alone; so a run of either kind goes on where one of the other stopped.

These are actors in a pool, and not Ray Data: there, an input that kills its worker is tried with its whole
block again and again, or ends the run, and a table of Arrow would only carry pickled results.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from common.commands.batch import Outcome, write_outputs
from common.commands.command import at_least
from common.commands.inputs import Input
from common.commands.outputs import Job
from common.errors import InputError, UnexpectedError
from common.stages import WRITE, Stopwatch, summed

Result = TypeVar("Result")
Process = Callable[[Iterable[Job]], Iterable[Outcome[Result]]]
Render = Callable[[Result, str, str], str | bytes]

MOST_DEATHS = 3  # of workers over one input, after which it is given up

_ATTEMPTS = 3  # to begin a cluster here: on a busy machine, Ray gives up if a part of it takes 15 seconds
# Ray would tell its makers that it was begun, and give up on a machine that is busy.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "60",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",  # after which it would wait for ever
}

# What became of a job of a batch, by its place there, and the seconds that it took, also by stage.
_Answer = tuple[int, Any, float, Mapping[str, float]]


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Where a batch is done: `engine` ("local" or "ray") and `workers` (0: as many as are of use)."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="local: this process and its helpers; ray: the workers of a Ray cluster, of the one that "
        "RAY_ADDRESS names or else of one on this machine, which read inputs and write outputs themselves "
        "(%(default)s)",
    )
    group.add_argument(
        "--workers",
        type=at_least(0),
        default=0,
        metavar="N",
        help="with --engine ray: at most N processes, each of which loads the model; 0: as many as the "
        "cluster has cores or, with --device cuda, GPUs (%(default)s)",
    )


def on_ray(
    prepare: Callable[[], Process[Result]],
    render: Render[Result] | None,
    inputs: Iterable[Input],
    *,
    workers: int = 0,
    batch_size: int = 1,
    on_gpus: bool = False,
) -> Callable[[Iterable[Job]], Generator[Outcome[Result], None, None]]:
    """A `process` for `common.commands.batch.run` whose work is done on a Ray cluster.

    The cluster is the one that Ray finds (`RAY_ADDRESS`), or one of this machine's processes that ends with
    the run. Another worker takes the place of one that dies, and what that had is done again, one input at a
    time.

    Args:
        prepare: loads the model, once a worker, and gives what does jobs there; can be pickled.
        render: gives the content of a job's outputs, as in `write_outputs`. The workers write them, and jobs
            come back without outputs; None leaves them to `run`.
        inputs: of the run, which the workers must be able to read.
        workers: at most; 0 for as many as the cluster has cores, or GPUs.
        batch_size: jobs that a worker gets at a time.
        on_gpus: whether each worker needs a GPU.

    Raises:
        InputError: if an input is on standard input.

    Raises, when it works:
        ModuleNotFoundError: if Ray is not installed.
        InputError: if the cluster cannot be reached or has nothing to work with, if no worker can begin (the
            suite is not installed there), or what `prepare` raises.
    """
    if any(one.path == "-" for one in inputs):
        raise InputError("--engine", "the workers of a cluster read files and URLs; - is none")

    def process(jobs: Iterable[Job]) -> Generator[Outcome[Result], None, None]:
        ray, ours = connect()
        try:
            there = int(ray.cluster_resources().get("GPU" if on_gpus else "CPU", 0))
            if not there:
                raise InputError("--engine", f"the Ray cluster has no {'GPUs' if on_gpus else 'cores'}")
            actor = ray.remote(_Worker).options(num_cpus=1, num_gpus=int(on_gpus))
            count, folder = min(workers or there, there), str(Path.cwd())
            yield from _pool(ray, lambda: actor.remote(prepare, render, folder), count, jobs, batch_size)
        finally:
            if ours:
                ray.shutdown()

    return process


class _Worker:
    """What runs in a process of the cluster; the model is loaded with the first jobs."""

    def __init__(self, prepare: Callable[[], Process[Any]], render: Render[Any] | None, folder: str) -> None:
        if os.path.isdir(folder):  # noqa: PTH112 - where the paths of the inputs begin
            os.chdir(folder)
        self._prepare = prepare
        self._write = None if render is None else write_outputs(render)
        self._process: Process[Any] | None = None

    def do(self, jobs: Sequence[Job]) -> list[_Answer]:
        """Do some jobs, and write what they give."""
        if self._process is None:
            self._process = self._prepare()
        places = {id(job): place for place, job in enumerate(jobs)}
        return [(places[id(outcome.job)], *self._timed(outcome)) for outcome in self._process(jobs)]

    def _timed(self, outcome: Outcome[Any]) -> tuple[Any, float, Mapping[str, float]]:
        """What `_written` gives, with the seconds that it took together with all before."""
        watch = Stopwatch()
        with watch.of(WRITE):
            result = self._written(outcome)
        seconds = outcome.seconds + watch.seconds[WRITE]
        return result, seconds, summed([outcome.stages, watch.seconds])

    def _written(self, outcome: Outcome[Any]) -> Any:
        """A result whose outputs are written, or why there is none."""
        if self._write is None or isinstance(outcome.result, InputError):
            return outcome.result
        try:
            self._write(outcome.job, outcome.result)
        except InputError as error:
            return error
        except Exception as error:
            return UnexpectedError.of(outcome.job.input.path, error)
        return _Done(outcome.result)


@dataclasses.dataclass(frozen=True)
class _Done:
    """A result whose outputs a worker has written."""

    result: Any


def connect() -> tuple[Any, bool]:
    """Find the cluster, or make one of this machine.

    Returns:
        Ray's module, and whether the cluster was begun or found now.

    Raises:
        ModuleNotFoundError: if Ray is not installed.
        InputError: if the cluster cannot be reached.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return ray, False
    # Ray would print on standard output, among the results, that a worker died; no option of its stops that.
    inside, listener = ray._private.worker, "listen_error_messages"
    listen = getattr(inside, listener, None)
    setattr(inside, listener, lambda *_: None)
    terminate = signal.getsignal(signal.SIGTERM)  # Ray would have its own way to end
    try:
        _begin(ray)
    finally:
        setattr(inside, listener, listen)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)
    return ray, True


def _begin(ray: Any) -> None:
    """Find a cluster or make one; a cluster of this machine is begun again if it does not come up."""
    attempts = 1 if "RAY_ADDRESS" in os.environ else _ATTEMPTS
    for attempt in range(attempts):
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception as error:  # Ray has no class of its own for it
            ray.shutdown()
            if attempt == attempts - 1:
                raise InputError("--engine", f"the Ray cluster cannot be reached ({error})") from error


def _pool(
    ray: Any, begin: Callable[[], Any], count: int, jobs: Iterable[Job], batch_size: int
) -> Iterator[Outcome[Any]]:
    """Outcomes of workers, each of which has one batch at a time and begins when there is one for it."""
    left, again = iter(jobs), deque[list[Job]]()
    idle: list[Any] = []
    busy: dict[Any, tuple[Any, list[Job]]] = {}
    deaths: Counter[str] = Counter()  # by a job's input
    begun = 0
    while True:
        while idle or begun < count:
            batch = again.popleft() if again else list(islice(left, batch_size))
            if not batch:
                break
            begun += not idle
            worker = idle.pop() if idle else begin()
            busy[worker.do.remote(batch)] = worker, batch
        if not busy:
            return
        (answer,), _ = ray.wait(list(busy), num_returns=1)
        worker, batch = busy.pop(answer)
        try:
            answers = ray.get(answer)
        except ray.exceptions.RayActorError as error:
            if error.actor_init_failed:  # so would all others
                reason = str(error).strip().splitlines()[-1]
                raise InputError("--engine", f"no worker of the Ray cluster can begin ({reason})") from error
            ray.kill(worker)  # it may only be out of reach
            begun -= 1
            yield from _taken_up(batch, deaths, again)
            continue
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        idle.append(worker)
        for place, result, seconds, stages in answers:
            job = batch[place]
            if isinstance(result, _Done):
                yield Outcome(dataclasses.replace(job, outputs={}), result.result, seconds, stages)
            else:
                yield Outcome(job, result, seconds, stages)


def _taken_up(batch: Sequence[Job], deaths: Counter[str], again: deque[list[Job]]) -> Iterator[Outcome[Any]]:
    """Put what a dead worker had into the queue, one by one: the rest shall not suffer for what killed it."""
    for job in batch:
        deaths[job.input.path] += 1
        if deaths[job.input.path] < MOST_DEATHS:
            again.append([job])
            continue
        reason = f"its worker died {MOST_DEATHS} times; the machine may have too little memory"
        yield Outcome(job, InputError(job.input.path, reason), 0.0)
