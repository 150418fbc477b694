"""Sidecars: whose file is whose, and what becomes of words that were there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caption.captioner import Caption
from caption.output.sidecars import EXISTING, joined, plan_sidecars, write_sidecars
from common.commands.inputs import collect_inputs
from common.errors import InputError

WORDS = st.text("abc ,", min_size=1).filter(str.strip)


def photographs(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_bytes(b"")
    return [str(folder / name) for name in names]


def test_photographs_of_one_name_keep_their_suffix(tmp_path: Path) -> None:
    jobs = plan_sidecars(
        collect_inputs(photographs(tmp_path, "a.jpg", "A.png", "b.jpg"), [".jpg"]), existing="skip"
    )
    assert [job.outputs["txt"].name for job in jobs] == ["a.jpg.txt", "A.png.txt", "b.txt"]


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ("overwrite", "a dog\n"),
        ("append", "sks dog, a dog\n"),
        ("prepend", "a dog, sks dog\n"),
    ],
)
def test_tags_and_caption_are_joined(existing: str, expected: str) -> None:
    assert joined("sks dog\n", "a dog", existing) == expected
    assert joined("", "a dog", existing) == "a dog\n"


@given(
    before=WORDS, caption=WORDS.map(lambda text: " ".join(text.split())), existing=st.sampled_from(EXISTING)
)
def test_a_run_that_is_repeated_changes_nothing(before: str, caption: str, existing: str) -> None:
    once = joined(before, caption, existing)
    assert joined(once, caption, existing) == once
    assert once.endswith("\n") and once.count("\n") == 1


def test_what_is_no_text_is_left_as_it_is(tmp_path: Path) -> None:
    jobs = plan_sidecars(collect_inputs(photographs(tmp_path, "a.jpg"), [".jpg"]), existing="append")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        write_sidecars("append")(jobs[0], Caption("a dog", -1.0, 0.5))
    assert (tmp_path / "a.txt").read_bytes() == b"\xff\xfe\x00"
