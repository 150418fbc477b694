"""German sentences become English ones, without attention and with it.

`python -m common.lessons.translation`. An encoder reads the German words, a decoder says the English ones.
Short sentences of everyday life from Tatoeba ship with the code (`data/SOURCES.md`); `--data` takes others.
The English verb often stands where the German one does not: "Ich habe Tom gestern gesehen" is "I saw Tom
yesterday", and the attention that is drawn shows the decoder jump.

    BLEU     corpus BLEU-4 (Papineni et al. 2002): how many runs of one to four words are the reference's
    exact    the share of sentences that are the reference, word for word
"""

from __future__ import annotations

import csv
import lzma
import re
import sys
from pathlib import Path

from common.bleu import corpus_bleu
from common.commands.command import at_least, run_command
from common.errors import InputError
from common.lessons.drawing import write_png
from common.lessons.learning import make_parser, set_up
from common.lessons.pairs import Pair, Symbols, attention_panel, hold_out, train

SENTENCES = Path(__file__).parent / "data" / "german-english.tsv.xz"
_JUDGED = 1000
_FEWEST = 3  # times that a word stands in what is learned from, to be known
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[^\w\s]")


def words_of(sentence: str) -> Symbols:
    """Words and signs, in lower case: "Ich bin's." -> ich, bin's, ."""
    return tuple(_WORD.findall(sentence.lower().replace("’", "'")))


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of sentences from a TSV file with a header, the first two columns, packed with xz or not.

    Raises:
        InputError: if it cannot be read, a line has no second column, or there are too few.
    """
    pairs = []
    try:
        with (
            lzma.open(path, "rt", encoding="utf-8")
            if path.suffix == ".xz"
            else path.open(encoding="utf-8") as file
        ):
            rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(rows, None)
            for row in rows:
                if len(row) < 2:
                    raise InputError(path, f"line {rows.line_num} has no second sentence")
                pairs.append((words_of(row[0]), words_of(row[1])))
    except (OSError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise InputError(path, f"cannot be read: {error}") from error
    pairs = [pair for pair in pairs if all(pair)]
    if len(pairs) < 100:
        raise InputError(path, f"has {len(pairs)} pairs; 100 are the fewest")
    return pairs


def main() -> int:
    """Train both, print how good each is and some translations, and draw where one of them looks."""
    parser = make_parser("translation", "German becomes English, without attention and with it.")
    parser.add_argument(
        "--data", type=Path, default=SENTENCES, metavar="TSV", help="pairs of sentences (those that ship)"
    )
    parser.add_argument("--updates", type=at_least(1), default=2500, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--sentence",
        default="Ich habe Tom gestern gesehen.",
        metavar="TEXT",
        help="whose attention is drawn (%(default)s)",
    )
    arguments = parser.parse_args()
    shown = words_of(arguments.sentence)
    if not shown:
        parser.error("--sentence has no words")
    generator = set_up(arguments)
    learned, judged = hold_out(read_pairs(arguments.data), _JUDGED, generator)
    learned = [pair for pair in learned if pair[0] != shown]  # it shall be new
    print(f"{len(learned)} pairs to learn from, {len(judged)} to be judged by")
    print(f"{'':20}{'BLEU':>8}{'exact':>8}")
    right = [english for _, english in judged]
    for attention in (False, True):
        transducer = train(learned, attention, arguments.updates, generator, _FEWEST)
        said = transducer.speak([german for german, _ in judged], beam=3)
        bleu = 100.0 * corpus_bleu([[one] for one in right], said)[3]
        same = sum(map(tuple.__eq__, said, right)) / len(right)
        name = "with attention" if attention else "without attention"
        print(f"{name:20}{bleu:8.1f}{same:8.1%}", flush=True)
    print()
    for (german, english), one in [*zip(judged[:5], said[:5], strict=True)]:
        print(f"{' '.join(german)}  ->  {' '.join(one)}    ({' '.join(english)})")
    print(f"{' '.join(shown)}  ->  {' '.join(transducer.speak([shown])[0])}")
    if arguments.output is not None:
        panel = attention_panel(transducer, shown, "Where each English word, and the end, looks")
        write_png(arguments.output, [panel])
    return 0


if __name__ == "__main__":
    sys.exit(run_command("translation", main))
