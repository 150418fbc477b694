"""The acoustic model: lengths, padding, and CTC that learns."""

from __future__ import annotations

import pytest
import torch

from speech.decoding import collapse, greedy
from speech.features import FeatureConfig
from speech.network import SpeechConfig, SpeechNetwork, consistency_loss, ctc_loss
from speech.pronunciations import PHONES
from speech.text import BLANK, SYMBOLS, encode


def small(stride: int = 3, kernel: int = 7) -> SpeechNetwork:
    torch.manual_seed(0)
    config = SpeechConfig(
        symbols=SYMBOLS,
        phones=PHONES,
        features=FeatureConfig(mels=8),
        channels=16,
        kernel=kernel,
        stride=stride,
        hidden_size=16,
        lower_layers=1,
        upper_layers=1,
        dropout=0.0,
    )
    return SpeechNetwork(config)


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("kernel", [5, 7])
def test_steps_are_what_the_convolution_gives(stride: int, kernel: int) -> None:
    network = small(stride, kernel)
    for frames in range(1, 30):
        log_probs, steps = network(torch.zeros(1, frames, 8), torch.tensor([frames]))
        assert log_probs.shape[1] == int(steps)


def test_padding_never_reaches_a_transcript() -> None:
    network = small().eval()
    short, long = torch.randn(40, 8), torch.randn(70, 8)
    batch = torch.zeros(2, 70, 8)
    batch[0, :40], batch[1] = short, long
    together, steps = network(batch, torch.tensor([40, 70]))
    alone, own_steps = network(short[None], torch.tensor([40]))
    assert int(steps[0]) == int(own_steps)
    torch.testing.assert_close(together[0, : int(own_steps)], alone[0], atol=1e-5, rtol=1e-5)


def test_a_network_learns_two_utterances() -> None:
    network = small()
    features = torch.randn(2, 90, 8)
    lengths = torch.tensor([90, 60])
    features[1, 60:] = 0.0
    texts = ["held you", "also"]
    targets = torch.tensor([symbol for text in texts for symbol in encode(text)])
    target_lengths = torch.tensor([len(text) for text in texts])
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(250):
        log_probs, steps = network(features, lengths)
        loss = ctc_loss(log_probs, steps, targets, target_lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert greedy(*network(features, lengths)) == texts


def test_a_text_that_cannot_fit_its_steps_counts_nothing() -> None:
    network = small()
    log_probs, steps = network(torch.randn(1, 12, 8), torch.tensor([12]))
    loss = ctc_loss(log_probs, steps, torch.tensor(encode("far too long")), torch.tensor([12]))
    assert float(loss.detach()) == 0.0


def test_an_utterance_without_targets_counts_nothing() -> None:
    network = small()
    features, lengths = torch.randn(2, 60, 8), torch.tensor([60, 60])
    heard, _, steps = network.both(features, lengths)
    alone = ctc_loss(heard[:1], steps[:1], torch.tensor([4, 7]), torch.tensor([2]))
    together = ctc_loss(heard, steps, torch.tensor([4, 7]), torch.tensor([2, 0]))
    torch.testing.assert_close(together, alone)


def test_the_upper_half_sees_what_the_lower_half_heard() -> None:
    network = small()
    torch.nn.init.normal_(network.heard.weight)
    features, lengths = torch.randn(1, 60, 8), torch.tensor([60])
    _, log_probs, _ = network.both(features, lengths)
    log_probs[..., 1].sum().backward()
    gradient = network.phones.weight.grad
    assert gradient is not None and gradient.abs().max() > 0.0


def test_repeats_become_one_and_blanks_go() -> None:
    a, b = encode("a")[0], encode("b")[0]
    assert collapse([BLANK, a, a, BLANK, a, b, b]) == "aab"
    assert collapse([]) == ""
    assert collapse([*encode(" a  b "), BLANK]) == "a b"


def test_two_views_are_as_unlike_as_their_divergence_says_and_each_learns_from_the_other() -> None:
    log_probs = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    log_probs.requires_grad_()
    steps, symbols = torch.tensor([7, 5, 7, 5]), torch.tensor([3, 2, 3, 2])
    found = consistency_loss(log_probs, steps, symbols)
    divergence = sum(
        torch.nn.functional.kl_div(log_probs[a, :n], log_probs[b, :n], log_target=True, reduction="sum")
        for a, b, n in [(0, 2, 7), (2, 0, 7), (1, 3, 5), (3, 1, 5)]
    )
    assert torch.allclose(found, divergence / 10)
    found.backward()
    assert log_probs.grad is not None
    # What a view is to become is what the other hears; padding teaches nothing.
    assert torch.allclose(log_probs.grad[0], -log_probs[2].exp() / 10)
    assert (log_probs.grad[1, 5:] == 0).all()
