"""The n-gram model in use: asked by a search, written and read, put in another order, made by the command."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.models.files import write_model
from speech.cli import main
from speech.language.count_ngrams import count_ngrams
from speech.language.followers import RangeMaximum
from speech.language.kneser_ney import make_model, prune
from speech.language.ngram import NgramModel, load_ngram_model, spell_all, symbols_hash, write_ngram_model
from speech.language.vocabulary import END, SPECIAL, UNKNOWN
from speech.model.network import SpeechConfig, SpeechNetwork
from speech.model.subwords import BLANK, LETTER_SYMBOLS, Subwords
from speech.search.histories import LEXICON_END, LEXICON_UNKNOWN, NOTHING
from speech.search.ngram_histories import NgramHistories, NgramScores

SYMBOLS = Subwords([*LETTER_SYMBOLS, "th", "an_", "be"])
WORDS = sorted(
    {a + b + c for a in "bcdthw" for b in "aeiou" for c in ("n", "t", "nth", "s")}, key=SYMBOLS.spell
)


def make(order: int = 3, room: int = 10**6, words: Sequence[str] = WORDS) -> NgramModel:
    """A model of sentences in which some words like to follow each other."""
    generator = np.random.default_rng(3)
    size = len(words) + len(SPECIAL)
    chances = 1.0 / np.arange(1, size)
    sentences = []
    for length in generator.integers(1, 12, size=600):
        drawn = UNKNOWN + generator.choice(size - 1, length, p=chances / chances.sum())
        drawn[1::2] = UNKNOWN + (drawn[:-1:2] * 7 % (size - 1))[: len(drawn[1::2])]
        sentences += [*drawn.tolist(), END]
    counts = count_ngrams([(np.array(sentences, dtype=np.uint16), 1.0)], order, size)
    return make_model(prune(counts, room), words, 5, spell_all(SYMBOLS, words))


@pytest.fixture(scope="module")
def model() -> NgramModel:
    return make()


def contexts_of(model: NgramModel, history: Sequence[int]) -> np.ndarray:
    contexts = model.start[:, None]
    for word in history:
        contexts = model.after(contexts, np.array([word]))
    return contexts


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("room", [10**6, 3000, 500])
def test_the_best_of_a_range_is_the_best_of_its_words(order: int, room: int) -> None:
    model, generator = make(order, room), np.random.default_rng(4)
    size = len(model.vocabulary)
    for _ in range(60):
        contexts = contexts_of(model, generator.integers(0, size, size=generator.integers(0, 4)).tolist())
        every = model.log_probs(np.repeat(contexts, size, axis=1), np.arange(size))
        assert np.exp(every).sum() == pytest.approx(1.0, abs=0.05)
        first = generator.integers(2, size, size=50)
        last = first + 1 + generator.integers(0, size - first)
        found = model.best(np.repeat(contexts, 50, axis=1), first, last)
        expected = [every[low:high].max() for low, high in zip(first, last, strict=True)]
        np.testing.assert_array_equal(found, expected)


def test_a_sentence_is_the_product_of_its_words(model: NgramModel) -> None:
    sentences = [[2, 5, 9, 3], [], [UNKNOWN, 4], [7] * 9]
    for sentence, score in zip(sentences, model.sentence_log_probs(sentences), strict=True):
        contexts, expected = contexts_of(model, []), 0.0
        for word in [*sentence, END]:
            expected += model.log_probs(contexts, np.array([word]))[0]
            contexts = model.after(contexts, np.array([word]))
        assert score == pytest.approx(expected)


def test_many_sentences_score_as_each_alone(model: NgramModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = np.random.default_rng(5).integers(1, 40, size=(30, 6)).tolist()
    alone = [model.sentence_log_probs([sentence])[0] for sentence in sentences]
    monkeypatch.setattr("speech.language.ngram._TOGETHER", 16)
    np.testing.assert_allclose(model.sentence_log_probs(sentences), alone)
    assert len(model.sentence_log_probs([])) == 0


def test_an_unknown_word_is_one_of_many(model: NgramModel) -> None:
    (known,) = model.sentence_log_probs([[2, UNKNOWN]])
    (score,) = model.score([f"{WORDS[0]} quixotic"])
    assert score == pytest.approx(known - np.log(5))


@pytest.mark.parametrize("order", [2, 3])
def test_a_model_is_read_as_it_was_written(order: int, tmp_path: Path) -> None:
    model = make(order)
    write_ngram_model(tmp_path / "model", model, "# Card\n")
    again = load_ngram_model(tmp_path / "model")
    sentences = np.random.default_rng(6).integers(1, len(model.vocabulary), size=(40, 5)).tolist()
    np.testing.assert_array_equal(again.sentence_log_probs(sentences), model.sentence_log_probs(sentences))
    assert again.vocabulary == model.vocabulary
    assert again.unknown_share == model.unknown_share


def test_many_followers_are_written_too(tmp_path: Path) -> None:
    words = sorted(f"{a}{b}{c}" for a in "bcdfghjk" for b in "aeiou" for c in "bcdfghjk")
    text = np.array([one for word in range(2, 302) for one in (2, word, END)], dtype=np.uint16)
    counts = count_ngrams([(text, 1.0)], 2, len(words) + 2)
    model = make_model(prune(counts, 10**6), words, 0, spell_all(SYMBOLS, words))
    write_ngram_model(tmp_path / "model", model, "")
    again = load_ngram_model(tmp_path / "model")
    assert again.longer[0].counts[2] == 301, "300 words and the end"
    np.testing.assert_array_equal(again.longer[0].counts, model.longer[0].counts)


def test_another_kind_of_model_and_a_damaged_one_are_refused(model: NgramModel, tmp_path: Path) -> None:
    write_model(tmp_path / "other", {"vocabulary": "a b"}, {}, "")
    with pytest.raises(InputError, match="not the configuration of an n-gram model"):
        load_ngram_model(tmp_path / "other")
    write_model(tmp_path / "empty", {"kind": "n-gram", "words": "a", "steps": []}, {}, "")
    with pytest.raises(InputError, match="does not fit its configuration"):
        load_ngram_model(tmp_path / "empty")


def test_words_are_spelled_as_the_symbols_spell_them(model: NgramModel) -> None:
    for symbols in (SYMBOLS, Subwords(LETTER_SYMBOLS)):
        spelled = [tuple(row[row != BLANK].tolist()) for row in model.spelled(symbols)]
        assert spelled == [symbols.spell(word) for word in model.words]


def test_in_another_order_it_says_the_same(model: NgramModel) -> None:
    again = model.reordered(sorted(model.words, reverse=True))
    texts = [" ".join(np.random.default_rng(seed).choice(WORDS, 6)) for seed in range(20)]
    np.testing.assert_allclose(again.score(texts), model.score(texts))
    first = again.spelled(SYMBOLS)[0]
    assert tuple(first[first != BLANK].tolist()) == SYMBOLS.spell(max(WORDS))


def test_a_model_is_made_for_the_symbols_of_another_network(model: NgramModel) -> None:
    symbols = Subwords([*LETTER_SYMBOLS, "ba", "ta"])
    again = model.made_for(symbols)
    assert again.words == sorted(WORDS, key=symbols.spell) != model.words
    assert again.spelling.made_for == symbols_hash(symbols)
    texts = [" ".join(np.random.default_rng(seed).choice(WORDS, 6)) for seed in range(20)]
    np.testing.assert_allclose(again.score(texts), model.score(texts))


@pytest.mark.parametrize("lexicon", [WORDS, sorted([*WORDS, "aargh", "cox", "zebu"]), sorted(WORDS)])
def test_a_search_is_told_what_the_model_says(model: NgramModel, lexicon: list[str]) -> None:
    histories = NgramHistories(NgramScores(lexicon, model))
    generator = np.random.default_rng(7)
    number, said = np.array([NOTHING]), [END]
    of_word = {word: number for number, word in enumerate(model.vocabulary)}
    numbers = [of_word.get(word, UNKNOWN) for word in lexicon]
    for _ in range(100):
        contexts = contexts_of(model, said[1:])
        vocabulary = np.arange(len(model.vocabulary))
        every = model.log_probs(np.repeat(contexts, len(vocabulary), axis=1), vocabulary)
        expected = every[numbers] + np.where(np.array(numbers) == UNKNOWN, model.unknown_share, 0.0)
        all_words = np.arange(len(lexicon))
        np.testing.assert_allclose(histories.log_probs(number.repeat(len(lexicon)), all_words), expected)
        assert histories.log_probs(number, LEXICON_END) == pytest.approx(every[END])
        assert histories.log_probs(number, LEXICON_UNKNOWN) == pytest.approx(every[UNKNOWN])
        first = generator.integers(0, len(lexicon), size=40)
        last = first + 1 + generator.integers(0, len(lexicon) - first)
        histories.know(number, number)
        found = histories.best(number.repeat(40), first, last)
        highest = [expected[low:high].max() for low, high in zip(first, last, strict=True)]
        np.testing.assert_allclose(found, highest)
        word = int(generator.integers(-1, len(lexicon)))
        number = histories.after(number, np.array([word]))
        said.append(UNKNOWN if word < 0 else numbers[word])


def test_histories_that_end_alike_are_one(model: NgramModel) -> None:
    histories = NgramHistories(NgramScores(WORDS, model))
    first = np.array([NOTHING, NOTHING])
    for words in ([1, 2], [3, 3], [4, 4]):
        first = histories.after(first, np.array(words))
    assert first[0] == first[1] != NOTHING
    many = histories.after(np.full(len(WORDS), NOTHING), np.arange(len(WORDS)))
    assert len(set(many.tolist())) > 64, "more than there is room for at first"


def test_what_it_writes_is_sentences_of_its_words(model: NgramModel) -> None:
    text = model.generate("Bat,", words=8, generator=torch.Generator().manual_seed(1))
    assert text.split()[0] == "bat"
    assert 1 <= len(text.split()) <= 9
    assert set(text.split()) <= set(WORDS)
    assert text == model.generate("bat", words=8, generator=torch.Generator().manual_seed(1))


def test_the_highest_of_a_range() -> None:
    values = np.random.default_rng(1).integers(0, 100, size=37)
    pairs = np.array([(first, last) for first in range(37) for last in range(first + 1, 38)])
    expected = [values[first:last].max() for first, last in pairs]
    np.testing.assert_array_equal(RangeMaximum(values)(*pairs.T), expected)


def test_the_command_counts_texts_and_says_how_well_others_are_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, dev = tmp_path / "text.txt", tmp_path / "dev.tsv"
    text.write_text("The cat sat.\nThe cat ran.\nA dog sat.\n" * 2)
    dev.write_text("text\tspeaker\nThe dog ran.\tbob\nThe emu sat.\tjane\n")
    recogniser = tmp_path / "recogniser"
    config = SpeechConfig(
        SYMBOLS.symbols, LETTER_SYMBOLS, channels=2, hidden_size=2, lower_layers=1, upper_layers=1
    )
    write_model(recogniser, dataclasses.asdict(config), SpeechNetwork(config).state_dict(), "")
    command = ["count-lm", "--text", f"{text}:2", "--output", str(tmp_path / "lm"), "--dev", str(dev)]
    dictionary = tmp_path / "dictionary"
    dictionary.write_text("dog  D AO1 G\ncat  K AE1 T\ndogged  D AO1 G D\n")
    assert main([*command, "--model", str(recogniser), "--pronunciations", str(dictionary)]) == 0
    model = load_ngram_model(tmp_path / "lm")
    assert model.pronunciations == {"cat": ("K", "AE", "T"), "dog": ("D", "AO", "G")}
    assert model.words == sorted("a cat dog ran sat the".split(), key=SYMBOLS.spell)
    out, err = capsys.readouterr()
    assert "12 words" in err, "nine and three ends: each sentence once"
    loss = -model.sentence_log_probs([model.encode("the dog ran"), model.encode("the emu sat")]).sum()
    assert f"dev  perplexity {np.exp(loss / 8):.1f}" in out
    assert "unknown 16.67 %" in out
    assert f"| dev | {np.exp(loss / 8):.1f} |" in (tmp_path / "lm/README.md").read_text()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--order", "5"], "--order: must be 2 to 4"),
        (["--words", "70000"], "--words: must be 3 to 65535"),
        (["--model", "nowhere"], "config.json: cannot be read"),
        (["--pronunciations", "nowhere"], "nowhere: cannot be read"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    options: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("one\n")
    assert main(["count-lm", "--text", str(text), "--output", str(tmp_path / "lm"), *options]) == 1
    assert reason in capsys.readouterr().err


def test_the_command_writes_on_the_same_for_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", "--prompt", "The old man", "--count", "8", "--words", "6", "--seed", "3"]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert main([*command, "--top-p", "0.5", "--temperature", "0.7"]) == 0
    second = capsys.readouterr().out
    assert main(command) == 0
    assert capsys.readouterr().out == first != second
    texts = first.splitlines()
    assert len(texts) == 8 and len(set(texts)) > 2  # one that ends at once may come more than once
    assert all(text.startswith("the old man") and len(text.split()) <= 9 for text in texts)
