"""What was said in a recording, and how it comes together from segments that are heard in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from common.errors import InputError, UnexpectedError
from common.stages import summed
from speech.placing.alignment import Word
from speech.pool import RecordingEnd, SegmentFeatures

Part = TypeVar("Part")  # what is made of a segment


@dataclass(frozen=True)
class Segment:
    """What was said in a stretch of a recording, between two pauses.

    Attributes:
        start, end: seconds from the beginning of the recording: of its first and its last word.
        text: the words.
        words: each word with its time and confidence, at least one.
        confidence: mean of the words' confidences, 0 to 1.
        channel: of the recording, from 1, where its channels were heard apart.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    confidence: float
    channel: int | None = None

    @staticmethod
    def of(words: tuple[Word, ...], channel: int | None = None) -> Segment:
        """The segment in which these words are said, at least one."""
        text = " ".join(word.text for word in words)
        return Segment(words[0].start, words[-1].end, text, words, _mean(words), channel)


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording.

    Attributes:
        text: the words, lower case, without punctuation.
        duration: seconds of the recording.
        words: each word with its time and confidence, segment by segment.
        confidence: mean of the words' confidences, 0 to 1; None where no word was heard.
        segments: what was said between pauses, in the order of their time; of channels that were heard apart
            they may overlap.
        offset: seconds of the recording before its sound begins, which `duration` and all times count.
        warnings: what about the recording a person should know, a sentence each: what of it could not be
            read, that nothing was recorded.
        score: of a text that was given, how well it fits the sound, 0 to 1; None where it was heard.
    """

    text: str
    duration: float
    words: tuple[Word, ...]
    confidence: float | None
    segments: tuple[Segment, ...] = ()
    offset: float = 0.0
    warnings: tuple[str, ...] = ()
    score: float | None = None

    @staticmethod
    def of(segments: Iterable[Segment], duration: float) -> Transcript:
        """The transcript of a recording in which these segments are said, in any order."""
        ordered = tuple(sorted(segments, key=lambda one: (one.start, one.channel or 0)))
        words = tuple(word for segment in ordered for word in segment.words)
        text = " ".join(segment.text for segment in ordered)
        return Transcript(text, duration, words, _mean(words) if words else None, ordered)

    def to_txt(self) -> str:
        """The text, a line a segment; see `speech.output.writers` for this and the other formats."""
        return self._written("txt")

    def to_srt(self) -> str:
        """Subtitles as SubRip writes them."""
        return self._written("srt")

    def to_vtt(self) -> str:
        """Subtitles as WebVTT."""
        return self._written("vtt")

    def to_tsv(self) -> str:
        """The subtitles as a table."""
        return self._written("tsv")

    def to_json(self, path: str = "") -> str:
        """Everything that is known, as one JSON object, with the path that the recording has."""
        return self._written("json", path)

    def _written(self, format: str, path: str = "") -> str:
        from speech.output.writers import WRITERS

        return WRITERS[format](self, path)


def _mean(words: Sequence[Word]) -> float:
    """The mean confidence of some words."""
    return sum(word.confidence for word in words) / len(words)


@dataclass
class Recording(Generic[Part]):
    """A recording of which something is still to be done."""

    parts: dict[int, Part] = field(default_factory=dict)  # of each segment
    failed: dict[int, UnexpectedError] = field(default_factory=dict)  # why there is none of a segment
    channels: dict[int, int | None] = field(default_factory=dict)  # likewise
    end: RecordingEnd | None = None
    stages: dict[str, float] = field(default_factory=dict)  # seconds that it took, by stage
    reported: float = 0.0  # seconds of sound of which `progress` knows

    def take(self, item: SegmentFeatures | RecordingEnd) -> None:
        """Note what was read."""
        if isinstance(item, RecordingEnd):
            self.end = item
            self.stages = summed([self.stages, item.stages])

    def add(
        self, segment: SegmentFeatures, part: Part | UnexpectedError, stages: Mapping[str, float]
    ) -> float:
        """Add what was made of a segment; gives the seconds of sound up to there that are news."""
        if isinstance(part, UnexpectedError):
            self.failed[segment.index] = part
        else:
            self.parts[segment.index] = part
        self.channels[segment.index] = segment.channel
        self.stages = summed([self.stages, stages])
        # What lies before a segment is done with it: pauses count too, but nothing counts twice.
        news = max(0.0, segment.start_seconds + segment.sound_seconds - self.reported)
        self.reported += news
        return news

    @property
    def done(self) -> bool:
        """Whether it was read to its end and all its segments were heard."""
        if self.end is None:
            return False
        return self.end.problem is not None or len(self.parts) + len(self.failed) == self.end.segments

    @property
    def rest(self) -> float:
        """Seconds of sound behind the last segment."""
        return max(0.0, (self.end.duration if self.end else 0.0) - self.reported)

    def result(
        self, join: Callable[[list[Part], list[int | None], float], Transcript]
    ) -> Transcript | InputError:
        """The transcript, or why there is none.

        Args:
            join: makes it of the parts, in the order of their time, the channel of each, and the recording's
                seconds; it may raise an `InputError`.
        """
        assert self.end is not None
        if self.end.problem is not None:
            return self.end.problem
        if self.failed:
            first = self.failed[min(self.failed)]
            return UnexpectedError(self.end.name, first.reason, first.log)
        order = sorted(self.parts)
        parts, channels = [self.parts[index] for index in order], [self.channels[index] for index in order]
        try:
            transcript = join(parts, channels, self.end.duration)
        except InputError as error:
            return error
        warnings = (*self.end.warnings, *transcript.warnings)
        return replace(transcript, offset=self.end.offset, warnings=warnings)


def joined(parts: list[tuple[Word, ...]], channels: list[int | None], duration: float) -> Transcript:
    """The transcript of a recording, given the words of each of its segments."""
    said = zip(parts, channels, strict=True)
    return Transcript.of((Segment.of(words, channel) for words, channel in said if words), duration)
