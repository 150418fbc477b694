"""What is still to be written: every input has its outputs, and an output that is there is trusted only if it
was made from the same file in the same way.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from array import array
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from common.commands.inputs import Input
from common.commands.jobs import Job as Job
from common.commands.jobs import Jobs, Outputs, normal, without_suffix
from common.commands.ledger import Content, Ledger, Record, Source, Sources
from common.commands.repeats import repeated
from common.commands.store_ledger import open_ledger
from common.errors import InputError
from common.locations import Location


def plan_outputs(
    inputs: Sequence[Input],
    folder: Location | None,
    formats: Sequence[str],
    overwrite: bool = False,
    settings: Mapping[str, object] | None = None,
    content: Content | None = None,
) -> Sequence[Job]:
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
    jobs = Jobs(inputs, folder, formats, names.own, sources, ledger)
    for number, one in enumerate(inputs):
        # What it was made from is remembered with what is to be made; of what is done, nobody asks any more.
        name = names[number]
        whole = Job(
            one, Outputs(folder, one, names.own(number), formats), ledger=ledger, source=sources.of(one)
        )
        job = _planned(whole, {format: f"{name}.{format}" for format in formats}, overwrite)
        remark = names.remark(number) if job.remark is None else None
        jobs.add(whole, job if remark is None else dataclasses.replace(job, remark=remark))
    if not jobs.are_done:
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
        kept = (self._keep(number, sources.relative(one)) for number, one in enumerate(inputs))
        self._give(array("q", (number for number, is_kept in enumerate(kept) if not is_kept)))

    def __getitem__(self, number: int) -> str:
        return self._name(number, self._taken[number])

    def own(self, number: int) -> str | None:
        """What an input's outputs are called, if not as it is."""
        return self[number] if self._taken[number] else None

    def remark(self, number: int) -> str | None:
        """Why an input's outputs are not called as it is; None if they are, or nobody wonders."""
        if not self._taken[number]:
            return None
        first = self._name(number, 0)
        if self[number] == first:
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

    def _give(self, free: Sequence[int]) -> None:
        """Give the others the best names that nobody else has or wants."""
        while free:
            shared = repeated(
                lambda: (self[each].casefold() for each in range(len(self._inputs))), len(self._inputs)
            )
            crowded = [number for number in free if self._is_crowded(number, shared)]
            if not crowded:
                return
            for number in crowded:
                self._taken[number] += 1

    def _is_crowded(self, number: int, shared: Collection[str]) -> bool:
        """Whether somebody else has or wants the name that an input would have, and it has others.

        Args:
            number: of the input.
            shared: names that several inputs have, in lower case.
        """
        if self._taken[number] == _CHOICES - 1:
            return False
        name = self[number]
        if shared and name.casefold() in shared:
            return True
        owner = None if self._ledger.is_empty else self._ledger.owner(name)
        return owner is not None and owner != self._sources.relative(self._inputs[number])

    def _name(self, number: int, position: int) -> str:
        """One of the names that an input's outputs may have, best first; nobody else has the last."""
        one = self._inputs[number]
        relative = normal(one.relative)
        if position == 0:
            return without_suffix(relative)
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
        return without_suffix(mirrored) if position == 2 else mirrored

    def _place(self, one: Input) -> tuple[str, str]:
        """The folder in which an input lies, below the root of its drive or among all URLs, and its name."""
        folder, name = self._sources.place(one)
        return os.path.splitdrive(folder)[1].lstrip(os.sep), name


_CHOICES = 5  # names that an input's outputs may have
