"""Pairs of sequences and a network that turns one into the other: what translation and pronunciation share.

Comes in: pairs of sequences of symbols, words or letters. Goes out: a trained encoder-decoder, without
attention or with it (`common.core.topologies`), that says the second of a pair when it reads the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.core.recurrent import RecurrentConfig
from common.core.search import BeamOptions, beam_search
from common.core.topologies import Attentive, EncoderDecoder
from common.lessons.drawing import Shades
from common.lessons.learning import learn

Symbols = tuple[str, ...]
Pair = tuple[Symbols, Symbols]

# The first symbols of either vocabulary: what pads, opens, closes, and stands for what was never learned.
PADDING, START, END, UNKNOWN = range(4)
_SPECIAL = 4
_BATCH = 64
_TOGETHER = 8  # batches that are sorted by length together, so that little is padding
_VECTOR, _HIDDEN = 64, 128


class Vocabulary:
    """Symbols and their numbers.

    Args:
        sequences: what is learned from.
        fewest: how often a symbol stands there; what is rarer counts as unknown.
    """

    def __init__(self, sequences: Iterable[Symbols], fewest: int = 1) -> None:
        counts = Counter(symbol for sequence in sequences for symbol in sequence)
        self.symbols = sorted(symbol for symbol, count in counts.items() if count >= fewest)
        self.numbers = {symbol: number for number, symbol in enumerate(self.symbols, _SPECIAL)}

    def __len__(self) -> int:
        return len(self.symbols) + _SPECIAL

    def encode(self, sequence: Symbols) -> list[int]:
        """The numbers of a sequence's symbols."""
        return [self.numbers.get(symbol, UNKNOWN) for symbol in sequence]

    def decode(self, numbers: Iterable[int]) -> Symbols:
        """The symbols that have a number of their own."""
        return tuple(self.symbols[number - _SPECIAL] for number in numbers if number >= _SPECIAL)


class Transducer(nn.Module):
    """Reads one sequence and says another.

    Args:
        read: vocabulary of what is read.
        spoken: vocabulary of what is said.
        attention: whether the decoder looks back at all that was read (Luong et al. 2015), or has one vector
            of it (Sutskever et al. 2014).
    """

    def __init__(self, read: Vocabulary, spoken: Vocabulary, attention: bool) -> None:
        super().__init__()
        self.read, self.spoken = read, spoken
        self.vectors = nn.Embedding(len(read), _VECTOR, padding_idx=PADDING)
        encoder = RecurrentConfig(_VECTOR, _HIDDEN, "gru", bidirectional=True)
        decoder = RecurrentConfig(_VECTOR, 2 * _HIDDEN, "gru")
        topology = Attentive if attention else EncoderDecoder
        self.network: Attentive | EncoderDecoder = topology(encoder, decoder, len(spoken))

    def loss(self, pairs: Sequence[Pair]) -> Tensor:
        """Mean negative log-probability of a symbol, given the true ones before it."""
        x, lengths = self._encode([read for read, _ in pairs])
        said = [torch.tensor([START, *self.spoken.encode(spoken), END]) for _, spoken in pairs]
        symbols = nn.utils.rnn.pad_sequence(said, batch_first=True, padding_value=PADDING)
        logits = self.network(x, lengths, symbols[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), symbols[:, 1:].flatten(), ignore_index=PADDING)

    @torch.no_grad()
    def speak(self, sequences: Sequence[Symbols], beam: int = 1, most_steps: int = 40) -> list[Symbols]:
        """What it says to each sequence; of each length those that have it together."""
        order = sorted(range(len(sequences)), key=lambda number: len(sequences[number]))
        options = BeamOptions(width=beam, most_steps=most_steps)
        network: Any = self.network  # the two have states of their own kind
        said: dict[int, Symbols] = {}
        for start in range(0, len(order), _BATCH):
            numbers = order[start : start + _BATCH]
            begun = network.begin(*self._encode([sequences[number] for number in numbers]))
            found = beam_search(network.step, network.reorder, begun, len(numbers), START, END, options)
            said |= {
                number: self.spoken.decode(best[0].symbols)
                for number, best in zip(numbers, found, strict=True)
            }
        return [said[number] for number in range(len(sequences))]

    @torch.no_grad()
    def attention_of(self, sequence: Symbols) -> tuple[Symbols, Tensor]:
        """What it says to a sequence, and where each symbol of it, and the end, looks: (said + 1, read).

        Raises:
            ValueError: for a network without attention.
        """
        if not isinstance(self.network, Attentive):
            raise ValueError("this network has no attention")
        (said,) = self.speak([sequence])
        x, lengths = self._encode([sequence])
        symbols = torch.tensor([[START, *self.spoken.encode(said)]])
        return said, self.network.speak(x, lengths, symbols)[1][0]

    def _encode(self, sequences: Sequence[Symbols]) -> tuple[Tensor, Tensor]:
        """Vectors (sequences, steps, vector) of what is read, its end included, and the lengths."""
        rows = [torch.tensor([*self.read.encode(sequence), END]) for sequence in sequences]
        lengths = torch.tensor([len(row) for row in rows])
        return self.vectors(nn.utils.rnn.pad_sequence(rows, batch_first=True)), lengths


def train(
    pairs: Sequence[Pair], attention: bool, updates: int, generator: torch.Generator, fewest: int = 1
) -> Transducer:
    """A network that learned from random batches of pairs, those of like length together.

    Args:
        pairs: to learn from.
        attention: as in `Transducer`.
        updates: of 64 pairs each.
        generator: draws the batches.
        fewest: how often a symbol stands in the pairs to be known.
    """
    read = Vocabulary((one for one, _ in pairs), fewest)
    spoken = Vocabulary((one for _, one in pairs), fewest)
    transducer = Transducer(read, spoken, attention)
    waiting: list[list[Pair]] = []

    def loss() -> Tensor:
        if not waiting:
            rows = torch.randint(len(pairs), (_BATCH * _TOGETHER,), generator=generator).tolist()
            drawn = sorted((pairs[row] for row in rows), key=lambda pair: len(pair[0]))
            batches = [drawn[start : start + _BATCH] for start in range(0, len(drawn), _BATCH)]
            shuffled = torch.randperm(_TOGETHER, generator=generator).tolist()
            waiting.extend(batches[place] for place in shuffled)
        return transducer.loss(waiting.pop())

    name = "with attention" if attention else "without"
    learn(transducer, loss, updates, rate=0.003, name=name)
    return transducer


def hold_out(pairs: Sequence[Pair], judged: int, generator: torch.Generator) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from, and so many others, drawn at random, to be judged by; never more than a tenth."""
    order = torch.randperm(len(pairs), generator=generator).tolist()
    judged = min(judged, len(pairs) // 10)
    return [pairs[place] for place in order[judged:]], [pairs[place] for place in order[:judged]]


def attention_panel(transducer: Transducer, sequence: Symbols, title: str) -> Shades:
    """Where each symbol that is said looks: what is read from top to bottom, what is said from left to right.

    Raises:
        ValueError: for a network without attention.
    """
    said, weights = transducer.attention_of(sequence)
    return Shades(title, [*sequence, "end"], [*said, "end"], weights.T.tolist())
