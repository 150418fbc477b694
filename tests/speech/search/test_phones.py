"""Texts compared once more with the phones that were heard."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech import DecodingOptions, Recognizer
from speech.language.ngram import NgramModel
from speech.pool import SegmentFeatures
from speech.search.decoding import least_wrong
from speech.search.phones import PhoneListener
from speech.search.text_probs import texts_log_probs
from speech.search.word_search import TextHypothesis
from speech.sound.audio import SAMPLE_RATE, load_audio

SAMPLES = Path(__file__).parents[3] / "speech" / "samples"

PHONES = ("<blank>", "K", "AE", "T", "P")
SPOKEN = {"cat": ("K", "AE", "T"), "cap": ("K", "AE", "P"), "at": ("AE", "T")}


def reference(log_probs: Tensor, text: list[int]) -> float:
    """By PyTorch."""
    loss = torch.nn.functional.ctc_loss(
        log_probs.double()[:, None],
        torch.tensor([text], dtype=torch.long),
        torch.tensor([len(log_probs)]),
        torch.tensor([len(text)]),
        reduction="none",
    )
    return -float(loss)


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_log_probs_are_those_of_ctc(sharpness: float) -> None:
    generator = torch.Generator().manual_seed(5)
    log_probs, utterances, texts = [], [], []
    for number, steps in enumerate((1, 4, 17, 90, 300)):
        log_probs.append((sharpness * torch.randn(steps, 6, generator=generator)).log_softmax(dim=-1))
        for length in {0, 1, steps // 4, steps // 2}:
            utterances.append(number)
            texts.append(torch.randint(1, 6, (length,), generator=generator).tolist())
        texts[-1] = sorted(texts[-1])  # the same phone several times in a row
    order = torch.randperm(len(texts), generator=generator).tolist()
    utterances, texts = [utterances[one] for one in order], [texts[one] for one in order]
    expected = [reference(log_probs[number], text) for number, text in zip(utterances, texts, strict=True)]
    found = texts_log_probs(log_probs, utterances, texts)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_text_that_does_not_fit_is_impossible() -> None:
    log_probs = torch.zeros(3, 4).log_softmax(dim=-1)
    found = texts_log_probs([log_probs], [0, 0, 0], [[1, 1], [1, 1, 2], [1, 2, 3]])
    assert found[0] > -math.inf and found[2] > -math.inf
    assert found[1] == -math.inf  # two of the same take a blank between them
    assert len(texts_log_probs([], [], [])) == 0


def heard(*phones: str) -> Tensor:
    """Log-probabilities (2 * phones, symbols) of what is clearly heard, each behind a blank."""
    log_probs = torch.full((2 * len(phones), len(PHONES)), 0.01)
    for place, phone in enumerate(phones):
        log_probs[2 * place, 0] = 0.96
        log_probs[2 * place + 1, PHONES.index(phone)] = 0.96
    return log_probs.log()


def text(words: str, score: float) -> TextHypothesis:
    return TextHypothesis(words, tuple(range(len(words))), score - 1.0, score)


def test_what_was_heard_decides_between_texts() -> None:
    listener = PhoneListener(SPOKEN, PHONES, share=0.5)
    texts = [text("cat", -3.0), text("cap", -3.5), text("at", -6.0)]
    ((first, second, third),) = listener([texts], [heard("K", "AE", "P")])
    assert [first.text, second.text, third.text] == ["cap", "cat", "at"]
    assert [first.symbols, first.log_prob] == [texts[1].symbols, texts[1].log_prob]
    fit = reference(heard("K", "AE", "P"), [PHONES.index(one) for one in SPOKEN["cap"]])
    assert first.score == pytest.approx(-3.5 + 0.5 * (fit + 4.5), abs=1e-3)
    ((first, *_),) = PhoneListener(SPOKEN, PHONES, share=0.5, temperature=1e6)(
        [texts], [heard("K", "AE", "P")]
    )
    assert first.score == pytest.approx(-3.0 + 0.5 * 4.0, abs=1e-3)


def test_a_text_of_unknown_words_gains_as_the_middle_one_does() -> None:
    listener = PhoneListener(SPOKEN, PHONES, share=0.5)
    texts = [text("cat", -3.0), text("kap", -3.2), text("cap", -3.5), text("at", -3.6)]
    (found,) = listener([texts], [heard("K", "AE", "T")])
    gained = {one.text: one.score - old.score for old in texts for one in found if one.text == old.text}
    assert gained["kap"] == pytest.approx(np.median([gained["cat"], gained["cap"], gained["at"]]))
    assert found[0].text == "cat"


def test_what_cannot_have_been_said_is_last() -> None:
    listener = PhoneListener(SPOKEN, PHONES, share=0.5)
    texts = [text("cat", -3.0), text("at", -3.5)]
    (found,) = listener([texts], [heard("AE")])  # too short for three phones
    assert [one.text for one in found] == ["at", "cat"]
    assert found[1].score < -1000.0


def test_nothing_changes_where_nothing_is_known() -> None:
    listener = PhoneListener(SPOKEN, PHONES, share=0.5)
    unknown = [text("kat", -3.0), text("kap", -3.5)]
    alone = [text("cat", -3.0)]
    assert listener([unknown, alone], [heard("K", "AE", "P"), heard("P")]) == [unknown, alone]
    # Where no text fits what was heard, they have no scores to be changed.
    impossible = [replace(text(one, 0.0), log_prob=-math.inf, score=-math.inf) for one in ("cat", "cap")]
    assert listener([impossible], [heard("K", "AE", "P")]) == [impossible]
    assert listener([], []) == []


def test_words_with_phones_that_the_network_does_not_know_are_unknown() -> None:
    listener = PhoneListener({"cat": ("K", "AE", "T"), "she": ("SH", "IY")}, PHONES, share=1.0)
    texts = [text("she", -1.0), text("cat", -2.0)]
    (found,) = listener([texts], [heard("K", "AE", "T")])
    assert [one.text for one in found] == ["she", "cat"]
    assert found[0].score - found[1].score == pytest.approx(1.0)


def test_an_utterance_does_not_depend_on_those_beside_it() -> None:
    listener = PhoneListener(SPOKEN, PHONES, share=0.4)
    one = [text("cat", -3.0), text("cap", -3.5)]
    other = [text("at cat at", -9.0), text("cap cat", -9.1), text("at", -9.2)]
    sounds = [heard("K", "AE", "P"), heard("AE", "T", "K", "AE", "T", "AE", "T")]
    assert listener([one, other], sounds) == [*listener([one], sounds[:1]), *listener([other], sounds[1:])]


@pytest.fixture(scope="module")
def english() -> Recognizer:
    return Recognizer.load()


def test_the_shipped_recogniser_compares_texts_with_phones(english: Recognizer) -> None:
    samples = load_audio(SAMPLES / "service.opus")
    segment = SegmentFeatures(0, 0, 0.0, english.acoustic.log_mel(samples), len(samples) / SAMPLE_RATE)
    (emissions,) = english.acoustic.emissions([segment])
    assert emissions.phone_log_probs is not None
    (_, (phones, steps)) = english.acoustic.answers([segment.features])
    assert torch.equal(emissions.phone_log_probs, phones[0, : steps[0]])
    model = english.finder.language_model
    assert isinstance(model, NgramModel) and model.pronunciations["there"] == ("DH", "EH", "R")
    sounds = [emissions.log_probs], [emissions.phone_log_probs]
    alone = english.finder.decoder(DecodingOptions(phone_share=0.0)).decode_batch(*sounds)
    half = english.finder.decoder(DecodingOptions(phone_share=0.5)).decode_batch(*sounds)
    assert {text.text for text in half[0]} == {text.text for text in alone[0]}
    assert [text.score for text in half[0]] != [text.score for text in alone[0]]
    # Who does not give the phones gets what the search found.
    decoder = english.finder.decoder(DecodingOptions(phone_share=0.5))
    assert decoder.decode_batch(sounds[0]) == alone
    assert [english.finder.texts([emissions], decoder)[0].text] == [least_wrong(half[0]).text]


def test_a_recogniser_without_pronunciations_leaves_texts_as_they_are(english: Recognizer) -> None:
    assert english.finder.decoder(DecodingOptions()).listener is not None
    for options in (DecodingOptions(phone_share=0.0), DecodingOptions(words=False), DecodingOptions(beam=1)):
        assert english.finder.decoder(options).listener is None
