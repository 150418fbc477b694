"""Captions become batches: of photographs, in random order and kinds in proportion, or of sentences alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from caption.data import Photograph
from caption.images import SIZE
from caption.model.text import END, START, Vocabulary

# What is shown of each photograph: an array of all, or one array each.
Views = NDArray[Any] | Sequence[NDArray[Any]]


@dataclass(frozen=True)
class CaptionBatch:
    """Photographs with their captions.

    Attributes:
        numbers: which photographs of the training set these are.
        views: (photographs, 3, 224, 224) uint8 pictures, or (photographs, positions, channels) features.
        counts: (photographs,) captions of each.
        inputs: (captions, steps) symbols, start first; the captions of a photograph in a row.
        targets: (captions, steps) the symbol that follows each, end last.
        lengths: (captions,) steps that count.
    """

    numbers: tuple[int, ...]
    views: Tensor
    counts: Tensor
    inputs: Tensor
    targets: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> CaptionBatch:
        """The same batch on another device."""
        tensors = (self.views, self.counts, self.inputs, self.targets, self.lengths)
        return CaptionBatch(self.numbers, *(tensor.to(device) for tensor in tensors))

    def of(self, rows: Sequence[int]) -> CaptionBatch:
        """Some of the photographs, with their captions."""
        first = self.counts.cumsum(0) - self.counts
        captions = [int(first[row]) + one for row in rows for one in range(int(self.counts[row]))]
        return CaptionBatch(
            tuple(self.numbers[row] for row in rows),
            self.views[list(rows)],
            self.counts[list(rows)],
            self.inputs[captions],
            self.targets[captions],
            self.lengths[captions],
        )


@dataclass(frozen=True)
class Said:
    """A caption as symbols.

    Attributes:
        symbols: of its words.
        start: the symbol of its kind, that it starts with.
    """

    symbols: tuple[int, ...]
    start: int = START


def pad_captions(
    captions: Sequence[Sequence[int]], starts: Sequence[int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Captions as symbols -> inputs, targets (captions, steps) and lengths (captions,).

    Args:
        captions: without start and end.
        starts: the symbol that each starts with; None: all are plain.
    """
    lengths = torch.tensor([len(one) + 1 for one in captions])
    steps = int(lengths.max())
    inputs = torch.full((len(captions), steps), END)
    targets = torch.full((len(captions), steps), END)
    inputs[:, 0] = START if starts is None else torch.tensor(starts)
    for row, one in enumerate(captions):
        inputs[row, 1 : len(one) + 1] = torch.tensor(one)
        targets[row, : len(one)] = torch.tensor(one)
    return inputs, targets, lengths


def encode_captions(
    photograph: Photograph, vocabulary: Vocabulary, kinds: Sequence[str] = (), longest: int = 22
) -> list[Said]:
    """The captions of a photograph as symbols, each with the start symbol of its kind.

    A caption is of the kind that its source names, if that is one of `kinds`, and plain otherwise.

    Args:
        photograph: with its captions.
        vocabulary: of the captioner.
        kinds: sources whose captions are told apart.
        longest: words after which a caption is cut.
    """
    start = vocabulary.start(photograph.source) if photograph.source in kinds else START
    return [Said(tuple(vocabulary.encode(caption)[:longest]), start) for caption in photograph.captions]


class TrainingPhotographs:
    """Photographs in random order, up to `captions` drawn captions each, mirrored half of the time.

    Args:
        photographs: what is shown; their sources decide how often.
        said: the captions of each.
        views: what the network is shown: (straight, mirrored) features, or pictures (mirrored here, cropped
            and lit differently each time).
        batch_size: photographs in a batch.
        captions: a photograph in a batch; all of them share its features.
        passes: how often a photograph of a source is shown in an epoch, 1 where it does not say.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        said: Sequence[Sequence[Said]],
        views: Views | tuple[Views, Views],
        batch_size: int,
        captions: int = 5,
        passes: Mapping[str, float] | None = None,
    ) -> None:
        self.said = said
        self.views = views
        self.batch_size = batch_size
        self.captions = captions
        self.passes = passes or {}
        self._of_source: dict[str, list[int]] = defaultdict(list)
        for number, photograph in enumerate(photographs):
            self._of_source[photograph.source].append(number)

    def plan(self, epoch: int, generator: np.random.Generator) -> list[Sequence[int]]:
        """The epoch's batches: photographs in random order, those of each source as often as it counts."""
        shown: list[int] = []
        for source, numbers in self._of_source.items():
            passes = self.passes.get(source, 1.0)
            shown += numbers * math.floor(passes)
            rest = round(len(numbers) * (passes - math.floor(passes)))
            shown += generator.permutation(numbers)[:rest].tolist()
        order = generator.permutation(shown).tolist()
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def collate(self, numbers: Sequence[int], generator: np.random.Generator) -> CaptionBatch:
        """The batch of some photographs, with captions and views that the generator draws."""
        drawn = []
        counts = []
        for number in numbers:
            said = self.said[number]
            picks = generator.permutation(len(said))[: self.captions]
            drawn += [said[pick] for pick in picks]
            counts.append(len(picks))
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
        padded = pad_captions([one.symbols for one in drawn], [one.start for one in drawn])
        return CaptionBatch(tuple(numbers), views, torch.tensor(counts), *padded)


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


