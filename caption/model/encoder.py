"""The eyes: pictures uint8 (batch, 3, 224, 224) -> what is where, float32 (batch, positions, channels).

EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946; the Lite variants leave out squeeze-excitation and
use ReLU6, made for CPUs) by default, other torchvision networks by name.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from caption.options import LITE0
from common.core.recurrent import draws_initial_weights
from common.errors import InputError
from common.models.fields import check

# kernel, stride of the first block, expansion, channels out, blocks
_LITE0_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)

# Blocks before the last halving of the grid.
_LOWER_BLOCKS = 11

# The layer of other torchvision networks whose output is the grid that a decoder looks at.
_TORCHVISION_GRIDS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "resnet101": "layer4",
    "mobilenet_v3_large": "features",
    "efficientnet_b0": "features",
    "convnext_tiny": "features",
}


@dataclass(frozen=True)
class EncoderConfig:
    """Which network looks, and how its input is scaled; stored with the weights.

    Attributes:
        name: "efficientnet_lite0", or one of torchvision's ("resnet50", "mobilenet_v3_large", ...).
        mean, scale: a value v of 0 to 255 enters as (v - mean) / scale, a channel each.
    """

    name: str = LITE0
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    scale: tuple[float, float, float] = (128.0, 128.0, 128.0)

    def __post_init__(self) -> None:
        check(self, mean=(-1e6, 1e6), scale=(1e-3, 1e6))

    @staticmethod
    def of(name: str) -> EncoderConfig:
        """A network by name, its input scaled as its ImageNet weights expect."""
        if name == LITE0:
            return EncoderConfig()
        return EncoderConfig(name, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


# Pictures that are looked at together. Of many more, each layer's output no longer fits into the caches, and
# its memory is taken from the system and given back every time: half as fast on two threads.
_AT_ONCE = 4


class Encoder(nn.Module):
    """A convolutional network up to its last grid, with its pre-processing.

    Attributes:
        channels: features at each position.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(config.scale).view(1, 3, 1, 1), persistent=False)
        self.network = grid_network(config.name).eval()
        if isinstance(self.network, EfficientNetLite0):
            self.channels = self.network.channels  # known: to look at a picture would delay every start
        else:
            with torch.no_grad():
                self.channels = int(self.network(torch.zeros(1, 3, 64, 64)).shape[1])
        self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pictures: Tensor) -> Tensor:
        """Look at pictures: uint8 or float (batch, 3, 224, 224), 0 to 255 -> (batch, 49, channels)."""
        return self.network(self.prepare(pictures)).flatten(2).transpose(1, 2)

    def in_turn(self, pictures: Tensor) -> Tensor:
        """As `forward`, a few pictures at a time: faster where nothing is learned."""
        return torch.cat([self(few) for few in pictures.split(_AT_ONCE)])

    def lower(self, pictures: Tensor) -> Tensor:
        """The half of `forward` up to a grid of 14 x 14, where four fifths of the time go.

        Pictures (batch, 3, 224, 224) -> (batch, 196, features); what `upper` makes of it is what `forward`
        gives.
        """
        return self._lite0.lower(self.prepare(pictures)).flatten(2).transpose(1, 2)

    def lower_in_turn(self, pictures: Tensor) -> Tensor:
        """As `lower`, a few pictures at a time."""
        return torch.cat([self.lower(few) for few in pictures.split(_AT_ONCE)])

    def upper(self, features: Tensor) -> Tensor:
        """The other half: (batch, 196, features) -> (batch, 49, channels)."""
        side = math.isqrt(features.shape[1])
        grid = features.transpose(1, 2).unflatten(2, (side, side))  # channels last, as it was
        return self._lite0.upper(grid).flatten(2).transpose(1, 2)

    def lower_state(self) -> dict[str, Tensor]:
        """The weights of `lower`, by name."""
        parts = {"stem": self._lite0.stem, "blocks": self._lite0.blocks[:_LOWER_BLOCKS]}
        return {
            f"{part}.{name}": weight
            for part, module in parts.items()
            for name, weight in module.state_dict().items()
        }

    def upper_parameters(self) -> list[nn.Parameter]:
        """The weights of `upper`."""
        parts = (self._lite0.blocks[_LOWER_BLOCKS:], self._lite0.head)
        return [parameter for part in parts for parameter in part.parameters()]

    @property
    def _lite0(self) -> EfficientNetLite0:
        """The network, if it is the one that can be halved.

        Raises:
            InputError: for another one.
        """
        if not isinstance(self.network, EfficientNetLite0):
            raise InputError(self.config.name, f"only {LITE0} can learn in its upper half alone")
        return self.network

    def prepare(self, pictures: Tensor) -> Tensor:
        """Scale pictures and lay them out so that CPUs are four times as fast: channels last."""
        scaled = (pictures.to(self.mean.dtype) - self.mean) / self.scale
        return scaled.contiguous(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Encoder:
        """As `nn.Module.train`, but batch normalisation keeps the statistics it started with.

        Batches of a few dozen photographs would give worse ones.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def fold(self) -> None:
        """Make inference cheaper, for good: the weights are no longer those of a model directory."""
        for module in self.modules():
            if isinstance(module, _Unit):
                module.fold()


def grid_network(name: str, torchvision_weights: bool = False) -> nn.Module:
    """A network that maps (batch, 3, height, width) to its last grid (batch, channels, h, w).

    Args:
        name: "efficientnet_lite0" or one of torchvision's networks; weights are random.
        torchvision_weights: load torchvision's own ImageNet weights, which needs the network.

    Raises:
        ValueError: for an unknown name.
    """
    if name == LITE0:
        return EfficientNetLite0()
    if name not in _TORCHVISION_GRIDS:
        raise ValueError(f"no encoder {name!r}; there are {LITE0}, {', '.join(_TORCHVISION_GRIDS)}")
    whole = torchvision.models.get_model(name, weights="DEFAULT" if torchvision_weights else None)
    extractor = create_feature_extractor(whole, {_TORCHVISION_GRIDS[name]: "grid"})
    return nn.Sequential(OrderedDict(extractor=extractor, grid=_Pick("grid")))


class _Pick(nn.Module):
    """Takes one entry out of a dictionary of tensors."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, outputs: dict[str, Tensor]) -> Tensor:
        """Return the entry."""
        return outputs[self.name]


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier: (batch, 3, 224, 224) -> (batch, 1280, 7, 7)."""

    channels = 1280  # at each position of the grid

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Unit(3, 32, 3, stride=2)
        blocks = []
        channels = 32
        for kernel, first_stride, expansion, out, times in _LITE0_STAGES:
            for number in range(times):
                stride = first_stride if number == 0 else 1
                blocks.append(_InvertedResidual(channels, out, kernel, stride, expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = _Unit(channels, self.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scaled pictures (batch, 3, height, width) -> the last grid (batch, 1280, h, w)."""
        return self.upper(self.lower(x))

    def lower(self, x: Tensor) -> Tensor:
        """Scaled pictures (batch, 3, height, width) -> (batch, 112, height / 16, width / 16)."""
        return self.blocks[:_LOWER_BLOCKS](self.stem(x))

    def upper(self, x: Tensor) -> Tensor:
        """What `lower` gives -> the last grid (batch, 1280, h, w)."""
        return self.head(self.blocks[_LOWER_BLOCKS:](x))


class _InvertedResidual(nn.Module):
    """Widen, look around channel by channel, narrow again (Sandler et al. 2018, arXiv:1801.04381)."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        if expansion != 1:
            self.expand = _Unit(channels, wide, 1)
        self.widens = expansion != 1
        self.depthwise = _Unit(wide, wide, kernel, stride, groups=wide)
        self.project = _Unit(wide, out, 1, activation=False)
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, out, height / stride, width / stride)."""
        y = self.expand(x) if self.widens else x
        y = self.project(self.depthwise(y))
        return x + y if self.adds else y


class _Unit(nn.Module):
    """Convolution with TensorFlow's "same" padding, batch normalisation, ReLU6 where wanted.

    Batch normalisation never gathers statistics here (see `Encoder.train`), so it is a factor and an
    offset a channel, and the factor is multiplied into the kernel: an inference takes 10 ms an image
    instead of 24, a training step 39 instead of 46 (one thread).
    """

    norm: nn.BatchNorm2d | None

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, groups=groups, bias=False)
        if draws_initial_weights():
            # He et al. 2015, arXiv:1502.01852: random weights keep the scale of what passes through them.
            nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu" if activation else "linear")
        self.norm = nn.BatchNorm2d(out, eps=1e-3)
        self.activation = activation
        # With stride 1 the padding is the same on both sides, and the convolution does it itself.
        if stride == 1:
            self.conv.padding = (kernel // 2, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, out, ceil(height / stride), ...)."""
        conv = self.conv
        weight, bias = self._folded()
        padding = conv.padding
        if conv.stride[0] > 1:
            x, weight, padding = _padded(x, weight)
        x = F.conv2d(x, weight, bias, conv.stride, padding, groups=conv.groups)
        return F.relu6(x, inplace=True) if self.activation else x

    def fold(self) -> None:
        """Multiply the normalisation into the kernel for good, and widen that once where `_padded` would."""
        if self.norm is None:
            return
        weight, bias = self._folded()
        assert bias is not None
        weight = _with_zeros(weight) if self.conv.stride[0] > 1 else weight
        self.conv.weight, self.conv.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
        self.norm = None

    def _folded(self) -> tuple[Tensor, Tensor | None]:
        """Kernel and offsets of convolution and normalisation together."""
        norm = self.norm
        if norm is None:
            return self.conv.weight, self.conv.bias
        assert norm.running_var is not None and norm.running_mean is not None
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = self.conv.weight * factor.view(-1, 1, 1, 1)
        return (
            weight.contiguous(memory_format=torch.channels_last),
            norm.bias - norm.running_mean * factor,
        )


def _padded(x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """TensorFlow's padding where every second position counts, with as little copied as can be.

    Of an even size it pads one position less before than behind. A kernel with zeros before it wants as much
    on both sides, which the convolution adds itself: to copy the large grids took a third of the time.

    Args:
        x: (batch, channels, height, width).
        kernel: (out, channels, size, size); an even size is that of one with zeros before it.

    Returns:
        What is to be convolved, with which kernel, and the padding that is left to the convolution.
    """
    height, width = x.shape[-2:]
    has_zeros = kernel.shape[-1] % 2 == 0
    if height % 2 == 0 and width % 2 == 0:
        kernel = kernel if has_zeros else _with_zeros(kernel)
        padding = (kernel.shape[-1] - 1) // 2
        return x, kernel, (padding, padding)
    kernel = kernel[..., 1:, 1:] if has_zeros else kernel
    size = kernel.shape[-1]
    return F.pad(x, (*_same(width, size), *_same(height, size))), kernel, (0, 0)


def _with_zeros(kernel: Tensor) -> Tensor:
    """A kernel (out, channels, size, size) with a row and a column of zeros before it."""
    return F.pad(kernel, (1, 0, 1, 0)).contiguous(memory_format=torch.channels_last)


def _same(length: int, kernel: int) -> tuple[int, int]:
    """TensorFlow's padding before and after for a stride of 2: the smaller half comes first."""
    total = max((math.ceil(length / 2) - 1) * 2 + kernel - length, 0)
    return total // 2, total - total // 2


def load_imagenet(encoder: Encoder, path: Path) -> None:
    """Start EfficientNet-Lite0 from ImageNet weights: a safetensors file, whose classifier is left out.

    Raises:
        InputError: if the file cannot be read or does not fit.
    """
    try:
        weights = {name: value.float() for name, value in load_file(path).items()}
        found = encoder.network.load_state_dict(weights, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(path, f"cannot be read as weights of {encoder.config.name}: {error}") from error
    # Batch normalisation counts its batches; files without the count are as good.
    if [name for name in found.missing_keys if not name.endswith("num_batches_tracked")]:
        raise InputError(path, f"does not hold the weights of {encoder.config.name}")


def imagenet_classifier(path: Path) -> dict[str, Tensor]:
    """The classifier that `load_imagenet` leaves out, as a linear layer's state: channels -> 1,000 classes.

    Raises:
        InputError: if the file does not hold one.
    """
    try:
        weights = load_file(path)
        return {name: weights[f"classifier.{name}"].float() for name in ("weight", "bias")}
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(path, f"does not hold a classifier: {error}") from error


def load_torchvision(encoder: Encoder) -> None:
    """Start one of torchvision's networks from its ImageNet weights, which it downloads and keeps.

    Raises:
        InputError: if they cannot be fetched, or torchvision does not have the network.
    """
    name = encoder.config.name
    if name not in _TORCHVISION_GRIDS:
        raise InputError(name, "torchvision has no weights for this encoder")
    try:
        encoder.network.load_state_dict(grid_network(name, torchvision_weights=True).state_dict())
    except OSError as error:
        raise InputError(name, f"torchvision's weights cannot be fetched: {error}") from error
