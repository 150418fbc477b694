"""The normaliser: written down as a table, and the same text however often it is applied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.model.subwords import LETTERS
from speech.model.text import cardinal, normalize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENTER FIVE", "enter five"),
        ("‘Is there anybody in the kitchen?’ Not a soul.", "is there anybody in the kitchen not a soul"),
        ("People know what we’re about now", "people know what we're about now"),
        ("'everyone loved them and enjoyed them", "everyone loved them and enjoyed them"),
        ("my rockin' playlist, o'clock", "my rockin playlist o'clock"),
        ("Café ﬁve naïve Ångström", "cafe five naive angstrom"),
        ("Søren in Łódź, STRASSE and Straße", "soren in lodz strasse and strasse"),
        ("well-known and/or – so", "well known and or so"),
        ("R&B at 50% + tax", "r and b at fifty percent plus tax"),
        ("42 cats, 1,000 dogs, 2.5 mice", "forty two cats one thousand dogs two point five mice"),
        ("the 3rd, 12th, 20th and 101st", "the third twelfth twentieth and one hundred first"),
        (
            "at 12AM in the 1990s, 1,000km",
            "at twelve am in the one thousand nine hundred ninety s one thousand km",
        ),
        ("the 42nd and 42nds", "the forty second and forty two nds"),
        ("agent 007", "agent zero zero seven"),
        ("2001: it's", "two thousand one it's"),
        ("3d", "three d"),
        ("...", ""),
        ("日本", ""),
    ],
)
def test_text_is_written_as_it_is_said(text: str, expected: str) -> None:
    assert normalize(text) == expected


@given(st.text())
def test_normalising_twice_changes_nothing_and_only_letters_come_out(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once
    assert set(once) <= {*LETTERS, " "}
    assert "  " not in once and once == once.strip()


@given(st.integers(0, 10**15 - 1))
def test_every_number_has_words_that_normalise_to_themselves(number: int) -> None:
    words = cardinal(number)
    assert normalize(str(number)) == words == normalize(words)
