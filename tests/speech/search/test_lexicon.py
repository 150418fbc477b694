"""The search among known words, beside brute force over every path of a tiny alphabet."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from common.errors import InputError
from speech.language.lexicon import Judge, Lexicon
from speech.model.subwords import BLANK, LETTER_SYMBOLS, Subwords
from speech.options import DecodingOptions
from speech.search import word_search
from speech.search.decoding import Decoder, collapse, greedy, handicaps, without_prior
from speech.search.histories import NOTHING, Histories, WordScores
from speech.search.word_search import TextHypothesis

# Few symbols to begin with, for emissions of no more: `ab` in one piece and in two.
FEW = ("<blank>", "a", "b", "a_", "b_", "'", "ab_", "'_", "ba")
SUBWORDS = Subwords(tuple(dict.fromkeys((*FEW, *LETTER_SYMBOLS))))
LETTERS = Subwords(LETTER_SYMBOLS)
WORDS = ("a", "ab", "b", "b'a")
STEPS = 5
SYMBOL_COUNT = FEW.index("ab_") + 1


class BigramModel:
    """A word model whose state is the last word: random, but always the same.

    So many of its words are judged after every history, the others where they are said.
    """

    def __init__(
        self, words: tuple[str, ...] = ("</s>", "<unknown>", *WORDS[:-1]), frequent: int | None = None
    ) -> None:
        self.vocabulary = words
        self.end, self.unknown, self.unknown_share = 0, 1, -1.5
        generator = torch.Generator().manual_seed(3)
        size = len(self.vocabulary)
        self.frequent = size if frequent is None else frequent
        self.table = (torch.randn(size, size, generator=generator) * 1.5).log_softmax(-1)
        self.questions = 0

    def judge(self, words: Tensor) -> Judge:
        assert sorted(words[words >= 0].tolist()) == list(range(self.frequent + 1))
        rest = self.table[:, self.frequent :].logsumexp(dim=1, keepdim=True)
        nothing = torch.full_like(rest, -torch.inf)
        table = torch.cat([self.table[:, : self.frequent], rest, nothing], dim=1)[:, words]
        return lambda last: table[last]

    def expect_first(self, judge: Judge) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
        first = torch.tensor([self.end])
        return (torch.zeros(1, 1, 1),), (judge(first), self.table[first])

    def expect(
        self, words: Tensor, state: tuple[Tensor, ...], judge: Judge, out: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
        self.questions += 1
        assert state[0].shape == (1, len(words), 1)
        log_probs = judge(words) if out is None else out.copy_(judge(words))
        return (words.view(1, -1, 1).float(),), (log_probs, self.table[words])

    def rare_log_probs(self, vectors: Tensor, words: Tensor) -> Tensor:
        assert (words >= self.frequent).all()
        return vectors.gather(1, words.unsqueeze(1)).squeeze(1)

    def score(self, words: Sequence[str | None]) -> float:
        """Log-probability of words and the end; None is a word that is spelled as no known one is."""
        if not words:
            return 0.0
        known = {word: number for number, word in enumerate(self.vocabulary)}
        score, before = 0.0, 0
        for word in words:
            number = self.unknown if word is None else known.get(word, self.unknown)
            score += float(self.table[before, number])
            if word is not None and number == self.unknown:
                score += self.unknown_share
            before = number
        return score + float(self.table[before, self.end])


def log_probs_of(seed: int, steps: int, sharpness: float, symbols: int = SYMBOL_COUNT) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(steps, symbols, generator=generator, dtype=torch.float64) * sharpness).log_softmax(-1)


@cache
def every_path(steps: int) -> tuple[NDArray[np.int64], dict[tuple[int, ...], list[int]]]:
    """All paths (paths, steps), and which of them give each text."""
    paths = list(itertools.product(range(SYMBOL_COUNT), repeat=steps))
    texts: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        texts[tuple(collapse(path))].append(number)
    return np.array(paths, dtype=np.int64), texts


def every_text(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """Probability of the symbols of each text: the sum over all their paths."""
    steps = len(log_probs)
    paths, texts = every_path(steps)
    probabilities = log_probs.exp().numpy()[np.arange(steps), paths].prod(axis=1)
    return {text: float(probabilities[own].sum()) for text, own in texts.items()}


def words_of(symbols: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The symbols of each word of a text, of which the last may not end."""
    words: list[tuple[int, ...]] = [()]
    for symbol in symbols:
        words[-1] += (symbol,)
        if SUBWORDS.ends_word[symbol]:
            words.append(())
    return words if words[-1] else words[:-1]


