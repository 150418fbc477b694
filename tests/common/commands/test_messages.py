"""What is said on standard error can be read by a program, whoever says it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from common.commands.batch import Outcome, in_batches, run
from common.commands.command import run_command
from common.commands.inputs import Input
from common.commands.messages import JsonLines, say
from common.commands.outputs import Job
from common.errors import InputError
from common.stages import stage

JSON = ["transcribe", "--log-format", "json"]


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def load(path: str) -> str:
    if path == "bad":
        raise InputError(path, "is not sound")
    if path == "bug":
        raise KeyError("oh")
    with stage("read"):
        return path


def answer(texts: list[str]) -> list[str]:
    with stage("network"):
        return [text.upper() for text in texts]


def batch(*paths: str, report: Path | None = None) -> int:
    jobs = [Job(Input(path, path)) for path in paths]
    jobs += [Job(Input("old", "old"), done=True, remark="stays")]
    process = in_batches(load, answer, 2)
    stages = ("read", "network", "write")
    summary = run(jobs, process, lambda *_: None, command="speech", report=report, stages=stages)
    return summary.exit_status


def test_every_line_of_a_batch_is_an_object_with_time_level_event_and_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command("speech", lambda: batch("a", "bad", "b", "bug"), JSON) == 1
    said = objects(capsys.readouterr().err)
    for one in said:
        assert datetime.fromisoformat(one["time"]).tzinfo is not None
        assert one["level"] in ("info", "warning", "error")
        assert one["message"] and one["command"] == "speech"
    assert [(one["event"], one.get("input")) for one in said] == [
        ("remark", "old"),
        ("done", "a"),
        ("failed", "bad"),
        ("done", "b"),
        ("failed", "bug"),
        ("end", None),
    ]
    assert said[2]["message"] == "is not sound"
    assert "KeyError" in said[4]["traceback"]
    assert {name: said[5][name] for name in ("done", "skipped", "failed", "partly")} == {
        "done": 2,
        "skipped": 1,
        "failed": 2,
        "partly": 0,
    }
    for name in ("read", "network"):
        assert said[5]["stages"][name] == pytest.approx(
            said[1]["stages"][name] + said[3]["stages"][name], abs=1e-5
        )


def test_what_others_write_is_an_object_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        print("careful", file=sys.stderr)
        sys.stderr.write("half ")
        sys.stderr.write("a line\nand no end")
        return 0

    before = sys.stderr
    assert run_command("speech", main, JSON) == 0
    assert sys.stderr is before
    said = objects(capsys.readouterr().err)
    assert {one["event"] for one in said} == {"output"}
    assert [one["message"] for one in said] == ["careful", "half a line", "and no end"]


def raised(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "event"),
    [
        (InputError("a.wav", "no such file"), 1, "error"),
        (ModuleNotFoundError("no", name="gradio"), 1, "error"),
        (KeyboardInterrupt(), 130, "stopped"),
        (ZeroDivisionError("oh"), 1, "bug"),
    ],
)
def test_whatever_ends_a_command_is_one_object(
    error: BaseException, status: int, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("speech", lambda: raised(error), JSON) == status
    (one,) = objects(capsys.readouterr().err)
    assert one["event"] == event
    assert ("traceback" in one) == (event == "bug")


def test_a_name_that_is_not_utf8_or_would_break_the_line_is_itself_in_json() -> None:
    stream = io.StringIO()
    JsonLines(stream, "speech").event("failed", "error", "is odd", input="a\n\udcff\x1b.wav")
    assert json.loads(stream.getvalue())["input"] == "a\n\udcff\x1b.wav"
    assert stream.getvalue().isascii() and stream.getvalue().count("\n") == 1


def test_in_text_a_line_has_command_input_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    say("speech", "is odd", event="warning", path="a\nb.wav", more=1)
    assert capsys.readouterr().err == "speech: a\\nb.wav: is odd\n"


@pytest.mark.parametrize("module", ["speech", "caption"])
@pytest.mark.parametrize("wrong", [["--log-format", "json", "--bem", "3"], ["--bem", "3", "--log-form=json"]])
def test_a_wrong_argument_is_an_object_wherever_json_is_asked_for(module: str, wrong: list[str]) -> None:
    verb = {"speech": "transcribe", "caption": "describe"}[module]
    command = [sys.executable, "-m", f"{module}.cli", verb, "a", *wrong]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    (one,) = objects(done.stderr)
    assert (done.returncode, one["event"], one["level"]) == (2, "usage", "error")
    assert "--bem" in one["message"]


def test_seconds_a_stage_stand_in_the_report_and_their_sums_in_its_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spent = {"a": {"read": 1.0, "network": 2.0}, "b": {"read": 0.5, "network": 4.0}}

    def process(jobs: Iterable[Job]) -> Iterator[Outcome[str]]:
        for job in jobs:
            stages = spent[job.input.path]
            yield Outcome(job, "text", sum(stages.values()), stages)

    jobs = [Job(Input(path, path)) for path in spent]
    stages = ("read", "network", "write")
    run(jobs, process, lambda *_: None, command="x", report=tmp_path / "report.tsv", stages=stages)
    head, *rows = [line.split("\t") for line in (tmp_path / "report.tsv").read_text().splitlines()]
    assert head == ["path", "status", "seconds", "read", "network", "write", "reason"]
    assert [[*row[:2], *row[3:5]] for row in rows] == [
        ["a", "done", "1.000", "2.000"],
        ["b", "done", "0.500", "4.000"],
        ["", "total", "1.500", "6.000"],
    ]
    for row in rows:  # writing takes what it takes
        assert float(row[2]) == pytest.approx(sum(map(float, row[3:6])), abs=0.002)
    assert float(rows[2][2]) >= 7.5 and float(rows[2][5]) >= 0.0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("x: 2 done in ")
    assert "seconds a stage: read 1.5, network 6.0, write " in last
