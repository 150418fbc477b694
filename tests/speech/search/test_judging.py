"""The second judge: it scores texts as the language model does, and what it says decides."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import write_tiny_model
from numpy.typing import NDArray

from common.errors import InputError
from common.models.directory import model_identity
from speech import DecodingOptions, Recognizer
from speech.language.lexicon import Lexicon
from speech.language.loading import load_judge, write_language_model
from speech.language.ngram import Spelling, write_ngram_model
from speech.language.recurrent import LanguageModel, LanguageModelConfig, LanguageNetwork, fit_rest
from speech.language.vocabulary import END, SPECIAL, UNKNOWN
from speech.model.subwords import BLANK, LETTER_SYMBOLS, Subwords
from speech.pool import SegmentFeatures
from speech.search import judging, word_search
from speech.search.judging import RecurrentReader, TextJudge
from speech.search.word_search import TextHypothesis, WordSearch

# The network is sure of nothing: the language models decide.
CLOSED = DecodingOptions(
    beam=16, beam_margin=7.0, open_vocabulary=False, word_bonus=12.0, lm_weight=2.0, min_prob=0.0
)
WORDS = ("the", "cat", "dog", "don't", "sat", "on", "mat")
TEXTS = (
    "the cat sat on the mat",
    "the cat sat on the dog",
    "the cat sat",
    "the zeppelin sat on zeppelins",
    "the cat sat on the mat",
    "dog",
    "don't",
)


def network(frequent: int = 0, layers: int = 1, hidden_size: int = 6) -> LanguageNetwork:
    torch.manual_seed(1)
    config = LanguageModelConfig((*SPECIAL, *WORDS), 10, 4, hidden_size, layers, frequent=frequent)
    made = LanguageNetwork(config).eval()
    torch.nn.init.normal_(made.embedding.weight)
    if frequent:
        fit_rest(made, [[2, 3, 6, 7, 2, 8], [5, 6], [3], [6, 2, 5, 1]] * 20)
    return made


def preferring(*words: str, by: float = 5.0) -> LanguageModel:
    """A model to which some words are likelier than others by so many nats, wherever they stand."""
    made = network()
    torch.nn.init.zeros_(made.embedding.weight)
    made.bias.data[:] = torch.tensor([by * (word in words) for word in made.config.vocabulary])
    return LanguageModel(made)


def read(model: LanguageModel, texts: Sequence[str]) -> list[NDArray[np.float64]]:
    """The log-probability of each word of texts and of their ends, as a judge reads all of them together."""
    reader = RecurrentReader(model, model.judge(torch.arange(model.frequent + 1)))
    sentences = [[*model.encode(text), END] for text in texts]
    found: list[list[float]] = [[] for _ in texts]
    beginnings, added = np.zeros(len(texts), np.int64), 1
    for place in range(max(map(len, sentences), default=0)):
        longer = [number for number, sentence in enumerate(sentences) if len(sentence) > place]
        words = np.array([sentences[number][place] for number in longer])
        log_probs = reader.log_probs(beginnings[longer], words) + reader.unknown_share * (words == UNKNOWN)
        for number, log_prob in zip(longer, log_probs.tolist(), strict=True):
            found[number].append(log_prob)
        reader.add(beginnings[longer], words)
        beginnings[longer] = np.arange(len(longer)) + added
        added += len(longer)
    return [np.array(one) for one in found]


def sums(words: Sequence[NDArray[np.float64]]) -> list[float]:
    """The log-probability of each text, of those of its words."""
    return [float(one.sum()) for one in words]


@torch.inference_mode()
def reference(model: LanguageModel, text: str) -> NDArray[np.float64]:
    """The log-probability of each word of a text and of its end, from all words' after each."""
    numbers = model.encode(text)
    log_probs, _ = model.network(torch.tensor([[END, *numbers]]))
    found = log_probs[0, torch.arange(len(numbers) + 1), torch.tensor([*numbers, END])].numpy()
    unknown = np.array([number == UNKNOWN for number in [*numbers, END]])
    return found.astype(np.float64) + model.unknown_share * unknown


@pytest.mark.parametrize("layers", [1, 2])
def test_words_score_as_the_language_model_scores_each(layers: int) -> None:
    model = LanguageModel(network(layers=layers))
    found = read(model, TEXTS)
    assert sums(found) == pytest.approx(model.score(TEXTS), abs=1e-4)
    for text, words in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(words, reference(model, text), atol=1e-4)


def test_rare_words_are_judged_where_they_are_said() -> None:
    model = LanguageModel(network(frequent=4))
    scores, exact = np.array(sums(read(model, TEXTS))), np.array(model.score(TEXTS))
    # How likely the rare words are together is an estimate: a tenth of a nat a word.
    words = np.array([len(text.split()) + 1 for text in TEXTS])
    assert (np.abs(scores - exact) < 0.1 * words).all()
    assert np.abs(scores - exact).max() > 1e-4, "nothing was estimated"


