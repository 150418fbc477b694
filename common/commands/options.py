"""A frozen dataclass of options -> arguments of a command line and a file of options, and back.

Names, types, defaults and explanations stand in the dataclass alone: its fields and the `Attributes` of
its docstring.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import inspect
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from common.errors import InputError
from common.models.fields import element_type, field_types, from_stored, from_text, is_required, is_union

Options = TypeVar("Options")

Device = Literal["cpu", "cuda", "mps", "auto"]
Precision = Literal["32-true", "bf16-mixed"]

_FILE = "options_file"  # where the parsed arguments hold the file's path
_METAVARS: dict[Any, str] = {int: "N", float: "X", Path: "PATH", str: "NAME"}


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """Give a parser one argument for each field of a dataclass, and `--options` for a file of them.

    Fields may be str, int, float, bool (`--name`, `--no-name`), Path, a Literal, one of several of these or
    None, or a tuple of any number of one of these.
    """
    parser.add_argument(
        "--options",
        dest=_FILE,
        type=Path,
        metavar="FILE",
        help="TOML file with the options below by their names, hyphens as underscores: epochs = 10, "
        'train = ["a.tsv", "b.tsv"]; what is also given here is taken from here',
    )
    explanations = field_docs(options)
    hints = field_types(options)
    for field in dataclasses.fields(options):
        explanation = explanations.get(field.name, "").replace("%", "%%")
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            dest=field.name,
            default=argparse.SUPPRESS,  # what is not given may stand in the file
            help=f"{explanation}{_shown_default(field)}",
            **_parsing(hints[field.name]),
        )


def read_options(options: type[Options], arguments: argparse.Namespace) -> Options:
    """The dataclass that the arguments of `add_options` and their file make.

    The command line goes before the file, and the file before the defaults.

    Raises:
        InputError: if the file cannot be read or holds what is no option, or one that has no default is
            given nowhere.
    """
    file = getattr(arguments, _FILE, None)
    values = {} if file is None else _read_file(options, file)
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        if hasattr(arguments, field.name):
            value = getattr(arguments, field.name)
            values[field.name] = tuple(value) if isinstance(value, list) else value
        elif field.name not in values and is_required(field):
            name = f"--{field.name.replace('_', '-')}"
            raise InputError(name, "is missing; give it here or in the file of --options")
    return options(**values)


def field_docs(options: type) -> dict[str, str]:
    """What the `Attributes` section of a docstring says of each field, on one line, without a full stop."""
    _, _, section = inspect.cleandoc(options.__doc__ or "").partition("Attributes:\n")
    docs: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", section.split("\n\n")[0]):
        names, _, text = entry.partition(":")
        for name in names.split(","):
            docs[name.strip()] = " ".join(text.split()).removesuffix(".")
    return docs


def shown_value(value: Any) -> str:
    """A value as a help text shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _shown_default(field: dataclasses.Field[Any]) -> str:
    """A field's default as its help text ends, or that it has none."""
    if is_required(field):
        return " (required)"
    return "" if field.default is None or field.default == () else f" ({shown_value(field.default)})"


def _parsing(hint: Any) -> dict[str, Any]:
    """How argparse reads a field of this type."""
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    element = element_type(hint)
    if element is not None:
        return {**_parsing(element), "nargs": "+"}
    return {"type": _reader(hint), "metavar": _metavar(hint)}


def _metavar(hint: Any) -> str:
    """What stands for a value in a help text."""
    if is_union(hint):
        return "|".join(_metavar(one) for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    return _METAVARS[hint]


def _reader(hint: Any) -> Callable[[str], Any]:
    """An argument's type: reads one value, and says what is wrong with it."""

    def read(text: str) -> Any:
        try:
            return from_text(hint, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _read_file(options: type, path: Path) -> dict[str, Any]:
    """The values that a file of options gives, by field."""
    try:
        stored = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not TOML: both say where
        raise InputError(path, f"is not TOML: {error}") from error
    hints = field_types(options)
    values = {}
    for name, value in stored.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            raise InputError(path, f"no option {name!r}{f'; is {near[0]} meant?' if near else ''}")
        try:
            values[name] = from_stored(hints[name], value)
        except ValueError as error:
            raise InputError(path, f"{name}: {error}") from None
    return values
