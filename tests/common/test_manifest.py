"""Manifests: rows out, or an error with its line number."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from common.manifest import read_manifest

FIELDS = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]))


def write(folder: Path, text: str | bytes) -> Path:
    (folder / "clips").mkdir(exist_ok=True)
    (folder / "clips" / "a.wav").touch()
    path = folder / "train.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    path = write(tmp_path, "path\ttext\tspeaker\nclips/a.wav\tHello, world\t\n")
    assert read_manifest(path, ["path", "text"]) == [
        {"path": str(tmp_path / "clips/a.wav"), "text": "Hello, world", "speaker": ""}
    ]


def test_an_absolute_path_stays_as_it_is(tmp_path: Path) -> None:
    clip = tmp_path / "clips/a.wav"
    assert read_manifest(write(tmp_path, f"path\n{clip}\n"), ["path"]) == [{"path": str(clip)}]


def test_what_windows_editors_leave_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffpath\ttext\r\nclips/a.wav\tHello\r\n\r\n")
    assert read_manifest(path, ["path", "text"])[0]["text"] == "Hello"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path\tcaption\nclips/a.wav\tA dog\n", "line 1: no column 'text'; the header has path, caption"),
        ("path\ttext\ttext\nclips/a.wav\ta\tb\n", "line 1: column 'text' stands there twice"),
        ("path\ttext\nclips/a.wav\tone\nclips/a.wav\n", "line 3: 1 fields where the header has 2"),
        ("path\ttext\nclips/a.wav\tone\ttwo\n", "line 2: 3 fields where the header has 2"),
        ("path\ttext\n\nclips/b.wav\tone\n", "line 3: no file 'clips/b.wav' beside the manifest"),
        ("path\ttext\n\tone\n", "line 2: no file '' beside the manifest"),
        ("path\ttext\n", "no rows under the header"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        (b"path\ttext\nclips/a.wav\tcaf\xe9\n", "line 2: not UTF-8"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str | bytes, reason: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_manifest(path, ["path", "text"])
    assert str(caught.value) == f"{path}: {reason}"


def test_a_missing_manifest_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.tsv: cannot be read: No such file"):
        read_manifest(tmp_path / "nothing.tsv", ["path"])


@given(rows=st.lists(st.tuples(FIELDS, FIELDS), min_size=1))
def test_any_text_without_tabs_and_line_ends_is_read_back(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "texts.tsv"
    lines = ["text\tspeaker", *("\t".join(row) for row in rows)]
    path.write_bytes("\n".join(lines).encode())
    expected = [{"text": text, "speaker": speaker} for text, speaker in rows]
    assert read_manifest(path, ["text"]) == expected
