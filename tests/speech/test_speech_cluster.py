"""The `speech` command on a Ray cluster of two workers of this machine, one of which is killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import ray_cluster
from networks import write_tiny_model

from speech.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds workers in /proc"),
]
ROOT = Path(__file__).parents[2]
RECORDINGS = 8


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_tiny_model(tmp_path / "tiny"))


@pytest.fixture
def cluster() -> Iterator[None]:
    with ray_cluster():
        yield


def workers_of(process: int) -> list[int]:
    """The workers that a process has begun, or what it has begun has."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat, names[int(entry.name)] = (entry / "stat").read_text(), (entry / "cmdline").read_text()
        except OSError:  # it has ended
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])

    def is_below(one: int) -> bool:
        while one in parents and one != process:
            one = parents[one]
        return one == process

    return [one for one, name in names.items() if name.startswith("ray::_Worker") and is_below(one)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


def test_two_workers_one_of_them_killed_write_what_one_process_writes(
    cluster: None, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, here, there = tmp_path / "in", tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    for number in range(RECORDINGS):
        name = ("city", "service")[number % 2]
        shutil.copy(ROOT / "speech" / "samples" / f"{name}.opus", folder / f"{number:02}.opus")
    (folder / "bad.wav").write_bytes(b"no sound")
    arguments = ["transcribe", str(folder), "--model", model, "--format", "txt,json", "--exact"]
    arguments += ["--least-confidence", "0"]
    assert main([*arguments, "--threads", "1", "--output", str(here)]) == 1
    said_here = capsys.readouterr().err

    killed: list[int] = []
    over = threading.Event()

    def kill_one() -> None:
        while not killed and not over.wait(0.01):
            if contents(there):
                killed.extend(workers_of(os.getpid())[:1])
        for worker in killed:
            os.kill(worker, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    report = ["--report", str(tmp_path / "report.tsv")]
    engine = ["--engine", "ray", "--workers", "2"]
    status = main([*arguments, *engine, *report, "--output", str(there)])
    over.set()
    killer.join()
    printed, said_there = capsys.readouterr()
    assert killed, said_there
    assert status == 1
    told = [sorted(line.partition(" in ")[0] for line in one.splitlines()) for one in (said_there, said_here)]
    assert told[0] == told[1]  # in the order of the workers, and each took its own time
    assert not printed
    assert contents(there) == contents(here)
    assert len(contents(there)) == 2 * RECORDINGS
    statuses = [line.split("\t")[1] for line in (tmp_path / "report.tsv").read_text().splitlines()[1:]]
    kinds = [{"warning": "done"}.get(one, one) for one in statuses]  # an untrained model is not sure
    assert sorted(kinds) == ["done"] * RECORDINGS + ["failed", "total"]

    # What one kind of run has written, the other passes over.
    assert main([*arguments, "--threads", "1", "--output", str(there)]) == 1
    assert f"0 done, {RECORDINGS} already there" in capsys.readouterr().err
