"""Inputs and outputs on a store: planned, written and remembered as those of this machine are."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from common import stores
from common.commands import store_ledger
from common.commands.batch import Outcome, run, write_outputs
from common.commands.inputs import Input, collect_inputs
from common.commands.outputs import Job, plan_file, plan_outputs
from common.commands.paths import require_apart
from common.errors import InputError, OutputError
from common.locations import StorePath
from common.manifest import read_manifest

pytest.importorskip("fsspec")


@pytest.fixture
def store() -> str:
    """A folder with two recordings, one of them in a folder of its own, and a text file."""
    store = f"memory://{uuid.uuid4()}"
    for name in ("in/a.wav", "in/monday/b.WAV", "in/notes.txt", "in/.hidden/c.wav"):
        stores.put(f"{store}/{name}", name.encode())
    return store


def write_all(jobs: Sequence[Job]) -> None:
    """Write for each job what its input and format are called."""
    run(
        jobs,
        lambda left: (Outcome(job, job.input.path, 0.0) for job in left),
        write_outputs(lambda result, path, format: f"{format} of {result}"),
        command="test",
    )


def content(place: str) -> dict[str, str]:
    return {
        one.url.removeprefix(f"{place}/"): stores.read(one.url).decode()
        for one in stores.find(place)
        if "/.outputs/" not in one.url
    }


def test_a_folder_gives_its_recordings_and_counts_the_rest(store: str) -> None:
    passed_over: Counter[str] = Counter()
    found = collect_inputs([f"{store}/in/"], [".wav"], "recordings", passed_over=passed_over)
    assert [(one.path, one.relative) for one in found] == [
        (f"{store}/in/a.wav", "a.wav"),
        (f"{store}/in/monday/b.WAV", "monday/b.WAV"),
    ]
    assert passed_over == {".txt": 1}
    assert collect_inputs([f"{store}/in"], [".wav"]) == found  # a store says that it is a folder
    assert collect_inputs([f"{store}/in/**/*.WAV"], [".wav"])[0].relative == "monday/b.WAV"
    assert collect_inputs([f"{store}/in/monday/*"], [".wav"])[0].relative == "b.WAV"


def test_what_is_not_there_is_a_problem_of_that_input_alone(store: str) -> None:
    named = [f"{store}/in/none.wav", f"{store}/in/a.wav", f"{store}/none/", f"{store}/in/*.mp3"]
    found = collect_inputs(named, [".wav"], "recordings")
    problems = [one.problem for one in found]
    assert problems == ["no such file", None, "no recordings in this folder", "no file matches"]


def test_a_list_behind_a_url_names_files_beside_it(store: str, tmp_path: Path) -> None:
    (tmp_path / "here.wav").write_bytes(b"")
    lines = ["a.wav", f"{store}/in/monday/b.WAV", str(tmp_path / "here.wav")]
    stores.put(f"{store}/in/list.txt", "\n".join(lines).encode())
    found = collect_inputs([], [".wav"], lists=[f"{store}/in/list.txt"])
    assert [one.path for one in found] == [f"{store}/in/a.wav", *lines[1:]]
    with pytest.raises(InputError, match=r"none\.txt: no such file"):
        collect_inputs([], [".wav"], lists=[f"{store}/none.txt"])


def test_a_manifest_behind_a_url_names_files_beside_it(store: str) -> None:
    stores.put(f"{store}/dev.tsv", b"path\ttext\nin/a.wav\tone\ns3://other/b.wav\ttwo\n")
    rows = read_manifest(StorePath(f"{store}/dev.tsv"), ["path", "text"], urls=True)
    assert [row["path"] for row in rows] == [f"{store}/in/a.wav", "s3://other/b.wav"]


def test_a_manifest_of_this_machine_names_urls_only_where_they_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text("path\ttext\ns3://other/b.wav\ttwo\n")
    assert read_manifest(tmp_path / "dev.tsv", ["path"], urls=True)[0]["path"] == "s3://other/b.wav"
    with pytest.raises(InputError, match=r"line 2: no file 's3://other/b\.wav'"):
        read_manifest(tmp_path / "dev.tsv", ["path"])


def test_outputs_are_remembered_and_done_again_only_when_something_has_changed(store: str) -> None:
    def planned(beam: int = 1) -> Sequence[Job]:
        found = collect_inputs([f"{store}/in/"], [".wav"])
        return plan_outputs(found, StorePath(f"{store}/out"), ["txt", "srt"], settings={"beam": beam})

    write_all(planned())
    first, second = (f"{store}/in/{name}" for name in ("a.wav", "monday/b.WAV"))
    assert content(f"{store}/out") == {
        "a.txt": f"txt of {first}",
        "a.srt": f"srt of {first}",
        "monday/b.txt": f"txt of {second}",
        "monday/b.srt": f"srt of {second}",
    }
    assert [job.done for job in planned()] == [True, True]
    assert [job.remark for job in planned(2)] == ["is done again with beam 2 in place of 1"] * 2
    stores.put(first, b"another recording")
    assert [(job.done, job.remark) for job in planned()] == [
        (False, "has changed, and is done again"),
        (True, None),
    ]


def test_a_clock_that_jumps_back_does_not_bring_back_older_settings(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(beam: int) -> Sequence[Job]:
        found = collect_inputs([f"{store}/in/"], [".wav"])
        return plan_outputs(found, StorePath(f"{store}/out"), ["txt"], settings={"beam": beam})

    clock = iter(range(9 * 10**18, 0, -(10**17)))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    write_all(planned(beam=1))
    write_all(planned(beam=2))  # which gives the same texts
    assert [job.done for job in planned(beam=2)] == [True, True]


def test_what_somebody_else_wrote_or_changed_is_not_replaced(store: str) -> None:
    stores.put(f"{store}/out/a.txt", b"mine")

    def planned(beam: int = 1) -> Sequence[Job]:
        found = collect_inputs([f"{store}/in/"], [".wav"])
        return plan_outputs(found, StorePath(f"{store}/out/"), ["txt"], settings={"beam": beam})

    write_all(planned())
    assert content(f"{store}/out")["a.txt"] == "mine"
    stores.put(f"{store}/out/monday/b.txt", b"corrected by hand")
    assert "somebody has changed" in str(planned(2)[1].input.problem)
    assert planned()[1].done


def test_a_kill_between_the_note_and_the_file_costs_nothing(store: str) -> None:
    def planned() -> Sequence[Job]:
        return plan_outputs(collect_inputs([f"{store}/in/a.wav"], []), StorePath(f"{store}/out"), ["txt"])

    (job,) = planned()
    assert job.ledger is not None
    assert job.source is not None
    job.ledger.note("a.txt", job.source, store_ledger.stored_state(b"text"))
    assert not planned()[0].done
    stores.put(f"{store}/out/a.txt", b"text")
    assert planned()[0].done


def test_several_processes_write_into_a_folder_at_the_same_time(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_ledger, "_LINES", 4)
    out, inputs = StorePath(f"{store}/out"), [Input(f"{store}/{n}.wav", f"{n}.wav") for n in range(12)]
    halves = [plan_outputs(inputs[start::2], out, ["txt"]) for start in (0, 1)]  # both planned first
    for one, other in zip(*halves, strict=True):
        write_all([one])
        write_all([other])
    assert all(job.done for job in plan_outputs(inputs, out, ["txt"]))
    segments = [one for one in stores.find(store) if "/.outputs/" in one.url]
    assert len(segments) > 4


def test_an_output_whose_md5_the_store_does_not_tell_truly_is_read(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, found = StorePath(f"{store}/out"), collect_inputs([f"{store}/in/a.wav"], [])
    write_all(plan_outputs(found, out, ["txt"]))
    true = stores.Stored.of

    def encrypted(url: str, info: dict[str, object]) -> stores.Stored:
        return true(url, {**info, "ETag": "0" * 32})

    monkeypatch.setattr(stores.Stored, "of", encrypted)
    (job,) = plan_outputs([Input(one.path, one.relative, state=(1, 1)) for one in found], out, ["txt"])
    assert job.remark == "has changed, and is done again"  # and not: somebody has changed it
    assert job.input.problem is None


def test_one_file_is_planned_without_listing_its_folder(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    find = stores.find

    def noted(url: str) -> Any:
        asked.append(url)
        return find(url)

    monkeypatch.setattr(stores, "find", noted)
    (one,) = collect_inputs([f"{store}/in/a.wav"], [])
    write_all([plan_file(one, StorePath(f"{store}/talk.srt"), "srt")])
    assert plan_file(one, StorePath(f"{store}/talk.srt"), "srt").done
    assert {url.rstrip("/") for url in asked} == {f"{store}/.outputs"}


def test_a_store_that_takes_nothing_ends_the_run_before_work_begins(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(
        OutputError, match=r"out: may not be written; check the credentials \(Access Denied\)"
    ):
        plan_outputs(collect_inputs([f"{store}/in/"], [".wav"]), StorePath(f"{store}/out"), ["txt"])


def test_a_report_is_put_on_its_store_even_if_an_input_failed(store: str) -> None:
    jobs = plan_outputs(collect_inputs([f"{store}/in/a.wav", f"{store}/none.wav"], []), None, ["txt"])
    summary = run(
        jobs,
        lambda left: (Outcome(job, "text", 0.0) for job in left),
        lambda job, result: None,
        command="test",
        report=StorePath(f"{store}/report.tsv"),
    )
    assert summary.exit_status == 1
    rows = stores.read(f"{store}/report.tsv").decode().splitlines()
    assert [row.split("\t")[1] for row in rows] == ["status", "failed", "done", "total"]


def test_an_output_that_is_an_input_is_refused(store: str) -> None:
    with pytest.raises(InputError, match="is one of the inputs"):
        require_apart([f"{store}/in/notes.txt"], [StorePath(f"{store}/in/notes.txt")])


def test_outputs_on_a_store_remember_recordings_of_this_machine_by_their_whole_path(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    monkeypatch.chdir(tmp_path)
    (job,) = plan_outputs(collect_inputs(["a.wav"], []), StorePath(f"{store}/out"), ["txt"])
    assert job.source is not None
    assert job.source.path == str(tmp_path / "a.wav")
    write_all([job])
    (job,) = plan_outputs(collect_inputs(["a.wav"], []), StorePath(f"{store}/out"), ["txt"])
    assert job.done


def test_names_on_a_store_lead_to_no_other_folder(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["x/../../../y.wav", "./z.wav"]
    monkeypatch.setattr(
        stores, "find", lambda url: [stores.Stored(f"{store}/in/{name}", 1) for name in names]
    )
    found = collect_inputs([f"{store}/in/"], [".wav"])
    assert [one.relative for one in found] == ["x/y.wav", "z.wav"]