def truth(
    log_probs: Tensor, options: DecodingOptions, model: BigramModel | None
) -> dict[tuple[int, ...], float]:
    """The score of every text that the options allow, worked out from its definition.

    Where none ends with a word, what breaks off is left away.
    """
    scores: dict[tuple[int, ...], float] = {}
    spelled = {SUBWORDS.spell(word): word for word in WORDS}
    for hotword in options.hotwords:
        spelled |= {SUBWORDS.spell(word): word for word in hotword.split()}
    tempered = (log_probs / options.temperature).log_softmax(-1)
    for symbols, probability in every_text(tempered).items():
        if symbols and not SUBWORDS.ends_word[symbols[-1]]:
            continue
        words = [spelled.get(word) for word in words_of(symbols)]
        texts = [SUBWORDS.decode(word) for word in words_of(symbols)]
        if any(text[0] == "'" or text[-1] == "'" for text in texts):
            continue
        if None in words and not options.open_vocabulary:
            continue
        letters = sum(len(text) for word, text in zip(words, texts, strict=True) if word is None)
        scores[symbols] = (
            math.log(probability)
            + options.word_bonus * len(words)
            - options.unknown_letter_penalty * letters
            + options.lm_weight * (0.0 if model is None else model.score(words))
        )
        for hotword in options.hotwords:
            phrase = hotword.split()
            for start in range(len(texts)):
                if texts[start : start + len(phrase)] == phrase:
                    scores[symbols] += options.hotword_boost * len(phrase)
    return scores


def as_scores(found: list[TextHypothesis]) -> dict[tuple[int, ...], float]:
    return {one.symbols: one.score for one in found}


def wide(**options: object) -> DecodingOptions:
    """Options with which nothing is left out."""
    everything = {"beam": 10_000, "beam_margin": 1e6, "min_prob": 0.0, "open_vocabulary": False}
    return DecodingOptions(**{**everything, **options})  # type: ignore[arg-type]


def flat() -> Lexicon:
    return Lexicon(dict.fromkeys(WORDS, 0.0), SUBWORDS)


def decoder_of(options: DecodingOptions, model: BigramModel | None = None) -> Decoder:
    return Decoder(options, SUBWORDS, flat(), model)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(0, STEPS),
    sharpness=st.floats(0.0, 4.0),
    lm_weight=st.floats(0.0, 2.0),
    word_bonus=st.floats(-2.0, 2.0),
    temperature=st.sampled_from([1.0, 1.3]),
    open_vocabulary=st.booleans(),
    frequent=st.sampled_from([None, 2, 3, 5]),
)
def test_a_beam_wide_enough_scores_every_text_as_its_definition_does(
    seed: int,
    steps: int,
    sharpness: float,
    lm_weight: float,
    word_bonus: float,
    temperature: float,
    open_vocabulary: bool,
    frequent: int | None,
) -> None:
    log_probs = log_probs_of(seed, steps, sharpness)
    options = wide(
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        temperature=temperature,
        open_vocabulary=open_vocabulary,
    )
    model = BigramModel(frequent=frequent) if frequent else None
    found = decoder_of(options, model)(log_probs)
    assert as_scores(found) == pytest.approx(truth(log_probs, options, model), abs=1e-6)
    assert all(one.text == SUBWORDS.decode(one.symbols) for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), boost=st.floats(0.5, 5.0), open_vocabulary=st.booleans())
