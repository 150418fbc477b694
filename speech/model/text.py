"""The one normaliser that training and scoring share.

What `normalize` does, in this order:

| text | becomes | why |
|---|---|---|
| `Café`, `ﬁve` | `cafe`, `five` | compatibility forms and accents go; the voice does not say them |
| `Søren`, `Łódź`, `Straße` | `soren`, `lodz`, `strasse` | so do letters that Unicode does not take apart |
| `don’t`, `‘so’` | `don't`, `so` | typographic quotes become plain; only an apostrophe inside a word stays |
| `&`, `%`, `+`, `@` | `and`, `percent`, `plus`, `at` | signs that are read aloud |
| `42`, `1,000`, `3rd`, `2.5` | `forty two`, `one thousand`, `third`, `two point five` | so are numbers |
| `12am`, `1990s`, `1984` | `twelve am`, `one thousand nine hundred ninety s`, no years | kept simple |
| `007`, longer than 15 digits | `zero zero seven`, digit by digit | nobody says them as one number |
| `well-known`, `and/or`, `.` `,` `?` ... | spaces | punctuation is not heard |
| upper case | lower case | neither is it |
| what is left beside a-z, apostrophe and space | a space | the network cannot write it |
"""

from __future__ import annotations

import re
import unicodedata

_SPOKEN = {"&": " and ", "%": " percent ", "+": " plus ", "@": " at "}
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4`", "'"))
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h"}
)
# All digits at once, so that `12am` is not read as 1 and 2; an ordinal's ending only where the word ends.
_NUMBER = re.compile(r"(?:\d+(?:,\d{3})+(?!\d)|\d+)(?:(?:st|nd|rd|th)(?![a-z]))?")
_UNITS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
""".split()
_TENS = """zero ten twenty thirty forty fifty sixty seventy eighty ninety""".split()
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"))
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def normalize(text: str) -> str:
    """Any text -> words of a-z and inner apostrophes, one space between them; see the table above."""
    text = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES))
    text = "".join(character for character in text.lower() if not unicodedata.combining(character))
    text = text.translate(_LETTERS)
    text = text.translate(_APOSTROPHES)  # some compatibility forms give an apostrophe only now
    for sign, word in _SPOKEN.items():
        text = text.replace(sign, word)
    text = re.sub(r"(\d)\.(?=\d)", r"\1 point ", text)
    text = _NUMBER.sub(_read_number, text)
    text = re.sub(r"[^a-z']+", " ", text)
    return " ".join(re.sub(r"(?<![a-z])'+|'+(?![a-z])", " ", text).split())


def _read_number(match: re.Match[str]) -> str:
    """Digits, perhaps with an ordinal's ending, as they are read aloud."""
    digits = match.group(0).replace(",", "")
    ordinal = not digits[-1].isdigit()
    digits = "".join(str(unicodedata.digit(digit)) for digit in digits if digit.isdigit())
    if len(digits) > 15 or (len(digits) > 1 and digits[0] == "0"):
        words = [_UNITS[int(digit)] for digit in digits]
    else:
        words = cardinal(int(digits)).split()
    if ordinal:
        words[-1] = _ORDINALS.get(words[-1]) or re.sub("y$", "ie", words[-1]) + "th"
    return f" {' '.join(words)} "


def cardinal(number: int) -> str:
    """A whole number from 0 to 10^15 - 1 in words: 1042 -> "one thousand forty two"."""
    if number < 20:
        return _UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return _TENS[tens] + (f" {_UNITS[units]}" if units else "")
    for scale, name in (*_SCALES, (100, "hundred")):
        if number >= scale:
            count, rest = divmod(number, scale)
            return f"{cardinal(count)} {name}" + (f" {cardinal(rest)}" if rest else "")
    raise AssertionError("unreachable")
