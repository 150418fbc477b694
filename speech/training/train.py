"""Training a recogniser: transcribed recordings in, a model directory out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.core.recurrent import GATES
from common.errors import InputError
from common.files import file_identity
from common.models.files import find_model, read_model, write_model
from common.training.batches import ResumableBatches
from common.training.loop import TrainingModule, fit_together
from common.training.progress import say
from common.training.run_record import RunRecord, run_record
from common.training.schedule import decayed
from speech.bundled import BUNDLED
from speech.measuring.scoring import error_rates
from speech.model.network import SpeechConfig, SpeechNetwork, config_from_model, consistency_loss, ctc_loss
from speech.model.subwords import LETTER_SYMBOLS, Subwords, learn_subwords, symbol_frequencies
from speech.options import TrainOptions
from speech.search.decoding import greedy
from speech.training.augmentation import Augmentation
from speech.training.corpora import read_corpus
from speech.training.data import (
    FeatureCache,
    SpeechBatch,
    TrainingSet,
    Utterance,
    cache_features,
    collate,
    utterances,
)
from speech.training.pronunciations import PHONES, read_pronunciations
from speech.training.risk import expected_errors
from speech.training.rivals import Bigrams, count_bigrams, rival_loss
from speech.training.splicing import Splicer

# Symbols that a new network writes, and the options that decide its shape besides.
_SUBWORDS = 500
_SHAPE = ("hidden_size", "lower_layers", "upper_layers", "stride", "join", "channels", "dropout")


class SpeechModule(TrainingModule[SpeechNetwork]):
    """The acoustic model, its CTC loss, and its error rates on the dev sets."""

    def __init__(
        self,
        network: SpeechNetwork,
        dev: dict[str, FeatureCache],
        options: TrainOptions,
        bigrams: tuple[Bigrams, Bigrams] | None = None,
    ) -> None:
        super().__init__(network, options.learning_rate, options.warmup, options.weight_decay)
        self.dev = dev
        self.options = options
        self.subwords = Subwords(network.config.symbols)
        self.bigrams = bigrams

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The recurrent layers learn with Muon if the options say so."""
        return decayed(self.network, self.weight_decay, gates=GATES["lstm"] if self.options.muon else 0)

    def training_step(self, batch: SpeechBatch, batch_number: int) -> Tensor:
        """CTC losses of one batch, in nats a symbol: of the subwords and, below them, of the phones."""
        (log_probs, steps), (phone_log_probs, lower_steps) = self.network.forward_with_phones(
            batch.features, batch.lengths
        )
        subwords = ctc_loss(log_probs, steps, batch.targets, batch.target_lengths)
        phones = ctc_loss(phone_log_probs, lower_steps, batch.phones, batch.phone_lengths)
        self.log_dict({"loss": subwords, "phone_loss": phones}, batch_size=len(batch.lengths))
        if weight := self.options.consistency:
            subwords = subwords + weight * consistency_loss(log_probs, steps, batch.target_lengths)
            phones = phones + weight * consistency_loss(phone_log_probs, lower_steps, batch.phone_lengths)
        if self.bigrams is not None:
            of_subwords, of_phones = self.bigrams
            rivals = rival_loss(log_probs, steps, batch.target_lengths, of_subwords)
            phone_rivals = rival_loss(phone_log_probs, lower_steps, batch.phone_lengths, of_phones)
            self.log_dict({"rivals": rivals, "phone_rivals": phone_rivals}, batch_size=len(batch.lengths))
            subwords = subwords + self.options.mmi * rivals
            phones = phones + self.options.mmi * phone_rivals
        if weight := self.options.risk:
            risk, wrong = expected_errors(
                log_probs, steps, batch.targets, batch.target_lengths, self.subwords
            )
            self.log("drawn_wer", 100.0 * wrong, batch_size=len(batch.lengths))
            subwords = subwords + weight * risk
        share = self.options.phone_weight
        return (1.0 - share) * subwords + share * phones

    def dev_metrics(self) -> dict[str, float]:
        """Greedy word and character error rate, in percent: their means over the dev sets, and each."""
        metrics: dict[str, float] = {}
        for name, cache in self.dev.items():
            scores = error_rates(cache.texts, transcribe_cache(self.network, cache, self.device))
            metrics[f"wer {name}"], metrics[f"cer {name}"] = scores.wer, scores.cer
        words = [value for name, value in metrics.items() if name.startswith("wer")]
        return {"wer": sum(words) / len(words), **metrics}

    def export(self, directory: Path, metrics: dict[str, float]) -> None:
        """Write a model directory; the card of a shipped model is written by hand."""
        figures = "\n".join(f"- {name}: {figure:.1f} %" for name, figure in metrics.items())
        card = f"# Speech recogniser\n\nGreedy decoding on the dev sets it was chosen by:\n\n{figures}\n"
        config = dataclasses.asdict(self.network.config)
        write_model(directory, config, self.network.state_dict(), card)


