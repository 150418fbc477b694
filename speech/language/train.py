"""Training a language model: weighted texts in, a model directory and two perplexities out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from common.errors import InputError
from common.training.batches import ResumableBatches
from common.training.loop import TrainingModule, fit_together
from common.training.progress import say
from common.training.run_record import RunRecord, run_record
from speech.language.batches import SentenceBatch, SentenceBatches
from speech.language.loading import load_language_model, write_language_model
from speech.language.options import LanguageModelOptions, Source, parse_source
from speech.language.recurrent import LanguageModelConfig, LanguageNetwork, fit_rest, sentence_log_probs
from speech.language.sentences import Numbers, Sentences, Text, count_words, read_texts
from speech.language.trigram import Trigram
from speech.language.vocabulary import END, SPECIAL, UNKNOWN

# Words of a source that a model is measured on, about: of 60,000 words each is judged, which takes minutes.
_MOST_HELD_OUT = 20_000

_WORDS = 25_000  # where nothing else is asked for

_SHAPE = ("embedding_size", "hidden_size", "layers")

# Sentences of word numbers -> the log-probability of each, its end included.
Scorer = Callable[[Sequence[Any]], Sequence[float] | npt.NDArray[np.float64]]


@dataclass(frozen=True)
class HeldOut:
    """Sentences of one source that nothing was learned from.

    Attributes:
        name: of the source.
        weight: of each of its words.
        sentences: as word numbers; any word that is not in the vocabulary is the unknown word.
    """

    name: str
    weight: float
    sentences: Sequence[Numbers]

    @classmethod
    def of(cls, sentences: Sentences, source: Source) -> HeldOut:
        """What was held out of a source; of much, every n-th sentence, which weighs as all do."""
        chosen = sentences.spread(_MOST_HELD_OUT)
        left_out = len(sentences.words) / max(1, len(chosen.words))
        return cls(source.name, source.weight * left_out, chosen)


def perplexity(score: Scorer, held_out: Sequence[HeldOut]) -> dict[str, float]:
    """Perplexity a word, the end of a sentence counted as one and the unknown word as any other.

    Returns:
        `perplexity` over all sources, each word weighing what its source does, and that of each source.
    """
    losses, words = 0.0, 0.0
    sources: dict[str, float] = {}
    for one in held_out:
        if not one.sentences:
            continue
        loss = -float(np.sum(score(one.sentences)))
        count = sum(len(sentence) + 1 for sentence in one.sentences)
        sources[f"perplexity {one.name}"] = math.exp(loss / count)
        losses, words = losses + one.weight * loss, words + one.weight * count
    return {"perplexity": math.exp(losses / words), **sources}


class LanguageModule(TrainingModule[LanguageNetwork]):
    """The language model, its loss, and its perplexity on held-out text beside a trigram's.

    Args:
        network: what is trained.
        options: of the run.
        held_out: what it is measured on.
        rarer: probabilities with which words are drawn, (vocabulary,); None if none are.
        trigram: the trigram's perplexities, as `perplexity` gives them; empty without one.
    """

    def __init__(
        self,
        network: LanguageNetwork,
        options: LanguageModelOptions,
        held_out: Sequence[HeldOut],
        rarer: npt.NDArray[np.float64] | None,
        trigram: Mapping[str, float],
    ) -> None:
        super().__init__(network, options.learning_rate, options.warmup, options.weight_decay)
        self.expected: Tensor
        self.always = options.always
        self.held_out = held_out
        self.trigram = trigram
        if rarer is not None:
            # How often each word is expected among the drawn; those that always compete are not drawn.
            expected = np.log(np.maximum(rarer * options.drawn, np.finfo(np.float32).tiny))
            self.register_buffer("expected", torch.from_numpy(expected).float(), persistent=False)

    def training_step(self, batch: SentenceBatch, batch_number: int) -> Tensor:
        """Cross-entropy of one batch, in nats a word; an estimate of it where words are drawn."""
        vectors, _ = self.network.predict(batch.words)
        real = batch.targets >= 0
        vectors, targets = vectors[real], batch.targets[real]
        if len(batch.drawn) == 0:
            loss = nn.functional.cross_entropy(self.network.logits(vectors).float(), targets)
        else:
            expected = self.expected[batch.drawn]
            loss = drawn_loss(self.network, vectors, targets, self.always, batch.drawn, expected)
        self.log("loss", loss, batch_size=len(targets))
        return loss

    def dev_metrics(self) -> dict[str, float]:
        """Perplexity on the held-out text: over all sources, as they are weighted, and of each."""
        return perplexity(lambda sentences: sentence_log_probs(self.network, sentences), self.held_out)

    def export(self, directory: Path, metrics: dict[str, float]) -> None:
        """Write a model directory; the card of a shipped model is written by hand."""
        if self.network.config.frequent:
            sentences = [sentence for one in self.held_out for sentence in one.sentences]
            order = np.random.default_rng(0).permutation(len(sentences))  # some of each source
            fit_rest(self.network, [sentences[number] for number in order])
        write_language_model(directory, self.network, card(metrics, self.trigram))


def drawn_loss(
    network: LanguageNetwork,
    vectors: Tensor,
    targets: Tensor,
    always: int,
    drawn: Tensor,
    expected: Tensor,
) -> Tensor:
    """Cross-entropy of the right words against the most frequent ones and some of the others.

    Every drawn word stands for all that are like it: its logit is lowered by the logarithm of how often it
    was to be expected, so that the sum of exponentials is right in the mean (Jean et al. 2015,
    arXiv:1412.2007). That the frequent words, most of the probability, are never left to chance makes its
    scatter small.

    Args:
        network: with the word vectors.
        vectors: (predictions, embedding), from `LanguageNetwork.predict`.
        targets: (predictions,) the right words.
        always: how many of the most frequent words compete each time.
        drawn: (drawn,) the others that compete this time, all of them rarer; one may stand there twice.
        expected: (drawn,) logarithm of how often each was expected among them.

    Returns:
        Nats a prediction.
    """
    frequent = nn.functional.linear(vectors, network.embedding.weight[:always], network.bias[:always])
    weights, biases = network.embedding(drawn), network.bias[drawn] - expected
    others = nn.functional.linear(vectors, weights, biases)
    # A rare right word competes as itself, in a column of its own, not as one that was drawn.
    others = others.masked_fill(drawn == targets.unsqueeze(1), float("-inf"))
    rare = targets >= always
    itself = (vectors * network.embedding(targets)).sum(dim=1) + network.bias[targets]
    itself = itself.masked_fill(~rare, float("-inf")).to(others.dtype)
    competitors = torch.cat([frequent, others, itself.unsqueeze(1)], dim=1)
    columns = targets.masked_fill(rare, competitors.shape[1] - 1)
    return nn.functional.cross_entropy(competitors.float(), columns)


def card(metrics: Mapping[str, float], trigram: Mapping[str, float]) -> str:
    """The card of a model: its perplexities, beside the trigram's if there is one."""
    beside = [
        "Perplexity a word on sentences that were not trained on; ends of sentences and unknown words",
        "counted.",
    ]
    head = ["| text | this model |", "|---|---|"]
    if trigram:
        beside = [
            "Perplexity a word on sentences that were not trained on, beside an interpolated Kneser-Ney",
            "trigram of the same text; one vocabulary, ends of sentences and unknown words counted.",
        ]
        head = ["| text | this model | trigram |", "|---|---|---|"]
    rows = []
    for name, figure in metrics.items():
        row = f"| {name.removeprefix('perplexity').strip() or 'all, as weighted'} | {figure:.1f} |"
        rows.append(f"{row} {trigram[name]:.1f} |" if trigram else row)
    return "\n".join(["# Language model", "", *beside, "", *head, *rows, ""])


