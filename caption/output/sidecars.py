"""Sidecars: a text file beside each photograph, which is what trainers of image models read.

Comes in: photographs and their captions. Goes out: `photo.txt` beside `photo.jpg`, with what somebody
wrote there before kept, replaced or joined to the caption.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from caption.output.metadata import picture_digest
from common.commands.inputs import Input
from common.commands.ledger import Ledger, Source
from common.commands.outputs import Job, why_again, why_not
from common.commands.store_ledger import open_ledger
from common.errors import InputError
from common.locations import Location

if TYPE_CHECKING:
    from caption.captioner import Caption

# What happens to a sidecar that is there already.
EXISTING = ("skip", "overwrite", "append", "prepend")


def plan_sidecars(
    inputs: Sequence[Input], existing: str, settings: Mapping[str, object] | None = None
) -> list[Job]:
    """Give every photograph its sidecar: the same place and name, with `.txt` for its suffix.

    Where two photographs would share one (`a.jpg` and `a.png`), each keeps its suffix: `a.jpg.txt`. A sidecar
    that was written before is done if the photograph and the settings are as they were then, and otherwise
    again; unless it was joined with the caption, or is another photograph's: then its photograph fails. With
    "skip", what somebody wrote or changed by hand is left alone, "append" and "prepend" join it.

    Args:
        inputs: the photographs.
        existing: one of `EXISTING`.
        settings: what else decides a caption, as JSON: options, model.
    """
    plain = [one.location.with_suffix(".txt") for one in inputs]
    claims = Counter(str(path).casefold() for path in plain)
    ledgers: dict[Location, Ledger] = {}
    jobs = []
    for one, path in zip(inputs, plain, strict=True):
        if claims[str(path).casefold()] > 1:
            path = one.location.with_name(f"{one.location.name}.txt")
        folder = path.parent
        if folder not in ledgers:
            ledgers[folder] = open_ledger(folder, settings or {}, picture_digest, whole=True)
        job = Job(one, {"txt": path}, ledger=ledgers[folder], source=Source.of(one, folder))
        jobs.append(job if existing == "overwrite" else _planned(job, path, existing))
    return jobs


def _planned(job: Job, path: Location, existing: str) -> Job:
    """The same job, if it is not done or its sidecar may not be written."""
    assert job.ledger is not None
    state = job.ledger.output_state(path)
    if state is None:
        return job
    record = job.ledger.in_force(job.ledger.name(path), state)
    if record is None:  # somebody's own
        return dataclasses.replace(job, done=existing == "skip")
    touched = record.state != state
    again = why_again(job, record)
    problem = why_not(job, record, str(path), again, touched=False)
    if problem is None and again is not None and existing != "skip":
        problem = f"{again}, but {path} was joined with the caption from before"
    if problem is not None:
        return job.failed(f"{problem}; --existing overwrite replaces it")
    if again is not None and touched:
        remark = "its sidecar stays as somebody has changed it, though photograph or options are others now"
        return dataclasses.replace(job, done=True, remark=remark)
    done = again is None and (existing == "skip" or not touched)
    return dataclasses.replace(job, done=done, remark=again)


def joined(before: str, caption: str, existing: str) -> str:
    """What a sidecar holds after a photograph was described: one line.

    A caption that stands there already is not written twice, so that an interrupted run can be repeated.

    Args:
        before: what the sidecar held; empty if there was none.
        caption: of the photograph.
        existing: one of `EXISTING`; tags and captions are joined with a comma and a space.
    """
    before = " ".join(before.split())
    if not before or existing not in ("append", "prepend"):
        return f"{caption}\n"
    if not caption:
        return f"{before}\n"
    first, second = (before, caption) if existing == "append" else (caption, before)
    known = before.endswith(caption) if existing == "append" else before.startswith(caption)
    return f"{before}\n" if known else f"{first}, {second}\n"


def write_sidecars(existing: str) -> Callable[[Job, Caption], None]:
    """A `deliver` for `common.commands.batch.run`, for the jobs of `plan_sidecars`."""

    def deliver(job: Job, caption: Caption) -> None:
        path = job.outputs["txt"]
        there = job.ledger is not None and job.ledger.output_state(path) is not None
        job.write(path, joined(_read(path) if there else "", caption.text, existing))
        if job.ledger is not None:
            job.ledger.close()  # each folder has one: all together could be more than may be open

    return deliver


def _read(path: Location) -> str:
    """What a sidecar holds.

    Raises:
        InputError: if it cannot be read as text: then it is not ours to change.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "is not UTF-8 text; it is left as it is") from error
