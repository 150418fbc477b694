"""Training a language model: weighted texts in, a model directory and two perplexities out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from speech.language.loading import write_language_model
from speech.language.options import LanguageModelOptions, parse_source
from speech.language.recurrent import LanguageModelConfig, LanguageNetwork, fit_rest, pad, sentence_log_probs
from speech.language.sentences import Numbers, count_words, number_sentences, read_text
from speech.language.trigram import Trigram
from speech.language.vocabulary import END, SPECIAL, UNKNOWN

# Sentences of word numbers -> the log-probability of each, its end included.
Scorer = Callable[[Sequence[Any]], Sequence[float] | npt.NDArray[np.float64]]


@dataclass(frozen=True)
class HeldOut:
    """Sentences of one source that nothing was learned from.

    Attributes:
        name: of the source.
        weight: of the source.
        sentences: as word numbers; any word that is not in the vocabulary is the unknown word.
    """

    name: str
    weight: float
    sentences: list[Numbers]


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


@dataclass(frozen=True)
class SentenceBatch:
    """Some sentences, and the words that the right ones are compared with.

    Attributes:
        words: (sentences, steps) what is read; see `speech.language.recurrent.pad`.
        targets: (sentences, steps) what comes next, -1 on padding.
        drawn: (drawn,) numbers of words at random; empty where all are compared with.
    """

    words: Tensor
    targets: Tensor
    drawn: Tensor

    def to(self, device: torch.device) -> SentenceBatch:
        """The same batch on a device."""
        return SentenceBatch(self.words.to(device), self.targets.to(device), self.drawn.to(device))


class SentenceBatches:
    """Weighted sentences in batches of like length and of about equally many words.

    Args:
        sources: of each its numbered sentences and its weight.
        batch_words: words in a batch, ends included.
        rarer: probabilities with which words are drawn, (vocabulary,); None to draw none.
        drawn: how many are.
    """

    def __init__(
        self,
        sources: Sequence[tuple[Sequence[Numbers], float]],
        batch_words: int,
        rarer: npt.NDArray[np.float64] | None,
        drawn: int,
    ) -> None:
        self.sentences = [sentence for sentences, _ in sources for sentence in sentences]
        self.lengths = np.array([len(sentence) + 1 for sentence in self.sentences])
        self.sources = [(len(sentences), weight) for sentences, weight in sources]
        means = [weight * sum(len(one) + 1 for one in sentences) for sentences, weight in sources]
        self.batches = max(1, round(sum(means) / batch_words))
        # Drawn by search in the running sum: a tenth of the time that `Generator.choice` takes.
        self.rarer = None if rarer is None else np.cumsum(rarer)
        self.drawn = drawn

    def plan(self, epoch: int, generator: np.random.Generator) -> list[Sequence[int]]:
        """The epoch's batches: each sentence as often as its source's weight says, in any order."""
        chosen: list[npt.NDArray[np.int64]] = []
        first = 0
        for count, weight in self.sources:
            numbers = np.arange(first, first + count)
            chosen += [numbers] * int(weight)
            some = round((weight - int(weight)) * count)
            chosen.append(generator.permutation(numbers)[:some])
            first += count
        heard = generator.permutation(np.concatenate(chosen))
        if len(heard) < self.batches:
            raise InputError("text", "too few sentences for one batch; give more text or a higher weight")
        heard = heard[np.argsort(self.lengths[heard], kind="stable")]
        # The cuts lie where equally many words lie between them, whatever was drawn: as many batches always.
        running = np.cumsum(self.lengths[heard])
        places = np.arange(1, self.batches)
        cuts = np.searchsorted(running, running[-1] * places / self.batches)
        cuts = np.maximum.accumulate(np.maximum(cuts - places, 0)) + places  # none is empty
        cuts = np.minimum(cuts, len(heard) - self.batches + places)
        batches = [one.tolist() for one in np.split(heard, cuts)]
        return [batches[number] for number in generator.permutation(self.batches)]

    def collate(self, numbers: Sequence[int], generator: np.random.Generator) -> SentenceBatch:
        """The batch of some sentences, with words that the generator draws."""
        words, targets = pad([self.sentences[number] for number in numbers])  # type: ignore[misc]
        if self.rarer is None:
            return SentenceBatch(words, targets, torch.empty(0, dtype=torch.long))
        drawn = np.searchsorted(self.rarer, generator.random(self.drawn) * self.rarer[-1], side="right")
        return SentenceBatch(words, targets, torch.from_numpy(drawn))


class LanguageModule(TrainingModule[LanguageNetwork]):
    """The language model, its loss, and its perplexity on held-out text beside a trigram's.

    Args:
        network: what is trained.
        options: of the run.
        held_out: what it is measured on.
        rarer: probabilities with which words are drawn, (vocabulary,); None if none are.
        trigram: the trigram's perplexities, as `perplexity` gives them.
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
            fit_rest(self.network, [sentence for one in self.held_out for sentence in one.sentences])
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
    """The card of a model: its perplexities beside the trigram's."""
    rows = [
        f"| {name.removeprefix('perplexity').strip() or 'all, as weighted'} "
        f"| {figure:.1f} | {trigram[name]:.1f} |"
        for name, figure in metrics.items()
    ]
    return "\n".join(
        [
            "# Language model",
            "",
            "Perplexity a word on sentences that were not trained on, beside an interpolated Kneser-Ney",
            "trigram of the same text; one vocabulary, ends of sentences and unknown words counted.",
            "",
            "| text | this model | trigram |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


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
    given = [parse_source(one) for one in options.text]
    for number, one in enumerate(given):
        if one.name in {other.name for other in given[:number]}:
            raise InputError(one.path, f"another text is called {one.name} too; rename one")
    texts = [read_text(one) for one in given]
    counts = count_words(texts)
    if sum(len(text.held_out) for text in texts) == 0:
        raise InputError(options.text[0], "too little text: nothing was left to measure the model on")
    vocabulary = choose_vocabulary(counts, options.words)
    record = run_record(
        options.run, options, (sentences for one in texts for sentences in (one.training, one.held_out))
    )
    numbers = {word: number for number, word in enumerate(vocabulary)}
    sources = [(number_sentences(one.training, numbers, UNKNOWN), one.source.weight) for one in texts]
    held_out = [
        HeldOut(one.source.name, one.source.weight, number_sentences(one.held_out, numbers, UNKNOWN))
        for one in texts
    ]
    trigram = trigram_perplexity(sources, held_out, len(vocabulary))
    say("trigram: " + "  ".join(f"{name} {value:.4g}" for name, value in trigram.items()))

    frequencies = word_frequencies(sources, len(vocabulary))
    rarer = rarer_words(frequencies, options.always) if options.drawn else None
    config = LanguageModelConfig(
        vocabulary=vocabulary,
        unknown_words=len(counts.keys() - numbers.keys()),
        embedding_size=options.embedding_size,
        hidden_size=options.hidden_size,
        layers=options.layers,
        dropout=options.dropout,
        frequent=options.always if options.always < len(vocabulary) else 0,
    )
    network = LanguageNetwork(config)
    with torch.no_grad():  # what is left to learn is how a word's neighbours change its frequency
        network.bias.copy_(torch.from_numpy(np.log(frequencies)))
    training_set = SentenceBatches(sources, options.batch_words, rarer, options.drawn)
    batches = ResumableBatches(training_set.plan, training_set.collate, options.seed)
    return LanguageModule(network, options, held_out, rarer, trigram), batches, record


def choose_vocabulary(counts: Mapping[str, float], size: int) -> tuple[str, ...]:
    """The end, the unknown word and the most frequent words, `size` at most; ties by the alphabet."""
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return (*SPECIAL, *words[: size - len(SPECIAL)])


def trigram_perplexity(
    sources: Sequence[tuple[Sequence[Numbers], float]], held_out: Sequence[HeldOut], words: int
) -> dict[str, float]:
    """The perplexities of a trigram of the same weighted text."""
    weights = [weight for sentences, weight in sources for _ in sentences]
    trigram = Trigram([one for sentences, _ in sources for one in sentences], weights, words, END)
    return perplexity(trigram.score, held_out)


def word_frequencies(
    sources: Sequence[tuple[Sequence[Numbers], float]], words: int
) -> npt.NDArray[np.float64]:
    """Each word's share of the weighted text, (vocabulary,); a word that never stands there counts once."""
    counts = np.zeros(words)
    for sentences, weight in sources:
        if sentences:
            counts += weight * np.bincount(np.concatenate(sentences), minlength=words)
        counts[END] += weight * len(sentences)
    counts = np.maximum(counts, 1.0)
    return counts / counts.sum()


def rarer_words(frequencies: npt.NDArray[np.float64], always: int) -> npt.NDArray[np.float64] | None:
    """Probabilities to draw words by: those of all but the first `always`; None if there are no others."""
    if len(frequencies) <= always:
        return None
    rarer = np.where(np.arange(len(frequencies)) < always, 0.0, frequencies)
    return rarer / rarer.sum()
