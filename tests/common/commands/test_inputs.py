"""What somebody means by files, folders, globs and lists."""

from __future__ import annotations

import os
import pickle
import socket
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.commands.inputs import Input, collect_inputs, say_passed_over
from common.errors import InputError

SUFFIXES = (".wav", ".mp3")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ["b.wav", "a.MP3", "notes.txt", ".hidden.wav", "deep/er/c.wav", ".git/d.wav", "deep/[1].wav"]:
        path = tmp_path / "talks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "talks"


def found(*sources: str, lists: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    inputs = collect_inputs(sources, SUFFIXES, "recordings", lists)
    assert not any(one.problem for one in inputs)
    return [(one.path, one.relative) for one in inputs]


def problems(*sources: str) -> list[tuple[str, str | None]]:
    return [(one.path, one.problem) for one in collect_inputs(sources, SUFFIXES, "recordings")]


@pytest.mark.usefixtures("folder")
def test_a_folder_gives_its_recordings_by_name_with_their_path_below_it() -> None:
    assert found("talks") == [
        ("talks/a.MP3", "a.MP3"),
        ("talks/b.wav", "b.wav"),
        ("talks/deep/[1].wav", "deep/[1].wav"),
        ("talks/deep/er/c.wav", "deep/er/c.wav"),
    ]


@pytest.mark.skipif(os.name == "nt", reason="no named pipes in folders")
def test_what_could_be_waited_for_for_ever_is_passed_over_and_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(folder / "pipe.wav")
    (folder / "null.mp3").symlink_to(os.devnull)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "call.wav"))
    for source in ("talks", "talks/*.wav"):
        passed_over: Counter[str] = Counter()
        paths = [one.path for one in collect_inputs([source], SUFFIXES, "recordings", (), passed_over)]
        assert "talks/b.wav" in paths
        assert not {"talks/pipe.wav", "talks/null.mp3", "talks/call.wav"} & {*paths}
        assert passed_over["named pipe"] == passed_over["socket"] == 1
    (named,) = collect_inputs(["talks/pipe.wav"], SUFFIXES)
    assert named.problem is None  # somebody may well write to it


@pytest.mark.usefixtures("folder")
def test_one_line_counts_what_is_passed_over_by_suffix(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.M4X", "b.m4x", "README", "deep/c.txt"):
        (folder / name).touch()
    passed_over: Counter[str] = Counter()
    collect_inputs(["talks"], SUFFIXES, "recordings", (), passed_over)
    say_passed_over("speech", passed_over)
    said = capsys.readouterr().err
    assert said.startswith("speech: passed over: ") and said.count("\n") == 1
    assert sorted(said.removeprefix("speech: passed over: ").strip().split(", ")) == [
        "1 without a suffix",
        "2 .m4x",
        "2 .txt",
    ]
    say_passed_over("speech", Counter())
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("folder")
def test_a_named_file_is_taken_as_it_was_written_whatever_its_suffix() -> None:
    assert found("./talks/notes.txt", "talks/.hidden.wav") == [
        ("./talks/notes.txt", "notes.txt"),
        ("talks/.hidden.wav", ".hidden.wav"),
    ]


@pytest.mark.usefixtures("folder")
def test_a_glob_that_no_shell_expanded_is_expanded() -> None:
    assert found("talks/*.wav") == [("talks/b.wav", "b.wav")]
    assert found("talks/**/*.wav") == [
        ("talks/b.wav", "b.wav"),
        ("talks/deep/[1].wav", "deep/[1].wav"),
        ("talks/deep/er/c.wav", "deep/er/c.wav"),
    ]
    assert found("talks/d*") == found("talks/deep")


@pytest.mark.usefixtures("folder")
def test_a_file_whose_name_looks_like_a_glob_is_that_file() -> None:
    assert found("talks/deep/[1].wav") == [("talks/deep/[1].wav", "[1].wav")]


def test_a_file_that_is_meant_twice_is_taken_once(folder: Path) -> None:
    assert len(found("talks", "talks/b.wav", str(folder / "b.wav"), "talks/deep/../b.wav")) == 4


def test_a_list_names_paths_from_here_or_from_its_own_folder(folder: Path) -> None:
    text = "\ufefftalks/b.wav\r\n\n  \ndeep/er/c.wav\ntalks/deep/[1].wav"
    (folder / "list.txt").write_text(text, encoding="utf-8")
    assert [path for path, _ in found(lists=("talks/list.txt",))] == [
        "talks/b.wav",
        "talks/deep/er/c.wav",
        "talks/deep/[1].wav",
    ]


def test_a_list_that_cannot_be_read_ends_everything(folder: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt: the list cannot be read: No such file"):
        collect_inputs([], SUFFIXES, lists=["none.txt"])
    (folder / "list.txt").write_bytes(b"caf\xe9.wav\n")
    with pytest.raises(InputError, match="the list is not UTF-8"):
        collect_inputs([], SUFFIXES, lists=["talks/list.txt"])


def test_what_cannot_be_tried_stands_among_the_inputs_with_its_reason(folder: Path) -> None:
    (folder / "link.wav").symlink_to("nowhere.wav")
    (folder / "empty").mkdir()
    long = "x" * 5000
    assert problems("gone.wav", "talks/link.wav", "talks/empty", "*.flac", long, "", "talks/b.wav") == [
        ("gone.wav", "no such file"),
        ("talks/link.wav", "a link to a file that is not there"),
        ("talks/empty", "no recordings in this folder"),
        ("*.flac", "no file matches"),
        (long, "cannot be read: File name too long"),
        ("", "is no path"),
        ("talks/b.wav", None),
    ]
    assert ("talks/link.wav", "a link to a file that is not there") in problems("talks")


def test_an_unreadable_folder_does_not_hide_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if path.name == "er":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert problems("talks")[-1] == (
        "talks/deep/er",
        "the folder cannot be read: Permission denied",
    )
    assert len(problems("talks")) == 4


def test_a_link_to_a_folder_around_itself_leads_round_once(folder: Path) -> None:
    before = found("talks")
    (folder / "deep" / "round").symlink_to(folder)
    assert found("talks") == before


def test_a_name_that_is_not_utf8_is_found(folder: Path) -> None:
    try:
        Path(os.fsdecode(bytes(folder) + b"/\xff.wav")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert Input("talks/\udcff.wav", "\udcff.wav") in collect_inputs(["talks"], SUFFIXES)


@given(st.text(max_size=4), st.text(max_size=4))
def test_an_input_keeps_its_two_paths_and_what_was_wrong_first(path: str, relative: str) -> None:
    one = Input(path, relative)
    assert (one.path, one.relative) == (path, relative)
    assert Input(f"{path}{relative}", relative).relative == relative
    assert one == Input(path, relative) == pickle.loads(pickle.dumps(one))
    assert one.failed("is gone").failed("is no sound") == Input(path, relative, "is gone")
