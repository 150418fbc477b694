"""A caption that has to name something is the likeliest one that does, against brute force."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from networks import tiny_caption_config

from caption.model.naming import Wish, insisted, naming
from caption.model.network import Decoder, Scene
from caption.model.text import END, SPECIAL, START, Vocabulary
from common.core.search import BeamOptions, Hypothesis

WORDS = (*SPECIAL, "a", "an", "dog", "runs", "hot", "cups")
A, AN, DOG, RUNS, HOT, CUPS = range(len(SPECIAL), len(WORDS))
CHANNELS = 8
# It goes on greedily from each place.
OPTIONS = BeamOptions(width=2, most_steps=12, length_power=0.7)


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(3)
    untrained = Decoder(tiny_caption_config(WORDS), CHANNELS).eval()
    with torch.no_grad():
        untrained.output_bias[END] += 0.7  # or it would go on and on
    return untrained


@pytest.fixture
def scene(decoder: Decoder) -> Scene:
    return decoder.look(torch.randn(1, 9, CHANNELS))


@torch.inference_mode()
def log_prob_of(decoder: Decoder, scene: Scene, symbols: tuple[int, ...]) -> float:
    logits = decoder(scene, torch.tensor([[START, *symbols]]))
    log_probs = decoder.speakable(logits)[0]
    return float(sum(log_probs[place, symbol] for place, symbol in enumerate((*symbols, END))))


@torch.inference_mode()
def greedily(decoder: Decoder, scene: Scene, begun: tuple[int, ...]) -> tuple[int, ...]:
    """A beginning, and the likeliest word each time until the end comes."""
    symbols = begun
    while len(symbols) < OPTIONS.most_steps:
        logits = decoder(scene, torch.tensor([[START, *symbols]]))
        following = int(decoder.speakable(logits)[0, -1].argmax())
        if following == END:
            break
        symbols = (*symbols, following)
    return symbols


@pytest.mark.parametrize("noun", [(DOG,), (HOT, DOG)])
@torch.inference_mode()
def test_the_likeliest_place_for_a_noun_is_found(
    decoder: Decoder, scene: Scene, noun: tuple[int, ...]
) -> None:
    caption = (A, RUNS, A)
    every = [greedily(decoder, scene, (*caption[:place], *noun)) for place in range(len(caption) + 1)]
    ended = [one for one in every if len(one) < OPTIONS.most_steps]
    assert len(ended) > 2
    scores = {one: log_prob_of(decoder, scene, one) / (len(one) + 1) ** 0.7 for one in ended}
    [found] = naming(decoder, scene, [Wish(0, caption, noun)], OPTIONS)
    assert found is not None and found.finished
    assert found.symbols == max(scores, key=scores.__getitem__)
    assert found.log_prob == pytest.approx(log_prob_of(decoder, scene, found.symbols), abs=1e-4)
    assert found.score == pytest.approx(scores[found.symbols], abs=1e-4)


@torch.inference_mode()
def test_a_noun_does_not_stand_behind_what_does_not_fit_it(decoder: Decoder, scene: Scene) -> None:
    caption = (A, AN, A, AN)
    for wrong in ((A,), (AN,)):
        [found] = naming(decoder, scene, [Wish(0, caption, (DOG,), wrong)], OPTIONS)
        assert found is not None
        place = found.symbols.index(DOG)
        assert place == 0 or found.symbols[place - 1] not in wrong
    assert naming(decoder, scene, [Wish(0, (), (DOG,), (A,))], OPTIONS) != [None]  # nothing stands before it
    assert naming(decoder, scene, [Wish(0, caption, (DOG,), (A, AN, *caption))], OPTIONS) != [None]
    assert naming(decoder, scene, [], OPTIONS) == []


@torch.inference_mode()
def test_what_may_be_said_once_is_not_said_twice_and_limits_hold(decoder: Decoder, scene: Scene) -> None:
    once = BeamOptions(width=2, most_steps=6, once=frozenset({DOG}))
    [found] = naming(decoder, scene, [Wish(0, (DOG, RUNS), (DOG,))], once)
    assert found is None or found.symbols.count(DOG) == 1
    assert naming(decoder, scene, [Wish(0, (A,), (DOG,))], BeamOptions(width=2, most_steps=1)) == [None]
    least = BeamOptions(width=2, most_steps=8, least_steps=4)
    [longer] = naming(decoder, scene, [Wish(0, (A, RUNS, A), (DOG,))], least)
    assert longer is None or len(longer.symbols) >= 4


@torch.inference_mode()
def test_words_in_a_row_do_not_stand_twice_where_that_is_not_allowed(decoder: Decoder, scene: Scene) -> None:
    wish = Wish(0, (DOG, RUNS), (DOG,))
    longer = dataclasses.replace(OPTIONS, least_steps=4)
    [free] = naming(decoder, scene, [wish], longer)
    assert free is not None and free.symbols.count(DOG) == 2
    [pairs] = naming(decoder, scene, [wish], dataclasses.replace(longer, no_repeat=2))
    assert pairs == free  # no two in a row do
    [single] = naming(decoder, scene, [wish], dataclasses.replace(longer, no_repeat=1))
    assert single is None or single.symbols.count(DOG) == 1


@torch.inference_mode()
def test_pictures_are_searched_together_as_alone(decoder: Decoder) -> None:
    scene = decoder.look(torch.randn(3, 9, CHANNELS))
    wishes = [
        Wish(2, (A, RUNS, A), (DOG,)),
        Wish(0, (AN,), (CUPS,)),
        Wish(0, (AN,), (HOT, RUNS, CUPS)),
        Wish(1, (A, A, RUNS, A), (RUNS,)),
        Wish(2, (A, RUNS, A), (HOT, DOG)),
    ]
    together = naming(decoder, scene, wishes, OPTIONS)
    for wish, found in zip(wishes, together, strict=True):
        [alone] = naming(decoder, scene, [wish], OPTIONS)
        assert found is not None and alone is not None
        assert found.symbols == alone.symbols
        assert found.log_prob == pytest.approx(alone.log_prob, abs=1e-4)
        [other] = naming(decoder, scene, [dataclasses.replace(wish, least=alone.log_prob + 0.1)], OPTIONS)
        assert other is None or other.log_prob >= alone.log_prob + 0.1
        assert naming(decoder, scene, [dataclasses.replace(wish, least=0.0)], OPTIONS) == [None]


@torch.inference_mode()
def test_only_sure_nouns_that_are_missing_and_known_come_first_and_only_if_likely_enough(
    decoder: Decoder, scene: Scene
) -> None:
    best = Hypothesis((A, RUNS), (-0.1, -0.1, -0.1), True, -0.1)
    other = Hypothesis((A,), (-2.0, -2.0), True, -2.0)
    vocabulary = Vocabulary(WORDS)

    def said(noun: str, probability: float, insist: float) -> list[tuple[int, ...]]:
        found = insisted(decoder, scene, [[best, other]], [(noun, probability)], vocabulary, OPTIONS, insist)
        return [one.symbols for one in found[0]]

    named, second = said("dog", 0.9, 1e3)
    assert DOG in named and second == best.symbols
    as_before = [best.symbols, other.symbols]
    assert said("dog", 0.3, 1e3) == as_before  # hardly believed
    assert said("runs", 0.9, 1e3) == as_before  # said already
    assert said("unicycle", 0.9, 1e3) == as_before  # cannot be said
    assert said("dog", 0.9, 0.0) == as_before  # less likely than the best
    place = said("cups", 0.9, 1e3)[0]
    assert place[place.index(CUPS) - 1] not in (A, AN) or place[0] == CUPS
