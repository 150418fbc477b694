"""What was said in a recording, and how it comes together from segments that are heard in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from common.errors import InputError
from speech.alignment import Word
from speech.pool import End, Heard

Part = TypeVar("Part")  # what is made of a segment


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording.

    Attributes:
        text: the words, lower case, without punctuation.
        duration: seconds of the recording.
        words: each word with its time and confidence.
        confidence: mean of the words' confidences, 0 to 1; None where no word was heard.
    """

    text: str
    duration: float
    words: tuple[Word, ...]
    confidence: float | None

    @staticmethod
    def of(words: tuple[Word, ...], duration: float) -> Transcript:
        """The transcript of a recording in which these words are said."""
        confidence = sum(word.confidence for word in words) / len(words) if words else None
        return Transcript(" ".join(word.text for word in words), duration, words, confidence)


@dataclass
class Recording(Generic[Part]):
    """A recording of which something is still to be done."""

    parts: dict[int, Part] = field(default_factory=dict)  # of each segment
    end: End | None = None
    seconds: float = 0.0
    reported: float = 0.0  # seconds of sound of which `progress` knows

    def take(self, item: Heard | End) -> None:
        """Note what was read."""
        if isinstance(item, End):
            self.end = item
            self.seconds += item.seconds

    def add(self, segment: Heard, part: Part, seconds: float) -> float:
        """Add what the network heard; gives the seconds of sound up to there that are news."""
        self.parts[segment.index] = part
        self.seconds += seconds
        # What lies before a segment is done with it: pauses count too, but nothing counts twice.
        news = max(0.0, segment.start_seconds + segment.sound_seconds - self.reported)
        self.reported += news
        return news

    @property
    def done(self) -> bool:
        """Whether it was read to its end and all its segments were heard."""
        return self.end is not None and (self.end.problem is not None or len(self.parts) == self.end.segments)

    @property
    def rest(self) -> float:
        """Seconds of sound behind the last segment."""
        return max(0.0, (self.end.duration if self.end else 0.0) - self.reported)

    def result(self, join: Callable[[list[Part], float], Transcript]) -> Transcript | InputError:
        """The transcript, or why there is none.

        Args:
            join: makes it of the parts, in the order of their time, and the recording's seconds; it may
                raise an `InputError`.
        """
        assert self.end is not None
        if self.end.problem is not None:
            return self.end.problem
        try:
            return join([self.parts[index] for index in sorted(self.parts)], self.end.duration)
        except InputError as error:
            return error


def joined(parts: list[tuple[Word, ...]], duration: float) -> Transcript:
    """The transcript of a recording, given the words of each of its segments."""
    return Transcript.of(tuple(word for words in parts for word in words), duration)
