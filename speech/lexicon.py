"""What may be said: a trie of known words, the words somebody asks to be heard, and what scores them.

Comes in: words with their log-probabilities. Goes out: nodes that a search walks letter by letter.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.errors import InputError
from speech.text import encode, normalize

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


class WordModel(Protocol):
    """A language model over words, as `speech.language_model.LanguageModel` is one.

    Attributes:
        vocabulary: the words by number; what cannot be spelled, such as the end, is never said.
        end: number of the end of a sentence.
        unknown: number of the unknown word.
        unknown_share: log-probability that the unknown word is one certain unknown word.
    """

    vocabulary: tuple[str, ...]
    end: int
    unknown: int
    unknown_share: float

    def start(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """Before the first word: the state of one history, and log-probabilities (1, vocabulary)."""

    def advance(self, words: Tensor, state: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Go on by one word.

        Args:
            words: (histories,) the last word of each.
            state: tensors (layers, histories, hidden), what is remembered of the words before it.

        Returns:
            The new state, and the log-probabilities (histories, vocabulary) of each next word.
        """


class Lexicon:
    """Words as a trie, which comes into being where a search walks: a stretch of a sorted list is a node.

    Args:
        log_probs: each word's log-probability, whatever stands before it; what is no word of a-z and inner
            apostrophes is passed over.

    Attributes:
        words: sorted.
        log_probs: of the words.
        unknown: log-probability of a word that is not among them, before it is spelled: the rarest one's.
        root: the node above every word.

    Raises:
        InputError: if there is no word.
    """

    def __init__(self, log_probs: Mapping[str, float]) -> None:
        self.words = sorted(word for word in log_probs if _WORD.fullmatch(word))
        if not self.words:
            raise InputError("lexicon", "has no word of the letters a-z in it")
        self.log_probs = [log_probs[word] for word in self.words]
        self.unknown = min(self.log_probs)
        self.root = Node(self, "", 0, len(self.words))

    @classmethod
    def ranked(cls, words: Sequence[str]) -> Lexicon:
        """Words that are known by rank alone, the most frequent first.

        The n-th is taken as 1/n as frequent as the first (Zipf 1949).
        """
        scale = math.log(sum(1.0 / rank for rank in range(1, len(words) + 1)) or 1.0)
        return cls({word: -math.log(rank) - scale for rank, word in enumerate(words, start=1)})

    def including(self, words: Iterable[str]) -> Lexicon:
        """This lexicon and the words that it lacks, as likely as its rarest one."""
        known = dict(zip(self.words, self.log_probs, strict=True))
        return Lexicon({**dict.fromkeys(words, self.unknown), **known})


class Node:
    """All words of a lexicon that begin alike.

    Attributes:
        word: the number in the lexicon of the word that ends here; None if none does.
    """

    __slots__ = ("_children", "_first", "_last", "_lexicon", "_prefix", "word")

    def __init__(self, lexicon: Lexicon, prefix: str, first: int, last: int) -> None:
        self._lexicon, self._prefix, self._first, self._last = lexicon, prefix, first, last
        self.word = first if lexicon.words[first] == prefix else None
        self._children: dict[int, Node] | None = None

    def best(self, log_probs: NDArray[np.float32]) -> float:
        """The highest of the log-probabilities (words of the lexicon, ...) of the words here and below."""
        if self._last - self._first == 1:
            return float(log_probs[self._first])
        return float(log_probs[self._first : self._last].max())

    @property
    def children(self) -> dict[int, Node]:
        """The next nodes by symbol."""
        if self._children is None:
            words, depth = self._lexicon.words, len(self._prefix)
            children: dict[int, Node] = {}
            first = self._first + (self.word is not None)
            while first < self._last:
                longer = words[first][: depth + 1]
                last = bisect_left(words, f"{longer}{{", first, self._last)  # "{" follows "z"
                children[encode(longer[-1])[0]] = Node(self._lexicon, longer, first, last)
                first = last
            self._children = children
        return self._children


class HotNode:
    """A place in the trie of what somebody asks to be heard: phrases, letter by letter, spaces included.

    Attributes:
        following: the next places by symbol.
        boost: what a phrase that ends here brings, in nats; 0 if none does.
        credit: what is lent on the way: the share of a phrase that is spelled already.
    """

    __slots__ = ("boost", "credit", "following")

    def __init__(self) -> None:
        self.following: dict[int, HotNode] = {}
        self.boost = 0.0
        self.credit = 0.0


def hot_phrases(hotwords: Iterable[str]) -> list[str]:
    """What somebody asks to be heard, normalised.

    Raises:
        InputError: if nothing is left of one.
    """
    phrases = {hotword: normalize(hotword) for hotword in hotwords}
    for hotword, phrase in phrases.items():
        if not phrase:
            raise InputError("--hotword", f"{hotword!r} has no word in it")
    return list(dict.fromkeys(phrases.values()))


def hot_trie(phrases: Iterable[str], boost: float) -> HotNode:
    """The root above normalised phrases; each word of a phrase brings the boost, in nats."""
    root = HotNode()
    for phrase in phrases:
        node, whole = root, boost * len(phrase.split())
        for depth, symbol in enumerate(encode(phrase), start=1):
            node = node.following.setdefault(symbol, HotNode())
            node.credit = max(node.credit, whole * depth / len(phrase), key=abs)
        node.boost = whole
    return root
