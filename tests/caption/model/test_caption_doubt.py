"""A doubted caption says less, and only if the encoder is sure of what is left."""

from __future__ import annotations

import pytest

from caption.model.doubt import is_named, says_less, with_article
from caption.model.nouns import CLASSES, class_nouns


@pytest.mark.parametrize(
    ("noun", "said"),
    [
        ("cat", "a cat"),
        ("apple", "an apple"),
        ("umbrella", "an umbrella"),
        ("uniform", "a uniform"),
        ("bus", "a bus"),
        ("sunglasses", "sunglasses"),
        ("teddy bear", "a teddy bear"),
        ("bread", "bread"),
    ],
)
def test_nouns_get_the_article_that_they_need(noun: str, said: str) -> None:
    assert with_article(noun) == said


@pytest.mark.parametrize(
    ("noun", "caption", "named"),
    [
        ("dog", "two dogs run", True),
        ("hot dog", "a dog runs", True),
        ("skis", "a man on a ski", True),
        ("cat", "a dog runs", False),
        ("box", "three boxes", True),
    ],
)
def test_one_thing_or_several_are_named(noun: str, caption: str, named: bool) -> None:
    assert is_named(noun, caption) is named


def test_only_a_doubted_caption_gives_way_and_only_to_something_sure() -> None:
    said = "a brown dog sitting on a rock"
    assert says_less(said, 0.2, "cup", 0.9, doubt=0.3) == "a photograph of a cup"
    assert says_less(said, 0.4, "cup", 0.9, doubt=0.3) is None
    assert says_less(said, 0.2, "cup", 0.4, doubt=0.3) is None
    assert says_less(said, 0.2, "dog", 0.9, doubt=0.3) is None
    assert says_less("brown dogs sitting on rocks", 0.2, "dog", 0.9, doubt=0.3) is None


def test_every_class_has_its_nouns_or_none() -> None:
    nouns = class_nouns()
    assert len(nouns) == CLASSES
    assert nouns[281] == nouns[285] == "cat" and nouns[207] == "dog"
    assert nouns[967] == "coffee, cup"  # espresso
    assert nouns[916] == ""  # web site
    assert 800 < sum(noun != "" for noun in nouns) < CLASSES
