"""Text for a language model: files in, numbered sentences to learn from and to be measured on out."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from common.errors import InputError
from common.manifest import read_manifest
from speech.language.options import Source
from speech.model.text import normalize

# Of every source, sentences that no model learns from.
HELD_OUT_SHARE = 0.02

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


@dataclass(frozen=True)
class Text:
    """What one source holds: normalised sentences, each once.

    Attributes:
        source: where from, and its weight.
        training: sentences to learn from.
        held_out: sentences to be measured on; no source has one of them in its `training`.
    """

    source: Source
    training: list[str]
    held_out: list[str]


def read_text(source: Source) -> Text:
    """Read a source, and lay aside a share of it.

    Raises:
        InputError: if it cannot be read, is damaged or holds no words.
    """
    sentences = dict.fromkeys(filter(None, map(normalize, read_sentences(source.path))))
    if not sentences:
        raise InputError(source.path, "holds no words")
    laid_aside = {sentence for sentence in sentences if is_held_out(sentence)}
    training = [sentence for sentence in sentences if sentence not in laid_aside]
    return Text(source, training, [sentence for sentence in sentences if sentence in laid_aside])


def read_sentences(path: Path) -> list[str]:
    """The lines of a text file (plain, .xz, .gz), or the column `text` of a manifest (.tsv).

    Raises:
        InputError: if it cannot be read or is damaged.
    """
    return list(chain.from_iterable(_read_blocks(path)))


def read_normalized(path: Path) -> Iterator[list[str]]:
    """The sentences of a file as `read_sentences` gives them, normalised, some thousands at a time.

    Those without words are left out.

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
    """The lines of a file, as `read_sentences` gives them, some thousands at a time."""
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
    digest = hashlib.blake2b(sentence.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < HELD_OUT_SHARE * 2**64


def count_words(texts: Iterable[Text]) -> dict[str, float]:
    """How often a pass over the weighted texts hears each word."""
    total: dict[str, float] = {}
    for text in texts:
        counts = Counter(word for sentence in text.training for word in sentence.split())
        for word, count in counts.items():
            total[word] = total.get(word, 0.0) + count * text.source.weight
    return total


def number_sentences(sentences: Sequence[str], numbers: dict[str, int], unknown: int) -> list[Numbers]:
    """Normalised sentences -> arrays of word numbers."""
    return [
        np.array([numbers.get(word, unknown) for word in sentence.split()], dtype=np.int32)
        for sentence in sentences
    ]
