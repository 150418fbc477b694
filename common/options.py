"""A frozen dataclass of options -> arguments of a command line, and back.

Names, types, defaults and explanations stand in the dataclass alone: its fields and the `Attributes` of
its docstring.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Options = TypeVar("Options")


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """Give a parser one argument for each field of a dataclass; a field without a default is required.

    Fields may be str, int, float, bool (`--name`, `--no-name`), Path, a Literal, one of these or None,
    or a tuple of any number of one of these.
    """
    hints, explanations = get_type_hints(options), field_docs(options)
    for field in dataclasses.fields(options):
        required = field.default is dataclasses.MISSING
        default = None if required else field.default
        keywords: dict[str, Any] = {"dest": field.name, "default": default, "required": required}
        explanation = explanations.get(field.name, "").replace("%", "%%")
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        keywords["help"] = explanation if default is None else f"{explanation} ({shown})"
        parser.add_argument(f"--{field.name.replace('_', '-')}", **keywords, **_parsing(hints[field.name]))


def read_options(options: type[Options], arguments: argparse.Namespace) -> Options:
    """The dataclass that the arguments of `add_options` make."""
    values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    return options(**{name: tuple(one) if isinstance(one, list) else one for name, one in values.items()})


def field_docs(options: type) -> dict[str, str]:
    """What the `Attributes` section of a docstring says of each field, on one line, without a full stop."""
    _, _, section = inspect.cleandoc(options.__doc__ or "").partition("Attributes:\n")
    docs: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", section.split("\n\n")[0]):
        names, _, text = entry.partition(":")
        for name in names.split(","):
            docs[name.strip()] = " ".join(text.split()).removesuffix(".")
    return docs


def _parsing(hint: Any) -> dict[str, Any]:
    """How argparse reads a field of this type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _parsing(next(one for one in inner if one is not type(None)))
    if origin is tuple:
        return {**_parsing(inner[0]), "nargs": "+"}
    if origin is Literal:
        return {"choices": inner}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    metavars: dict[type, str] = {int: "N", float: "X", Path: "PATH", str: "NAME"}
    return {"type": hint, "metavar": metavars[hint]}
