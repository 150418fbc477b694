"""The scores are those of the COCO caption evaluation, whose implementation is asked here."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from caption.measuring.scores import cider, longest_common, rouge_l
from common.bleu import corpus_bleu

WORD = st.sampled_from("a dog cat runs on the grass red".split())
SENTENCE = st.lists(WORD, min_size=1, max_size=12)
PHOTOGRAPH = st.tuples(st.lists(SENTENCE, min_size=1, max_size=5), SENTENCE)


def reference_scores(
    references: list[list[list[str]]], captions: list[list[str]]
) -> tuple[list[float], float, float]:
    truth = {number: [" ".join(one) for one in several] for number, several in enumerate(references)}
    said = {number: [" ".join(caption)] for number, caption in enumerate(captions)}
    with contextlib.redirect_stdout(io.StringIO()):
        bleu, _ = Bleu(4).compute_score(truth, said, verbose=0)
        rouge, _ = Rouge().compute_score(truth, said)
        agreement, _ = Cider().compute_score(truth, said)
    return bleu, float(rouge), float(agreement)


@settings(max_examples=60)
@given(st.lists(PHOTOGRAPH, min_size=2, max_size=6))
def test_scores_are_the_reference_implementations(
    photographs: list[tuple[list[list[str]], list[str]]],
) -> None:
    references, captions = [several for several, _ in photographs], [caption for _, caption in photographs]
    bleu, rouge, agreement = reference_scores(references, captions)
    assert corpus_bleu(references, captions) == pytest.approx(tuple(bleu), abs=1e-6)
    assert rouge_l(references, captions) == pytest.approx(rouge, abs=1e-6)
    assert cider(references, captions) == pytest.approx(agreement, abs=1e-6)


@given(SENTENCE, SENTENCE, WORD)
def test_a_common_word_at_the_end_makes_the_longest_sequence_one_longer(
    one: list[str], other: list[str], word: str
) -> None:
    assume(word not in one)
    assert longest_common([*one, word], [*other, word]) == longest_common(one, other) + 1
    assert longest_common(one, one) == len(one)


def test_a_caption_without_words_scores_nothing() -> None:
    references, captions = [[["a", "dog"]], [["a", "cat"]]], [[], ["a", "cat"]]
    assert rouge_l(references, captions) == pytest.approx(0.5)
    assert 0.0 < cider(references, captions) <= 5.0
    assert corpus_bleu([references[0]], [[]])[0] == pytest.approx(0.0, abs=1e-6)
