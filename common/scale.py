"""What very many inputs cost beside the work itself: seconds and memory of listing, planning and state.

Comes in: a number of files, which are made anew in a folder. Goes out: what each step took with them. Each
phase runs in a process of its own, as it does when a command is started and started again, so that its memory
can be told.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from common.commands.inputs import Input, collect_inputs
from common.commands.ledger import Ledger
from common.commands.outputs import Job, plan_outputs
from common.files import write_whole

Result = TypeVar("Result")

PER_FOLDER = 1000  # files
WRITTEN = 200  # outputs that are written to the disk: the time of one does not depend on how many there are

TEXT = b"a text\n"
SETTINGS = {"beam": 64, "model": "english"}
PHASES = ("first", "again")


@dataclass(frozen=True)
class Step:
    """What something took with many files.

    Attributes:
        name: what was done.
        files: with how many.
        seconds: of the processor, because a machine that has other things to do lets work wait; of writing,
            which waits for the disk, those of the wall's clock.
        megabytes: that the process took at most up to its end, beyond what Python and NumPy take.
    """

    name: str
    files: int
    seconds: float
    megabytes: float


def measure(files: int, folder: Path) -> list[Step]:
    """Time what a first run does with so many files, but for the work itself, and what a second one does.

    Args:
        files: empty ones, a thousand a folder.
        folder: an empty one, where they are made; nothing is removed.
    """
    steps = []
    for phase in PHASES:
        command = [sys.executable, "-m", "common.scale", phase, str(files), str(folder)]
        root = str(Path(__file__).parents[1])
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root)
        steps += [Step(**one) for one in json.loads(done.stdout)]
    return steps


def print_scale(most: int) -> None:
    """Print what a thousand, ten thousand ... files cost, up to the most: seconds, and the most memory.

    Lines in brackets are computed from the last that was measured: a million files, and ten. Writing is
    measured with a few.
    """
    sizes = [size for size in (10**power for power in range(3, 9)) if size < most] + [most]
    columns: list[str] = []
    for files in sizes:
        with tempfile.TemporaryDirectory() as folder:
            steps = measure(files, Path(folder))
        if not columns:
            columns = [step.name for step in steps]
            print(f"{'files':>12}", *(f"{name:>11}" for name in columns), f"{'megabytes':>11}")
        _print_line(f"{files:,}", files, files, steps)
    for wanted in (1_000_000, 10_000_000):
        _print_line(f"({wanted:,})", wanted, files, steps)


def _print_line(name: str, wanted: int, files: int, steps: Sequence[Step]) -> None:
    """A line of the table: what so many files cost, from what was measured with others."""
    seconds = (f"{step.seconds / step.files * wanted:11.2f}" for step in steps)
    megabytes = max(step.megabytes for step in steps) * wanted / files
    print(f"{name:>12}", *seconds, f"{megabytes:11.0f}", flush=True)


class _Steps:
    """Times steps, and asks for the memory behind each."""

    def __init__(self) -> None:
        self.found: list[Step] = []
        import numpy  # noqa: F401 - which the first step would bring

        self._before = _peak_megabytes()

    def of(
        self,
        name: str,
        files: int,
        work: Callable[[], Result],
        clock: Callable[[], float] = time.process_time,
    ) -> Result:
        """Do something, and note what it took."""
        started = clock()
        result = work()
        took = clock() - started
        self.found.append(Step(name, files, took, _peak_megabytes() - self._before))
        return result


def _first(files: int, folder: Path) -> list[Step]:
    """What a first run does; the work between is done in no time."""
    _make(files, folder / "in")
    steps = _Steps()
    inputs = steps.of("list", files, lambda: _listed(folder))
    jobs = steps.of("plan", files, lambda: _planned(inputs, folder))
    steps.of("write", len(jobs[:WRITTEN]), lambda: _write(jobs[:WRITTEN]), time.perf_counter)
    changes = array("q", (_written_unsafely(job) for job in islice(jobs, WRITTEN, None)))
    steps.of("remember", len(changes), lambda: _remember(islice(jobs, WRITTEN, None), changes))
    return steps.found


def _again(files: int, folder: Path) -> list[Step]:
    """What a second run does, which finds that all is done."""
    steps = _Steps()
    inputs = steps.of("list again", files, lambda: _listed(folder))
    ledger = steps.of("read state", files, lambda: Ledger(folder / "out", SETTINGS))
    del ledger
    jobs = steps.of("plan again", files, lambda: _planned(inputs, folder))
    left = sum(not job.done for job in jobs)
    assert left == 0, f"{left} of {files} would be done again"
    return steps.found


def _make(files: int, folder: Path) -> None:
    """Make empty files, a thousand a folder."""
    for number in range(files):
        place = folder / f"{number // PER_FOLDER:05d}"
        if number % PER_FOLDER == 0:
            place.mkdir(parents=True)
        (place / f"recording-{number:08d}.wav").touch()


def _listed(folder: Path) -> list[Input]:
    """The files, as a command finds them."""
    return collect_inputs([str(folder / "in")], (".wav",), "recordings")


def _planned(inputs: Sequence[Input], folder: Path) -> Sequence[Job]:
    """What is to be done with them."""
    return plan_outputs(inputs, folder / "out", ["txt"], settings=SETTINGS)


def _write(jobs: Sequence[Job]) -> None:
    """Write outputs as a command does: whole, to the disk, and remembered."""
    for job in jobs:
        job.write(job.outputs["txt"], TEXT)


def _written_unsafely(job: Job) -> int:
    """Write an output without waiting for the disk; when that was, in nanoseconds."""
    path = Path(job.outputs["txt"])
    try:
        path.write_bytes(TEXT)
    except FileNotFoundError:
        write_whole(path, TEXT)
    return path.stat().st_mtime_ns


def _remember(jobs: Iterable[Job], changes: Iterable[int]) -> None:
    """Remember what outputs were made from."""
    for job, changed in zip(jobs, changes, strict=True):
        assert job.ledger is not None and job.source is not None
        job.ledger.note(job.ledger.name(job.outputs["txt"]), job.source, (len(TEXT), changed))


def _peak_megabytes() -> float:
    """The most memory that this process has had; 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> int:
    """Run one phase, and print its steps as JSON."""
    phase, files, folder = sys.argv[1:]
    done = {"first": _first, "again": _again}[phase](int(files), Path(folder))
    print(json.dumps([asdict(step) for step in done]))
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
