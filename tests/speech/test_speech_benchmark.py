"""The benchmark counts what the network does, and times everybody on the same sound."""

from __future__ import annotations

import pytest
import torch
from networks import tiny_network
from torch.utils.flop_counter import FlopCounterMode

from common.benchmark import multiplication_speed
from speech.benchmark import compare, joined, operations_per_second
from speech.model.network import SpeechNetwork
from speech.model.subwords import LETTER_SYMBOLS
from speech.options import DecodingOptions
from speech.recognizer import Recognizer
from speech.training.pronunciations import PHONES


def tiny() -> SpeechNetwork:
    return tiny_network().eval()


def test_the_operations_are_those_of_every_matrix_once_a_step() -> None:
    network = tiny()
    config = network.config
    mels, channels, hidden = config.features.mels, config.channels, config.hidden_size
    convolution = config.kernel * mels * channels
    lower = 2 * 4 * hidden * (channels + hidden)
    lower_head = 2 * hidden * 2 * len(PHONES)
    upper = 2 * 4 * hidden * (2 * 2 * hidden + hidden)
    upper_head = 2 * hidden * len(LETTER_SYMBOLS)
    expected = 2 * ((convolution + lower + lower_head) / 0.04 + (upper + upper_head) / 0.08)
    assert operations_per_second(network) == pytest.approx(expected)


def test_the_convolution_and_the_heads_agree_with_pytorchs_own_count() -> None:
    network = tiny()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 300, network.config.features.mels), torch.tensor([300]))
    counts = {str(name): count for name, count in counter.get_flop_counts()["Global"].items()}
    config = network.config
    assert counts["aten.convolution"] == 2 * 75 * config.kernel * config.features.mels * config.channels


def test_everybody_hears_the_same_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []

    class Peer(torch.nn.Module):
        def forward(self, samples: torch.Tensor) -> torch.Tensor:
            heard.append(samples.shape[1])
            return samples

    monkeypatch.setattr("torchaudio.models.wav2vec2_base", lambda **_: Peer())
    recordings = [torch.randn(16_000), torch.randn(8_000)]
    costs = compare(Recognizer(tiny(), "tiny"), recordings, DecodingOptions(), batch_size=2, repeats=1)
    assert all(cost.audio_seconds == 1.5 for cost in costs)
    assert all(cost.seconds > 0.0 for cost in costs)
    assert heard == [8_000, 16_000] * 2
    assert all(multiplication_speed(dtype, 1, 64) > 1e6 for dtype in (torch.float32, torch.bfloat16))


def test_recordings_are_joined_to_one_of_the_wanted_length() -> None:
    one, other = torch.full((16_000,), 1.0), torch.full((8_000,), 2.0)
    assert torch.equal(joined([one, other], 1.75), torch.cat([one, other, one[:4_000]]))