def transcribe_cache(
    network: SpeechNetwork, cache: FeatureCache, device: torch.device, batch_size: int = 32
) -> list[str]:
    """Greedy transcripts of cached utterances, in their order."""
    subwords = Subwords(network.config.symbols)
    order = np.argsort(cache.lengths)
    texts = [""] * len(cache)
    for start in range(0, len(order), batch_size):
        numbers: Sequence[int] = order[start : start + batch_size].tolist()
        features = [cache.features(number).astype(np.float32) for number in numbers]
        batch = collate(features, [()] * len(numbers), [()] * len(numbers)).to(device)
        log_probs, steps = network(batch.features, batch.lengths)
        for number, text in zip(numbers, greedy(log_probs, steps, subwords), strict=True):
            texts[number] = text
    return texts


def train(options: TrainOptions) -> None:
    """Train a recogniser, or go on where the run directory stands; the best is in `run/best`.

    Raises:
        InputError: if a corpus, the model to start from or the run directory cannot be used.
    """
    fit_together(options, partial(_prepare, options))


def _prepare(
    options: TrainOptions, processes: int
) -> tuple[SpeechModule, ResumableBatches[SpeechBatch], RunRecord]:
    """What is trained, and on what by so many processes; features are computed once, and kept."""
    torch.manual_seed(options.seed)
    pronunciations = read_pronunciations(options.pronunciations) if options.pronunciations else None
    corpora = [found for path in options.train if (found := utterances(read_corpus(path)))]
    if not corpora:
        raise InputError("training set", "holds no utterance")
    words = Counter(word for found in corpora for one in found for word in one.text.split())
    config, network = _network(options, LETTER_SYMBOLS if pronunciations is None else PHONES, words)
    dev_sets = _dev_sets(options.dev)
    data = [utterance for found in (*corpora, *dev_sets.values()) for utterance in found]
    record = run_record(options.run, options, ((one, file_identity(one.path)) for one in data))
    cached = [cache_features(found, config.features, options.cache, options.speeds) for found in corpora]
    caches = [FeatureCache.joined(at_speed) for at_speed in zip(*cached, strict=True)]
    batch_frames = round(options.batch_seconds / config.features.hop_seconds)
    together = [utterance for found in corpora for utterance in found]
    splicer = Splicer(
        [utterance.words for utterance in together],
        [utterance.speaker for utterance in together],
        config.features.hop_seconds,
        options.splice,
    )
    encode = Subwords(config.symbols).encode
    pronounce = partial(phones_of, phones=config.phones, pronunciations=pronunciations)
    training_set = TrainingSet(
        caches,
        config.features,
        encode,
        pronounce,
        batch_frames,
        Augmentation(masked=options.masked),
        short_first=options.init is None,
        processes=processes,
        splicer=splicer,
        speeds=options.speeds,
        views=2 if options.consistency else 1,
    )
    dev = {name: cache_features(found, config.features, options.cache)[0] for name, found in dev_sets.items()}
    batches = ResumableBatches(training_set.plan, training_set.collate, options.seed)
    bigrams = None
    if options.mmi:
        texts = [utterance.text for utterance in together]
        bigrams = (
            count_bigrams(map(encode, texts), len(config.symbols)),
            count_bigrams(map(pronounce, texts), len(config.phones)),
        )
    return SpeechModule(network, dev, options, bigrams), batches, record


