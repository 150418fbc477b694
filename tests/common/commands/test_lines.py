"""Tests of lines that are found by what they are about, and of what stands more than once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.commands import lines as lines_module
from common.commands.lines import Lines
from common.commands.repeats import repeated


def subject(line: bytes) -> bytes | None:
    """What stands before the tab; None if there is none."""
    name, tab, _ = line.partition(b"\t")
    return name if tab else None


PARTS = st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.text("xyz")), max_size=12), max_size=5)


@pytest.mark.parametrize("many", [1, 5, 1000])
@pytest.mark.parametrize("large", [0, 1 << 20])
@settings(max_examples=25)
@given(parts=PARTS)
def test_what_was_written_about_something_is_found_again_the_newest_first(
    tmp_path_factory: pytest.TempPathFactory, many: int, large: int, parts: list[list[tuple[str, str]]]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "lines"
    path.write_bytes(b"a heading\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_MANY", many)
        patch.setattr(lines_module, "_LARGE", large)
        found, written = Lines(subject), list[tuple[str, str]]()
        for part in parts:
            with path.open("a") as file:
                file.writelines(f"{name}\t{text}\n" for name, text in part)
            found.read(path)
            written += part
            for name in "abcdefg":
                texts = [text for other, text in reversed(written) if other == name]
                assert list(found.about(name.encode())) == [f"{name}\t{text}".encode() for text in texts]
    assert found.is_empty == (not written)
    found.close()


def test_a_line_is_found_when_its_end_is_written(tmp_path: Path) -> None:
    path, found = tmp_path / "lines", Lines(subject)
    for piece, count in [(b"a\t1\nb", 0), (b"\t2", 0), (b"\n", 1)]:
        with path.open("ab") as file:
            file.write(piece)
        found.read(path)
        assert len(list(found.about(b"b"))) == count


@given(st.lists(st.integers(-5, 5) | st.text("ab", max_size=2)))  # -1 and -2 have the same hash
def test_what_stands_more_than_once_is_found(things: list[int | str]) -> None:
    counts = Counter(things)
    assert repeated(lambda: iter(things), len(things)) == {one for one in things if counts[one] > 1}
