"""Searches: a beam wide enough finds the best there is, and draws follow the distribution."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.core.search import BeamOptions, Hypothesis, beam_search, sample

START, END = 0, 1
SYMBOLS = (2, 3)
STATES = 5


class Tables:
    """A small automaton an element: state and symbol lead to a state, which has its next symbols.

    Args:
        seed: of the tables.
        batch: elements, each with tables of its own.
    """

    def __init__(self, seed: int, batch: int = 1) -> None:
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(batch, STATES, 4, generator=generator) * 2
        scores[..., START] = -torch.inf
        self.log_probs = scores.log_softmax(-1)
        self.next = torch.randint(STATES, (batch, STATES, 4), generator=generator)

    def begin(self, elements: list[int]) -> Tensor:
        return torch.tensor([[element, 0] for element in elements])

    def step(self, symbols: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        element, node = state.unbind(1)
        after = self.next[element, node, symbols]
        return self.log_probs[element, after], torch.stack([element, after], 1)

    @staticmethod
    def reorder(state: Tensor, indices: Tensor) -> Tensor:
        return state[indices]

    def search(self, options: BeamOptions, elements: list[int]) -> list[list[Hypothesis]]:
        begun = self.begin(elements)
        return beam_search(self.step, self.reorder, begun, len(elements), START, END, options)

    def log_probs_of(self, element: int, symbols: tuple[int, ...]) -> list[float]:
        """Of each symbol of a sequence that ends, and of its end."""
        state, said = self.begin([element]), []
        for last, following in itertools.pairwise((START, *symbols, END)):
            log_probs, state = self.step(torch.tensor([last]), state)
            said.append(float(log_probs[0, following]))
        return said

    def best(self, element: int, steps: int, power: float) -> list[tuple[float, tuple[int, ...]]]:
        """All sequences that end within the limit, the best first: brute force."""
        scored = []
        for length in range(steps):
            for symbols in itertools.product(SYMBOLS, repeat=length):
                scored.append((sum(self.log_probs_of(element, symbols)) / (length + 1) ** power, symbols))
        return sorted(scored, reverse=True)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    steps=st.integers(1, 5),
    power=st.sampled_from([0.0, 0.7, 1.0]),
)
def test_a_beam_that_holds_everything_finds_the_best_sequences(seed: int, steps: int, power: float) -> None:
    tables = Tables(seed)
    # Of up to 2^5 beginnings and 2^5 endings none is lost.
    [found] = tables.search(BeamOptions(width=64, most_steps=steps, length_power=power), [0])
    wanted = tables.best(0, steps, power)
    finished = [one for one in found if one.finished]
    assert [one.score for one in finished] == pytest.approx([score for score, _ in wanted], abs=1e-4)
    for one in finished:
        assert one.log_probs == pytest.approx(tables.log_probs_of(0, one.symbols), abs=1e-4)
        assert one.score == pytest.approx(one.log_prob / len(one.log_probs) ** power)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 4),
    power=st.sampled_from([0.0, 0.7]),
    no_repeat=st.integers(0, 2),
)
def test_a_batch_gives_what_its_elements_give_one_by_one(
    seed: int, width: int, power: float, no_repeat: int
) -> None:
    tables = Tables(seed, batch=4)
    options = BeamOptions(width, 6, power, no_repeat)
    together = tables.search(options, [0, 1, 2, 3])
    assert together == [tables.search(options, [element])[0] for element in range(4)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), width=st.integers(2, 5))
def test_hypotheses_are_different_ones_the_best_first(seed: int, width: int) -> None:
    [found] = Tables(seed).search(BeamOptions(width, 6), [0])
    assert 1 <= len(found) <= width
    assert len({(one.symbols, one.finished) for one in found}) == len(found)
    for finished in (True, False):
        scores = [one.score for one in found if one.finished == finished]
        assert scores == sorted(scores, reverse=True)
    assert [one.finished for one in found] == sorted((one.finished for one in found), reverse=True)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), power=st.sampled_from([0.0, 0.7, 1.0]))
def test_a_beam_of_one_is_greedy(seed: int, power: float) -> None:
    tables = Tables(seed)
    state, last = tables.begin([0]), START
    greedy: list[int] = []
    while last != END and len(greedy) < 8:
        log_probs, state = tables.step(torch.tensor([last]), state)
        last = int(log_probs.argmax())
        greedy.append(last)
    [[found]] = tables.search(BeamOptions(1, 8, power), [0])
    assert found.symbols == tuple(symbol for symbol in greedy if symbol != END)
    assert found.finished == (last == END)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), width=st.integers(1, 4), size=st.integers(1, 3))
def test_no_n_gram_stands_twice_where_that_is_forbidden(seed: int, width: int, size: int) -> None:
    [found] = Tables(seed).search(BeamOptions(width, 12, 0.7, no_repeat=size), [0])
    assert found
    for one in found:
        grams = [one.symbols[start : start + size] for start in range(len(one.symbols) - size + 1)]
        assert len(grams) == len(set(grams))


def fixed(probabilities: list[float]) -> tuple[object, object]:
    """A step that always gives the same distribution, and its reorder."""
    log_probs = torch.tensor(probabilities).log()
    return lambda symbols, state: (log_probs.expand(len(symbols), -1), state), lambda state, indices: state


def test_a_repeat_never_keeps_a_narrow_beam_from_the_symbols_that_are_left() -> None:
    step, reorder = fixed([0.0, 0.01, 0.4, 0.3, 0.2, 0.09])
    [[found]] = beam_search(step, reorder, (), 1, START, END, BeamOptions(1, 30, 0.7, no_repeat=1))  # type: ignore[arg-type]
    assert found.symbols == (2, 3, 4, 5) and found.finished


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_limit_cuts_off_what_never_ends(width: int, steps: int) -> None:
    step, reorder = fixed([0.0, 0.0, 0.6, 0.4])
    [found] = beam_search(step, reorder, (), 1, START, END, BeamOptions(width, steps))  # type: ignore[arg-type]
    assert found[0].symbols == (2,) * steps and not found[0].finished
    assert found[0].log_prob == pytest.approx(steps * math.log(0.6))
    [drawn] = sample(step, (), 1, START, END, torch.Generator(), most_steps=steps)  # type: ignore[arg-type]
    assert len(drawn.symbols) == steps and not drawn.finished


def draw(step: object, count: int, seed: int = 1, **how: float) -> list[Hypothesis]:
    generator = torch.Generator().manual_seed(seed)
    return sample(step, (), count, START, END, generator, most_steps=1, **how)  # type: ignore[arg-type]


PROBABILITIES = [0.0, 0.1, 0.6, 0.3]


@given(seed=st.integers(0, 2**31), starts=st.lists(st.sampled_from(SYMBOLS), min_size=3, max_size=3))
def test_each_sequence_may_begin_with_a_symbol_of_its_own(seed: int, starts: list[int]) -> None:
    tables, options = Tables(seed, batch=3), BeamOptions(width=2, most_steps=4)
    begun = tables.begin([0, 1, 2])
    together = beam_search(tables.step, tables.reorder, begun, 3, torch.tensor(starts), END, options)
    for element, (start, found) in enumerate(zip(starts, together, strict=True)):
        alone = beam_search(tables.step, tables.reorder, begun[[element]], 1, start, END, options)
        assert [one.symbols for one in found] == [one.symbols for one in alone[0]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    step, _ = fixed(PROBABILITIES)
    drawn = draw(step, 20_000, temperature=temperature)
    shares = Counter(one.symbols for one in drawn)
    weights = [value ** (1 / temperature) for value in PROBABILITIES]
    for symbols, symbol in (((), END), ((2,), 2), ((3,), 3)):
        # Five standard deviations of a share of 20,000 draws.
        assert shares[symbols] / 20_000 == pytest.approx(weights[symbol] / sum(weights), abs=0.018)
    assert drawn[0].log_prob == pytest.approx(math.log(PROBABILITIES[(*drawn[0].symbols, END)[0]]))


def test_draws_from_the_same_seed_are_the_same() -> None:
    tables = Tables(7, batch=20)

    def drawn(seed: int) -> list[Hypothesis]:
        begun = tables.begin(list(range(20)))
        return sample(tables.step, begun, 20, START, END, torch.Generator().manual_seed(seed))

    assert drawn(3) == drawn(3) != drawn(4)
    for element, one in enumerate(drawn(3)):
        if one.finished:
            assert one.log_probs == pytest.approx(tables.log_probs_of(element, one.symbols), abs=1e-4)


@pytest.mark.parametrize(
    ("nucleus", "kept"),
    [
        (0.0, {(2,)}),
        (0.5, {(2,)}),
        (0.61, {(2,), (3,)}),
        (0.89, {(2,), (3,)}),
        (0.91, {(2,), (3,), ()}),
        (1.0, {(2,), (3,), ()}),
    ],
)
def test_a_nucleus_is_the_smallest_set_that_reaches_its_share(nucleus: float, kept: set[tuple[int]]) -> None:
    step, _ = fixed(PROBABILITIES)
    assert {one.symbols for one in draw(step, 500, nucleus=nucleus)} == kept


def test_symbols_and_indices_lie_where_the_network_is() -> None:
    """On the meta device: it holds no values, but every tensor says where it lies."""

    def step(symbols: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        assert symbols.device == state.device
        return torch.tensor(PROBABILITIES).log().expand(len(symbols), -1), state

    def reorder(state: Tensor, indices: Tensor) -> Tensor:
        return state.index_select(0, indices)

    state = torch.empty(2, 3, device="meta")
    assert len(beam_search(step, reorder, state, 2, START, END, BeamOptions(), "meta")) == 2
    assert len(sample(step, state, 2, START, END, torch.Generator(), device="meta")) == 2


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), width=st.integers(1, 4))
def test_some_symbols_stand_once_and_the_others_as_they_like(seed: int, width: int) -> None:
    once = frozenset({2})
    [found] = Tables(seed).search(BeamOptions(width, 12, 0.7, once=once), [0])
    assert found
    for one in found:
        assert all(one.symbols.count(symbol) <= 1 for symbol in once)
