"""Transcripts on paper: each format is a function from a transcript to the text of a file.

The JSON has this shape, version 1:

    {"version": 1, "path": "talk.mp3", "duration": 12.3, "offset": 0.0, "text": "...", "confidence": 0.91,
     "warnings": [],
     "segments": [{"start": 0.42, "end": 3.1, "text": "...", "confidence": 0.9, "words": [...]}, ...],
     "words": [{"text": "...", "start": 0.42, "end": 0.81, "confidence": 0.97}, ...]}

`duration`, `start` and `end` are seconds on the recording's clock, of which the first `offset` have no sound;
confidences lie in 0 to 1, `null` where no word was heard. A segment is what is said between two pauses. Where
channels were heard apart, segments and words have a `channel`, from 1. A text that was given has a `score`:
how well it fits the sound.

SRT, VTT and TSV have the same cues: see `speech/output/subtitles.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from speech.output.subtitles import transcript_cues

if TYPE_CHECKING:
    from speech.placing.alignment import Word
    from speech.transcript import Transcript

JSON_VERSION = 1


def write_txt(transcript: Transcript, path: str) -> str:
    """The words, a line a segment; of channels that were heard apart, each line begins with its channel."""
    lines = [_named(one.channel, one.text) for one in transcript.segments] or [transcript.text]
    return "".join(f"{line}\n" for line in lines)


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
    score = {} if transcript.score is None else {"score": round(transcript.score, 4)}
    spoken = [(segment, _words(segment.words, segment.channel)) for segment in transcript.segments]
    return {
        "version": JSON_VERSION,
        "path": path,
        "duration": round(transcript.duration, 3),
        "offset": round(transcript.offset, 3),
        "text": transcript.text,
        "confidence": None if transcript.confidence is None else round(transcript.confidence, 4),
        **score,
        "warnings": list(transcript.warnings),
        "segments": [
            {
                "start": round(segment.start, 3),
                "end": round(segment.end, 3),
                "text": segment.text,
                "confidence": round(segment.confidence, 4),
                **_channel(segment.channel),
                "words": words,
            }
            for segment, words in spoken
        ],
        "words": [word for _, words in spoken for word in words] or _words(transcript.words),
    }


def _words(words: Sequence[Word], channel: int | None = None) -> list[dict[str, object]]:
    """Words as objects of the JSON."""
    return [
        {
            "text": word.text,
            "start": round(word.start, 3),
            "end": round(word.end, 3),
            "confidence": round(word.confidence, 4),
            **_channel(channel),
        }
        for word in words
    ]


def write_srt(transcript: Transcript, path: str) -> str:
    """Subtitles as SubRip writes them, which players and video platforms read."""
    return "\n".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n"
        f"{_named(cue.channel, _joined(cue.lines))}\n"
        for number, cue in enumerate(transcript_cues(transcript), 1)
    )


def write_vtt(transcript: Transcript, path: str) -> str:
    """Subtitles for web pages: WebVTT, https://www.w3.org/TR/webvtt1/; a channel is a voice."""
    return "WEBVTT\n" + "".join(
        f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n"
        f"{'' if cue.channel is None else f'<v Channel {cue.channel}>'}"
        f"{escape(_joined(cue.lines), quote=False)}\n"
        for cue in transcript_cues(transcript)
    )


def write_tsv(transcript: Transcript, path: str) -> str:
    """The subtitles as a table: start, end, text, as openai/whisper's TSV is.

    A row a cue, times in whole milliseconds, the text on one line; nothing is quoted. Where channels were
    heard apart there is a column more: channel.
    """
    made = transcript_cues(transcript)
    apart = any(cue.channel is not None for cue in made)
    lines = ["start\tend\ttext" + ("\tchannel" if apart else "")]
    for cue in made:
        line = f"{_ms(cue.start)}\t{_ms(cue.end)}\t{' '.join(cue.lines)}"
        lines.append(f"{line}\t{cue.channel}" if apart else line)
    return "".join(f"{line}\n" for line in lines)


def _named(channel: int | None, text: str) -> str:
    """What is said in a channel, with its name; of a mixed recording, what is said."""
    return text if channel is None else f"Channel {channel}: {text}"


def _channel(channel: int | None) -> dict[str, object]:
    """What an object of the JSON says about its channel."""
    return {} if channel is None else {"channel": channel}


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines)


def _clock(seconds: float, point: str) -> str:
    """A time as hours, of two digits or more, minutes, seconds and milliseconds: 00:01:02,345."""
    whole, ms = divmod(_ms(seconds), 1000)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{point}{ms:03}"


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


# transcript, path of the recording -> content of the file
WRITERS: dict[str, Callable[[Transcript, str], str]] = {
    "txt": write_txt,
    "srt": write_srt,
    "vtt": write_vtt,
    "tsv": write_tsv,
    "json": write_json,
}

# Those of several recordings can be printed, one a line; of the others each needs a file of its own.
LINE_FORMATS = ("txt", "json")
