"""Work on a Ray cluster of this machine: the same outcomes, whatever becomes of a worker."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from clusters import ray_cluster
from reports import rows

from common.commands.batch import Outcome, run, write_outputs
from common.commands.cluster import on_ray
from common.commands.inputs import Input, collect_inputs
from common.commands.outputs import Job, plan_outputs
from common.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with ray_cluster(Path(__file__).parent):
        yield


@pytest.fixture
def folder(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with inputs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(12):
        (tmp_path / "in" / f"{number:02}.txt").write_text(f"text {number}")
    return tmp_path


def prepare(log: str, hangs: bool = False) -> Callable[[Iterable[Job]], Iterator[Outcome[str]]]:
    """What reads inputs in a worker; those called `poison` kill it, those called `bad` are of no use.

    Args:
        log: gets a line a worker, its process.
        hangs: the first worker does one input, makes the file `hangs` beside the log, and waits to be killed.
    """
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()}\n")

    def process(jobs: Iterable[Job]) -> Iterator[Outcome[str]]:
        for number, job in enumerate(reversed(list(jobs))):
            if "poison" in job.input.path:
                os._exit(1)
            if hangs and number == 1 and first_worker(log) == os.getpid():
                Path(log).with_name("hangs").touch()
                time.sleep(600)
            text = Path(job.input.path).read_text()
            bad = "bad" in job.input.path
            yield Outcome(job, InputError(job.input.path, "is bad") if bad else text, 0.5)

    return process


def first_worker(log: str) -> int:
    """The process of the worker that was ready first."""
    return int(Path(log).read_text().split()[0])


def fail(reason: str) -> Callable[[Iterable[Job]], Iterator[Outcome[str]]]:
    raise InputError("model", reason)


def render(result: str, path: str, format: str) -> str:
    return f"{format}: {result}"


def planned(**settings: object) -> Sequence[Job]:
    return plan_outputs(collect_inputs(["in/"], [".txt"]), Path("out"), ["a", "b"], settings=settings)


def run_on_ray(jobs: Sequence[Job], hangs: bool = False) -> int:
    inputs = [job.input for job in jobs]
    prepared = partial(prepare, str(Path("log").resolve()), hangs)
    process = on_ray(prepared, render, inputs, workers=2, batch_size=3)
    return run(jobs, process, write_outputs(render), command="test", report=Path("report.tsv")).exit_status


def outputs() -> dict[str, str]:
    return {path.name: path.read_text() for path in Path("out").glob("[!.]*")}


def test_workers_write_what_one_process_writes_and_remember_it(folder: Path) -> None:
    assert run_on_ray(planned()) == 0
    assert outputs() == {
        f"{number:02}.{format}": f"{format}: text {number}" for number in range(12) for format in "ab"
    }
    assert len(Path("log").read_text().split()) == 2  # each loads once
    assert all(job.done for job in planned())
    assert not any(job.done for job in planned(beam=2))
    done = [row for row in rows(Path("report.tsv")) if row["status"] == "done"]
    assert len(done) == 12
    assert all(float(row["seconds"]) >= 0.5 for row in done)  # and those of writing


def test_a_worker_that_is_killed_costs_nothing(folder: Path) -> None:
    def kill_one() -> None:
        while not Path("hangs").exists():
            time.sleep(0.01)
        os.kill(first_worker("log"), 9)

    threading.Thread(target=kill_one, daemon=True).start()
    assert run_on_ray(planned(), hangs=True) == 0
    assert len(outputs()) == 24
    assert len(Path("log").read_text().split()) == 3  # one began anew
    assert all(job.done for job in planned())


def test_an_input_that_kills_every_worker_fails_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "in" / "05-poison.txt").write_text("")
    (folder / "in" / "06-bad.txt").write_text("")
    assert run_on_ray(planned()) == 1
    assert len(outputs()) == 24
    said = capsys.readouterr().err.splitlines()
    assert sum("05-poison.txt: its worker died 3 times" in line for line in said) == 1
    assert "test: in/06-bad.txt: is bad" in said
    assert said[-1] == "test: 12 done, 2 failed"


def test_what_hinders_every_worker_ends_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = planned()
    process = on_ray(partial(fail, "is missing"), render, [], workers=1)
    with pytest.raises(InputError, match=r"^model: is missing$"):
        run(jobs, process, write_outputs(render), command="test")
    assert not outputs()


def test_workers_without_the_suite_end_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_here = ModuleType("only_here")
    exec("def prepare(): ...", only_here.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    process = on_ray(only_here.prepare, render, [], workers=1)
    with pytest.raises(InputError, match=r"no worker .* can begin \(.*No module named 'only_here'\)$"):
        run(planned(), process, write_outputs(render), command="test")
    assert not outputs()


def test_standard_input_is_refused() -> None:
    with pytest.raises(InputError, match="- is none"):
        on_ray(partial(fail, ""), render, [Input("-", "stdin")])


def test_an_output_that_cannot_be_written_fails_its_input_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = planned()
    Path("out/03.a").mkdir(parents=True)
    assert run_on_ray(jobs) == 1
    assert "in/03.txt: out/03.a: cannot be written" in capsys.readouterr().err
    assert sum(path.is_file() for path in Path("out").glob("[!.]*")) >= 22
