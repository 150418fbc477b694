"""Subtitles: cues that people can read, and files that players can, whatever is said and whenever."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.commands.processes import Helpers
from common.errors import InputError
from speech import Recognizer, Transcript
from speech.arguments import make_speech_parser
from speech.cli import main, transcribe
from speech.output.subtitles import Cue, cues
from speech.output.writers import write_srt, write_tsv, write_vtt
from speech.placing.alignment import Word

SENTENCE = (
    "we started with five bloggers and the goal was always to publish every day so that "
    "nobody who came back in the evening would find the page as it was in the morning"
)

examples = settings(max_examples=40)

# Whatever can be a word: anything but spaces and halves of surrogate pairs.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).map(
    lambda text: "".join(text.split()) or "-->"
)
plain_texts = st.text("abc'", min_size=1, max_size=15)


@st.composite
def spoken_words(draw: st.DrawFn) -> list[Word]:
    """Words as a recogniser gives them: one after another, pauses between some."""
    words, time = [], draw(st.floats(0, 5))
    for text in draw(st.lists(plain_texts, max_size=40)):
        time += draw(st.sampled_from([0.0, 0.0, 0.05, 0.2, 0.4, 0.6, 3.0]))
        end = time + draw(st.floats(0.05, 1.0))
        words.append(Word(text, time, end, 1.0))
        time = end
    return words


@st.composite
def any_words(draw: st.DrawFn) -> list[Word]:
    """Words at any times: at once, overlapping, backwards, after a year."""
    times = st.floats(0, 10) | st.floats(0, 1e8) | st.sampled_from([0.0, 0.0004, 0.9995, 359999.9996])
    return [Word(*one, 0.5) for one in draw(st.lists(st.tuples(texts, times, times), max_size=40))]


def said(
    text: str, start: float = 0.0, each: float = 0.3, pauses: dict[int, float] | None = None
) -> list[Word]:
    """The words of a text, `each` seconds long, with seconds of pause before some of them."""
    words = []
    for number, one in enumerate(text.split()):
        start += (pauses or {}).get(number, 0.0)
        words.append(Word(one, start, start + each, 1.0))
        start += each
    return words


def transcript_of(words: list[Word], duration: float = 1e9) -> Transcript:
    return Transcript(" ".join(word.text for word in words), duration, tuple(words), 1.0 if words else None)


def shown(made: list[Cue]) -> list[str]:
    """The text of each cue on one line."""
    return [" ".join(cue.lines) for cue in made]


def seconds(clock: str) -> float:
    """The time that a file of subtitles says."""
    assert re.fullmatch(r"\d\d+:[0-5]\d:[0-5]\d[,.]\d\d\d", clock)
    hours, minutes, rest = clock.split(":")
    return round(3600 * int(hours) + 60 * int(minutes) + float(rest.replace(",", ".")), 3)


def parsed(block: str) -> Cue:
    """A cue of a file: a line of times, then lines of text."""
    times, *lines = block.split("\n")
    start, end = times.split(" --> ")
    return Cue(seconds(start), seconds(end), tuple(lines))


def parsed_srt(text: str) -> list[Cue]:
    """What an SRT file says."""
    blocks = [block.split("\n", 1) for block in text.removesuffix("\n").split("\n\n")] if text else []
    assert [number for number, _ in blocks] == [str(number) for number in range(1, len(blocks) + 1)]
    return [parsed(block) for _, block in blocks]


def parsed_vtt(text: str) -> list[Cue]:
    """What a WebVTT file says."""
    header, *blocks = text.removesuffix("\n").split("\n\n")
    assert header == "WEBVTT"
    return [Cue(cue.start, cue.end, tuple(map(unescape_vtt, cue.lines))) for cue in map(parsed, blocks)]


def unescape_vtt(line: str) -> str:
    """A line of cue text without its escapes, of which there are three."""
    assert re.fullmatch(r"(?:[^&<>]|&amp;|&lt;|&gt;)*", line)
    return re.sub("&(?:amp|lt|gt);", lambda match: unescape(match.group()), line)


@given(any_words())
@examples
def test_every_word_is_shown_once_and_in_order(words: list[Word]) -> None:
    assert " ".join(shown(cues(words))).split() == [word.text for word in words]


@given(any_words())
@examples
def test_lines_are_short_unless_a_single_word_is_longer(words: list[Word]) -> None:
    for cue in cues(words):
        assert 1 <= len(cue.lines) <= 2
        assert all(line and (len(line) <= 42 or " " not in line) for line in cue.lines)


@given(any_words())
@examples
def test_cues_never_overlap_and_always_take_time(words: list[Word]) -> None:
    made = cues(words)
    assert all(cue.start < cue.end for cue in made)
    assert all(cue.end <= following.start for cue, following in pairwise(made))


@given(any_words())
@examples
def test_no_cue_stays_longer_than_seven_seconds(words: list[Word]) -> None:
    assert all(cue.end - cue.start <= 7.0 + 1e-6 for cue in cues(words))


@given(spoken_words())
@examples
def test_a_cue_covers_its_words(words: list[Word]) -> None:
    left = iter(words)
    for cue in cues(words):
        own = [next(left) for line in cue.lines for _ in line.split()]
        assert cue.start == pytest.approx(own[0].start, abs=0.001)
        assert cue.end >= own[-1].end - 0.001


@given(spoken_words())
@examples
def test_a_pause_always_ends_a_cue(words: list[Word]) -> None:
    left = iter(words)
    for cue in cues(words):
        own = [next(left) for line in cue.lines for _ in line.split()]
        assert all(following.start - word.end < 0.501 for word, following in pairwise(own))


@given(spoken_words())
@examples
def test_a_cue_stays_a_second_or_until_the_next(words: list[Word]) -> None:
    made = cues(words)
    for cue, following in pairwise([*made, Cue(math.inf, math.inf, ())]):
        assert cue.end - cue.start >= 0.999 or cue.end == following.start


@given(spoken_words(), st.floats(0, 2))
@examples
def test_nothing_is_shown_after_the_recording(words: list[Word], rest: float) -> None:
    duration = max((word.end for word in words), default=0.0) + rest
    assert all(cue.end <= duration for cue in cues(words, duration))


def test_nothing_said_is_nothing_shown() -> None:
    assert cues([]) == []


def test_what_fits_on_a_line_stays_on_a_line() -> None:
    assert [cue.lines for cue in cues(said("i want to pick out a present for my friend"))] == [
        ("i want to pick out a present for my friend",)
    ]


def test_two_lines_are_about_as_long_as_each_other() -> None:
    (cue,) = cues(said("please bring seven old wooden chairs upstairs before dinner", each=0.2))
    assert cue.lines == ("please bring seven old wooden", "chairs upstairs before dinner")


def test_a_line_does_not_end_with_an_article() -> None:
    (cue,) = cues(said("somebody must have brought the wonderful chairs upstairs", each=0.2))
    assert cue.lines == ("somebody must have brought", "the wonderful chairs upstairs")


def test_a_long_sentence_is_divided_where_the_speaker_takes_a_breath() -> None:
    words = SENTENCE.split()[:24]
    for breath in range(8, 15):
        made = cues(said(" ".join(words), each=0.2, pauses={breath: 0.4}))
        assert shown(made) == [" ".join(words[:breath]), " ".join(words[breath:])]


def test_a_long_sentence_leaves_no_word_alone() -> None:
    assert min(len(text.split()) for text in shown(cues(said(SENTENCE, each=0.25)))) >= 5


def test_a_slow_speaker_gets_more_cues() -> None:
    assert len(cues(said(SENTENCE, each=1.0))) > len(cues(said(SENTENCE, each=0.25)))


def test_a_word_longer_than_a_line_stands_alone_and_whole() -> None:
    giant = "a" * 50
    made = cues(said(f"yes {giant} no"))
    assert giant in [line for cue in made for line in cue.lines]
    assert " ".join(shown(made)) == f"yes {giant} no"


def test_a_cue_stays_a_little_after_its_last_word() -> None:
    (cue,) = cues(said("one two three four five six"), duration=60)
    assert cue.end == pytest.approx(6 * 0.3 + 0.5)


def test_fast_speech_stays_until_it_can_be_read() -> None:
    text = "somebody must have brought the wonderful chairs upstairs"
    (cue,) = cues(said(text, each=0.1), duration=60)
    assert cue.end - cue.start == pytest.approx(len(text) / 17, abs=0.1)


def test_the_screen_does_not_flicker_between_two_cues() -> None:
    first, second = cues(said("one two three four five six", pauses={3: 0.7}))
    assert first.end == second.start


def test_srt_is_numbered_and_a_blank_line_stands_between_cues() -> None:
    words = [*said("hello there", 1.0), *said("what have you found", 3661.5)]
    assert write_srt(transcript_of(words), "talk.mp3") == (
        "1\n00:00:01,000 --> 00:00:02,100\nhello there\n"
        "\n"
        "2\n01:01:01,500 --> 01:01:03,200\nwhat have you found\n"
    )


def test_vtt_has_a_header_and_escapes_what_would_be_markup() -> None:
    words = said("rock & roll <b> -->", 1.0)
    assert write_vtt(transcript_of(words), "talk.mp3") == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\nrock &amp; roll &lt;b&gt; --&gt;\n"
    )


def test_tsv_has_a_row_a_cue_in_milliseconds() -> None:
    words = [
        *said("hello there", 1.0),
        *said("somebody must have brought the wonderful chairs upstairs", 5.0),
    ]
    assert write_tsv(transcript_of(words), "talk.mp3") == (
        "start\tend\ttext\n"
        "1000\t2100\thello there\n"
        "5000\t8236\tsomebody must have brought the wonderful chairs upstairs\n"
    )


def test_a_recording_without_words_gives_valid_files() -> None:
    silence = transcript_of([], 3.0)
    assert write_srt(silence, "hum.wav") == ""
    assert write_vtt(silence, "hum.wav") == "WEBVTT\n"
    assert write_tsv(silence, "hum.wav") == "start\tend\ttext\n"


def test_a_hundred_hours_are_three_digits() -> None:
    written = write_srt(transcript_of(said("hello there", 360_000.0)), "year.wav")
    assert "\n100:00:00,000 --> 100:00:01,100\n" in written


@given(any_words())
@examples
def test_every_file_of_subtitles_says_what_the_cues_say(words: list[Word]) -> None:
    transcript, made = transcript_of(words), cues(words, 1e9)
    assert parsed_srt(write_srt(transcript, "x")) == made
    assert parsed_vtt(write_vtt(transcript, "x")) == made
    header, *rows = write_tsv(transcript, "x").removesuffix("\n").split("\n")
    assert header == "start\tend\ttext"
    assert [row.split("\t") for row in rows] == [
        [str(round(1000 * cue.start)), str(round(1000 * cue.end)), " ".join(cue.lines)] for cue in made
    ]


class Heard:
    """A recogniser's answer without the recogniser."""

    def helpers(self, *_):  # type: ignore[no-untyped-def]
        return Helpers.none()

    def transcribe_all(self, sources, *_, **__):  # type: ignore[no-untyped-def]
        for number, _ in enumerate(sources):
            yield number, transcript_of(said("hello there", 1.0), 5.0), {"network": 0.1}


