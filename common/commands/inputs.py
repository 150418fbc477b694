"""What somebody means by files, folders, globs and lists of paths: the inputs, in order, each once.

`os.path` is asked where pathlib raises (Python 3.11): about a path that is too long or may not be seen.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path, PurePosixPath

from common import stores
from common.commands.messages import say
from common.commands.repeats import repeated
from common.errors import InputError
from common.locations import Location, StorePath, location, read_location


@dataclass(frozen=True, slots=True, init=False)
class Input:
    """One file that somebody wants done.

    Attributes:
        path: as it was given, or as its folder was given; it opens from the current folder, or is a URL.
        relative: its path below the folder, or below the fixed part of the glob, by which it was found;
            of a file that was named itself, its name.
        problem: why it cannot even be tried; None for nearly all.
        state: of what a URL names, its size and what changes with it (see `common.stores.Stored`).
    """

    path: str
    _inner: int | str  # where the relative path begins in the other, which it nearly always ends
    problem: str | None
    state: tuple[int, int] | None = field(compare=False)

    def __init__(
        self, path: str, relative: str, problem: str | None = None, state: tuple[int, int] | None = None
    ) -> None:
        put = object.__setattr__
        put(self, "path", path)
        put(self, "_inner", len(path) - len(relative) if path.endswith(relative) else relative)
        put(self, "problem", problem)
        put(self, "state", state)

    @property
    def relative(self) -> str:
        """Its path below the folder, or below the fixed part of the glob, by which it was found."""
        return self._inner if isinstance(self._inner, str) else self.path[self._inner :]

    def failed(self, problem: str) -> Input:
        """The same input, which cannot be tried; what was wrong before stays so."""
        return Input(self.path, self.relative, self.problem or problem, self.state)

    @property
    def location(self) -> Location:
        """Where it lies, absolute; links among the folders are resolved, the file itself may be one."""
        path = location(self.path)
        if isinstance(path, StorePath):
            return path
        return path.parent.resolve() / path.name


def collect_inputs(
    sources: Sequence[str],
    suffixes: Collection[str],
    kind: str = "files",
    lists: Sequence[str] = (),
    passed_over: Counter[str] | None = None,
) -> list[Input]:
    """Find the files that somebody means.

    A file that is named is taken whatever its suffix. A folder gives the files below it that have one
    of the suffixes, in the order of their names; hidden ones are passed over, links are followed. A
    path that does not exist but holds `*`, `?` or `[` is a glob, `**` goes through folders. A file that
    is meant twice is taken once. All of them may be URLs; a web server's is always one file, unless it ends
    with a slash.

    Args:
        sources: paths and globs; `-` is left to the caller.
        suffixes: of the files that a folder is searched for, in lower case with their dot.
        kind: what they are called, for the error about a folder that holds none.
        lists: files with one path a line, UTF-8; `-` is standard input. A relative path is taken from
            the current folder or, if nothing is there, from the list's own; in a list behind a URL, only
            from there.
        passed_over: counts, by their suffix, the files in folders that are not taken; and named pipes,
            sockets and devices there, whatever they are called: to open one could wait for ever.

    Returns:
        The inputs in order; what cannot be tried (no such file, an unreadable folder, a broken link)
        stands among them with its problem.

    Raises:
        InputError: if a list cannot be read.
    """
    found: list[Input] = []
    passed_over = Counter() if passed_over is None else passed_over
    named = [*sources, *(path for name in lists for path in _read_list(name))]
    urls = [one for one in named if stores.is_url(one) and not _is_searched(one)]
    files = dict(zip(urls, stores.together(stores.look_up, urls), strict=True))
    for source in named:
        if stores.is_url(source):
            expanded = _behind(source, files.get(source), tuple(suffixes), kind, passed_over)
        else:
            expanded = _expand(source, tuple(suffixes), kind, passed_over)
        found.extend(expanded)
    return _each_once(found)


def _each_once(found: list[Input]) -> list[Input]:
    """The same inputs without those that are the same file as one before them."""
    resolved: dict[str, str] = {}
    twice = repeated(lambda: (resolved_place(one.path, resolved) for one in found), len(found))
    left, seen = [], set[tuple[str, str]]()
    for one in found if twice else ():
        place = resolved_place(one.path, resolved)
        if place not in seen:
            left.append(one)
        if place in twice:
            seen.add(place)
    return left if twice else found


def resolved_place(path: str, known: dict[str, str]) -> tuple[str, str]:
    """Where a file lies, as `Input.location` says it: its folder, and its name there; of a URL, as of a file.

    Args:
        path: of the file.
        known: folders that were resolved before, by their names; of a million files, a folder is resolved
            once.
    """
    if stores.is_url(path):
        parent, _, name = path.replace("://", "/").rpartition("/")
        return parent, name
    parent, name = os.path.split(path)
    if name in ("", "."):  # Path has another opinion on what a name is
        parent, name = str(Path(path).parent), Path(path).name
    folder = known.get(parent)
    if folder is None:
        folder = known[parent] = str(Path(parent).resolve()) if "\0" not in parent else parent
    return folder, name


def _read_list(name: str) -> Iterator[str]:
    """The paths that a list names, one a line."""
    place = location(name)
    try:
        data = sys.stdin.buffer.read() if name == "-" else read_location(place, "the list")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(name, f"the list is not UTF-8 (byte {error.start})") from error
    folder = Path() if name == "-" else place.parent
    for line in text.split("\n"):
        path = line.removesuffix("\r")
        if path.strip() and (stores.is_url(path) or isinstance(folder, StorePath)):
            yield path if stores.is_url(path) or path.startswith("/") else str(folder / path)
        elif path.strip():
            elsewhere = os.path.lexists(folder / path) and not os.path.lexists(path)
            yield str(folder / path) if elsewhere else path


def say_passed_over(command: str, passed_over: Counter[str]) -> None:
    """Say in one line what was in the folders and is not taken, the most frequent first."""
    if passed_over:
        counts = ", ".join(f"{count} {name}" for name, count in passed_over.most_common())
        say(command, f"passed over: {counts}", event="passed_over", level="info")


def _is_searched(url: str) -> bool:
    """Whether a URL means the files below it, or a glob; a query's `?` makes none."""
    return url.endswith("/") or (has_magic(url) and not stores.is_http(url))


