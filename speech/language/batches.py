"""Weighted sentences become batches to learn a language model from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.errors import InputError
from speech.language.recurrent import pad
from speech.language.sentences import Sentences

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SentenceBatch:
    """Some sentences, and the words that the right ones are compared with.

    Attributes:
        words: (sentences, steps) what is read; see `speech.language.recurrent.pad`.
        targets: (sentences, steps) what comes next, -1 on padding.
        drawn: (drawn,) numbers of words at random; empty where all are compared with.
    """

    words: Tensor
    targets: Tensor
    drawn: Tensor

    def to(self, device: torch.device) -> SentenceBatch:
        """The same batch on a device."""
        return SentenceBatch(self.words.to(device), self.targets.to(device), self.drawn.to(device))


class SentenceBatches:
    """Weighted sentences in batches of like length and of about equally many words.

    Args:
        sources: of each its numbered sentences and its weight.
        batch_words: words in a batch, ends included.
        rarer: probabilities with which words are drawn, (vocabulary,); None to draw none.
        drawn: how many are.
        epoch_words: weighted words in an epoch, ends included; 0 for all.
        seed: of the order in which each source is heard.
    """

    def __init__(
        self,
        sources: Sequence[tuple[Sentences, float]],
        batch_words: int,
        rarer: npt.NDArray[np.float64] | None,
        drawn: int,
        epoch_words: int = 0,
        seed: int = 0,
    ) -> None:
        self.sentences = Sentences.joined(sentences for sentences, _ in sources)
        self.lengths = self.sentences.lengths + 1
        total = sum(weight * (len(sentences.words) + len(sentences)) for sentences, weight in sources)
        share = min(1.0, epoch_words / total) if epoch_words and total else 1.0
        # Of each source, how many sentences it has, and how often an epoch hears each.
        self.sources = [(len(sentences), weight * share) for sentences, weight in sources]
        self.batches = max(1, round(total * share / batch_words))
        # Drawn by search in the running sum: a tenth of the time that `Generator.choice` takes.
        self.rarer = None if rarer is None else np.cumsum(rarer)
        self.drawn = drawn
        self.seed = seed

    def plan(self, epoch: int, generator: np.random.Generator) -> list[Places]:
        """The epoch's batches: each sentence as often as its source's weight says, in any order.

        Where that is a fraction, epochs go on one after another through the source: no sentence is heard once
        more before all have been.
        """
        chosen: list[Places] = []
        first = 0
        for source, (count, times) in enumerate(self.sources):
            start, stop = round(epoch * times * count), round((epoch + 1) * times * count)
            chosen.append(first + self._heard(source, count, start, stop))
            first += count
        heard = generator.permutation(np.concatenate(chosen))
        if len(heard) < self.batches:
            raise InputError("text", "too few sentences for one batch; give more text or a higher weight")
        heard = heard[np.argsort(self.lengths[heard], kind="stable")]
        # The cuts lie where equally many words lie between them, whatever was drawn: as many batches always.
        running = np.cumsum(self.lengths[heard], dtype=np.int64)
        places = np.arange(1, self.batches)
        cuts = np.searchsorted(running, running[-1] * places / self.batches)
        cuts = np.maximum.accumulate(np.maximum(cuts - places, 0)) + places  # none is empty
        cuts = np.minimum(cuts, len(heard) - self.batches + places)
        batches = np.split(heard, cuts)
        return [batches[number] for number in generator.permutation(self.batches)]

    def _heard(self, source: int, count: int, start: int, stop: int) -> Places:
        """Which sentences of a source come from `start` to before `stop`, if it is heard again and again.

        Each pass is in an order of its own.
        """
        if start == stop:
            return np.empty(0, np.int64)
        first = start // count
        passes = [
            np.random.default_rng([self.seed, source, number]).permutation(count)
            for number in range(first, (stop - 1) // count + 1)
        ]
        return np.concatenate(passes)[start - first * count : stop - first * count]

    def collate(self, numbers: Places, generator: np.random.Generator) -> SentenceBatch:
        """The batch of some sentences, with words that the generator draws."""
        words, targets = pad([self.sentences[number] for number in numbers])
        if self.rarer is None:
            return SentenceBatch(words, targets, torch.empty(0, dtype=torch.long))
        drawn = np.searchsorted(self.rarer, generator.random(self.drawn) * self.rarer[-1], side="right")
        return SentenceBatch(words, targets, torch.from_numpy(drawn))
