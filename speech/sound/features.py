"""Sound becomes log-mel features: float32 (samples,) -> float32 (frames, mels).

The settings travel inside the model directory, so that a model always hears what it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from common.errors import InputError
from common.models.fields import check


@dataclass(frozen=True)
class FeatureConfig:
    """How sound is turned into features.

    Attributes:
        sample_rate: samples a second that the features expect.
        mels: bands of the mel filter bank.
        window_seconds: length of the analysis window.
        hop_seconds: time from one frame to the next.
        fft_size: points of the Fourier transform; the window is padded to it.
        low_hertz, high_hertz: where the filter bank begins and ends.
        range_decibels: what lies further below an utterance's loudest band is raised to this floor.
        active_decibels: frames within this range of the loudest one decide the normalisation.
    """

    sample_rate: int = 16_000
    mels: int = 80
    window_seconds: float = 0.025
    hop_seconds: float = 0.010
    fft_size: int = 512
    low_hertz: float = 20.0
    high_hertz: float = 7600.0
    range_decibels: float = 80.0
    active_decibels: float = 35.0

    def __post_init__(self) -> None:
        check(
            self,
            sample_rate=(1000, 200_000),
            mels=(1, 1024),
            window_seconds=(0.001, 1.0),
            hop_seconds=(0.001, 1.0),
            fft_size=(16, 65_536),
            low_hertz=(0.0, 100_000.0),
            high_hertz=(1.0, 100_000.0),
            range_decibels=(1.0, 1000.0),
            active_decibels=(0.0, 1000.0),
        )
        if not self.low_hertz < self.high_hertz <= self.sample_rate / 2 or self.window > self.fft_size:
            raise InputError("features", "do not fit each other: hertz, sample rate, window and FFT size")

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop_seconds * self.sample_rate)

    @property
    def window(self) -> int:
        """Samples of the analysis window."""
        return round(self.window_seconds * self.sample_rate)


class LogMel(nn.Module):
    """Log-mel features of one utterance, normalised to zero mean and unit variance a band.

    Mean and variance are taken over the active frames only: a recording with much quiet around the
    words then gives the words the same features as one that was cut close.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.spectrogram = MelSpectrogram(
            config.sample_rate,
            n_fft=config.fft_size,
            win_length=config.window,
            hop_length=config.hop,
            f_min=config.low_hertz,
            f_max=config.high_hertz,
            n_mels=config.mels,
            power=2.0,
        )

    @torch.no_grad()
    def forward(self, samples: Tensor) -> Tensor:
        """samples (samples,) -> normalised log-mel features (frames, mels), one frame a hop."""
        return self.normalize(self.decibels(samples))

    def decibels(self, samples: Tensor) -> Tensor:
        """samples (samples,) -> the log-mel picture (frames, mels) in decibels, floor at the range."""
        if samples.numel() <= self.config.fft_size:  # the transform reflects half a window at each end
            samples = nn.functional.pad(samples, (0, self.config.fft_size + 1 - samples.numel()))
        power = self.spectrogram(samples).transpose(0, 1)  # (frames, mels)
        decibels = 10.0 * power.clamp_min(1e-10).log10()
        return decibels.clamp_min(decibels.max() - self.config.range_decibels)

    def normalize(self, decibels: Tensor) -> Tensor:
        """(frames, mels) in decibels -> zero mean and unit variance a band over the active frames."""
        loudness = decibels.mean(dim=1)
        active = decibels[loudness >= loudness.max() - self.config.active_decibels]
        mean = active.mean(dim=0)
        deviation = active.std(dim=0, correction=0)
        # A band that is flat (8 kHz recordings have nothing above 4 kHz) must not be blown up to noise.
        return (decibels - mean) / deviation.clamp_min(2.0)
