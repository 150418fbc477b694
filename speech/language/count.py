"""Making an n-gram language model: weighted texts in; a model, and how well it predicts other texts, out."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.commands.paths import require_apart
from common.errors import InputError, OptionError
from common.files import require_writable
from common.models.directory import CONFIG
from common.models.files import read_model
from common.pronunciations import read_pronunciations
from speech.language.count_ngrams import MOST_ORDER, choose_words, count_ngrams, read_texts, renumber
from speech.language.kneser_ney import make_model, prune
from speech.language.ngram import MOST_WORDS, NgramModel, Spelling, write_ngram_model
from speech.language.options import CountOptions, parse_source
from speech.language.sentences import read_normalized
from speech.language.vocabulary import SPECIAL, UNKNOWN
from speech.model.network import config_from_model
from speech.model.subwords import Subwords


@dataclass(frozen=True)
class Prediction:
    """How well a model predicts a text.

    Attributes:
        name: of the text.
        perplexity: a word; the end of a sentence counts as a word and the unknown word as any other, as in
            `speech train-lm`.
        open_perplexity: the same, but a word that the model does not know costs besides that it is one of
            all those that the model's text had. Only so are models with other vocabularies compared.
        unknown: share of the words that the model does not know, in percent; ends do not count.
    """

    name: str
    perplexity: float
    open_perplexity: float
    unknown: float


def count_language_model(options: CountOptions) -> None:
    """Make a model, write it, and print how well it predicts the dev texts.

    Raises:
        InputError: if a text or the recogniser cannot be used, the model cannot be written, or an option
            cannot be.
    """
    if not 2 <= options.order <= MOST_ORDER:
        raise OptionError("order", f"must be 2 to {MOST_ORDER}")
    if not len(SPECIAL) < options.words <= MOST_WORDS:
        raise OptionError("words", f"must be {len(SPECIAL) + 1} to {MOST_WORDS}")
    sources = [parse_source(one) for one in options.text]
    config = [] if options.model is None else [options.model / CONFIG]
    spoken = [] if options.pronunciations is None else [options.pronunciations]
    read_whole = [*(one.path for one in sources), *options.dev, *config, *spoken]
    require_apart(read_whole, [options.output, options.output / CONFIG])
    require_writable(options.output.parent)
    subwords = None if options.model is None else read_symbols(options.model)
    pronunciations = None if options.pronunciations is None else read_pronunciations(options.pronunciations)
    read, texts = read_texts(sources)
    words = choose_words(read, texts, options.words)
    unknown_words = len(read) - 1 - len(words)
    total = sum(len(text.words) for text in texts)
    print(f"{total:,} words, {len(read) - 1:,} different ones", file=sys.stderr)
    words.sort()
    spelling = Spelling("", np.empty(0, np.int16), np.zeros(len(words), np.uint8))
    numbers = renumber(read, words)
    del read
    numbered = [(numbers[texts.pop(0).words], weight) for weight in [text.weight for text in texts]]
    counts = count_ngrams(numbered, options.order, len(words) + len(SPECIAL))
    del numbered
    sizes = "  ".join(f"{one.order}: {len(one.keys):,}" for one in counts)
    print(f"n-grams that were counted  {sizes}", file=sys.stderr)
    # What a word takes besides its n-grams: letters, a space, a probability, a back-off weight, how many
    # words follow, and some symbols that spell it.
    fixed = sum(map(len, words)) + 14 * len(words)
    orders = prune(counts, int(options.megabytes * 1e6) - fixed)
    model = make_model(orders, words, unknown_words, spelling)
    if subwords is not None:
        model = model.made_for(subwords)
    if pronunciations is not None:
        model = model.spoken(pronunciations)
    predictions = [predict(model, path) for path in options.dev]
    for one in predictions:
        print(
            f"{one.name}  perplexity {one.perplexity:.1f}  open {one.open_perplexity:.1f}"
            f"  unknown {one.unknown:.2f} %"
        )
    write_ngram_model(options.output, model, card(model, predictions))


def read_symbols(model: Path) -> Subwords:
    """The symbols that a recogniser writes.

    Raises:
        InputError: if the directory has none.
    """
    stored, weights = read_model(model)
    try:
        return Subwords(config_from_model(stored, weights, model).symbols)
    except ValueError as error:
        raise InputError(
            model / CONFIG, "is not the configuration of a recogniser that writes subwords"
        ) from error


def predict(model: NgramModel, path: Path) -> Prediction:
    """Measure a model on a text.

    Raises:
        InputError: if it cannot be read or holds no words.
    """
    sentences = [
        [model.numbers.get(word, UNKNOWN) for word in sentence.split()]
        for block in read_normalized(path)
        for sentence in block
    ]
    if not sentences:
        raise InputError(path, "holds no words")
    words = sum(map(len, sentences))
    unknown = sum(sentence.count(UNKNOWN) for sentence in sentences)
    loss, predicted = -float(model.sentence_log_probs(sentences).sum()), words + len(sentences)
    return Prediction(
        path.name.split(".")[0],
        math.exp(loss / predicted),
        math.exp((loss - unknown * model.unknown_share) / predicted),
        100.0 * unknown / words,
    )


def card(model: NgramModel, predictions: Sequence[Prediction]) -> str:
    """The card of a model: its size, and how well it predicts."""
    sizes = [len(model.unigrams), *(followers.size for followers in model.longer)]
    lines = [
        "# Language model",
        "",
        "Interpolated Kneser-Ney, pruned by entropy, 7 bits a probability. Made by `speech count-lm`.",
        "",
        "| words of an n-gram | n-grams |",
        "|---|---|",
        *(f"| {order} | {size:,} |" for order, size in enumerate(sizes, start=1)),
    ]
    if predictions:
        lines += [
            "",
            "Perplexity a word on text that was not learned from; ends of sentences count, and the unknown",
            "word as any other. Open: an unknown word costs besides that it is one of all those in the text.",
            "",
            "| text | perplexity | open | unknown words, % |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {one.name} | {one.perplexity:.1f} | {one.open_perplexity:.1f} | {one.unknown:.2f} |"
            for one in predictions
        ]
    return "\n".join([*lines, ""])
