"""Many inputs -> many outputs: what to do, what is done already, and each file whole or not at all.

Comes in: inputs, as `common.inputs` collects them. Goes out: one outcome an input, delivered as it is
ready; errors, a progress bar and a report beside them. A whole batch command reads:

    inputs = common.inputs.collect_inputs(arguments.inputs, SUFFIXES, "recordings", arguments.list)
    jobs = plan_outputs(inputs, arguments.output, formats, arguments.overwrite)
    process = in_batches(load_audio, recognizer.transcribe_batch, batch_size=8)
    summary = run(jobs, process, write_outputs(render), command="speech", report=arguments.report)
    return summary.exit_status
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TextIO, TypeAlias, TypeVar

from common.errors import InputError
from common.inputs import Input

if TYPE_CHECKING:
    from tqdm import tqdm

BAR_DELAY = 1.0  # seconds before a meter is shown: what is quick needs none

Loaded = TypeVar("Loaded")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """One input with what is still to be written for it.

    Attributes:
        input: what is to be read.
        outputs: by format, the files that are still to be written; empty if results go elsewhere.
        done: nothing is left to do.
    """

    input: Input
    outputs: Mapping[str, Path] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of a job: its result or the error that a person can cause, and the seconds it took."""

    job: Job
    result: Result | InputError
    seconds: float


@dataclass(frozen=True)
class Summary:
    """How many inputs were done now, had been done before, and failed."""

    done: int = 0
    skipped: int = 0
    failed: int = 0

    @property
    def exit_status(self) -> int:
        """1 if an input failed, otherwise 0."""
        return 1 if self.failed else 0

    def __str__(self) -> str:
        """The summary in words."""
        parts = [f"{self.done} done"]
        if self.skipped:
            parts.append(f"{self.skipped} already there (--overwrite does them again)")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)


