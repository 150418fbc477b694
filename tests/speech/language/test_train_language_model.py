"""Training a language model: it learns a grammar, from weighted text, and goes on where it stopped."""

from __future__ import annotations

import dataclasses
import lzma
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.errors import InputError
from common.models.files import read_model
from speech.language.batches import SentenceBatches
from speech.language.loading import load_language_model
from speech.language.options import LanguageModelOptions, Source
from speech.language.recurrent import LanguageModelConfig, LanguageNetwork
from speech.language.sentences import Sentences
from speech.language.train import (
    HeldOut,
    LanguageModule,
    choose_vocabulary,
    drawn_loss,
    perplexity,
    rarer_words,
    train_language_model,
)
from speech.language.vocabulary import SPECIAL

NOUNS = "cat dog bird fox hen cow ant bee owl pig rat bat".split()
VERBS = "sat slept sang hid ate ran sank fell flew hopped swam stood".split()
ADVERBS = "often never always maybe really hardly surely once still now".split()
PLACES = "here there outside".split()


def grammar() -> list[str]:
    """Sentences in which the first noun decides about the last word, four words later."""
    return [
        f"the {noun} {adverb} {verb} {PLACES[number % 3]}"
        for number, noun in enumerate(NOUNS)
        for adverb in ADVERBS
        for verb in VERBS
    ]


@pytest.fixture
def options(tmp_path: Path) -> LanguageModelOptions:
    text = tmp_path / "grammar.txt.xz"
    text.write_bytes(lzma.compress("\n".join(grammar()).encode()))
    return LanguageModelOptions(
        text=(str(text),),
        run=tmp_path / "run",
        epochs=6,
        batch_words=256,
        learning_rate=0.02,
        always=10,
        drawn=12,
        embedding_size=16,
        hidden_size=32,
        dropout=0.0,
        average_decay=0.9,
    )


