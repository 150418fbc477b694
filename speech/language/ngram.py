"""An n-gram language model: which word comes next, after the last one or two?

Comes in: a model directory, as `speech count-lm` writes it. Goes out: log-probabilities of words after others
and of sentences, the best of a range of words, new text. An n-gram that is not stored is as likely as the one
without its first word, times the back-off weight of the words before the last (Katz 1987,
doi:10.1109/TASSP.1987.1165125).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import InputError
from common.models.directory import CONFIG
from common.models.files import read_model, write_model
from speech.language.followers import WORD_BITS, Followers, Numbers, RangeMaximum, Values
from speech.language.generating import generated
from speech.language.spoken import Pronunciations, known_only, restored, stored
from speech.language.vocabulary import END, SPECIAL, UNKNOWN
from speech.model.subwords import BLANK, LETTERS, Subwords
from speech.model.text import normalize

MOST_WORDS = (1 << WORD_BITS) - 1

# What the configuration says a model is.
_KIND = "n-gram"

# Words of sentences that are scored at once.
_TOGETHER = 1 << 16


@dataclass(frozen=True)
class Spelling:
    """How words are written in the symbols of a network.

    Attributes:
        made_for: what tells these symbols from others, by `symbols_hash`; "" for none.
        symbols: of all words, one after another.
        lengths: (words,) how many each has.
    """

    made_for: str
    symbols: NDArray[np.int16]
    lengths: NDArray[np.uint8]


class NgramModel:
    """A language model of n-grams.

    Words have numbers: the end of a sentence (which also stands before its start), the unknown word, then
    `words` in their order. What comes next depends on contexts: for each shorter n-gram that ends with the
    last word, its place among the n-grams of that length; -1 where it begins no longer one.

    Args:
        words: without the first two.
        unigrams: log-probability of each word by its number.
        longer: the n-grams of 2 words, 3 words and so on.
        unknown_words: how many different unknown words the text had.
        spelling: of the words.
        pronunciations: how some of the words are spoken, and no others, in ARPAbet's phones; see `spoken`.

    Attributes:
        words: as given, sorted by the symbols that spell them.
        vocabulary: the words by number.
        unknown_share: log-probability that the unknown word is one certain unknown word: they are all taken
            as equally likely. Without it a sentence would gain from words that nobody knows.
        start: (order - 1,) contexts before the first word.
    """

    def __init__(
        self,
        words: Sequence[str],
        unigrams: NDArray[np.float32],
        longer: Sequence[Followers],
        unknown_words: int,
        spelling: Spelling,
        pronunciations: Pronunciations | None = None,
    ) -> None:
        self.pronunciations = pronunciations or {}
        self.words, self.vocabulary = list(words), (*SPECIAL, *words)
        self.unknown_words = unknown_words
        self.unknown_share = -math.log(max(1, unknown_words))
        self.spelling = spelling
        self.unigrams, self.longer = unigrams, tuple(longer)
        self._best_unigram = RangeMaximum(unigrams)
        self.start = np.full((len(longer), 1), -1)
        for _ in longer:  # as many ends as a context has words
            self.start = self.after(self.start, np.array([END]))
        self.start = self.start[:, 0]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Of the words of the vocabulary."""
        return {word: number for number, word in enumerate(self.vocabulary)}

    @property
    def order(self) -> int:
        """Words of the longest n-grams."""
        return len(self.longer) + 1

    def after(self, contexts: Numbers, words: Numbers) -> Numbers:
        """Contexts (order - 1, items), and a word more of each (items,) -> the contexts then."""
        longer = np.full_like(contexts, -1)
        for number, followers in enumerate(self.longer):
            if number == 0:
                places = words
            else:
                places = np.full(len(words), -1)
                (some,) = np.nonzero(contexts[number - 1] >= 0)
                places[some] = self.longer[number - 1].find(contexts[number - 1, some], words[some])
            longer[number] = np.where(followers.follow(places), places, -1)
        return longer

    def log_probs(self, contexts: Numbers, words: Numbers) -> Values:
        """Log-probability of a word (items,) after each of contexts (order - 1, items)."""
        found = self.unigrams[words].astype(np.float64)
        for followers, context in zip(self.longer, contexts, strict=True):
            (some,) = np.nonzero(context >= 0)
            found[some] = followers.log_probs(context[some], words[some], found[some])
        return found

    def best(self, contexts: Numbers, first: Numbers, last: Numbers) -> Values:
        """The highest log-probability of the words from `first` to before `last`, which is behind it.

        Args:
            contexts: (order - 1, items).
            first, last: (items,).
        """
        found = self._best_unigram(first, last).astype(np.float64)
        for followers, context in zip(self.longer, contexts, strict=True):
            (some,) = np.nonzero(context >= 0)
            found[some] = followers.best(context[some], first[some], last[some], found[some])
        return found

    def encode(self, text: str) -> list[int]:
        """Any text -> the numbers of its words, normalised."""
        return [self.numbers.get(word, UNKNOWN) for word in normalize(text).split()]

    def score(self, texts: Sequence[str]) -> list[float]:
        """Log-probability of each text as one sentence, its end included, in nats.

        Each word that is not in the vocabulary costs `unknown_share` besides.
        """
        return [float(words.sum()) for words in self.score_words(texts)]

    def score_words(self, texts: Sequence[str]) -> list[Values]:
        """Log-probability of each word of a text and of its end, (words + 1,), of each text; as `score`."""
        sentences = [self.encode(text) for text in texts]
        found = self._word_log_probs(sentences)
        return [
            log_probs + self.unknown_share * (np.array([*sentence, END]) == UNKNOWN)
            for sentence, log_probs in zip(sentences, found, strict=True)
        ]

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> Values:
        """Log-probability of each sentence of word numbers, its end included, (sentences,)."""
        return np.array([words.sum() for words in self._word_log_probs(sentences)])

    def _word_log_probs(self, sentences: Sequence[Sequence[int]]) -> Iterator[Values]:
        """Log-probability of each word of sentences of word numbers and of its end, (words + 1,)."""
        lengths = np.array([len(sentence) + 1 for sentence in sentences], dtype=np.int64)
        cuts = (np.flatnonzero(np.diff(np.cumsum(lengths) // _TOGETHER)) + 1).tolist()
        for first, last in zip([0, *cuts], [*cuts, len(sentences)], strict=True):
            if first < last:
                ends = np.cumsum(lengths[first:last])
                together = self._score_together(sentences[first:last], lengths[first:last])
                yield from np.split(together, ends[:-1])

    def _score_together(self, sentences: Sequence[Sequence[int]], lengths: Numbers) -> Values:
        """As `_word_log_probs`, of fewer sentences, one after another."""
        targets = np.fromiter(chain.from_iterable((*one, END) for one in sentences), np.int64, lengths.sum())
        starts = np.cumsum(lengths) - lengths
        read = np.append(END, targets[:-1])  # an end also stands before the first word
        contexts = np.full((len(self.longer), len(read)), -1)
        for number in range(len(contexts)):  # those of a length from shorter ones a word before
            contexts[number, 1:] = self.after(contexts[:, :-1], read[1:])[number]
            contexts[number, starts] = self.start[number]
        return self.log_probs(contexts, targets)

    def generate(
        self,
        prefix: str = "",
        words: int = 30,
        temperature: float = 1.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> str:
        """Write on from a beginning, to the end of the sentence; as `LanguageModel.generate`."""
        contexts, everything = self.start[:, None], np.arange(len(self.vocabulary))
        *before, last = [END, *self.encode(prefix)]
        for word in before[1:]:
            contexts = self.after(contexts, np.array([word]))

        def step(symbols: Tensor, contexts: Numbers) -> tuple[Tensor, Numbers]:
            read = symbols.numpy()
            after = self.start[:, None] if read[0] == END else self.after(contexts, read)
            log_probs = self.log_probs(np.repeat(after, len(everything), axis=1), everything)
            log_probs[UNKNOWN] = -np.inf  # it could not be written down
            return torch.from_numpy(log_probs)[None], after

        return generated(step, contexts, last, prefix, self.vocabulary, words, temperature, top_p, generator)

    def spelled(self, subwords: Subwords) -> NDArray[np.int16]:
        """How `words` are written in the symbols of a network: (words, most symbols), blanks behind each.

        It is stored for the symbols that the model was made for; for others all words are spelled now.
        """
        unlike = int(self.spelling.symbols.max(initial=0)) >= len(subwords)
        if unlike or symbols_hash(subwords) != self.spelling.made_for:
            return subwords.spell_all(self.words)
        lengths = self.spelling.lengths
        table = np.full((len(lengths), int(lengths.max(initial=0))), BLANK, np.int16)
        table[np.arange(table.shape[1]) < lengths[:, None]] = self.spelling.symbols
        return table

    def made_for(self, subwords: Subwords) -> NgramModel:
        """The same model, its words as a network spells and a search orders them: both begin sooner."""
        words = sorted(self.words, key=subwords.spell)
        return self._reordered(words, spell_all(subwords, words))

    def reordered(self, words: Sequence[str]) -> NgramModel:
        """The same model, its words in another order; takes some seconds."""
        numbers = {word: number for number, word in enumerate(self.words)}
        old = np.array([numbers[word] for word in words])
        lengths = self.spelling.lengths.astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        moved = np.concatenate([[0], np.cumsum(lengths[old])])
        # Of each symbol in the new order, where it stands in the old one.
        places = np.arange(moved[-1]) + np.repeat(starts[old] - moved[:-1], lengths[old])
        spelling = Spelling(self.spelling.made_for, self.spelling.symbols[places], self.spelling.lengths[old])
        return self._reordered(words, spelling)

    def _reordered(self, words: Sequence[str], spelling: Spelling) -> NgramModel:
        """The same model, its words in another order and so spelled."""
        places = {word: number for number, word in enumerate((*SPECIAL, *words))}
        numbers = np.array([places[word] for word in self.vocabulary])
        contexts, longer = numbers, []
        for followers in self.longer:
            renamed, contexts = followers.reordered(contexts, numbers)
            longer.append(renamed)
        unigrams = self.unigrams[np.argsort(numbers)]
        return NgramModel(words, unigrams, longer, self.unknown_words, spelling, self.pronunciations)

    def spoken(self, pronunciations: Pronunciations) -> NgramModel:
        """The same model, which knows how its words are spoken, as far as a dictionary does."""
        known = known_only(self.words, pronunciations)
        return NgramModel(self.words, self.unigrams, self.longer, self.unknown_words, self.spelling, known)


def symbols_hash(subwords: Subwords) -> str:
    """What tells the symbols of networks apart."""
    return hashlib.sha256(" ".join(subwords.symbols).encode()).hexdigest()


def spell_all(subwords: Subwords, words: Sequence[str]) -> Spelling:
    """Words in the symbols of a network."""
    table = subwords.spell_all(words)
    own = table != BLANK
    return Spelling(symbols_hash(subwords), table[own], own.sum(axis=1).astype(np.uint8))


def write_ngram_model(directory: Path, model: NgramModel, card: str) -> None:
    """Write a model directory.

    Raises:
        InputError: if it cannot be written.
    """
    tensors = {
        "unigrams": torch.from_numpy(model.unigrams),
        "spelling.symbols": torch.from_numpy(model.spelling.symbols),
        "spelling.lengths": torch.from_numpy(model.spelling.lengths),
        **stored(model.words, model.pronunciations),
    }
    steps = []
    for order, followers in enumerate(model.longer, start=2):
        its_steps, its_tensors = followers.stored()
        steps.append(its_steps)
        tensors |= {f"{order}.{name}": tensor for name, tensor in its_tensors.items()}
    config = {
        "kind": _KIND,
        # One string: a list would take a line of the file a word.
        "words": " ".join(model.words),
        "unknown_words": model.unknown_words,
        "made_for": model.spelling.made_for,
        "steps": steps,
    }
    write_model(directory, config, tensors, card, compressed=True)


def is_ngram_model(directory: Path) -> bool:
    """Whether a model directory says that it holds n-grams."""
    try:
        return f'"kind": "{_KIND}"' in (directory / CONFIG).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def load_ngram_model(directory: Path) -> NgramModel:
    """Read a model directory.

    Raises:
        InputError: if it is missing, damaged or another kind of model.
    """
    config, tensors = read_model(directory)
    if config.get("kind") != _KIND:
        reason = "is not the configuration of an n-gram model, as speech count-lm writes it"
        raise InputError(directory / CONFIG, reason)
    try:
        symbols, lengths = tensors["spelling.symbols"].numpy(), tensors["spelling.lengths"].numpy()
        longer = []
        for order, steps in enumerate(config["steps"], start=2):
            start = f"{order}."
            parts = {
                name.removeprefix(start): part for name, part in tensors.items() if name.startswith(start)
            }
            longer.append(Followers.restored(steps, parts))
        words, unigrams = config["words"].split(), tensors["unigrams"].numpy()
        spelling = Spelling(config["made_for"], symbols, lengths)
        _require_fitting(words, unigrams, longer, config["unknown_words"], spelling)
        pronunciations = restored(words, tensors)
        return NgramModel(words, unigrams, longer, config["unknown_words"], spelling, pronunciations)
    except (KeyError, AttributeError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(directory, "does not fit its configuration; fetch the model again") from error


def _require_fitting(
    words: Sequence[str],
    unigrams: NDArray[Any],
    longer: Sequence[Followers],
    unknown_words: object,
    spelling: Spelling,
) -> None:
    """Make sure that every number in a stored model names something; a ValueError if one does not."""
    symbols, lengths = spelling.symbols, spelling.lengths
    contexts = len(words) + len(SPECIAL)
    fits = (
        type(unknown_words) is int
        and 0 <= unknown_words < 10**9
        and isinstance(spelling.made_for, str)
        and len(set(words)) == len(words) <= MOST_WORDS - len(SPECIAL)
        and set("".join(words)) <= set(LETTERS)
        and unigrams.shape == (contexts,)
        and unigrams.dtype == np.float32
        and bool(np.isfinite(unigrams).all())
        and symbols.ndim == lengths.ndim == 1
        and symbols.dtype == np.int16
        and lengths.dtype == np.uint8
        and bool((lengths > 0).all() or not spelling.made_for)
        and len(lengths) == len(words)
        and lengths.sum(dtype=np.int64) == len(symbols)
        and bool((symbols > BLANK).all())
    )
    for followers in longer:
        fits = fits and len(followers.counts) == contexts
        fits = fits and int(followers.words.max(initial=0)) < len(words) + len(SPECIAL)
        contexts = followers.size
    if not fits:
        raise ValueError("it holds numbers that name nothing")
