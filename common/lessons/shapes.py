"""The four shapes in which recurrent networks are used, each with a small problem that it learns in seconds.

`python -m common.lessons.shapes`. Comes in: nothing, the problems are made here. Goes out: how many answers
to sequences that were never learned are right, and some of them.

    aligned           two numbers in bits, the lowest first -> the bits of their sum, one a step
    to a vector       opening and closing brackets -> do they match? One answer at the end
    from a vector     a number as a vector -> its name, letter by letter
    encoder-decoder   the name, letter by letter -> the number's figures

`common.core.topologies` has the networks; here stand the problems and what is judged.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.commands.command import at_least, run_command
from common.core.recurrent import RecurrentConfig
from common.core.search import BeamOptions, beam_search
from common.core.topologies import Aligned, EncoderDecoder, FromVector, ToVector
from common.lessons.drawing import Chart, Line, write_png
from common.lessons.learning import learn, make_parser, set_up
from common.lessons.numbers import spell

_BATCH = 64
BITS = 12  # of a sum
BRACKETS = 16  # at most
HIGHEST = 1000  # numbers that are named are below
HELD_OUT = 7  # its multiples are never learned


class Answer(NamedTuple):
    """What a network said, and what is right, both as people write them."""

    read: str
    said: str
    right: str


class Shape(nn.Module, ABC):
    """A network of one shape and its problem.

    Attributes:
        name: of the shape.
        problem: what it learns, in words.
        rate: learning rate that suits it.
    """

    name: str
    problem: str
    rate = 0.01

    @abstractmethod
    def loss(self, generator: torch.Generator) -> Tensor:
        """Of a new batch; nothing that is judged is in it."""

    @abstractmethod
    def answers(self, count: int, generator: torch.Generator) -> list[Answer]:
        """To so many sequences that were not learned from."""


class Sums(Shape):
    """Aligned: at each step two bits are read and one is said; what is carried over is remembered.

    A sum that is judged has a first number that divides by seven; none of those is learned.
    """

    name = "aligned"
    problem = "Two numbers in bits, the lowest first: say the bits of their sum, one a step."

    def __init__(self) -> None:
        super().__init__()
        self.network = Aligned(RecurrentConfig(2, 12, "rnn_tanh"), 1)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Cross-entropy of a bit."""
        one, other = self._draw(_BATCH, generator, False)
        logits, _ = self.network(torch.stack([bits(one), bits(other)], dim=-1), return_state=False)
        return F.binary_cross_entropy_with_logits(logits.squeeze(-1), bits(one + other))

    @torch.no_grad()
    def answers(self, count: int, generator: torch.Generator) -> list[Answer]:
        """Sums in figures."""
        one, other = self._draw(count, generator, True)
        logits, _ = self.network(torch.stack([bits(one), bits(other)], dim=-1))
        said = (logits.squeeze(-1).gt(0) * 2 ** torch.arange(BITS)).sum(dim=1)
        sums = (one + other).tolist()
        rows = zip(one.tolist(), other.tolist(), said.tolist(), sums, strict=True)
        return [Answer(f"{a} + {b}", str(c), str(d)) for a, b, c, d in rows]

    @staticmethod
    def _draw(count: int, generator: torch.Generator, held_out: bool) -> tuple[Tensor, Tensor]:
        """Pairs of numbers (count,) whose sum has at most `BITS` bits."""
        one, other = torch.randint(2 ** (BITS - 1) - HELD_OUT, (2, count), generator=generator)
        one = one - one % HELD_OUT
        if not held_out:
            one = one + torch.randint(1, HELD_OUT, (count,), generator=generator)
        return one, other


def bits(numbers: Tensor) -> Tensor:
    """(batch,) -> (batch, BITS) of 0.0 and 1.0, the lowest first."""
    return numbers.unsqueeze(1).bitwise_right_shift(torch.arange(BITS)).bitwise_and(1).float()


