"""The errors that a person can cause, all below `SuiteError`, and a bug that one input brings to light.

Everything else that is raised is a bug and shows its traceback.
"""

from __future__ import annotations

import errno
import traceback
from os import PathLike, fspath


class SuiteError(Exception):
    """Whatever the suite raises that is no bug: one `except` catches it all."""


def shown(path: str | PathLike[str]) -> str:
    """A path as it is printed: on one line, and with nothing in it that a terminal would obey."""
    return fspath(path).translate(_CONTROLS)


_CONTROLS = {number: repr(chr(number))[1:-1] for number in (*range(32), *range(127, 160))}


class InputError(SuiteError):
    """Something that a person gave us cannot be used.

    Its text is one line, `path: reason`, where the reason also says the way out if there is one.

    Args:
        path: the file, folder or option that is at fault.
        reason: what is wrong with it, in words a person can act on; without a final full stop.
    """

    def __init__(self, path: str | PathLike[str], reason: str) -> None:
        self.path = fspath(path)
        self.reason = " ".join(reason.split())
        super().__init__(f"{shown(self.path)}: {self.reason}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, ...]]:
        # Exceptions are rebuilt from `args`, which holds the whole line: worker processes need this.
        return (type(self), (self.path, self.reason))


class OptionError(InputError):
    """An option that cannot be used, or not beside another.

    Args:
        option: its name in the library; a command line writes it with two hyphens in front.
        reason: what is wrong with it, as in `InputError`.
    """


class OutputError(InputError):
    """Nothing can be written in a place: the disk is full, or nobody may write there."""


class UnexpectedError(InputError):
    """A bug that one input brought to light, or too little memory for it: it fails, and the others are done.

    Args:
        path: the input.
        reason: the exception in a line.
        log: its traceback; empty where the program is not to blame.
    """

    def __init__(self, path: str | PathLike[str], reason: str, log: str) -> None:
        super().__init__(path, reason)
        self.log = log

    def __reduce__(self) -> tuple[type[InputError], tuple[str, ...]]:
        return (type(self), (self.path, self.reason, self.log))

    @staticmethod
    def of(path: str | PathLike[str], error: Exception) -> UnexpectedError:
        """What became of an input, from the exception that it raised."""
        if is_out_of_memory(error):
            return UnexpectedError(path, OUT_OF_MEMORY, "")
        reason = f"cannot be done because of a mistake in this program ({type(error).__name__}: {error})"
        return UnexpectedError(path, reason, "".join(traceback.format_exception(error)))


OUT_OF_MEMORY = "needs more memory than there is; free some, or cut it into parts"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused: by Python, by PyTorch (for which it is a RuntimeError), by the system."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).casefold()
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
