"""Training features are varied: other throats, rooms and noises, and parts that are blotted out.

All of it works on cached features (frames, mels), so that an epoch needs no sound, and draws from a NumPy
generator, so that a resumed run draws what it would have drawn. torchaudio's masks draw from PyTorch's global
one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.sound.features import FeatureConfig

Features = NDArray[np.float32]

# Normalised features have lost their decibels; a band of speech deviates by about so many.
_DECIBELS = 12.0
# Nepers of power in one unit of a normalised feature.
_NEPERS = _DECIBELS * math.log(10.0) / 10.0


@dataclass(frozen=True)
class Augmentation:
    """How training features are varied; zeros leave them as they are.

    Attributes:
        frequency_masks, frequency_width: how many bands of up to how many mels are blotted out.
        masked, mask_frames: which share of the utterance is blotted out in time, about, in stretches of up
            to how many frames, each of a tenth of it at most.
        quiet_share, quiet_frames: how often and by up to how many frames the quiet at either end is
            lengthened: training clips were cut close to the words, people's recordings are not.
        tempo: by up to which share an utterance is spoken faster or slower.
        warp: by up to which share frequencies are stretched or squeezed, as by another vocal tract.
        echo_share: how often a room's echo is laid over the utterance.
        noise_share: how often steady noise is laid over it.
    """

    frequency_masks: int = 2
    frequency_width: int = 15
    masked: float = 0.03
    mask_frames: int = 25
    quiet_share: float = 0.2
    quiet_frames: int = 80
    tempo: float = 0.12
    warp: float = 0.12
    echo_share: float = 0.2
    noise_share: float = 0.3


NO_AUGMENTATION = Augmentation(0, 0, 0.0, 1, 0.0, 0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Pace:
    """How long an utterance lasts as it is heard; it is drawn first, so that a batch holds like lengths.

    Attributes:
        tempo: how many times as fast it is spoken.
        before, behind: frames of quiet that are added at its ends.
    """

    tempo: float = 1.0
    before: int = 0
    behind: int = 0

    def frames(self, frames: int) -> int:
        """How many frames so many become."""
        return self.before + _faster(frames, self.tempo) + self.behind


def draw_pace(augmentation: Augmentation, generator: np.random.Generator) -> Pace:
    """Draw how long one utterance lasts."""
    tempo = 1.0 + augmentation.tempo * generator.uniform(-1.0, 1.0)
    longer = generator.random(2) < augmentation.quiet_share
    before, behind = np.where(longer, generator.integers(augmentation.quiet_frames + 1, size=2), 0).tolist()
    return Pace(tempo, before, behind)


def views(
    features: Features,
    config: FeatureConfig,
    augmentation: Augmentation,
    pace: Pace,
    generator: np.random.Generator,
    count: int,
) -> list[Features]:
    """Vary one utterance's features (frames, mels) several times over; they are left as they are.

    All views have the pace's frames: a step is the same moment in each.
    """
    if pace.tempo != 1.0:
        features = at_tempo(features, pace.tempo)
    features = _with_quiet(features, pace)
    return [_view(features, config, augmentation, generator) for _ in range(count)]


def _view(
    features: Features, config: FeatureConfig, augmentation: Augmentation, generator: np.random.Generator
) -> Features:
    """Vary what is heard in each frame, and leave the frames where they are."""
    if augmentation.warp:
        features = warped(features, 1.0 + augmentation.warp * generator.uniform(-1.0, 1.0), config)
    echoes = generator.random() < augmentation.echo_share
    noisy = generator.random() < augmentation.noise_share
    if echoes:
        features = _with_echo(features, config, generator)
    if noisy:
        features = _with_noise(features, generator)
    if echoes or noisy:
        features = _normalized(features, config)
    return _with_masks(features.copy(), augmentation, generator)


def at_tempo(features: Features, tempo: float) -> Features:
    """Speak `tempo` times as fast, at the same pitch: (frames, mels) -> (frames / tempo, mels).

    Each frame is a mixture of the two that are nearest in time.
    """
    frames = len(features)
    times = np.linspace(0.0, frames - 1, _faster(frames, tempo))
    before = np.minimum(times.astype(np.int64), max(0, frames - 2))
    share = (times - before).astype(np.float32)[:, None]
    mixed: Features = (1.0 - share) * features[before] + share * features[np.minimum(before + 1, frames - 1)]
    return mixed


def _faster(frames: int, tempo: float) -> int:
    """Frames of so many that are spoken `tempo` times as fast."""
    return max(1, round(frames / tempo))


def warped(features: Features, ratio: float, config: FeatureConfig) -> Features:
    """Move every frequency to `ratio` times its height: vocal tract length perturbation.

    Jaitly and Hinton 2013, "Vocal Tract Length Perturbation (VTLP) improves speech recognition", ICML
    workshop on deep learning for audio, speech and language processing. Done between bands of features
    (frames, mels) instead of filters; what would come from beyond the last band repeats it.
    """
    low, high = _mel(config.low_hertz), _mel(config.high_hertz)
    spacing = (high - low) / (config.mels + 1)
    centres = low + spacing * np.arange(1, config.mels + 1)
    hertz = 700.0 * (np.power(10.0, centres / 2595.0) - 1.0)
    sources = np.clip((_mel(hertz / ratio) - centres[0]) / spacing, 0.0, config.mels - 1)
    below = np.minimum(sources.astype(np.int64), config.mels - 2)
    share = (sources - below).astype(np.float32)
    mixed: Features = (1.0 - share) * features[:, below] + share * features[:, below + 1]
    return mixed


def _mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Hertz -> mels, by the formula that the filter bank uses."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))


def _with_quiet(features: Features, pace: Pace) -> Features:
    """More of the quiet at the utterance's ends."""
    return np.concatenate([_quiet(features[:12], pace.before), features, _quiet(features[-12:], pace.behind)])