def _dev_sets(paths: Sequence[Path]) -> dict[str, list[Utterance]]:
    """The dev sets by their names: the files', with as many folders before them as tell them apart.

    Raises:
        InputError: if one cannot be read, or nobody says a word in it.
    """
    places = [path.resolve().with_suffix("") for path in dict.fromkeys(paths)]
    depth = 1
    while len({place.parts[-depth:] for place in places}) < len({*places}):
        depth += 1
    sets: dict[str, list[Utterance]] = {}
    for path, place in zip(dict.fromkeys(paths), places, strict=True):
        found = utterances(read_corpus(path))
        if not found:
            raise InputError(path, "is to be measured on, but holds no utterance with a word")
        name = "/".join(place.parts[-depth:])
        sets[name if name not in sets else path.name] = found
    return sets


def phones_of(
    text: str, phones: tuple[str, ...], pronunciations: dict[str, tuple[str, ...]] | None
) -> list[int]:
    """What the lower stack should hear in a text, as numbers; nothing if a word is unknown."""
    if pronunciations is None:
        return Subwords(phones).encode(text)
    words = text.split()
    if not all(word in pronunciations for word in words):
        return []
    return [phones.index(phone) for word in words for phone in pronunciations[word]]


def _network(
    options: TrainOptions, phones: tuple[str, ...], words: Mapping[str, int]
) -> tuple[SpeechConfig, SpeechNetwork]:
    """A network to start from: random, or as much of it as fits taken over from a model directory.

    Args:
        options: the network's shape and `init`.
        phones: that it is to hear.
        words: how often each is said in the training set: subwords are learned from them, unless those of
            the model to start from are as many.

    Raises:
        InputError: if the model to start from cannot be read or hears other phones.
    """
    weights: Mapping[str, Tensor] = {}
    old: SpeechConfig | None = None
    if options.init is not None:
        directory = find_model(options.init, BUNDLED)
        stored, weights = read_model(directory)
        old = config_from_model(stored, weights, directory)
        if old.phones != phones:
            raise InputError(options.init, "hears other phones; give or leave out --pronunciations as it did")
    wanted = options.subwords or (len(old.symbols) if old else _SUBWORDS)
    symbols = old.symbols if old and len(old.symbols) == wanted else learn_subwords(words, wanted)
    shape = {name: value for name in _SHAPE if (value := getattr(options, name)) is not None}
    frequencies = symbol_frequencies(words, Subwords(symbols))
    config = replace(old or SpeechConfig(symbols, phones), symbols=symbols, frequencies=frequencies, **shape)
    network = SpeechNetwork(config)
    if weights:
        taken, drawn = take_over(network, weights)
        say(f"{options.init}: {taken} weights taken over, {drawn} drawn anew")
    return config, network


def take_over(network: SpeechNetwork, weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Start a network with the weights of another, as far as they fit.

    A weight matrix that reads several steps of the old one's input side by side takes the old matrix for
    each, divided by their number: it begins by reading their mean.

    Args:
        network: whose weights are set.
        weights: of the other network, by name.

    Returns:
        How many numbers were taken over, and how many stay as they were drawn.
    """
    taken = total = 0
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            total += parameter.numel()
            old = weights.get(name)
            if old is None:
                continue
            if old.ndim == parameter.ndim == 2 and len(old) == len(parameter):
                times, rest = divmod(parameter.shape[1], old.shape[1])
                old = old.repeat(1, times) / times if rest == 0 else old
            if old.shape == parameter.shape:
                parameter.copy_(old)
                taken += parameter.numel()
    return taken, total - taken