def train_language_model(options: LanguageModelOptions) -> None:
    """Train a language model, or go on where the run directory stands; the best is in `run/best`.

    Raises:
        InputError: if a text or the run directory cannot be used.
    """
    fit_together(options, lambda _: _prepare(options))


def _prepare(
    options: LanguageModelOptions,
) -> tuple[LanguageModule, ResumableBatches[SentenceBatch], RunRecord]:
    """What is trained, and on what."""
    torch.manual_seed(options.seed)
    old = None if options.init is None else load_language_model(options.init).network
    given = [parse_source(one) for one in options.text]
    for number, one in enumerate(given):
        if one.name in {other.name for other in given[:number]}:
            raise InputError(one.path, f"another text is called {one.name} too; rename one")
    words, texts = read_texts(given)
    if not any(len(text.held_out) for text in texts):
        raise InputError(options.text[0], "too little text: nothing was left to measure the model on")
    record = run_record(options.run, options, _digests(words, texts))
    counts = count_words(words, texts)
    vocabulary = _vocabulary(options, old, counts)
    known = {word: number for number, word in enumerate(vocabulary)}
    numbers = np.array([known.get(word, UNKNOWN) for word in words], dtype=np.int32)
    del words
    held_out = [HeldOut.of(one.held_out.renumbered(numbers), one.source) for one in texts]
    sources = [(one.training.renumbered(numbers), one.source.weight) for one in texts]
    del texts
    trigram: dict[str, float] = {}
    if options.trigram:
        trigram = trigram_perplexity(sources, held_out, len(vocabulary))
        say("trigram: " + "  ".join(f"{name} {value:.4g}" for name, value in trigram.items()))
    frequencies = word_frequencies(sources, len(vocabulary))
    rarer = rarer_words(frequencies, options.always) if options.drawn else None
    network = _network(options, old, vocabulary, len(counts.keys() - known.keys()), frequencies)
    training_set = SentenceBatches(
        sources, options.batch_words, rarer, options.drawn, options.epoch_words, options.seed
    )
    batches = ResumableBatches(training_set.plan, training_set.collate, options.seed)
    return LanguageModule(network, options, held_out, rarer, trigram), batches, record


