"""A caption that names what the encoder believes to see: the likeliest one with that noun in it.

Beam search under a constraint (Anderson et al. 2017, arXiv:1612.00576), as far as one noun needs it: the
caption breaks off after each of its words, the noun is said there, and the search goes on from it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from caption.model.doubt import is_named, with_article
from caption.model.network import Decoder, DecoderState, Scene
from caption.model.text import END, START, UNKNOWN, Vocabulary
from common.core.search import BeamOptions, Hypothesis, beam_search

# Nouns that are less probable are not looked into: hardly one of them gets into a caption.
_LEAST = 0.4

# A caption is gone on with from so many places, those where the noun is likeliest.
_PLACES = 4

_ARTICLES = ("a", "an")


@dataclass(frozen=True)
class Wish:
    """What a caption should say.

    Attributes:
        picture: which one of the scene.
        caption: the symbols of its caption so far, without start and end.
        noun: the symbols of the noun, at least one.
        never_after: the noun does not stand behind one of these symbols: "a" before what is plural.
        least: log-probability that the new caption must have.
    """

    picture: int
    caption: Sequence[int]
    noun: Sequence[int]
    never_after: Collection[int] = ()
    least: float = -math.inf


def insisted(
    decoder: Decoder,
    scene: Scene,
    found: Sequence[Sequence[Hypothesis]],
    names: Sequence[tuple[str, float]],
    vocabulary: Vocabulary,
    options: BeamOptions,
    insist: float,
) -> list[list[Hypothesis]]:
    """Put captions first that name what the encoder believes to see, where the likeliest one does not.

    Such a caption is less likely, by the decoder. But that the noun is not in the picture is unlikely as
    well, by the encoder: the one may be at most `insist` times the other, both in nats.

    Args:
        decoder: says the next word.
        scene: of the pictures.
        found: the captions of each picture, best first.
        names: the noun that the encoder believes most of each picture, and how probable it is.
        vocabulary: of the decoder.
        options: of the search that found them.
        insist: weight of the encoder's belief.
    """
    wishes = []
    for picture, ((noun, probability), (best, *_)) in enumerate(zip(names, found, strict=True)):
        symbols = vocabulary.encode(noun)
        if (
            probability >= _LEAST
            and UNKNOWN not in symbols
            and not is_named(noun, vocabulary.decode(best.symbols))
        ):
            article = with_article(noun).split()[0]
            wrong = vocabulary.encode(" ".join(one for one in _ARTICLES if one != article))
            least = best.log_prob + insist * math.log(max(1.0 - probability, 1e-9))
            wishes.append(Wish(picture, best.symbols, symbols, wrong, least))
    captions = [list(several) for several in found]
    for wish, named in zip(wishes, naming(decoder, scene, wishes, options), strict=True):
        if named is not None:
            captions[wish.picture] = [named, *found[wish.picture]][: len(found[wish.picture])]
    return captions


def naming(
    decoder: Decoder, scene: Scene, wishes: Sequence[Wish], options: BeamOptions
) -> list[Hypothesis | None]:
    """For each wish the likeliest caption that begins as another one, then says a noun, then goes on.

    Args:
        decoder: says the next word.
        scene: of the pictures.
        wishes: of nouns.
        options: of the search; it follows one hypothesis from each of some places where the noun may stand.

    Returns:
        Each caption, or None if none is so likely, comes to an end within the longest sequence, and says no
        word twice that may be said once.
    """
    device = scene.first.device
    best: list[Hypothesis | None] = [None] * len(wishes)
    if not wishes:
        return best
    begun, state = _begun(decoder, scene, wishes)
    places = [
        (number, place)
        for number, (wish, beginnings) in enumerate(zip(wishes, begun, strict=True))
        for place in _places(wish, beginnings)
    ]
    if not places:
        return best
    places.sort(key=lambda one: -len(wishes[one[0]].noun))
    rows = torch.tensor([place * len(wishes) + number for number, place in places], device=device)
    said, state = _almost_said(
        decoder,
        decoder.reorder(state, rows),
        [wishes[number].noun for number, _ in places],
        [begun[number][place] for number, place in places],
    )
    last = torch.tensor([wishes[number].noun[-1] for number, _ in places], device=device)
    followed = dataclasses.replace(options, width=1, least_steps=0)
    found = beam_search(decoder.step, decoder.reorder, state, len(places), last, END, followed, device)
    for (number, place), before, (rest, *_) in zip(places, said, found, strict=True):
        wish = wishes[number]
        symbols, values = (*wish.caption[:place], *wish.noun, *rest.symbols), (*before, *rest.log_probs)
        if rest.finished and sum(values) >= wish.least and _fits(symbols, options):
            score = sum(values) / len(values) ** options.length_power
            other = best[number]
            if other is None or score > other.score:
                best[number] = Hypothesis(symbols, values, True, score)
    return best


def _begun(
    decoder: Decoder, scene: Scene, wishes: Sequence[Wish]
) -> tuple[list[list[tuple[float, ...]]], DecoderState]:
    """Begin with each beginning of each caption, the empty one first.

    Returns:
        For each wish and each place in its caption, the log-probabilities of the words before it and of the
        noun's first word there; and the states at the first place of all, then at the second, and so on.
    """
    device = scene.first.device
    begun: list[list[tuple[float, ...]]] = [[] for _ in wishes]
    said: list[tuple[float, ...]] = [()] * len(wishes)
    states: list[DecoderState] = []
    state = decoder.reorder(
        decoder.begin(scene), torch.tensor([wish.picture for wish in wishes], device=device)
    )
    most = max(len(wish.caption) for wish in wishes)
    captions = torch.tensor([[*wish.caption, *[END] * (most + 1 - len(wish.caption))] for wish in wishes])
    nouns = torch.tensor([wish.noun[0] for wish in wishes])
    symbols = torch.full((len(wishes),), START)
    for place, following in enumerate(captions.T):
        log_probs, state = decoder.step(symbols.to(device), state)
        states.append(state)
        asked = log_probs.cpu().gather(1, torch.stack([nouns, following], dim=1)).tolist()
        for number, (as_noun, as_before) in enumerate(asked):
            if place <= len(wishes[number].caption):
                begun[number].append((*said[number], as_noun))
                said[number] = (*said[number], as_before)
        symbols = following
    return begun, DecoderState.joined(states)


def _almost_said(
    decoder: Decoder,
    state: DecoderState,
    nouns: Sequence[Sequence[int]],
    said: Sequence[tuple[float, ...]],
) -> tuple[list[tuple[float, ...]], DecoderState]:
    """Say each noun but for its last word.

    Args:
        decoder: says them.
        state: before the nouns.
        nouns: the longest first.
        said: log-probabilities of all before each noun and of its first word.

    Returns:
        The log-probabilities up to the last word of each, and the state before that.
    """
    said = list(said)
    for left in range(len(nouns[0]) - 1, 0, -1):  # words behind the one that is said
        count = sum(len(noun) > left for noun in nouns)
        places = [max(0, len(noun) - 1 - left) for noun in nouns]  # shorter nouns are begun later
        spoken = torch.tensor([noun[place] for noun, place in zip(nouns, places, strict=True)])
        log_probs, after = decoder.step(spoken.to(state.attention.device), state)
        for row in range(count):
            said[row] = (*said[row], float(log_probs[row, nouns[row][places[row] + 1]]))
        kept = zip(after.state, state.state, strict=True)
        state = after._replace(
            state=tuple(torch.cat([new[:, :count], old[:, count:]], dim=1) for new, old in kept)
        )
    return said, state


def _places(wish: Wish, begun: Sequence[Sequence[float]]) -> list[int]:
    """Where in its caption the noun may stand, those where it is likeliest."""
    fitting = [
        place
        for place, log_probs in enumerate(begun)
        if not {*wish.caption[place - 1 : place]} & {*wish.never_after} and sum(log_probs) >= wish.least
    ]
    return sorted(fitting, key=lambda place: -begun[place][-1])[:_PLACES]


def _fits(symbols: Sequence[int], options: BeamOptions) -> bool:
    """Whether a caption keeps the rules of the search where its two parts meet."""
    once = [symbol for symbol in symbols if symbol in options.once]
    size = options.no_repeat
    runs = [tuple(symbols[end - size : end]) for end in range(size, len(symbols) + 1)] if size else []
    alone = len(once) == len({*once}) and len(runs) == len({*runs})
    return alone and options.least_steps <= len(symbols) < options.most_steps
