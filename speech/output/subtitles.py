"""Subtitles: words with times -> cues, each one or two lines and when they are shown.

Where a cue ends is found as TeX finds where a line of a paragraph ends (Knuth and Plass, "Breaking Paragraphs
into Lines", 1981): every way to break has a cost, and the cheapest is taken. The measures are those that
broadcasters and Netflix's Timed Text Style Guide ask for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speech.placing.alignment import Word
    from speech.transcript import Transcript

LINE_LENGTH = 42  # characters
LINES = 2
READING_SPEED = 17  # characters that are read in a second

# Milliseconds, as in all that follows: files of subtitles know nothing finer, and whole numbers do not round
# into each other.
PAUSE = 500  # the least that always ends a cue
LONGEST_SPEECH = 6000  # in one cue
SHORTEST, LONGEST = 1000, 7000  # that a cue is shown
LINGER = 500  # that a cue stays after its last word, if nothing follows
FLICKER = 250  # the screen is not left empty for less

# Costs, beside that of a break without any pause, which is 1 and falls to 0 at PAUSE.
_CUE = 1.0  # of every cue, so that there are few
_FULL = 2.0  # of a full line or cue; it grows with the square, so that alike lengths are cheapest
_BRIEF = 2.0  # of every second that a cue is too short
_LEANING = 0.5  # of a break behind a word that belongs to the next

LEANING = frozenset(
    "a an the my your his our their its and or but if than as so that who which when while of to in on at by "
    "for from with into i we he she they is are was were will would can could should must".split()
)


@dataclass(frozen=True)
class Cue:
    """What is shown at one time.

    Attributes:
        start, end: seconds from the beginning of the recording, in whole milliseconds; `start` is less than
            `end`, and cues never overlap.
        lines: one or two, none empty, of at most 42 characters but for a single word that is longer.
        channel: that says it, where channels were heard apart; cues of several may overlap.
    """

    start: float
    end: float
    lines: tuple[str, ...]
    channel: int | None = None


def transcript_cues(transcript: Transcript) -> list[Cue]:
    """The subtitles of a transcript, in the order of their time: of each channel its own."""
    channels = sorted({segment.channel for segment in transcript.segments if segment.channel is not None})
    if not channels:
        return cues(transcript.words, transcript.duration)
    made = []
    for channel in channels:
        own = [word for one in transcript.segments if one.channel == channel for word in one.words]
        made += [replace(cue, channel=channel) for cue in cues(own, transcript.duration)]
    return sorted(made, key=lambda cue: (cue.start, cue.channel))


def cues(words: Sequence[Word], duration: float = math.inf) -> list[Cue]:
    """Make subtitles.

    A pause ends a cue. Where none comes in time, the cue ends at the best place: a short pause, no word that
    belongs to the next, no cue with a single word left over. It is shown from its first word until a little
    after its last one, longer if it takes longer to read, but not into the next cue.

    Args:
        words: in the order in which they are said.
        duration: seconds of the recording; nothing is shown after it.

    Returns:
        Cues in order, with every word once; none if there are no words.
    """
    spoken = [_Spoken(" ".join(word.text.split()), _ms(word.start), _ms(word.end)) for word in words]
    groups = _groups([one for one in spoken if one.text])
    starts: list[int] = []
    for group in groups:  # words that take no time or overlap must not make such cues
        starts.append(max(group[0].start, starts[-1] + 1 if starts else 0))
    made = []
    for group, start, following in zip(groups, starts, [*starts, None][1:], strict=True):
        lines = _lines(group)
        end = _end(start, group[-1].end, sum(map(len, lines)), following)
        if end / 1000 > duration:
            end = max(start + 1, math.floor(1000 * duration))
        made.append(Cue(start / 1000, end / 1000, lines))
    return made


@dataclass(frozen=True)
class _Spoken:
    """A word with its milliseconds."""

    text: str
    start: int
    end: int


def _ms(seconds: float) -> int:
    return max(0, round(1000 * seconds))


def _groups(words: Sequence[_Spoken]) -> list[Sequence[_Spoken]]:
    """The words of each cue: of all ways to divide them the cheapest."""
    costs = [0.0] * (len(words) + 1)  # of all from a word on
    ends = [0] * len(words)  # of the cue that begins with a word
    for first in reversed(range(len(words))):
        costs[first], ends[first] = min(
            (_cue_cost(words, first, end, characters) + costs[end], end)
            for end, characters in _possible_ends(words, first)
        )
    groups, first = [], 0
    while first < len(words):
        groups.append(words[first : ends[first]])
        first = ends[first]
    return groups


def _possible_ends(words: Sequence[_Spoken], first: int) -> Iterator[tuple[int, int]]:
    """Where a cue may end that begins with a word: the index behind its last word, and its characters."""
    characters = length = len(words[first].text)
    lines = 1
    yield first + 1, characters
    for index in range(first + 1, len(words)):
        word = words[index]
        if word.start - words[index - 1].end >= PAUSE or word.end - words[first].start > LONGEST_SPEECH:
            return
        length += 1 + len(word.text)
        if length > LINE_LENGTH:  # a word goes to the next line when it must: if that fits, some way does
            lines, length = lines + 1, len(word.text)
        if lines > LINES:
            return
        characters += 1 + len(word.text)
        yield index + 1, characters


def _cue_cost(words: Sequence[_Spoken], first: int, end: int, characters: int) -> float:
    """What a cue of the words from `first` to before `end` costs, with the break behind it."""
    cost = _CUE + _FULL * (characters / (LINES * LINE_LENGTH)) ** 2
    if end == len(words):
        return cost
    shown = words[end].start - words[first].start
    return cost + _BRIEF * max(0, SHORTEST - shown) / 1000 + _break_cost(words[end - 1], words[end])


def _break_cost(word: _Spoken, following: _Spoken) -> float:
    """What it costs to break between two words."""
    pause = min(max(0, following.start - word.end), PAUSE)
    return 1 - pause / PAUSE + _LEANING * (word.text.lower() in LEANING)


def _lines(words: Sequence[_Spoken]) -> tuple[str, ...]:
    """One line if it fits, or else two: about as long as each other, broken where it costs little."""

    def text(some: Sequence[_Spoken]) -> str:
        return " ".join(word.text for word in some)

    if _fits(text(words)):
        return (text(words),)
    options = []
    for index in range(1, len(words)):
        lines = (text(words[:index]), text(words[index:]))
        if all(map(_fits, lines)):
            fullness = sum((len(line) / LINE_LENGTH) ** 2 for line in lines)
            options.append((_FULL * fullness + _break_cost(words[index - 1], words[index]), lines))
    return min(options)[1]


def _fits(line: str) -> bool:
    """Whether a line may be so: it is short enough, or a single word, which is never cut."""
    return len(line) <= LINE_LENGTH or " " not in line


def _end(start: int, last: int, characters: int, following: int | None) -> int:
    """How long a cue is shown: milliseconds.

    Args:
        start: of the cue.
        last: when its last word ends.
        characters: that are to be read.
        following: start of the next cue, if there is one.
    """
    end = max(last + LINGER, start + SHORTEST, start + math.ceil(1000 * characters / READING_SPEED))
    if following is not None and following < end + FLICKER:
        end = following
    return min(end, start + LONGEST)