def _behind(
    url: str,
    file: stores.Stored | InputError | None,
    suffixes: tuple[str, ...],
    kind: str,
    passed_over: Counter[str],
) -> Iterator[Input]:
    """The inputs that a URL means; at least one, if only to carry a problem.

    Args:
        url: of a file, of a folder, or a glob.
        file: what stands behind it, where it has been asked for.
        suffixes, kind, passed_over: as in `collect_inputs`.
    """
    name = StorePath(url).name or url
    globbed = file is None and not url.endswith("/")
    root = _fixed_part(url) if globbed else f"{url.rstrip('/')}/"
    try:
        if isinstance(file, InputError):
            raise file
        if file is not None and not file.is_folder:
            yield Input(url, name, state=(file.size, file.changed))
            return
        found = stores.find_matching(url, root) if globbed else stores.find(url)
    except InputError as error:
        yield Input(url, name, error.reason)
        return
    count = 0
    for one in found:
        inner = PurePosixPath(*(part for part in one.url.removeprefix(root).split("/") if part.strip(".")))
        if any(part.startswith(".") for part in inner.parts) or not inner.parts:
            continue
        if globbed or inner.name.lower().endswith(suffixes):
            count += 1
            yield Input(one.url, str(inner), state=(one.size, one.changed))
        else:
            passed_over[inner.suffix.lower() or "without a suffix"] += 1
    if not count:
        yield Input(url, name, "no file matches" if globbed else f"no {kind} in this folder")


