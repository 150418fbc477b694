"""Where the captions of `caption describe` go: to the screen, to files, beside or into the photographs.

Comes in: the parsed options and the photographs. Goes out: the jobs that are left, and what delivers each
caption.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from caption.output import writers
from caption.output.metadata import has_description, obstacle, write_description
from caption.output.sidecars import plan_sidecars, write_sidecars
from caption.sources import PIPED, SHEET, Pictures
from common.commands.batch import plan_outputs, write_outputs
from common.commands.inputs import Input
from common.commands.outputs import Job
from common.commands.paths import require_apart
from common.errors import InputError

if TYPE_CHECKING:
    from caption.captioner import Caption, Captioner


def destination(
    arguments: argparse.Namespace, inputs: Sequence[Input], pictures: Pictures
) -> tuple[list[Job], Callable[[Job, Caption], None]]:
    """What is still to be done, and how a caption gets to where it belongs.

    Raises:
        InputError: if the options contradict each other, or a file would be written over an input.
    """
    output: Path | None = arguments.output
    if arguments.sidecar:
        return _sidecars(arguments, inputs)
    if arguments.existing is not None:
        raise InputError("--existing", "says what happens to sidecars: add --sidecar")
    formats = _formats(arguments.formats, output)
    if output is None:
        if len(formats) > 1:
            raise InputError("--format", "several formats need a folder to go to: add --output FOLDER")
        return [Job(one) for one in inputs], _printer(formats[0], _is_one_file(arguments, inputs), pictures)
    folder = len(formats) > 1 or output.is_dir()
    tables = {
        format: writers.CaptionTable(
            output / f"captions.{format}" if folder else output, format, arguments.overwrite, pictures.open
        )
        for format in formats
        if format in writers.TABLES
    }
    jobs = [Job(one, done=True) for one in inputs]
    if "txt" in formats:
        jobs = _text_jobs(arguments, inputs, output)
    require_apart(_files_read(arguments, inputs), [*_outputs(jobs), *(one.path for one in tables.values())])
    jobs = [dataclasses.replace(job, done=job.done and _is_in(job, tables.values())) for job in jobs]

    def render(caption: Caption, path: str, format: str) -> str:
        return writers.as_text(caption)

    write_text = write_outputs(render)

    def deliver(job: Job, caption: Caption) -> None:
        write_text(job, caption)
        for table in tables.values():
            if job.input.path not in table.paths:
                table.add(job.input.path, caption)

    return jobs, deliver


def _sidecars(
    arguments: argparse.Namespace, inputs: Sequence[Input]
) -> tuple[list[Job], Callable[[Job, Caption], None]]:
    """The sidecars that are still to be written."""
    if arguments.output is not None or arguments.formats is not None:
        raise InputError("--sidecar", "goes beside each photograph, as text: leave out --output and --format")
    existing = arguments.existing or ("overwrite" if arguments.overwrite else "skip")
    if arguments.overwrite and existing != "overwrite":
        raise InputError("--overwrite", f"does not go with --existing {existing}")
    _refuse_piped(inputs, "--sidecar")
    jobs = plan_sidecars(inputs, existing)
    require_apart(_files_read(arguments, inputs), _outputs(jobs))
    return jobs, write_sidecars(existing)


def with_attention(
    arguments: argparse.Namespace,
    jobs: Sequence[Job],
    deliver: Callable[[Job, Caption], None],
    pictures: Pictures,
    load: Callable[[], Captioner],
) -> tuple[list[Job], Callable[[Job, Caption], None]]:
    """The same jobs and delivery, and for each photograph a sheet with attention maps.

    Raises:
        InputError: if a sheet would be written over an input.
    """
    inputs = [job.input for job in jobs]
    plan = plan_outputs(inputs, arguments.attention, [SHEET.removeprefix(".")], arguments.overwrite)
    require_apart(_files_read(arguments, inputs), _outputs(plan))
    sheets = {job.input.path: job for job in plan}

    def render(caption: Caption, path: str, format: str) -> bytes:
        from caption.images import open_image
        from caption.output.attention import draw

        image, sheet = open_image(pictures.open(path)), io.BytesIO()
        draw(image, load().glances(image, caption.text)).save(sheet, "png")
        return sheet.getvalue()

    write_sheet = write_outputs(render)

    def both(job: Job, caption: Caption) -> None:
        deliver(job, caption)
        write_sheet(sheets[job.input.path], caption)

    return [dataclasses.replace(job, done=job.done and sheets[job.input.path].done) for job in jobs], both


def with_metadata(
    arguments: argparse.Namespace, jobs: Sequence[Job], deliver: Callable[[Job, Caption], None]
) -> tuple[list[Job], Callable[[Job, Caption], None]]:
    """The same jobs and delivery, and captions in the photographs that have none.

    What may not be changed fails before anything is described. An empty caption is not written.

    Raises:
        InputError: if the picture comes from standard input.
    """
    _refuse_piped([job.input for job in jobs], "--write-metadata")
    has = {job.input.path: not arguments.overwrite and has_description(job.input.path) for job in jobs}
    printed = arguments.output is None and not arguments.sidecar

    def both(job: Job, caption: Caption) -> None:
        if caption.text and not has[job.input.path]:
            write_description(Path(job.input.path), caption.text, arguments.even_read_only)
        deliver(job, caption)

    def planned(job: Job) -> Job:
        if has[job.input.path]:
            return dataclasses.replace(job, done=job.done or printed)
        problem = job.input.problem or obstacle(Path(job.input.path), arguments.even_read_only)
        return dataclasses.replace(job, input=dataclasses.replace(job.input, problem=problem), done=False)

    return [planned(job) for job in jobs], both


def check_report(arguments: argparse.Namespace, inputs: Sequence[Input]) -> None:
    """Refuse a report that would be written over an input."""
    if arguments.report is not None:
        require_apart(_files_read(arguments, inputs), [arguments.report])


def _files_read(arguments: argparse.Namespace, inputs: Sequence[Input]) -> list[str]:
    """All files that the command reads, but for the model's."""
    return [*(one.path for one in inputs), *arguments.list]


