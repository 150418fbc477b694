"""What is still to be written: every input has its outputs, and an output that is there is trusted only if it
was made from the same file in the same way.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.commands.inputs import Input
from common.commands.ledger import Content, Ledger, Record, Source, Sources, file_state
from common.commands.store_ledger import open_ledger, stored_state
from common.errors import InputError
from common.files import write_whole
from common.locations import Location, StorePath


class Outputs(Mapping[str, Location]):
    """An input's files by format, `folder/name.format`; a path is made when it is asked for.

    Args:
        folder: of all outputs.
        one: the input.
        name: of its outputs below the folder, without suffix; None if they are called as the input is.
        formats: that are meant.
    """

    __slots__ = ("_folder", "_formats", "_name", "_one")

    def __init__(self, folder: Location, one: Input, name: str | None, formats: Sequence[str]) -> None:
        self._folder = folder
        self._one = one
        self._name = name
        self._formats = formats

    def __getitem__(self, format: str) -> Location:
        if format not in self._formats:
            raise KeyError(format)
        name = _without_suffix(_normal(self._one.relative)) if self._name is None else self._name
        return self._folder / f"{name}.{format}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._formats)

    def __len__(self) -> int:
        return len(self._formats)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class Job:
    """One input with what is still to be written for it.

    Attributes:
        input: what is to be read.
        outputs: by format, the files that are still to be written; empty if results go elsewhere.
        done: nothing is left to do.
        remark: what somebody should know who does not look: it is done again, or called otherwise.
        ledger, source: where outputs are remembered, and the input as it was when this was planned.
    """

    input: Input
    outputs: Mapping[str, Location] = field(default_factory=dict)
    done: bool = False
    remark: str | None = None
    ledger: Ledger | None = field(default=None, compare=False, repr=False)
    source: Source | None = field(default=None, compare=False, repr=False)

    def failed(self, problem: str) -> Job:
        """The same job, which cannot be tried; what was wrong before stays so."""
        one = dataclasses.replace(self.input, problem=self.input.problem or problem)
        return dataclasses.replace(self, input=one, outputs={}, done=False)

    def write(self, path: Location, content: str | bytes) -> None:
        """Write one of the outputs whole, and remember what it was made from.

        Raises:
            InputError: if it cannot be written.
        """
        ledger, source = self.ledger, self.source
        if isinstance(path, StorePath):
            data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
            if ledger is not None and source is not None:
                ledger.note(ledger.name(path), source, stored_state(data))
            path.write_bytes(data)
        elif ledger is None or source is None:
            write_whole(path, content)
        else:
            name = ledger.name(path)
            write_whole(path, content, lambda found: ledger.note(name, source, file_state(found)))


def plan_outputs(
    inputs: Sequence[Input],
    folder: Location | None,
    formats: Sequence[str],
    overwrite: bool = False,
    settings: Mapping[str, object] | None = None,
    content: Content | None = None,
) -> list[Job]:
    """Give every input its outputs: `folder/<relative path>.<format>`, the input's suffix left off.

    No two inputs share an output. Where they would, all of them (never only the later ones, so that
    the names do not depend on the order) keep their suffix, `a.wav.txt` and `a.mp3.txt`; if that is not
    enough, they stand below `folder` as they do below the folder that all inputs have in common. What was
    written in an earlier run keeps its name, and no other input gets it.

    An output that is there is left out if it was made from this file, as it is now, with these settings. If
    the file or the settings have changed, it is made again. What nothing is known of, or what somebody has
    changed by hand, is not touched: the input fails.

    Args:
        inputs: from `collect_inputs`.
        folder: where the outputs go, here or on a store; None if results go to standard output.
        formats: suffixes of the outputs, without their dot.
        overwrite: write what exists again, whatever it is.
        settings: what else decides the outputs, as JSON: options, model.
        content: as in `Ledger`.

    Raises:
        InputError: if `folder` is a file, or something is left to do and nothing can be written there.
    """
    if folder is None:
        return [Job(one) for one in inputs]
    if isinstance(folder, Path) and folder.exists() and not folder.is_dir():
        raise InputError(folder, "is a file; the output must be a folder here")
    ledger, sources = open_ledger(folder, settings or {}, content, whole=True), Sources(folder.resolve())
    names = _OutputNames(inputs, sources, ledger)
    jobs: list[Job] = []
    for number, one in enumerate(inputs):
        # What it was made from is remembered with what is to be made; of what is done, nobody asks any more.
        name = names[number]
        outputs = Outputs(folder, one, names.own(number), formats)
        job = Job(one, outputs, ledger=ledger, source=sources.of(one))
        job = _planned(job, {format: f"{name}.{format}" for format in formats}, overwrite)
        remark = names.remark(number) if job.remark is None else None
        jobs.append(job if remark is None else dataclasses.replace(job, remark=remark))
    if not all(job.done for job in jobs):
        ledger.require_writable()
    return jobs


def plan_file(
    one: Input,
    path: Location,
    format: str,
    overwrite: bool = False,
    settings: Mapping[str, object] | None = None,
    content: Content | None = None,
) -> Job:
    """As `plan_outputs`, for one input and the file that somebody named for it.

    Raises:
        InputError: if it is a folder, or nothing can be written there.
    """
    if path.is_dir():
        raise InputError(path, "is a folder; a file is meant here")
    if (
        isinstance(path, Path) and path.exists() and not path.is_file()
    ):  # a device, a pipe: nothing to remember
        return Job(one, {format: path})
    ledger = open_ledger(path.parent, settings or {}, content)
    source = Source.of(one, path.parent.resolve())
    job = Job(one, {format: path}, ledger=ledger, source=source)
    job = _planned(job, {format: path.name}, overwrite)
    if not job.done:
        ledger.require_writable()
    return job


def _planned(job: Job, names: Mapping[str, str], overwrite: bool) -> Job:
    """The same job without the outputs that are there as they should be.

    Args:
        job: with all of its outputs.
        names: of the outputs below the ledger's folder, by their format.
        overwrite: as in `plan_outputs`.
    """
    assert job.ledger is not None
    left, remark = list(names), None
    for format, name in names.items():
        state = job.ledger.named_state(name)
        if state is None or overwrite:
            continue
        record = job.ledger.in_force(name, state)
        again = why_again(job, record)
        if again is None:
            left.remove(format)
        remark = remark or again
        place = os.path.join(job.ledger.folder, name)  # noqa: PTH118
        problem = why_not(job, record, place, again, record is not None and record.state != state)
        if problem is not None:
            return job.failed(f"{problem}; --overwrite replaces it")
    if not left:
        return Job(job.input, done=True, remark=remark, ledger=job.ledger)
    if len(left) < len(names):
        return dataclasses.replace(job, outputs={format: job.outputs[format] for format in left})
    return job if remark is None else dataclasses.replace(job, remark=remark)


def why_again(job: Job, record: Record | None) -> str | None:
    """Why an output that is there is made again; None if it is as it should be, or is not this input's.

    Args:
        job: with its ledger and source.
        record: what is known of the output.
    """
    assert job.ledger is not None
    if record is None or job.source is None or record.source.path != job.source.path:
        return None
    if not job.ledger.is_same(record, job.source):
        return "has changed, and is done again"
    if not job.ledger.is_current(record):
        return f"is done again with {job.ledger.difference(record)}"
    return None


def why_not(job: Job, record: Record | None, place: str, again: str | None, touched: bool) -> str | None:
    """Why an output that is there may neither be trusted nor replaced; None if it may.

    Args:
        job: with its source.
        record: what is known of the output.
        place: what the output is called.
        again: from `why_again`.
        touched: somebody has changed it since it was written.
    """
    assert job.source is not None
    if record is None:
        return f"{place} is there, and it is not known what it was made from"
    if record.source.path != job.source.path:
        return f"{place} is there, and was made from {record.source.path}"
    if job.source.path == "-":
        return f"{place} is there, perhaps of something else on standard input"
    if again is not None and touched:
        return f"{again}, but somebody has changed {place} since it was written"
    return None


class _OutputNames:
    """For every input, the path of its outputs below the output folder, without their suffix.

    Args:
        inputs, sources, ledger: as in `plan_outputs`.
    """

    def __init__(self, inputs: Sequence[Input], sources: Sources, ledger: Ledger) -> None:
        self._inputs, self._sources, self._ledger = inputs, sources, ledger
        self._common: str | None = None  # the folder that all inputs have in common
        self._taken = bytearray(len(inputs))  # which of its names each has
        free = [number for number, one in enumerate(inputs) if not self._keep(number, sources.relative(one))]
        if free:
            new = set(free)
            self._give(free, {self[number].casefold() for number in range(len(inputs)) if number not in new})

    def __getitem__(self, number: int) -> str:
        return self._name(number, self._taken[number])

    def own(self, number: int) -> str | None:
        """What an input's outputs are called, if not as it is."""
        return self[number] if self._taken[number] else None

    def remark(self, number: int) -> str | None:
        """Why an input's outputs are not called as it is; None if they are, or nobody wonders."""
        first = self._name(number, 0)
        if not self._taken[number] or self[number] == first:
            return None
        owner = self._ledger.owner(first)
        if owner in (None, self._sources.relative(self._inputs[number])):
            return None
        return f"is written to {self[number]}, because {first} was made from {owner}"

    def _keep(self, number: int, source: str) -> bool:
        """Give an input the name that it had the last time, which no other had; whether it had one."""
        if self._ledger.is_empty:
            return False
        for position in range(_CHOICES):
            if self._ledger.had(self._name(number, position), source):
                self._taken[number] = position
                return True
        return False

    def _give(self, free: Sequence[int], kept: set[str]) -> None:
        """Give the others the best names that nobody else has or wants."""
        while True:
            claims = Counter(self[number].casefold() for number in free)
            crowded = [number for number in free if self._is_crowded(number, claims, kept)]
            if not crowded:
                return
            for number in crowded:
                self._taken[number] += 1

    def _is_crowded(self, number: int, claims: Mapping[str, int], kept: set[str]) -> bool:
        """Whether somebody else has or wants the name that an input would have, and it has others."""
        if self._taken[number] == _CHOICES - 1:
            return False
        name = self[number]
        if claims[name.casefold()] > 1 or name.casefold() in kept:
            return True
        owner = None if self._ledger.is_empty else self._ledger.owner(name)
        return owner is not None and owner != self._sources.relative(self._inputs[number])

    def _name(self, number: int, position: int) -> str:
        """One of the names that an input's outputs may have, best first; nobody else has the last."""
        one = self._inputs[number]
        relative = _normal(one.relative)
        if position == 0:
            return _without_suffix(relative)
        if position == 1:
            return relative
        folder, name = self._place(one)
        if position == _CHOICES - 1:
            place = os.path.join(folder, name)  # noqa: PTH118 - a million times
            return f"{relative}.{hashlib.sha256(os.fsencode(place)).hexdigest()[:12]}"
        if self._common is None:
            self._common = os.path.commonpath({self._place(each)[0] for each in self._inputs})
        inner = folder[len(self._common) :].lstrip(os.sep)
        mirrored = os.path.join(inner, name)  # noqa: PTH118
        return _without_suffix(mirrored) if position == 2 else mirrored

    def _place(self, one: Input) -> tuple[str, str]:
        """The folder in which an input lies, below the root of its drive or among all URLs, and its name."""
        folder, name = self._sources.place(one)
        return os.path.splitdrive(folder)[1].lstrip(os.sep), name


_CHOICES = 5  # names that an input's outputs may have


def _normal(path: str) -> str:
    """A relative path as `pathlib` writes it; nearly all are."""
    odd = "//" in path or "./" in path or path.endswith(("/", "/.")) or os.sep != "/"
    return str(Path(path)) if odd else path


def _without_suffix(path: str) -> str:
    """A path without its suffix, as `pathlib` has it: `.hidden` and `name.` have none."""
    folder, separator, name = path.rpartition(os.sep)
    stem, dot, suffix = name.rpartition(".")
    return f"{folder}{separator}{stem}" if stem and dot and suffix else path