class Meter:
    """What a progress bar counts in place of inputs, where they are of very unlike size: hours of sound.

    Args:
        unit: what is counted.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.total = 0.0
        self.done = 0.0
        self.show: Callable[[], object] | None = None  # `run` sets it

    def expect(self, amount: float) -> None:
        """So much more is to be done; what is not known before need not be said. May come from a thread."""
        self.total += amount

    def advance(self, amount: float) -> None:
        """So much more is done."""
        self.done += amount
        if self.show is not None:
            self.show()


def plan_outputs(
    inputs: Sequence[Input], folder: Path | None, formats: Sequence[str], overwrite: bool = False
) -> list[Job]:
    """Give every input its outputs: `folder/<relative path>.<format>`, the input's suffix left off.

    No two inputs share an output. Where they would, all of them (never only the later ones, so that
    the names do not depend on order or on what is done already) keep their suffix, `a.wav.txt` and
    `a.mp3.txt`; if that is not enough, they stand below `folder` as they do below the folder that all
    inputs have in common.

    Args:
        inputs: from `collect_inputs`.
        folder: where the outputs go; None if results go to standard output.
        formats: suffixes of the outputs, without their dot.
        overwrite: write what exists again; otherwise each format that exists is left out.

    Raises:
        InputError: if `folder` is a file.
    """
    if folder is None:
        return [Job(one) for one in inputs]
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "is a file; the output must be a folder here")
    jobs = []
    for one, name in zip(inputs, _output_names(inputs), strict=True):
        outputs = {format: folder / f"{name}.{format}" for format in formats}
        left = {format: path for format, path in outputs.items() if overwrite or not path.exists()}
        jobs.append(Job(one, left, done=not left))
    return jobs


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
    process: Callable[[Iterable[Job]], Iterable[Outcome[Result]]],
    deliver: Callable[[Job, Result], None],
    *,
    command: str,
    report: Path | None = None,
    details: Mapping[str, Callable[[Result], str]] | None = None,
    unit: str = "file",
    meter: Meter | None = None,
) -> Summary:
    """Do the jobs that are left, deliver each result, and say what became of every input.

    An input that fails is one line on standard error, and the others are done. A progress bar stands
    on standard error if that is a terminal. An interrupt (Ctrl-C) passes through, after a line that
    says how far it came; what was delivered stays.

    Args:
        jobs: from `plan_outputs`.
        process: takes jobs as fast as it likes and gives one outcome for each, in any order;
            `in_batches` makes one. It is not called if nothing is left to do: a model may be loaded there.
        deliver: takes a result to where it belongs; `write_outputs` makes one. May raise `InputError`.
        command: name of the command, in front of errors.
        report: a TSV file that is written line by line: path, status (done, skipped, failed), seconds,
            the details, reason.
        details: more columns of the report, by name, from a result.
        unit: what the progress bar counts.
        meter: counted by the progress bar instead, while `process` advances it; even for a single input, if
            it takes longer than a second.

    Raises:
        InputError: if the report cannot be written.
    """
    from tqdm import tqdm

    summary = Summary(skipped=sum(job.done for job in jobs))
    left = [job for job in jobs if not job.done and job.input.problem is None]
    details = details or {}
    with ExitStack() as stack:
        table = stack.enter_context(_Report(report, tuple(details)))
        bar = _bar(len(left), unit, meter)
        stack.callback(bar.close)

        def fail(job: Job, error: InputError, seconds: float) -> None:
            nonlocal summary
            summary = Summary(summary.done, summary.skipped, summary.failed + 1)
            whole = error if error.path == job.input.path else InputError(job.input.path, str(error))
            with tqdm.external_write_mode(sys.stderr):
                print(f"{command}: {whole}", file=sys.stderr, flush=True)
            table.add(job, "failed", seconds, [""] * len(details), whole.reason)

        for job in jobs:
            if job.done:
                table.add(job, "skipped", 0.0, [""] * len(details))
            elif job.input.problem is not None:
                fail(job, InputError(job.input.path, job.input.problem), 0.0)
        outcomes = process(left) if left else ()
        if isinstance(outcomes, Generator):
            stack.callback(outcomes.close)
        try:
            for outcome in outcomes:
                result = outcome.result
                if not isinstance(result, InputError):
                    try:
                        with tqdm.external_write_mode(sys.stdout):
                            deliver(outcome.job, result)
                    except InputError as error:
                        result = error
                if isinstance(result, InputError):
                    fail(outcome.job, result, outcome.seconds)
                else:
                    summary = Summary(summary.done + 1, summary.skipped, summary.failed)
                    values = [of_result(result) for of_result in details.values()]
                    table.add(outcome.job, "done", outcome.seconds, values)
                if meter is None:
                    bar.update()
        except KeyboardInterrupt:
            bar.close()
            rest = len(jobs) - summary.done - summary.skipped - summary.failed
            print(f"{command}: stopped; {summary}, {rest} left", file=sys.stderr)
            raise
    if len(jobs) > 1 and (summary.failed or summary.skipped):
        print(f"{command}: {summary}", file=sys.stderr, flush=True)
    return summary


def write_outputs(render: Callable[[Result, str, str], str | bytes]) -> Callable[[Job, Result], None]:
    """A `deliver` for `run` that writes a job's files: `render(result, path, format)` gives the content.

    Everything is rendered before anything is written.
    """

    def deliver(job: Job, result: Result) -> None:
        contents = {path: render(result, job.input.path, format) for format, path in job.outputs.items()}
        for path, content in contents.items():
            write_whole(path, content)

    return deliver


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all; folders above it are made, text becomes UTF-8.

    The data goes to a hidden file in the same folder, to the disk, and then takes the file's place.

    Raises:
        InputError: if it cannot be written.
    """
    data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    # The name is short, whatever the file's, and the same again: what a killed process left is reused.
    part = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.part")
    try:
        if path.exists() and not path.is_file():  # a device, a pipe: there is no whole file to be had
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _bar(inputs: int, unit: str, meter: Meter | None) -> tqdm:
    """The progress bar over the inputs or what the meter counts; it shows nothing but on a terminal."""
    from tqdm import tqdm

    if meter is None:
        return tqdm(total=inputs, unit=unit, disable=inputs < 2 or not sys.stderr.isatty())
    form = f"{{percentage:3.0f}}%|{{bar}}| {{n:.2f}}/{{total:.2f}} {meter.unit} [{{elapsed}}<{{remaining}}]"
    bar = tqdm(total=1.0, bar_format=form, delay=BAR_DELAY, disable=not sys.stderr.isatty())

    def show() -> None:
        bar.total = max(meter.total, meter.done)
        bar.update(meter.done - bar.n)

    meter.show = show
    return bar


