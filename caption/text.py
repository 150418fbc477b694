"""Words: a caption -> tokens -> symbols of a vocabulary, and back.

Tokens are those of the Penn Treebank tokenizer that the captioning community scores with (lower case,
punctuation dropped, `dog's` as `dog 's`), without the Java program that usually makes them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

START, END, UNKNOWN = 0, 1, 2
SPECIAL = ("<start>", "<end>", "<unknown>")

_CONTRACTION = re.compile(r"(?<=[a-z])('s|'m|'d|'re|'ve|'ll|n't|')(?![a-z'])")
_TOKEN = re.compile(r"(?:n't|'s|'m|'d|'re|'ve|'ll)(?![a-z])|[a-z0-9]+(?:[-'&./,:][a-z0-9]+)*|[#$%&*+=@]")


def tokenize(caption: str) -> list[str]:
    """A caption -> its tokens, as the Penn Treebank tokenizer splits and the scorers keep them."""
    text = caption.lower().replace("\u2019", "'")
    text = _CONTRACTION.sub(r" \1 ", text)
    return _TOKEN.findall(text)


def detokenize(tokens: Sequence[str]) -> str:
    """Tokens -> a caption to read: contractions joined again."""
    return re.sub(r" ('s|'m|'d|'re|'ve|'ll|n't)(?![a-z])", r"\1", " ".join(tokens))


@dataclass(frozen=True)
class Vocabulary:
    """The words that a captioner can say; the first three symbols are not words.

    Attributes:
        words: word of each symbol, `SPECIAL` first.
    """

    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)

    @staticmethod
    def of(captions: Iterable[str], least: int = 4) -> Vocabulary:
        """The words that stand in at least `least` places, the most frequent first."""
        counts = Counter(token for caption in captions for token in tokenize(caption))
        kept = [word for word, count in counts.items() if count >= least]
        return Vocabulary((*SPECIAL, *sorted(kept, key=lambda word: (-counts[word], word))))

    def encode(self, caption: str) -> list[int]:
        """A caption -> the symbols of its tokens, without start and end."""
        index = self._index
        return [index.get(token, UNKNOWN) for token in tokenize(caption)]

    def decode(self, symbols: Sequence[int]) -> str:
        """Symbols -> a caption, up to the end symbol."""
        tokens = []
        for symbol in symbols:
            if symbol == END:
                break
            if symbol >= len(SPECIAL):
                tokens.append(self.words[symbol])
        return detokenize(tokens)

    @property
    def _index(self) -> dict[str, int]:
        """Symbol of each word; made once."""
        found = self.__dict__.get("_index_made")
        if found is None:
            found = {word: symbol for symbol, word in enumerate(self.words)}
            object.__setattr__(self, "_index_made", found)
        return found
