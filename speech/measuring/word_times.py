"""The column `words` of a manifest: when each word is said, as a JSON list of [word, start, end] in seconds.

Training exchanges words by it (`splicing.py`), measuring compares with it (`evaluate.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.manifest import read_manifest
from speech.model.text import normalize
from speech.placing.alignment import Word
from speech.recognizer import Recognizer


@dataclass(frozen=True)
class TimedWord:
    """A word and when it is said.

    Attributes:
        text: the word, normalised; several where the normaliser makes several of one (`42`).
        start, end: seconds from the beginning of the recording.
    """

    text: str
    start: float
    end: float


def timed_words(row: Mapping[str, str]) -> list[TimedWord]:
    """The words of a manifest's row, such as the normaliser leaves; none if there is no column `words`.

    Raises:
        InputError: if the column is no JSON list of [word, start, end].
    """
    try:
        listed = json.loads(row.get("words") or "[]")
        words = [TimedWord(normalize(text), float(start), float(end)) for text, start, end in listed]
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(row["path"], "its column 'words' is no JSON list of [word, start, end]") from error
    return [word for word in words if word.text]


def with_word_times(
    recognizer: Recognizer,
    manifest: Path,
    folder: Path,
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
) -> tuple[str, list[InputError]]:
    """Find the words of every recording of a manifest whose text is known.

    Args:
        recognizer: that finds them.
        manifest: TSV with at least `path` and `text`.
        folder: where the new manifest will lie: its paths are relative to it.
        batch_size: segments that go through the network together, at most.
        progress: called with the number of recordings done since the last call.

    Returns:
        The manifest with a column `words`, and what was wrong with the rows in which it is an empty list.

    Raises:
        InputError: if the manifest cannot be read.
    """
    rows = read_manifest(manifest, ["path", "text"])
    words: list[tuple[Word, ...]] = [()] * len(rows)
    problems: dict[int, InputError] = {}
    for number, result in recognizer.align_all(((row["path"], row["text"]) for row in rows), batch_size):
        if isinstance(result, InputError):
            problems[number] = result
        else:
            words[number] = result.words
        if progress is not None:
            progress(1)
    columns = [column for column in rows[0] if column != "words"]
    lines = ["\t".join([*columns, "words"])]
    for row, said in zip(rows, words, strict=True):
        fields = row | {"path": os.path.relpath(row["path"], folder)}
        listed = [[word.text, round(word.start, 3), round(word.end, 3)] for word in said]
        lines.append("\t".join([*(fields[column] for column in columns), json.dumps(listed)]))
    return "\n".join(lines) + "\n", [problems[number] for number in sorted(problems)]
