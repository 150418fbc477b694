"""Everyday things: how many of those that people name on a photograph does its caption name?

CIDEr forgives a caption that is right about the light and wrong about the cat. This figure does not: a thing
counts where at least half of a photograph's references name it, and is named if the caption has one of its
words. Each thing counts the same, however many photographs show it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from caption.model.text import tokenize

# A thing with the words for it; plurals are taken as said. Collected from what people wrote under photographs
# of COCO and the web.
_TABLE = """
airplane, plane, jet, aircraft; apple; baby, infant, toddler; ball, baseball, football, basketball; balloon;
banana; bathroom, restroom; beach, shore; bear; bed; bench; bicycle, bike; bird, eagle, owl, parrot, duck,
seagull, pigeon; boat, ship, canoe, kayak, sailboat, yacht; book; bottle; bowl; bread, bun, toast, loaf;
bridge; broccoli; bus; butterfly, butterflies; cake, cupcake; camera; candle; car, vehicle, taxi,
convertible; carrot; cat, kitten; chair, armchair; cheese; chicken, hen, rooster; chocolate; church,
cathedral; clock, watch; coffee, latte, espresso; computer, laptop, notebook; couch, sofa; cow, cattle,
bull, calf; cup, mug; deer; desk; dog, puppy, puppies; donut, doughnut; door, gate; dress, gown; elephant;
fence; fire hydrant, hydrant; fireplace; fish; flag; flower, rose, tulip, bouquet, blossom; food, meal,
dish; fountain; frisbee; fruit; giraffe; glasses, sunglasses, goggles; goat; guitar; hat, cap; helicopter;
helmet; horse, pony; hot dog, hotdog; house, home, cottage, cabin, hut; ice cream; keyboard; kitchen; kite;
knife, knives; lake, pond; lamp, lantern; lion; lizard; meat, steak, beef; microphone; mirror; monkey; moon;
motorcycle, motorbike; mountain, hill, cliff; mushroom; necklace, jewelry; ocean, sea; orange; oven, stove;
painting, picture; parking meter; pen, pencil; phone, cellphone, telephone; piano; pig; pillow, cushion;
pizza; plant; plate; pool; pumpkin; rabbit, bunny; racket, racquet; refrigerator, fridge; restaurant, cafe;
river, stream; rock, stone; salad; sandwich, hamburger, burger; scissors; sheep, lamb; shirt, jersey,
sweater; shoe, boot, sneaker; sign; sink; skateboard, skateboarder; ski, skier; snow; snowboard,
snowboarder; soup; spider; squirrel; statue, sculpture; street, road; suit; suitcase, luggage; sunset,
sunrise; surfboard, surfer; table; teddy bear, teddy; television, tv; tennis; tent; tie; toilet; tower; toy;
tractor; traffic light, stop light, traffic signal; train, locomotive; tree; truck; turtle; umbrella; vase;
vegetable; waterfall; window; wine; woman, lady; zebra
"""

# Of the references; with one reference that one.
_SHARE = 0.5


@dataclass(frozen=True)
class ThingScores:
    """What captions name.

    Attributes:
        named: the mean over things of how often each is named where it is, in percent; 0 without things.
        shares: for each thing that people named, on how many photographs, and on how many captions name it.
    """

    named: float
    shares: dict[str, tuple[int, int]]


def score_things(references: Sequence[Sequence[str]], captions: Sequence[str]) -> ThingScores:
    """How many of the things that people name does one caption a photograph name?"""
    seen: dict[str, int] = defaultdict(int)
    said: dict[str, int] = defaultdict(int)
    for several, caption in zip(references, captions, strict=True):
        by_people = [things_in(one) for one in several]
        named = things_in(caption)
        for thing in set().union(*by_people):
            if sum(thing in one for one in by_people) >= _SHARE * len(by_people):
                seen[thing] += 1
                said[thing] += thing in named
    shares = {thing: (seen[thing], said[thing]) for thing in sorted(seen)}
    named_share = sum(ours / all_ for all_, ours in shares.values()) / max(1, len(shares))
    return ThingScores(100.0 * named_share, shares)


def things_in(caption: str) -> set[str]:
    """The things that a caption names, by their first word."""
    sentence = f" {' '.join(tokenize(caption))} "
    return {thing for thing, forms in _FORMS.items() if any(f" {form} " in sentence for form in forms)}


def _with_plurals(words: Iterable[str]) -> frozenset[str]:
    return frozenset(form for word in words for form in (word, f"{word}s", f"{word}es"))


_FORMS = {
    words[0]: _with_plurals(words)
    for words in ([" ".join(word.split()) for word in entry.split(",")] for entry in _TABLE.split(";"))
}