def _quiet(edge: Features, frames: int) -> Features:
    """So many frames like those of an edge, forwards and backwards in turn: no seam is heard."""
    rocking = np.concatenate([edge, edge[::-1]])
    return rocking[np.arange(frames) % len(rocking)]


def _with_echo(features: Features, config: FeatureConfig, generator: np.random.Generator) -> Features:
    """A room's echo: each frame's power dies away over the frames after it, 60 dB in 0.2 to 0.8 s."""
    decay = 10.0 ** (-6.0 * config.hop_seconds / generator.uniform(0.2, 0.8))
    echo_to_direct = 10.0 ** (generator.uniform(-12.0, 0.0) / 10.0)
    power = np.exp(_NEPERS * features)
    tail = np.zeros_like(power[0])
    for frame in power:
        direct = frame.copy()
        frame += echo_to_direct * (1.0 - decay) * tail
        tail = decay * (tail + direct)
    heard: Features = np.log(power) / _NEPERS
    return heard


def _with_noise(features: Features, generator: np.random.Generator) -> Features:
    """Steady noise of some colour, from 30 dB below the average speech to 3 dB above it."""
    frames, mels = features.shape
    level = generator.uniform(-30.0, 3.0) / _DECIBELS
    colour = generator.uniform(-0.6, 0.6) * np.linspace(-1.0, 1.0, mels, dtype=np.float32)
    flicker = 0.35 * generator.standard_normal((frames, mels), dtype=np.float32)
    heard: Features = np.logaddexp(_NEPERS * features, _NEPERS * (level + colour + flicker)) / _NEPERS
    return heard


def _normalized(features: Features, config: FeatureConfig) -> Features:
    """Zero mean and unit variance over the active frames again, as `LogMel.normalize` makes them."""
    loudness = features.mean(axis=1)
    active = features[loudness >= loudness.max() - config.active_decibels / _DECIBELS]
    deviation = np.maximum(active.std(axis=0), 2.0 / _DECIBELS)
    normalized: Features = (features - active.mean(axis=0)) / deviation
    return normalized


def _with_masks(features: Features, augmentation: Augmentation, generator: np.random.Generator) -> Features:
    """SpecAugment (Park et al. 2019, arXiv:1904.08779), in place: zero is the mean of features."""
    frames, mels = features.shape
    for _ in range(augmentation.frequency_masks):
        width = int(generator.integers(augmentation.frequency_width + 1))
        start = int(generator.integers(mels - width + 1))
        features[:, start : start + width] = 0.0
    widest = min(augmentation.mask_frames, frames // 10)
    for _ in range(generator.poisson(2.0 * augmentation.masked * frames / augmentation.mask_frames)):
        width = int(generator.integers(widest + 1))
        start = int(generator.integers(frames - width + 1))
        features[start : start + width] = 0.0
    return features
