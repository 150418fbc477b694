"""Transcripts on paper: what is written reads back, whatever was said and whatever the file is called."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.output.writers import WRITERS, write_json
from speech.placing.alignment import Word
from speech.transcript import Segment, Transcript


@given(st.text(st.sampled_from("abc '"), max_size=20), st.floats(0.0, 1e5), st.text(max_size=20))
def test_written_transcripts_read_back(text: str, duration: float, path: str) -> None:
    transcript = Transcript(text, duration, (Word("a", 0.1, 0.25, 0.5),), 0.5)
    assert WRITERS["txt"](transcript, path) == text + "\n"
    told = json.loads(WRITERS["json"](transcript, path))
    assert (told["version"], told["text"], told["path"]) == (1, text, path)
    assert told["duration"] == pytest.approx(duration, abs=0.001)
    assert told["words"] == [{"text": "a", "start": 0.1, "end": 0.25, "confidence": 0.5}]


def test_a_recording_without_a_word_has_no_confidence() -> None:
    told = json.loads(write_json(Transcript("", 1.5, (), None), "hum.wav"))
    assert (told["text"], told["confidence"], told["words"]) == ("", None, [])


def test_letters_of_all_languages_stand_in_json_as_they_are() -> None:
    assert "Größe/日本.mp3" in write_json(Transcript("", 1.0, (), None), "Größe/日本.mp3")


def test_json_is_utf8_even_if_the_name_of_the_file_is_not() -> None:
    path = os.fsdecode(b"caf\xe9.mp3")
    written = write_json(Transcript("", 1.0, (), None), path).encode("utf-8")
    assert json.loads(written)["path"] == path


def said(text: str, start: float, channel: int | None = None) -> Segment:
    """A segment with a word every half second."""
    words = [Word(word, start + n / 2, start + n / 2 + 0.4, 0.5) for n, word in enumerate(text.split())]
    return Segment.of(tuple(words), channel)


SEGMENTS = [said("so it is", 2.0), said("is it", 9.0)]
CHANNELS = [said("so <it> is", 2.0, 1), said("no", 2.5, 2), said("is it", 9.0, 1)]


def test_a_transcript_is_a_line_a_segment() -> None:
    transcript = Transcript.of(reversed(SEGMENTS), 12.0)
    assert transcript.text == "so it is is it"
    assert transcript.to_txt() == "so it is\nis it\n"
    told = json.loads(transcript.to_json("talk.mp3"))
    assert told["segments"] == [
        {
            "start": segment.start,
            "end": segment.end,
            "text": segment.text,
            "confidence": 0.5,
            "words": told["words"][first:last],
        }
        for segment, first, last in zip(SEGMENTS, (0, 3), (3, 5), strict=True)
    ]
    assert [word["text"] for word in told["words"]] == transcript.text.split()


def test_json_says_the_offset_the_warnings_and_the_score_of_a_text_that_was_given() -> None:
    transcript = Transcript.of(SEGMENTS, 12.0)
    told = json.loads(transcript.to_json())
    assert (told["offset"], told["warnings"], "score" in told) == (0.0, [], False)
    known = replace(transcript, offset=4.0, warnings=("damaged",), score=0.25)
    told = json.loads(known.to_json())
    assert (told["offset"], told["warnings"], told["score"]) == (4.0, ["damaged"], 0.25)


def test_channels_that_were_heard_apart_are_named_in_every_format() -> None:
    transcript = Transcript.of(CHANNELS, 12.0)
    assert transcript.to_txt() == "Channel 1: so <it> is\nChannel 2: no\nChannel 1: is it\n"
    srt, vtt, tsv = transcript.to_srt(), transcript.to_vtt(), transcript.to_tsv()
    assert "1\n00:00:02,000 --> 00:00:03,900\nChannel 1: so <it> is\n\n2\n00:00:02,500" in srt
    assert "\n<v Channel 1>so &lt;it&gt; is\n" in vtt and "\n<v Channel 2>no\n" in vtt
    assert tsv.splitlines()[0] == "start\tend\ttext\tchannel"
    assert [line.split("\t")[2:] for line in tsv.splitlines()[1:]] == [
        ["so <it> is", "1"],
        ["no", "2"],
        ["is it", "1"],
    ]
    told = json.loads(transcript.to_json())
    assert [segment["channel"] for segment in told["segments"]] == [1, 2, 1]
    assert [word["channel"] for word in told["words"]] == [1, 1, 1, 2, 1, 1]
    assert "channel" not in json.dumps(json.loads(Transcript.of(SEGMENTS, 12.0).to_json()))
