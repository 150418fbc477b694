"""Where the captioner looked, and the sheet on which that is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import tiny_caption_config
from PIL import Image

from caption.model.network import CaptionNetwork
from caption.model.text import SPECIAL
from caption.output.attention import Glance, draw, glances, light

WORDS = (*SPECIAL, "a", "dog", "runs")


def network(attention: bool = True) -> CaptionNetwork:
    torch.manual_seed(1)
    return CaptionNetwork(tiny_caption_config(WORDS, attention=attention)).eval()


def picture() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 224, 224), np.uint8))


def test_every_word_has_a_map_that_sums_to_one() -> None:
    found = glances(network(), picture(), [3, 4, 5])
    assert [one.word for one in found] == ["a", "dog", "runs"]
    for one in found:
        assert one.weights.shape == (7, 7)
        assert float(one.weights.sum()) == pytest.approx(1.0, abs=1e-5)
    assert not np.allclose(found[0].weights, found[1].weights)


def test_a_map_is_that_of_the_step_which_chose_the_word() -> None:
    ours = network()
    with torch.inference_mode():
        state = ours.decoder.begin(ours.look(picture()[None]))
        for symbol in (0, 3):
            _, state = ours.decoder.step(torch.tensor([symbol]), state)
    expected = state.attention.view(7, 7).numpy()
    np.testing.assert_allclose(glances(ours, picture(), [3, 4, 5])[1].weights, expected, atol=1e-6)


def test_without_attention_the_whole_photograph_counts_alike() -> None:
    (only,) = glances(network(attention=False), picture(), [4])
    np.testing.assert_allclose(only.weights, 1 / 49, atol=1e-6)


def test_light_falls_where_the_weights_are() -> None:
    weights = np.zeros((7, 7), np.float32)
    weights[0, 6] = 1.0
    lit = np.asarray(light(Image.new("RGB", (140, 70), "white"), weights))
    assert lit[5, 130].min() > 200  # top right
    assert lit[60, 10].max() < 100


@pytest.mark.parametrize("size", [(640, 480), (1, 1), (20, 3000)])
def test_a_sheet_has_a_tile_for_the_photograph_and_each_word(size: tuple[int, int]) -> None:
    found = [Glance(word, np.full((7, 7), 1 / 49, np.float32)) for word in "a dog runs on the beach".split()]
    sheet = draw(Image.new("RGB", size, "red"), found)
    assert sheet.width == 4 * 224
    tile = max(1, round(size[1] * 224 / max(size)))
    assert sheet.height == 2 * (tile + 28)
