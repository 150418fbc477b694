"""Captioned photographs become batches: manifest rows -> cached pictures or grids -> batches.

Pictures are decoded once into a memory-mapped file; while the encoder stands still, so are its grids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from caption.images import SIZE, load_image
from caption.text import END, START, Vocabulary
from common.errors import InputError
from common.manifest import read_manifest


@dataclass(frozen=True)
class Photograph:
    """A photograph and what people said of it."""

    path: Path
    captions: tuple[str, ...]


def read_photographs(manifest: Path) -> list[Photograph]:
    """A manifest (`path`, `caption`, a row a caption) -> photographs, in the order they first stand.

    Raises:
        InputError: if the manifest cannot be read.
    """
    captions: dict[str, list[str]] = {}
    for row in read_manifest(manifest, ["path", "caption"]):
        captions.setdefault(row["path"], []).append(row["caption"])
    return [Photograph(Path(path), tuple(said)) for path, said in captions.items()]


def cache_pictures(photographs: Sequence[Photograph], directory: Path) -> NDArray[np.uint8]:
    """Decode all photographs once: (photographs, 3, 224, 224) uint8.

    Raises:
        InputError: if one cannot be read; a training set with holes is not what its owner thinks it is.
    """

    def fill(array: NDArray[Any]) -> None:
        for number, photograph in enumerate(photographs):
            array[number] = load_image(photograph.path).numpy()

    shape = (len(photographs), 3, SIZE, SIZE)
    return _cached(directory, ["pictures", *_identity(photographs)], shape, np.uint8, fill)


def cache_grids(
    encode: Callable[[Tensor], Tensor],
    weights: Mapping[str, Tensor],
    photographs: Sequence[Photograph],
    pictures: NDArray[np.uint8],
    directory: Path,
    flipped: bool = False,
    batch_size: int = 32,
) -> NDArray[np.float16]:
    """Run an encoder that stands still over all pictures: (photographs, positions, channels) float16.

    Args:
        encode: (batch, 3, 224, 224) uint8 -> (batch, positions, channels).
        weights: of the encoder; with the photographs they say whether a cache can be taken as it is.
        photographs: what is on the pictures.
        pictures: from `cache_pictures`.
        directory: where caches lie.
        flipped: mirror the pictures left to right.
        batch_size: pictures that the encoder reads at once.
    """
    with torch.inference_mode():
        shape = encode(torch.from_numpy(pictures[:1].copy())).shape[1:]

    def fill(array: NDArray[Any]) -> None:
        with torch.inference_mode():
            for start in range(0, len(pictures), batch_size):
                batch = torch.from_numpy(pictures[start : start + batch_size].copy())
                array[start : start + batch_size] = encode(batch.flip(-1) if flipped else batch).numpy()

    digest = hashlib.sha256()
    for name, weight in weights.items():
        digest.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    identity = ["grids", digest.hexdigest(), flipped, *_identity(photographs)]
    return _cached(directory, identity, (len(pictures), *shape), np.float16, fill)


def _identity(photographs: Sequence[Photograph]) -> list[tuple[str, int, int]]:
    """Which files these are, as they stand today."""
    states = [(str(photograph.path.resolve()), photograph.path.stat()) for photograph in photographs]
    return [(path, state.st_size, state.st_mtime_ns) for path, state in states]


def _cached(
    directory: Path,
    identity: list[Any],
    shape: tuple[int, ...],
    dtype: type,
    fill: Callable[[NDArray[Any]], None],
) -> NDArray[Any]:
    """An array in a memory-mapped file that is named after what it holds; filled if it is not there."""
    path = directory / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}.memmap"
    try:
        if not path.is_file():
            directory.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            array = np.memmap(part, dtype=dtype, mode="w+", shape=shape)
            fill(array)
            array.flush()
            part.replace(path)
        return np.memmap(path, dtype=dtype, mode="r", shape=shape)
    except OSError as error:
        raise InputError(directory, f"the cache cannot be used: {error.strerror}") from error


@dataclass(frozen=True)
class CaptionBatch:
    """Photographs with equally many captions each.

    Attributes:
        numbers: which photographs of the training set these are.
        views: (photographs, 3, 224, 224) uint8 pictures, or (photographs, positions, channels) grids.
        inputs: (captions, steps) symbols, start first; the captions of a photograph in a row.
        targets: (captions, steps) the symbol that follows each, end last.
        lengths: (captions,) steps that count.
    """

    numbers: tuple[int, ...]
    views: Tensor
    inputs: Tensor
    targets: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> CaptionBatch:
        """The same batch on another device."""
        tensors = (self.views, self.inputs, self.targets, self.lengths)
        return CaptionBatch(self.numbers, *(tensor.to(device) for tensor in tensors))


def pad_captions(captions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Captions as symbols -> inputs, targets (captions, steps) and lengths (captions,)."""
    lengths = torch.tensor([len(one) + 1 for one in captions])
    steps = int(lengths.max())
    inputs = torch.full((len(captions), steps), END)
    targets = torch.full((len(captions), steps), END)
    for row, one in enumerate(captions):
        inputs[row, 0] = START
        inputs[row, 1 : len(one) + 1] = torch.tensor(one)
        targets[row, : len(one)] = torch.tensor(one)
    return inputs, targets, lengths


