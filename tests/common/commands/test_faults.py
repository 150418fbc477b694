"""A batch on a bad day: clocks that jump, disks that fill up in the middle of a line."""

from __future__ import annotations

import errno
import itertools
import os
import time
from pathlib import Path

import pytest
from reports import rows_by_name

from common.commands.batch import in_batches, run, write_outputs
from common.commands.inputs import collect_inputs
from common.commands.ledger import NAME
from common.commands.outputs import plan_outputs


def night(folder: Path, report: Path | None = None) -> dict[str, str]:
    """One run over the recordings in a folder; the status of each by name, and of the run."""
    inputs = collect_inputs([str(folder / "in")], (".wav",), "recordings")
    jobs = plan_outputs(inputs, folder / "out", ["txt"], settings={"beam": 1})
    report = report or folder / "report.tsv"
    process = in_batches(lambda path: Path(path).read_text(), list, 2)
    summary = run(
        jobs,
        process,
        write_outputs(lambda text, *_: str(text)),
        command="speech",
        report=report,
        stages=("write",),
    )
    by_name = rows_by_name(report)
    measured = [(float(row["seconds"]), float(row["write"] or 0.0)) for row in by_name.values()]
    assert all(seconds >= 0.0 and writing >= 0.0 for seconds, writing in measured)
    del by_name[""]
    return {"exit status": str(summary.exit_status)} | {name: row["status"] for name, row in by_name.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.wav").write_text(name)
    return tmp_path


def test_a_clock_that_jumps_back_changes_neither_what_is_done_nor_what_it_took(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = (1.7e9 - 86_400.0 * number for number in itertools.count())
    monkeypatch.setattr(time, "time", lambda: next(clock))
    assert night(folder) == {"exit status": "0", "a.wav": "done", "b.wav": "done", "c.wav": "done"}
    # What comes now is older than all that is there, outputs included.
    (folder / "in" / "b.wav").write_text("new")
    for path in (folder / "in" / "b.wav", folder / "out" / "c.txt"):
        os.utime(path, (1, 1))
    assert night(folder) == {"exit status": "0", "a.wav": "skipped", "b.wav": "done", "c.wav": "skipped"}
    assert (folder / "out" / "b.txt").read_text() == "new"


@pytest.mark.parametrize("written", [0, 1, 20])
def test_a_disk_that_fills_up_within_a_line_of_the_state_stops_the_run_and_the_next_goes_on(
    written: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from common.commands import ledger

    append = ledger.Ledger._append

    def full(self: ledger.Ledger, line: bytes) -> None:
        if line.startswith(b"b."):
            assert isinstance(self.folder, Path)
            with (self.folder / NAME).open("ab") as file:
                file.write(line[:written])
            self._missing = b"\t!"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, line)

    with monkeypatch.context() as disk:
        disk.setattr(ledger.Ledger, "_append", full)
        assert night(folder) == {"exit status": "1", "a.wav": "done", "b.wav": "failed"}
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith(f"{NAME}: cannot be written: No space left on device")
    assert said[1].startswith("speech: stopped; 1 done, 1 failed, 1 left")
    assert night(folder) == {"exit status": "0", "a.wav": "skipped", "b.wav": "done", "c.wav": "done"}
    assert {path.name for path in (folder / "out").glob("[!.]*")} == {"a.txt", "b.txt", "c.txt"}
