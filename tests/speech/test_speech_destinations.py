"""Where transcripts go, decided without loading the network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from common.commands.outputs import Job
from common.errors import InputError
from speech.arguments import make_speech_parser
from speech.cli import main
from speech.destinations import chosen_formats, chosen_inputs, chosen_jobs


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("talk.opus", "more/a.wav", "more/b.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    return tmp_path


def planned(command: str) -> Sequence[Job]:
    arguments = make_speech_parser().parse_args(["transcribe", *command.split()])
    inputs = chosen_inputs(arguments)
    return chosen_jobs(arguments, inputs, chosen_formats(arguments, inputs))


@pytest.mark.parametrize(
    ("command", "format", "path"),
    [
        ("talk.opus --output out.txt", "txt", "out.txt"),
        ("talk.opus --output new/out.srt", "srt", "new/out.srt"),
        ("talk.opus --output out.txt --format json", "json", "out.txt"),
        ("talk.opus --output out", "txt", "out/talk.txt"),
        ("talk.opus --output notes.d", "txt", "notes.d/talk.txt"),
        ("talk.opus --output /dev/null", "txt", "/dev/null"),
    ],
)
def test_one_recording_and_the_name_of_a_file_make_that_file(command: str, format: str, path: str) -> None:
    (job,) = planned(command)
    assert {name: str(output) for name, output in job.outputs.items()} == {format: path}


def test_a_folder_that_is_called_like_a_file_is_a_folder() -> None:
    Path("out.txt").mkdir()
    (job,) = planned("talk.opus --output out.txt")
    assert job.outputs == {"txt": Path("out.txt/talk.txt")}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("more --output out.txt", "out.txt: is the name of one file"),
        ("more/* --output out.txt", "out.txt: is the name of one file"),
        ("talk.opus --output out.txt --format txt,srt", "several formats need a folder"),
        ("talk.opus --output out --beam 0", "beam"),
        ("talk.opus --output out --lm-weight nan", "lm_weight: is nan"),
        ("talk.opus --output out --judge-share 1.5", "judge_share: is 1.5"),
        ("talk.opus --output out --model klingon", "klingon: no such model"),
        ("talk.opus --output out --grammar none.txt", "none.txt: cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_one_line(command: str, reason: str) -> None:
    with pytest.raises((InputError, SystemExit)) as caught:
        planned(command)
    assert isinstance(caught.value, SystemExit) or reason in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        "transcribe words.txt --overwrite --output words.txt",
        "transcribe more words.txt --overwrite --output .",
        "transcribe talk.opus --overwrite --output link.txt",
        "transcribe talk.opus --report talk.opus",
        "transcribe talk.opus --report twin.opus",
        "transcribe --list list.tsv --report list.tsv",
        "transcribe talk.opus --grammar menu.txt --overwrite --output menu.txt",
        "transcribe - --report talk.opus < talk.opus",
        "align talk.opus words.txt --output talk.opus",
        "align talk.opus words.txt --output words.txt",
        "align data.tsv --output data.tsv",
        "align data.tsv --output more/a.wav",
        "export --check data.tsv --output more/a.wav",
        "export --model model --output model/model.safetensors",
        "average model model --output model",
        "count-lm --text words.txt --model model --output model",
    ],
)
def test_no_output_may_be_one_of_the_inputs(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("words.txt").write_text("a few words")
    Path("link.txt").symlink_to("talk.opus")
    Path("twin.opus").hardlink_to("talk.opus")
    Path("list.tsv").write_text("talk.opus\n")
    Path("menu.txt").write_text("on\noff\n")
    Path("data.tsv").write_text("path\ttext\nmore/a.wav\ta few words\n")
    for name in ("config.json", "model.safetensors", "README.md"):
        Path("model").mkdir(exist_ok=True)
        Path("model", name).write_text(name)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    command, _, piped = command.partition(" < ")
    with Path(piped or os.devnull).open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert main(command.split()) == 1
    assert "is one of the inputs, which would be lost" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_other_options_and_another_model_make_a_transcript_again(folder: Path) -> None:
    (job,) = planned("talk.opus --output out")
    job.write(job.outputs["txt"], "text")
    (job,) = planned("talk.opus --output out")
    assert job.done
    for change, said in [
        ("--beam 1", "is done again with beam 1 in place of 64"),
        ("--hotword Zoe", "is done again with hotwords ('Zoe',) in place of ()"),
        ("--exact", "is done again with exact True in place of False"),
    ]:
        (job,) = planned(f"talk.opus --output out {change}")
        assert job.remark == said
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text('{"sha256": "abc"}')
    (job,) = planned(f"talk.opus --output out --model {model}")
    assert job.remark is not None and "model abc in place of" in job.remark
    (job,) = planned("talk.opus --output out --device cpu --threads 2 --batch-size 3")
    assert job.done  # these decide how fast it is, and not what
