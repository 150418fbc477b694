"""What somebody asks to be heard, as an automaton: texts walk through it symbol by symbol.

Comes in: words and phrases. Goes out: tables of where each symbol leads and what that is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from common.errors import InputError
from speech.text import SYMBOLS, normalize


class HotWords:
    """Phrases that are likely to be said.

    A state stands for all beginnings of phrases that a text's end is on; a phrase begins with a word. While
    one is spelled its boost is lent, a share a letter; what does not become a phrase gives it back.

    Args:
        phrases: normalised.
        boost: for each word of a phrase that is said, in nats.

    Attributes:
        after: (states, symbols) the next state. State 0 is that before a text.
        credit: (states,) what is lent, in nats.
        boost: (states,) what the phrases bring that end here, if the word does.
    """

    def __init__(self, phrases: Sequence[str], boost: float) -> None:
        lent: dict[str, float] = {}
        brought: dict[str, float] = {}
        for phrase in phrases:
            brought[phrase] = whole = boost * len(phrase.split())
            for depth in range(1, len(phrase) + 1):
                share = whole * depth / len(phrase)
                lent[phrase[:depth]] = max(lent.get(phrase[:depth], 0.0), share, key=abs)
        states = {frozenset([""]): 0}
        left = list(states)
        after = []
        for state in left:  # which grows
            row = []
            for symbol in SYMBOLS:
                longer = {beginning + symbol for beginning in state} & lent.keys()
                following = frozenset(longer | {""} if symbol == " " else longer)
                if following not in states:
                    states[following] = len(states)
                    left.append(following)
                row.append(states[following])
            after.append(row)
        self.after = np.array(after)
        self.credit = np.array([max((lent[one] for one in state if one), default=0.0) for state in states])
        self.boost = np.array([sum(brought.get(one, 0.0) for one in state) for state in states])


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
