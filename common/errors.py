"""The one class of errors that a person can cause.

Everything else that is raised is a bug and shows its traceback.
"""

from __future__ import annotations

from os import PathLike, fspath


class InputError(Exception):
    """Something that a person gave us cannot be used.

    Its text is one line, `path: reason`, where the reason also says the way out if there is one.

    Args:
        path: the file, folder or option that is at fault.
        reason: what is wrong with it, in words a person can act on; without a final full stop.
    """

    def __init__(self, path: str | PathLike[str], reason: str) -> None:
        self.path = fspath(path)
        self.reason = " ".join(reason.split())
        super().__init__(f"{self.path}: {self.reason}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        # Exceptions are rebuilt from `args`, which holds the whole line: worker processes need this.
        return (type(self), (self.path, self.reason))
