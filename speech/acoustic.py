"""The acoustic model at work: segments of recordings -> what the network makes of each.

Comes in: segments with their features. Goes out: emissions, which are log-probabilities (steps, symbols) with
their place in the recording.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.core.quantized import multiplies_bfloat16_faster
from speech.model.network import SpeechNetwork
from speech.model.subwords import Subwords
from speech.placing.alignment import Emissions
from speech.placing.timing import Quiet
from speech.pool import SegmentFeatures
from speech.sound.features import LogMel


class AcousticModel:
    """A network with its features and its symbols.

    Args:
        network: the network.
        device: where it runs.
        exact: whether it computes in float32 also where the processor is much faster in bfloat16.

    Attributes:
        subwords: the network's symbols.
        log_mel: samples (samples,) -> features (frames, mels).
        dtype: what the network computes in.
        step_seconds: time from one step of the network to the next.
    """

    def __init__(
        self, network: SpeechNetwork, device: str | torch.device = "cpu", exact: bool = False
    ) -> None:
        self.network = network.to(device).eval()
        self.device = torch.device(device)
        self.subwords = Subwords(network.config.symbols)
        self.log_mel = LogMel(network.config.features)
        self.step_seconds = network.config.step_seconds
        fast = not exact and multiplies_bfloat16_faster(self.device)
        self.dtype = torch.bfloat16 if fast else torch.float32

    def log_probs(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The network's answer in each step, as `answers`: subwords, and the steps of each recording."""
        return self.answers(features)[0]

    @torch.inference_mode()
    def answers(self, features: Sequence[Tensor]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """What the network answers: subwords, and what its lower stack hears below them: phones.

        In bfloat16 where the processor is much faster in it, otherwise in float32. The answer for a recording
        does not depend on those beside it, but for rounding in float32.

        Args:
            features: (frames, mels) of each recording, as `log_mel` gives them.

        Returns:
            Log-probabilities (batch, steps, symbols) and the steps of each recording (batch,); likewise
            (batch, lower steps, phones) and (batch,).
        """
        count = len(features)
        fast = self.dtype != torch.float32
        if fast and count == 1:
            features = [*features, *features]  # PyTorch rounds one alone in another order than several
        lengths = torch.tensor([len(one) for one in features])
        padded = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True)
        with torch.autocast("cpu", self.dtype, enabled=fast):
            answers = self.network.forward_with_phones(padded.to(self.device), lengths.to(self.device))
        upper, lower = ((log_probs[:count].cpu(), steps[:count].cpu()) for log_probs, steps in answers)
        return upper, lower

    def emissions(self, segments: Sequence[SegmentFeatures]) -> list[Emissions]:
        """The network's answer to each segment of a batch."""
        (log_probs, steps), (phones, lower_steps) = self.answers([one.features for one in segments])
        hop_seconds = self.network.config.features.hop_seconds
        return [
            Emissions(
                one.start_seconds,
                one.sound_seconds,
                answer[:length],
                Quiet.of(one.features, hop_seconds),
                heard[:lower_length],
            )
            for one, answer, length, heard, lower_length in zip(
                segments, log_probs, steps.tolist(), phones, lower_steps.tolist(), strict=True
            )
        ]
