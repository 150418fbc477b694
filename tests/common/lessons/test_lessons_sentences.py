"""Sentences become labels: the file, what is held out, and order, which a bag of words cannot see."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.errors import InputError
from common.lessons.sentences import (
    UNKNOWN,
    Bag,
    Classifier,
    Reader,
    Sentences,
    hold_out,
    questions,
    read_sentences,
    split_words,
    vocabulary,
)


def test_a_file_of_labelled_sentences_is_read(tmp_path: Path) -> None:
    path = tmp_path / "labelled.tsv"
    path.write_text('label\ttext\ngood\tIsn\'t it "fine"?\nbad\tNo.\n', encoding="utf-8")
    sentences = read_sentences(path)
    assert sentences.names == ["bad", "good"]
    assert sentences.labels == [1, 0]
    assert sentences.words == [["isn't", "it", '"', "fine", '"', "?"], ["no", "."]]
    assert split_words("  ") == [""]


@pytest.mark.parametrize(
    ("content", "reason"),
    [("text\nhello\n", "columns"), ("", "columns"), ("text\tlabel\nhello\tgood\n", "one label")],
)
def test_a_file_that_cannot_be_learned_from_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "labelled.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_sentences(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_sentences(tmp_path / "nowhere.tsv")


def test_no_sentence_that_is_judged_was_learned() -> None:
    words = [[str(number % 60), "x"] for number in range(120)]  # each stands there twice
    learned, judged = hold_out(Sentences(words, [0] * 120, ["one"]), torch.Generator().manual_seed(1))
    assert len(judged.words) == 12 and len(learned.words) == 108
    assert not {tuple(one) for one in learned.words} & {tuple(one) for one in judged.words}


def test_words_that_stand_once_are_unknown() -> None:
    places = vocabulary(Sentences([["b", "a", "b"], ["c", "a"]], [0, 0], ["one"]))
    assert places == {"a": UNKNOWN + 1, "b": UNKNOWN + 2}


def accuracy(classifier: Classifier, sentences: Sentences) -> float:
    """The share of sentences whose label is found."""
    return sum(classifier.right(sentences)) / len(sentences.words)


def bites(count: int, generator: torch.Generator) -> Sentences:
    """Who bites whom: the label is in the order alone."""
    names = ["dog", "man", "cat"]
    words, labels = [], []
    for draw in torch.rand(count, 2, generator=generator).tolist():
        who = int(draw[0] * 3)
        whom = (who + 1 + int(draw[1] * 2)) % 3
        words.append(["the", names[who], "bites", "the", names[whom]])
        labels.append(int(who < whom))
    return Sentences(words, labels, ["no", "yes"])


def test_the_order_that_a_bag_of_words_does_not_see_an_lstm_reads() -> None:
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    learned, judged = bites(300, generator), bites(200, generator)
    places = vocabulary(learned)
    bag = Classifier(Bag(len(places) + 2, 2), places)
    bag.train(learned, 100, generator, 0.02)
    reader = Classifier(Reader(len(places) + 2, 2), places)
    reader.train(learned, 150, generator, 0.01)
    assert accuracy(bag, judged) < 0.7
    assert accuracy(reader, judged) > 0.95


def test_what_makes_a_question_is_more_than_its_words() -> None:
    sentences = questions()
    assert sentences.names == ["statement", "question"] and len(sentences.words) > 20_000
    by_name = {
        name: {
            " ".join(words)
            for words, label in zip(sentences.words, sentences.labels, strict=True)
            if label == place
        }
        for place, name in enumerate(sentences.names)
    }
    assert any(one.startswith("am i ") for one in by_name["question"])
    assert any(one.startswith("i am ") for one in by_name["statement"])
    assert not any(sentence.endswith((".", "?")) for said in by_name.values() for sentence in said)
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    learned, judged = hold_out(sentences, generator)
    judged = judged.part(range(600))
    places = vocabulary(learned)
    bag = Classifier(Bag(len(places) + 2, 2), places)
    bag.train(learned, 200, generator, 0.02)
    reader = Classifier(Reader(len(places) + 2, 2), places)
    reader.train(learned, 200, generator, 0.01)
    assert judged.labels.count(0) / 600 < accuracy(bag, judged) < accuracy(reader, judged) - 0.02


def test_padding_changes_neither_of_them() -> None:
    torch.manual_seed(1)
    for network in (Bag(9, 3), Reader(9, 3)):
        torch.nn.init.normal_(network.weights.weight) if isinstance(network, Bag) else None
        classifier = Classifier(network.eval(), {"a": 2, "b": 3})
        both = classifier.logits([["a", "b"], ["b", "a", "b", "c"]])
        torch.testing.assert_close(both[:1], classifier.logits([["a", "b"]]))