class TrainingPhotographs:
    """Photographs in random order, `captions` drawn captions each, mirrored half of the time.

    Args:
        photographs: with their captions.
        vocabulary: of the captioner.
        views: what the network is shown: (straight, mirrored) grids, or pictures (mirrored here, cropped
            and lit differently each time).
        batch_size: photographs in a batch.
        captions: a photograph in a batch; all of them share its features.
        longest: words after which a caption is cut.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        vocabulary: Vocabulary,
        views: tuple[NDArray[np.float16], NDArray[np.float16]] | NDArray[np.uint8],
        batch_size: int,
        captions: int = 5,
        longest: int = 22,
    ) -> None:
        self.symbols = [
            [vocabulary.encode(caption)[:longest] for caption in photograph.captions]
            for photograph in photographs
        ]
        self.views = views
        self.batch_size = batch_size
        self.captions = captions

    def plan(self, epoch: int, generator: np.random.Generator) -> list[Sequence[int]]:
        """The epoch's batches: all photographs in random order."""
        order = generator.permutation(len(self.symbols)).tolist()
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def collate(self, numbers: Sequence[int], generator: np.random.Generator) -> CaptionBatch:
        """The batch of some photographs, with captions and views that the generator draws."""
        captions = []
        for number in numbers:
            said = self.symbols[number]
            picks = generator.permutation(max(len(said), self.captions))[: self.captions]
            captions += [said[pick % len(said)] for pick in picks]
        mirrored = generator.random(len(numbers)) < 0.5
        if isinstance(self.views, tuple):
            views = torch.stack(
                [
                    torch.from_numpy(self.views[int(flip)][number].astype(np.float32))
                    for number, flip in zip(numbers, mirrored, strict=True)
                ]
            )
        else:
            views = torch.stack(
                [
                    vary(torch.from_numpy(self.views[number].copy()), bool(flip), generator)
                    for number, flip in zip(numbers, mirrored, strict=True)
                ]
            )
        return CaptionBatch(tuple(numbers), views, *pad_captions(captions))


def vary(picture: Tensor, mirrored: bool, generator: np.random.Generator) -> Tensor:
    """Another view of a picture: mirrored or not, a mild crop, other light. uint8 (3, 224, 224)."""
    if mirrored:
        picture = picture.flip(-1)
    # Mild: a caption names what stands at the edges as well.
    height, width = (int(SIZE * generator.uniform(0.7, 1.0)) for _ in range(2))
    top, left = int(generator.integers(SIZE - height + 1)), int(generator.integers(SIZE - width + 1))
    crop = picture[:, top : top + height, left : left + width].float()[None]
    view = F.interpolate(crop, size=(SIZE, SIZE), mode="bilinear", align_corners=False)[0]
    contrast, light = generator.uniform(0.8, 1.2), generator.uniform(-20.0, 20.0)
    return ((view - 127.0) * contrast + 127.0 + light).round().clamp(0, 255).to(torch.uint8)