def test_hotwords_bring_their_boost_once_a_word_and_nothing_is_left_of_half_a_one(
    seed: int, boost: float, open_vocabulary: bool
) -> None:
    log_probs = log_probs_of(seed, STEPS, 1.0)
    hotwords = ("ab", "a b", "b'a")
    options = wide(hotwords=hotwords, hotword_boost=boost, open_vocabulary=open_vocabulary)
    model = BigramModel()
    found = decoder_of(options, model)(log_probs)
    assert as_scores(found) == pytest.approx(truth(log_probs, options, model), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.one_of(st.just(-math.inf), st.floats(-800.0, 0.0)), min_size=len(FEW), max_size=len(FEW)),
        max_size=8,
    ),
    beam=st.integers(2, 4),
    temperature=st.sampled_from([1.0, 2.0]),
    open_vocabulary=st.booleans(),
    with_model=st.booleans(),
)
def test_whatever_the_network_says_the_answer_is_made_of_words(
    rows: list[list[float]], beam: int, temperature: float, open_vocabulary: bool, with_model: bool
) -> None:
    options = DecodingOptions(beam=beam, temperature=temperature, open_vocabulary=open_vocabulary)
    model = BigramModel() if with_model else None
    found = decoder_of(options, model)(torch.tensor(rows).view(-1, len(FEW)))
    assert 1 <= len(found) <= beam
    assert len({one.symbols for one in found}) == len(found)
    for one in found:
        assert one.text == SUBWORDS.decode(one.symbols) == " ".join(one.text.split())
        assert not one.symbols or SUBWORDS.ends_word[one.symbols[-1]]
        assert not any(word[0] == "'" or word[-1] == "'" for word in one.text.split())
        assert not math.isnan(one.score)
        assert open_vocabulary or set(one.text.split()) <= set(WORDS)


def spoken(text: str, confidence: float = 0.9) -> Tensor:
    """Log-probabilities of a network that hears a text well: each letter for a step, then a blank."""
    symbols = LETTERS.encode(text)
    steps = torch.full((2 * len(symbols) + 1, len(LETTERS)), (1 - confidence) / (len(LETTERS) - 1))
    steps[:, BLANK] = confidence
    for place, symbol in enumerate(symbols):
        steps[2 * place + 1, BLANK] = (1 - confidence) / (len(LETTERS) - 1)
        steps[2 * place + 1, symbol] = confidence
    return steps.log()


def ranked(words: list[str]) -> Lexicon:
    """Words, the most frequent first."""
    return Lexicon({word: -math.log(rank) for rank, word in enumerate(words, start=2)}, LETTERS)


def best(text: str, words: str, **options: object) -> str:
    """What the decoder makes of a text that is heard well, if it knows some words, frequent ones first."""
    chosen = DecodingOptions(**{"beam": 16, "min_prob": 1e-3, **options})  # type: ignore[arg-type]
    return Decoder(chosen, LETTERS, ranked(words.split()))(spoken(text))[0].text


def test_a_word_that_nobody_knows_becomes_one_that_is_known() -> None:
    assert best("the kat sat", "the cat sat", open_vocabulary=False) == "the cat sat"


def test_a_name_that_nobody_knows_is_spelled() -> None:
    assert best("the quixby sat", "the cat sat", open_vocabulary=True) == "the quixby sat"


def test_a_hotword_is_heard_where_another_word_was_likelier() -> None:
    assert best("call jon smyth", "call john smith", open_vocabulary=False) == "call john smith"
    hotwords = ("Jon Smyth",)
    assert (
        best("call jon smyth", "call john smith", open_vocabulary=False, hotwords=hotwords)
        == "call jon smyth"
    )


def test_symbols_of_hotwords_are_tried_where_others_are_not() -> None:
    # What is not said has a probability of 0.0037 here.
    unlikely = {"open_vocabulary": False, "min_prob": 1e-2}
    assert best("call cat", "call kat", **unlikely) == "call"
    assert best("call cat", "call cat", **unlikely, hotwords=("Kat",), hotword_boost=9.0) == "call kat"


def test_a_hotword_that_nobody_says_is_not_heard() -> None:
    assert best("the cat sat", "the cat sat", hotwords=("quixby",)) == "the cat sat"


