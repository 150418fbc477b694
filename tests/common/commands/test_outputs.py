"""Outputs remember what they were made from: none is trusted that is of another or old, and none is lost."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.commands.batch import Summary, in_batches, run, write_outputs
from common.commands.inputs import Input, collect_inputs
from common.commands.ledger import NAME, Ledger, Source
from common.commands.outputs import Job, plan_file, plan_outputs
from common.errors import InputError
from common.files import OutputError, require_writable


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(path: str, content: str) -> None:
    """Make a recording."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content)


def work(jobs: Sequence[Job]) -> Summary:
    """Do what is left: an output is its input's content in upper case."""
    process = in_batches(lambda path: Path(path).read_text(), lambda texts: [t.upper() for t in texts], 4)
    return run(jobs, process, write_outputs(lambda text, *_: str(text)), command="speech")


def transcribe(*sources: str, formats: Sequence[str] = ("txt",), **options: Any) -> Summary:
    inputs = collect_inputs(sources, (".wav", ".mp3", ".opus"), "recordings")
    return work(plan_outputs(inputs, Path("out"), formats, **options))


def outputs() -> dict[str, str]:
    found = [path for path in Path("out").rglob("*") if path.is_file() and path.name != NAME]
    return {str(path.relative_to("out")): path.read_text() for path in found}


def test_what_is_done_is_done_format_by_format() -> None:
    record("a.wav", "one")
    assert transcribe("a.wav") == Summary(done=1)
    assert transcribe("a.wav") == Summary(skipped=1)
    (job,) = plan_outputs([Input("a.wav", "a.wav")], Path("out"), ["txt", "srt"])
    assert job.outputs == {"srt": Path("out/a.srt")}
    (job,) = plan_outputs([Input("a.wav", "a.wav")], Path("out"), ["txt", "srt"], overwrite=True)
    assert list(job.outputs) == ["txt", "srt"]


def test_another_input_of_the_same_name_gets_another_name_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record("a/rec.wav", "one")
    record("b/rec.wav", "two")
    record("c/rec.wav", "three")
    for name in ("a", "b", "c"):
        assert transcribe(f"{name}/rec.wav") == Summary(done=1)
    assert sorted(outputs().values()) == ["ONE", "THREE", "TWO"]
    assert outputs()["rec.txt"] == "ONE" and outputs()["rec.wav.txt"] == "TWO"
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "speech: b/rec.wav: is written to rec.wav, because rec was made from ../a/rec.wav"
    assert len(said) == 2
    for name in ("c", "a", "b"):
        assert transcribe(f"{name}/rec.wav") == Summary(skipped=1)
    assert transcribe("a", "b", "c") == Summary(skipped=3)


def test_names_do_not_depend_on_what_came_later() -> None:
    record("in/a.mp3", "one")
    assert transcribe("in") == Summary(done=1)
    record("in/a.opus", "two")
    assert transcribe("in") == Summary(done=1, skipped=1)
    assert outputs() == {"a.txt": "ONE", "a.opus.txt": "TWO"}
    assert transcribe("in", formats=("srt",)) == Summary(done=2)
    assert outputs()["a.srt"] == "ONE" and outputs()["a.opus.srt"] == "TWO"


def test_a_name_is_free_again_when_its_outputs_are_gone() -> None:
    record("a/rec.wav", "one")
    record("b/rec.wav", "two")
    transcribe("a/rec.wav")
    Path("out/rec.txt").unlink()
    transcribe("b/rec.wav")
    assert outputs() == {"rec.txt": "TWO"}


def test_a_recording_that_was_replaced_is_done_again_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record("a.wav", "one")
    transcribe("a.wav")
    record("a.wav", "four")
    assert transcribe("a.wav") == Summary(done=1)
    assert outputs() == {"a.txt": "FOUR"}
    assert capsys.readouterr().err == "speech: a.wav: has changed, and is done again\n"
    assert transcribe("a.wav") == Summary(skipped=1)


def test_other_settings_do_it_again_and_the_difference_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    record("in/a.wav", "one")
    record("in/b.wav", "two")
    transcribe("in", settings={"beam": 64, "model": "x"})
    assert transcribe("in", settings={"model": "x", "beam": 64}) == Summary(skipped=2)
    capsys.readouterr()
    assert transcribe("in", settings={"beam": 1, "model": "x"}) == Summary(done=2)
    said = capsys.readouterr().err
    assert said == "speech: in/a.wav (and 1 more): is done again with beam 1 in place of 64\n"


def test_what_somebody_changed_by_hand_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    record("a.wav", "one")
    transcribe("a.wav")
    Path("out/a.txt").write_text("One!")
    assert transcribe("a.wav") == Summary(skipped=1)
    assert transcribe("a.wav", settings={"beam": 1}) == Summary(failed=1)
    assert "somebody has changed out/a.txt since it was written" in capsys.readouterr().err
    assert outputs() == {"a.txt": "One!"}
    assert transcribe("a.wav", overwrite=True) == Summary(done=1)
    assert outputs() == {"a.txt": "ONE"}


