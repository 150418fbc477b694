"""What is still to be written: every input has its outputs, and an output that is there is trusted only if it
was made from the same file in the same way.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from common.commands.inputs import Input
from common.commands.ledger import Content, Ledger, Record, Source, file_state
from common.commands.store_ledger import open_ledger, stored_state
from common.errors import InputError
from common.files import write_whole
from common.locations import Location, StorePath


@dataclass(frozen=True)
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
    ledger, place = open_ledger(folder, settings or {}, content, whole=True), folder.resolve()
    sources = [Source.of(one, place) for one in inputs]
    jobs = []
    for one, source, name in zip(inputs, sources, _output_names(inputs, sources, ledger), strict=True):
        outputs = {format: folder / f"{name}.{format}" for format in formats}
        job = _planned(Job(one, outputs, ledger=ledger, source=source), overwrite)
        first = str(Path(one.relative).with_suffix(""))
        if job.remark is None and name != first and (owner := ledger.owner(first)) not in (None, source.path):
            job = dataclasses.replace(
                job, remark=f"is written to {name}, because {first} was made from {owner}"
            )
        jobs.append(job)
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
    job = _planned(Job(one, {format: path}, ledger=ledger, source=source), overwrite)
    if not job.done:
        ledger.require_writable()
    return job


def _planned(job: Job, overwrite: bool) -> Job:
    """The same job without the outputs that are there as they should be."""
    assert job.ledger is not None
    left, remark = {}, None
    for format, path in job.outputs.items():
        state = job.ledger.output_state(path)
        if state is None or overwrite:
            left[format] = path
            continue
        record = job.ledger.in_force(job.ledger.name(path), state)
        again = why_again(job, record)
        if again is not None:
            left[format] = path
        remark = remark or again
        problem = why_not(job, record, str(path), again, record is not None and record.state != state)
        if problem is not None:
            return job.failed(f"{problem}; --overwrite replaces it")
    return dataclasses.replace(job, outputs=left, done=not left, remark=remark)


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


def _output_names(inputs: Sequence[Input], sources: Sequence[Source], ledger: Ledger) -> list[str]:
    """For every input, the path of its outputs below the output folder, without their suffix."""
    choices = _name_choices(inputs)
    taken = [0] * len(inputs)
    kept: dict[str, int] = {}
    for number, (choice, source) in enumerate(zip(choices, sources, strict=True)):
        for position, name in enumerate(choice):
            if ledger.had(name, source) and name.casefold() not in kept:
                taken[number], kept[name.casefold()] = position, number
                break
    free = sorted(set(range(len(inputs))) - set(kept.values()))

    def is_not_for(name: str, number: int) -> bool:
        return name.casefold() in kept or ledger.owner(name) not in (None, sources[number].path)

    while True:
        claims = defaultdict(list)
        for number in free:
            claims[choices[number][taken[number]].casefold()].append(number)
        crowded = [
            number
            for number in free
            if taken[number] < len(choices[number]) - 1
            and (
                len(claims[(name := choices[number][taken[number]]).casefold()]) > 1
                or is_not_for(name, number)
            )
        ]
        if not crowded:
            return [choice[number] for choice, number in zip(choices, taken, strict=True)]
        for number in crowded:
            taken[number] += 1


def _name_choices(inputs: Sequence[Input]) -> list[list[str]]:
    """For every input the names that its outputs may have, best first; nobody else has the last."""
    places = [_place(one.location) for one in inputs]
    common = os.path.commonpath([place.parent for place in places]) if places else ""
    choices = []
    for one, place in zip(inputs, places, strict=True):
        relative, mirrored = Path(one.relative), place.relative_to(common)
        digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
        named = [relative.with_suffix(""), relative, mirrored.with_suffix(""), mirrored]
        choices.append([*map(str, named), f"{relative}.{digest}"])
    return choices


def _place(location: Location) -> PurePath:
    """Where an input lies, below the root of its drive or among all URLs."""
    if isinstance(location, StorePath):
        return PurePosixPath(location.url.replace("://", "/"))
    return location.relative_to(location.anchor)
