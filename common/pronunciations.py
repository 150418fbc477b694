"""A pronouncing dictionary in CMUdict's form: each word as the ARPAbet phones that are spoken.

HELLO  HH AH0 L OW1
TOMATO(2)  T AH0 M AA1 T OW2
"""

from __future__ import annotations

import re
from pathlib import Path

from common.errors import InputError

# The 39 phones of American English without their stress.
ARPABET: tuple[str, ...] = (
    *"AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K".split(),
    *"L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split(),
)

_VARIANT = re.compile(r"\(\d+\)$")


def read_pronunciations(path: Path) -> dict[str, tuple[str, ...]]:
    """Words in lower case -> phones without stress; of several pronunciations the first.

    Raises:
        InputError: if the file cannot be read or has a line of another form, with its number.
    """
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    known = set(ARPABET)
    pronunciations: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        entry = line.split(" #")[0]
        if not entry.strip() or entry.startswith(";;;"):
            continue
        word, *stressed = entry.split()
        phones = tuple(phone.rstrip("012") for phone in stressed)
        if not phones or not known.issuperset(phones):
            raise InputError(path, f"line {number} is not a word and its ARPAbet phones: {line.strip()!r}")
        pronunciations.setdefault(_VARIANT.sub("", word).lower(), phones)
    if not pronunciations:
        raise InputError(path, "has no pronunciation in it")
    return pronunciations