class Brackets(Shape):
    """To a vector: everything is read before the one answer is given.

    Half of the sequences match; the others were made by turning one bracket of such a sequence round. What is
    judged is longer by one pair than what was learned.
    """

    name = "to a vector"
    problem = "Opening and closing brackets: does each have its partner? One answer, at the end."

    def __init__(self) -> None:
        super().__init__()
        self.network = ToVector(RecurrentConfig(2, 12, "lstm"), 1)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Cross-entropy of the answer."""
        texts = [self._draw(generator, BRACKETS // 2) for _ in range(_BATCH)]
        right = torch.tensor([float(matches(text)) for text in texts])
        return F.binary_cross_entropy_with_logits(self._logits(texts), right)

    @torch.no_grad()
    def answers(self, count: int, generator: torch.Generator) -> list[Answer]:
        """Yes and no."""
        texts = [self._draw(generator, BRACKETS // 2 + 1, BRACKETS // 2 + 1) for _ in range(count)]
        said = self._logits(texts).gt(0).tolist()
        words = {True: "they match", False: "they do not"}
        return [Answer(text, words[one], words[matches(text)]) for text, one in zip(texts, said, strict=True)]

    def _logits(self, texts: Sequence[str]) -> Tensor:
        """(texts,), above 0 for yes."""
        rows = [F.one_hot(torch.tensor(["()".index(one) for one in text]), 2).float() for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        return self.network(nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths).squeeze(-1)

    @staticmethod
    def _draw(generator: torch.Generator, most_pairs: int, fewest_pairs: int = 1) -> str:
        """A random sequence."""

        def draw(below: int) -> int:
            return int(torch.randint(below, (), generator=generator))

        left = fewest_pairs + draw(most_pairs - fewest_pairs + 1)
        text, open_ = "", 0
        while left or open_:
            if left and (not open_ or draw(2)):
                text, open_, left = f"{text}(", open_ + 1, left - 1
            else:
                text, open_ = f"{text})", open_ - 1
        if draw(2):
            place = draw(len(text))
            text = f"{text[:place]}{')' if text[place] == '(' else '('}{text[place + 1 :]}"
        return text


def matches(text: str) -> bool:
    """Whether every bracket of `text` has its partner."""
    open_ = 0
    for one in text:
        open_ += 1 if one == "(" else -1
        if open_ < 0:
            return False
    return open_ == 0


# What names are written with; the start, and the end, which is also what pads.
LETTERS = " abcdefghijklmnopqrstuvwxyz"
_START, _END = len(LETTERS), len(LETTERS) + 1
_FIGURES_START, _FIGURES_END = 10, 11


def name_of(number: int) -> str:
    """205 -> two hundred five."""
    return " ".join(spell(number))


def encode_names(numbers: Sequence[int]) -> Tensor:
    """(numbers, letters of the longest and one more), the end behind each."""
    rows = [torch.tensor([*map(LETTERS.index, name_of(number)), _END]) for number in numbers]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_END)


def encode_figures(numbers: Sequence[int]) -> Tensor:
    """(numbers, figures of the longest and one more), the end behind each."""
    rows = [torch.tensor([*map(int, str(number)), _FIGURES_END]) for number in numbers]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_FIGURES_END)


def _draw_numbers(count: int, generator: torch.Generator, held_out: bool) -> list[int]:
    """Numbers below `HIGHEST`: multiples of seven if `held_out`, else others."""
    drawn = torch.randint(HIGHEST // HELD_OUT, (count,), generator=generator) * HELD_OUT
    if not held_out:
        drawn = drawn + torch.randint(1, HELD_OUT, (count,), generator=generator)
    return drawn.tolist()


class Names(Shape):
    """From a vector: one thing is given, a whole sequence follows."""

    name = "from a vector"
    problem = "A number as one vector: say its name, letter by letter."

    def __init__(self) -> None:
        super().__init__()
        self.network = FromVector(RecurrentConfig(16, 96, "gru"), 30, len(LETTERS) + 2)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Cross-entropy of a letter, given the true ones before it."""
        numbers = _draw_numbers(_BATCH, generator, False)
        names = encode_names(numbers)
        logits = self.network(vectors(numbers), F.pad(names[:, :-1], (1, 0), value=_START))
        return F.cross_entropy(logits.flatten(0, 1), names.flatten())

    @torch.no_grad()
    def answers(self, count: int, generator: torch.Generator) -> list[Answer]:
        """Names."""
        numbers = _draw_numbers(count, generator, True)
        begun = self.network.begin(vectors(numbers))
        found = _spoken(self.network, begun, count, (_START, _END), 40)
        said = ["".join(LETTERS[one] for one in symbols if one < len(LETTERS)) for symbols in found]
        return [Answer(str(one), name, name_of(one)) for one, name in zip(numbers, said, strict=True)]


