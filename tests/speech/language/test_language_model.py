"""The language model: exact step by step, at scoring and writing, and kept in a directory."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from common.errors import InputError
from common.models.files import write_model
from speech.language.loading import load_language_model, write_language_model
from speech.language.recurrent import LanguageModel, LanguageModelConfig, LanguageNetwork, fit_rest
from speech.language.vocabulary import SPECIAL
from speech.model.buckets import by_length

WORDS = ("the", "cat", "dog", "don't", "sat")


def random_model(layers: int = 1, hidden_size: int = 6) -> LanguageModel:
    torch.manual_seed(1)
    network = LanguageNetwork(LanguageModelConfig((*SPECIAL, *WORDS), 10, 4, hidden_size, layers))
    torch.nn.init.normal_(network.embedding.weight)  # so that words differ by more than a rounding
    return LanguageModel(network)


@pytest.fixture(params=[1, 2], ids=["one layer", "two layers"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return random_model(request.param)


def test_steps_give_what_whole_sentences_give(model: LanguageModel) -> None:
    sentences = torch.tensor([[0, 2, 3, 4], [0, 5, 1, 6]])
    whole, _ = model.network(sentences)
    state, first = model.start()
    assert torch.allclose(first, whole[:1, 0], atol=1e-6)
    state = model.reorder(state, torch.tensor([0, 0]))
    for position in (1, 2, 3):
        state, log_probs = model.advance(sentences[:, position], state)
        assert log_probs.dtype == torch.float32
        assert torch.allclose(log_probs, whole[:, position], atol=1e-6)


def test_steps_in_8_bits_are_nearly_those() -> None:
    exact = random_model(hidden_size=40)
    quick = LanguageModel(deepcopy(exact.network), in_8_bits=True)
    state, _ = exact.start()
    state = exact.reorder(state, torch.zeros(7).long())
    (_, wanted), (_, got) = (one.advance(torch.arange(7), state) for one in (exact, quick))
    assert torch.allclose(got, wanted, atol=0.05)
    assert torch.allclose(got.exp().sum(dim=1), torch.ones(7), atol=1e-5)


def test_histories_go_on_alone_as_they_do_together(model: LanguageModel) -> None:
    state, _ = model.start()
    together, log_probs = model.advance(torch.tensor([2, 5, 1]), model.reorder(state, torch.zeros(3).long()))
    alone, single = model.advance(torch.tensor([5]), state)
    assert all(part.shape[1] == 3 for part in together)
    assert torch.allclose(log_probs[1:2], single, atol=1e-6)
    for one, other in zip(model.reorder(together, torch.tensor([1])), alone, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_probabilities_sum_to_one_over_the_whole_vocabulary(model: LanguageModel) -> None:
    state, log_probs = model.start()
    assert log_probs.shape == (1, len(model.vocabulary))
    assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    _, log_probs = model.advance(torch.tensor([model.unknown]), state)
    assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_a_score_is_the_sum_of_the_steps_whatever_it_is_batched_with(model: LanguageModel) -> None:
    texts = ["The cat sat.", "", "Don’t", "the dog sat the cat sat the dog"]
    state, log_probs = model.start()
    total = 0.0
    for word in [*model.encode(texts[0]), model.end]:
        total += float(log_probs[0, word])
        state, log_probs = model.advance(torch.tensor([word]), state)
    together = model.score(texts)
    assert together[0] == pytest.approx(total, abs=1e-5)
    assert together == pytest.approx([model.score([text])[0] for text in texts], abs=1e-5)
    assert model.score([]) == []


def test_an_unknown_word_costs_the_share_of_one_among_all_unknown_words(model: LanguageModel) -> None:
    _, log_probs = model.start()
    _, after = model.advance(torch.tensor([model.unknown]), model.start()[0])
    plain = float(log_probs[0, model.unknown] + after[0, model.end])
    assert model.score(["zeppelin"])[0] == pytest.approx(plain - math.log(10), abs=1e-5)


def test_text_goes_on_from_its_beginning_and_a_seed_repeats_it(model: LanguageModel) -> None:
    def write(seed: int, **options: float) -> str:
        generator = torch.Generator().manual_seed(seed)
        return model.generate("The Zebra sat", 8, generator=generator, **options)

    assert write(1) == write(1)
    assert len({write(seed) for seed in range(10)}) > 1
    for seed in range(20):
        text = write(seed).split()
        assert text[:3] == ["the", "zebra", "sat"] and len(text) <= 11
        assert set(text[3:]) <= set(WORDS), "neither the unknown word nor the end can be written"
    # The coldest and the narrowest draw take the likeliest word.
    assert {write(seed, temperature=1e-3) for seed in range(5)} == {write(1, top_p=1e-6)}
    assert set(model.generate(words=3).split()) <= set(WORDS), "unseeded, from nothing"
    assert model.generate("the", words=0) == "the"


@pytest.mark.parametrize("frequent", [0, 4])
def test_a_search_is_told_what_a_step_expects(frequent: int) -> None:
    torch.manual_seed(2)
    config = LanguageModelConfig((*SPECIAL, *WORDS), 10, 4, 6, frequent=frequent)
    network = LanguageNetwork(config).eval()
    torch.nn.init.normal_(network.embedding.weight)
    if frequent:
        fit_rest(network, [[2, 3, 4], [5, 6], [3], [6, 2, 5, 1]] * 20)
    model = LanguageModel(network)
    state, _ = model.start()
    words = torch.tensor([2, 5, 1, 0])
    state = model.reorder(state, torch.zeros(4).long())
    _, exact = model.advance(words, state)
    count = frequent or len(exact[0])
    order = torch.cat([torch.randperm(count), torch.tensor([count, -1])])
    found = torch.empty(4, count + 2)
    after, (asked, vectors) = model.expect(words, state, model.judge(order), found)
    assert asked is found
    assert (found[:, -1] == -torch.inf).all()
    log_probs = found[:, :-1][:, order[:-1].argsort()]
    assert log_probs.exp().sum(dim=1).tolist() == pytest.approx([1.0] * 4)
    # How likely the rare words are together is an estimate; all but it is exact.
    assert (log_probs[:, :count] - exact[:, :count]).abs().max() < (0.1 if frequent else 1e-5)
    if frequent:
        assert (log_probs[:, -1] - exact[:, count:].logsumexp(dim=1)).abs().max() < 0.2
        rare = model.rare_log_probs(vectors, torch.full((4,), 6))
        assert (rare - exact[:, 6] - (log_probs[:, 0] - exact[:, 0])).abs().max() < 1e-5
    assert all(
        torch.equal(one, other) for one, other in zip(after, model.advance(words, state)[0], strict=True)
    )


def test_a_model_is_the_same_after_its_directory_but_for_8_bits(tmp_path: Path) -> None:
    model = random_model(hidden_size=40)  # smaller matrices are kept in half precision
    write_language_model(tmp_path / "model", model.network, "# Card\n")
    read = load_language_model(tmp_path / "model")
    assert (read.vocabulary, read.unknown_share) == (model.vocabulary, model.unknown_share)
    assert read.score(["the cat sat", "zebra"]) == pytest.approx(
        model.score(["the cat sat", "zebra"]), abs=0.1
    )
    # What was 8 bits once loses nothing more.
    write_language_model(tmp_path / "again", read.network, "# Card\n")
    first, second = (tmp_path / name / "model.safetensors" for name in ("model", "again"))
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 1.7 * sum(weight.numel() for weight in model.network.parameters())


def test_another_kind_of_model_is_refused_in_one_line(tmp_path: Path) -> None:
    write_model(tmp_path / "other", {"symbols": ["a"]}, {"weight": torch.zeros(1)}, "")
    with pytest.raises(InputError, match="not the configuration of a language model"):
        load_language_model(tmp_path / "other")
    directory = tmp_path / "model"
    write_language_model(directory, random_model().network, "")
    stored = json.loads((directory / "config.json").read_text())
    stored["config"]["hidden_size"] += 1
    (directory / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="config and weights do not match"):
        load_language_model(directory)
    stored["config"]["vocabulary"] = "a b c"
    (directory / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="no </s> in it"):
        load_language_model(directory)


def test_batches_of_like_lengths_hold_every_sentence_once_and_never_too_many_words() -> None:
    lengths = [3, 50, 0, 7, 7, 2, 200]
    batches = by_length([length + 1 for length in lengths], 60)
    assert sorted(number for batch in batches for number in batch) == list(range(7))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * (max(lengths[number] for number in batch) + 1) <= 60
