"""A recording of any length becomes segments: stretches of speech that the network reads one at a time.

Comes in: a recording piece by piece, as `speech.sound.audio.AudioReader` gives it. Goes out: segments of at
most 20 seconds, cut in pauses, with where they start; what holds no speech is left out. The memory does not
grow with the recording.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import torch
from torch import Tensor, nn

from speech.sound.audio import LARGEST_SAMPLE, SAMPLE_RATE, is_silence
from speech.sound.detector import WINDOW, Detector, DetectorState

_BLOCK = 5 * SAMPLE_RATE  # samples that the detector reads at once: faster than in small pieces


@dataclass(frozen=True)
class SoundSegment:
    """A stretch of a recording that holds speech.

    Attributes:
        start_seconds: where it starts in the recording.
        samples: (samples,) float32 at 16 kHz.
    """

    start_seconds: float
    samples: Tensor


@dataclass(frozen=True)
class SplitOptions:
    """Where a recording is cut.

    Attributes:
        longest_seconds: of a segment. Longer speech is cut in its longest pause, or at its quietest place
            if it has none.
        pause_seconds: a pause this long always ends a segment; at least twice the context.
        context_seconds: quiet that is kept on either side of the speech.
        speech, quiet: probabilities: from the first on a window is speech, below the second it is none;
            between them it is what the window before it was.
        least_windows: windows in a segment that are not quiet, below which it is a click and no word.
    """

    longest_seconds: float = 20.0
    pause_seconds: float = 0.64
    context_seconds: float = 0.32
    speech: float = 0.5
    quiet: float = 0.35
    least_windows: int = 3


class Splitter:
    """Cuts a sound that comes piece by piece; the pieces' size does not matter.

    It remembers no more than the segment that it is in. A cut depends on nothing that comes after it: a live
    stream and a file are cut alike.

    Args:
        detector: what says where speech is.
        options: where to cut.
    """

    def __init__(self, detector: Detector, options: SplitOptions | None = None) -> None:
        self.options = options or SplitOptions()
        self.detector = detector
        self.state: DetectorState | None = None
        self.samples = torch.zeros(0)  # from the window `first` on, those without a probability included
        self.first = 0
        self.probabilities: list[float] = []  # of the windows from `first` on
        self.seen = 0  # windows that were gone through
        self.speech_start: int | None = None  # window in which the open segment's speech began
        self.quiet_start: int | None = None  # window in which the open segment's last pause began
        self.pauses: list[tuple[int, int]] = []  # of the open segment: first window, and the first after it
        self.context = _windows(self.options.context_seconds)
        self.pause = _windows(self.options.pause_seconds)
        self.longest = _windows(self.options.longest_seconds)

    def feed(self, samples: Tensor) -> list[SoundSegment]:
        """Take the next samples (samples,) and give the segments that end in them."""
        self.samples = torch.cat([self.samples, samples])
        fresh = self.samples[len(self.probabilities) * WINDOW :]
        whole = fresh[: len(fresh) // WINDOW * WINDOW]
        if not len(whole):
            return []
        found, self.state = self.detector(whole, self.state)
        self.probabilities += found.tolist()
        segments = []
        while self.seen < self.first + len(self.probabilities):
            segment = self._step()
            if segment is not None:
                segments.append(segment)
        if self.speech_start is None:
            self._forget(self.seen - self.context)
        return segments

    def finish(self) -> list[SoundSegment]:
        """The segments that are left when the sound has ended; nothing can be fed any more."""
        missing = -len(self.samples) % WINDOW
        length = self.first * WINDOW + len(self.samples)
        segments = self.feed(torch.zeros(missing)) if missing else []
        self.samples = self.samples[: length - self.first * WINDOW]
        if self.speech_start is not None:
            segments += self._cut(self._speech_end() + self.context)
        return segments

    @property
    def open(self) -> SoundSegment | None:
        """The segment whose end has not come yet, as far as it is known; None in a pause between segments."""
        return None if self.speech_start is None else self._segment(self.seen)

    @property
    def has_speech(self) -> bool:
        """Whether the open segment holds enough speech already to become one."""
        if self.speech_start is None:
            return False
        end = self.seen if self.quiet_start is None else min(self.seen, self.quiet_start + self.context)
        return self._enough(self.speech_start, end)

    def _step(self) -> SoundSegment | None:
        """Go through one window; the segment that it ends, if it ends one."""
        window, self.seen = self.seen, self.seen + 1
        probability = self.probabilities[window - self.first]
        if self.speech_start is None:
            if probability >= self.options.speech:
                self.speech_start = window
            return None
        if probability >= self.options.speech and self.quiet_start is not None:
            self.pauses.append((self.quiet_start, window))
            self.quiet_start = None
        elif probability < self.options.quiet and self.quiet_start is None:
            self.quiet_start = window
        if self.quiet_start is not None and self.seen - self.quiet_start >= self.pause:
            cut = self._cut(self.quiet_start + self.context)
            return cut[0] if cut else None
        if self.seen - self._start() >= self.longest:
            return self._cut_speech()
        return None

    def _cut_speech(self) -> SoundSegment | None:
        """Cut the open segment, which has become too long, where it hurts least; the rest stays open."""
        pauses = [*self.pauses, *([(self.quiet_start, self.seen)] if self.quiet_start is not None else [])]
        longest = max(pauses, key=lambda pause: pause[1] - pause[0], default=None)
        begin, end = longest or (self._quietest(),) * 2
        middle = (begin + end) // 2
        later = [pause for pause in self.pauses if pause[0] >= end]
        still_quiet = self.quiet_start if end < self.seen else None
        cut = self._cut(min(middle, begin + self.context), forget=max(middle, end - self.context))
        if end < self.seen:
            self.speech_start, self.pauses, self.quiet_start = end, later, still_quiet
        return cut[0] if cut else None

    def _quietest(self) -> int:
        """The quietest window in the second half of the open segment, which has no pause."""
        start = (self._start() + self.seen) // 2
        samples = self._samples(start, self.seen)
        energy = samples.view(1, 1, -1, WINDOW).square().mean(dim=-1)
        energy = nn.functional.avg_pool1d(energy.squeeze(0), 3, stride=1)  # a dip of 0.1 s, not a lone zero
        return start + 1 + int(energy.argmin())

    def _cut(self, end: int, forget: int | None = None) -> list[SoundSegment]:
        """Close the open segment before the window `end`; nothing, if there was hardly speech in it."""
        assert self.speech_start is not None
        segments = [self._segment(end)] if self._enough(self.speech_start, end) else []
        self.speech_start, self.quiet_start, self.pauses = None, None, []
        self._forget(end if forget is None else forget)
        return segments

    def _enough(self, start: int, end: int) -> bool:
        """Whether the windows from `start` up to `end` hold more speech than a click does.

        What the detector takes for speech is none where a recording holds nothing but a decoder's rounding.
        """
        spoken = self.probabilities[start - self.first : end - self.first]
        if sum(one >= self.options.quiet for one in spoken) < self.options.least_windows:
            return False
        samples = self._samples(start, end)
        return not is_silence(float(samples.max() - samples.min()))

    def _segment(self, end: int) -> SoundSegment:
        """The open segment up to the window `end`."""
        start = self._start()
        samples = self._samples(start, end)
        return SoundSegment(start * WINDOW / SAMPLE_RATE, samples.clone())

    def _samples(self, start: int, end: int) -> Tensor:
        """The samples of the windows from `start` up to `end`."""
        return self.samples[(start - self.first) * WINDOW : (end - self.first) * WINDOW]

    def _start(self) -> int:
        """The window with which the open segment starts, its context included."""
        assert self.speech_start is not None
        return max(self.first, self.speech_start - self.context)

    def _speech_end(self) -> int:
        """The window behind the last one of the open segment's speech."""
        return self.seen if self.quiet_start is None else self.quiet_start

    def _forget(self, window: int) -> None:
        """Forget what lies before a window."""
        window = min(window, self.seen)
        if window > self.first:
            self.samples = self.samples[(window - self.first) * WINDOW :].clone()
            self.probabilities = self.probabilities[window - self.first :]
            self.first = window


