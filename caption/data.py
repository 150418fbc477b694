"""Captioned photographs become arrays: manifest rows -> cached pictures, or what an encoder makes of them.

Pictures are decoded once into a memory-mapped file; while the encoder, or its lower half, stands still, so is
what it gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caption.images import SIZE, load_image
from caption.model.text import is_plain
from common.errors import InputError
from common.files import file_identity, taking_place_of
from common.locations import Location
from common.manifest import read_manifest
from common.stores import is_url


@dataclass(frozen=True)
class Photograph:
    """A photograph and what people said of it.

    Attributes:
        path: of the file; where it lies behind a URL, that, as a string.
        captions: what people said.
        source: where photograph and captions come from, "" where the manifest does not say.
    """

    path: Path | str
    captions: tuple[str, ...]
    source: str = ""


def read_photographs(*manifests: Location, urls: bool = False) -> list[Photograph]:
    """Manifests (`path`, `caption`, a row a caption; `source` if there is one) -> their photographs.

    They come in the order in which they first stand. `urls` as in `read_manifest`.

    Raises:
        InputError: if a manifest cannot be read.
    """
    captions: dict[tuple[str, str], list[str]] = {}
    for manifest in manifests:
        for row in read_manifest(manifest, ["path", "caption"], urls):
            captions.setdefault((row["path"], row.get("source", "")), []).append(row["caption"])
    return [
        Photograph(path if is_url(path) else Path(path), tuple(said), source)
        for (path, source), said in captions.items()
    ]


def plain_only(photographs: Sequence[Photograph], sources: Collection[str]) -> list[Photograph]:
    """Photographs without those captions that do not read plainly (see `is_plain`), by their source.

    Args:
        photographs: of any sources; those that have no caption left are left out.
        sources: that are sifted.
    """
    kept = []
    for one in photographs:
        sifted = one.source in sources
        captions = tuple(caption for caption in one.captions if not sifted or is_plain(caption))
        if captions:
            kept.append(Photograph(one.path, captions, one.source))
    return kept


class Pictures:
    """Photographs that are decoded when they are asked for: as an array of (photographs, 3, 224, 224)."""

    def __init__(self, photographs: Sequence[Photograph]) -> None:
        self.photographs = photographs

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, which: slice) -> NDArray[np.uint8]:
        """Decode some; InputError if one cannot be read."""
        return np.stack([load_image(photograph.path).numpy() for photograph in self.photographs[which]])


def cache_pictures(photographs: Sequence[Photograph], directory: Path) -> NDArray[np.uint8]:
    """Decode all photographs once: (photographs, 3, 224, 224) uint8.

    Raises:
        InputError: if one cannot be read; a training set with holes is not what its owner thinks it is.
    """

    decoded = Pictures(photographs)

    def fill(array: NDArray[Any]) -> None:
        for start in range(0, len(decoded), 32):
            array[start : start + 32] = decoded[start : start + 32]

    shape = (len(photographs), 3, SIZE, SIZE)
    return _cached(directory, ["pictures", *_identity(photographs)], shape, np.uint8, fill)


def cache_grids(
    encode: Callable[[Tensor], Tensor],
    weights: Mapping[str, Tensor],
    photographs: Sequence[Photograph],
    pictures: NDArray[Any] | Sequence[NDArray[Any]] | Pictures,
    directory: Path,
    flipped: bool = False,
    batch_size: int = 32,
) -> NDArray[np.float16]:
    """Run what stands still of an encoder over all pictures: (photographs, positions, channels) float16.

    Args:
        encode: (batch, 3, 224, 224) uint8 -> (batch, positions, channels).
        weights: of what stands still; with the photographs they say whether a cache can be taken as it is.
        photographs: what is on the pictures.
        pictures: from `cache_pictures`, or still to be decoded.
        directory: where caches lie.
        flipped: mirror the pictures left to right.
        batch_size: pictures that the encoder reads at once.
    """
    with torch.inference_mode():
        shape = encode(torch.from_numpy(np.array(pictures[:1]))).shape[1:]

    def fill(array: NDArray[Any]) -> None:
        with torch.inference_mode():
            for start in range(0, len(pictures), batch_size):
                batch = torch.from_numpy(np.array(pictures[start : start + batch_size]))
                array[start : start + batch_size] = encode(batch.flip(-1) if flipped else batch).numpy()

    digest = hashlib.sha256()
    for name, weight in weights.items():
        # Minus zero plus zero is zero: a weight that was averaged with itself is the same weight.
        digest.update(name.encode() + (weight.detach().cpu() + 0).contiguous().numpy().tobytes())
    identity = ["grids", digest.hexdigest(), flipped, *_identity(photographs)]
    return _cached(directory, identity, (len(pictures), *shape), np.float16, fill)


def _identity(photographs: Sequence[Photograph]) -> list[tuple[str, int, int]]:
    """Which files these are, as they stand today."""
    return [file_identity(Path(photograph.path)) for photograph in photographs]


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
            with taking_place_of(path) as part:
                array = np.memmap(part, dtype=dtype, mode="w+", shape=shape)
                fill(array)
                array.flush()
        return np.memmap(path, dtype=dtype, mode="r", shape=shape)
    except OSError as error:
        raise InputError(directory, f"the cache cannot be used: {error.strerror}") from error
