"""The recogniser's page, driven as a browser drives it."""

from __future__ import annotations

import json
import re
import wave
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from recordings import tone, write
from tiny_models import tiny
from web import PATIENCE, client_of

from demos import speech_page
from demos.sound import RATE, loudness, paint, spikes, write_wav
from speech import DecodingOptions, Recognizer


def test_a_recording_becomes_text_below_its_picture(speech_client: Client, recording: Path) -> None:
    text, shown, about = speech_client.predict(handle_file(recording), api_name="/transcribe")
    words = [word for segment in shown["segments"] for word in segment["words"]]
    assert " ".join(word["text"] for word in words) == text.replace("\n", " ") != ""
    assert all(0 <= word["start"] < word["end"] <= 1.5 and 0 <= word["confidence"] <= 1 for word in words)
    assert shown["picture"]["width"] == 151
    assert about == "1.5 seconds of sound."


def test_what_is_played_is_the_recording(speech_client: Client, recording: Path) -> None:
    _, shown, _ = speech_client.predict(handle_file(recording), api_name="/transcribe")
    address = f"{speech_client.src.rstrip('/')}{shown['audio']}"
    with wave.open(str(recording)) as file:
        expected = file.readframes(24_000)
    assert httpx.get(address, timeout=PATIENCE).content[-len(expected) :] == expected
    part = httpx.get(
        address, headers={"Range": "bytes=100-199"}, timeout=PATIENCE
    )  # a player asks for where it goes on
    assert (part.status_code, len(part.content)) == (206, 100)


def test_five_formats_can_be_taken_along(speech_client: Client, recording: Path) -> None:
    text, shown, _ = speech_client.predict(handle_file(recording), api_name="/transcribe")
    files = shown["files"]
    assert files["txt"] == f"{text}\n"
    assert files["srt"].startswith("1\n00:00:0") and files["vtt"].startswith("WEBVTT")
    assert files["tsv"].startswith("start\tend\ttext")
    assert json.loads(files["json"])["path"] == "speech.wav"


def test_spikes_write_the_words_that_greedy_search_finds(said: np.ndarray) -> None:
    recognizer = Recognizer.load(exact=True)
    transcript = recognizer.transcribe(torch.from_numpy(said / np.float32(32768)), DecodingOptions(beam=1))
    found = spikes(recognizer, said, transcript)
    assert [one.seconds for one in found] == sorted(one.seconds for one in found)
    (first,) = [segment.words[0] for segment in transcript.segments]
    sure = [one for one in found if one.probability > 0.5]
    assert abs(sure[0].seconds - first.start) < 0.3
    # Repeats aside, the pieces spell what was found.
    pieces = [
        one.symbol for number, one in enumerate(sure) if number == 0 or one.symbol != sure[number - 1].symbol
    ]
    spelled = "".join(pieces).replace("_", " ").split()
    assert len(set(spelled) & set(transcript.text.split())) >= 0.6 * len(transcript.words)


def test_three_searches_stand_side_by_side(speech_client: Client, recording: Path) -> None:
    table = speech_client.predict(handle_file(recording), "", api_name="/compare")
    rows = re.findall(r'scope="row">([^<]+)<', table)
    assert rows == ["Greedy", "Beam alone", "Beam with language model"]


def test_a_grammar_lets_nothing_else_come_out(speech_client: Client, recording: Path) -> None:
    text, *_ = speech_client.predict(
        handle_file(recording), speech_page.LANGUAGE_MODEL, "", "yes\nno\n", api_name="/transcribe"
    )
    assert set(text.split()) <= {"yes", "no"}


@pytest.mark.parametrize(
    ("search", "hotwords", "grammar", "way_out"),
    [
        ("Greedy", "Zagreb", "", "choose it, or clear the names"),
        (speech_page.LANGUAGE_MODEL, "Zagreb", "yes", "Clear the names or the phrases"),
        ("Psychic", "", "", "not in the list of choices"),
        (speech_page.LANGUAGE_MODEL, ", ".join(["name"] * 101), "", "leave some out"),
        (speech_page.LANGUAGE_MODEL, "", "x" * 20_001, "use the command"),
    ],
)
def test_choices_that_do_not_fit_say_the_way_out(
    speech_client: Client, recording: Path, search: str, hotwords: str, grammar: str, way_out: str
) -> None:
    with pytest.raises(AppError) as caught:
        speech_client.predict(handle_file(recording), search, hotwords, grammar, api_name="/transcribe")
    assert way_out in str(caught.value)


def test_a_recording_that_is_too_long_says_so(
    speech_client: Client, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demos.speech_page.recording_seconds", lambda path: 3 * 3600.0)
    with pytest.raises(AppError, match="180 minutes, and 60 are the most"):
        speech_client.predict(handle_file(recording), api_name="/transcribe")


def test_twenty_people_are_served_in_order_and_none_fails(speech_client: Client, recording: Path) -> None:
    address = speech_client.src
    people = [client_of(address, download_files=False) for _ in range(20)]
    jobs = [one.submit(handle_file(recording), api_name="/transcribe") for one in people]
    texts = {job.result(timeout=PATIENCE)[0] for job in jobs}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty (0 bytes)"), (b"this is no sound" * 50, "is not a sound file that can be read")],
)
def test_a_bad_recording_gives_a_sentence(
    speech_client: Client, tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(AppError) as caught:
        speech_client.predict(handle_file(path), api_name="/transcribe")
    assert f"bad.wav: {reason}" in str(caught.value)
    assert str(caught.value).endswith("Please choose another file.")


def test_silence_is_no_error_but_said(speech_client: Client, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    write_wav(path, np.zeros(2 * RATE, np.int16))
    text, shown, about = speech_client.predict(handle_file(path), api_name="/transcribe")
    assert text == "(no words were heard)" and shown["segments"] == []
    assert about.startswith("2.0 seconds of sound.") and len(about) > len("2.0 seconds of sound. ")


def test_no_recording_gives_a_sentence(speech_client: Client) -> None:
    with pytest.raises(AppError, match="Choose a recording"):
        speech_client.predict(None, api_name="/transcribe")


def test_the_sound_picture_has_low_pitches_at_the_bottom() -> None:
    loudness = np.full((10, 80), -80.0, np.float32)
    loudness[:, 0] = 0.0
    picture = paint(loudness)
    assert picture.shape == (80, 10, 3)
    assert picture[-1].sum() > picture[0].sum()


def test_the_picture_of_minutes_is_that_of_the_whole(said: np.ndarray) -> None:
    recognizer = tiny()
    samples = np.concatenate([np.tile(said // 8, 14), np.tile(said, 14)])[: 130 * RATE]
    whole = recognizer.loudness(torch.from_numpy(samples / np.float32(32768))).numpy()
    joined = loudness(recognizer, samples)
    assert joined.shape == whole.shape
    inner = [frame for frame in range(len(whole)) if min(frame % 6000, 6000 - frame % 6000) > 3]
    np.testing.assert_allclose(joined[inner], whole[inner], atol=1e-3)


def test_an_hour_makes_no_wider_picture_than_a_browser_shows() -> None:
    loudness = np.full((360_000, 80), -80.0, np.float32)
    loudness[180_000] = 0.0
    picture = paint(loudness)
    assert picture.shape == (80, 6000, 3)
    assert picture[0].sum(axis=-1).argmax() == 3000


def test_a_video_is_taken_and_its_sound_is_heard(speech_client: Client, tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    write(path, [tone(16_000)], "aac", 16_000, pictures=5)
    *_, about = speech_client.predict(handle_file(path), api_name="/transcribe")
    assert about == "1.0 seconds of sound."
