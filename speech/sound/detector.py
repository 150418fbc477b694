"""Where somebody speaks: Silero's voice activity detector, on the suite's own recurrent core.

Comes in: samples at 16 kHz, as many as there are. Goes out: for each window of 32 ms the probability that it
is speech, and what is remembered for the windows to come. The weights come with the package `silero-vad`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from common.core.recurrent import RecurrentConfig, RecurrentStack, State, without_initial_weights
from common.errors import InputError
from speech.sound.audio import SAMPLE_RATE

WINDOW = 512  # samples of which the detector says whether they are speech: 32 ms


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

    @staticmethod
    def beside(samples: Tensor) -> DetectorState:
        """Where a detector starts that knows how loud the loudest window of its sound will be."""
        whole = samples[: len(samples) // WINDOW * WINDOW].view(-1, WINDOW)
        loudest = float(whole.std(dim=1, correction=0).max()) if len(whole) else 0.0
        level = max(loudest, SpeechDetector.LEAST_LEVEL)
        return DetectorState(samples.new_zeros(1, SpeechDetector.CONTEXT), level, None)


class SpeechDetector(nn.Module):
    """Silero's voice activity detector for 16 kHz, on the suite's own recurrent core.

    The package's own class takes one window a call, and importing it sets the whole process to one thread.
    Here the convolutions read many windows at once, the LSTM is the fused loop, and what the package has as
    a convolution with sines and cosines is a fast Fourier transform: a tenth of the time, and nothing but
    the weights is read.

    It hears loud speech only: of clips of one digit at a peak of 0.03 it misses seven in ten. So every
    window is brought to the level that speech has, as the features are: of 300 dev recordings in 16 bits it
    then misses none, whether their peak is at -1 or at -70 dB.
    """

    SPECTRUM = 256  # samples of which a spectrum is taken, every half of it
    CONTEXT = 64  # samples of the window before, in front of each window
    LEVEL = 0.4  # root mean square to which the loudest window so far is brought
    LEAST_LEVEL = 3e-5  # one step of 16-bit sound: what is still quieter is not raised any further
    HALF_LIFE = 10.0  # seconds after which a loud window counts half

    spectrum_window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spectrum_window", torch.hann_window(self.SPECTRUM), persistent=False)
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
            {
                name.replace("lstm_cell.", "recurrent.layers.0.0."): weights[name]
                for name in weights
                if not name.startswith("stft_conv.")
            }
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
        windows = windows - windows.mean(dim=1, keepdim=True)  # a constant offset is no sound
        # PyTorch's `std` takes ten times as long.
        levels = self._levels(windows.square().mean(dim=1).sqrt(), state.level)
        windows = windows * (self.LEVEL / torch.tensor(levels)).unsqueeze(1)
        probabilities, recurrent = self.probabilities(windows, state.recurrent)
        return probabilities, DetectorState(ends[-1:].clone(), levels[-1], recurrent)

    def probabilities(self, windows: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The network itself: windows with their context (windows, 576) -> probabilities (windows,)."""
        x = nn.functional.pad(windows, (0, self.CONTEXT), mode="reflect")
        frames = x.unfold(1, self.SPECTRUM, self.SPECTRUM // 2) * self.spectrum_window
        x = torch.fft.rfft(frames).abs().transpose(1, 2)  # (windows, 129, 4)
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = convolution(x).relu()  # in the end (windows, 128, 1)
        hidden, state = self.recurrent(x.squeeze(2).unsqueeze(0), state=state)
        logits = self.final_conv(hidden.relu().transpose(1, 2))  # (1, 1, windows)
        return logits.sigmoid().view(-1), state

    def _levels(self, loudness: Tensor, level: float) -> list[float]:
        """How loud it has been up to each window, given how loud each is, (windows,)."""
        decay = 0.5 ** (WINDOW / SAMPLE_RATE / self.HALF_LIFE)
        levels = []
        for one in loudness.tolist():
            level = max(level * decay, one, self.LEAST_LEVEL)
            levels.append(level)
        return levels
