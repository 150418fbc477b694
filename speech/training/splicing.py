"""Training utterances lose what could be known by heart: words of others take the place of some of theirs.

A few thousand sentences that are heard dozens of times teach a network the sentences instead of the sounds.
Where it is known when each word is said, a word's frames can be exchanged for those of another word, and the
text with them (Lam et al. 2021, "On-the-fly aligned data augmentation for sequence-to-sequence ASR",
arXiv:2104.01393).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from speech.measuring.word_times import TimedWord

# A shorter word is mostly its neighbours' sound.
LEAST_SECONDS = 0.1


class Splicer:
    """Exchanges words of utterances for words that the same speaker said elsewhere.

    Utterances whose speaker is not known share their words with each other. What stands alone in its
    utterance is left as it is: words that are said alone sound otherwise.

    Args:
        words: of each utterance, in order; empty where their times are not known.
        speakers: of each utterance; "" where not known.
        hop_seconds: time from one frame to the next.
        utterance_share: how many of the utterances are changed.
        word_share: how many of the words of one that is.
    """

    def __init__(
        self,
        words: Sequence[Sequence[TimedWord]],
        speakers: Sequence[str],
        hop_seconds: float,
        utterance_share: float = 0.5,
        word_share: float = 0.35,
    ) -> None:
        self.words = words
        self.speakers = speakers
        self.hop_seconds = hop_seconds
        self.utterance_share = utterance_share
        self.word_share = word_share
        self.donors: dict[str, list[tuple[int, TimedWord]]] = defaultdict(list)
        for number, (speaker, said) in enumerate(zip(speakers, words, strict=True)):
            if len(said) > 1:
                long = [word for word in said if word.end - word.start >= LEAST_SECONDS]
                self.donors[speaker] += [(number, word) for word in long]

    def splice(
        self,
        number: int,
        features_of: Callable[[int], NDArray[np.float32]],
        speed: float,
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.float32], str] | None:
        """Exchange words of one utterance.

        Args:
            number: of the utterance.
            features_of: the features (frames, mels) of an utterance, all at the same speed.
            speed: that speed; times are those of speed 1.
            generator: decides everything.

        Returns:
            Its features and what they say now; None if it stays as it is.
        """
        words = self.words[number]
        donors = self.donors[self.speakers[number]] if len(words) > 1 else []
        if not donors or generator.random() >= self.utterance_share:
            return None
        features = features_of(number)
        pieces, texts, done = [], [], 0
        for word, leaves in zip(words, generator.random(len(words)) < self.word_share, strict=True):
            if leaves:
                other, newcomer = donors[int(generator.integers(len(donors)))]
                start, end = self._frames(word, speed, len(features))
                sound = features_of(other)
                first, last = self._frames(newcomer, speed, len(sound))
                pieces += [features[done : max(done, start)], sound[first:last]]
                done = max(done, end)
            texts.append(newcomer.text if leaves else word.text)
        return np.concatenate([*pieces, features[done:]]), " ".join(texts)

    def _frames(self, word: TimedWord, speed: float, frames: int) -> tuple[int, int]:
        """Where a word begins and ends in an utterance of so many frames, at a speed."""
        start = round(word.start / (self.hop_seconds * speed))
        end = round(word.end / (self.hop_seconds * speed))
        return min(start, frames), min(end, frames)
