"""New text, a word at a time, from any language model that says how likely each next word is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from common.core.search import Step, sample
from speech.language.vocabulary import END
from speech.model.text import normalize

State = TypeVar("State")


def generated(
    step: Step[State],
    state: State,
    last: int,
    prefix: str,
    vocabulary: Sequence[str],
    words: int,
    temperature: float,
    top_p: float,
    generator: torch.Generator | None,
    device: torch.device | str = "cpu",
) -> str:
    """Write on from a beginning, to the end of the sentence.

    Args:
        step: a word (1,) and the state before it -> log-probabilities of the next word (1, vocabulary) and
            the state after it.
        state: before the last word of the beginning.
        last: that word's number; the end's, if there is no beginning.
        prefix: the beginning; any text, or none.
        vocabulary: the words by number.
        words: most to write.
        temperature: above 0; below 1 prefers likely words, above 1 unlikely ones.
        top_p: draw only among the likeliest words that together have this probability.
        generator: where the draws come from; None for one that nothing seeds.
        device: of the words that `step` reads.

    Returns:
        Beginning and continuation, normalised.
    """
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    (drawn,) = sample(
        step,
        state,
        batch=1,
        start=last,
        end=END,
        generator=generator,
        most_steps=words,
        temperature=temperature,
        nucleus=top_p,
        device=device,
    )
    return " ".join([*normalize(prefix).split(), *(vocabulary[word] for word in drawn.symbols)])
