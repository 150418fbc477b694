"""The batch engine: outputs that never clash, whole files, errors that stop nobody else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import rows as report_rows

from common.commands.batch import (
    Outcome,
    Summary,
    in_batches,
    plan_outputs,
    run,
    write_outputs,
    write_whole,
)
from common.commands.inputs import Input
from common.commands.outputs import Job
from common.errors import InputError

NAMES = st.text("aB.", min_size=1, max_size=4).filter(lambda name: name.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def jobs(*paths: str) -> list[Job]:
    return [Job(Input(path, path)) for path in paths]


def load(path: str) -> str:
    if "bad" in path:
        raise InputError(path, "is not sound")
    return path


def shout(texts: list[str]) -> list[str | InputError]:
    return [text.upper() for text in texts]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def seen_in(folder: Path) -> list[str]:
    """The names of what is not hidden."""
    return [name for name in names_in(folder) if not name.startswith(".")]


class Delivered(list[str]):
    def __call__(self, job: Job, result: str) -> None:
        self.append(result)


# --- outputs ---------------------------------------------------------------------------------------


def planned(folder: Path, *inputs: Input) -> list[str]:
    return [os.path.relpath(str(job.outputs["txt"]), folder) for job in plan_outputs(inputs, folder, ["txt"])]


def test_outputs_mirror_the_folder_with_a_new_suffix(tmp_path: Path) -> None:
    inputs = [Input("in/a.wav", "a.wav"), Input("in/b/v1.2.mp3", "b/v1.2.mp3"), Input("in/none", "none")]
    assert planned(tmp_path, *inputs) == ["a.txt", "b/v1.2.txt", "none.txt"]


def test_inputs_that_differ_in_suffix_keep_it(tmp_path: Path) -> None:
    inputs = [Input("a.wav", "a.wav"), Input("a.mp3", "a.mp3"), Input("b.wav", "b.wav")]
    assert planned(tmp_path, *inputs) == ["a.wav.txt", "a.mp3.txt", "b.txt"]


def test_inputs_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    inputs = [Input("day1/a.wav", "a.wav"), Input("day2/a.wav", "a.wav"), Input("day2/b.wav", "b.wav")]
    assert planned(tmp_path, *inputs) == ["day1/a.txt", "day2/a.txt", "b.txt"]


def test_names_that_differ_in_case_only_count_as_the_same(tmp_path: Path) -> None:
    assert planned(tmp_path, Input("x/A.wav", "A.wav"), Input("y/a.wav", "a.wav")) == ["x/A.txt", "y/a.txt"]


@given(paths=st.lists(PATHS, unique=True, max_size=12), depths=st.data())
def test_no_two_inputs_ever_claim_one_output(paths: list[str], depths: st.DataObject) -> None:
    paths = [path for path in paths if not any(other.startswith(f"{path}/") for other in paths)]
    inputs = []
    for path in paths:
        parts = path.split("/")
        cut = depths.draw(st.integers(0, len(parts) - 1))
        inputs.append(Input(f"/data/{path}", "/".join(parts[cut:])))
    names = planned(Path("/out"), *inputs)
    assert len(set(names)) == len(names)
    assert not any(".." in Path(name).parts for name in names)
    order = depths.draw(st.permutations(range(len(inputs))))
    assert planned(Path("/out"), *(inputs[number] for number in order)) == [names[number] for number in order]


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="out: is a file; the output must be a folder"):
        plan_outputs([Input("a.wav", "a.wav")], tmp_path / "out", ["txt"])


def test_without_a_folder_nothing_is_planned_but_the_work() -> None:
    assert plan_outputs([Input("a.wav", "a.wav")], None, ["txt"]) == [Job(Input("a.wav", "a.wav"))]


# --- files -----------------------------------------------------------------------------------------


def test_a_file_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "a/b/c.txt", "é\n")
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"\xc3\xa9\n"
    assert names_in(tmp_path / "a/b") == ["c.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(InputError, match=r"a\.txt: cannot be written: No space left on device"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_file_where_a_folder_should_be_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "a" / "b.txt", "")


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".txt")
    write_whole(path, "text")
    assert path.read_text() == "text"


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_whole(Path(os.devnull), "text")
    assert not Path(os.devnull).is_file()


def test_many_writers_of_one_file_leave_one_of_theirs_and_nothing_else(tmp_path: Path) -> None:
    path, texts = tmp_path / "a.txt", [str(number) * 20_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_whole(path, text), texts * 8))
    assert path.read_text() in texts
    assert names_in(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_cleared_and_what_one_writes_now_is_not(tmp_path: Path) -> None:
    for name in (".dead.part", ".alive.part", "mine.part", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / ".model.part").mkdir()
    (tmp_path / ".model.part" / "config.json").touch()
    for name in (".dead.part", "mine.part", ".hidden", ".model.part"):
        os.utime(tmp_path / name, (1, 1))
    write_whole(tmp_path / "a.txt", "text")
    assert names_in(tmp_path) == [".alive.part", ".hidden", "a.txt", "mine.part"]


def test_every_format_is_rendered_before_one_is_written(tmp_path: Path) -> None:
    def render(result: str, path: str, format: str) -> str:
        if format == "srt":
            raise InputError("srt", "has no times")
        return result

    job = Job(Input("a", "a"), {"txt": tmp_path / "a.txt", "srt": tmp_path / "a.srt"})
    with pytest.raises(InputError):
        write_outputs(render)(job, "text")
    assert not names_in(tmp_path)


# --- batches ---------------------------------------------------------------------------------------


def test_a_bad_input_does_not_spoil_its_batch() -> None:
    outcomes = list(in_batches(load, shout, batch_size=2)(jobs("a", "bad", "b", "c")))
    results = {outcome.job.input.path: outcome.result for outcome in outcomes}
    assert isinstance(results.pop("bad"), InputError)
    assert results == {"a": "A", "b": "B", "c": "C"}


def test_batches_are_full_though_some_inputs_are_bad() -> None:
    sizes = []

    def answer(texts: list[str]) -> list[str | InputError]:
        sizes.append(len(texts))
        return shout(texts)

    list(in_batches(load, answer, batch_size=2)(jobs("a", "bad", "b", "bad2", "c", "d", "e")))
    assert sizes == [2, 2, 1]


def test_an_error_in_the_answer_costs_only_the_input_that_caused_it() -> None:
    def answer(texts: list[str]) -> list[str | InputError]:
        if "b" in texts:
            raise InputError("recording", "is silent")
        return shout(texts)

    results = [outcome.result for outcome in in_batches(load, answer, batch_size=3)(jobs("a", "b", "c"))]
    assert results[0] == "A"
    assert isinstance(results[1], InputError)
    assert results[2] == "C"


def test_inputs_are_loaded_while_the_network_answers() -> None:
    loaded_third = threading.Event()

    def load_and_tell(path: str) -> str:
        if path == "c":
            loaded_third.set()
        return path

    def answer(texts: list[str]) -> list[str | InputError]:
        assert loaded_third.wait(5)
        return shout(texts)

    assert len(list(in_batches(load_and_tell, answer, batch_size=2)(jobs("a", "b", "c")))) == 3


def noted(work: Iterable[Job], asked: list[str]) -> Iterator[Job]:
    """Jobs one by one, each noted when it is taken."""
    for job in work:
        asked.append(job.input.path)
        yield job


def test_no_more_is_loaded_than_the_next_batch() -> None:
    asked: list[str] = []
    next(iter(in_batches(load, shout, batch_size=4)(noted(jobs(*map(str, range(100))), asked))))
    assert len(asked) <= 12


def test_bad_inputs_do_not_pile_up_behind_a_slow_batch() -> None:
    asked: list[str] = []
    asked_by_then = []

    def answer(texts: list[str]) -> list[str | InputError]:
        asked_by_then.append(len(asked))
        return shout(texts)

    work = noted(jobs("slow", *(f"bad{number}" for number in range(1000))), asked)
    assert len(list(in_batches(load, answer, batch_size=1)(work))) == 1001
    assert asked_by_then[0] <= 10


@pytest.mark.parametrize("place", ["load", "answer", "deliver"])
def test_a_mistake_of_the_program_costs_only_the_input_that_shows_it(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    delivered, report = Delivered(), tmp_path / "report.tsv"

    def broken_at(here: str, text: str) -> None:
        if here == place and text.lower() == "b":
            raise KeyError("oh")

    def load_or_break(path: str) -> str:
        broken_at("load", path)
        return path

    def answer(texts: list[str]) -> list[str | InputError]:
        for text in texts:
            broken_at("answer", text)
        return shout(texts)

    def deliver(job: Job, result: str) -> None:
        broken_at("deliver", result)
        delivered(job, result)

    process = in_batches(load_or_break, answer, batch_size=3)
    summary = run(jobs("a", "b", "c"), process, deliver, command="speech", report=report)
    assert (delivered, summary) == (["A", "C"], Summary(done=2, failed=1))
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(
        "speech: b: cannot be done because of a mistake in this program (KeyError: 'oh')"
    )
    assert len(said) == 2
    (row,) = [line for line in report.read_text().splitlines() if line.startswith("b\t")]
    assert "Traceback" in row and "broken_at" in row
    run(jobs("b"), process, deliver, command="speech")
    assert "Traceback" in capsys.readouterr().err  # without a report there is no other place for it


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_stops_the_run_at_once(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [Input(name, name) for name in "abcdef"]
    answered, fsync = [], os.fsync

    def answer(texts: list[str]) -> list[str | InputError]:
        answered.extend(texts)
        if "c" in texts:
            monkeypatch.setattr(os, "fsync", full)
        return shout(texts)

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    plan = plan_outputs(inputs, tmp_path, ["txt"])
    summary = run(
        plan, in_batches(str, answer, 1), write_outputs(lambda text, *_: str(text)), command="speech"
    )
    monkeypatch.setattr(os, "fsync", fsync)
    assert (summary, answered) == (Summary(done=2, failed=1), ["a", "b", "c"])
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"speech: c: {tmp_path}/c.txt: cannot be written: {os.strerror(number)}",
        "speech: stopped; 2 done, 1 failed, 3 left",
    ]


def test_a_report_on_a_full_disk_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    with pytest.raises(InputError, match="cannot be written: No space left"):
        run(jobs("a"), in_batches(load, shout, 2), Delivered(), command="x", report=Path("/dev/full"))


# --- the run ---------------------------------------------------------------------------------------


def test_the_others_are_done_and_the_status_says_that_one_failed(capsys: pytest.CaptureFixture[str]) -> None:
    delivered = Delivered()
    work = [*jobs("a", "bad", "b"), Job(Input("gone", "gone", "no such file"))]
    summary = run(work, in_batches(load, shout, 2), delivered, command="speech")
    assert delivered == ["A", "B"]
    assert summary == Summary(done=2, failed=2)
    assert summary.exit_status == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "speech: gone: no such file",
        "speech: bad: is not sound",
        "speech: 2 done, 2 failed",
    ]


def test_a_failed_delivery_names_input_and_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    work = [Job(Input("a", "a"), {"txt": tmp_path / "file" / "a.txt"})]
    summary = run(
        work, in_batches(load, shout, 2), write_outputs(lambda text, *_: str(text)), command="speech"
    )
    assert summary.failed == 1
    assert capsys.readouterr().err.startswith(f"speech: a: {tmp_path}/file/a.txt: cannot be written")


def test_one_good_input_leaves_standard_error_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(jobs("a"), in_batches(load, shout, 2), Delivered(), command="speech").exit_status == 0
    assert capsys.readouterr().err == ""


def test_a_second_run_does_only_what_is_missing(tmp_path: Path) -> None:
    inputs = [Input("a", "a"), Input("b", "b")]
    loaded = []

    def loading(path: str) -> str:
        loaded.append(path)
        return path

    def once(formats: Sequence[str]) -> Summary:
        loaded.clear()
        render = write_outputs(lambda text, _, format: f"{format} {text}")
        return run(
            plan_outputs(inputs, tmp_path, formats), in_batches(loading, shout, 2), render, command="speech"
        )

    assert once(["txt"]) == Summary(done=2)
    (tmp_path / "b.txt").unlink()
    assert once(["txt"]) == Summary(done=1, skipped=1)
    assert loaded == ["b"]
    assert once(["txt", "srt"]) == Summary(done=2)
    assert once(["txt", "srt"]) == Summary(skipped=2)
    assert not loaded
    assert (tmp_path / "b.srt").read_text() == "srt B"


def test_the_report_has_a_line_for_every_input(tmp_path: Path) -> None:
    report = tmp_path / "new" / "report.tsv"
    work = [
        *jobs("a", "bad\tname"),
        Job(Input("old", "old"), done=True),
        Job(Input("x", "x", "no such file")),
    ]
    details = {"letters": lambda text: str(len(text))}
    run(work, in_batches(load, shout, 2), Delivered(), command="speech", report=report, details=details)
    rows = {row.pop("path"): row for row in report_rows(report)}
    wall = rows[""]["reason"].rpartition(" in ")[2].removesuffix(" s")
    assert {path: (row["status"], row["letters"], row["reason"]) for path, row in rows.items()} == {
        "a": ("done", "1", ""),
        "bad\\tname": ("failed", "", "is not sound"),
        "old": ("skipped", "", ""),
        "x": ("failed", "", "no such file"),
        "": ("total", "", f"1 done, 1 already there (--overwrite does them again), 2 failed in {wall} s"),
    }
    assert all(float(row["seconds"]) >= 0 for row in rows.values())


def test_a_report_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    delivered = Delivered()
    with pytest.raises(InputError, match="the report cannot be written"):
        run(jobs("a"), in_batches(load, shout, 2), delivered, command="speech", report=tmp_path)
    assert not delivered


def test_an_interrupt_says_how_far_it_came_and_passes_through(capsys: pytest.CaptureFixture[str]) -> None:
    def process(work: Iterable[Job]) -> Iterable[Outcome[str]]:
        for job in work:
            if job.input.path == "b":
                raise KeyboardInterrupt
            yield Outcome(job, "text", 0.0)

    with pytest.raises(KeyboardInterrupt):
        run(jobs("a", "b", "c"), process, Delivered(), command="speech")
    assert capsys.readouterr().err == "speech: stopped; 1 done, 2 left\n"


KILLED = """
import os, signal, sys
from pathlib import Path
from common.commands.batch import in_batches, plan_outputs, run, write_outputs
from common.commands.inputs import Input

