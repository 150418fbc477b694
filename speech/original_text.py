"""A text as somebody gave it, and its words where they are said.

Comes in: a text with its case, punctuation, figures and signs, and the words of the normalised text with
their times. Goes out: the words of the text as it was given, with times, and how well it fits what was heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rapidfuzz.distance import Levenshtein

from speech.model.subwords import Subwords
from speech.model.text import normalize
from speech.placing.alignment import Emissions, Word
from speech.search.decoding import collapse
from speech.transcript import Segment, Transcript


class OriginalText:
    """A text that is said in a recording.

    Args:
        text: as it was given.

    Attributes:
        normalized: what of it is said, as `speech.model.text.normalize` makes it; empty if it has no letters.
    """

    def __init__(self, text: str) -> None:
        self._lines = [_tokens(line) for line in text.splitlines()]
        self.normalized = " ".join(words for line in self._lines for _, words in line)

    def placed(self, words: Sequence[Word], duration: float, score: float) -> Transcript:
        """The text with times: a segment a line, a word as it stands in the text.

        A word that is read as several (`42`) lasts from the first to the last of them; what is not said at
        all (a dash that stands alone) belongs to the word before it.

        Args:
            words: those of `normalized`, in order.
            duration: seconds of the recording.
            score: how well the text fits.

        Raises:
            ValueError: if there are other words than `normalized` has.
        """
        if [word.text for word in words] != self.normalized.split():
            raise ValueError("these are not the words of the text")
        left = iter(words)
        lines = [
            tuple(_word(token, [next(left) for _ in said.split()]) for token, said in line)
            for line in self._lines
        ]
        segments = (Segment.of(line) for line in lines if line)
        return replace(Transcript.of(segments, duration), score=score)


def fit(text: str, emissions: Sequence[Emissions], subwords: Subwords) -> float:
    """How well a text fits what the network hears when nobody tells it the text: 0 to 1.

    It is the share of letters that need not be changed to make one of the other (one minus Levenshtein's
    distance over the longer one's length): what is missing from the text counts as what is too much in it.

    Args:
        text: normalised.
        emissions: what the network answers to each segment.
        subwords: the network's symbols.
    """
    heard = (subwords.decode(collapse(one.log_probs.argmax(dim=-1).tolist())) for one in emissions)
    return Levenshtein.normalized_similarity(text, " ".join(text for text in heard if text))


def _tokens(line: str) -> list[tuple[str, str]]:
    """What stands between the spaces of a line, each with what of it is said, which is never nothing."""
    tokens: list[tuple[str, str]] = []
    unsaid = ""  # at the beginning of the line
    for token in line.split():
        words = normalize(token)
        if words:
            tokens.append((f"{unsaid} {token}" if unsaid else token, words))
            unsaid = ""
        elif tokens:
            before, said = tokens[-1]
            tokens[-1] = (f"{before} {token}", said)
        else:
            unsaid = f"{unsaid} {token}" if unsaid else token
    return tokens


def _word(token: str, said: Sequence[Word]) -> Word:
    """A word of the text, given the words as which it is said."""
    confidence = sum(word.confidence for word in said) / len(said)
    return Word(token, said[0].start, said[-1].end, confidence)