def test_8_bits_are_nearly_exact() -> None:
    exact = LanguageModel(network(hidden_size=40))
    quick = LanguageModel(network(hidden_size=40), in_8_bits=True)
    assert sums(read(quick, TEXTS)) == pytest.approx(exact.score(TEXTS), abs=0.3)


@pytest.mark.parametrize("in_8_bits", [False, True])
def test_what_a_text_scores_depends_on_no_other(in_8_bits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LanguageModel(network(frequent=4), in_8_bits)
    together = sums(read(model, TEXTS))
    assert together[0] == together[4]
    assert together == pytest.approx([sums(read(model, [text]))[0] for text in TEXTS], abs=1e-5)
    monkeypatch.setattr(judging, "_MOST_NUMBERS", 10)  # two beginnings at once
    assert sums(read(model, TEXTS)) == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_what_is_added_is_what_both_models_say_together(share: float) -> None:
    judge, first = LanguageModel(network(layers=2)), preferring("dog", by=1.0)
    beginnings = TextJudge(judge, first, 0.8, share).beginnings()
    words = [text.split() for text in TEXTS]
    half = beginnings.after(np.zeros(len(TEXTS), np.int64), [one[:2] for one in words])
    whole = beginnings.after(half, [one[2:] for one in words])
    assert whole[0] == whole[4] and half[0] == half[1] and whole[0] != whole[1]
    ends = beginnings.end_changes(whole)
    for text, number, end in zip(TEXTS, whole.tolist(), ends.tolist(), strict=True):
        theirs, own = reference(judge, text), reference(first, text)
        changes = 0.8 * (np.log(share * np.exp(theirs) + (1.0 - share) * np.exp(own)) - own)
        assert beginnings.changes[number] == pytest.approx(float(changes[:-1].sum()), abs=1e-4)
        assert end == pytest.approx(float(changes[-1]), abs=1e-4)
    nothing = np.zeros(1, np.int64)
    assert beginnings.after(nothing, [[]]) == nothing and beginnings.changes[0] == 0.0


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_one_line(share: float) -> None:
    with pytest.raises(InputError, match="judge_share: is") as caught:
        DecodingOptions(judge_share=share)
    assert "\n" not in str(caught.value)


# --- in the search ---------------------------------------------------------------------------------


def searched(
    emissions: Sequence[torch.Tensor], loved: str | None = "cat", by: float = 5.0, **options: object
) -> list[list[TextHypothesis]]:
    """Texts of the words above by a model that rather likes dogs, and maybe a judge that loves a word."""
    subwords = Subwords(LETTER_SYMBOLS)
    settings = replace(CLOSED, **options)  # type: ignore[arg-type]
    first = preferring("dog", by=0.2)
    judge = None
    if loved is not None:
        judge = TextJudge(preferring(loved, by=by), first, settings.lm_weight, 1.0)
    search = WordSearch(settings, Lexicon(dict.fromkeys(WORDS, 0.0), subwords), first, judge)
    return search(emissions)


def noise(seed: int, steps: int) -> torch.Tensor:
    """Log-probabilities (steps, symbols) in which nothing is said clearly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, len(LETTER_SYMBOLS), generator=generator).log_softmax(dim=-1)


def test_scores_hold_what_the_judge_says_of_the_whole_text() -> None:
    first, judge = preferring("dog", by=0.2), preferring("cat")
    for texts in searched([noise(seed, 50) for seed in range(3)]):
        for one in texts:
            own = CLOSED.lm_weight * judge.score([one.text])[0] + CLOSED.word_bonus * len(one.text.split())
            assert one.score == pytest.approx(one.log_prob + own, abs=1e-3)
    assert first.score(["cat"]) != judge.score(["cat"])


def test_a_judge_that_agrees_changes_nothing() -> None:
    emissions = [noise(seed, 50) for seed in range(3)]
    agreed = searched(emissions, loved="dog", by=0.2)
    for texts, alone in zip(agreed, searched(emissions, loved=None), strict=True):
        assert [one.text for one in texts] == [one.text for one in alone]
        assert [one.score for one in texts] == pytest.approx([one.score for one in alone], abs=1e-4)


def test_an_empty_text_is_not_judged() -> None:
    silence = torch.full((30, len(LETTER_SYMBOLS)), -9.0)
    silence[:, BLANK] = 0.0
    (texts,) = searched([silence.log_softmax(dim=-1)], word_bonus=0.0)
    (empty,) = (one for one in texts if not one.text)
    assert empty.score == pytest.approx(empty.log_prob)


def test_an_utterance_of_which_nothing_is_possible_is_no_number_and_no_error() -> None:
    for texts in searched([torch.full((20, len(LETTER_SYMBOLS)), -torch.inf)]):
        assert texts and all(one.score == -np.inf for one in texts)


def test_the_judge_is_heard_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    emissions = [noise(seed, 120) for seed in range(4)]

    def best_scores() -> np.ndarray:
        return np.array([texts[0].score for texts in searched(emissions, beam=4)])

    often = best_scores()
    monkeypatch.setattr(word_search, "_JUDGED_EVERY", 10_000)
    at_the_end = best_scores()
    assert (often >= at_the_end - 1e-3).all() and often.sum() > at_the_end.sum() + 5.0


def test_what_is_judged_depends_on_no_other_utterance() -> None:
    emissions = [noise(seed, 40 + 30 * seed) for seed in range(3)]
    for texts, (alone,) in zip(searched(emissions), (searched([one]) for one in emissions), strict=True):
        assert [one.text for one in texts] == [one.text for one in alone]
        assert [one.score for one in texts] == pytest.approx([one.score for one in alone], abs=1e-4)


# --- in a model directory --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained recogniser with a language model that rather likes dogs, and a judge that loves cats."""
    model = write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    write_language_model(model / "language", preferring("dog", by=0.2).network, "")
    write_language_model(model / "judge", preferring("cat").network, "")
    return model


def segments(recognizer: Recognizer) -> list[SegmentFeatures]:
    mels = recognizer.acoustic.network.config.features.mels
    generator = torch.Generator().manual_seed(1)
    lengths = (90, 40, 60)
    return [
        SegmentFeatures(number, 0, 0.0, torch.randn(length, mels, generator=generator), length / 100)
        for number, length in enumerate(lengths)
    ]


def said(recognizer: Recognizer, **options: object) -> list[str]:
    found = recognizer.finder.words(segments(recognizer), replace(CLOSED, **options))  # type: ignore[arg-type]
    return [" ".join(word.text for word in words) for words in found]


def test_a_judge_in_a_model_directory_is_heard_and_without_a_share_it_is_not(
    directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(directory, tmp_path / "alone", ignore=shutil.ignore_patterns("judge"))
    assert model_identity(tmp_path / "alone") != model_identity(directory), "outputs would not be made anew"
    alone, judged = Recognizer.load(tmp_path / "alone"), Recognizer.load(directory)
    first = said(alone)
    assert said(judged, judge_share=0.0) == first
    assert "judge" not in vars(judged.finder), "a judge without a share is not even read"
    assert said(judged, judge_share=1.0) != first
    assert said(alone, judge_share=1.0) == first
    with torch.inference_mode():
        decoder = judged.finder.decoder(CLOSED)
        emissions = judged.acoustic.emissions(segments(judged))
    found = decoder.decode_batch([one.log_probs for one in emissions])
    assert max(map(len, found)) > 1
    for texts in found:
        assert [one.score for one in texts] == sorted((one.score for one in texts), reverse=True)


def test_what_a_helper_process_is_given_asks_the_judge_too(directory: Path) -> None:
    recognizer = Recognizer.load(directory)
    with recognizer.helpers(1, replace(CLOSED, judge_share=1.0)) as helpers:
        work = pickle.loads(pickle.dumps(helpers._prepare))()  # as another process would
    words, _ = work(segments(recognizer))
    assert [" ".join(word.text for word in one) for one in words] == said(recognizer, judge_share=1.0)
    assert said(recognizer, judge_share=1.0) != said(recognizer, judge_share=0.0)


def test_a_judge_that_is_none_is_one_line(directory: Path, tmp_path: Path) -> None:
    model = shutil.copytree(directory, tmp_path / "model")
    recognizer = Recognizer.load(model)

    def refused(reason: str) -> None:
        with pytest.raises(InputError, match=reason) as caught:
            Recognizer.load(model).finder.decoder(CLOSED)
        assert str(model / "judge") in str(caught.value) and "\n" not in str(caught.value)

    weights = model / "judge" / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    refused("is damaged")
    shutil.rmtree(model / "judge")
    write_tiny_model(model / "judge")
    refused("not the configuration of a language model")
    shutil.rmtree(model / "judge")
    german = LanguageModelConfig((*SPECIAL, *"der hund und die katze sat on the".split()), 10, 4, 4)
    write_language_model(model / "judge", LanguageNetwork(german), "")
    first = recognizer.finder.language_model
    assert first is not None
    load_judge(model / "judge", first)  # three words of seven are enough
    german = LanguageModelConfig((*SPECIAL, *"der hund und die katze".split()), 10, 4, 4)
    write_language_model(model / "judge", LanguageNetwork(german), "")
    refused("knows 0 of the 7 words")
    shutil.rmtree(model / "judge")
    (model / "judge").mkdir()
    refused("config.json")


def test_n_grams_are_no_judge(tmp_path: Path) -> None:
    from speech.language.ngram import NgramModel

    spelling = Spelling("", np.zeros(1, np.int16), np.ones(1, np.uint8))
    model = NgramModel(["a"], np.full(3, -1.0, np.float32), [], 1, spelling)
    write_ngram_model(tmp_path / "judge", model, "")
    with pytest.raises(InputError, match="is an n-gram model; a judge is a recurrent one"):
        load_judge(tmp_path / "judge", model)
