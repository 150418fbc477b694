"""Where words begin and end: the steps in which the network was sure of their subwords -> seconds.

A CTC network writes a subword in one step, somewhere in its sound or behind it: that says which word is being
said, not where it begins. Two things do, measured on synthetic speech with true times, none of which the
reported figures come from (flite, festival and a neural voice, 500 clips), with networks of letters. One of
subwords writes each near its first letter, however long it is.

- In fluent speech a word begins `LEAD_SECONDS` before its first letter is written, and there the word before
  it ends. Networks of three trainings had the same lead within 5 ms.
- Beside a pause, the sound itself begins and ends. A silent letter is written anywhere, often at the very end
  of the recording: what is far from the other letters of its word does not count.

`speech evaluate MANIFEST --timing` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

LETTER_SECONDS = 0.02  # that a subword's sound lasts longer behind its step, for each letter but the first
LEAD_SECONDS = 0.055  # from the beginning of a word to its first letter
TAIL_SECONDS = 0.1  # from a word's last letter to its end, where no sound tells it
PAUSE_SECONDS = 0.195  # from letter to letter over two words; what is longer is a pause
STRAY_SECONDS = 0.3  # from letter to letter in one word; a letter farther off does not count
REACH_SECONDS = 0.3  # that a word's sound may begin before its first letter, or end behind its last
LATE_SECONDS = 0.15  # that a word's sound may begin behind its first letter
LEAST_SECONDS = 0.02  # that a word lasts

# A frame is quiet whose loudness is below this share of the way from the quietest frames to the loud ones.
QUIET_SHARE = 0.3

Span = tuple[float, float]  # seconds


@dataclass(frozen=True)
class Quiet:
    """Where there is hardly any sound.

    Attributes:
        frames: for each frame whether it is quiet; what lies behind them is not known.
        hop_seconds: time from one frame to the next.
    """

    frames: Sequence[bool] = ()
    hop_seconds: float = 0.01

    @staticmethod
    def of(features: Tensor, hop_seconds: float) -> Quiet:
        """The quiet frames of a segment.

        The threshold is the segment's own, because noise fills the pauses of many recordings.

        Args:
            features: (frames, mels), log-mel.
            hop_seconds: time from one frame to the next.
        """
        loudness = features.mean(dim=1)
        ranked = loudness.sort().values
        low, high = ranked[int(0.05 * len(ranked))], ranked[int(0.8 * len(ranked))]
        return Quiet((loudness < low + QUIET_SHARE * (high - low)).tolist(), hop_seconds)

    def begins(self, seconds: float, earliest: float, latest: float) -> float | None:
        """Where the sound begins that is nearest to a moment: behind it if it is quiet, otherwise before it.

        None if it does not begin between `earliest` and `latest`.
        """
        frame = self._frame(seconds)
        if frame is None:
            return None
        if self.frames[frame]:
            while frame < len(self.frames) and self.frames[frame]:
                frame += 1
            found = frame < len(self.frames)
        else:
            first = max(0, int(earliest / self.hop_seconds) - 1)
            while frame > first and not self.frames[frame - 1]:
                frame -= 1
            found = frame > 0 and self.frames[frame - 1]
        begin = frame * self.hop_seconds
        return begin if found and earliest <= begin <= latest else None

    def ends(self, seconds: float, earliest: float, latest: float) -> float | None:
        """Where the sound ends that is nearest to a moment: before it if it is quiet, otherwise behind it.

        None if it does not end between `earliest` and `latest`.
        """
        frame = self._frame(seconds)
        if frame is None:
            return None
        if self.frames[frame]:
            while frame > 0 and self.frames[frame - 1]:
                frame -= 1
            found = frame > 0
        else:
            last = min(len(self.frames), int(latest / self.hop_seconds) + 1)
            while frame < last and not self.frames[frame]:
                frame += 1
            found = frame < len(self.frames) and self.frames[frame]
        end = frame * self.hop_seconds
        return end if found and earliest <= end <= latest else None

    def _frame(self, seconds: float) -> int | None:
        """The frame at a moment; None if it is not known."""
        frame = round(seconds / self.hop_seconds)
        return frame if 0 <= frame < len(self.frames) else None


def spoken_span(letters: Sequence[Span]) -> Span:
    """When the letters of one word are written: the first and the last that count, in seconds.

    Args:
        letters: first and last step of each, or of each subword, as seconds; at least one.
    """
    first, last = 0, len(letters) - 1
    while first < last and letters[last][0] - letters[last - 1][1] > STRAY_SECONDS:
        last -= 1
    while first < last and letters[first + 1][0] - letters[first][1] > STRAY_SECONDS:
        first += 1
    return letters[first][0], letters[last][1]


def place(spans: Sequence[Span], duration: float, quiet: Quiet) -> list[Span]:
    """Where each word begins and ends.

    Args:
        spans: of the words' letters (see `spoken_span`), in order.
        duration: seconds of the recording, or as much of it as the words can lie in.
        quiet: where there is hardly any sound.

    Returns:
        Begin and end of each word: in order, none overlapping another, each longer than nothing, all within
        0 and `duration`.
    """
    starts = [_start(number, spans, quiet) for number in range(len(spans))]
    # In order and within the recording, whatever the sound says; almost always they are already.
    least = min(LEAST_SECONDS, duration / (2 * len(spans))) if spans else 0.0
    for number in range(len(starts)):
        earliest = starts[number - 1] + least if number else 0.0
        starts[number] = max(earliest, starts[number])
    for number in reversed(range(len(starts))):
        latest = (starts[number + 1] if number + 1 < len(starts) else duration) - least
        starts[number] = min(latest, starts[number])
    placed = []
    for number, start in enumerate(starts):
        following = starts[number + 1] if number + 1 < len(starts) else duration
        end = _end(number, spans, start, following, quiet)
        placed.append((max(0.0, start), min(max(end, start + least), following)))
    return placed


def _start(number: int, spans: Sequence[Span], quiet: Quiet) -> float:
    """Where a word begins."""
    first, last = spans[number]
    before = spans[number - 1][1] if number else 0.0
    if number == 0 or first - before > PAUSE_SECONDS:
        earliest = max(before, first - REACH_SECONDS)
        begin = quiet.begins(first, earliest, max(last, first + LATE_SECONDS))
        if begin is not None:
            return begin
    return first - LEAD_SECONDS


def _end(number: int, spans: Sequence[Span], start: float, following: float, quiet: Quiet) -> float:
    """Where a word ends that begins at `start`, before the next one, which begins at `following`."""
    last = spans[number][1]
    if number + 1 < len(spans) and spans[number + 1][0] - last <= PAUSE_SECONDS:
        return following
    end = quiet.ends(last, start + LEAST_SECONDS, min(following, last + REACH_SECONDS))
    return end if end is not None else last + TAIL_SECONDS
