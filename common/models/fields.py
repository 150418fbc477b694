"""The values of a dataclass's fields: read from text, from TOML or JSON, and checked.

Comes in: a field's type as it is annotated, and what somebody wrote. Goes out: a value of that type, or a
ValueError whose text says what it should have been. Nothing here imports PyTorch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from common.errors import InputError

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "nothing",
}


def field_types(kind: type) -> dict[str, Any]:
    """The type of each field of a dataclass, in order."""
    hints = _hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def is_union(hint: Any) -> bool:
    """Whether a type is one of several."""
    return get_origin(hint) in (Union, types.UnionType)


def element_type(hint: Any) -> Any:
    """The type of a tuple's elements; None if the type is no tuple of any length."""
    return get_args(hint)[0] if get_origin(hint) is tuple and get_args(hint)[-1] is ... else None


def described(hint: Any) -> str:
    """What a value of a type is called: "a whole number", "one of cpu, cuda", "a list: each a path"."""
    if is_union(hint):
        return " or ".join(described(one) for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return f"{'one of ' if len(choices) > 1 else ''}{', '.join(map(str, choices))}"
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        many = f"of {len(inner)}" if inner[-1] is not ... else ""
        return f"a list {many}".strip() + f", each {described(inner[0])}"
    return _WORDS.get(hint, "a table")


def from_text(hint: Any, text: str) -> Any:
    """The value of a type that a word on the command line means; of a tuple, one element.

    Of a union, what is written out in a Literal is meant before anything else.

    Raises:
        ValueError: if it means none.
    """
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ValueError(f"{text!r} is not {described(hint)}") from None
    if hint is str or (hint is Path and text and "\0" not in text):
        return hint(text)
    if get_origin(hint) is Literal:
        for choice in get_args(hint):
            if text == str(choice):
                return choice
    elif is_union(hint):
        return _first(hint, lambda one: from_text(one, text), repr(text))
    raise ValueError(f"{text!r} is not {described(hint)}")


def from_stored(hint: Any, value: Any) -> Any:
    """The value of a type that a value in TOML or JSON means: lists are tuples, text may be a path.

    Raises:
        ValueError: if it means none.
    """

    def wrong() -> ValueError:  # made when it is needed: a vocabulary has ten thousands of words
        return ValueError(f"{_short(value)} is not {described(hint)}")

    if hint is Any:
        return value
    if is_union(hint):
        return _first(hint, lambda one: from_stored(one, value), _short(value))
    if hasattr(hint, "__dataclass_fields__") and isinstance(value, dict):
        return dataclass_from(hint, value)
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        inner = get_args(hint)
        kinds = [inner[0]] * len(value) if inner[-1] is ... else inner
        if len(kinds) != len(value):
            raise wrong()
        return tuple(from_stored(kind, one) for kind, one in zip(kinds, value, strict=True))
    if hint is Path and isinstance(value, str | Path):
        if not str(value) or "\0" in str(value):
            raise wrong()
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, int) and abs(value) > 10**300:  # more than a float can be
            raise wrong()
        return float(value)
    if get_origin(hint) is Literal:
        for choice in get_args(hint):
            if type(choice) is type(value) and choice == value:
                return choice
    elif hint in (int, bool, str, type(None)) and type(value) is hint:
        return value
    raise wrong()


def dataclass_from(kind: type, stored: dict[str, Any]) -> Any:
    """A dataclass from a table of TOML or JSON; what is left out has its default.

    Raises:
        ValueError: if a key is unknown, a field without a default is missing, or a value is none of its
            field; it begins with the key.
    """
    hints = field_types(kind)
    values = {}
    for name, value in stored.items():
        if name not in hints:
            raise ValueError(f"{name!r}: there is no such field")
        try:
            values[name] = from_stored(hints[name], value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    for field in dataclasses.fields(kind):
        if is_required(field) and field.name not in values:
            raise ValueError(f"{field.name}: is missing")
    return kind(**values)


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Whether a field has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def check(instance: Any, **bounds: tuple[float, float]) -> None:
    """Check a dataclass where it is made: each value is of its field's type, each number within bounds.

    Args:
        instance: of the dataclass.
        bounds: by field, the lowest and the highest number; of a tuple, for each element. A number without
            bounds need only be finite.

    Raises:
        InputError: that names the field, if a value is of another type, no number or out of bounds.
    """
    for name, hint in field_types(type(instance)).items():
        value = getattr(instance, name)
        if not dataclasses.is_dataclass(value):
            try:
                from_stored(hint, value)
            except ValueError as error:
                raise InputError(name, str(error)) from None
        low, high = bounds.get(name, (-math.inf, math.inf))
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if not low <= number <= high or number in (math.inf, -math.inf):
                raise InputError(name, f"is {number}; it must be {_within(low, high)}")


def _within(low: float, high: float) -> str:
    """Bounds in words."""
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    if math.isinf(high):
        return f"at least {low}"
    return f"from {low} to {high}"


def _first(hint: Any, read: Callable[[Any], Any], shown: str) -> Any:
    """What the first type of a union that fits makes of something, Literals before the others."""
    members = sorted(get_args(hint), key=lambda one: str(get_origin(one)) != str(Literal))
    for member in members:
        try:
            return read(member)
        except ValueError:
            continue
    raise ValueError(f"{shown} is not {described(hint)}")


def _short(value: Any) -> str:
    """A value as a message shows it: some of it, if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
