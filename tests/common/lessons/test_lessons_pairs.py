"""Encoder-decoders on pairs: vocabularies, batches, what is said and where it looks."""

from __future__ import annotations

import pytest
import torch

from common.lessons.pairs import (
    END,
    UNKNOWN,
    Pair,
    Transducer,
    Vocabulary,
    attention_panel,
    hold_out,
    train,
)

# A letter becomes two, in the order in which they were read.
PAIRS: list[Pair] = [
    (tuple(text), tuple("".join(2 * one for one in text)))
    for text in ("a", "b", "c", "ab", "ba", "ac", "ca", "bc", "cb", "abc", "acb", "bac", "bca", "cab", "cba")
]


@pytest.fixture
def generator() -> torch.Generator:
    torch.manual_seed(1)
    return torch.Generator().manual_seed(2)


def test_a_vocabulary_gives_back_what_it_was_given_and_knows_nothing_rare() -> None:
    vocabulary = Vocabulary([("to", "be"), ("to", "see")], fewest=2)
    assert len(vocabulary) == 5
    (known, unknown) = vocabulary.encode(("to", "be"))
    assert unknown == UNKNOWN and vocabulary.decode([known, unknown, END]) == ("to",)


def test_nothing_is_learned_and_judged_and_a_tenth_is_the_most(generator: torch.Generator) -> None:
    pairs: list[Pair] = [((str(number),), ("x",)) for number in range(50)]
    learned, judged = hold_out(pairs, 20, generator)
    assert len(judged) == 5 and sorted(learned + judged) == sorted(pairs)


@pytest.mark.parametrize("attention", [False, True])
def test_padding_changes_no_loss(attention: bool, generator: torch.Generator) -> None:
    read, spoken = (Vocabulary(pair[side] for pair in PAIRS) for side in (0, 1))
    transducer = Transducer(read, spoken, attention).double()
    short, long = PAIRS[0], PAIRS[-1]
    counts = [len(said) + 1 for _, said in (short, long)]
    alone = [
        float(transducer.loss([pair])) * count for pair, count in zip((short, long), counts, strict=True)
    ]
    assert float(transducer.loss([short, long])) == pytest.approx(sum(alone) / sum(counts))


def test_attention_learns_to_double_letters_and_looks_at_each_twice(generator: torch.Generator) -> None:
    transducer = train(PAIRS, True, 120, generator)
    read = [one for one, _ in PAIRS]
    assert transducer.speak(read) == [said for _, said in PAIRS]
    said, weights = transducer.attention_of(tuple("bca"))
    assert said == tuple("bbccaa")
    assert weights.shape == (len(said) + 1, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(7))
    panel = attention_panel(transducer, tuple("bca"), "doubled")
    assert list(panel.rows) == ["b", "c", "a", "end"] and list(panel.columns) == [*"bbccaa", "end"]


def test_without_attention_there_is_none_to_draw() -> None:
    vocabulary = Vocabulary([("a",)])
    with pytest.raises(ValueError, match="no attention"):
        Transducer(vocabulary, vocabulary, False).attention_of(("a",))
