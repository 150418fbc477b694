"""The `speech` command on recordings behind URLs: of an S3 server, and of a web server that drops."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from networks import write_tiny_model
from web import Web, s3_server, web_server

from common import stores
from speech import Recognizer
from speech.cli import main
from speech.sound.audio import load_audio

SAMPLE = Path(__file__).parents[2] / "speech" / "samples" / "city.opus"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    pytest.importorskip("s3fs")
    with s3_server():
        yield


@pytest.fixture
def bucket(server: None) -> str:
    """A bucket with two recordings and what is none."""
    import fsspec

    bucket = f"s3://recordings-{uuid.uuid4()}"
    fsspec.filesystem("s3").mkdir(bucket)
    sound = SAMPLE.read_bytes()
    for name, data in {"a.opus": sound, "monday/b.opus": sound, "bad.wav": b"no sound"}.items():
        stores.put(f"{bucket}/in/{name}", data)
    return bucket


def test_a_bucket_becomes_transcripts_in_a_bucket_and_a_second_run_goes_on(
    bucket: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = f"{bucket}/out/"
    arguments = ["transcribe", f"{bucket}/in/", "--format", "txt,json", "--threads", "1", "--model", model]
    assert main([*arguments, "--output", output, "--report", f"{bucket}/report.tsv"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "bad.wav: is not a sound file" in line]
    assert said[-1].startswith("speech: 2 done, 1 failed")
    stores.put(f"{bucket}/in/a.opus", SAMPLE.read_bytes() + b"\0")

    assert (
        main(["transcribe", str(SAMPLE), "--threads", "1", "--model", model, "--output", str(tmp_path)]) == 0
    )
    here = (tmp_path / "city.txt").read_bytes()
    assert stores.read(f"{output}a.txt") == stores.read(f"{output}monday/b.txt") == here
    assert json.loads(stores.read(f"{output}monday/b.json"))["path"] == f"{bucket}/in/monday/b.opus"
    assert stores.read(f"{bucket}/report.tsv").count(b"\n") == 5

    assert main([*arguments, "--output", output]) == 1
    said = capsys.readouterr().err.splitlines()
    assert f"speech: {bucket}/in/a.opus: has changed, and is done again" in said
    assert said[-1].startswith("speech: 1 done, 1 already there (--overwrite does them again), 1 failed")


def test_a_bucket_that_is_not_there_is_one_line(
    bucket: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["transcribe", "s3://nowhere/a.opus", f"{bucket}/in/a.opus", "--threads", "1", "--model", model])
        == 1
    )
    assert "speech: s3://nowhere/a.opus: no such file" in capsys.readouterr().err
    assert (
        main(
            [
                "transcribe",
                f"{bucket}/in/a.opus",
                "--output",
                "s3://nowhere/",
                "--threads",
                "1",
                "--model",
                model,
            ]
        )
        == 1
    )
    assert "speech: s3://nowhere/: there is no such bucket or folder" in capsys.readouterr().err


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(stores, "PAUSE_SECONDS", 0.01)
    with web_server() as server:
        server.files["/talk.opus"] = SAMPLE.read_bytes()
        yield server


def test_a_recording_of_the_web_is_heard_although_the_connection_drops(
    web: Web, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    web.drops["/talk.opus"] = 1
    url = web.url("/talk.opus?key=secret")
    assert torch.equal(load_audio(url), load_audio(str(SAMPLE)))
    web.drops["/talk.opus"] = 99
    assert main(["transcribe", url, web.url("/none.opus"), "--threads", "1", "--model", model]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert [f"{url}: cannot be read: the connection fails" in line for line in said].count(True) == 1
    assert said[-1].startswith("speech: 0 done, 2 failed")


def test_a_manifest_may_name_urls(
    web: Web, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dev.tsv").write_text(f"path\ttext\n{web.url('/talk.opus')}\tthe city\n")
    assert main(["evaluate", str(tmp_path / "dev.tsv"), "--threads", "1", "--model", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["utterances"] == 1
    assert Recognizer.load(model).transcribe(web.url("/talk.opus")).duration > 1
