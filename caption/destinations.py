"""Where the captions of `caption describe` go: to the screen, to files, beside or into the photographs.

Comes in: the parsed options and the photographs. Goes out: the jobs that are left, and what delivers each
caption.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from caption.bundled import BUNDLED
from caption.options import DescribeOptions
from caption.output import writers
from caption.output.metadata import has_description, obstacle, picture_digest, write_description
from caption.output.sidecars import plan_sidecars, write_sidecars
from caption.output.tables import CaptionTable
from caption.sources import PIPED, SHEET, Pictures
from common.commands.batch import plan_outputs, write_outputs
from common.commands.inputs import Input
from common.commands.ledger import Ledger, Sources, row_state
from common.commands.options import read_options
from common.commands.outputs import Job, plan_file, why_again, why_not
from common.commands.paths import require_apart
from common.commands.store_ledger import open_ledger
from common.errors import InputError
from common.files import require_writable_file
from common.locations import Location
from common.models.directory import find_model, model_identity
from common.stores import is_url

if TYPE_CHECKING:
    from caption.captioner import Caption, Captioner


def destination(
    arguments: argparse.Namespace, inputs: Sequence[Input], pictures: Pictures, stack: ExitStack
) -> tuple[Sequence[Job], Callable[[Job, Caption], None]]:
    """What is still to be done, and how a caption gets to where it belongs.

    Args:
        arguments: from the command line.
        inputs: the photographs.
        pictures: that open them.
        stack: closes what is written to.

    Raises:
        InputError: if the options contradict each other, or a file would be written over an input.
    """
    output: Location | None = arguments.output
    if arguments.sidecar:
        return _sidecars(arguments, inputs)
    if arguments.existing is not None:
        raise InputError("--existing", "says what happens to sidecars: add --sidecar")
    formats = _formats(arguments.formats, output)
    if output is None:
        if len(formats) > 1:
            raise InputError("--format", "several formats need a folder to go to: add --output FOLDER")
        return [Job(one) for one in inputs], _printer(formats[0], _is_one_file(arguments, inputs), pictures)
    in_folder = len(formats) > 1 or output.is_dir()
    paths = {one: output / f"captions.{one}" if in_folder else output for one in formats}
    jobs = _text_jobs(arguments, inputs, output, in_folder) if "txt" in formats else ()
    written = (paths[format] for format in formats if format in writers.TABLES)
    require_apart(_files_read(arguments, inputs), chain(_outputs(jobs), written))
    tables = [
        CaptionTable(paths[format], format, arguments.overwrite, pictures.open)
        for format in formats
        if format in writers.TABLES
    ]
    for table in tables:
        stack.callback(table.close)
    if not tables:
        return jobs, write_outputs(as_text)
    folder = output if in_folder else output.parent
    ledger = open_ledger(folder, _settings(arguments), picture_digest)
    stack.callback(ledger.close)
    jobs, deliver = _with_rows(jobs or [Job(one, done=True) for one in inputs], tables, ledger)
    if not all(job.done for job in jobs):
        for table in tables:
            if isinstance(table.path, Path):  # what lies behind a URL is asked when it is written
                require_writable_file(table.path)
    return jobs, deliver


def _with_rows(
    jobs: Sequence[Job], tables: Sequence[CaptionTable], ledger: Ledger
) -> tuple[Sequence[Job], Callable[[Job, Caption], None]]:
    """The same jobs, and a row of each table for their photographs; the ledger is of the tables' folder."""
    left: dict[str, list[CaptionTable]] = {}
    sources = Sources(ledger.folder.resolve())

    def planned(job: Job) -> Job:
        path, remarks = job.input.path, [job.remark]
        remembered = dataclasses.replace(job, ledger=ledger, source=sources.of(job.input))
        left[path] = [table for table in tables if path not in table.captions]
        for table in tables:
            if path not in table.captions:
                continue
            state = row_state(table.captions[path])
            record = ledger.in_force(ledger.row_name(table.path, path), state)
            again = why_again(remembered, record)
            touched = record is not None and record.state != state
            problem = why_not(remembered, record, f"its row in {table.path}", again, touched)
            if problem is not None:
                return remembered.failed(f"{problem}; --overwrite begins the table again")
            if again is not None:
                left[path].append(table)
                remarks.append(again)
        remark = next((one for one in remarks if one is not None), None)
        return dataclasses.replace(remembered, done=job.done and not left[path], remark=remark)

    write_text = write_outputs(as_text)

    def deliver(job: Job, caption: Caption) -> None:
        write_text(job, caption)
        assert job.source is not None
        for table in left[job.input.path]:
            if table.remembers:
                name = ledger.row_name(table.path, job.input.path)
                ledger.note(name, job.source, row_state(caption.text))
            table.add(job.input.path, caption)

    return [planned(job) for job in jobs], deliver


def as_text(caption: Caption, path: str, format: str) -> str:
    """What a text file holds."""
    return writers.as_text(caption)


def _settings(arguments: argparse.Namespace) -> dict[str, object]:
    """What decides a caption beside the photograph, by the options' names; nothing of it loads PyTorch."""
    called = {"most_words": "max-words", "fewest_words": "min-words"}
    options = dataclasses.asdict(read_options(DescribeOptions, arguments))
    named = {called.get(name, name.replace("_", "-")): value for name, value in options.items()}
    return {**named, "model": model_identity(find_model(arguments.model, BUNDLED))}


