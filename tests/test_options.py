"""A dataclass of options and the command line made from it say the same."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from common.options import add_options, field_docs, read_options


@dataclass(frozen=True)
class Example:
    """What decides.

    Attributes:
        train, dev: manifests, or
            folders.
        run: directory; an unfinished run in it: resumed.
        init: where to start from.
        epochs: passes over the data.
        learning_rate: highest of all, in % of nothing.
        fine_tune: let it learn.
        speeds: of hearing.
        precision: of numbers.
    """

    train: tuple[Path, ...]
    run: Path
    dev: Path = Path("dev.tsv")
    init: Path | None = None
    epochs: int = 40
    learning_rate: float = 2e-3
    fine_tune: bool = False
    speeds: tuple[float, ...] = (0.9, 1.1)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"


def parse(*options: str) -> Example:
    parser = argparse.ArgumentParser()
    add_options(parser, Example)
    return read_options(Example, parser.parse_args(options))


def test_defaults_are_those_of_the_dataclass() -> None:
    expected = Example(train=(Path("a"), Path("b")), run=Path("out"))
    assert parse("--train", "a", "b", "--run", "out") == expected


def test_every_kind_of_field_can_be_set() -> None:
    given = "--train a --run out --init x --epochs 3 --learning-rate 0.1 --fine-tune --speeds 1 2"
    assert parse(*given.split(), "--precision", "bf16-mixed") == Example(
        (Path("a"),), Path("out"), Path("dev.tsv"), Path("x"), 3, 0.1, True, (1.0, 2.0), "bf16-mixed"
    )


@pytest.mark.parametrize(
    "options", ["--run out", "--train a --run out --epochs many", "--train a --run out --precision 16"]
)
def test_what_is_missing_or_of_another_kind_is_refused(options: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(*options.split())


def test_the_docstring_explains_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert field_docs(Example)["dev"] == "manifests, or folders"
    assert field_docs(Example)["run"] == "directory; an unfinished run in it: resumed"
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "highest of all, in % of nothing (0.002)" in text
    assert "--speeds X [X ...] of hearing (0.9 1.1)" in text
