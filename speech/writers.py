"""Transcripts on paper: each format is a function from a transcript to the text of a file.

The JSON has this shape, version 1:

    {"version": 1, "path": "talk.mp3", "duration": 12.3, "text": "...", "confidence": 0.91,
     "words": [{"text": "...", "start": 0.42, "end": 0.81, "confidence": 0.97}, ...]}

`duration`, `start` and `end` are seconds; confidences lie in 0 to 1, `null` where no word was heard.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speech.recognizer import Transcript

JSON_VERSION = 1


def write_txt(transcript: Transcript, path: str) -> str:
    """The words on one line."""
    return f"{transcript.text}\n"


def write_json(transcript: Transcript, path: str) -> str:
    """Everything that is known, as one JSON object; `path` is the recording's, as it was given."""
    return as_json(transcript, path, indent=2) + "\n"


def as_json(transcript: Transcript, path: str, indent: int | None = None) -> str:
    """The object as JSON, on one line if there is no `indent`."""
    text = json.dumps(json_object(transcript, path), ensure_ascii=False, indent=indent)
    # A file's name need not be UTF-8, but JSON must be: what Python put in for such bytes is escaped.
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match.group()):04x}", text)


def json_object(transcript: Transcript, path: str) -> dict[str, object]:
    """The object that `write_json` writes."""
    return {
        "version": JSON_VERSION,
        "path": path,
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "confidence": None if transcript.confidence is None else round(transcript.confidence, 4),
        "words": [
            {
                "text": word.text,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in transcript.words
        ],
    }


# transcript, path of the recording -> content of the file
WRITERS: dict[str, Callable[[Transcript, str], str]] = {"txt": write_txt, "json": write_json}
