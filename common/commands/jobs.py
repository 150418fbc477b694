"""Jobs: inputs with what is still to be written for each."""

from __future__ import annotations

import dataclasses
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from common.commands.inputs import Input
from common.commands.ledger import Ledger, Source, Sources, file_state
from common.commands.store_ledger import stored_state
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
        name = without_suffix(normal(self._one.relative)) if self._name is None else self._name
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
        return dataclasses.replace(self, input=self.input.failed(problem), outputs={}, done=False)

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


class _OnDemand(Sequence[Job]):
    """Jobs that are made, by `_made`, when they are asked for."""

    @overload
    def __getitem__(self, number: int) -> Job: ...
    @overload
    def __getitem__(self, number: slice) -> list[Job]: ...
    def __getitem__(self, number: int | slice) -> Job | list[Job]:
        if isinstance(number, slice):
            return [self._made(one) for one in range(*number.indices(len(self)))]
        return self._made(range(len(self))[number])

    def _made(self, number: int) -> Job:
        """The job of a number, from 0."""
        raise NotImplementedError


class Jobs(_OnDemand):
    """Jobs that are made when they are asked for, because a million of them would fill the memory.

    Kept are seventeen bytes for each that is to be done as a whole or is done, and all others as they are.

    Args:
        inputs: one a job.
        folder, formats: as in `Outputs`.
        own: of the number of an input, the `Outputs`' name.
        sources: what tells an input's path from the folder.
        ledger: where outputs are remembered.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        folder: Location,
        formats: Sequence[str],
        own: Callable[[int], str | None],
        sources: Sources,
        ledger: Ledger,
    ) -> None:
        self._inputs, self._folder, self._formats = inputs, folder, formats
        self._own, self._sources, self._ledger = own, sources, ledger
        self._sizes, self._changes = array("q"), array("q")
        self._done = bytearray()
        self._others: dict[int, Job] = {}

    def add(self, whole: Job, job: Job) -> None:
        """Add the job of the next input.

        Args:
            whole: to write all outputs.
            job: the same one, if that is to be done.
        """
        assert whole.source is not None
        state = whole.source.size, whole.source.changed
        is_plain = job is whole and max(state).bit_length() < 64
        if not is_plain and not (job.done and job.remark is None):
            self._others[len(self._done)] = job
        self._sizes.append(state[0] if is_plain else 0)
        self._changes.append(state[1] if is_plain else 0)
        self._done.append(job.done)

    @property
    def are_done(self) -> bool:
        """Whether nothing is left to do."""
        return all(self._done)

    def _made(self, number: int) -> Job:
        """The job of a number, from 0."""
        if number in self._others:
            return self._others[number]
        one = self._inputs[number]
        if self._done[number]:
            return Job(one, done=True, ledger=self._ledger)
        outputs = Outputs(self._folder, one, self._own(number), self._formats)
        source = Source(self._sources.relative(one), self._sizes[number], self._changes[number])
        return Job(one, outputs, ledger=self._ledger, source=source)

    def __len__(self) -> int:
        return len(self._done)


class Chosen(_OnDemand):
    """Some of many jobs, which are made when they are asked for.

    Args:
        jobs: all of them.
        is_meant: whether one is among them.
    """

    def __init__(self, jobs: Sequence[Job], is_meant: Callable[[Job], bool]) -> None:
        self._jobs = jobs
        self._numbers = array("q", (number for number, job in enumerate(jobs) if is_meant(job)))

    def _made(self, number: int) -> Job:
        """The job of a number, from 0."""
        return self._jobs[self._numbers[number]]

    def __len__(self) -> int:
        return len(self._numbers)


def normal(path: str) -> str:
    """A relative path as `pathlib` writes it; nearly all are."""
    odd = "//" in path or "./" in path or path.endswith(("/", "/.")) or os.sep != "/"
    return str(Path(path)) if odd else path


def without_suffix(path: str) -> str:
    """A path without its suffix, as `pathlib` has it: `.hidden` and `name.` have none."""
    folder, separator, name = path.rpartition(os.sep)
    stem, dot, suffix = name.rpartition(".")
    return f"{folder}{separator}{stem}" if stem and dot and suffix else path