def _digests(words: Sequence[str], texts: Iterable[Text]) -> Iterator[str]:
    """What tells these texts from all others."""
    yield hashlib.sha256("\n".join(words).encode()).hexdigest()
    for text in texts:
        for sentences in (text.training, text.held_out):
            for numbers in (sentences.words, sentences.lengths):
                yield hashlib.sha256(numbers.data).hexdigest()


def _network(
    options: LanguageModelOptions,
    old: LanguageNetwork | None,
    vocabulary: tuple[str, ...],
    unknown_words: int,
    frequencies: npt.NDArray[np.float64],
) -> LanguageNetwork:
    """A network to start from: random, but for how frequent words are, or that of a model directory.

    Args:
        options: the network's shape.
        old: that of `options.init`.
        vocabulary: words that it is to know.
        unknown_words: how many others the text has.
        frequencies: (vocabulary,).

    Raises:
        InputError: if the model to start from has another shape.
    """
    shape = {name: value for name in _SHAPE if (value := getattr(options, name)) is not None}
    config = replace(
        LanguageModelConfig(vocabulary) if old is None else old.config,
        unknown_words=unknown_words,
        dropout=options.dropout,
        frequent=options.always if options.always < len(vocabulary) else 0,
        **shape,
    )
    network = LanguageNetwork(config)
    if options.init is None or old is None:
        with torch.no_grad():  # what is left to learn is how a word's neighbours change its frequency
            network.bias.copy_(torch.from_numpy(np.log(frequencies)))
        return network
    for name in _SHAPE:
        there, wanted = getattr(old.config, name), getattr(config, name)
        if there != wanted:
            raise InputError(options.init, f"has another shape: {name} {there}, not {wanted}")
    # The estimate of the rare words is made anew, and only where some words are frequent.
    weights = {name: one for name, one in old.state_dict().items() if not name.startswith("rest.")}
    network.load_state_dict(weights, strict=False)
    return network


def _vocabulary(
    options: LanguageModelOptions, old: LanguageNetwork | None, counts: Mapping[str, float]
) -> tuple[str, ...]:
    """The words to know: those of the model to start from, or else the most frequent.

    Raises:
        InputError: if more or fewer words are asked for than the model to start from knows.
    """
    if options.init is None or old is None:
        return choose_vocabulary(counts, options.words or _WORDS)
    there = old.config.vocabulary
    if options.words not in (None, len(there)):
        raise InputError(options.init, f"knows {len(there):,} words, not {options.words:,}")
    return there


def choose_vocabulary(counts: Mapping[str, float], size: int) -> tuple[str, ...]:
    """The end, the unknown word and the most frequent words, `size` at most; ties by the alphabet."""
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return (*SPECIAL, *words[: size - len(SPECIAL)])


def trigram_perplexity(
    sources: Sequence[tuple[Sentences, float]], held_out: Sequence[HeldOut], words: int
) -> dict[str, float]:
    """The perplexities of a trigram of the same weighted text."""
    weights = [weight for sentences, weight in sources for _ in sentences]
    trigram = Trigram([one for sentences, _ in sources for one in sentences], weights, words, END)
    return perplexity(trigram.score, held_out)


def word_frequencies(sources: Sequence[tuple[Sentences, float]], words: int) -> npt.NDArray[np.float64]:
    """Each word's share of the weighted text, (vocabulary,); a word that never stands there counts once."""
    counts = np.zeros(words)
    for sentences, weight in sources:
        counts += weight * np.bincount(sentences.words, minlength=words)
        counts[END] += weight * len(sentences)
    counts = np.maximum(counts, 1.0)
    return counts / counts.sum()


def rarer_words(frequencies: npt.NDArray[np.float64], always: int) -> npt.NDArray[np.float64] | None:
    """Probabilities to draw words by: those of all but the first `always`; None if there are no others."""
    if len(frequencies) <= always:
        return None
    rarer = np.where(np.arange(len(frequencies)) < always, 0.0, frequencies)
    return rarer / rarer.sum()
