"""Subwords: what the network writes. Normalised text <-> pieces of words, each a symbol of CTC.

A piece either ends its word or does not, so a word is known to be whole as soon as its last piece is there:
`seas`, `ide_`, `the_`. Pieces are learned by joining the most frequent pair again and again (byte pair
encoding, Sennrich et al. 2016, arXiv:1508.07909). All letters are pieces too: every text can be written.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BLANK = 0
LETTERS = "'abcdefghijklmnopqrstuvwxyz"
END_OF_WORD = "_"

# The symbols of a network that writes letters: CTC's blank, each letter within a word, each at its end.
LETTER_SYMBOLS: tuple[str, ...] = ("<blank>", *LETTERS, *(letter + END_OF_WORD for letter in LETTERS))


class Subwords:
    """The symbols of a network, and text in them.

    Args:
        symbols: CTC's blank first, then the pieces; one that ends its word has `_` at its end. An earlier
            piece is preferred where several fit.

    Attributes:
        letters: of each symbol, the letters that it writes; "" for the blank.
        ends_word: (symbols,) whether a symbol is the last of its word.

    Raises:
        ValueError: if a letter is missing, or a symbol is no piece or stands there twice.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        if set(LETTER_SYMBOLS) - set(symbols) or symbols[BLANK] != LETTER_SYMBOLS[BLANK]:
            raise ValueError(
                "symbols must hold the blank first, and all letters, within and at the end of words"
            )
        if len(set(symbols)) < len(symbols):
            raise ValueError("symbols must differ")
        self.symbols = tuple(symbols)
        self.letters = tuple(
            "" if number == BLANK else piece.rstrip("_") for number, piece in enumerate(symbols)
        )
        if any(set(letters) - set(LETTERS) or not letters for letters in self.letters[1:]):
            raise ValueError("each symbol but the blank must be letters, perhaps with _ behind them")
        self._numbers = {piece: number for number, piece in enumerate(symbols)}
        self._spelled: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def ends_word(self) -> NDArray[np.bool_]:
        """(symbols,) whether a symbol is the last of its word."""
        return np.array([piece.endswith(END_OF_WORD) for piece in self.symbols])

    def spell(self, word: str) -> tuple[int, ...]:
        """The symbols of one normalised word.

        Raises:
            KeyError: for a character that is no letter.
        """
        found = self._spelled.get(word)
        if found is None:
            found = self._spelled[word] = self._join(word)
        return found

    def spell_all(self, words: Sequence[str]) -> NDArray[np.int16]:
        """The symbols of many words at once, some thirty times faster than one by one.

        All words are joined side by side, each at its own best place, until none has a place left.

        Args:
            words: normalised, none empty.

        Returns:
            (words, most symbols): of each word, its symbols and blanks behind them.

        Raises:
            KeyError: for a character that is no letter.
        """
        letters = np.array([word.encode() for word in words], dtype=bytes)
        codes = letters.view(np.uint8).reshape(len(words), letters.itemsize)  # zeros behind a word
        within, ending = np.full((2, 256), -1, np.int16)
        within[0] = BLANK
        for letter in LETTERS:
            within[ord(letter)], ending[ord(letter)] = (
                self._numbers[letter],
                self._numbers[letter + END_OF_WORD],
            )
        table = within[codes]
        if (table < 0).any():
            raise KeyError(next(word for word in words if set(word) - set(LETTERS)))
        last = np.arange(len(words)), (codes != 0).sum(axis=1) - 1
        table[last] = ending[codes[last]]
        active = np.arange(len(words))
        places = np.arange(table.shape[1] - 1)
        while len(active) and len(places):
            rows = table[active]
            joined = self._joined[rows[:, :-1], rows[:, 1:]]
            best = joined.argmin(axis=1)
            symbols = joined[np.arange(len(active)), best]
            (some,) = np.nonzero(symbols < len(self))
            active, rows, best = active[some], rows[some], best[some]
            rows[:, :-1] = np.where(places < best[:, None], rows[:, :-1], rows[:, 1:])
            rows[:, -1] = BLANK
            rows[np.arange(len(active)), best] = symbols[some]
            table[active] = rows
        return table[:, : int((table != BLANK).sum(axis=1).max(initial=0))]

    @cached_property
    def _joined(self) -> NDArray[np.int16]:
        """(symbols, symbols) the piece that two neighbours become; as many as there are symbols for none."""
        table = np.full((len(self), len(self)), len(self), np.int16)
        for number, piece in enumerate(self.symbols):
            for cut in range(1, len(piece)):
                left, right = self._numbers.get(piece[:cut]), self._numbers.get(piece[cut:])
                if number != BLANK and left is not None and right is not None:
                    table[left, right] = number
        return table

    def _join(self, word: str) -> tuple[int, ...]:
        """Letters, of which neighbours are joined, those of the most preferred piece first."""
        pieces = [*word[:-1], word[-1] + END_OF_WORD]
        while len(pieces) > 1:
            ranks = [self._numbers.get(a + b, len(self)) for a, b in pairwise(pieces)]
            best = min(range(len(ranks)), key=ranks.__getitem__)
            if ranks[best] == len(self):
                break
            pieces[best : best + 2] = [pieces[best] + pieces[best + 1]]
        return tuple(self._numbers[piece] for piece in pieces)

    def encode(self, text: str) -> list[int]:
        """Normalised text -> symbols.

        Raises:
            KeyError: for a character that is no letter.
        """
        return [symbol for word in text.split() for symbol in self.spell(word)]

    def decode(self, symbols: Iterable[int]) -> str:
        """Symbols -> text; blanks are passed over, and a last word that does not end counts as one."""
        return (
            "".join(self.symbols[symbol] for symbol in symbols if symbol != BLANK).replace("_", " ").strip()
        )


