"""Words: a caption -> tokens -> symbols of a vocabulary, and back.

Tokens are those of the Penn Treebank tokenizer that the captioning community scores with (lower case,
punctuation dropped, `dog's` as `dog 's`), without the Java program that usually makes them: the same on all
of Flickr8k's captions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

START, END, UNKNOWN = 0, 1, 2
SPECIAL = ("<start>", "<end>", "<unknown>")

# What a single bracket becomes; the scorers' own list of dropped punctuation misses them in lower case.
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_DROPPED = frozenset("' `` ` '' . ? ! , : - -- ... ;".split())
_QUOTES = str.maketrans({**dict.fromkeys("\u2018\u2019", "'"), **dict.fromkeys('"\u201c\u201d', " `` ")})
_QUOTES |= str.maketrans({"\u2013": " -- ", "\u2014": " -- ", "\u2026": " ... ", "\u00ad": ""})

# These keep their full stop.
_ABBREVIATIONS = r"""
    mr mrs ms drs? profs? sen rep lt col gen messrs gov adm rev maj sgt cpl pvt capt ste? ave pres lieut
    hon brig cmdr pfc det mt ft adj asst assoc ens insp mlle mme jr sr bros blvd rd esq inc cos? corp ltd
    plc univ dept natl bldg jan feb mar apr jun jul aug sept? oct nov dec mon tues? wed thu thurs fri etc
    al vs seq ala ariz calif colo conn ct fla ga ind kans? ky md mich minn mo mont neb nev okla penn tenn
    va vt wis wyo est ext sq tel wm jos alex ph\.d"""
# So do these where they are written large; small, they are words.
_CAPITAL_ABBREVIATIONS = "Miss Az Ark Del Ill La Mass Ore Pa Tex Wash"
# Before one of these, the full stop of a single letter ends a sentence.
_OPENERS = """A An The This That These He She It They We You In At But There One Her Their Our Some As While
    If When Now Then So Many More Other After However Such What Here Since Once Last Yet According"""

_REPLACED = {
    "cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "gimme": "gim me",
    "lemme": "lem me", "'tis": "'t is", "'twas": "'t was", "more'n": "more 'n",
    "\u00a3": "#", "\u20ac": "$", "\u00a2": "cents", "\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4",
    **_BRACKETS,
}  # fmt: skip

_NUMBER = r"(?:\d*(?:[.,:]\d+)+|\d+)"
_WORD = r"(?:(?![\u00bc-\u00be])[^\W_](?:[^\W_]|(?<=[^\W\d])[.!?](?=[^\W\d_]))*)"
_PART = rf"(?:{_NUMBER}(?!\w)|{_WORD})"

# Alternatives stand in such an order that the first that fits is the longest.
_TOKEN = re.compile(
    rf"""
    # addresses, names of people who write, tags
    https?://[^\s"<>|()]*[^\s"<>|.!?(){{}},-] | [a-z0-9][\w.%+-]*@[\w.-]*\w | [@\#][a-z_]\w*
    | </?[a-z][^<>\s]*>
    # words with signs in them
    | [a-z](?:\+\+|\#)(?!\w) | (?-i:[A-Z]+(?:[&+][A-Z]+)+) | (?-i:[A-Z]+)\$
    # words that are parted, parts of words, words with an apostrophe of their own
    | (?:'tis|'twas|more'n|cannot|gonna|gotta|wanna|gimme|lemme)(?![\w'-])
    | '(?:s|m|d|re|ve|ll)(?!\w) | n't(?!\w) | [a-z]+?(?=n't(?!\w)) | y'(?=all\b)
    | '(?:em|n)\b'? | '(?:cause|till?)\b | '[2-9]0s\b | (?:ol|dunkin)' | li'l\b
    | (?:[cdolsj]|ma(?='am\b))'{_WORD}(?:-{_WORD})* | [dlj]'
    # abbreviations
    | (?:{"|".join(_ABBREVIATIONS.split())})\.(?!\w)
    | (?-i:{"|".join(_CAPITAL_ABBREVIATIONS.split())})\.(?!\w)
    | [a-z]\.(?!\s+(?-i:(?:{"|".join(_OPENERS.split())})\b))(?!\w) | [a-z](?:\.[a-z])+\.(?!\w) | no\.(?=\s*\d)
    # fractions, dates, times of the day
    | \d{{1,4}}/\d{{1,4}}(?![\w/])(?:-[a-z]+)? | \d{{1,2}}[-/]\d{{1,2}}[-/]\d{{2,4}} | \d+:\d\d(?=[ap]m\b)
    # words and numbers, and what hyphens, underscores and slashes make of them
    | {_PART}(?:[-_]{_PART})*(?:/{_WORD}(?:-{_WORD})*){{0,2}} | [-+]?{_NUMBER}
    # signs
    | [()\[\]{{}}] | [?!]+ | \.\.+ | -+ | _+ | \*+ | `` | [^\s\u200b\U00010000-\U0010ffff]
    """,
    re.IGNORECASE | re.VERBOSE,
)


def tokenize(caption: str) -> list[str]:
    """A caption -> its tokens, as the Penn Treebank tokenizer splits and the scorers keep them."""
    tokens: list[str] = []
    for found in _TOKEN.findall(caption.translate(_QUOTES)):
        token = found.lower()
        if token not in _DROPPED and not token.startswith(("..", "--")):
            tokens += _REPLACED.get(token, token).split()
    return tokens


def _sayable(caption: str) -> list[str]:
    """The tokens that a captioner may learn to say: `-lrb-` is for the scorers only."""
    return [token for token in tokenize(caption) if token not in _BRACKETS.values()]


def detokenize(tokens: Sequence[str]) -> str:
    """Tokens -> a caption to read: contractions joined again."""
    return re.sub(r" ('s|'m|'d|'re|'ve|'ll|n't)(?![a-z])", r"\1", " ".join(tokens))


def is_plain(caption: str) -> bool:
    """Whether a caption off the web reads like those that people write when they are asked to describe.

    It is one short sentence of more than three words, and has no name in it (which such captions replace
    with "person").
    """
    tokens = tokenize(caption)
    return 3 < len(tokens) <= 16 and "person" not in tokens


@dataclass(frozen=True)
class Vocabulary:
    """The words that a captioner can say; the first three symbols are not words, nor are those of kinds.

    Attributes:
        words: word of each symbol, `SPECIAL` first, then the start symbols of kinds.
        kinds: of captions that start with a symbol of their own.
    """

    words: tuple[str, ...]
    kinds: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.words)

    @staticmethod
    def of(
        captions: Iterable[str], least: int = 4, most: int | None = None, kinds: Sequence[str] = ()
    ) -> Vocabulary:
        """The words that stand in at least `least` places, the most frequent first, no more than `most`."""
        counts = Counter(token for caption in captions for token in _sayable(caption))
        kept = [word for word, count in counts.items() if count >= least]
        kept = sorted(kept, key=lambda word: (-counts[word], word))[:most]
        return Vocabulary((*SPECIAL, *(f"<{kind}>" for kind in kinds), *kept), tuple(kinds))

    def start(self, kind: str = "") -> int:
        """The symbol that captions of a kind start with; "" is plain."""
        return len(SPECIAL) + self.kinds.index(kind) if kind else START

    def encode(self, caption: str) -> list[int]:
        """A caption -> the symbols of its tokens, without start, end and brackets."""
        index = self._index
        return [index.get(token, UNKNOWN) for token in _sayable(caption)]

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