def test_what_nothing_is_known_of_is_neither_trusted_nor_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    record("a.wav", "one")
    record("out/a.txt", "my notes")
    assert transcribe("a.wav") == Summary(failed=1)
    assert "it is not known what it was made from; --overwrite" in capsys.readouterr().err
    assert outputs() == {"a.txt": "my notes"}


def test_inputs_and_outputs_can_be_moved_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    record("a.wav", "one")
    transcribe("a.wav")
    (folder / "here").rename(folder / "there")
    monkeypatch.chdir(folder / "there")
    assert transcribe("a.wav") == Summary(skipped=1)


def test_standard_input_is_never_the_same_twice() -> None:
    piped = [Input("-", "stdin")]
    (job,) = plan_outputs(piped, Path("out"), ["txt"])
    job.write(job.outputs["txt"], "one")
    (again,) = plan_outputs(piped, Path("out"), ["txt"])
    assert again.input.problem is not None and "standard input" in again.input.problem


def test_a_file_that_is_named_is_remembered_too() -> None:
    record("a.wav", "one")
    record("b.wav", "two")
    path = Path("new/text.txt")
    assert work([plan_file(Input("a.wav", "a.wav"), path, "txt")]) == Summary(done=1)
    assert work([plan_file(Input("a.wav", "a.wav"), path, "txt")]) == Summary(skipped=1)
    assert work([plan_file(Input("b.wav", "b.wav"), path, "txt")]) == Summary(failed=1)
    assert path.read_text() == "ONE"
    assert work([plan_file(Input("b.wav", "b.wav"), path, "txt", overwrite=True)]) == Summary(done=1)


def test_a_job_that_is_planned_costs_a_few_bytes() -> None:
    inputs = [Input(f"in/{number}.wav", f"{number}.wav") for number in range(3000)]
    plan_outputs(inputs[:1], Path("out"), ["txt"])  # what is imported stays
    tracemalloc.start()
    jobs = plan_outputs(inputs, Path("out"), ["txt"])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept / len(jobs) < 40
    assert [str(job.outputs["txt"]) for job in jobs[-2:]] == ["out/2998.txt", "out/2999.txt"]


def test_a_job_tells_its_input_as_it_was_when_it_was_planned() -> None:
    record("a.wav", "one")
    states = [(5, 7), (5, 2**70)]  # the second is more than a file can have
    urls = [Input(f"s3://sound/{size}.wav", "b.wav", state=state) for size, state in enumerate(states)]
    jobs = plan_outputs([Input("a.wav", "a.wav"), *urls], Path("out"), ["txt"])
    record("a.wav", "another")
    found = [(job.source.size, job.source.changed) for job in jobs if job.source is not None]
    assert found[0][0] == len("one")
    assert found[1:] == states


def test_a_folder_where_nobody_may_write_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    record("a.wav", "one")
    monkeypatch.setattr(Path, "touch", forbidden)
    with pytest.raises(OutputError, match="out: cannot be written: Permission denied"):
        plan_outputs([Input("a.wav", "a.wav")], Path("out"), ["txt"])


def test_a_full_disk_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5000}))
    with pytest.raises(OutputError, match=r"the disk is full \(4 kB free\)"):
        require_writable(folder)


def test_asking_whether_a_folder_can_be_written_makes_none(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "run")
    require_writable(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("file", "Not a directory"),
        ("file/run", "Not a directory"),
        ("nowhere/run", "No such file"),
        ("x" * 300, "too long"),
    ],
)
def test_a_folder_that_cannot_be_made_is_said_before_the_work(
    tmp_path: Path, folder: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("away")
    with pytest.raises(InputError, match=rf"{folder}: cannot be written: .*{reason}"):
        require_writable(tmp_path / folder)


# --- the ledger ------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8).filter(
    lambda name: name.strip(".") != ""
)


@given(NAMES, NAMES, st.integers(0, 2**40), st.integers(0, 2**62))
def test_whatever_a_file_is_called_its_line_is_read_as_it_was_written(
    output: str, path: str, size: int, changed: int
) -> None:
    folder = Path(f"ledger{time.monotonic_ns()}")
    source, state = Source(path, size, changed), (12, 345)
    for beam in (1, 2):
        ledger = Ledger(folder, {"beam": beam})
        ledger.note(f"{output}.txt", source, state)
        ledger.close()
    first, second = Ledger(folder, {"beam": 2}).records(f"{output}.txt")
    assert first.source == second.source == source
    read = Ledger(folder, {"beam": 2})
    assert read.is_current(second) and not read.is_current(first)
    assert read.difference(first) == "beam 2 in place of 1"


