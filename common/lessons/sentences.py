"""A sentence becomes a label: is it a question? Or sentiment, topic, intent, whatever a file of them says.

`python -m common.lessons.sentences`: English sentences from Tatoeba, which ship with the code, without the
sign at their end; was it a full stop or a question mark? A file of other sentences may be given, with the
columns `text` and `label` (a tab between them, no quoting). A bidirectional LSTM reads the words in order
(sequence to vector); beside it stands a bag of words, which counts them: logistic regression. What the one
knows more than the other is in the order: "he is at home", "is he at home". A tenth of the sentences is held
out from both, and judges them.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.commands.command import at_least, run_command
from common.core.recurrent import LockedDropout, RecurrentConfig
from common.core.topologies import ToVector
from common.errors import InputError
from common.lessons.drawing import Chart, Line, write_png
from common.lessons.learning import learn, make_parser, set_up
from common.lessons.translation import SENTENCES, read_pairs

PADDING, UNKNOWN = 0, 1  # places before the known words'
_VECTOR, _HIDDEN, _BATCH = 64, 64, 32
_HELD_OUT = 10  # one of so many sentences is
_ENOUGH = 2  # times that a word must stand in training to be known
_SHOWN = 4  # sentences that are printed
_NAMES = {".": "statement", "?": "question"}


@dataclass(frozen=True)
class Sentences:
    """Labelled sentences.

    Attributes:
        words: of each.
        labels: of each, places in `names`.
        names: of the labels, sorted.
    """

    words: Sequence[Sequence[str]]
    labels: Sequence[int]
    names: Sequence[str]

    def part(self, rows: Sequence[int]) -> Sentences:
        """Some of them."""
        return Sentences([self.words[row] for row in rows], [self.labels[row] for row in rows], self.names)


def split_words(text: str) -> list[str]:
    """Words in lower case, each punctuation mark one of its own; a text without any is one empty word."""
    return re.findall(r"\w+(?:'\w+)?|[^\w\s]", text.lower()) or [""]


def read_sentences(path: Path) -> Sentences:
    """Read a TSV file with the columns `text` and `label`.

    Raises:
        InputError: if it cannot be read, lacks a column, or has fewer than two labels.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read: {error}") from error
    if not rows or not {"text", "label"} <= set(rows[0]):
        raise InputError(path, "needs a header and rows with the columns text and label")
    names = sorted({row["label"] or "" for row in rows})
    if len(names) < 2:
        raise InputError(path, "has one label; there is nothing to tell apart")
    words = [split_words(row["text"] or "") for row in rows]
    return Sentences(words, [names.index(row["label"] or "") for row in rows], names)


def questions() -> Sentences:
    """The English sentences that ship, by the sign at their end, which is taken from them."""
    said = [english for _, english in read_pairs(SENTENCES)]
    chosen = [words for words in said if words[-1] in _NAMES and not _NAMES.keys() & {*words[:-1]}]
    labels = [[*_NAMES].index(words[-1]) for words in chosen]
    return Sentences([words[:-1] for words in chosen], labels, [*_NAMES.values()])


def hold_out(sentences: Sentences, generator: torch.Generator) -> tuple[Sentences, Sentences]:
    """Nine tenths to learn from and a tenth to be judged by; a sentence that is there twice is in one."""
    keys = {tuple(words): None for words in sentences.words}
    order = torch.randperm(len(keys), generator=generator).tolist()
    judged = {key for key, place in zip(keys, order, strict=True) if place % _HELD_OUT == 0}
    rows = range(len(sentences.words))
    inside = [tuple(sentences.words[row]) in judged for row in rows]
    return (
        sentences.part([row for row in rows if not inside[row]]),
        sentences.part([row for row in rows if inside[row]]),
    )


def vocabulary(sentences: Sentences) -> dict[str, int]:
    """Places of the words that stand there twice or more, behind `PADDING` and `UNKNOWN`."""
    counts = Counter(word for words in sentences.words for word in words)
    known = sorted(word for word, count in counts.items() if count >= _ENOUGH)
    return {word: place for place, word in enumerate(known, UNKNOWN + 1)}


