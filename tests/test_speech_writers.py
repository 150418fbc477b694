"""Transcripts on paper: what is written reads back, whatever was said and whatever the file is called."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.alignment import Word
from speech.transcript import Transcript
from speech.writers import WRITERS, write_json


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
