"""Scoring: what was said beside what was recognised -> word and character error rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

from speech.model.text import normalize


@dataclass(frozen=True)
class ErrorRates:
    """Errors of a set of utterances, counted together.

    Attributes:
        wer: word error rate in percent: substitutions, deletions and insertions, by words of the
            references. More than 100 if much was invented.
        cer: the same of characters, spaces included.
        substitutions, deletions, insertions: of words.
        words: of the references.
        utterances: how many were scored.
    """

    wer: float
    cer: float
    substitutions: int
    deletions: int
    insertions: int
    words: int
    utterances: int


def error_rates(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRates:
    """Score with jiwer, both sides through the normaliser of training.

    An utterance whose reference has no word counts by what was invented for it.

    Raises:
        ValueError: if there are not equally many of both, or no reference has a word.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references, but {len(hypotheses)} hypotheses")
    truth = [normalize(text) for text in references]
    found = [normalize(text) for text in hypotheses]
    if not any(truth):
        raise ValueError("no reference has a word: there is nothing to score against")
    words = jiwer.process_words(truth, found)
    characters = jiwer.process_characters(truth, found)
    return ErrorRates(
        wer=100.0 * words.wer,
        cer=100.0 * characters.cer,
        substitutions=words.substitutions,
        deletions=words.deletions,
        insertions=words.insertions,
        words=words.hits + words.substitutions + words.deletions,
        utterances=len(references),
    )
