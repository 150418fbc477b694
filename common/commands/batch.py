"""Many inputs -> many outputs: what to do, what is done already, and each file whole or not at all.

Comes in: inputs, as `common.commands.inputs` collects them. Goes out: one outcome an input, delivered as it
is ready; errors, a progress bar and a report beside them. A whole batch command reads:

    inputs = common.commands.inputs.collect_inputs(arguments.inputs, SUFFIXES, "recordings", arguments.list)
    jobs = plan_outputs(inputs, arguments.output, formats, arguments.overwrite)
    process = in_batches(load_audio, recognizer.transcribe_batch, batch_size=8)
    summary = run(jobs, process, write_outputs(render), command="speech", report=arguments.report)
    return summary.exit_status
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

from common.commands.account import Account
from common.commands.account import Summary as Summary
from common.commands.jobs import Chosen, Job
from common.commands.outputs import plan_outputs as plan_outputs
from common.commands.progress import Meter as Meter
from common.commands.progress import Report, progress_bar
from common.errors import InputError, UnexpectedError
from common.files import OutputError
from common.files import write_whole as write_whole
from common.locations import Location
from common.stages import WRITE, Stopwatch, summed

Loaded = TypeVar("Loaded")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of a job: its result or the error that a person can cause, and the seconds it took.

    Attributes:
        stages: seconds by stage, as far as they were measured.
    """

    job: Job
    result: Result | InputError
    seconds: float
    stages: Mapping[str, float] = field(default_factory=dict)


def in_batches(
    load: Callable[[str], Loaded],
    answer: Callable[[list[Loaded]], Sequence[Result | InputError]],
    batch_size: int,
    workers: int = 1,
) -> Callable[[Iterable[Job]], Iterator[Outcome[Result]]]:
    """A `process` for `run` that loads inputs in threads while the network answers batches.

    Outcomes come in the order of the inputs.

    Args:
        load: reads one input by its path; raises `InputError` if it cannot. A bad input is out before
            its batch is made, and does not spoil it.
        answer: one result an input, in order. If it raises `InputError`, the batch is done again one
            by one.
        batch_size: inputs that are answered together; two batches are loaded ahead, at most.
        workers: threads that load.
    """

    def process(jobs: Iterable[Job]) -> Iterator[Outcome[Result]]:
        with closing(_loaded_batches(load, jobs, batch_size, workers)) as batches:
            for batch in batches:
                yield from _outcomes(answer, batch)

    return process


def run(
    jobs: Sequence[Job],
    process: Callable[[Sequence[Job]], Iterable[Outcome[Result]]],
    deliver: Callable[[Job, Result], None],
    *,
    command: str,
    report: Location | None = None,
    details: Mapping[str, Callable[[Result], str]] | None = None,
    warnings: Callable[[Result], Sequence[str]] | None = None,
    partly: Callable[[Result], bool] | None = None,
    unit: str = "file",
    meter: Meter | None = None,
    stages: Sequence[str] = (),
) -> Summary:
    """Do the jobs that are left, deliver each result, and say what became of every input.

    An input that fails is one line on standard error, and the others are done; a mistake of the program is a
    failure of the input that shows it, with its traceback. Where nothing more can be written, the run stops
    and says how much is done. A progress bar stands on standard error if that is a terminal. An interrupt
    (Ctrl-C) passes through, after a line that says how far it came; what was delivered stays.

    Args:
        jobs: from `plan_outputs`.
        process: takes jobs as fast as it likes and gives one outcome for each, in any order;
            `in_batches` makes one. It is not called if nothing is left to do: a model may be loaded there.
        deliver: takes a result to where it belongs; `write_outputs` makes one. May raise `InputError`.
        command: name of the command, in front of errors.
        report: a TSV file that is written line by line, for a store put there at the end: path, status (done,
            warning, skipped, failed), seconds, the details, seconds of each stage, reason (of a mistake of
            the program, with the traceback). The last line, of status `total`, adds them up.
        details: more columns of the report, by name, from a result.
        warnings: what about a result that was delivered a person should know: a line each on standard error,
            and together the reason in the report, where the status is then `warning`.
        partly: whether a result is of a part of its input alone, so that the exit status tells.
        unit: what the progress bar counts.
        meter: counted by the progress bar instead, while `process` advances it; even for a single input, if
            it takes longer than a second.
        stages: names of the stages of which outcomes tell the seconds, in order; `write`, if it is among
            them, is measured here. Their sums stand in the last line on standard error.

    Raises:
        InputError: if the report cannot be written.
    """
    left = Chosen(jobs, lambda job: not job.done and job.input.problem is None)
    details = details or {}
    with ExitStack() as stack:
        table = stack.enter_context(Report(report, (*details, *stages)))
        bar = progress_bar(len(left), unit, meter)
        stack.callback(bar.close)
        account = Account(command, table, tuple(details.values()), warnings, partly, stages)
        account.open(jobs)
        outcomes = process(left) if left else ()
        if isinstance(outcomes, Generator):
            stack.callback(outcomes.close)
        stopped = False
        try:
            for outcome in outcomes:
                watch = Stopwatch()
                with watch.of(WRITE):
                    result = _delivered(outcome, deliver)
                seconds = outcome.seconds + watch.seconds[WRITE]
                account.add(outcome.job, result, seconds, summed([outcome.stages, watch.seconds]))
                stopped = isinstance(result, OutputError)
                if stopped:
                    break
                if meter is None:
                    bar.update()
        except KeyboardInterrupt as error:
            bar.close()
            error.args = (account.say_stopped(len(jobs)),)  # it is said
            raise
        if stopped:
            bar.close()
            account.say_stopped(len(jobs))
        else:
            account.say_done(len(jobs))
    return account.summary


