"""A recording of any length becomes segments: stretches of speech that the network reads one at a time.

Comes in: a recording piece by piece, as `speech.audio.read_audio` gives it. Goes out: segments of at most
20 seconds, cut in pauses, with where they start; what holds no speech is left out. The memory does not grow
with the recording. Pauses are found by Silero's voice activity detector, whose weights the package
`silero-vad` carries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import av
import torch
from torch import Tensor, nn

from common.errors import InputError
from common.recurrent import RecurrentConfig, RecurrentStack, State, without_initial_weights
from speech.audio import LARGEST_SAMPLE, SAMPLE_RATE

WINDOW = 512  # samples of which the detector says whether they are speech: 32 ms


@dataclass(frozen=True)
class Segment:
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


class Detector(Protocol):
    """What says where speech is: `SpeechDetector`, or something simpler in tests."""

    def __call__(self, samples: Tensor, state: DetectorState | None) -> tuple[Tensor, DetectorState]:
        """Probabilities of speech in each window, and what is remembered of it."""


@dataclass(frozen=True)
class DetectorState:
    """What the detector remembers: the last 64 samples, how loud it has been, the state of its LSTM.

    Attributes:
        context: (1, 64) samples, as they came.
        level: root mean square of the loudest window, slowly forgotten.
        recurrent: of the LSTM.
    """

    context: Tensor
    level: float
    recurrent: State | None


class SpeechDetector(nn.Module):
    """Silero's voice activity detector for 16 kHz, on the suite's own recurrent core.

    The package's own class takes one window a call, and importing it sets the whole process to one thread.
    Here the convolutions read many windows at once and the LSTM is the fused loop: a tenth of the time,
    and nothing but the weights is read.

    It hears loud speech only: of clips of one digit at a peak of 0.03 it misses seven in ten. So every
    window is brought to the level that speech has; then it misses none of the 1247 dev recordings.
    """

    CONTEXT = 64  # samples of the window before, in front of each window
    LEVEL = 0.4  # root mean square to which the loudest window so far is brought
    LEAST_LEVEL = 1e-3  # what is still quieter is not raised any further
    HALF_LIFE = 10.0  # seconds after which a loud window counts half

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.recurrent = RecurrentStack(RecurrentConfig(128, 128))
        self.final_conv = nn.Conv1d(128, 1, 1)

    @classmethod
    def load(cls) -> SpeechDetector:
        """The detector with the weights of the installed package.

        Raises:
            InputError: if the package `silero-vad` is missing or is not one that holds them.
        """
        from safetensors.torch import load_file

        package = find_spec("silero_vad")  # finds it without importing it
        folders = package.submodule_search_locations if package is not None else None
        file = Path(next(iter(folders or [""]))) / "data" / "silero_vad_16k.safetensors"
        if not file.is_file():
            raise InputError("silero-vad", "is not installed; install it: pip install 'silero-vad==6.2.*'")
        weights = load_file(file)
        with without_initial_weights():
            detector = cls()
        detector.load_state_dict(
            {name.replace("lstm_cell.", "recurrent.layers.0.0."): weights[name] for name in weights}
        )
        return detector.eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, samples: Tensor, state: DetectorState | None = None) -> tuple[Tensor, DetectorState]:
        """Say of each window whether it is speech.

        Args:
            samples: (windows * 512,) float32 at 16 kHz, at least one window.
            state: what is remembered of the windows before; None at the start.

        Returns:
            Probabilities (windows,), and what to remember for the windows to come.
        """
        if state is None:
            state = DetectorState(samples.new_zeros(1, self.CONTEXT), self.LEAST_LEVEL, None)
        windows = samples.view(-1, WINDOW)
        ends = windows[:, -self.CONTEXT :]
        windows = torch.cat([torch.cat([state.context, ends[:-1]]), windows], dim=1)
        levels = self._levels(windows, state.level)
        windows = windows - windows.mean(dim=1, keepdim=True)  # a constant offset is no sound
        windows = windows * (self.LEVEL / torch.tensor(levels)).unsqueeze(1)
        probabilities, recurrent = self.probabilities(windows, state.recurrent)
        return probabilities, DetectorState(ends[-1:].clone(), levels[-1], recurrent)

    def probabilities(self, windows: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The network itself: windows with their context (windows, 576) -> probabilities (windows,)."""
        x = nn.functional.pad(windows, (0, self.CONTEXT), mode="reflect")
        x = self.stft_conv(x.unsqueeze(1))  # (windows, 2 * 129, 4): real parts, imaginary parts
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = convolution(x).relu()  # in the end (windows, 128, 1)
        hidden, state = self.recurrent(x.squeeze(2).unsqueeze(0), state=state)
        logits = self.final_conv(hidden.relu().transpose(1, 2))  # (1, 1, windows)
        return logits.sigmoid().view(-1), state

    def _levels(self, windows: Tensor, level: float) -> list[float]:
        """How loud it has been up to each window."""
        decay = 0.5 ** (WINDOW / SAMPLE_RATE / self.HALF_LIFE)
        levels = []
        for loudness in windows.std(dim=1, correction=0).tolist():
            level = max(level * decay, loudness, self.LEAST_LEVEL)
            levels.append(level)
        return levels


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

    def feed(self, samples: Tensor) -> list[Segment]:
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

    def finish(self) -> list[Segment]:
        """The segments that are left when the sound has ended; nothing can be fed any more."""
        missing = -len(self.samples) % WINDOW
        length = self.first * WINDOW + len(self.samples)
        segments = self.feed(torch.zeros(missing)) if missing else []
        self.samples = self.samples[: length - self.first * WINDOW]
        if self.speech_start is not None:
            segments += self._cut(self._speech_end() + self.context)
        return segments

    @property
    def open(self) -> Segment | None:
        """The segment whose end has not come yet, as far as it is known; None in a pause between segments."""
        return None if self.speech_start is None else self._segment(self.seen)

    @property
    def has_speech(self) -> bool:
        """Whether the open segment holds enough speech already to become one."""
        if self.speech_start is None:
            return False
        end = self.seen if self.quiet_start is None else min(self.seen, self.quiet_start + self.context)
        return self._enough(self.speech_start, end)

    def _step(self) -> Segment | None:
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

    def _cut_speech(self) -> Segment | None:
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
        samples = self.samples[(start - self.first) * WINDOW : (self.seen - self.first) * WINDOW]
        energy = samples.view(1, 1, -1, WINDOW).square().mean(dim=-1)
        energy = nn.functional.avg_pool1d(energy.squeeze(0), 3, stride=1)  # a dip of 0.1 s, not a lone zero
        return start + 1 + int(energy.argmin())

    def _cut(self, end: int, forget: int | None = None) -> list[Segment]:
        """Close the open segment before the window `end`; nothing, if there was hardly speech in it."""
        assert self.speech_start is not None
        segments = [self._segment(end)] if self._enough(self.speech_start, end) else []
        self.speech_start, self.quiet_start, self.pauses = None, None, []
        self._forget(end if forget is None else forget)
        return segments

    def _enough(self, start: int, end: int) -> bool:
        """Whether the windows from `start` up to `end` hold more speech than a click does."""
        spoken = self.probabilities[start - self.first : end - self.first]
        return sum(one >= self.options.quiet for one in spoken) >= self.options.least_windows

    def _segment(self, end: int) -> Segment:
        """The open segment up to the window `end`."""
        start = self._start()
        samples = self.samples[(start - self.first) * WINDOW : (end - self.first) * WINDOW]
        return Segment(start * WINDOW / SAMPLE_RATE, samples.clone())

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