@given(st.data())
def test_a_ledger_that_was_torn_anywhere_is_read_up_to_there_and_goes_on(data: st.DataObject) -> None:
    folder = Path(f"ledger{time.monotonic_ns()}")
    folder.mkdir()
    state = (12, 345)
    digest = data.draw(st.sampled_from(["", "0123456789abcdef"]))
    ledger = Ledger(folder, {}, lambda *_: digest)
    for number in range(3):
        (folder / str(number)).touch()
        found = (folder / str(number)).stat()
        ledger.note(f"{number}.txt", Source(str(number), found.st_size, found.st_mtime_ns), state)
    ledger.close()
    whole = (folder / NAME).read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    (folder / NAME).write_bytes(whole[:kept])
    ledger = Ledger(folder, {})
    there = [bool(ledger.records(f"{number}.txt")) for number in range(3)]
    assert there == sorted(there, reverse=True)
    assert sum(there) == max(0, whole[:kept].count(b"\n") - 2)
    ledger.note("new.txt", Source("new"), state)
    ledger.close()
    again = Ledger(folder, {})
    assert [bool(again.records(f"{number}.txt")) for number in range(3)] == there
    assert [one.source.path for one in again.records("new.txt")] == ["new"]


def test_an_input_that_changed_where_it_does_not_count_is_the_same() -> None:
    read = []

    def content(path: str, size: int, changed: int) -> str:
        read.append(path)
        return Path(path).read_text().partition("#")[0].encode().hex()

    record("a.wav", "one")
    assert transcribe("a.wav", content=content) == Summary(done=1)
    record("a.wav", "one# a remark")
    assert transcribe("a.wav", content=content) == Summary(skipped=1)
    read.clear()
    assert transcribe("a.wav", content=content) == Summary(skipped=1)
    assert not read  # that it is the same is remembered
    record("a.wav", "two# a remark")
    assert transcribe("a.wav", content=content) == Summary(done=1)
    assert transcribe("a.wav") == Summary(skipped=1)


def test_a_file_of_somebody_else_is_not_taken_for_a_ledger() -> None:
    record(f"out/{NAME}", "shopping list\n")
    with pytest.raises(InputError, match="is not what remembers the outputs"):
        Ledger(Path("out"), {})


def test_a_hundred_thousand_outputs_are_remembered_in_a_moment() -> None:
    Path("out").mkdir()
    lines = [f"{number}.txt\t../in/{number}.wav\t1000\t{number}\tkey\t10\t20" for number in range(100_000)]
    (Path("out") / NAME).write_text("\n".join(["#outputs 1", *lines, ""]))
    started = time.process_time()
    ledger = Ledger(Path("out"), {})
    assert ledger.records("99999.txt")[0].source == Source("../in/99999.wav", 1000, 99999)
    assert time.process_time() - started < 3.0  # a million in half a minute on a slow machine


# --- kills -----------------------------------------------------------------------------------------

NIGHT = """
import sys
from pathlib import Path
from common.commands.batch import in_batches, plan_outputs, run, write_outputs
from common.commands.inputs import collect_inputs

def load(path):
    return Path(path).read_text()

def render(text, path, format):
    return f"{format} {text.upper()}" * 2000

inputs = collect_inputs(["in"], (".wav",), "recordings")
jobs = plan_outputs(inputs, Path("out"), ["txt", "srt"], settings={"beam": 1})
print("begun", flush=True)
summary = run(jobs, in_batches(load, list, 4), write_outputs(render), command="speech")
sys.exit(summary.exit_status)
"""


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is not to be had")
def test_a_batch_that_is_killed_again_and_again_is_whole_in_the_end() -> None:
    inputs = 60
    for number in range(inputs):
        record(f"in/{number}.wav", f"text {number}")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    generator, kills = random.Random(3), 0

    def night() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", NIGHT], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    for _ in range(12):
        with night() as process:
            assert process.stdout is not None and process.stdout.readline() == b"begun\n"
            # A moment of its work, whatever the machine does beside it: when so many more outputs are there.
            there = sum(1 for _ in Path("out").glob("*.*"))
            wanted = there + generator.randrange(8)
            while process.poll() is None and sum(1 for _ in Path("out").glob("*.*")) < wanted:
                pass
            process.send_signal(signal.SIGKILL)
        kills += process.returncode == -signal.SIGKILL
        for path in Path("out").glob("[!.]*"):
            format, name = path.suffix[1:], path.stem
            assert path.read_text() == f"{format} TEXT {name}" * 2000  # every one is whole
    assert kills > 3
    with night() as process:
        said = process.communicate()[1].decode()
    assert (process.returncode, "failed" in said) == (0, False)
    names = sorted(path.name for path in Path("out").glob("[!.]*"))
    assert names == sorted(f"{number}.{format}" for number in range(inputs) for format in ("txt", "srt"))
    with night() as process:
        assert f"0 done, {inputs} already there" in process.communicate()[1].decode()