@dataclass(frozen=True)
class TextBatch:
    """Sentences without pictures, each with the words that a picture of it might have been believed to show.

    Attributes:
        believed: (captions, beliefs) symbols.
        log_probs: (captions, beliefs), how much each is believed.
        inputs, targets, lengths: as in `CaptionBatch`.
    """

    believed: Tensor
    log_probs: Tensor
    inputs: Tensor
    targets: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> TextBatch:
        """The same batch on another device."""
        return TextBatch(
            *(
                tensor.to(device)
                for tensor in (self.believed, self.log_probs, self.inputs, self.targets, self.lengths)
            )
        )


class TrainingText:
    """Captions without pictures, in random order, those of like length together.

    The nouns that stand in a caption, and others that do not, are given as believed: so the decoder learns
    to say, or to leave out, any word that a classifier may name.

    Args:
        said: captions as symbols.
        nouns: symbols that may be believed.
        profiles: (pictures, beliefs) log-probabilities of real pictures' beliefs, the likeliest first.
        batch_size: captions in a batch.
        captions: in an epoch.
    """

    def __init__(
        self,
        said: Sequence[Sequence[int]],
        nouns: Sequence[int],
        profiles: NDArray[np.float32],
        batch_size: int,
        captions: int,
    ) -> None:
        self.said = said
        self.nouns = np.array(nouns)
        self.profiles = profiles
        self.batch_size = batch_size
        self.captions = min(captions, len(said))
        self._noun = frozenset(nouns)

    def plan(self, epoch: int, generator: np.random.Generator) -> list[Sequence[int]]:
        """The epoch's batches."""
        drawn = generator.permutation(len(self.said))[: self.captions].tolist()
        drawn.sort(key=lambda number: len(self.said[number]))
        batches = [drawn[start : start + self.batch_size] for start in range(0, len(drawn), self.batch_size)]
        return [batches[number] for number in generator.permutation(len(batches))]

    def collate(self, numbers: Sequence[int], generator: np.random.Generator) -> TextBatch:
        """The batch of some captions, with beliefs that the generator draws."""
        believed = np.stack([self._beliefs(self.said[number], generator) for number in numbers])
        profiles = self.profiles[generator.integers(len(self.profiles), size=len(numbers))]
        padded = pad_captions([self.said[number] for number in numbers])
        return TextBatch(torch.from_numpy(believed), torch.from_numpy(profiles), *padded)

    def _beliefs(self, caption: Sequence[int], generator: np.random.Generator) -> NDArray[np.int64]:
        """Believed words, the likeliest first: most of a caption's own nouns, among others."""
        places = self.profiles.shape[1]
        own = [symbol for symbol in dict.fromkeys(caption) if symbol in self._noun]
        own = [symbol for symbol in own if generator.random() < _BELIEVED]
        own = own[:places]
        # The higher a place, the likelier it is right.
        likely = np.geomspace(1.0, 0.1, places)
        where = generator.choice(places, len(own), replace=False, p=likely / likely.sum())
        drawn = generator.choice(self.nouns, min(2 * places, len(self.nouns)), replace=False)
        others = [symbol for symbol in drawn if symbol not in own]
        beliefs = np.zeros(places, dtype=np.int64)
        beliefs[where] = own
        beliefs[np.setdiff1d(np.arange(places), where)] = others[: places - len(own)]
        return beliefs


# Share of a caption's nouns that a picture of it shows clearly enough; a guess.
_BELIEVED = 0.75
