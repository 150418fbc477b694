"""Words exchanged between training utterances: their sound, their text, and whose they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import InputError
from speech.measuring.word_times import TimedWord, timed_words
from speech.model.subwords import LETTER_SYMBOLS, Subwords
from speech.sound.features import FeatureConfig
from speech.training.augmentation import NO_AUGMENTATION, Pace
from speech.training.data import FeatureCache, TrainingSet, Turn
from speech.training.splicing import Splicer

# Every frame holds the number of its utterance and its own: what comes from where can be read off.
MEL_UTTERANCE, MEL_FRAME = 0, 1


def said(*texts: str) -> list[TimedWord]:
    """Words of half a second each, with a pause of 0.1 s before each."""
    return [TimedWord(text, 0.6 * place + 0.1, 0.6 * place + 0.6) for place, text in enumerate(texts)]


WORDS = [said("one", "two", "three"), said("four", "five"), said("six", "seven", "eight"), said("alone")]
SPEAKERS = ["ann", "ann", "bob", "ann"]


def features_of(number: int, speed: float = 1.0) -> NDArray[np.float32]:
    frames = round(60 * len(WORDS[number]) / speed)
    features = np.zeros((frames, 80), np.float32)
    features[:, MEL_UTTERANCE], features[:, MEL_FRAME] = number, np.arange(frames)
    return features


def splicer(utterance_share: float = 1.0, word_share: float = 0.5) -> Splicer:
    return Splicer(WORDS, SPEAKERS, 0.01, utterance_share, word_share)


def test_sound_and_text_are_exchanged_together() -> None:
    for seed in range(50):
        result = splicer().splice(0, features_of, 1.0, np.random.default_rng(seed))
        assert result is not None
        features, text = result
        texts = text.split()
        assert len(texts) == 3
        # Every word lasts as long, so each is to be found where the first utterance had its own.
        for place, word in enumerate(texts):
            pause, sound = features[60 * place : 60 * place + 10], features[60 * place + 10 : 60 * place + 60]
            assert set(pause[:, MEL_UTTERANCE]) == {0}
            number = int(sound[0, MEL_UTTERANCE])
            where = [other.text for other in WORDS[number]].index(word)
            expected = features_of(number)[60 * where + 10 : 60 * where + 60]
            assert np.array_equal(sound, expected)


def test_words_come_from_the_same_speaker() -> None:
    texts = set()
    for seed in range(200):
        result = splicer(word_share=1.0).splice(2, features_of, 1.0, np.random.default_rng(seed))
        assert result is not None
        texts |= set(result[1].split())
    assert texts == {"six", "seven", "eight"}


def test_times_follow_the_speed() -> None:
    fast = 1.25

    def features(number: int) -> NDArray[np.float32]:
        return features_of(number, fast)

    result = splicer(word_share=0.5).splice(0, features, fast, np.random.default_rng(1))
    assert result is not None
    assert result[0].shape == (round(180 / fast), 80)


def test_what_has_no_times_or_stands_alone_stays() -> None:
    generator = np.random.default_rng(0)
    assert splicer().splice(3, features_of, 1.0, generator) is None
    untimed = Splicer([[], WORDS[1]], ["ann", "ann"], 0.01, 1.0)
    assert untimed.splice(0, features_of, 1.0, generator) is None


def test_so_many_utterances_and_words_are_changed() -> None:
    generator = np.random.default_rng(0)
    results = [splicer(0.4, 0.3).splice(0, features_of, 1.0, generator) for _ in range(2000)]
    changed = [result for result in results if result is not None]
    assert len(changed) / 2000 == pytest.approx(0.4, abs=0.04)
    foreign = [word for _, text in changed for word in text.split() if word in ("four", "five")]
    # Two of the five words that ann says in company are of the other utterance.
    assert len(foreign) / (3 * len(changed)) == pytest.approx(0.3 * 2 / 5, abs=0.03)


def test_a_batch_has_the_symbols_and_phones_of_the_new_words() -> None:
    sounds = [features_of(number).astype(np.float16) for number in range(4)]
    ends = np.cumsum([len(sound) for sound in sounds])
    spans = np.stack([np.zeros(4, np.int64), ends - [len(sound) for sound in sounds], ends], axis=1)
    texts = tuple(" ".join(word.text for word in words) for words in WORDS)
    cache = FeatureCache((np.concatenate(sounds),), spans, texts)
    letters = Subwords(LETTER_SYMBOLS)
    training_set = TrainingSet(
        [cache], FeatureConfig(), letters.encode, letters.encode, 400, NO_AUGMENTATION, splicer=splicer()
    )
    batch = training_set.collate([Turn(0, 0, Pace()), Turn(3, 0, Pace())], np.random.default_rng(0))
    first, second = batch.targets.split(batch.target_lengths.tolist())
    assert letters.decode(first.tolist()) != texts[0]
    assert letters.decode(second.tolist()) == "alone"
    assert batch.phones.tolist() == batch.targets.tolist()


def test_the_column_of_words_is_read_and_normalised() -> None:
    row = {"path": "a.wav", "words": '[["Two", 0.1, 0.5], ["!", 0.5, 0.6], ["42", 1, 2]]'}
    assert timed_words(row) == [TimedWord("two", 0.1, 0.5), TimedWord("forty two", 1.0, 2.0)]
    assert timed_words({"path": "a.wav"}) == timed_words({"path": "a.wav", "words": ""}) == []
    for words in ("none", "[1]", '[["the", 1]]', '[["the", 1, null]]', "7", "[[3, 1, 2]]"):
        with pytest.raises(InputError, match=r"a\.wav: its column 'words'"):
            timed_words({"path": str(Path("a.wav")), "words": words})