inputs = [Input(str(number), str(number)) for number in range(8)]

def answer(texts):
    if "5" in texts and sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return texts

run(plan_outputs(inputs, Path(sys.argv[1]), ["txt"]), in_batches(str, answer, 1),
    write_outputs(lambda text, *_: text), command="speech")
"""


INTERRUPTED = """
import os, signal, time
from functools import partial
from operator import attrgetter
from common.commands.batch import Job, Outcome, run
from common.commands.inputs import Input
from common.commands.processes import Helpers

signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup it is ignored

def answer(job):
    time.sleep(0.02)
    if int(job.input.path) >= 5:
        os.kill(os.getpid(), signal.SIGINT)
    return job.input.path

def process(jobs):
    with Helpers(partial(attrgetter, "input.path"), 1) as helpers:
        helpers.start()
        for job, text in helpers.work(answer, jobs):
            yield Outcome(job, text, 0.02)

jobs = [Job(Input(str(number), str(number))) for number in range(10_000)]
run(jobs, process, lambda *_: None, command="speech")
"""


def test_an_interrupt_ends_all_processes_at_once() -> None:
    # The rest would take more than a minute.
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGINT
    assert "speech: stopped; " in done.stderr


def test_a_kill_loses_nothing_but_the_file_in_hand(tmp_path: Path) -> None:
    def start(how: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, "-c", KILLED, tmp_path, how], capture_output=True)

    assert start("kill").returncode < 0
    assert seen_in(tmp_path) == [f"{number}.txt" for number in range(5)]
    finished = start("finish")
    assert finished.stderr.decode().strip().startswith("speech: 3 done, 5 already there")
    assert seen_in(tmp_path) == [f"{number}.txt" for number in range(8)]
