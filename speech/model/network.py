"""The acoustic model: features (batch, frames, mels) -> log-probabilities (batch, steps, symbols).

A pyramid (Chan et al. 2016, arXiv:1508.01211): a 1-D convolution lowers the frame rate, a bidirectional LSTM
stack reads the whole utterance, neighbouring steps are joined, and a second stack reads those. A linear layer
on each stack gives log-probabilities for CTC (Graves et al. 2006, doi:10.1145/1143844.1143891). The lower
stack answers in phones, which sound the way they are written; the upper one sees that answer and writes
subwords, which need fewer steps (self-conditioned CTC, Nozaki and Komatsu 2021, arXiv:2104.02724).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.core.recurrent import LockedDropout, RecurrentConfig, RecurrentStack
from common.core.topologies import Aligned
from common.errors import InputError
from common.models.building import fitting_network, require_sizes
from common.models.fields import check, dataclass_from
from speech.sound.features import FeatureConfig


@dataclass(frozen=True)
class SpeechConfig:
    """A recogniser's shape, stored as JSON beside its weights.

    Attributes:
        features: how sound is turned into features.
        symbols: what the network can write, as `speech.model.subwords` describes; the first is CTC's blank.
        phones: what its lower stack can hear; the first is CTC's blank. Letters where it learned without a
            pronouncing dictionary.
        channels: outputs of the convolution.
        kernel: frames that the convolution sees at once.
        stride: frames a step of the lower stack; four frames of 10 ms make steps of 40 ms.
        join: steps of the lower stack that are one step of the upper; two of 40 ms make 80 ms.
        hidden_size: units of one direction of one LSTM layer.
        lower_layers, upper_layers: of the two bidirectional LSTM stacks.
        dropout: of features between layers, at all steps of an utterance, in training.
        frequencies: how often each symbol stands in the texts that it learned from, as a share of all of
            them; that of the blank is not known and 0. None at all where nothing was counted.
    """

    symbols: tuple[str, ...]
    phones: tuple[str, ...]
    features: FeatureConfig = field(default_factory=FeatureConfig)
    channels: int = 256
    kernel: int = 7
    stride: int = 4
    join: int = 2
    hidden_size: int = 256
    lower_layers: int = 2
    upper_layers: int = 3
    dropout: float = 0.1
    frequencies: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check(
            self,
            channels=(1, 16_384),
            kernel=(1, 1023),
            stride=(1, 16),
            join=(1, 16),
            hidden_size=(1, 16_384),
            lower_layers=(1, 64),
            upper_layers=(1, 64),
            dropout=(0.0, 0.99),
        )
        if len(self.frequencies) not in (0, len(self.symbols)):
            raise InputError("frequencies", f"are {len(self.frequencies)} for {len(self.symbols)} symbols")
        if not all(0.0 <= frequency <= 1.0 for frequency in self.frequencies):
            raise InputError("frequencies", "must lie between 0 and 1")

    @property
    def step_seconds(self) -> float:
        """Time from one output of the network to the next."""
        return self.stride * self.join * self.features.hop_seconds


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
        self.upper = Aligned(
            self._stack(width * config.join, config.upper_layers), outputs=len(config.symbols)
        )
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

    def lower_steps(self, lengths: Tensor) -> Tensor:
        """Frames of each utterance (batch,) -> steps of the lower stack that are its own (batch,)."""
        return (lengths + 2 * (self.config.kernel // 2) - self.config.kernel) // self.config.stride + 1

    def steps(self, lengths: Tensor) -> Tensor:
        """Frames of each utterance (batch,) -> steps of the output that are its own (batch,)."""
        # ONNX would round the quotient of a negative number up.
        return (self.lower_steps(lengths) + self.config.join - 1) // self.config.join

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read a batch of utterances.

        Args:
            features: (batch, frames, mels); what stands on padding must be zero, because the
                convolution sees over an utterance's end.
            lengths: (batch,) frames of each utterance.

        Returns:
            Log-probabilities (batch, steps, symbols), meaningless on padding, and the steps (batch,).
        """
        upper, _ = self.forward_with_phones(features, lengths)
        return upper

    def forward_with_phones(
        self, features: Tensor, lengths: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """As `forward`, and the same of the lower stack.

        Returns:
            Log-probabilities (batch, steps, symbols) and steps (batch,); log-probabilities (batch, lower
            steps, phones) and lower steps (batch,).
        """
        x = self.subsample(features.transpose(1, 2)).transpose(1, 2)  # (batch, lower steps, channels)
        x = self.dropout(nn.functional.relu(self.norm(x)))
        lower_steps, steps = self.lower_steps(lengths), self.steps(lengths)
        hidden, _ = self.lower(x, lower_steps, return_state=False)  # (batch, lower steps, 2 * hidden)
        phones = self.phones(hidden).float().log_softmax(dim=-1)
        x = self.dropout(self.between(hidden) + self.heard(phones.exp()))
        logits, _ = self.upper(self._joined(x, lower_steps), steps, return_state=False)
        return (logits.float().log_softmax(dim=-1), steps), (phones, lower_steps)

    def _joined(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Neighbouring steps side by side: (batch, steps, width) -> (batch, steps / join, join * width).

        What lies behind an utterance's own steps is zero: its last step never depends on those beside it.
        """
        own = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        x = x.masked_fill(~own.unsqueeze(-1), 0.0)
        missing = -x.shape[1] % self.config.join
        return nn.functional.pad(x, (0, 0, 0, missing)).unflatten(1, (-1, self.config.join)).flatten(2)


def config_from_model(
    stored: Mapping[str, Any], weights: Mapping[str, Tensor], directory: Path
) -> SpeechConfig:
    """The configuration of a model directory, as `read_model` gives both.

    Args:
        stored: the configuration.
        weights: of the network.
        directory: where they come from, for the error.

    Raises:
        InputError: if it is a model of another kind, or asks for more than its weights have.
    """
    require_sizes(stored, weights, directory, "a speech model")
    try:
        return dataclass_from(SpeechConfig, dict(stored))
    except (ValueError, InputError) as error:
        raise InputError(directory, f"is not a speech model: {error}") from error


def network_from_model(
    stored: Mapping[str, Any], weights: Mapping[str, Tensor], directory: Path
) -> SpeechNetwork:
    """The network of a model directory; arguments and errors are those of `config_from_model`."""
    config = config_from_model(stored, weights, directory)
    return fitting_network(lambda: SpeechNetwork(config), weights, directory, "a speech model")


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
