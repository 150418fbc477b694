"""Corpora as they lie on people's disks -> rows of `path`, `text` and `speaker`, like a manifest's.

Understood are manifests, LibriSpeech trees and Common Voice folders.
"""

from __future__ import annotations

from pathlib import Path

from common.errors import InputError
from common.manifest import read_manifest


def read_corpus(path: Path) -> list[dict[str, str]]:
    """Read whatever corpus lies at a path.

    Args:
        path: a manifest with `path` and `text`; a Common Voice table (`path` and `sentence`, clips in
            `clips/` beside it) or the folder that holds it (`validated.tsv`, or else `train.tsv`); or a
            LibriSpeech tree or any part of it.

    Returns:
        Rows with at least `path` (absolute or from the current folder) and `text`, in a fixed order;
        `speaker` too, but for manifests that have no such column.

    Raises:
        InputError: if nothing that is understood lies there, a transcript is not UTF-8, or a recording
            is missing.
    """
    if path.is_dir():
        for name in ("validated.tsv", "train.tsv"):
            if (path / name).is_file() and _is_common_voice(path / name):
                return _common_voice(path / name)
        return _librispeech(path)
    if path.is_file() and _is_common_voice(path):
        return _common_voice(path)
    return read_manifest(path, ["path", "text"])


def _is_common_voice(table: Path) -> bool:
    """Whether a table has Common Voice's columns."""
    try:
        with table.open(encoding="utf-8-sig", errors="replace") as file:
            columns = file.readline().rstrip("\n").split("\t")
    except OSError:  # `read_manifest` says why
        return False
    return "sentence" in columns and "path" in columns and "text" not in columns


def _common_voice(table: Path) -> list[dict[str, str]]:
    """Rows of a Common Voice table; its quotation marks belong to the text."""
    lines = _lines(table)
    columns = lines[0].split("\t")
    where, said = columns.index("path"), columns.index("sentence")
    clips = table.parent / "clips"
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        fields = line.split("\t")
        if len(fields) <= max(where, said):
            raise InputError(table, f"line {number}: has {len(fields)} fields, the header {len(columns)}")
        clip = clips / fields[where]
        if not clip.suffix:  # early releases leave the suffix out
            clip = clip.with_suffix(".mp3")
        if not clip.is_file():
            raise InputError(table, f"line {number}: no such file: {clip}")
        speaker = dict(zip(columns, fields, strict=False)).get("client_id", "")
        rows.append({"path": str(clip), "text": fields[said], "speaker": speaker})
    if not rows:
        raise InputError(table, "holds no recording")
    return rows


def _librispeech(root: Path) -> list[dict[str, str]]:
    """Rows of a LibriSpeech tree: `84-121123.trans.txt` beside `84-121123-0000.flac` and the others.

    torchaudio's `LIBRISPEECH` reads the same tree, but only whole subsets under their official names.
    """
    rows = []
    for transcripts in sorted(root.rglob("*.trans.txt")):
        for number, line in enumerate(_lines(transcripts), start=1):
            name, _, text = line.strip().partition(" ")
            if not name:
                continue
            recording = transcripts.parent / f"{name}.flac"
            if not recording.is_file():
                raise InputError(transcripts, f"line {number}: no such file: {recording}")
            rows.append({"path": str(recording), "text": text, "speaker": name.partition("-")[0]})
    if not rows:
        reason = "holds no corpus: no validated.tsv, no train.tsv and no LibriSpeech transcripts below it"
        raise InputError(root, reason)
    return rows


def _lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file; not `splitlines`, which parts sentences at rarer characters as well."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, "is not UTF-8") from error
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    return text.split("\n")
