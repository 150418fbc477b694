"""What is believed to be seen: the likeliest classes' words, looked at and said like any other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from networks import tiny_caption_config
from torch import Tensor, nn

from caption.model.concepts import Beliefs, Concepts, distilled
from caption.model.network import CaptionConfig, CaptionNetwork, Decoder
from caption.model.text import END, SPECIAL, START
from caption.training.batches import pad_captions
from caption.training.losses import caption_loss
from caption.training.train import take_over
from common.models.files import write_model

WORDS = (*SPECIAL, "<shop>", "a", "dog", "cat", "runs", "red")
DOG, CAT, RED = (WORDS.index(word) for word in ("dog", "cat", "red"))
CLASSES = ("dog", "cat, red dog", "", "zebra", "cat")
CHANNELS = 6


def config(**changes: object) -> CaptionConfig:
    settings = {"kinds": ("shop",), "classes": CLASSES, "beliefs": 2, "dropout": 0.0}
    return tiny_caption_config(WORDS, **{**settings, **changes})


def decoder() -> Decoder:
    torch.manual_seed(1)
    return Decoder(config(), CHANNELS).eval()


def certain(concepts: Concepts, probabilities: list[float]) -> None:
    """Let the classifier say the same of every picture."""
    with torch.no_grad():
        concepts.classifier.weight.zero_()
        concepts.classifier.bias.copy_(torch.tensor(probabilities).log())


def grids(pictures: int = 2) -> Tensor:
    return torch.randn(pictures, 49, CHANNELS, generator=torch.Generator().manual_seed(2))


def test_a_word_is_believed_as_much_as_all_its_classes_together() -> None:
    concepts = Concepts(WORDS, CLASSES, 3, CHANNELS)
    certain(concepts, [0.1, 0.3, 0.05, 0.05, 0.5])
    beliefs = concepts(grids())
    expected = sorted({CAT: 0.8, DOG: 0.4, RED: 0.3}.items())  # in the order of the symbols
    assert beliefs.symbols.tolist() == [[symbol for symbol, _ in expected]] * 2
    torch.testing.assert_close(beliefs.log_probs[0].exp(), torch.tensor([value for _, value in expected]))
    ((name, belief),) = concepts.name(grids(1))
    assert name == "cat" and belief == pytest.approx(0.8)


def test_words_that_are_not_in_the_vocabulary_are_never_believed() -> None:
    concepts = Concepts(WORDS, ("zebra", "zebra dog"), 5, CHANNELS)
    assert concepts(grids()).symbols.tolist() == [[DOG], [DOG]]


def test_a_believed_word_can_be_said_outright() -> None:
    speaker = decoder()
    optimizer = torch.optim.Adam(
        [value for name, value in speaker.named_parameters() if "copy" in name], 0.05
    )
    beliefs = Beliefs(torch.tensor([[CAT, RED], [DOG, RED]]), torch.tensor([[0.0, -7.0], [0.0, -7.0]]))
    inputs, targets, lengths = pad_captions([[CAT], [DOG]])
    for _ in range(60):
        loss = caption_loss(speaker(speaker.imagine(beliefs), inputs), targets, lengths, smoothing=0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    log_probs, _ = speaker.step(torch.tensor([START, START]), speaker.begin(speaker.imagine(beliefs)))
    assert log_probs.argmax(dim=-1).tolist() == [CAT, DOG]


def test_start_symbols_of_kinds_never_follow() -> None:
    speaker = decoder()
    with torch.no_grad():
        speaker.output_bias[WORDS.index("<shop>")] = 100.0
    log_probs, _ = speaker.step(torch.tensor([START, START]), speaker.begin(speaker.look(grids())))
    assert bool((log_probs[:, WORDS.index("<shop>")] == -torch.inf).all())
    assert bool((log_probs[:, END] > -torch.inf).all())


def test_attention_over_the_grid_leaves_out_what_is_believed() -> None:
    speaker = decoder()
    _, state = speaker.step(torch.tensor([START, START]), speaker.begin(speaker.look(grids())))
    over = speaker.grid_attention(state.attention)
    assert state.attention.shape == (2, 51) and over.shape == (2, 49)
    torch.testing.assert_close(over.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(over[:, 1] / over[:, 0], state.attention[:, 1] / state.attention[:, 0])


def test_drift_is_least_where_the_classes_stand_as_before() -> None:
    before = torch.tensor([[2.0, 0.0, -1.0]])
    entropy = nn.functional.cross_entropy(before, before.softmax(dim=-1))
    assert float(distilled(before, before)) == pytest.approx(float(entropy))
    assert float(distilled(before.flip(1), before)) > float(entropy) + 0.5


def test_a_new_decoder_takes_over_the_words_that_it_shares(tmp_path: Path) -> None:
    torch.manual_seed(3)
    old_words = (*SPECIAL, "cat", "a", "ship")
    old_config = dataclasses.replace(config(), words=old_words, kinds=(), classes=())
    old = CaptionNetwork(old_config)
    write_model(tmp_path / "old", dataclasses.asdict(old_config), old.state_dict(), "# Old\n")
    new = Decoder(config(), old.encoder.channels)
    red = new.embedding.weight[RED].clone()
    take_over(new, tmp_path / "old")
    torch.testing.assert_close(
        new.embedding.weight[CAT], old.decoder.embedding.weight[3], rtol=1e-3, atol=1e-4
    )
    assert torch.equal(new.embedding.weight[RED], red)
    torch.testing.assert_close(new.to_value.weight, old.decoder.to_value.weight, rtol=1e-3, atol=1e-4)
