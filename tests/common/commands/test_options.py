"""A dataclass of options and the command line made from it say the same."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caption.options import DescribeOptions
from caption.options import TrainOptions as CaptionOptions
from common.commands.options import add_options, field_docs, read_options
from common.errors import InputError
from common.models.fields import check, from_stored, from_text
from speech.language.options import LanguageModelOptions
from speech.options import DecodingOptions
from speech.options import TrainOptions as SpeechOptions


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
        weights: a file, or those that "torchvision" has.
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
    weights: Path | Literal["torchvision"] | None = None

    def __post_init__(self) -> None:
        check(self, epochs=(1, 1000), speeds=(0.5, 2.0))


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


@pytest.mark.parametrize("options", ["--train a --run out --epochs many", "--run out --precision 16"])
def test_what_is_of_another_kind_is_refused(options: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(*options.split())


def test_what_has_no_default_must_be_given() -> None:
    with pytest.raises(InputError, match="--train: is missing"):
        parse("--run", "out")


@pytest.mark.parametrize(("text", "meant"), [("torchvision", "torchvision"), ("a.bin", Path("a.bin"))])
def test_of_a_union_what_is_written_out_is_meant_before_a_path(text: str, meant: object) -> None:
    assert parse("--train", "a", "--run", "b", "--weights", text).weights == meant


# --- files of options ------------------------------------------------------------------------------


def test_the_command_line_goes_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text(
        'train = ["a", "b"]\nrun = "out"\nepochs = 3\nlearning_rate = 1\nfine_tune = true\n'
        'weights = "torchvision"\nspeeds = [1, 1.5]\n'
    )
    found = parse("--options", str(file), "--epochs", "5", "--no-fine-tune")
    assert found == Example(
        (Path("a"), Path("b")),
        Path("out"),
        epochs=5,
        learning_rate=1.0,
        speeds=(1.0, 1.5),
        weights="torchvision",
    )
    assert isinstance(found.learning_rate, float) and isinstance(found.speeds[0], float)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("epoch = 3", "no option 'epoch'; is epochs meant?"),
        ("zebra = 3", "no option 'zebra'"),
        ('epochs = "3"', "epochs: '3' is not a whole number"),
        ("epochs = 3.0", "epochs: 3.0 is not a whole number"),
        ("epochs = true", "epochs: True is not a whole number"),
        ('train = "a"', "train: 'a' is not a list, each a path"),
        ("train = [1]", "train: 1 is not a path"),
        ('run = ""', "run: '' is not a path"),
        ('precision = "16"', "precision: '16' is not one of 32-true, bf16-mixed"),
        ("weights = 1", "weights: 1 is not a path or torchvision"),
        ("init = {}", "init: {} is not a path"),
        ("epochs", "is not TOML"),
    ],
)
def test_a_file_that_says_something_else_is_one_line(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "options.toml"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        parse("--options", str(file), "--train", "a", "--run", "b")
    assert str(caught.value).startswith(f"{file}: {reason}")


def test_a_file_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        parse("--options", str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="is not TOML"):
        parse("--options", str(tmp_path / "bad.toml"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WORDS_OF_ONE = [int, float, str, Path, Literal["a", 1], int | None, Path | Literal["a"] | None]
HINTS = [*WORDS_OF_ONE, bool, tuple[int, ...]]


@given(st.sampled_from(HINTS), JSON)
def test_whatever_a_file_says_is_a_value_or_an_error(hint: Any, value: Any) -> None:
    try:
        found = from_stored(hint, value)
    except ValueError:
        return
    assert found == value or found != found or found in (Path(str(value)), tuple(value))


@given(st.sampled_from(WORDS_OF_ONE), st.text())
def test_whatever_the_command_line_says_is_a_value_or_an_error(hint: Any, text: str) -> None:
    try:
        found = from_text(hint, text)
    except ValueError:
        return
    assert from_stored(hint, found) == found or found != found


# --- what every dataclass of options refuses -------------------------------------------------------

SPEECH = {"train": (Path("a"),), "dev": (Path("b"),), "run": Path("c")}
CAPTION = {"train": (Path("a"),), "dev": (Path("b"),), "run": Path("c")}
WORDS = {"text": ("a",), "run": Path("c")}
NAN = float("nan")


@pytest.mark.parametrize(
    ("options", "required", "name", "value"),
    [
        *[(SpeechOptions, SPEECH, *one) for one in [("epochs", -1), ("epochs", 0), ("epochs", 1.5)]],
        *[(SpeechOptions, SPEECH, *one) for one in [("dropout", 7.0), ("learning_rate", NAN)]],
        *[(SpeechOptions, SPEECH, *one) for one in [("hidden_size", 0), ("hidden_size", 10**9)]],
        *[(SpeechOptions, SPEECH, *one) for one in [("channels", -1), ("device", "tpu"), ("speeds", ())]],
        *[(SpeechOptions, SPEECH, *one) for one in [("train", ()), ("speeds", (1.0, -1.0)), ("seed", -1)]],
        *[(CaptionOptions, CAPTION, *one) for one in [("reward_epochs", -1), ("dropout", 7.0)]],
        *[(CaptionOptions, CAPTION, *one) for one in [("decoder_rate", NAN), ("device", "tpu")]],
        *[(CaptionOptions, CAPTION, *one) for one in [("hidden_size", 10**9), ("precision", "16")]],
        *[(LanguageModelOptions, WORDS, *one) for one in [("epochs", -1), ("hidden_size", 0)]],
        *[(LanguageModelOptions, WORDS, *one) for one in [("dropout", -0.1), ("words", 0), ("text", ())]],
        *[(DecodingOptions, {}, *one) for one in [("lm_weight", NAN), ("beam", 0), ("temperature", 0.0)]],
        *[(DecodingOptions, {}, *one) for one in [("hotword_boost", float("inf")), ("words", "no")]],
        *[(DescribeOptions, {}, *one) for one in [("beam", 0), ("nucleus", 1.5), ("temperature", NAN)]],
    ],
)
def test_options_that_cannot_be_meant_are_refused_where_they_are_made(
    options: type, required: dict[str, Any], name: str, value: object
) -> None:
    with pytest.raises(InputError) as caught:
        options(**{**required, name: value})
    assert caught.value.path == name


def test_the_docstring_explains_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert field_docs(Example)["dev"] == "manifests, or folders"
    assert field_docs(Example)["run"] == "directory; an unfinished run in it: resumed"
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "highest of all, in % of nothing (0.002)" in text
    assert "--speeds X [X ...] of hearing (0.9 1.1)" in text
    assert "let it learn (no)" in text
    assert "manifests, or folders (required)" in text
    assert "--weights PATH|torchvision" in text