class RecordingSplitter:
    """Cuts a whole recording, or one channel of it, into its segments.

    A recording that is no longer than one segment may be stays whole: the detector only says whether
    anything is said in it, and cannot cut a word off. Arguments as of `Splitter`.
    """

    def __init__(self, detector: Detector, options: SplitOptions | None = None) -> None:
        self._splitter = Splitter(detector, options)
        self._longest = round(self._splitter.options.longest_seconds * SAMPLE_RATE)
        self._held: list[Tensor] = []  # all that came, while it is no longer than a segment may be
        self._length = 0
        self._block: list[Tensor] = []  # what came since the detector was last asked
        self._waiting = 0

    def feed(self, samples: Tensor) -> list[SoundSegment]:
        """Take the next samples (samples,), not too many at once, and give the segments that end in them."""
        self._block.append(samples)
        self._waiting += len(samples)
        return self._next() if self._waiting >= _BLOCK else []

    def finish(self) -> list[SoundSegment]:
        """The segments that are left when the recording has ended; nothing can be fed any more."""
        segments = self._next() if self._block else []
        if self._length > self._longest:
            return segments + self._splitter.finish()
        if not self._held:
            return []
        whole = torch.cat(self._held)
        self._splitter.state = DetectorState.beside(whole)
        return [SoundSegment(0.0, whole)] if _holds_speech(whole, self._splitter) else []

    def _next(self) -> list[SoundSegment]:
        """Go through what has come since the last time."""
        self._held.append(torch.cat(self._block))
        self._block.clear()
        self._length += self._waiting
        self._waiting = 0
        if self._length <= self._longest:
            return []
        segments = [segment for held in self._held for segment in self._splitter.feed(held)]
        self._held.clear()
        return segments


