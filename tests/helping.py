"""What `--help` says of options: each in words of its own, with its default in brackets at the end."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator

from common.commands.options import shown_value
from common.models.fields import is_required


def subparsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def require_own_words(parser: argparse.ArgumentParser) -> None:
    """No option is without an explanation, or shares one with another."""
    for name, one in subparsers(parser):
        said = [action.help for action in one._actions]
        assert all(said), name
        assert len(set(said)) == len(said), name


def require_defaults(parser: argparse.ArgumentParser) -> None:
    """Every default that an option has stands at the end, in brackets; so does that it must be given."""
    for name, one in subparsers(parser):
        for action in one._actions:
            if not action.option_strings or isinstance(action, argparse._StoreTrueAction):
                continue
            ending = (action.help or "").rpartition(" (")[2]
            if action.required:
                assert ending == "required)", (name, action.option_strings)
            if action.default not in (None, [], "", False, argparse.SUPPRESS):
                assert ending.startswith(("%(default)s", shown_value(action.default))), action.option_strings
                assert ending.endswith(")"), action.option_strings


def require_defaults_of(parser: argparse.ArgumentParser, subcommand: str, options: type) -> None:
    """The same, for the options that a dataclass makes."""
    one = dict(subparsers(parser))[subcommand]
    said = {action.dest: action.help or "" for action in one._actions}
    for field in dataclasses.fields(options):
        if is_required(field):
            assert said[field.name].endswith(" (required)"), field.name
        elif field.default not in (None, ()):
            assert said[field.name].endswith(f" ({shown_value(field.default)})"), field.name
