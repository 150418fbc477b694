"""Transcribed recordings become batches: manifest rows -> cached features -> padded, augmented batches.

Features are computed once, at every speed, into memory-mapped files; an epoch then costs no decoding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.functional import resample

from common.files import file_identity, taking_place_of
from speech.measuring.word_times import TimedWord, timed_words
from speech.model.buckets import by_length
from speech.model.text import normalize
from speech.sound.audio import load_audio
from speech.sound.features import FeatureConfig, LogMel
from speech.training.augmentation import Augmentation, Pace, draw_pace, views
from speech.training.splicing import Splicer

# Raised whenever the numbers in a cache would change: an old cache is then made anew.
_CACHE_VERSION = 1


@dataclass(frozen=True)
class Utterance:
    """One transcribed recording.

    Attributes:
        path: the sound file.
        text: what is said, normalised.
        speaker: who says it; "" where that is not known.
        words: when each word is said; empty where that is not known.
    """

    path: Path
    text: str
    speaker: str = ""
    words: tuple[TimedWord, ...] = ()


def utterances(rows: Sequence[dict[str, str]]) -> list[Utterance]:
    """Manifest rows (`path`, `text`, perhaps `speaker` and `words`) -> utterances.

    Rows without a word are left out.

    Raises:
        InputError: if the column `words` of a row holds something else than words and their times.
    """
    found = [
        Utterance(Path(row["path"]), normalize(row["text"]), row.get("speaker", ""), tuple(timed_words(row)))
        for row in rows
    ]
    return [utterance for utterance in found if utterance.text]


@dataclass(frozen=True)
class FeatureCache:
    """Features of many utterances in memory-mapped files.

    Attributes:
        files: (frames, mels) float16 each.
        spans: (utterances, 3): of each utterance the file, and where its frames begin and end there.
        texts: what each utterance says.
    """

    files: tuple[NDArray[np.float16], ...]
    spans: NDArray[np.int64]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of each utterance."""
        return self.spans[:, 2] - self.spans[:, 1]

    def features(self, number: int) -> NDArray[np.float16]:
        """(frames, mels) of one utterance."""
        file, start, end = self.spans[number].tolist()
        return self.files[file][start:end]

    @staticmethod
    def joined(caches: Sequence[FeatureCache]) -> FeatureCache:
        """Several caches as one: a corpus more leaves the files of the others as they are."""
        offsets = np.cumsum([0, *(len(cache.files) for cache in caches)])
        shifted = [
            cache.spans + np.array([offset, 0, 0]) for cache, offset in zip(caches, offsets, strict=False)
        ]
        return FeatureCache(
            tuple(file for cache in caches for file in cache.files),
            np.concatenate(shifted),
            tuple(text for cache in caches for text in cache.texts),
        )


def cache_features(
    found: Sequence[Utterance],
    config: FeatureConfig,
    directory: Path,
    speeds: Sequence[float] = (1.0,),
    processes: int = 2,
) -> list[FeatureCache]:
    """Compute the features of all utterances, or open them where they were computed before.

    Args:
        found: the utterances; one that cannot be read stops everything, because a training set with
            holes is not what its owner thinks it is.
        config: how features are made.
        directory: where caches lie; each is named after what is in it.
        speeds: played that many times as fast, pitch and all (Ko et al. 2015, Interspeech). A recording is
            read once for all of them.
        processes: how many files are read at the same time.

    Returns:
        A cache for each speed.

    Raises:
        InputError: if a recording cannot be read.
    """
    stems = {speed: directory / _cache_name(found, config, speed) for speed in speeds}
    missing = {speed: stem for speed, stem in stems.items() if not _starts_path(stem).is_file()}
    if missing:
        _write_caches(found, config, missing, processes)
    return [_opened(found, config, stems[speed]) for speed in speeds]


def _cache_name(found: Sequence[Utterance], config: FeatureConfig, speed: float) -> str:
    """What names a cache: everything that decides its numbers."""
    files = [file_identity(utterance.path) for utterance in found]
    identity = [_CACHE_VERSION, asdict(config), speed, files]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _starts_path(stem: Path) -> Path:
    """The file that says where each utterance begins; a cache that has it is whole."""
    return stem.with_suffix(".starts.npy")


