"""The acoustic model: lengths, padding, and CTC that learns."""

from __future__ import annotations

import pytest
import torch

from common.errors import InputError
from speech.model.network import SpeechConfig, SpeechNetwork, consistency_loss, ctc_loss
from speech.model.subwords import BLANK, LETTER_SYMBOLS, Subwords
from speech.search.decoding import collapse, greedy
from speech.sound.features import FeatureConfig
from speech.training.pronunciations import PHONES
from speech.training.train import take_over

LETTERS = Subwords(LETTER_SYMBOLS)


def small(stride: int = 3, kernel: int = 7, join: int = 2) -> SpeechNetwork:
    torch.manual_seed(0)
    config = SpeechConfig(
        symbols=LETTER_SYMBOLS,
        phones=PHONES,
        features=FeatureConfig(mels=8),
        channels=16,
        kernel=kernel,
        stride=stride,
        join=join,
        hidden_size=16,
        lower_layers=1,
        upper_layers=1,
        dropout=0.0,
    )
    return SpeechNetwork(config)


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("kernel", [5, 7])
@pytest.mark.parametrize("join", [1, 2, 3])
def test_steps_are_what_the_network_gives(stride: int, kernel: int, join: int) -> None:
    network = small(stride, kernel, join)
    for frames in range(1, 30):
        upper, lower = network.forward_with_phones(torch.zeros(1, frames, 8), torch.tensor([frames]))
        for log_probs, steps in (upper, lower):
            assert log_probs.shape[1] == int(steps)


@pytest.mark.parametrize("frequencies", [(1.0,), (-0.5,) * len(LETTER_SYMBOLS), (2.0,) * len(LETTER_SYMBOLS)])
def test_frequencies_are_shares_of_its_symbols(frequencies: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="frequencies"):
        SpeechConfig(LETTER_SYMBOLS, PHONES, frequencies=frequencies)


def test_padding_never_reaches_a_transcript() -> None:
    network = small().eval()
    short, long = torch.randn(37, 8), torch.randn(70, 8)  # an odd number of steps is joined in the short one
    batch = torch.zeros(2, 70, 8)
    batch[0, :37], batch[1] = short, long
    together, steps = network(batch, torch.tensor([37, 70]))
    alone, own_steps = network(short[None], torch.tensor([37]))
    assert int(steps[0]) == int(own_steps)
    torch.testing.assert_close(together[0, : int(own_steps)], alone[0], atol=1e-5, rtol=1e-5)


def test_a_network_learns_two_utterances() -> None:
    network = small()
    features = torch.randn(2, 120, 8)
    lengths = torch.tensor([120, 80])
    features[1, 80:] = 0.0
    texts = ["held you", "also"]
    targets = torch.tensor([symbol for text in texts for symbol in LETTERS.encode(text)])
    target_lengths = torch.tensor([len(LETTERS.encode(text)) for text in texts])
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(250):
        log_probs, steps = network(features, lengths)
        loss = ctc_loss(log_probs, steps, targets, target_lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    log_probs, steps = network(features, lengths)
    assert greedy(log_probs, steps, LETTERS) == texts


def test_a_text_that_cannot_fit_its_steps_counts_nothing() -> None:
    network = small()
    log_probs, steps = network(torch.randn(1, 12, 8), torch.tensor([12]))
    loss = ctc_loss(log_probs, steps, torch.tensor(LETTERS.encode("far too long")), torch.tensor([10]))
    assert float(loss.detach()) == 0.0


def test_an_utterance_without_targets_counts_nothing() -> None:
    network = small()
    features, lengths = torch.randn(2, 60, 8), torch.tensor([60, 60])
    _, (phones, steps) = network.forward_with_phones(features, lengths)
    alone = ctc_loss(phones[:1], steps[:1], torch.tensor([4, 7]), torch.tensor([2]))
    together = ctc_loss(phones, steps, torch.tensor([4, 7]), torch.tensor([2, 0]))
    torch.testing.assert_close(together, alone)


def test_the_upper_stack_sees_what_the_lower_one_answers() -> None:
    network = small()
    torch.nn.init.normal_(network.heard.weight)
    features, lengths = torch.randn(1, 60, 8), torch.tensor([60])
    log_probs, _ = network(features, lengths)
    log_probs[..., 1].sum().backward()
    gradient = network.phones.weight.grad
    assert gradient is not None and gradient.abs().max() > 0.0


def test_repeats_become_one_and_blanks_go() -> None:
    assert collapse([BLANK, 3, 3, BLANK, 3, 4, 4]) == [3, 3, 4]
    assert collapse([]) == []


def test_two_views_are_as_unlike_as_their_divergence_says_and_each_learns_from_the_other() -> None:
    log_probs = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    log_probs.requires_grad_()
    steps, symbols = torch.tensor([7, 5, 7, 5]), torch.tensor([3, 2, 3, 2])
    found = consistency_loss(log_probs, steps, symbols)
    divergences = [
        torch.nn.functional.kl_div(log_probs[a, :n], log_probs[b, :n], log_target=True, reduction="sum")
        for a, b, n in [(0, 2, 7), (2, 0, 7), (1, 3, 5), (3, 1, 5)]
    ]
    assert torch.allclose(found, torch.stack(divergences).sum() / 10)
    found.backward()
    assert log_probs.grad is not None
    # What a view is to become is what the other hears; padding teaches nothing.
    assert torch.allclose(log_probs.grad[0], -log_probs[2].exp() / 10)
    assert (log_probs.grad[1, 5:] == 0).all()


def test_a_network_begins_with_what_fits_of_another() -> None:
    old, new = small(join=1), small(join=2)
    before = {name: weight.clone() for name, weight in new.state_dict().items()}
    weights = old.state_dict() | {"phones.bias": torch.ones(len(PHONES) + 1)}  # another number of phones
    taken, drawn = take_over(new, weights)
    assert taken + drawn == sum(parameter.numel() for parameter in new.parameters())
    assert drawn == len(PHONES)
    torch.testing.assert_close(new.phones.bias, before["phones.bias"])
    torch.testing.assert_close(new.phones.weight, old.phones.weight)
    # It begins by reading the mean of the steps that it joins.
    x = torch.randn(3, 32)
    name = "upper.stack.layers.0.0.weight_ih"
    read = dict(new.named_parameters())[name]
    torch.testing.assert_close(x.repeat(1, 2) @ read.T, x @ dict(old.named_parameters())[name].T)
