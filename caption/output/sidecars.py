"""Sidecars: a text file beside each photograph, which is what trainers of image models read.

Comes in: photographs and their captions. Goes out: `photo.txt` beside `photo.jpg`, with what somebody
wrote there before kept, replaced or joined to the caption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.commands.inputs import Input
from common.commands.outputs import Job
from common.errors import InputError
from common.files import write_whole

if TYPE_CHECKING:
    from caption.captioner import Caption

# What happens to a sidecar that is there already.
EXISTING = ("skip", "overwrite", "append", "prepend")


def plan_sidecars(inputs: Sequence[Input], existing: str) -> list[Job]:
    """Give every photograph its sidecar: the same place and name, with `.txt` for its suffix.

    Where two photographs would share one (`a.jpg` and `a.png`), each keeps its suffix: `a.jpg.txt`.

    Args:
        inputs: the photographs.
        existing: one of `EXISTING`; with "skip" what has a sidecar is done.
    """
    plain = [one.location.with_suffix(".txt") for one in inputs]
    claims = Counter(str(path).casefold() for path in plain)
    jobs = []
    for one, path in zip(inputs, plain, strict=True):
        if claims[str(path).casefold()] > 1:
            path = one.location.with_name(f"{one.location.name}.txt")
        jobs.append(Job(one, {"txt": path}, done=existing == "skip" and path.exists()))
    return jobs


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
        write_whole(path, joined(_read(path), caption.text, existing))

    return deliver


def _read(path: Path) -> str:
    """What a sidecar holds; nothing if it is not there.

    Raises:
        InputError: if it cannot be read as text: then it is not ours to change.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "is not UTF-8 text; it is left as it is") from error
