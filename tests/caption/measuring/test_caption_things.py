"""Everyday things: what counts as named, and what counts at all."""

from __future__ import annotations

import pytest

from caption.measuring.things import score_things, things_in


@pytest.mark.parametrize(
    ("caption", "things"),
    [
        ("Two kittens on a sofa.", {"cat", "couch"}),
        ("a man waits at a traffic light", {"traffic light"}),
        ("a catapult in a carpark", set()),
        ("a hot dog on a plate", {"hot dog", "plate", "dog"}),
    ],
)
def test_things_go_by_all_their_words(caption: str, things: set[str]) -> None:
    assert things_in(caption) == things


def test_a_thing_counts_where_half_of_the_people_name_it() -> None:
    references = [["a cat on a bed", "a cat sleeps", "a pet on a blanket", "a sleeping kitten"], ["a bus"]]
    scores = score_things(references, ["a cat on a bench", "a red car"])
    assert scores.shares == {"bus": (1, 0), "cat": (1, 1)}
    assert scores.named == 50.0


def test_each_thing_counts_the_same_however_often_it_is_seen() -> None:
    references = [["a dog"]] * 9 + [["a pizza"]]
    scores = score_things(references, ["a dog"] * 9 + ["a dog"])
    assert scores.shares == {"dog": (9, 9), "pizza": (1, 0)}
    assert scores.named == pytest.approx(50.0)


def test_without_things_nothing_is_named() -> None:
    assert score_things([["blue"]], ["blue"]).named == 0.0
