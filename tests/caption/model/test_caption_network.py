"""The decoder: what it learned word by word is what it says, each caption from its own past."""

from __future__ import annotations

import pytest
import torch
from networks import tiny_caption_config
from torch import Tensor, nn

from caption.captioner import search
from caption.model.network import Decoder
from caption.model.text import END, SPECIAL, START, UNKNOWN
from caption.options import DescribeOptions
from caption.training.batches import pad_captions
from caption.training.losses import caption_loss

WORDS = (*SPECIAL, "a", "dog", "cat", "runs", "sleeps", "red")
CHANNELS, POSITIONS = 6, 49
attention_or_not = pytest.mark.parametrize("attention", [True, False])
believing_or_not = pytest.mark.parametrize("believes", [True, False])


def tiny_decoder(attention: bool = True, dropout: float = 0.0, believes: bool = False) -> Decoder:
    torch.manual_seed(1)
    classes = ("dog", "cat, red", "", "cat") if believes else ()
    config = tiny_caption_config(WORDS, attention=attention, dropout=dropout, classes=classes, beliefs=2)
    return Decoder(config, CHANNELS)


def grids(pictures: int, seed: int = 2) -> Tensor:
    return torch.randn(pictures, POSITIONS, CHANNELS, generator=torch.Generator().manual_seed(seed))


def symbols(captions: int, steps: int = 5) -> Tensor:
    drawn = torch.randint(3, len(WORDS), (captions, steps), generator=torch.Generator().manual_seed(3))
    drawn[:, 0] = START
    return drawn


def without_forbidden(logits: Tensor) -> Tensor:
    """Log-probabilities among the symbols that may follow."""
    allowed = [symbol for symbol in range(len(WORDS)) if symbol not in (START, UNKNOWN)]
    result = torch.full_like(logits, -torch.inf)
    result[..., allowed] = logits[..., allowed].log_softmax(-1)
    return result


@attention_or_not
@believing_or_not
def test_one_word_at_a_time_equals_the_whole_caption(attention: bool, believes: bool) -> None:
    decoder = tiny_decoder(attention, 0.5, believes).eval()
    scene, said = decoder.look(grids(3)), symbols(6)
    whole = without_forbidden(decoder(scene, said))
    state = decoder.begin(scene, captions=2)
    for position in range(said.shape[1]):
        log_probs, state = decoder.step(said[:, position], state)
        torch.testing.assert_close(log_probs, whole[:, position])
        torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(6))


