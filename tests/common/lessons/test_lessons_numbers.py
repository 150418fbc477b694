"""Numbers in words become figures; attention looks at what was read and at nothing else."""

from __future__ import annotations

import pytest
import torch

from common.core.recurrent import Cell, RecurrentConfig
from common.core.search import BeamOptions, beam_search
from common.core.topologies import Attentive
from common.lessons.numbers import (
    END,
    HIGHEST,
    RANGES,
    START,
    WORDS,
    Reader,
    attention_of,
    draw_numbers,
    encode,
    spell,
    train,
)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (10, "ten"),
        (40, "forty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (205007, "two hundred five thousand seven"),
        (1_000_000, "one million"),
        (19_000_016, "nineteen million sixteen"),
    ],
)
def test_numbers_are_spelled(number: int, words: str) -> None:
    assert " ".join(spell(number)) == words


def value(words: list[str]) -> int:
    """What words say, worked out the other way round."""
    total, below = 0, 0
    for word in words:
        if word == "hundred":
            below *= 100
        elif word in ("thousand", "million"):
            total, below = total + below * (1000 if word == "thousand" else 10**6), 0
        else:
            place = WORDS.index(word)
            below += place if place < 20 else 10 * (place - 18)
    return total + below


def test_the_words_of_a_number_say_that_number() -> None:
    for number in draw_numbers(500, torch.Generator().manual_seed(1), held_out=False):
        assert value(spell(number)) == number


def test_what_is_judged_was_never_learned() -> None:
    generator = torch.Generator().manual_seed(1)
    judged, learned = draw_numbers(300, generator, True), draw_numbers(300, generator, False)
    assert not set(judged) & set(learned)
    assert all(number % 7 == 0 for number in judged) and all(number % 7 for number in learned)
    for low, high in RANGES:
        assert sum(low <= len(str(number)) <= high for number in judged) > 50
    assert min(judged) >= 0 and max(*judged, *learned) < HIGHEST


def test_figures_end_where_the_number_does() -> None:
    words, lengths, figures = encode([7, 205])
    assert lengths.tolist() == [1, 3]
    assert [WORDS[int(place)] for place in words[1]] == ["two", "hundred", "five"]
    assert figures.tolist() == [[7, END, END, END], [2, 0, 5, END]]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_attention_weighs_what_was_read_and_sums_to_one(cell: Cell) -> None:
    torch.manual_seed(1)
    network = Attentive(RecurrentConfig(3, 4, cell, bidirectional=True), RecurrentConfig(5, 6, cell), 7)
    x, lengths, symbols = torch.randn(2, 9, 3), torch.tensor([4, 9]), torch.randint(0, 7, (2, 5))
    logits, attention = network.speak(x, lengths, symbols)
    assert attention.shape == (2, 5, 9)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 5))
    assert not attention[0, :, 4:].any() and attention[0, :, :4].gt(0).all()
    torch.testing.assert_close(logits[:1], network(x[:1, :4], None, symbols[:1]))  # alone, without padding


def test_attention_is_the_softmax_of_the_products_of_query_and_keys() -> None:
    torch.manual_seed(2)
    network = Attentive(RecurrentConfig(3, 4), RecurrentConfig(5, 6), 7)
    hidden, memory = torch.randn(1, 1, 6), torch.randn(1, 3, 4)
    logits, attention = network.look(hidden, memory, torch.zeros(1, 3, dtype=torch.bool))
    energies = torch.stack([hidden[0, 0] @ network.to_key.weight @ memory[0, place] for place in range(3)])
    torch.testing.assert_close(attention[0, 0], energies.exp() / energies.exp().sum())
    context = torch.stack([attention[0, 0, place] * memory[0, place] for place in range(3)]).sum(0)
    joined = torch.tanh(network.join(torch.cat([hidden[0, 0], context])))
    torch.testing.assert_close(logits[0, 0], network.decoder.aligned.output(joined))


def test_steps_of_reordered_hypotheses_say_what_teacher_forcing_says() -> None:
    torch.manual_seed(3)
    network = Attentive(RecurrentConfig(3, 4, bidirectional=True), RecurrentConfig(5, 6), 7).eval()
    x, lengths = torch.randn(3, 8, 3), torch.tensor([8, 2, 5])
    order = torch.tensor([2, 0, 0, 1])
    symbols = torch.randint(0, 7, (4, 6))
    whole = network(x[order], lengths[order], symbols).log_softmax(-1)
    state = network.reorder(network.begin(x, lengths), order)
    for position in range(6):
        log_probs, state = network.step(symbols[:, position], state)
        torch.testing.assert_close(log_probs, whole[:, position])


def test_after_seconds_of_training_attention_reads_small_numbers() -> None:
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    reader = train(True, 250, generator)
    words, lengths, _ = encode([9])
    begun = reader.network.begin(reader.vectors(words), lengths)
    options = BeamOptions(width=1, most_steps=12)
    (best,) = beam_search(reader.network.step, reader.network.reorder, begun, 1, START, END, options)  # type: ignore[arg-type]
    assert reader.read([9]) == ["".join(map(str, best[0].symbols))]
    judged = [number for number in draw_numbers(300, generator, True) if number < 1000]
    assert reader.exact(judged) > 0.1  # one in a thousand by chance
    weights = attention_of(reader, 21)
    assert weights.shape == (1 + len(reader.read([21])[0]), 2)
    with pytest.raises(ValueError, match="attention"):
        attention_of(Reader(attention=False), 21)
