"""Decoding against brute force over every path of a tiny alphabet; the search for words has its own tests."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from pathlib import Path

import jiwer
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from speech.model.subwords import BLANK, LETTER_SYMBOLS, Subwords
from speech.model.text import normalize
from speech.options import DecodingOptions
from speech.search.decoding import Decoder, collapse, greedy, least_wrong, prefix_beam_search
from speech.search.grammar import phrase_log_probs, read_grammar
from speech.search.word_search import TextHypothesis

LETTERS = Subwords(LETTER_SYMBOLS)
# Few symbols to begin with, for emissions of no more.
SUBWORDS = Subwords(tuple(dict.fromkeys(("<blank>", "a", "a_", "aa_", *LETTER_SYMBOLS))))


def every_text(log_probs: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Probability of each text: the sum over all its paths."""
    total: dict[tuple[int, ...], float] = defaultdict(float)
    steps, symbols = log_probs.shape
    for path in itertools.product(range(symbols), repeat=steps):
        merged = [symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK]
        total[tuple(merged)] += math.exp(sum(float(log_probs[t, s]) for t, s in enumerate(path)))
    return total


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 5), sharpness=st.floats(0.1, 4.0))
def test_a_beam_wide_enough_finds_the_most_probable_text(seed: int, steps: int, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (torch.randn(steps, 3, generator=generator, dtype=torch.float64) * sharpness).log_softmax(-1)
    truth = every_text(log_probs)
    found = prefix_beam_search(log_probs, SUBWORDS, beam=1000, min_prob=0.0)
    assert {one.symbols for one in found} == set(truth)
    for one in found:
        assert math.exp(one.log_prob) == pytest.approx(truth[one.symbols])
    assert truth[found[0].symbols] == pytest.approx(max(truth.values()))


def test_the_beam_adds_up_paths_where_greedy_takes_one() -> None:
    # "a" is likelier than nothing, although blank, blank is the likeliest path.
    log_probs = torch.tensor([[0.6, 0.0, 0.4], [0.6, 0.0, 0.4]]).log()
    assert greedy(log_probs[None], torch.tensor([2]), SUBWORDS) == [""]
    assert prefix_beam_search(log_probs, SUBWORDS, beam=4)[0].text == "a"


def test_a_piece_twice_needs_a_blank_between() -> None:
    certain = torch.full((3, 4), -50.0)
    for step, symbol in enumerate([3, BLANK, 3]):
        certain[step, symbol] = 0.0
    assert prefix_beam_search(certain, SUBWORDS, beam=3)[0].symbols == (3, 3)
    assert collapse([3, 3, 3]) == [3]


DIGITS = "zero one two three four five six seven eight nine"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(0, 5), sharpness=st.floats(0.1, 4.0))
def test_a_phrase_has_the_probability_of_all_its_paths(seed: int, steps: int, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (torch.randn(steps, 4, generator=generator, dtype=torch.float64) * sharpness).log_softmax(-1)
    truth = every_text(log_probs)
    phrases = ("", "a", "aa", "a a", "aaa", "aa a", "a a a a a a")
    for phrase, log_prob in zip(phrases, phrase_log_probs(log_probs, phrases, SUBWORDS), strict=True):
        assert math.exp(log_prob) == pytest.approx(truth[tuple(SUBWORDS.encode(phrase))])


def grammar_of(folder: Path, lines: str) -> Decoder:
    path = folder / "grammar.txt"
    path.write_text(lines)
    return Decoder(DecodingOptions(beam=16, grammar=path), LETTERS)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 40), sharpness=st.floats(0.0, 20.0))
