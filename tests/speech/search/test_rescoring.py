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
from speech.language.loading import load_judge, write_language_model
from speech.language.ngram import Spelling, write_ngram_model
from speech.language.recurrent import LanguageModel, LanguageModelConfig, LanguageNetwork, fit_rest
from speech.language.vocabulary import END, SPECIAL, UNKNOWN
from speech.pool import SegmentFeatures
from speech.search import rescoring
from speech.search.rescoring import MARGIN, Rescorer, word_scorer
from speech.search.word_search import TextHypothesis

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


def found(*texts: str) -> list[TextHypothesis]:
    """Texts of one utterance, each a nat less likely than the one before."""
    return [TextHypothesis(text, (), -5.0 - place, -3.0 - place) for place, text in enumerate(texts)]


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
    found = word_scorer(model)(TEXTS)
    assert sums(found) == pytest.approx(model.score(TEXTS), abs=1e-4)
    for text, words in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(words, reference(model, text), atol=1e-4)
    assert word_scorer(model)([]) == []


def test_rare_words_are_judged_where_they_are_said() -> None:
    model = LanguageModel(network(frequent=4))
    scores, exact = np.array(sums(word_scorer(model)(TEXTS))), np.array(model.score(TEXTS))
    # How likely the rare words are together is an estimate: a tenth of a nat a word.
    words = np.array([len(text.split()) + 1 for text in TEXTS])
    assert (np.abs(scores - exact) < 0.1 * words).all()
    assert np.abs(scores - exact).max() > 1e-4, "nothing was estimated"


def test_8_bits_are_nearly_exact() -> None:
    exact = LanguageModel(network(hidden_size=40))
    quick = LanguageModel(network(hidden_size=40), in_8_bits=True)
    assert sums(word_scorer(quick)(TEXTS)) == pytest.approx(exact.score(TEXTS), abs=0.3)


@pytest.mark.parametrize("in_8_bits", [False, True])
def test_what_a_text_scores_depends_on_no_other(in_8_bits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    score = word_scorer(LanguageModel(network(frequent=4), in_8_bits))
    together = sums(score(TEXTS))
    assert together[0] == together[4]
    assert together == pytest.approx([sums(score([text]))[0] for text in TEXTS], abs=1e-5)
    monkeypatch.setattr(rescoring, "_MOST_NUMBERS", 10)  # two beginnings at once
    assert sums(score(TEXTS)) == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_judge_overturns_a_first_choice_by_what_both_models_say(share: float) -> None:
    judge, first = preferring("cat"), preferring("dog")
    rescorer = Rescorer(judge, first, 0.8, share)
    (texts,) = rescorer([found("the dog sat", "the cat sat", "sat")])
    assert texts[0].text == "the cat sat"
    for one in texts:
        (before,) = (other for other in found("the dog sat", "the cat sat", "sat") if other.text == one.text)
        theirs, own = reference(judge, one.text), reference(first, one.text)
        both = np.log(share * np.exp(theirs) + (1.0 - share) * np.exp(own))
        assert one.score == pytest.approx(before.score + 0.8 * float((both - own).sum()), abs=1e-4)
        assert one.log_prob == before.log_prob


def test_a_judge_that_agrees_changes_nothing() -> None:
    texts = found("the dog sat", "", "the cat", "sat")
    (same,) = Rescorer(preferring("dog"), preferring("dog"), 3.0, 0.5)([texts])
    assert [one.text for one in same] == [one.text for one in texts]
    assert [one.score for one in same] == pytest.approx([one.score for one in texts])


def test_an_empty_text_is_not_judged() -> None:
    (texts,) = Rescorer(preferring("cat"), preferring("dog"), 1.0, 1.0)([found("dog", "")])
    assert [one.text for one in texts] == ["", "dog"] and texts[0].score == -4.0
    assert Rescorer(preferring("cat"), preferring("dog"), 1.0, 1.0)([found("")]) == [found("")]


def test_a_text_that_cannot_win_stays_as_far_behind_whatever_stands_in_other_utterances() -> None:
    far = TextHypothesis("cat", (), 0.0, -3.0 - MARGIN - 0.5)
    texts = [*found("dog", "the"), far]
    rescorer = Rescorer(preferring("cat"), preferring("dog"), 1.0, 1.0)
    (alone,) = rescorer([texts])
    assert [one.text for one in alone] == ["the", "dog", "cat"]
    assert alone[1].score - alone[2].score == pytest.approx(MARGIN + 0.5)
    together = rescorer([found("cat", "dog"), texts, found("")])
    assert together[1] == alone


def test_an_utterance_of_which_nothing_is_possible_stays_so() -> None:
    nothing = [TextHypothesis("dog", (), -np.inf, -np.inf), TextHypothesis("cat", (), -np.inf, -np.inf)]
    (texts,) = Rescorer(preferring("cat"), preferring("dog"), 1.0, 1.0)([nothing])
    assert [one.score for one in texts] == [-np.inf, -np.inf]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_one_line(share: float) -> None:
    with pytest.raises(InputError, match="judge_share: is") as caught:
        DecodingOptions(judge_share=share)
    assert "\n" not in str(caught.value)


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


# The untrained network is sure of nothing: the language models decide.
CLOSED = DecodingOptions(beam=16, open_vocabulary=False, word_bonus=12.0, lm_weight=2.0, min_prob=0.0)


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