def vectors(numbers: Sequence[int]) -> Tensor:
    """(numbers, 30): which of ten figures stands at each of three places."""
    figures = torch.tensor([[number // 100, number // 10 % 10, number % 10] for number in numbers])
    return F.one_hot(figures, 10).float().flatten(1)


class Figures(Shape):
    """Encoder-decoder: a sequence is read, then another of another length is said."""

    name = "encoder-decoder"
    problem = "A number's name, letter by letter: say its figures."

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_END + 1, 16)
        encoder, decoder = RecurrentConfig(16, 64, "gru", bidirectional=True), RecurrentConfig(16, 64, "gru")
        self.network = EncoderDecoder(encoder, decoder, 12)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Cross-entropy of a figure, given the true ones before it."""
        numbers = _draw_numbers(_BATCH, generator, False)
        figures = encode_figures(numbers)
        before = F.pad(figures[:, :-1], (1, 0), value=_FIGURES_START)
        logits = self.network(*self._read(numbers), before)
        return F.cross_entropy(logits.flatten(0, 1), figures.flatten())

    @torch.no_grad()
    def answers(self, count: int, generator: torch.Generator) -> list[Answer]:
        """Figures."""
        numbers = _draw_numbers(count, generator, True)
        begun = self.network.begin(*self._read(numbers))
        found = _spoken(self.network, begun, count, (_FIGURES_START, _FIGURES_END), 6)
        said = ["".join(str(one) for one in symbols if one < 10) for symbols in found]
        return [Answer(name_of(one), other, str(one)) for one, other in zip(numbers, said, strict=True)]

    def _read(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The letters' vectors (numbers, letters, 16) and how many there are (numbers,)."""
        lengths = torch.tensor([len(name_of(number)) for number in numbers])
        return self.embedding(encode_names(numbers)[:, : int(lengths.max())]), lengths


def _spoken(network: Any, begun: Any, count: int, ends: tuple[int, int], most: int) -> list[tuple[int, ...]]:
    """The likeliest symbol again and again, from the start to the end."""
    options = BeamOptions(width=1, most_steps=most)
    found = beam_search(network.step, network.reorder, begun, count, *ends, options)
    return [best[0].symbols for best in found]


SHAPES: dict[str, type[Shape]] = {one.name: one for one in (Sums, Brackets, Names, Figures)}
UPDATES = {"aligned": 300, "to a vector": 300, "from a vector": 300, "encoder-decoder": 600}


def train(name: str, updates: int, generator: torch.Generator) -> tuple[Shape, list[float]]:
    """A network of one of the `SHAPES` that learned its problem, and the losses on the way."""
    shape = SHAPES[name]()
    return shape, learn(shape, lambda: shape.loss(generator), updates, shape.rate, name=name)


def share_right(answers: Sequence[Answer]) -> float:
    """The share of answers that are right in every figure and letter."""
    return sum(one.said == one.right for one in answers) / len(answers)


def main() -> int:
    """Train all four, print what share of their answers is right and some of them, and draw the losses."""
    parser = make_parser("shapes", "The four shapes of recurrent networks, each with a problem.")
    parser.add_argument(
        "--updates", type=at_least(1), metavar="N", help="of each (300, the encoder-decoder 600)"
    )
    arguments = parser.parse_args()
    generator = set_up(arguments)
    lines = []
    for name in SHAPES:
        shape, losses = train(name, arguments.updates or UPDATES[name], generator)
        answers = shape.answers(300, generator)
        print(f"{name:17}{share_right(answers):7.1%} right: {shape.problem}")
        for one in answers[:3]:
            right = "" if one.said == one.right else f", and should be {one.right}"
            print(f"{'':17}{one.read} -> {one.said}{right}", flush=True)
        lines.append(Line(name, losses))
    if arguments.output is not None:
        chart = Chart("Loss in training", lines, "updates", 1e-3, 10.0, powers=True)
        write_png(arguments.output, [chart])
    return 0


if __name__ == "__main__":
    sys.exit(run_command("shapes", main))
