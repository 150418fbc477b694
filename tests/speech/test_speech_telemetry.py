"""Where the time of a recording goes is told, and told of the right stage."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
import torch
from networks import write_tiny_model
from reports import rows

from common.commands.processes import Helpers
from common.stages import NETWORK, stage
from speech.cli import main
from speech.model.network import SpeechNetwork
from speech.options import STAGES
from speech.pipeline import Timed, process_segments, timed
from speech.pool import RecordingEnd, SegmentFeatures
from speech.sound.audio import Resampler

SAMPLES = Path(__file__).parents[2] / "speech" / "samples"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def command(model: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        shutil.copy(SAMPLES / "city.opus", tmp_path / "in" / f"{name}.opus")
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    places = ["--output", str(tmp_path / "out"), "--report", str(tmp_path / "report.tsv")]
    return ["transcribe", str(tmp_path / "in"), *places, "--model", str(model), "--threads", "1"]


def test_the_report_tells_the_seconds_of_each_stage_and_adds_them_up(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 1
    *inputs, total = rows(tmp_path / "report.tsv")
    for row in inputs:
        measured = {name: float(row[name] or 0.0) for name in STAGES}
        assert float(row["seconds"]) == pytest.approx(sum(measured.values()), abs=0.01)
        if row["status"] != "failed":
            assert all(row[name] for name in ("decode", "detect", "network", "search", "write"))
    assert total["status"] == "total"
    for name in ("seconds", *STAGES):
        assert float(total[name]) == pytest.approx(sum(float(row[name] or 0) for row in inputs), abs=0.01)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "seconds a stage: read " in last and ", network " in last


class Clock(threading.local):
    """A clock that only slow work moves, in its own thread."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def slowed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any, **named: Any) -> Any:
            self.now += 1.0
            return work(*arguments, **named)

        return slow


def test_a_slow_disk_and_a_slow_network_look_different(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("common.stages.time", SimpleNamespace(perf_counter=clock))

    def spent() -> dict[str, float]:
        total = rows(tmp_path / "report.tsv")[-1]
        return {name: float(total[name]) for name in STAGES if float(total[name] or 0.0)}

    with monkeypatch.context() as disk:
        disk.setattr(av, "open", clock.slowed(av.open))
        main(command)
    assert spent() == {"read": 3.0}  # of three files, one of them bad
    with monkeypatch.context() as network:
        slowed = clock.slowed(SpeechNetwork.forward_with_phones)
        network.setattr(SpeechNetwork, "forward_with_phones", slowed)
        main([*command, "--overwrite", "--batch-size", "1"])
    assert spent() == {"network": 2.0}
    with monkeypatch.context() as decoding:
        decoding.setattr(Resampler, "feed", clock.slowed(Resampler.feed))
        main([*command, "--overwrite"])
    assert set(spent()) == {"decode"}


def test_with_json_every_line_is_an_object(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--log-format", "json"]) == 1
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    done = {Path(one["input"]).name: one for one in said if one["event"] == "done"}
    assert set(done) == {"a.opus", "b.opus"}
    assert set(done["a.opus"]["stages"]) == set(STAGES)
    (failed,) = [one for one in said if one["event"] == "failed"]
    assert (Path(failed["input"]).name, failed["level"]) == ("bad.wav", "error")
    assert (said[-1]["event"], said[-1]["done"], said[-1]["failed"]) == ("end", 2, 1)


def who(batch: Sequence[SegmentFeatures]) -> list[int]:
    with stage(NETWORK):
        time.sleep(0.05)
    return [os.getpid() for _ in batch]


def ready() -> Callable[[Sequence[SegmentFeatures]], Timed[int]]:
    return partial(timed, who)


def test_what_helpers_spend_is_counted_as_if_it_were_spent_here() -> None:
    items: list[SegmentFeatures | RecordingEnd] = []
    for number in range(12):
        items.append(SegmentFeatures(number, 0, 0.0, torch.zeros(10, 2), 1.0))
        items.append(RecordingEnd(number, 1, 1.0, None, {"read": 0.5}))
    helpers = Helpers[Sequence[SegmentFeatures], Timed[int]](ready, 1)
    with helpers:
        helpers.start()
        done = dict(process_segments(iter(items), who, 1, helpers))
    assert len({one.parts[0] for one in done.values()}) == 2  # both worked
    for recording in done.values():
        assert recording.stages["read"] == 0.5
        assert 0.05 <= recording.stages[NETWORK] < 0.5