@pytest.mark.parametrize("write", [write_srt, write_vtt, write_tsv])
def test_subtitles_of_one_recording_are_printed_as_they_are(
    write: Callable[[Transcript, str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("speech.cli._load", lambda arguments: (Heard(), None))
    (tmp_path / "talk.mp3").write_bytes(b"sound")
    assert main(["transcribe", str(tmp_path / "talk.mp3"), "--format", write.__name__[-3:]]) == 0
    assert capsys.readouterr().out == write(transcript_of(said("hello there", 1.0), 5.0), "talk.mp3")


def test_subtitles_of_several_recordings_need_a_folder(tmp_path: Path) -> None:
    for name in ("monday.mp3", "tuesday.mp3"):
        (tmp_path / name).write_bytes(b"sound")
    arguments = make_speech_parser().parse_args(["transcribe", str(tmp_path), "--format", "srt"])
    with pytest.raises(InputError, match="srt of several recordings needs a folder to go to: add --output"):
        transcribe(arguments)


def test_what_the_shipped_model_hears_becomes_subtitles() -> None:
    sample = Path(__file__).parents[3] / "speech" / "samples" / "tags.opus"
    transcript = Recognizer.load().transcribe(sample)
    made = parsed_srt(write_srt(transcript, str(sample)))
    assert " ".join(shown(made)) == transcript.text != ""
    assert made[-1].end <= transcript.duration
