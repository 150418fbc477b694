"""What goes wrong at night: kills, files that vanish, too little memory, helpers that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from networks import write_tiny_model
from nights import Nights, kill_and_resume, written
from reports import rows, rows_by_name

from speech import cli
from speech.acoustic import AcousticModel
from speech.cli import main
from speech.pool import SegmentFeatures
from speech.sound.audio import load_audio

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def record(folder: Path, count: int) -> None:
    """Write so many recordings of half a second in which somebody speaks."""
    folder.mkdir()
    sentence = load_audio(ROOT / "speech" / "samples" / "city.opus").numpy()[14_400:22_400]
    for number in range(count):
        with wave.open(str(folder / f"{number:02d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes((sentence * 32767).astype("<i2").tobytes())


# --- kills -----------------------------------------------------------------------------------------


@pytest.fixture
def nights() -> Iterator[Nights]:
    found = Nights("import speech.recognizer, silero_vad; from speech.cli import main")
    yield found
    found.close()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not to be had")
@pytest.mark.parametrize(
    ("kills", "threads"), [(3, "1"), pytest.param(20, "2", marks=pytest.mark.slow)], ids=["three", "twenty"]
)
def test_a_batch_that_is_killed_at_any_moment_loses_nothing_and_does_nothing_twice(
    kills: int, threads: str, model: Path, tmp_path: Path, nights: Nights
) -> None:
    count = 4 * kills + 8
    record(tmp_path / "in", count)
    output = tmp_path / "out"
    arguments = ["transcribe", str(tmp_path / "in"), "--output", str(output), "--format", "json"]
    arguments += ["--model", str(model), "--batch-size", "1", "--threads", threads]

    def outputs() -> list[Path]:
        return list(output.glob("[!.]*"))

    def check(path: Path) -> None:
        assert json.loads(path.read_text())["segments"] is not None

    names, done = kill_and_resume(nights, arguments, outputs, tmp_path, kills, 0.05, check)
    assert names == [f"{number:02d}.json" for number in range(count)]
    before, report = written(outputs()), tmp_path / "again.tsv"
    assert max(done.values()) == 1
    assert nights.run([*arguments, "--report", str(report)]) == 0
    assert {row["status"] for row in rows(report)} == {"skipped", "total"}
    assert written(outputs()) == before


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="helpers are found in /proc")
def test_a_helper_that_is_killed_costs_no_recording(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "in", 8)
    from common.commands.processes import Helpers

    killed: list[int] = []
    work = Helpers.work

    def work_and_kill(self: Helpers[Any, Any], *arguments: Any) -> Iterator[Any]:
        self.start()
        for result in work(self, *arguments):
            if not killed:
                assert self._pool is not None
                killed.extend(self._pool._processes)
                os.kill(killed[0], signal.SIGKILL)
            yield result

    monkeypatch.setattr(Helpers, "work", work_and_kill)
    arguments = ["transcribe", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    report = ["--report", str(tmp_path / "report.tsv"), "--threads", "2", "--batch-size", "1"]
    assert main([*arguments, *report, "--model", str(model)]) == 0
    assert killed
    assert sum(row["status"] in ("done", "warning") for row in rows(tmp_path / "report.tsv")) == 8
    assert "a helper process died; going on without" in capsys.readouterr().err


# --- inputs ----------------------------------------------------------------------------------------


def failed_alone(tmp_path: Path, model: Path, status: int) -> str:
    """Transcribe three recordings of which the second fails; why it does."""
    arguments = ["transcribe", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--threads", "1"]
    report = tmp_path / "report.tsv"
    assert main([*arguments, "--report", str(report), "--model", str(model)]) == status
    by_name = rows_by_name(report)
    assert [by_name[f"{number:02d}.wav"]["status"] == "failed" for number in range(3)] == [False, True, False]
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["00.txt", "02.txt"]
    return by_name["01.wav"]["reason"]


def test_a_recording_that_vanishes_after_it_was_listed_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "in", 3)
    load = cli._recognizer

    def load_late(*arguments: Any) -> Any:
        (tmp_path / "in" / "01.wav").unlink()
        return load(*arguments)

    monkeypatch.setattr(cli, "_recognizer", load_late)
    assert failed_alone(tmp_path, model, 1) == "no such file"
    assert f"speech: {tmp_path}/in/01.wav: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: 12"),
    ],
)
@pytest.mark.parametrize("place", ["read", "network"])
def test_a_recording_for_which_memory_does_not_suffice_is_one_line_and_no_traceback(
    error: Exception,
    place: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record(tmp_path / "in", 3)
    long = load_audio(tmp_path / "in" / "01.wav").repeat(3)
    with wave.open(str(tmp_path / "in" / "01.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((long.numpy() * 32767).astype("<i2").tobytes())

    if place == "read":
        import speech.reading

        def made(*arguments: Any) -> Any:
            if arguments[4] > 1.0:
                raise error
            return SegmentFeatures(*arguments)

        monkeypatch.setattr(speech.reading, "SegmentFeatures", made)
    else:
        emissions = AcousticModel.emissions

        def heard(self: AcousticModel, segments: Any) -> Any:
            if any(one.sound_seconds > 1.0 for one in segments):
                raise error
            return emissions(self, segments)

        monkeypatch.setattr(AcousticModel, "emissions", heard)
    assert failed_alone(tmp_path, model, 1).startswith("needs more memory than there is")
    said = capsys.readouterr().err
    assert "Traceback" not in said and "mistake" not in said


LIMITED = """
import resource, sys
from speech.reading import read_all
import torch

usual = resource.getrlimit(resource.RLIMIT_AS)

def features(samples):
    if len(samples) > 16000:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 20, usual[1]))
    try:
        return torch.zeros(1 << 28) if len(samples) > 16000 else torch.zeros(10, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, usual)

def detector(samples, state):
    return torch.ones(len(samples) // 512), state

short, long = torch.rand(8000), torch.rand(32000)
for item in read_all([short, long, short], features, detector):
    if hasattr(item, "problem"):
        print(item.number, item.problem)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system sets no such bound")
def test_where_the_system_refuses_memory_only_the_long_recording_fails() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert (first, third) == ("0 None", "2 None")
    assert second == "1 samples: needs more memory than there is; free some, or cut it into parts"
