"""The acoustic model: features (batch, frames, mels) -> log-probabilities (batch, steps, symbols).

A 1-D convolution lowers the frame rate, two bidirectional LSTM stacks read the whole utterance, and a
linear layer on each gives each step's log-probabilities for CTC (Graves et al. 2006,
doi:10.1145/1143844.1143891). The lower stack answers in phones, which sound the way they are written; the
upper one sees that answer and learns to spell (self-conditioned CTC, Nozaki and Komatsu 2021,
arXiv:2104.02724).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from common.recurrent import LockedDropout, RecurrentConfig, RecurrentStack
from common.topologies import Aligned
from speech.features import FeatureConfig


@dataclass(frozen=True)
class SpeechConfig:
    """A recogniser's shape, stored as JSON beside its weights.

    Attributes:
        features: how sound is turned into features.
        symbols: what the network can write; the first is CTC's blank.
        phones: what its lower half can hear; the first is CTC's blank. Letters where it learned without a
            pronouncing dictionary.
        channels: outputs of the convolution.
        kernel: frames that the convolution sees at once.
        stride: frames a step; three frames of 10 ms make steps of 30 ms.
        hidden_size: units of one direction of one LSTM layer.
        lower_layers, upper_layers: of the two bidirectional LSTM stacks.
        dropout: of features between layers, at all steps of an utterance, in training.
    """

    symbols: tuple[str, ...]
    phones: tuple[str, ...]
    features: FeatureConfig = field(default_factory=FeatureConfig)
    channels: int = 256
    kernel: int = 7
    stride: int = 3
    hidden_size: int = 256
    lower_layers: int = 2
    upper_layers: int = 2
    dropout: float = 0.2

    @property
    def step_seconds(self) -> float:
        """Time from one output of the network to the next."""
        return self.stride * self.features.hop_seconds


class SpeechNetwork(nn.Module):
    """Convolutional subsampling and two bidirectional LSTM stacks, each with its answer."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.config = config
        self.subsample = nn.Conv1d(
            config.features.mels,
            config.channels,
            config.kernel,
            stride=config.stride,
            padding=config.kernel // 2,
        )
        self.norm = nn.LayerNorm(config.channels)
        self.dropout = LockedDropout(config.dropout)
        self.lower = RecurrentStack(self._stack(config.channels, config.lower_layers))
        width = self.lower.output_size
        self.phones = nn.Linear(width, len(config.phones))
        self.heard = nn.Linear(len(config.phones), width, bias=False)
        self.between = nn.LayerNorm(width)
        self.upper = Aligned(self._stack(width, config.upper_layers), outputs=len(config.symbols))
        nn.init.zeros_(self.heard.weight)  # what is heard in the beginning should not be listened to

    def _stack(self, input_size: int, layers: int) -> RecurrentConfig:
        return RecurrentConfig(
            input_size=input_size,
            hidden_size=self.config.hidden_size,
            cell="lstm",
            layers=layers,
            bidirectional=True,
            dropout=self.config.dropout,
            normalization="layer",
        )

    def steps(self, lengths: Tensor) -> Tensor:
        """Frames of each utterance (batch,) -> steps of the output that are its own (batch,)."""
        return (lengths + 2 * (self.config.kernel // 2) - self.config.kernel) // self.config.stride + 1

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read a batch of utterances.

        Args:
            features: (batch, frames, mels); what stands on padding must be zero, because the
                convolution sees over an utterance's end.
            lengths: (batch,) frames of each utterance.

        Returns:
            Log-probabilities (batch, steps, symbols), meaningless on padding, and the steps (batch,).
        """
        _, log_probs, steps = self.both(features, lengths)
        return log_probs, steps

    def both(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward`, with the lower answer before it: (batch, steps, phones), (batch, steps, symbols)."""
        x = self.subsample(features.transpose(1, 2)).transpose(1, 2)  # (batch, steps, channels)
        x = self.dropout(nn.functional.relu(self.norm(x)))
        steps = self.steps(lengths)
        hidden, _ = self.lower(x, steps, remember=False)  # (batch, steps, 2 * hidden)
        phones = self.phones(hidden).float().log_softmax(dim=-1)
        x = self.dropout(self.between(hidden) + self.heard(phones.exp()))
        logits, _ = self.upper(x, steps, remember=False)
        return phones, logits.float().log_softmax(dim=-1), steps


def ctc_loss(log_probs: Tensor, steps: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """CTC's negative log-likelihood, averaged over the batch, in nats a target symbol.

    An utterance whose text is too long for its steps counts nothing instead of infinity, and so does one
    that has no targets.

    Args:
        log_probs: (batch, steps, symbols), blank first.
        steps: (batch,) steps of each utterance.
        targets: (sum of target lengths,) symbols of all utterances, one after another.
        target_lengths: (batch,).
    """
    losses = nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, steps, target_lengths, reduction="none", zero_infinity=True
    )
    losses = losses.masked_fill(target_lengths == 0, 0.0)
    return losses.sum() / target_lengths.sum().clamp_min(1)


def consistency_loss(log_probs: Tensor, steps: Tensor, target_lengths: Tensor) -> Tensor:
    """How unlike the answers to two views of each utterance are, in nats a target symbol.

    Each view learns from what is heard in the other (consistency-regularized CTC, Yao et al. 2025,
    arXiv:2410.05101): what is blotted out in one is heard in the other. And it makes a network less sure of
    itself that is surer than right.

    Args:
        log_probs: (2 * utterances, steps, symbols): one view of all, then the other.
        steps: (2 * utterances,) steps of each.
        target_lengths: (2 * utterances,).

    Returns:
        The mean over both directions of the divergence from what the other view hears.
    """
    one, other = log_probs.chunk(2)
    own = torch.arange(log_probs.shape[1], device=steps.device) < steps.chunk(2)[0][:, None]
    both = one.detach().exp() * (one.detach() - other) + other.detach().exp() * (other.detach() - one)
    return (both.sum(dim=-1) * own).sum() / target_lengths.sum().clamp_min(1)