def test_a_grammar_is_learned_and_remembered_longer_than_a_trigram_does(
    options: LanguageModelOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    train_language_model(dataclasses.replace(options, epochs=10, batch_words=128))
    lines = capsys.readouterr().err.splitlines()
    figures = [float(line.split("perplexity ")[1].split()[0]) for line in lines if "perplexity" in line]
    trigram, first, last = figures[0], figures[1], figures[-1]
    # Six words and ends a sentence; who has forgotten the noun guesses one of three places.
    best = (len(NOUNS) * len(ADVERBS) * len(VERBS)) ** (1 / 6)
    assert last < 1.07 * best < best * len(PLACES) ** (1 / 6) < trigram
    assert last < first
    model = load_language_model(options.run / "best")
    assert model.score(["the hen never ran there"])[0] > model.score(["the hen never ran here"])[0] + 2.0
    card = (options.run / "best" / "README.md").read_text()
    assert f"| grammar | {last:.1f} | {trigram:.1f} |" in card


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(
    options: LanguageModelOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(options, epochs=2, dropout=0.2)
    train_language_model(options)
    stopped = dataclasses.replace(options, run=options.run.with_name("stopped"))
    step, taken = LanguageModule.training_step, 0

    def stop(self: LanguageModule, *arguments: object) -> Tensor:
        nonlocal taken
        taken += 1
        if taken == 50:  # in the second pass
            raise KeyError("the power fails")
        return step(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(LanguageModule, "training_step", stop)
        with pytest.raises(KeyError):
            train_language_model(stopped)
    train_language_model(stopped)
    (_, straight), (_, resumed) = (read_model(one.run / "best") for one in (options, stopped))
    for name, weight in straight.items():
        assert torch.equal(weight, resumed[name]), name


def test_a_run_that_never_made_a_step_may_begin_otherwise(
    options: LanguageModelOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> Tensor:
        raise KeyError("the power fails")

    monkeypatch.setattr(LanguageModule, "training_step", stop)
    for words in (25_000, 20):
        with pytest.raises(KeyError):
            train_language_model(dataclasses.replace(options, words=words))
    assert not (options.run / "run.json").exists()


def test_a_run_is_not_gone_on_with_other_words(options: LanguageModelOptions) -> None:
    options = dataclasses.replace(options, epochs=1)
    train_language_model(options)
    with pytest.raises(InputError, match="was begun otherwise: words 20"):
        train_language_model(dataclasses.replace(options, words=20))


def test_a_text_too_small_to_measure_on_is_refused(options: LanguageModelOptions, tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text("one two")
    with pytest.raises(InputError, match="nothing was left to measure"):
        train_language_model(dataclasses.replace(options, text=(str(tmp_path / "small.txt"),)))


def test_two_texts_of_one_name_are_refused_because_their_figures_would_mix(
    options: LanguageModelOptions,
) -> None:
    with pytest.raises(InputError, match="another text is called grammar too"):
        train_language_model(dataclasses.replace(options, text=(*options.text, "elsewhere/grammar.txt:2")))


def test_a_run_starts_from_a_model_and_keeps_its_words(
    options: LanguageModelOptions, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = dataclasses.replace(options, trigram=False, epochs=4, batch_words=128)
    train_language_model(options)
    (*_, before) = capsys.readouterr().err.split()
    more = dataclasses.replace(
        options,
        init=options.run / "best",
        run=options.run.with_name("more"),
        embedding_size=None,
        hidden_size=None,
        epochs=1,
        learning_rate=1e-6,
    )
    train_language_model(more)
    (*_, after) = capsys.readouterr().err.split()
    # Nothing could be learned at this rate: what it knows, it knew.
    assert float(after) == pytest.approx(float(before), rel=0.02)
    assert load_language_model(more.run / "best").network.config.hidden_size == 32
    assert "trigram" not in (more.run / "best" / "README.md").read_text()
    other = dataclasses.replace(more, run=options.run.with_name("other"))
    with pytest.raises(InputError, match="knows 40 words, not 20") as caught:
        train_language_model(dataclasses.replace(other, words=20))
    assert str(options.run / "best") in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="another shape: hidden_size 32, not 8"):
        train_language_model(dataclasses.replace(other, hidden_size=8))
    (tmp_path / "other.txt").write_text("\n".join(f"{sentence} nowhere" for sentence in grammar()))
    train_language_model(
        dataclasses.replace(other, text=(str(tmp_path / "other.txt"),), run=tmp_path / "last")
    )
    words = [load_language_model(run / "best").vocabulary for run in (options.run, tmp_path / "last")]
    assert words[0] == words[1] and "nowhere" not in words[1]


def test_of_much_text_a_part_is_measured_and_weighs_as_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech.language.train._MOST_HELD_OUT", 30)
    sentences = Sentences.of([[number, number] for number in range(60)])
    held_out = HeldOut.of(sentences, Source(Path("talks.txt.xz"), 0.5))
    assert held_out.name == "talks" and [one.tolist() for one in held_out.sentences] == [
        [number, number] for number in range(0, 60, 4)
    ]
    assert held_out.weight == 0.5 * 4
    assert HeldOut.of(Sentences.of([]), Source(Path("none.txt"))).weight == 0.0


def numbered(count: int, generator: np.random.Generator) -> Sentences:
    return Sentences.of(generator.integers(2, 9, size) for size in generator.integers(1, 12, count))


def test_each_sentence_is_heard_as_often_as_its_weight_says() -> None:
    generator = np.random.default_rng(1)
    sources = [(numbered(count, generator), weight) for count, weight in ((50, 2.0), (80, 0.25), (40, 1.5))]
    batches = SentenceBatches(sources, 60, None, 0)
    heard = np.zeros(170)
    for epoch in range(8):
        plan = batches.plan(epoch, np.random.default_rng(epoch))
        assert len(plan) == batches.batches
        words = [sum(batches.lengths[number] for number in one) for one in plan]
        assert all(abs(count - 60) < 24 for count in words)
        for number in (number for one in plan for number in one):
            heard[number] += 1
    assert set(heard[:50]) == {16}
    assert set(heard[50:130]) == {2} and set(heard[130:]) == {12}


def test_stretches_of_a_text_hear_all_of_it_before_anything_twice() -> None:
    generator = np.random.default_rng(1)
    sources = [(numbered(count, generator), weight) for count, weight in ((300, 1.0), (200, 0.5))]
    whole = SentenceBatches(sources, 60, None, 0)
    epoch_words = round(whole.batches * 60 / 4)
    parts = SentenceBatches(sources, 60, None, 0, epoch_words, seed=7)
    assert parts.batches == pytest.approx(whole.batches / 4, abs=1)
    plans = [parts.plan(epoch, np.random.default_rng(epoch)) for epoch in range(8)]
    heard = np.bincount(np.concatenate([number for one in plans for number in one]), minlength=500)
    assert (
        heard[:300].min() >= 1 and heard[:300].max() <= 3 and heard[:300].mean() == pytest.approx(2, abs=0.1)
    )
    assert heard[300:].max() <= 2 and heard[300:].mean() == pytest.approx(1, abs=0.1)
    once = np.bincount(np.concatenate([number for one in plans[:3] for number in one]))
    assert once.max() == 1
    first, again = (np.concatenate(parts.plan(5, np.random.default_rng(0))) for _ in range(2))
    assert np.array_equal(first, again), "a run that goes on hears what it would have heard"


def test_sentences_of_a_batch_are_of_like_length_and_none_is_lost_to_a_long_one() -> None:
    sentences = Sentences.of(np.full(size, 2) for size in (1, 1, 1, 90, 2, 2, 91))
    plan = SentenceBatches([(sentences, 1.0)], 30, None, 0).plan(0, np.random.default_rng(0))
    assert sorted(number for one in plan for number in one) == list(range(7))
    assert all(map(len, plan))


def test_a_vocabulary_is_the_most_frequent_words_the_same_on_every_day() -> None:
    counts = {"b": 2.0, "a": 2.0, "rare": 0.5, "c": 7.0}
    assert choose_vocabulary(counts, 5) == (*SPECIAL, "c", "a", "b")


def drawing_network() -> tuple[LanguageNetwork, Tensor, Tensor]:
    torch.manual_seed(1)
    network = LanguageNetwork(LanguageModelConfig((*SPECIAL, *map(str, range(48))), embedding_size=8))
    nn.init.normal_(network.embedding.weight, std=0.4)
    nn.init.normal_(network.bias, std=0.4)
    return network, torch.randn(64, 8), torch.randint(0, 50, (64,))


def test_drawing_words_gives_the_loss_over_all_words_in_the_mean() -> None:
    network, vectors, targets = drawing_network()
    exact = float(nn.functional.cross_entropy(network.logits(vectors), targets).detach())
    rarer = rarer_words(1.0 / np.arange(1, 51), always=20)
    assert rarer is not None and rarer[:20].sum() == 0.0 and rarer.sum() == pytest.approx(1.0)
    generator = np.random.default_rng(1)

    def estimate(drawn: int) -> float:
        words = generator.choice(50, size=drawn, p=rarer)
        expected = torch.from_numpy(np.log(drawn * rarer[words])).float()
        with torch.no_grad():
            return float(drawn_loss(network, vectors, targets, 20, torch.from_numpy(words), expected))

    assert np.mean([estimate(2000) for _ in range(5)]) == pytest.approx(exact, abs=0.01)
    # With few, the logarithm of a mean lies below the mean of logarithms; never by much.
    assert np.mean([estimate(20) for _ in range(50)]) == pytest.approx(exact, abs=0.1)


def test_a_right_word_that_is_also_drawn_competes_once() -> None:
    network, vectors, _ = drawing_network()
    targets = torch.full((64,), 33)
    # Nothing else is drawn: the right word against the twenty and itself.
    loss = drawn_loss(network, vectors, targets, 20, torch.tensor([33, 33]), torch.zeros(2))
    logits = network.logits(vectors)[:, [*range(20), 33]]
    expected = nn.functional.cross_entropy(logits, torch.full((64,), 20))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_no_word_is_drawn_where_all_always_compete() -> None:
    assert rarer_words(np.ones(5) / 5, always=5) is None


def test_perplexity_counts_ends_and_weighs_words_by_their_source() -> None:
    def score(sentences: Sequence[Any]) -> list[float]:
        return [(len(one) + 1) * -math.log(2.0 if one[0] == 2 else 8.0) for one in sentences]

    easy = HeldOut("easy", 3.0, [np.array([2, 2, 2])])
    hard = HeldOut("hard", 1.0, [np.array([3]), np.array([3])])
    figures = perplexity(score, [easy, hard, HeldOut("empty", 9.0, [])])
    assert figures == {
        "perplexity": pytest.approx(2.0 ** ((3 * 4 * 1 + 1 * 4 * 3) / 16)),
        "perplexity easy": pytest.approx(2.0),
        "perplexity hard": pytest.approx(8.0),
    }