def _sidecars(
    arguments: argparse.Namespace, inputs: Sequence[Input]
) -> tuple[Sequence[Job], Callable[[Job, Caption], None]]:
    """The sidecars that are still to be written."""
    if arguments.output is not None or arguments.formats is not None:
        raise InputError("--sidecar", "goes beside each photograph, as text: leave out --output and --format")
    existing = arguments.existing or ("overwrite" if arguments.overwrite else "skip")
    if arguments.overwrite and existing != "overwrite":
        raise InputError("--overwrite", f"does not go with --existing {existing}")
    _refuse_piped(inputs, "--sidecar")
    jobs = plan_sidecars(inputs, existing, _settings(arguments))
    require_apart(_files_read(arguments, inputs), _outputs(jobs))
    return jobs, write_sidecars(existing)


def with_attention(
    arguments: argparse.Namespace,
    jobs: Sequence[Job],
    deliver: Callable[[Job, Caption], None],
    pictures: Pictures,
    load: Callable[[], Captioner],
) -> tuple[Sequence[Job], Callable[[Job, Caption], None]]:
    """The same jobs and delivery, and for each photograph a sheet with attention maps.

    Raises:
        InputError: if a sheet would be written over an input.
    """
    inputs = [job.input for job in jobs]
    suffixes = [SHEET.removeprefix(".")]
    plan = plan_outputs(
        inputs, arguments.attention, suffixes, arguments.overwrite, _settings(arguments), picture_digest
    )
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

    def planned(job: Job) -> Job:
        sheet = sheets[job.input.path]
        if sheet.input.problem is not None:
            return job.failed(sheet.input.problem)
        return dataclasses.replace(job, done=job.done and sheet.done, remark=job.remark or sheet.remark)

    return [planned(job) for job in jobs], both


def with_metadata(
    arguments: argparse.Namespace, jobs: Sequence[Job], deliver: Callable[[Job, Caption], None]
) -> tuple[Sequence[Job], Callable[[Job, Caption], None]]:
    """The same jobs and delivery, and captions in the photographs that have none.

    What may not be changed fails before anything is described. An empty caption is not written.

    Raises:
        InputError: if the picture comes from standard input.
    """
    _refuse_piped([job.input for job in jobs], "--write-metadata")
    behind = next((job.input for job in jobs if is_url(job.input.path)), None)
    if behind is not None:
        raise InputError("--write-metadata", f"writes into files of this machine; {behind.path} is none")
    has = {job.input.path: not arguments.overwrite and has_description(job.input.path) for job in jobs}
    printed = arguments.output is None and not arguments.sidecar

    def both(job: Job, caption: Caption) -> None:
        deliver(job, caption)  # first: it remembers the photograph that was described
        if caption.text and not has[job.input.path]:
            write_description(Path(job.input.path), caption.text, arguments.even_read_only)

    def planned(job: Job) -> Job:
        if has[job.input.path]:
            return dataclasses.replace(job, done=job.done or printed)
        problem = job.input.problem or obstacle(Path(job.input.path), arguments.even_read_only)
        one = job.input if problem is None else job.input.failed(problem)
        return dataclasses.replace(job, input=one, done=False)

    return [planned(job) for job in jobs], both


def check_report(arguments: argparse.Namespace, inputs: Sequence[Input]) -> None:
    """Refuse a report that would be written over an input."""
    if arguments.report is not None:
        require_apart(_files_read(arguments, inputs), [arguments.report])


def _files_read(arguments: argparse.Namespace, inputs: Sequence[Input]) -> list[str]:
    """All files that the command reads, but for the model's."""
    return [*(one.path for one in inputs), *arguments.list]


def _outputs(jobs: Iterable[Job]) -> Iterator[Location]:
    """All files that jobs write."""
    return (path for job in jobs for path in job.outputs.values())


def _refuse_piped(inputs: Sequence[Input], option: str) -> None:
    """Refuse what goes beside or into a photograph's file where there is no file."""
    if any(one.path == PIPED for one in inputs):
        raise InputError(option, "needs files; the picture comes from standard input")


def _formats(asked: Sequence[str] | None, output: Location | None) -> list[str]:
    """The formats that are meant, each once: those asked for, or the output's suffix, or txt."""
    if asked:
        return list(dict.fromkeys(asked))
    suffix = output.suffix.lower().removeprefix(".") if output is not None and not output.is_dir() else ""
    return [suffix if suffix in writers.FORMATS else "txt"]


def _text_jobs(
    arguments: argparse.Namespace, inputs: Sequence[Input], output: Location, in_folder: bool
) -> Sequence[Job]:
    """The text files that are still to be written."""
    settings = _settings(arguments)
    if in_folder or output.suffix.lower() != ".txt":
        return plan_outputs(inputs, output, ["txt"], arguments.overwrite, settings, picture_digest)
    if not _is_one_file(arguments, inputs):
        reason = "txt is one file a photograph; name a folder, or take --format jsonl or csv"
        raise InputError(output, reason)
    return [plan_file(inputs[0], output, "txt", arguments.overwrite, settings, picture_digest)]


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