def test_nothing_outside_the_grammar_can_come_out(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: int, sharpness: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (torch.randn(steps, len(LETTERS), generator=generator) * sharpness).log_softmax(-1)
    log_probs[log_probs < -60.0] = -math.inf
    found = grammar_of(tmp_path_factory.mktemp("grammar"), DIGITS.replace(" ", "\n"))(log_probs)
    assert found[0].text == "" or {one.text for one in found} == set(DIGITS.split())


@pytest.mark.parametrize("digit", DIGITS.split())
def test_a_digit_is_heard_although_a_letter_of_it_is_not(tmp_path: Path, digit: str) -> None:
    log_probs = torch.full((11, len(LETTERS)), -6.0)
    log_probs[:, BLANK] = 0.0
    for place, symbol in enumerate(LETTERS.encode(digit[:-1] + "q")):
        log_probs[2 * place + 1, BLANK], log_probs[2 * place + 1, symbol] = -1.0, 1.0
    decoder = grammar_of(tmp_path, "Zero\n1\n2\n3\n4\n5\n\n6!\n7\n8\n9\n9\n")
    found = decoder(log_probs.log_softmax(-1))
    assert found[0].text == digit and len(found) == 10
    assert found[0].score > found[1].score


def test_a_grammar_hears_nothing_in_silence(tmp_path: Path) -> None:
    silence = torch.full((20, len(LETTERS)), -12.0)
    silence[:, BLANK] = 0.0
    assert [one.text for one in grammar_of(tmp_path, "yes\nno")(silence.log_softmax(-1))] == [""]
    assert grammar_of(tmp_path, "yes\nno")(silence[:0])[0].text == ""


def test_large_grammars_are_scored_whole() -> None:
    generator = torch.Generator().manual_seed(1)
    log_probs = torch.randn(30, len(LETTERS), generator=generator).log_softmax(-1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    phrases = tuple(first + second + third for first, second, third in itertools.product(letters, repeat=3))
    scores = phrase_log_probs(log_probs, phrases[:1000], LETTERS)
    assert scores[777] == pytest.approx(phrase_log_probs(log_probs, (phrases[777],), LETTERS)[0], rel=1e-5)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "no phrase"), (b"...\n", "no phrase"), (b"\xff", "UTF-8")]
)
def test_a_grammar_without_phrases_is_an_error(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "grammar.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_grammar(path)


def test_a_grammar_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_grammar(tmp_path / "none.txt")


def test_without_words_the_decoder_finds_what_the_simpler_searches_find() -> None:
    generator = torch.Generator().manual_seed(1)
    log_probs = (torch.randn(12, len(LETTERS), generator=generator) * 3).log_softmax(-1)
    (text,) = greedy(log_probs[None], torch.tensor([12]), LETTERS)
    assert Decoder(DecodingOptions(beam=1), LETTERS)(log_probs)[0].text == text
    assert Decoder(DecodingOptions(beam=4), LETTERS)(log_probs) == prefix_beam_search(log_probs, LETTERS, 4)


def hypotheses(texts: dict[str, float]) -> list[TextHypothesis]:
    """Texts with their probabilities, the most probable one first."""
    ranked = sorted(texts.items(), key=lambda one: -one[1])
    return [
        TextHypothesis(text, tuple(LETTERS.encode(text)), math.log(share), math.log(share))
        for text, share in ranked
    ]


def test_what_several_texts_agree_on_is_chosen_before_the_most_probable_one() -> None:
    texts = hypotheses({"tee k": 0.4, "a tee k": 0.35, "a tee g": 0.25})
    assert least_wrong(texts).text == "a tee k"


def test_one_word_or_another_is_a_matter_of_probability_alone() -> None:
    assert least_wrong(hypotheses({"one": 0.4, "two": 0.35, "three": 0.25})).text == "one"
    never = TextHypothesis("", (), -math.inf, -math.inf)
    assert least_wrong([never]) is never


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text("ab ", min_size=1).map(normalize), st.floats(0.01, 1.0), min_size=1))
def test_nothing_that_was_found_is_expected_to_be_less_wrong(shares: dict[str, float]) -> None:
    def expected(text: str) -> float:
        # jiwer takes no empty reference; a word that stands in both is no error.
        words = {other: jiwer.process_words(f"x {other}", f"x {text}") for other in shares}
        errors = {one: out.substitutions + out.deletions + out.insertions for one, out in words.items()}
        return sum(shares[one] * count for one, count in errors.items())

    chosen = least_wrong(hypotheses(shares)).text
    assert expected(chosen) == pytest.approx(min(map(expected, shares)))


def test_a_decoding_is_named_by_what_is_unusual() -> None:
    assert str(DecodingOptions(beam=1)) == "greedy"
    assert str(DecodingOptions(beam=4)) == "beam 4"
    assert str(DecodingOptions(beam=4, hotwords=("bo",))) == "beam 4, hotwords ('bo',)"
    assert str(DecodingOptions(grammar=Path("menu.txt"))) == "grammar menu.txt"
