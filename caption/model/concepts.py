"""What the encoder believes to see, as words: a grid's mean -> class probabilities -> the likeliest nouns.

An ImageNet classifier knows a thousand things; its captioner knows those alone that somebody spoke about. So
the classifier stays, and the words of its likeliest classes are attended to beside the grid (You et al. 2016,
arXiv:1603.03925) and can be said though no caption of a photograph ever had them (Yao et al. 2017,
arXiv:1708.05271).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Below this a class is as good as ruled out.
_LEAST = 1e-4


class Beliefs(NamedTuple):
    """The words that a batch of pictures is believed to show.

    Attributes:
        symbols: (pictures, words), of the vocabulary.
        log_probs: (pictures, words), natural logarithms, at least that of 1e-4.
    """

    symbols: Tensor
    log_probs: Tensor


class Concepts(nn.Module):
    """A classifier whose classes have nouns.

    Args:
        words: the vocabulary.
        classes: the nouns of each class, "" for none, "coffee, cup" for two; words that are not in the
            vocabulary are passed over.
        most: words that are believed at once.
        channels: of the encoder's grid.

    Attributes:
        nouns: the symbols of all words that can be believed.
    """

    members: Tensor
    symbols: Tensor
    first: Tensor

    def __init__(self, words: Sequence[str], classes: Sequence[str], most: int, channels: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, len(classes))
        index = {word: symbol for symbol, word in enumerate(words)}
        known = [
            [index[word] for word in nouns.replace(",", " ").split() if word in index] for nouns in classes
        ]
        symbols = sorted({symbol for several in known for symbol in several})
        self.most = min(most, len(symbols))
        self.nouns = frozenset(symbols)
        column = {symbol: number for number, symbol in enumerate(symbols)}
        members = torch.zeros(len(classes), len(symbols))
        for row, several in enumerate(known):
            for symbol in several:
                members[row, column[symbol]] = 1.0
        self.register_buffer("members", members, persistent=False)
        self.register_buffer("symbols", torch.tensor(symbols, dtype=torch.long), persistent=False)

        # The first noun of each class is what the picture is called.
        names = [nouns.split(",")[0] for nouns in classes]
        self.names = sorted({name for name in names if name})
        first = torch.tensor([[float(name == one) for one in self.names] for name in names])
        self.register_buffer("first", first, persistent=False)

    def forward(self, grid: Tensor) -> Beliefs:
        """Grid (pictures, positions, channels) -> its likeliest words, in the order of their symbols.

        Were they in the order of their probabilities, words of nearly the same one would change places
        between runtimes. No gradient goes this way.
        """
        probabilities = self.classify(grid.detach()).softmax(dim=-1).detach() @ self.members
        columns = probabilities.topk(self.most, dim=-1).indices.sort(dim=-1).values
        likeliest = probabilities.gather(-1, columns)
        return Beliefs(self.symbols[columns], likeliest.clamp(_LEAST, 1.0).log())

    def name(self, grid: Tensor) -> list[tuple[str, float]]:
        """Grid (pictures, positions, channels) -> the likeliest noun of each picture, and its probability."""
        probabilities, best = (self.classify(grid).softmax(dim=-1) @ self.first).max(dim=-1)
        names = [self.names[number] for number in best.tolist()]
        return list(zip(names, probabilities.tolist(), strict=True))

    def classify(self, grid: Tensor) -> Tensor:
        """Grid (pictures, positions, channels) -> logits of the classes (pictures, classes)."""
        return self.classifier(grid.mean(dim=1))


def distilled(logits: Tensor, before: Tensor) -> Tensor:
    """How far the classes have drifted from what the start weights said: cross-entropy in nats.

    Learning without forgetting (Li and Hoiem 2016, arXiv:1606.09282).

    Args:
        logits: (pictures, classes), now.
        before: (pictures, classes), those of the start weights.
    """
    return nn.functional.cross_entropy(logits, before.softmax(dim=-1))