def split(
    pieces: Iterable[Tensor], detector: Detector, options: SplitOptions | None = None
) -> Iterator[Segment]:
    """Cut a whole recording into its segments.

    A recording that is no longer than one segment may be stays whole: the detector only says whether
    anything is said in it, and cannot cut a word off.

    Args:
        pieces: of the recording, (samples,) each.
        detector: what says where speech is.
        options: where to cut.
    """
    splitter = Splitter(detector, options)
    longest = round(splitter.options.longest_seconds * SAMPLE_RATE)
    blocks: list[Tensor] = []
    length = 0
    for block in _blocks(pieces):
        length += len(block)
        blocks.append(block)
        if length > longest:
            for held in blocks:
                yield from splitter.feed(held)
            blocks.clear()
    if length > longest:
        yield from splitter.finish()
    elif blocks:
        whole = torch.cat(blocks)
        if _holds_speech(whole, splitter):
            yield Segment(0.0, whole)


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
        with av.open(f"file:{path}", mode="r") as container:
            return max(0.0, (container.duration or 0) / av.time_base)
    except (OSError, ValueError, av.FFmpegError):
        return 0.0


def _blocks(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same samples in blocks of five seconds, which the detector reads faster than small pieces."""
    size = 5 * SAMPLE_RATE
    waiting: list[Tensor] = []
    for piece in pieces:
        for part in piece.split(size):
            waiting.append(part)
            if sum(map(len, waiting)) >= size:
                yield torch.cat(waiting)
                waiting.clear()
    if waiting:
        yield torch.cat(waiting)


def _windows(seconds: float) -> int:
    """Seconds in windows."""
    return math.ceil(seconds * SAMPLE_RATE / WINDOW)
