"""Text for a language model: files in, numbered sentences to learn from and to be measured on out."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import InputError
from common.manifest import read_manifest
from speech.language_model_options import Source
from speech.text import normalize

# Of every source, sentences that no model learns from.
HELD_OUT_SHARE = 0.02

_DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.decompress, ".gz": gzip.decompress}

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
    if path.suffix == ".tsv":
        return [row["text"] for row in read_manifest(path, ["text"])]
    try:
        data = _DECOMPRESS.get(path.suffix, bytes)(path.read_bytes())
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(path, f"is damaged or not a {path.suffix} file") from error
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    try:
        # Not `splitlines`, which also parts a line at characters that may stand in a sentence.
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
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