def _delivered(outcome: Outcome[Result], deliver: Callable[[Job, Result], None]) -> Result | InputError:
    """A result that has got to where it belongs, or why there is none."""
    from tqdm import tqdm

    if isinstance(outcome.result, InputError):
        return outcome.result
    try:
        with tqdm.external_write_mode(sys.stdout):
            deliver(outcome.job, outcome.result)
    except InputError as error:
        return error
    except BrokenPipeError:  # nobody reads what is printed any more
        raise
    except Exception as error:
        return UnexpectedError.of(outcome.job.input.path, error)
    return outcome.result


def write_outputs(render: Callable[[Result, str, str], str | bytes]) -> Callable[[Job, Result], None]:
    """A `deliver` for `run` that writes a job's files: `render(result, path, format)` gives the content.

    Everything is rendered before anything is written.
    """

    def deliver(job: Job, result: Result) -> None:
        contents = {path: render(result, job.input.path, format) for format, path in job.outputs.items()}
        for path, content in contents.items():
            job.write(path, content)

    return deliver


# A job, what its input holds or why it cannot be read, the seconds that loading took, and those by stage.
_Loaded: TypeAlias = tuple[Job, Loaded | InputError, float, Mapping[str, float]]


def _loaded_batches(
    load: Callable[[str], Loaded], jobs: Iterable[Job], batch_size: int, workers: int
) -> Generator[list[_Loaded[Loaded]], None, None]:
    """Batches in the order of the inputs, with those between them that cannot be read.

    Args:
        load, jobs: as in `in_batches`.
        batch_size: inputs of a batch that can be read; those that cannot are at most as many.
        workers: threads that load.
    """
    left = iter(jobs)
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(workers)
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        waiting = deque((job, pool.submit(_timed_load, load, job)) for job in islice(left, 2 * batch_size))
        while waiting:
            batch: list[_Loaded[Loaded]] = []
            good = 0
            while waiting and good < batch_size and len(batch) < 2 * batch_size:
                job, future = waiting.popleft()
                for following in islice(left, 1):
                    waiting.append((following, pool.submit(_timed_load, load, following)))
                loaded, seconds, stages = future.result()
                batch.append((job, loaded, seconds, stages))
                good += not isinstance(loaded, InputError)
            yield batch


def _timed_load(
    load: Callable[[str], Loaded], job: Job
) -> tuple[Loaded | InputError, float, Mapping[str, float]]:
    """What one input holds, or why it cannot be read, the seconds that it took, and those by stage."""
    started, watch = time.perf_counter(), Stopwatch()
    loaded: Loaded | InputError
    try:
        with watch.running():
            loaded = load(job.input.path)
    except InputError as error:
        loaded = error
    except Exception as error:
        loaded = UnexpectedError.of(job.input.path, error)
    return loaded, time.perf_counter() - started, watch.seconds


def _outcomes(
    answer: Callable[[list[Loaded]], Sequence[Result | InputError]], batch: list[_Loaded[Loaded]]
) -> list[Outcome[Result]]:
    """What became of each job of a batch; those that could be read share its seconds evenly."""
    good = [(job, loaded) for job, loaded, _, _ in batch if not isinstance(loaded, InputError)]
    started, watch = time.perf_counter(), Stopwatch()
    with watch.running():
        results = iter(_answers(answer, good) if good else [])
    share = (time.perf_counter() - started) / max(1, len(good))
    shares = {name: seconds / max(1, len(good)) for name, seconds in watch.seconds.items()}
    return [
        Outcome(job, loaded, seconds, stages)
        if isinstance(loaded, InputError)
        else Outcome(job, next(results), seconds + share, summed([stages, shares]))
        for job, loaded, seconds, stages in batch
    ]


def _answers(
    answer: Callable[[list[Loaded]], Sequence[Result | InputError]], batch: list[tuple[Job, Loaded]]
) -> Sequence[Result | InputError]:
    """One result or error an input of a batch."""
    try:
        return answer([loaded for _, loaded in batch])
    except Exception as error:
        if len(batch) > 1:
            return [result for one in batch for result in _answers(answer, [one])]
        if isinstance(error, InputError):
            return [error]
        return [UnexpectedError.of(batch[0][0].input.path, error)]
