"""What somebody asks to be heard, as an automaton: texts walk through it piece by piece.

Comes in: words and phrases. Goes out: tables of where each symbol leads and what that is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from common.errors import OptionError
from speech.model.subwords import LETTERS, Subwords
from speech.model.text import normalize


class HotWords:
    """Phrases that are likely to be said.

    A state stands for all beginnings of phrases that a text's end is on; a phrase begins with a word. While
    one is spelled its boost is lent, a share a letter; what does not become a phrase gives it back.

    Args:
        phrases: normalised.
        boost: for each word of a phrase that is said, in nats.
        subwords: the symbols in which texts are written, whatever the pieces.

    Attributes:
        after: (states, symbols) the next state. State 0 is that before a text.
        credit: (states,) what is lent, in nats.
        boost: (states, symbols) what the phrases bring that end with a symbol.
        most: no symbol brings and lends more than this together.
        spelled: the symbols that spell the phrases.
    """

    def __init__(self, phrases: Sequence[str], boost: float, subwords: Subwords) -> None:
        lent: dict[str, float] = {}
        brought: dict[str, float] = {}
        for phrase in phrases:
            brought[phrase] = whole = boost * len(phrase.split())
            for depth in range(1, len(phrase) + 1):
                share = whole * depth / len(phrase)
                lent[phrase[:depth]] = max(lent.get(phrase[:depth], 0.0), share, key=abs)
        states, letter_after = _letter_states(lent.keys())
        self.credit = np.array([max((lent[one] for one in state if one), default=0.0) for state in states])
        whole_phrases = np.array([sum(brought.get(one, 0.0) for one in state) for state in states])
        self.after = np.zeros((len(states), len(subwords)), np.int64)
        self.boost = np.zeros((len(states), len(subwords)))
        for symbol, letters in enumerate(subwords.letters):
            reached = np.arange(len(states))
            for letter in letters:
                reached = letter_after[letter][reached]
            if subwords.ends_word[symbol]:
                self.boost[:, symbol] = whole_phrases[reached]
                reached = letter_after[" "][reached]
            self.after[:, symbol] = reached
        self.most = float((self.credit[self.after] + self.boost).max())
        self.spelled = sorted({symbol for phrase in phrases for symbol in subwords.encode(phrase)})


def _letter_states(
    beginnings: Set[str],
) -> tuple[list[frozenset[str]], dict[str, NDArray[np.int64]]]:
    """The states, and where each letter and the space between words leads from each: (states,)."""
    alphabet = (*LETTERS, " ")
    numbers = {frozenset([""]): 0}
    states = list(numbers)
    after: list[list[int]] = []
    for state in states:  # which grows
        row = []
        for letter in alphabet:
            longer = {beginning + letter for beginning in state} & beginnings
            following = frozenset(longer | {""} if letter == " " else longer)
            if following not in numbers:
                numbers[following] = len(numbers)
                states.append(following)
            row.append(numbers[following])
        after.append(row)
    return states, dict(zip(alphabet, np.array(after).T, strict=True))


def hot_phrases(hotwords: Iterable[str]) -> list[str]:
    """What somebody asks to be heard, normalised.

    Raises:
        InputError: if nothing is left of one.
    """
    phrases = {hotword: normalize(hotword) for hotword in hotwords}
    for hotword, phrase in phrases.items():
        if not phrase:
            raise OptionError("hotword", f"{hotword!r} has no word in it")
    return list(dict.fromkeys(phrases.values()))