def split(
    pieces: Iterable[Tensor], detector: Detector, options: SplitOptions | None = None
) -> Iterator[SoundSegment]:
    """Cut a whole recording, given in pieces (samples,), as `RecordingSplitter` does."""
    splitter = RecordingSplitter(detector, options)
    for piece in pieces:
        for part in piece.split(_BLOCK):
            yield from splitter.feed(part)
    yield from splitter.finish()


def _holds_speech(samples: Tensor, splitter: Splitter) -> bool:
    """Whether anything is said; what follows the first words need not be looked at."""
    for part in samples.split(SAMPLE_RATE):
        if splitter.feed(part) or splitter.has_speech:
            return True
    return bool(splitter.finish())


def clean(samples: Tensor) -> Tensor:
    """Samples (samples,) float32, where what is no number, infinite or absurdly large counts as 0."""
    samples = samples.detach().to("cpu", torch.float32)
    # Written so that NaN, which compares with nothing, goes too.
    return torch.where(samples.abs() <= LARGEST_SAMPLE, samples, torch.zeros(()))


def recording_seconds(path: str | Path) -> float:
    """How long a recording says that it is, without decoding it; 0 if it does not say or cannot be read."""
    if not Path(path).is_file():  # a pipe is opened only once
        return 0.0
    try:
        with av.open(f"file:{path}", mode="r", metadata_errors="replace") as container:
            return max(0.0, (container.duration or 0) / av.time_base)
    except (OSError, ValueError, av.FFmpegError):
        return 0.0


def _windows(seconds: float) -> int:
    """Seconds in windows."""
    return math.ceil(seconds * SAMPLE_RATE / WINDOW)
