"""The acoustic model: features (batch, frames, mels) -> log-probabilities (batch, steps, symbols).

A 1-D convolution lowers the frame rate, a bidirectional LSTM stack reads the whole utterance, and a
linear layer gives each step's log-probabilities for CTC (Graves et al. 2006,
doi:10.1145/1143844.1143891).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from common.recurrent import RecurrentConfig
from common.topologies import Aligned
from speech.features import FeatureConfig


@dataclass(frozen=True)
class SpeechConfig:
    """A recogniser's shape, stored as JSON beside its weights.

    Attributes:
        features: how sound is turned into features.
        symbols: what the network can write; the first is CTC's blank.
        channels: outputs of the convolution.
        kernel: frames that the convolution sees at once.
        stride: frames a step; three frames of 10 ms make steps of 30 ms.
        hidden_size, layers: of the bidirectional LSTM stack.
        dropout: between layers, in training.
    """

    symbols: tuple[str, ...]
    features: FeatureConfig = field(default_factory=FeatureConfig)
    channels: int = 256
    kernel: int = 7
    stride: int = 3
    hidden_size: int = 256
    layers: int = 4
    dropout: float = 0.2

    @property
    def step_seconds(self) -> float:
        """Time from one output of the network to the next."""
        return self.stride * self.features.hop_seconds


class SpeechNetwork(nn.Module):
    """Convolutional subsampling, a bidirectional LSTM stack and a linear layer."""

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
        self.dropout = nn.Dropout(config.dropout)
        self.aligned = Aligned(
            RecurrentConfig(
                input_size=config.channels,
                hidden_size=config.hidden_size,
                cell="lstm",
                layers=config.layers,
                bidirectional=True,
                dropout=config.dropout,
                normalization="layer",
            ),
            outputs=len(config.symbols),
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
        x = self.subsample(features.transpose(1, 2)).transpose(1, 2)  # (batch, steps, channels)
        x = self.dropout(nn.functional.relu(self.norm(x)))
        steps = self.steps(lengths)
        logits, _ = self.aligned(x, steps)
        return logits.float().log_softmax(dim=-1), steps


def ctc_loss(log_probs: Tensor, steps: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """CTC's negative log-likelihood, averaged over the batch, in nats a target symbol.

    An utterance whose text is too long for its steps counts nothing instead of infinity.

    Args:
        log_probs: (batch, steps, symbols), blank first.
        steps: (batch,) steps of each utterance.
        targets: (sum of target lengths,) symbols of all utterances, one after another.
        target_lengths: (batch,).
    """
    losses = nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, steps, target_lengths, reduction="none", zero_infinity=True
    )
    return losses.sum() / target_lengths.sum().clamp_min(1)