def symbol_frequencies(words: Mapping[str, int], subwords: Subwords) -> tuple[float, ...]:
    """How often each symbol is written, as a share of all of them: what `SpeechConfig` keeps.

    Args:
        words: how often each normalised word occurs.
        subwords: that write them.
    """
    counts = [0] * len(subwords.symbols)
    for word, count in words.items():
        for symbol in subwords.spell(word):
            counts[symbol] += count
    total = max(1, sum(counts))
    return tuple(round(count / total, 6) for count in counts)


def learn_subwords(words: Mapping[str, int], size: int) -> tuple[str, ...]:
    """The symbols that write words in few pieces.

    Args:
        words: how often each normalised word occurs.
        size: of symbols, at most; the blank and the letters are among them.

    Returns:
        For `Subwords`.

    Raises:
        ValueError: if the letters alone are more.
    """
    if size < len(LETTER_SYMBOLS):
        raise ValueError(f"size must be at least {len(LETTER_SYMBOLS)}: the blank and the letters")
    symbols = list(LETTER_SYMBOLS)
    spelled = [[*word[:-1], word[-1] + END_OF_WORD] for word in words]
    counts = list(words.values())
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = defaultdict(set)
    for number, pieces in enumerate(spelled):
        for pair in pairwise(pieces):
            pairs[pair] += counts[number]
            where[pair].add(number)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    while heap and len(symbols) < size:
        count, pair = heapq.heappop(heap)
        if pairs[pair] != -count:  # an old entry: the right one is further down
            if pairs[pair] > 0:
                heapq.heappush(heap, (-pairs[pair], pair))
            continue
        if count == 0:
            break
        symbols.append("".join(pair))
        changed: set[tuple[str, str]] = set()
        for number in where.pop(pair):
            for old in zip(spelled[number], spelled[number][1:], strict=False):
                pairs[old] -= counts[number]
            spelled[number] = _joined(spelled[number], pair)
            for new in zip(spelled[number], spelled[number][1:], strict=False):
                pairs[new] += counts[number]
                where[new].add(number)
                changed.add(new)
        for new in sorted(changed):
            heapq.heappush(heap, (-pairs[new], new))
    return tuple(dict.fromkeys(symbols))


def _joined(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """Pieces in which each such pair has become one."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
