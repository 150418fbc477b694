"""The encoder: its start weights name what is on three photographs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from torchvision.models._meta import _IMAGENET_CATEGORIES

from caption.images import load_image
from caption.model.encoder import EfficientNetLite0, Encoder, EncoderConfig, load_imagenet
from common.errors import InputError

SHARED = Path(__file__).parents[4] / "shared"
WEIGHTS = SHARED / "weights" / "efficientnet-lite0.safetensors"


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the start weights are not beside the repository")
@pytest.mark.parametrize(
    ("photograph", "name", "probability", "logit"),
    [
        ("1526325728_74eb4153d8.webp", "Weimaraner", 0.945, 11.39),
        ("3539840291_1c3eed701d.webp", "rugby ball", 0.918, 9.81),
        ("2907073768_08fd7bdf60.webp", "mountain bike", 0.891, 10.97),
    ],
)
def test_start_weights_name_what_is_on_a_photograph(
    photograph: str, name: str, probability: float, logit: float
) -> None:
    encoder = Encoder(EncoderConfig()).eval()
    load_imagenet(encoder, WEIGHTS)
    weights = load_file(WEIGHTS)
    with torch.inference_mode():
        pooled = encoder(load_image(SHARED / "data" / "flickr8k" / photograph)[None]).mean(1)
        logits = pooled @ weights["classifier.weight"].float().T + weights["classifier.bias"].float()
    best = int(logits.argmax())
    assert _IMAGENET_CATEGORIES[best] == name
    assert float(logits.softmax(-1)[0, best]) == pytest.approx(probability, abs=0.01)
    assert float(logits[0, best]) == pytest.approx(logit, abs=0.05)


@pytest.mark.parametrize(("name", "channels"), [("efficientnet_lite0", 1280), ("resnet18", 512)])
def test_every_encoder_gives_a_grid_of_49_positions(name: str, channels: int) -> None:
    encoder = Encoder(EncoderConfig(name)).eval()
    with torch.inference_mode():
        grid = encoder(torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8))
    assert grid.shape == (2, 49, channels) and encoder.channels == channels


def statistics(norm: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Running mean and variance of a batch normalisation."""
    assert isinstance(norm, torch.nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def draw_statistics(norm: torch.nn.Module) -> None:
    mean, variance = statistics(norm)
    torch.nn.init.uniform_(mean, -0.5, 0.5)
    torch.nn.init.uniform_(variance, 0.5, 2.0)


def test_batch_normalisation_keeps_its_statistics_in_training() -> None:
    encoder = Encoder(EncoderConfig()).train()
    mean, _ = statistics(encoder.network.get_submodule("head.norm"))
    before = mean.clone()
    encoder(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    assert torch.equal(before, statistics(encoder.network.get_submodule("head.norm"))[0])


def test_an_unknown_encoder_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match="resnet50"):
        Encoder(EncoderConfig("resnet9000"))


def test_folding_the_normalisation_changes_nothing_but_the_time() -> None:
    torch.manual_seed(1)
    encoder = Encoder(EncoderConfig()).eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            draw_statistics(module)
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        before = encoder(pictures)
        encoder.fold()
        torch.testing.assert_close(encoder(pictures), before, atol=1e-4, rtol=1e-4)


def test_the_folded_convolution_is_convolution_then_normalisation() -> None:
    torch.manual_seed(2)
    unit = EfficientNetLite0().eval().get_submodule("blocks.0.depthwise")
    convolution, normalisation = unit.get_submodule("conv"), unit.get_submodule("norm")
    draw_statistics(normalisation)
    x = torch.randn(2, 32, 8, 8)
    torch.testing.assert_close(unit(x), normalisation(convolution(x)).clamp(0, 6))


@pytest.mark.parametrize(("block", "channels", "kernel"), [(1, 96, 3), (3, 144, 5)])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 6), (9, 7), (8, 9)])
def test_every_second_position_counts_as_in_tensorflow(
    block: int, channels: int, kernel: int, height: int, width: int
) -> None:
    """As https://www.tensorflow.org/api_docs/python/tf/nn describes the padding "SAME"."""
    torch.manual_seed(3)
    unit = EfficientNetLite0().eval().get_submodule(f"blocks.{block}.depthwise")
    convolution, normalisation = unit.get_submodule("conv"), unit.get_submodule("norm")
    assert convolution.stride == (2, 2) and convolution.kernel_size == (kernel, kernel)
    draw_statistics(normalisation)
    x = torch.randn(2, channels, height, width)
    padding = []
    for length in (width, height):
        total = max((math.ceil(length / 2) - 1) * 2 + kernel - length, 0)
        padding += [total // 2, total - total // 2]
    wanted = normalisation(convolution(F.pad(x, padding))).clamp(0, 6)
    torch.testing.assert_close(unit(x), wanted)


def test_the_two_halves_together_are_the_whole() -> None:
    encoder = Encoder(EncoderConfig()).eval()
    pictures = torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8)
    with torch.inference_mode():
        features = encoder.lower(pictures)
        assert features.shape == (3, 196, 112)
        torch.testing.assert_close(encoder.upper(features), encoder(pictures))
    upper = {id(weight) for weight in encoder.upper_parameters()}
    lower = [name for name, weight in encoder.network.named_parameters() if id(weight) not in upper]
    learned = dict(encoder.network.named_parameters())
    assert sorted(lower) == sorted(name for name in encoder.lower_state() if name in learned)


def test_another_encoder_cannot_be_halved() -> None:
    with pytest.raises(InputError, match="resnet18"):
        Encoder(EncoderConfig("resnet18")).lower(torch.zeros(1, 3, 224, 224))