def _write_caches(
    found: Sequence[Utterance], config: FeatureConfig, stems: dict[float, Path], processes: int
) -> None:
    """Read every recording and write its features at each speed."""
    starts: dict[float, list[int]] = {speed: [0] for speed in stems}
    with ExitStack() as opened:
        parts = {
            speed: opened.enter_context(taking_place_of(stem.with_suffix(".memmap")))
            for speed, stem in stems.items()
        }
        files = {speed: opened.enter_context(part.open("xb")) for speed, part in parts.items()}
        jobs = [(utterance.path, config, tuple(stems)) for utterance in found]
        pool = opened.enter_context(
            ProcessPoolExecutor(processes, initializer=torch.set_num_threads, initargs=(1,))
        )
        for at_speeds in pool.map(_features_of, jobs, chunksize=16):
            for speed, features in zip(stems, at_speeds, strict=True):
                files[speed].write(features.tobytes())
                starts[speed].append(starts[speed][-1] + len(features))
    for speed, stem in stems.items():
        with taking_place_of(_starts_path(stem)) as part, part.open("xb") as file:
            np.save(file, np.asarray(starts[speed], dtype=np.int64))


def _opened(found: Sequence[Utterance], config: FeatureConfig, stem: Path) -> FeatureCache:
    """A cache that was written."""
    starts = np.load(_starts_path(stem))
    shape = (int(starts[-1]), config.mels)
    frames = np.memmap(stem.with_suffix(".memmap"), dtype=np.float16, mode="r", shape=shape)
    spans = np.stack([np.zeros(len(found), np.int64), starts[:-1], starts[1:]], axis=1)
    return FeatureCache((frames,), spans, tuple(utterance.text for utterance in found))


def _features_of(job: tuple[Path, FeatureConfig, tuple[float, ...]]) -> list[NDArray[np.float16]]:
    """Read one recording and compute its features at each speed: (frames, mels) float16."""
    path, config, speeds = job
    samples = load_audio(path)
    log_mel = LogMel(config)
    return [log_mel(change_speed(samples, speed)).numpy().astype(np.float16) for speed in speeds]


def change_speed(samples: Tensor, speed: float) -> Tensor:
    """Play `speed` times as fast: (samples,) -> (samples / speed,); pitch and formants move with it."""
    if speed == 1.0:
        return samples
    ratio = Fraction(speed).limit_denominator(100)
    return resample(samples, ratio.numerator, ratio.denominator)


@dataclass(frozen=True)
class SpeechBatch:
    """Utterances padded to the longest.

    Attributes:
        features: (batch, frames, mels), zero on padding.
        lengths: (batch,) frames of each.
        targets: (all symbols,) the texts as symbols, one after another.
        target_lengths: (batch,) symbols of each.
        phones: (all phones,) likewise how the texts are spoken.
        phone_lengths: (batch,) phones of each; 0 where that is not known.
    """

    features: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    phones: Tensor
    phone_lengths: Tensor

    def to(self, device: torch.device) -> SpeechBatch:
        """The same batch on another device."""
        return SpeechBatch(
            self.features.to(device),
            self.lengths.to(device),
            self.targets.to(device),
            self.target_lengths.to(device),
            self.phones.to(device),
            self.phone_lengths.to(device),
        )


def collate(
    features: Sequence[NDArray[np.float32]], symbols: Sequence[Sequence[int]], phones: Sequence[Sequence[int]]
) -> SpeechBatch:
    """Pad utterances (frames, mels) to the longest, and put their symbols and phones end to end."""
    lengths = [len(one) for one in features]
    padded = torch.zeros(len(features), max(lengths), features[0].shape[1])
    for row, one in zip(padded, features, strict=True):
        row[: len(one)] = torch.from_numpy(one)
    return SpeechBatch(padded, torch.tensor(lengths), *_end_to_end(symbols), *_end_to_end(phones))


