"""A caption that its captioner hardly believes gives way to what the encoder is surer of: one noun."""

from __future__ import annotations

from caption.model.text import tokenize

# The encoder's best noun is said alone only if it is at least so probable.
_SURE = 0.5

# Nouns that stand without an article.
_BARE = frozenset(
    """beer bread candy chocolate coffee coral corn dough guacamole hairspray hay honeycomb lotion lumber
    makeup meatloaf pasta pottery soup squash wine yarn""".split()
)
_SINGULAR_S = ("ss", "us")


def says_less(text: str, confidence: float, noun: str, probability: float, doubt: float) -> str | None:
    """The caption to give instead of one that is doubted: "a photograph of a cat"; None: it stays.

    Args:
        text: of the caption.
        confidence: in it, 0 to 1.
        noun: what the encoder believes most.
        probability: how much.
        doubt: a caption with less confidence is doubted.
    """
    if confidence >= doubt or probability < _SURE or is_named(noun, text):
        return None
    return f"a photograph of {with_article(noun)}"


def is_named(noun: str, caption: str) -> bool:
    """Whether a word of the noun is in the caption, one or several of it."""
    said = set(tokenize(caption))
    return any(said & {word, f"{word}s", f"{word}es", word.removesuffix("s")} for word in tokenize(noun))


def with_article(noun: str) -> str:
    """A cat, an apple, strawberries, bread."""
    last = noun.split()[-1]
    plural = last.endswith("s") and not last.endswith(_SINGULAR_S)
    if plural or last in _BARE:
        return noun
    vowel = noun[0] in "aeio" or noun.startswith("um")
    return f"{'an' if vowel else 'a'} {noun}"
