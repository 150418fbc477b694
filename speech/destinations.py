"""Which recordings `speech transcribe` is given, and where their transcripts go.

Comes in: the parsed options. Goes out: the inputs, the formats, and what is still to be written.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from common.commands.inputs import Input, collect_inputs, say_passed_over
from common.commands.outputs import Job, plan_file, plan_outputs
from common.commands.paths import require_apart
from common.errors import InputError
from common.files import file_identity, require_writable_file
from common.locations import Location, StorePath
from common.manifest import read_manifest
from common.models.directory import find_model, model_identity
from speech.bundled import BUNDLED
from speech.options import DecodingOptions
from speech.output.writers import LINE_FORMATS, WRITERS
from speech.sound.formats import SUFFIXES


def chosen_inputs(arguments: argparse.Namespace) -> list[Input]:
    """The recordings that somebody means; what lies beside them in folders is said."""
    if "-" in arguments.inputs and "-" in arguments.list:
        raise InputError("-", "standard input is either a recording or a list, not both")
    piped = [Input("-", "stdin")] if "-" in arguments.inputs else []
    named = [name for name in arguments.inputs if name != "-"]
    passed_over: Counter[str] = Counter()
    inputs = piped + collect_inputs(named, SUFFIXES, "recordings", arguments.list, passed_over)
    say_passed_over("speech", passed_over)
    if not inputs:
        raise InputError("transcribe", "nothing to do: name recordings, folders, globs or a --list")
    return inputs


def chosen_formats(arguments: argparse.Namespace, inputs: Sequence[Input]) -> list[str]:
    """The formats that are meant, each once: those asked for, or the suffix of a file for one recording."""
    output: Location | None = arguments.output
    one_file = output is not None and _is_file_name(output)
    suffix = output.suffix.lower().removeprefix(".") if output is not None and one_file else "txt"
    formats = list(dict.fromkeys(arguments.formats or [suffix if suffix in WRITERS else "txt"]))
    if (output is None or one_file) and len(formats) > 1:
        raise InputError("--format", "several formats need a folder to go to: add --output FOLDER")
    if output is None and len(inputs) > 1 and formats[0] not in LINE_FORMATS:
        reason = f"{formats[0]} of several recordings needs a folder to go to: add --output FOLDER"
        raise InputError("--format", reason)
    if output is not None and one_file and not is_one_file(arguments, inputs):
        raise InputError(output, "is the name of one file, for one recording; name a folder for several")
    return formats


def chosen_jobs(
    arguments: argparse.Namespace, inputs: Sequence[Input], formats: Sequence[str]
) -> Sequence[Job]:
    """What is still to be written.

    Raises:
        InputError: if a transcript or the report would be written over a file that is read.
    """
    output: Location | None = arguments.output
    jobs: Sequence[Job]
    if output is None:
        jobs = plan_outputs(inputs, None, formats)
    elif _is_file_name(output):
        jobs = [plan_file(inputs[0], output, formats[0], arguments.overwrite, _settings(arguments))]
    else:
        jobs = plan_outputs(inputs, output, formats, arguments.overwrite, _settings(arguments))
    named = [path for path in (*arguments.list, arguments.grammar) if path is not None]
    report = [] if arguments.report is None else [arguments.report]
    outputs = (path for job in jobs for path in job.outputs.values())
    require_apart(chain((one.path for one in inputs), named), chain(report, outputs))
    return jobs


def require_alignment_apart(arguments: argparse.Namespace) -> None:
    """Refuse to write an alignment over the recording, the text, the manifest or one of its recordings.

    Raises:
        InputError: naming the output, also if it cannot be written; or if the manifest cannot be read.
    """
    if arguments.output is None:
        return
    if arguments.text is None:
        require_manifest_apart(Path(arguments.recording), arguments.output)
    else:
        text = [arguments.text] if is_text_file(arguments.text) else []
        require_apart([arguments.recording, *text], [arguments.output])
    require_writable_file(arguments.output)


def require_manifest_apart(manifest: Path, output: Path) -> None:
    """Refuse to write over a manifest or one of its recordings.

    Raises:
        InputError: naming the output; or if the manifest cannot be read.
    """
    rows = read_manifest(manifest, ["path", "text"])
    require_apart([manifest, *(row["path"] for row in rows)], [output])


def is_text_file(text: str) -> bool:
    """Whether what is to be aligned is a file's name, and not the words themselves."""
    return os.path.isfile(text) or text.endswith(".txt")  # noqa: PTH113 - words may be too long for a path


def _is_file_name(output: Location) -> bool:
    """Whether an output is called as a file that this command writes, or is a device or a pipe."""
    if output.is_dir():
        return False
    named = output.suffix.lower().removeprefix(".") in WRITERS
    return named or (not isinstance(output, StorePath) and output.exists() and not output.is_file())


def is_one_file(arguments: argparse.Namespace, inputs: Sequence[Input]) -> bool:
    """Whether somebody named one recording, and no folder, glob or list that could have held more."""
    return arguments.inputs == [inputs[0].path] and not arguments.list


def _settings(arguments: argparse.Namespace) -> dict[str, object]:
    """What decides a transcript beside the recording; nothing of it loads PyTorch."""
    words: Path | None = arguments.language_model
    grammar: Path | None = arguments.grammar
    return {
        **{name.replace("_", "-"): str(value) for name, value in asdict(decoding_options(arguments)).items()},
        "model": model_identity(find_model(arguments.model, BUNDLED)),
        "language-model": None if words is None else model_identity(words),
        "grammar": None if grammar is None else file_identity(grammar),
        "exact": arguments.exact,
        "track": arguments.track,
        "channels": arguments.channels,
    }


def decoding_options(arguments: argparse.Namespace) -> DecodingOptions:
    """The search that somebody asks for."""
    return DecodingOptions(
        beam=arguments.beam,
        words=arguments.words,
        prior_weight=arguments.prior_weight,
        phone_share=arguments.phone_share,
        lm_weight=arguments.lm_weight,
        judge_share=arguments.judge_share,
        word_bonus=arguments.word_bonus,
        open_vocabulary=arguments.open_vocabulary,
        hotwords=tuple(arguments.hotwords),
        hotword_boost=arguments.hotword_boost,
        grammar=arguments.grammar,
    )