def _end_to_end(targets: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Targets of each utterance -> all of them one after another, and the length of each."""
    together = [symbol for one in targets for symbol in one]
    return torch.tensor(together, dtype=torch.long), torch.tensor([len(one) for one in targets])


@dataclass(frozen=True)
class Turn:
    """One utterance as an epoch hears it.

    Attributes:
        number: of the utterance.
        speed: number of the cache it is taken from.
        pace: how long it lasts.
    """

    number: int
    speed: int
    pace: Pace


class TrainingSet:
    """Utterances at several speeds, in batches of like length, augmented.

    Args:
        caches: the same utterances, one cache a speed; each epoch draws a speed for each utterance.
        config: how their features were made.
        encode: a text's symbols.
        pronounce: a text's phones; none where they are not known.
        batch_frames: frames of a batch, padding and all views included.
        augmentation: how features are varied.
        short_first: begin with the short utterances.
        processes: that read batches side by side: theirs are of like length, so that none waits.
        splicer: exchanges words between utterances; its speeds are those of the caches.
        speeds: of the caches.
        views: how often each utterance is heard in its batch, each time varied otherwise.
    """

    def __init__(
        self,
        caches: Sequence[FeatureCache],
        config: FeatureConfig,
        encode: Callable[[str], Sequence[int]],
        pronounce: Callable[[str], Sequence[int]],
        batch_frames: int,
        augmentation: Augmentation,
        short_first: bool = True,
        processes: int = 1,
        splicer: Splicer | None = None,
        speeds: Sequence[float] = (1.0,),
        views: int = 1,
    ) -> None:
        self.caches = caches
        self.config = config
        self.encode = encode
        self.pronounce = pronounce
        self.splicer = splicer
        self.speeds = speeds
        self.augmentation = augmentation
        self.short_first = short_first
        self.processes = processes
        self.views = views
        buckets = by_length(caches[0].lengths.tolist(), batch_frames // views)
        self.sizes = [len(bucket) for bucket in buckets]

    def plan(self, epoch: int, generator: np.random.Generator) -> list[list[Turn]]:
        """The epoch's batches: perhaps the shortest first in the first epoch, then in any order.

        Short utterances first teach CTC where the symbols lie before long ones confuse it (SortaGrad,
        Amodei et al. 2016, arXiv:1512.02595). How long each lasts is drawn before they are sorted, so little
        of a batch is padding.
        """
        speeds = generator.integers(len(self.caches), size=len(self.caches[0])).tolist()
        turns = [
            Turn(number, speed, draw_pace(self.augmentation, generator))
            for number, speed in enumerate(speeds)
        ]
        frames = [self.caches[turn.speed].lengths[turn.number] for turn in turns]
        lasting = np.array([turn.pace.frames(one) for turn, one in zip(turns, frames, strict=True)])
        # Who shares a batch changes with the epoch, even where nothing else is drawn.
        order = np.argsort(lasting * generator.uniform(0.98, 1.02, len(turns)))
        ends = np.cumsum(self.sizes)[:-1]
        batches = [[turns[number] for number in piece.tolist()] for piece in np.split(order, ends)]
        if epoch == 0 and self.short_first:
            return batches
        whole = len(batches) // self.processes * self.processes
        groups = generator.permutation(np.arange(whole).reshape(-1, self.processes))
        return [batches[number] for number in [*groups.flat, *range(whole, len(batches))]]

    def collate(self, turns: Sequence[Turn], generator: np.random.Generator) -> SpeechBatch:
        """The batch of some utterances, with words and masks that the generator draws.

        With several views of each utterance all come one after another: (views * utterances, ...).
        """
        varied, texts = [], []
        for turn in turns:
            heard, text = self._heard(turn.number, turn.speed, generator)
            varied.append(views(heard, self.config, self.augmentation, turn.pace, generator, self.views))
            texts.append(text)
        # All utterances as they are heard first, then all as they are heard the second time.
        features = [view for at_once in zip(*varied, strict=True) for view in at_once]
        texts *= self.views
        symbols = [self.encode(text) for text in texts]
        return collate(features, symbols, [self.pronounce(text) for text in texts])

    def _heard(
        self, number: int, speed: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.float32], str]:
        """The features of an utterance in the cache of one speed, and what they say."""
        cache = self.caches[speed]

        def features_of(one: int) -> NDArray[np.float32]:
            return cache.features(one).astype(np.float32)

        if self.splicer is not None:
            spliced = self.splicer.splice(number, features_of, self.speeds[speed], generator)
            if spliced is not None:
                return spliced
        return features_of(number), cache.texts[number]