class Bag(nn.Module):
    """Logistic regression on which words stand in a sentence."""

    def __init__(self, words: int, labels: int) -> None:
        super().__init__()
        self.weights = nn.EmbeddingBag(words, labels, mode="sum", padding_idx=PADDING)
        self.bias = nn.Parameter(torch.zeros(labels))
        nn.init.zeros_(self.weights.weight)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Places of words (batch, steps), zero behind each length -> logits (batch, labels)."""
        return self.weights(words) + self.bias


class Reader(nn.Module):
    """A bidirectional LSTM that reads the words in order."""

    def __init__(self, words: int, labels: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, _VECTOR, padding_idx=PADDING)
        self.dropout = LockedDropout(0.5)
        self.network = ToVector(RecurrentConfig(_VECTOR, _HIDDEN, bidirectional=True), labels)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        """As `Bag.forward`."""
        return self.network(self.dropout(self.vectors(words)), lengths)


class Classifier:
    """A network, the words it knows, and how it is trained and asked.

    Args:
        network: `Bag` or `Reader`.
        places: of the known words.
    """

    def __init__(self, network: Bag | Reader, places: dict[str, int]) -> None:
        self.network, self.places = network, places

    def logits(self, several: Sequence[Sequence[str]]) -> Tensor:
        """Words of sentences -> (sentences, labels)."""
        rows = [torch.tensor([self.places.get(word, UNKNOWN) for word in words]) for words in several]
        lengths = torch.tensor([len(row) for row in rows])
        return self.network(nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths)

    def train(
        self, sentences: Sentences, updates: int, generator: torch.Generator, rate: float
    ) -> list[float]:
        """Learn from random batches; gives the losses."""

        def loss() -> Tensor:
            rows = torch.randint(len(sentences.words), (_BATCH,), generator=generator).tolist()
            drawn = sentences.part(rows)
            return F.cross_entropy(self.logits(drawn.words), torch.tensor(drawn.labels))

        return learn(self.network, loss, updates, rate, name=type(self.network).__name__)

    @torch.no_grad()
    def right(self, sentences: Sentences) -> list[bool]:
        """Of each sentence, whether its label is found."""
        found = [int(self.logits([words]).argmax()) for words in sentences.words]
        return [*map(int.__eq__, found, sentences.labels)]


def main() -> int:
    """Train both, print how often each is right, and draw their losses."""
    parser = make_parser("sentences", "Sentences become labels: an LSTM beside a bag of words.")
    parser.add_argument(
        "sentences",
        type=Path,
        nargs="?",
        metavar="TSV",
        help="with the columns text and label (questions and statements that ship)",
    )
    parser.add_argument("--updates", type=at_least(1), default=1500, metavar="N", help="(%(default)s)")
    arguments = parser.parse_args()
    generator = set_up(arguments)
    given = arguments.sentences
    learned, judged = hold_out(questions() if given is None else read_sentences(given), generator)
    places = vocabulary(learned)
    size, labels = len(places) + 2, len(learned.names)
    most = Counter(learned.labels).most_common(1)[0][0]
    print(f"{len(learned.words):,} sentences to learn from, {len(judged.words):,} to be judged by")
    print(f"{'always ' + learned.names[most]:24}{judged.labels.count(most) / len(judged.labels):7.1%}")
    lines, rights = [], []
    networks: dict[str, tuple[Bag | Reader, float]] = {
        "bag of words": (Bag(size, labels), 0.02),
        "LSTM": (Reader(size, labels), 0.003),
    }
    for name, (network, rate) in networks.items():
        classifier = Classifier(network, places)
        losses = classifier.train(learned, arguments.updates, generator, rate)
        rights.append(classifier.right(judged))
        print(f"{name:24}{sum(rights[-1]) / len(judged.words):7.1%}", flush=True)
        smooth = torch.tensor(losses).unfold(0, min(20, len(losses)), 1).mean(-1)
        lines.append(Line(name, smooth.tolist()))
    print("only the LSTM is right:")
    in_order = [row for row, (bag, lstm) in enumerate(zip(*rights, strict=True)) if lstm and not bag]
    for row in sorted(in_order, key=lambda row: -len(judged.words[row]))[:_SHOWN]:
        print(f"    {judged.names[judged.labels[row]]}: {' '.join(judged.words[row])}")
    if arguments.output is not None:
        high = max(max(line.values) for line in lines)
        write_png(arguments.output, [Chart("Loss in training", lines, "updates", 0.0, high)])
    return 0


if __name__ == "__main__":
    sys.exit(run_command("sentences", main))