def test_a_word_that_breaks_off_at_the_end_is_left_away() -> None:
    log_probs = spoken("the castle")[: 2 * len("theca") + 1]
    decoder = Decoder(DecodingOptions(beam=2, open_vocabulary=False), LETTERS, ranked(["the", "castle"]))
    assert decoder(log_probs)[0].text == "the"
    assert greedy(log_probs[None], torch.tensor([len(log_probs)]), LETTERS) == ["the ca"]


def test_silence_has_no_words() -> None:
    silence = torch.full((50, len(SUBWORDS)), 1e-4).log()
    silence[:, BLANK] = 0.0
    found = decoder_of(DecodingOptions(beam=16), BigramModel())(silence)
    assert found[0].text == ""


def test_the_language_model_decides_between_words_that_sound_alike() -> None:
    a, b = SUBWORDS.spell("a"), SUBWORDS.spell("b")
    log_probs = torch.full((3, len(SUBWORDS)), 1e-3).log()
    log_probs[[0, 2], BLANK] = log_probs[1, a] = log_probs[1, b] = math.log(0.5)
    model = BigramModel()
    options = DecodingOptions(beam=16, min_prob=0.01, open_vocabulary=False)
    found = as_scores(decoder_of(options, model)(log_probs))
    expected = options.lm_weight * (model.score(["a"]) - model.score(["b"]))
    assert found[a] - found[b] == pytest.approx(expected, abs=1e-3)


def test_the_language_model_is_asked_for_many_histories_at_once() -> None:
    model = BigramModel()
    log_probs = log_probs_of(1, 30, 0.5)
    decoder_of(DecodingOptions(beam=16), model)(log_probs)
    assert 0 < model.questions <= 31