def _outputs(jobs: Iterable[Job]) -> list[Path]:
    """All files that jobs write."""
    return [path for job in jobs for path in job.outputs.values()]


def _refuse_piped(inputs: Sequence[Input], option: str) -> None:
    """Refuse what goes beside or into a photograph's file where there is no file."""
    if any(one.path == PIPED for one in inputs):
        raise InputError(option, "needs files; the picture comes from standard input")


def _formats(asked: Sequence[str] | None, output: Path | None) -> list[str]:
    """The formats that are meant, each once: those asked for, or the output's suffix, or txt."""
    if asked:
        return list(dict.fromkeys(asked))
    suffix = output.suffix.lower().removeprefix(".") if output is not None and not output.is_dir() else ""
    return [suffix if suffix in writers.FORMATS else "txt"]


def _text_jobs(arguments: argparse.Namespace, inputs: Sequence[Input], output: Path) -> list[Job]:
    """The text files that are still to be written."""
    if output.suffix.lower() != ".txt" or output.is_dir():
        return plan_outputs(inputs, output, ["txt"], arguments.overwrite)
    if not _is_one_file(arguments, inputs):
        reason = "txt is one file a photograph; name a folder, or take --format jsonl or csv"
        raise InputError(output, reason)
    left = {"txt": output} if arguments.overwrite or not output.exists() else {}
    return [Job(inputs[0], left, done=not left)]


def _is_in(job: Job, tables: Iterable[writers.CaptionTable]) -> bool:
    """Whether all tables have a photograph."""
    return all(job.input.path in table.paths for table in tables)


def _is_one_file(arguments: argparse.Namespace, inputs: Sequence[Input]) -> bool:
    """Whether somebody named one photograph, and no folder, glob or list that could have held more."""
    return arguments.inputs == [inputs[0].path] and not arguments.list


def _printer(format: str, alone: bool, pictures: Pictures) -> Callable[[Job, Caption], None]:
    """What prints captions on standard output."""
    print(writers.header(format), end="")

    def deliver(job: Job, caption: Caption) -> None:
        path = job.input.path
        if format == "txt":
            text = writers.as_text(caption) if alone else writers.as_named_text(path, caption)
        else:
            text = writers.as_row(format, path, caption, pictures.open)
        print(text, end="", flush=True)

    return deliver