def _output_names(inputs: Sequence[Input]) -> list[str]:
    """For every input, the path of its outputs below the output folder, without their suffix."""
    places = [one.location.relative_to(one.location.anchor) for one in inputs]
    common = os.path.commonpath([place.parent for place in places]) if places else ""
    choices = []
    for one, place in zip(inputs, places, strict=True):
        relative, mirrored = Path(one.relative), place.relative_to(common)
        named = [relative.with_suffix(""), relative, mirrored.with_suffix(""), mirrored]
        choices.append([str(name) for name in named])
    taken = [0] * len(inputs)
    while True:
        claims = defaultdict(list)
        for number, choice in enumerate(choices):
            claims[choice[taken[number]].casefold()].append(number)
        crowded = [number for claim in claims.values() if len(claim) > 1 for number in claim]
        crowded = [number for number in crowded if taken[number] < len(choices[number]) - 1]
        if not crowded:
            return [choice[number] for choice, number in zip(choices, taken, strict=True)]
        for number in crowded:
            taken[number] += 1


# A job, what its input holds or why it cannot be read, and the seconds that loading took.
_Loaded: TypeAlias = tuple[Job, Loaded | InputError, float]


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
                loaded, seconds = future.result()
                batch.append((job, loaded, seconds))
                good += not isinstance(loaded, InputError)
            yield batch


def _timed_load(load: Callable[[str], Loaded], job: Job) -> tuple[Loaded | InputError, float]:
    """What one input holds, or why it cannot be read, and the seconds that it took."""
    started = time.perf_counter()
    loaded: Loaded | InputError
    try:
        loaded = load(job.input.path)
    except InputError as error:
        loaded = error
    return loaded, time.perf_counter() - started


def _outcomes(
    answer: Callable[[list[Loaded]], Sequence[Result | InputError]], batch: list[_Loaded[Loaded]]
) -> list[Outcome[Result]]:
    """What became of each job of a batch."""
    good = [loaded for _, loaded, _ in batch if not isinstance(loaded, InputError)]
    started = time.perf_counter()
    results = iter(_answers(answer, good) if good else [])
    share = (time.perf_counter() - started) / max(1, len(good))
    return [
        Outcome(job, loaded, seconds)
        if isinstance(loaded, InputError)
        else Outcome(job, next(results), seconds + share)
        for job, loaded, seconds in batch
    ]


def _answers(
    answer: Callable[[list[Loaded]], Sequence[Result | InputError]], batch: list[Loaded]
) -> Sequence[Result | InputError]:
    """One result or error an input of a batch."""
    try:
        return answer(batch)
    except InputError as error:
        if len(batch) == 1:
            return [error]
        return [result for one in batch for result in _answers(answer, [one])]


class _Report:
    """The report's table, written line by line; nothing if there is no path."""

    def __init__(self, path: Path | None, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = columns
        self.file: TextIO | None = None

    def __enter__(self) -> _Report:
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.file = self.path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n")
            except OSError as error:
                raise InputError(self.path, f"the report cannot be written: {error.strerror}") from error
            self._write(["path", "status", "seconds", *self.columns, "reason"])
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def add(self, job: Job, status: str, seconds: float, details: Sequence[str], reason: str = "") -> None:
        """Write what became of one input."""
        self._write([job.input.path, status, f"{seconds:.3f}", *details, reason])

    def _write(self, fields: Sequence[str]) -> None:
        if self.file is not None:
            escaped = [field.translate({9: "\\t", 10: "\\n", 13: "\\r"}) for field in fields]
            print("\t".join(escaped), file=self.file, flush=True)