@pytest.mark.parametrize("beam", [2, 4, 16])
@pytest.mark.parametrize("bonus", [-1.0, 1.0, 3.0])
@pytest.mark.parametrize("hotwords", [(), ("ab", "a b", "b'a")])
def test_what_is_never_made_would_not_have_stayed(
    beam: int, bonus: float, hotwords: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = DecodingOptions(beam=beam, word_bonus=bonus, min_prob=1e-4, hotwords=hotwords)
    decoder = decoder_of(options, BigramModel())
    sounds = [log_probs_of(seed, 30, 0.5 + 0.3 * seed) for seed in range(8)]
    found = decoder.decode_batch(sounds)
    monkeypatch.setattr(word_search._Search, "_limits", lambda self: np.full(len(self.texts), -np.inf))
    assert decoder.decode_batch(sounds) == found


class OneThingToSay:
    """A word model that expects one word, whatever is said before it."""

    def __init__(self, vocabulary: tuple[str, ...], expected: str) -> None:
        self.vocabulary, self.end, self.unknown, self.unknown_share = vocabulary, 0, 1, -1.0
        self.frequent = len(vocabulary)
        self.row = torch.full((1, len(vocabulary) + 2), 1e-4)
        self.row[0, vocabulary.index(expected)] = 1.0
        self.row[0, -1] = 0.0

    def judge(self, words: Tensor) -> Judge:
        row = self.row.log()[:, words]
        return lambda last: row.expand(len(last), -1)

    def expect_first(self, judge: Judge) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
        return self.expect(torch.zeros(1), (), judge)

    def expect(
        self, words: Tensor, state: tuple[Tensor, ...], judge: Judge, out: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
        row = judge(words)
        return (torch.zeros(1, len(words), 1),), (row if out is None else out.copy_(row), row[:, :0])

    def rare_log_probs(self, vectors: Tensor, words: Tensor) -> Tensor:
        raise AssertionError("all are frequent")


def test_a_rare_word_that_is_expected_here_is_followed_before_frequent_ones() -> None:
    lexicon = ranked(["bat", "cat", "mat", "sat", "hat"])
    log_probs = spoken("hat")
    log_probs[1, [LETTERS.spell(word)[0] for word in lexicon.words]] = math.log(0.19)  # it might be any
    options = DecodingOptions(beam=2, open_vocabulary=False)
    model = OneThingToSay(("</s>", "<unknown>", *lexicon.words), "hat")
    assert Decoder(options, LETTERS, lexicon)(log_probs)[0].text == "bat"
    assert Decoder(options, LETTERS, lexicon, model)(log_probs)[0].text == "hat"


def test_what_was_frequent_in_training_is_believed_less() -> None:
    lexicon = ranked(["bat", "cat"])
    log_probs = spoken("bat")
    b, c = (LETTERS.spell(word)[0] for word in lexicon.words)
    log_probs[1, [b, c]] = torch.tensor([0.6, 0.4]).log()
    frequencies = [1.0 if symbol == b else 0.0 for symbol in range(len(LETTERS))]
    for weight, text in ((0.0, "bat"), (0.4, "cat")):
        options = DecodingOptions(beam=4, open_vocabulary=False, prior_weight=weight)
        assert Decoder(options, LETTERS, lexicon, frequencies=frequencies)(log_probs)[0].text == text
        # The most probable path is what the network itself says.
        alone = DecodingOptions(beam=1, prior_weight=weight)
        assert Decoder(alone, LETTERS, lexicon, frequencies=frequencies)(log_probs)[0].text == "bat"


def test_symbols_that_are_equally_frequent_stay_as_probable_as_they_are() -> None:
    log_probs = log_probs_of(1, 20, 2.0)
    frequencies = [0.0, *[1 / (log_probs.shape[1] - 1)] * (log_probs.shape[1] - 1)]
    handicap = handicaps(frequencies, 0.4)
    torch.testing.assert_close(without_prior(log_probs, handicap), log_probs, atol=1e-5, rtol=1e-5)
    assert handicaps([], 0.4) is None
    assert handicaps(frequencies, 0.0) is None


def test_a_decoder_can_be_asked_again() -> None:
    decoder = decoder_of(DecodingOptions(beam=16), BigramModel())
    first = decoder(log_probs_of(1, 20, 2.0))
    decoder(log_probs_of(2, 20, 2.0))
    assert decoder(log_probs_of(1, 20, 2.0)) == first


def test_many_improbable_steps_are_still_told_apart() -> None:
    log_probs = spoken("a b " * 20) - 40.0  # far below what a float could hold as a product
    options = DecodingOptions(beam=16, min_prob=0.0, temperature=1.0)
    found = Decoder(options, LETTERS, ranked(list(WORDS)))(log_probs)[0]
    assert found.text == "a b " * 19 + "a b"
    assert found.log_prob == pytest.approx(-40.0 * len(log_probs), rel=0.01)


@given(st.dictionaries(st.text("ab'", min_size=1, max_size=4), st.floats(-9.0, 0.0), min_size=1))
def test_a_walk_through_the_lexicon_meets_every_word_and_the_words_below(log_probs: dict[str, float]) -> None:
    valid = [word for word in log_probs if "''" not in word and word.strip("'") == word]
    if not valid:
        with pytest.raises(InputError, match="no word"):
            Lexicon(log_probs, SUBWORDS)
        return
    lexicon = Lexicon(log_probs, SUBWORDS)
    assert lexicon.words == sorted(valid, key=SUBWORDS.spell)
    assert lexicon.log_probs == [log_probs[word] for word in lexicon.words]
    assert lexicon.first[lexicon.outside] == lexicon.last[lexicon.outside] == 0
    spelled = {SUBWORDS.spell(word): word for word in valid}
    every = np.arange(len(SUBWORDS))
    for text in {symbols[:length] for symbols in spelled for length in range(len(symbols) + 1)}:
        node = 0
        for symbol in text:
            (node,) = lexicon.after(np.array([node]), np.array([symbol]))
        below = [word for symbols, word in spelled.items() if symbols[: len(text)] == text]
        assert set(lexicon.words[lexicon.first[node] : lexicon.last[node]]) == set(below)
        following = lexicon.after(np.full(len(every), node), every)
        assert {(*text, symbol) for symbol in np.flatnonzero(following != lexicon.outside).tolist()} == {
            symbols[: len(text) + 1] for symbols in map(SUBWORDS.spell, below) if symbols != text
        }
    nowhere = lexicon.after(np.full(len(every), lexicon.outside), every)
    assert (nowhere == lexicon.outside).all()


def test_words_whose_spelling_is_known_and_words_that_come_later_make_the_same_lexicon() -> None:
    words = _names(30)
    likely = {word: -float(number) for number, word in enumerate(words)}
    whole = Lexicon(likely | {"abba": -29.0}, LETTERS)
    known = Lexicon(likely, LETTERS, LETTERS.spell_all(words))
    for lexicon in (known.including(["abba", "aaa"]), Lexicon(likely, LETTERS).including(["abba"])):
        assert lexicon.words == whole.words and lexicon.log_probs == whole.log_probs
        assert np.array_equal(lexicon.first, whole.first) and np.array_equal(lexicon.last, whole.last)
        nodes, symbols = (every.ravel() for every in np.indices((lexicon.outside, len(LETTERS))))
        assert np.array_equal(lexicon.after(nodes, symbols), whole.after(nodes, symbols))


@pytest.mark.parametrize("size", [3, 40, 1000])
def test_the_best_of_a_stretch_of_words_is_its_highest(size: int) -> None:
    generator = np.random.default_rng(size)
    likely = dict(zip(_names(size), generator.normal(size=size).tolist(), strict=True))
    lexicon = Lexicon(likely, LETTERS)
    histories = Histories(WordScores(lexicon, None))
    first = generator.integers(size, size=500)
    last = first + 1 + (generator.random(500) * (size - first)).astype(np.int64)
    found = histories.best(np.full(500, NOTHING), first, last)
    row = np.array(lexicon.log_probs, dtype=np.float32)
    assert found.tolist() == [row[start:end].max() for start, end in zip(first, last, strict=True)]


@pytest.mark.parametrize("frequent", [2, 5, 30])
def test_what_a_word_may_become_counts_rare_words_by_their_rank(frequent: int) -> None:
    names = _names(40)
    model = BigramModel(("</s>", "<unknown>", *names), frequent)
    lexicon = Lexicon(dict.fromkeys(names, 0.0), LETTERS)  # in the vocabulary's order, as the names are
    histories = Histories(WordScores(lexicon, model))
    share = 1.0 / np.arange(1, 43)
    rare = float(model.table[0, frequent:].logsumexp(dim=0)) + np.log(share / share[frequent:].sum())
    row = np.where(np.arange(42) < frequent, model.table[0].numpy(), rare)[2:]
    first, last = (ends.ravel() for ends in np.meshgrid(np.arange(40), np.arange(1, 41)))
    first, last = first[first < last], last[first < last]
    found = histories.best(np.full(len(first), NOTHING), first, last)
    wanted = [row[start:end].max() for start, end in zip(first, last, strict=True)]
    assert found == pytest.approx(wanted, abs=1e-5)
    exact = histories.log_probs(np.full(40, NOTHING), np.arange(40))
    assert exact == pytest.approx(model.table[0, 2:].numpy(), abs=1e-5)


def _names(count: int) -> list[str]:
    """So many words."""
    return [
        "".join(letters) for letters in itertools.islice(itertools.product("abcdefghij", repeat=3), count)
    ]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), hotwords=st.sampled_from([(), ("ab", "b'a")]), with_model=st.booleans())
def test_what_is_found_in_an_utterance_does_not_depend_on_the_others(
    seed: int, hotwords: tuple[str, ...], with_model: bool
) -> None:
    options = DecodingOptions(beam=4, min_prob=1e-4, hotwords=hotwords)
    decoder = decoder_of(options, BigramModel() if with_model else None)
    sounds = [log_probs_of(seed + number, steps, 1.5) for number, steps in enumerate([9, 0, 30, 1, 30])]
    assert decoder.decode_batch(sounds) == [decoder(sound) for sound in sounds]
    assert decoder.decode_batch([]) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"hotwords": ("...",)}, "no word"), ({"hotwords": ("a",), "beam": 1}, "search over words")],
)
def test_a_hotword_that_cannot_be_heard_is_an_error(options: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        decoder_of(DecodingOptions(**{"beam": 16, **options}))  # type: ignore[arg-type]


def test_hotwords_need_words() -> None:
    with pytest.raises(InputError, match="lexicon"):
        Decoder(DecodingOptions(beam=16, hotwords=("a",)), SUBWORDS)
