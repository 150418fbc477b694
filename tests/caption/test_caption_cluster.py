"""The `caption` command on a Ray cluster of two workers of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import ray_cluster
from describing import describe, lines

pytestmark = pytest.mark.slow
ENGINE = ["--engine", "ray", "--workers", "2", "--batch-size", "1"]


@pytest.fixture
def cluster() -> Iterator[None]:
    with ray_cluster():
        yield


def test_two_workers_caption_as_one_process_does(
    model: str, photographs: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "bad.png").write_bytes(b"no picture")
    assert describe(model, "photos", "--output", "here") == 1
    said = capsys.readouterr().err
    assert describe(model, "photos", "--output", "there", *ENGINE) == 1
    said_there = capsys.readouterr().err
    assert [one.partition(" in ")[0] for one in said_there.splitlines()] == [
        one.partition(" in ")[0] for one in said.splitlines()
    ]  # each took its own time
    for name in ("a.txt", "b.txt", "deep/c.txt"):
        assert (Path("here") / name).read_bytes() == (Path("there") / name).read_bytes()
    assert describe(model, "photos", "--output", "there") == 1
    assert "0 done, 3 already there" in capsys.readouterr().err

    assert describe(model, "photos", "--output", "here.jsonl") == 1
    assert describe(model, "photos", "--output", "there.jsonl", *ENGINE) == 1
    here, there = (
        sorted(lines(Path(f"{name}.jsonl")), key=lambda row: row["path"]) for name in ("here", "there")
    )
    assert here == there
    assert len(here) == 3
    assert describe(model, "photos", "--sidecar", *ENGINE) == 1
    assert (photographs / "a.txt").read_bytes() == Path("here/a.txt").read_bytes()
