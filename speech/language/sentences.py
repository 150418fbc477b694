"""Text for a language model: files in, numbered sentences to learn from and to be measured on out."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from common.errors import InputError
from common.manifest import read_manifest
from speech.language.options import Source
from speech.model.text import normalize

# Of every source, sentences that no model learns from.
HELD_OUT_SHARE = 0.02
_HELD_OUT_BELOW = HELD_OUT_SHARE * 2**64

_OPEN: dict[str, Callable[..., IO[Any]]] = {".xz": lzma.open, ".gz": gzip.open}

# Lines that are read, decoded and normalised together, in bytes.
_BLOCK = 1 << 22

# What many lines at once are rid of: what `normalize` replaces one by one.
_QUOTES = {"\u2018": "'", "\u2019": "'", "\u201c": " ", "\u201d": " ", "\u2013": " ", "\u2014": " "}
# What is read aloud, which only `normalize` knows; a backquote may be an apostrophe.
_READ_ALOUD = b"0123456789&%+@`"
_PLAIN = bytes(
    ord(character) if (character := chr(code).lower()) in "abcdefghijklmnopqrstuvwxyz'\n" else ord(" ")
    for code in range(256)
)

Numbers = npt.NDArray[np.int32]


class Sentences(Sequence[Numbers]):
    """Sentences of word numbers, kept as one array: a hundred million words take half a gigabyte.

    Args:
        words: (words,) of all sentences, one after another, without ends.
        lengths: (sentences,) how many each has.
    """

    def __init__(self, words: Numbers, lengths: Numbers) -> None:
        self.words, self.lengths = words, lengths
        self.starts = np.cumsum(lengths, dtype=np.int64) - lengths

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Numbers: ...

    @overload
    def __getitem__(self, place: slice) -> list[Numbers]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Numbers | list[Numbers]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        start = self.starts[place]
        return self.words[start : start + self.lengths[place]]

    @classmethod
    def of(cls, sentences: Iterable[npt.ArrayLike]) -> Sentences:
        """The same sentences, given each on its own."""
        parts = [np.asarray(one, dtype=np.int32) for one in sentences]
        return cls.joined(cls(one, np.array([len(one)], np.int32)) for one in parts)

    @classmethod
    def joined(cls, parts: Iterable[Sentences]) -> Sentences:
        """The sentences of all parts, in their order."""
        nothing = np.empty(0, np.int32)
        words, lengths = [nothing], [nothing]
        for part in parts:
            words.append(part.words)
            lengths.append(part.lengths)
        return cls(np.concatenate(words), np.concatenate(lengths))

    def renumbered(self, numbers: Numbers) -> Sentences:
        """The same sentences where each word has another number: (old numbers,)."""
        return Sentences(numbers[self.words], self.lengths)

    def spread(self, most_words: int) -> Sentences:
        """Every n-th sentence, so that they have about so many words at most."""
        every = max(1, math.ceil(len(self.words) / most_words))
        return self if every == 1 else Sentences.of(self[::every])


@dataclass(frozen=True)
class Text:
    """What one source holds: normalised sentences, each once.

    Attributes:
        source: where from, and its weight.
        training: sentences to learn from.
        held_out: sentences to be measured on; no source has one of them in its `training`.
    """

    source: Source
    training: Sentences
    held_out: Sentences


def read_texts(sources: Iterable[Source]) -> tuple[list[str], list[Text]]:
    """Read sources, and lay aside a share of each.

    Returns:
        All words by number, and the texts.

    Raises:
        InputError: if a source cannot be read, is damaged or holds no words.
    """
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    texts = [_read_text(source, numbers) for source in sources]
    return list(numbers), texts


def _read_text(source: Source, numbers: Mapping[str, int]) -> Text:
    """Read a source; every word that is asked for has a number, if a new one."""
    seen: set[int] = set()
    training: list[Sentences] = []
    held_out: list[Sentences] = []
    for block in read_normalized(source.path):
        learned: list[str] = []
        laid_aside: list[str] = []
        for sentence in block:
            mark = _mark(sentence)  # a tenth of the sentence's memory
            if mark not in seen:
                seen.add(mark)
                (laid_aside if mark < _HELD_OUT_BELOW else learned).append(sentence)
        training.append(_numbered(learned, numbers))
        held_out.append(_numbered(laid_aside, numbers))
    if not seen:
        raise InputError(source.path, "holds no words")
    return Text(source, Sentences.joined(training), Sentences.joined(held_out))


def _numbered(sentences: Sequence[str], numbers: Mapping[str, int]) -> Sentences:
    """Normalised sentences as word numbers."""
    lengths = np.array([sentence.count(" ") + 1 for sentence in sentences], dtype=np.int32)
    words = map(numbers.__getitem__, " ".join(sentences).split())
    return Sentences(np.fromiter(words, np.int32, int(lengths.sum())), lengths)


def read_normalized(path: Path) -> Iterator[list[str]]:
    """The lines of a text file (plain, .xz, .gz), or the column `text` of a manifest (.tsv), normalised.

    They come some thousands at a time. Those without words are left out.

    Raises:
        InputError: if it cannot be read or is damaged.
    """
    for lines in _read_blocks(path):
        yield list(filter(None, normalize_all(lines)))


def normalize_all(lines: Sequence[str]) -> list[str]:
    """`normalize` of each of many lines, ten times faster where most hold but letters and punctuation."""
    if not lines:
        return []
    text = "\n".join(line.replace("\n", " ") for line in lines)
    for quote, plain in _QUOTES.items():
        text = text.replace(quote, plain)
    found = text.split("\n")
    for number, line in enumerate(found):
        # What is not plain is normalised now, which changes nothing later.
        if not line.isascii() or len(line.encode().translate(None, _READ_ALOUD)) < len(line):
            found[number] = normalize(lines[number])
    plain_text = "\n".join(found).encode().translate(_PLAIN)
    # Only a single apostrophe between letters stays.
    plain_text = plain_text.replace(b"''", b"  ")
    for outer in (b" '", b"' ", b"\n'", b"'\n"):
        plain_text = plain_text.replace(outer, outer.replace(b"'", b" "))
    return [" ".join(line.split()).strip("'") for line in plain_text.decode().split("\n")]


def _read_blocks(path: Path) -> Iterator[list[str]]:
    """The lines of a file, some thousands at a time."""
    if path.suffix == ".tsv":
        yield [row["text"] for row in read_manifest(path, ["text"])]
        return
    number, encoding = 0, "utf-8-sig"
    try:
        with _OPEN.get(path.suffix, open)(path, "rb") as file:
            while block := file.readlines(_BLOCK):
                # Not `splitlines`, which also parts a line at characters that may stand in a sentence.
                yield b"".join(block).decode(encoding).removesuffix("\n").split("\n")
                number, encoding = number + len(block), "utf-8"
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(path, f"is damaged or not a {path.suffix} file") from error
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number += error.object.count(b"\n", 0, error.start) + 1
        raise InputError(path, f"line {number}: not UTF-8") from error


def is_held_out(sentence: str) -> bool:
    """Whether a normalised sentence is laid aside: its hash decides, in whatever source it stands."""
    return _mark(sentence) < _HELD_OUT_BELOW


def _mark(sentence: str) -> int:
    """What tells a sentence from all others: 64 bits, the same on every day."""
    return int.from_bytes(hashlib.blake2b(sentence.encode(), digest_size=8).digest(), "big")


def count_words(words: Sequence[str], texts: Iterable[Text]) -> dict[str, float]:
    """How often a pass over the weighted texts hears each word; those that it never hears are left out.

    Args:
        words: by number.
        texts: of these words.
    """
    counts = np.zeros(len(words))
    for text in texts:
        counts += text.source.weight * np.bincount(text.training.words, minlength=len(words))
    return {word: count for word, count in zip(words, counts.tolist(), strict=True) if count}