@attention_or_not
@believing_or_not
def test_several_captions_of_a_picture_share_its_scene(attention: bool, believes: bool) -> None:
    decoder = tiny_decoder(attention, believes=believes).eval()
    views, said = grids(2), symbols(6)
    together = decoder(decoder.look(views), said)
    for caption in range(6):
        alone = decoder(decoder.look(views[caption // 3][None]), said[caption : caption + 1])
        torch.testing.assert_close(together[caption : caption + 1], alone)


@attention_or_not
def test_reorder_carries_each_caption_s_own_past(attention: bool) -> None:
    decoder = tiny_decoder(attention).eval()
    scene, said = decoder.look(grids(3)), symbols(3)
    state = decoder.begin(scene)
    for position in range(2):
        _, state = decoder.step(said[:, position], state)
    expected, _ = decoder.step(said[:, 2], state)
    # One caption is left, one is doubled, and they change places twice.
    for indices in (torch.tensor([2, 0, 0, 1]), torch.tensor([3, 1, 0])):
        state = decoder.reorder(state, indices)
    order = torch.tensor([1, 0, 2])
    log_probs, after = decoder.step(said[order, 2], state)
    torch.testing.assert_close(log_probs, expected[order])
    assert after.attention.shape == (3, POSITIONS)


@pytest.mark.parametrize(
    "orders",
    [
        # As a beam does it: each picture's captions are doubled, a picture is done, captions change places.
        [[0, 0, 1, 1, 2, 2], [0, 1, 4, 4], [1, 0, 3, 2], [2, 3]],
        # Unequally many captions a picture, then equally many again, then another order of pictures.
        [[0, 0, 1, 2, 2], [1, 2, 3], [2, 0, 1], [0, 0, 1, 1]],
    ],
)
@believing_or_not
def test_however_captions_are_reordered_each_stays_with_its_picture(
    orders: list[list[int]], believes: bool
) -> None:
    decoder = tiny_decoder(believes=believes).eval()
    views = grids(3)
    state = decoder.begin(decoder.look(views))
    told = [(picture, [START]) for picture in range(3)]
    for number, order in enumerate(orders):
        _, state = decoder.step(torch.tensor([said[-1] for _, said in told]), state)
        state = decoder.reorder(state, torch.tensor(order))
        told = [(told[one][0], [*told[one][1], 3 + (number + row) % 4]) for row, one in enumerate(order)]
    log_probs, state = decoder.step(torch.tensor([said[-1] for _, said in told]), state)
    for row, (picture, said) in enumerate(told):
        alone = decoder(decoder.look(views[picture][None]), torch.tensor([said]))[0, -1]
        torch.testing.assert_close(log_probs[row], without_forbidden(alone))
    assert state.attention.shape == (len(told), POSITIONS + 2 * believes)


def test_padding_never_changes_a_caption_s_loss() -> None:
    decoder = tiny_decoder().eval()
    scene = decoder.look(grids(2))
    captions = [[3, 4], [3, 5, 7, 8, 6]]
    inputs, targets, lengths = pad_captions(captions)
    loss = caption_loss(decoder(scene, inputs), targets, lengths, smoothing=0.0)
    words = 0.0
    for picture, caption in enumerate(captions):
        one = scene.of([picture])
        log_probs = decoder(one, torch.tensor([[START, *caption]])).log_softmax(-1)
        words -= sum(float(log_probs[0, step, word].detach()) for step, word in enumerate([*caption, END]))
    assert float(loss.detach()) == pytest.approx(words / 9, abs=1e-5)


def test_attention_sums_to_one_and_depends_on_the_word_before() -> None:
    decoder = tiny_decoder().eval()
    state = decoder.begin(decoder.look(grids(2)))
    torch.testing.assert_close(state.attention, torch.full((2, POSITIONS), 1 / POSITIONS))
    looks = []
    for word in (START, 4, 5):
        _, state = decoder.step(torch.tensor([word, word]), state)
        torch.testing.assert_close(state.attention.sum(1), torch.ones(2))
        looks.append(state.attention)
    assert not torch.allclose(looks[0], looks[1]) and not torch.allclose(looks[1], looks[2])


def test_without_attention_every_word_sees_the_mean() -> None:
    decoder = tiny_decoder(attention=False).eval()
    views = grids(2)
    log_probs, state = decoder.step(torch.tensor([START, START]), decoder.begin(decoder.look(views)))
    torch.testing.assert_close(state.attention, torch.full((2, POSITIONS), 1 / POSITIONS))
    shuffled, _ = decoder.step(
        torch.tensor([START, START]), decoder.begin(decoder.look(views[:, torch.randperm(POSITIONS)]))
    )
    torch.testing.assert_close(log_probs, shuffled)


@attention_or_not
@believing_or_not
def test_every_parameter_learns(attention: bool, believes: bool) -> None:
    decoder = tiny_decoder(attention, 0.3, believes)
    inputs, targets, lengths = pad_captions([[3, 4], [3, 5, 7]])
    caption_loss(decoder(decoder.look(grids(2)), inputs), targets, lengths).backward()
    silent = [
        name for name, value in decoder.named_parameters() if value.grad is None or not value.grad.any()
    ]
    # The classifier learns from its own loss alone; without attention nothing is compared with a key.
    expected = ["concepts.classifier.weight", "concepts.classifier.bias"] if believes else []
    if believes and not attention:
        expected += ["belief_key.weight", "belief_key.bias"]
    assert sorted(silent) == sorted(expected)


@attention_or_not
def test_three_pictures_are_learned_by_heart(attention: bool) -> None:
    decoder = tiny_decoder(attention)
    captions = [[3, 4, 6], [3, 8, 5, 7], [8, 4, 3, 5, 6]]
    views = grids(3)
    inputs, targets, lengths = pad_captions(captions)
    optimizer = torch.optim.Adam(decoder.parameters(), 0.03)
    for _ in range(80):
        loss = caption_loss(decoder(decoder.look(views), inputs), targets, lengths, smoothing=0.0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
    assert float(loss.detach()) < 0.1
    with torch.inference_mode():
        for beam in (1, 3):
            found = search(decoder.eval(), decoder.look(views), DescribeOptions(beam=beam, fewest_words=0))
            assert [list(several[0].symbols) for several in found] == captions


@believing_or_not
def test_scores_of_a_mask_are_those_of_its_steps(believes: bool) -> None:
    decoder = tiny_decoder(believes=believes).eval()
    scene, said = decoder.look(grids(2)), symbols(6)
    mask = torch.rand(said.shape, generator=torch.Generator().manual_seed(4)) < 0.5
    torch.testing.assert_close(decoder(scene, said, mask), decoder(scene, said)[mask])
