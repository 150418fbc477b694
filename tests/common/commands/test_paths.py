"""No output may be one of the inputs, whatever it is called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.commands.paths import require_apart
from common.errors import InputError


def same_file(folder: Path, how: str) -> Path:
    """Another path of the file `photo.png` in this folder."""
    photo = folder / "photo.png"
    other = folder / "other.png"
    if how == "symbolic link":
        other.symlink_to(photo)
    elif how == "hard link":
        os.link(photo, other)
    elif how == "roundabout":
        (folder / "deep").mkdir()
        return folder / "deep" / ".." / "photo.png"
    else:
        return photo
    return other


@pytest.mark.parametrize("how", ["name", "roundabout", "symbolic link", "hard link"])
def test_an_output_that_is_an_input_is_refused_by_any_name(tmp_path: Path, how: str) -> None:
    (tmp_path / "photo.png").write_bytes(b"pixels")
    output = same_file(tmp_path, how)
    with pytest.raises(InputError, match="is one of the inputs") as caught:
        require_apart([tmp_path / "gone.png", tmp_path / "photo.png"], [tmp_path / "new.txt", output])
    assert caught.value.path == str(output)


def test_a_file_on_standard_input_is_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.png").write_bytes(b"pixels")
    with (tmp_path / "photo.png").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(InputError, match="is one of the inputs"):
            require_apart(["-"], [tmp_path / "photo.png"])
    require_apart(["-"], [tmp_path / "photo.png"])  # it is closed


def test_a_device_loses_nothing() -> None:
    require_apart([os.devnull], [os.devnull])


def test_what_is_elsewhere_or_not_there_yet_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"pixels")
    (tmp_path / "twin.png").write_bytes(b"pixels")
    inputs: list[Path | str] = [tmp_path / "photo.png", tmp_path / "gone.png", "x" * 5000, "-"]
    require_apart(inputs, [tmp_path / "twin.png", tmp_path / "new.png", tmp_path / "gone.png", "y" * 5000])