def _fixed_part(pattern: str) -> str:
    """The folders of a glob before its first sign, with their slash."""
    while has_magic(pattern):
        pattern = pattern.rstrip("/").rpartition("/")[0] + "/"
    return pattern


def _expand(source: str, suffixes: tuple[str, ...], kind: str, passed_over: Counter[str]) -> Iterator[Input]:
    """The inputs that one path or glob means; at least one, if only to carry a problem."""
    path = Path(source)
    if not source or "\0" in source:
        yield Input(source, source, "is no path")
    elif os.path.isdir(path):  # noqa: PTH112
        inputs = list(_walk(path, Path(), suffixes, frozenset({path.resolve()}), passed_over))
        yield from inputs or [Input(source, path.name, f"no {kind} in this folder")]
    elif has_magic(source) and not os.path.lexists(path):
        yield from _matches(source, suffixes, kind, passed_over)
    else:
        yield Input(source, path.name, _problem(path))


def _matches(
    pattern: str, suffixes: tuple[str, ...], kind: str, passed_over: Counter[str]
) -> Iterator[Input]:
    """The inputs that a glob matches, and those in the folders that it matches."""
    root = Path(pattern)
    while has_magic(str(root)):
        root = root.parent
    matches = sorted(glob(pattern, recursive=True))  # noqa: PTH207 - pathlib's takes no absolute pattern
    if not matches:
        yield Input(pattern, Path(pattern).name, "no file matches")
    for match in matches:
        path = Path(match)
        special = _special(path)
        if special is not None:
            passed_over[special] += 1
        elif not os.path.isdir(path):  # noqa: PTH112
            yield Input(match, str(path.relative_to(root)), _problem(path))
        elif "**" not in pattern:  # which matches the files in the folders itself
            yield from _expand(match, suffixes, kind, passed_over)


def _walk(
    folder: Path,
    relative: Path,
    suffixes: tuple[str, ...],
    around: frozenset[Path],
    passed_over: Counter[str],
) -> Iterator[Input]:
    """The inputs in a folder that lies at `relative`; `around` are it and the folders above it, resolved."""
    try:
        names, others = _entries(folder)
    except OSError as error:
        yield Input(str(folder), str(relative), f"the folder cannot be read: {error.strerror}")
        return
    # Of a million files, strings are made in a tenth of the time that paths take.
    place, inner = ("" if str(one) == "." else os.path.join(one, "") for one in (folder, relative))  # noqa: PTH118
    for name in names:
        special = problem = None
        if name in others:
            path = folder / name
            if os.path.isdir(path):  # noqa: PTH112
                real = path.resolve()
                if real not in around:  # a link to a folder around itself would lead round for ever
                    yield from _walk(path, relative / name, suffixes, around | {real}, passed_over)
                continue
            special, problem = _special(path), _problem(path)
        if special is not None:
            passed_over[special] += 1
        elif name.lower().endswith(suffixes):
            yield Input(f"{place}{name}", f"{inner}{name}", problem)
        else:
            passed_over[Path(name).suffix.lower() or "without a suffix"] += 1


def _entries(folder: Path) -> tuple[list[str], set[str]]:
    """The names in a folder that are not hidden, in order, and those of them that may be no files.

    What is a file the folder itself says: a million need not be asked one by one. A link may be anything.
    """
    names, others = [], set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                names.append(entry.name)
                if not entry.is_file(follow_symlinks=False):
                    others.add(entry.name)
    names.sort(key=os.path.normcase)
    return names, others


def _special(path: Path) -> str | None:
    """What a path is that is neither a file nor a folder; None if it is one of these, or not there."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    kinds = {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}
    kinds |= {stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(mode))


def _problem(path: Path) -> str | None:
    """Why a file cannot be tried, as far as that can be told without opening it."""
    try:
        path.stat()
    except FileNotFoundError:
        return "a link to a file that is not there" if path.is_symlink() else "no such file"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None
