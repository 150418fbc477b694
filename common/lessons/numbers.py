"""Numbers in words become figures: an encoder-decoder, without attention and with it.

`python -m common.lessons.numbers`. The words of a number below a thousand million are read, its figures are
spoken: "two hundred five thousand seven" becomes 205007. Without attention (Sutskever et al. 2014) all that
was read must pass through one vector; with it (Luong et al. 2015) each figure looks back at the words. No
number that is judged was in training: a multiple of seven is drawn for judging only.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.commands.command import at_least, run_command
from common.core.recurrent import RecurrentConfig
from common.core.search import BeamOptions, beam_search
from common.core.topologies import Attentive, EncoderDecoder
from common.lessons.drawing import Shades, write_png
from common.lessons.learning import learn, make_parser, set_up

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
WORDS = [*ONES, *TENS, "hundred", "thousand", "million"]
HIGHEST = 10**9  # numbers are below

# What is spoken: the ten figures, and what opens and closes them.
START, END = 10, 11
_SYMBOLS = 12
_VECTOR, _HIDDEN = 32, 64
_HELD_OUT = 7
RANGES = ((1, 3), (4, 6), (7, 9))  # figures of the numbers that are judged apart


def spell(number: int) -> list[str]:
    """The words of a number from 0 to below `HIGHEST`: 205007 -> two hundred five thousand seven."""
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10 - 2], *_rest(number % 10)]
    for size, name in ((10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            return [*spell(number // size), name, *_rest(number % size)]
    raise AssertionError(number)


def _rest(number: int) -> list[str]:
    """The words of what is left, none for nothing."""
    return spell(number) if number else []


def draw_numbers(count: int, generator: torch.Generator, held_out: bool) -> list[int]:
    """Random numbers above 0, short ones as often as long: multiples of seven if `held_out`, else others."""
    numbers: list[int] = []
    while len(numbers) < count:
        draws = torch.rand(2 * count, generator=generator, dtype=torch.float64) * math.log(HIGHEST)
        drawn = [min(HIGHEST - 1, int(value)) for value in draws.exp().tolist()]
        if held_out:
            drawn = [number - number % _HELD_OUT for number in drawn]
        numbers += [number for number in drawn if number and (number % _HELD_OUT == 0) == held_out]
    return numbers[:count]


def encode(numbers: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """What is read and what is to be spoken.

    Returns:
        Words (batch, read steps) as places in `WORDS`, their lengths (batch,), and figures (batch, spoken
        steps) with `END` behind them up to the longest.
    """
    words = [torch.tensor([WORDS.index(word) for word in spell(number)]) for number in numbers]
    figures = [torch.tensor([*map(int, str(number)), END]) for number in numbers]
    return (
        nn.utils.rnn.pad_sequence(words, batch_first=True),
        torch.tensor([len(one) for one in words]),
        nn.utils.rnn.pad_sequence(figures, batch_first=True, padding_value=END),
    )


class Reader(nn.Module):
    """Vectors for words, and one of the two encoder-decoders behind them.

    Args:
        attention: whether the decoder looks back.
    """

    def __init__(self, attention: bool) -> None:
        super().__init__()
        self.vectors = nn.Embedding(len(WORDS), _VECTOR)
        encoder = RecurrentConfig(_VECTOR, _HIDDEN, "lstm", bidirectional=True)
        decoder = RecurrentConfig(_VECTOR, 2 * _HIDDEN, "lstm")
        self.network: Attentive | EncoderDecoder
        if attention:
            self.network = Attentive(encoder, decoder, _SYMBOLS)
        else:
            self.network = EncoderDecoder(encoder, decoder, _SYMBOLS)

    def loss(self, numbers: Sequence[int]) -> Tensor:
        """Mean negative log-probability of a figure, given the true ones before it."""
        words, lengths, figures = encode(numbers)
        before = F.pad(figures[:, :-1], (1, 0), value=START)
        logits = self.network(self.vectors(words), lengths, before)
        return F.cross_entropy(logits.flatten(0, 1), figures.flatten())

    @torch.no_grad()
    def read(self, numbers: Sequence[int], beam: int = 1) -> list[str]:
        """The figures that it speaks for the words of each number."""
        words, lengths, _ = encode(numbers)
        network: Any = self.network  # the two have states of their own kind
        begun = network.begin(self.vectors(words), lengths)
        options = BeamOptions(width=beam, most_steps=12)
        found = beam_search(network.step, network.reorder, begun, len(numbers), START, END, options)
        return ["".join(map(str, best[0].symbols)) for best in found]

    def exact(self, numbers: Sequence[int]) -> float:
        """The share of numbers whose figures are all right."""
        return sum(map(str.__eq__, self.read(numbers), map(str, numbers))) / len(numbers)


def train(attention: bool, updates: int, generator: torch.Generator) -> Reader:
    """A network that learned from random numbers, 64 an update."""
    reader = Reader(attention)
    name = "with attention" if attention else "without"
    learn(reader, lambda: reader.loss(draw_numbers(64, generator, False)), updates, rate=0.005, name=name)
    return reader


@torch.no_grad()
def attention_of(reader: Reader, number: int) -> Tensor:
    """Where each figure that it speaks looks: (figures and the end, words).

    Raises:
        ValueError: for a network without attention.
    """
    if not isinstance(reader.network, Attentive):
        raise ValueError("this network has no attention")
    words, lengths, _ = encode([number])
    spoken = [START, *map(int, reader.read([number])[0])]
    return reader.network.speak(reader.vectors(words), lengths, torch.tensor([spoken]))[1][0]


def main() -> int:
    """Train both, print how many numbers each gets right, and draw where the attention lies."""
    parser = make_parser("numbers", "Numbers in words become figures, without attention and with it.")
    parser.add_argument("--updates", type=at_least(1), default=1500, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--number",
        type=at_least(0),
        default=205007,
        metavar="N",
        help="whose attention is drawn (%(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.number >= HIGHEST:
        parser.error(f"--number must be below {HIGHEST}")
    generator = set_up(arguments)
    judged = draw_numbers(1000, generator, held_out=True)
    ranges = "".join(f"{f'{low} to {high} figures':>15}" for low, high in RANGES)
    print(f"{'exactly right':18}{'all':>7}{ranges}")
    for attention in (False, True):
        reader = train(attention, arguments.updates, generator)
        name = "with attention" if attention else "without attention"
        row = f"{name:18}{reader.exact(judged):7.1%}"
        for low, high in RANGES:
            row += f"{reader.exact([one for one in judged if low <= len(str(one)) <= high]):15.1%}"
        print(row, flush=True)
    words, figures = spell(arguments.number), reader.read([arguments.number])[0]
    print(f"\n{' '.join(words)}: {figures}")
    if arguments.output is not None:
        title = f"{arguments.number}: where each figure, and the end, looks"
        weights = attention_of(reader, arguments.number).T.tolist()
        write_png(arguments.output, [Shades(title, words, [*figures, "end"], weights)])
    return 0


if __name__ == "__main__":
    sys.exit(run_command("numbers", main))
