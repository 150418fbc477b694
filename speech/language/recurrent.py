"""The language model: which word comes next? A recurrent network over words, and what it is good for.

Comes in: words, one a step for a decoder or whole sentences for scoring. Goes out: log-probabilities of the
next word, of sentences, and new text. Mikolov et al. 2010 (Recurrent neural network based language model).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from common.core.quantized import Packed, can_multiply_in_8_bits
from common.core.recurrent import (
    LockedDropout,
    RecurrentConfig,
    RecurrentStack,
    State,
    draws_initial_weights,
)
from common.core.topologies import Aligned
from common.models.fields import check
from speech.language.generating import generated
from speech.language.lexicon import Judge
from speech.language.vocabulary import END, UNKNOWN
from speech.model.buckets import by_length
from speech.model.text import normalize


@dataclass(frozen=True)
class LanguageModelConfig:
    """A language model's shape, stored as JSON beside its weights.

    Attributes:
        vocabulary: the end of a sentence, the unknown word, then words, the most frequent first.
        unknown_words: how many different words of the training text are not in the vocabulary.
        embedding_size: features of a word's vector, which is the same where it is read and predicted.
        hidden_size: units of an LSTM layer.
        layers: of the LSTM.
        dropout: of a word vector's features, the same at all steps of a sentence, in training.
        frequent: so many words, counted from the first, are judged one by one after every history; how likely
            all others are together is estimated. 0: all words are judged.
    """

    vocabulary: tuple[str, ...]
    unknown_words: int = 1
    embedding_size: int = 128
    hidden_size: int = 512
    layers: int = 1
    dropout: float = 0.25
    frequent: int = 0

    def __post_init__(self) -> None:
        check(
            self,
            unknown_words=(0, 10**9),
            embedding_size=(1, 16_384),
            hidden_size=(1, 16_384),
            layers=(1, 64),
            dropout=(0.0, 0.99),
            frequent=(0, len(self.vocabulary)),
        )


class LanguageNetwork(nn.Module):
    """Word vectors, an LSTM stack, and back to word vectors: how well each one fits is its word's logit.

    Words are read and predicted by the same vectors (Press and Wolf 2017, arXiv:1608.05859), which is half
    the size and, with little text, better.
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        words, size = len(config.vocabulary), config.embedding_size
        if draws_initial_weights():
            self.embedding = nn.Embedding(words, size)
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        else:
            self.embedding = nn.Embedding.from_pretrained(torch.empty(words, size), freeze=False)
        self.bias = nn.Parameter(torch.zeros(len(config.vocabulary)))
        self.dropout = LockedDropout(config.dropout)
        self.aligned = Aligned(
            RecurrentConfig(
                input_size=config.embedding_size,
                hidden_size=config.hidden_size,
                cell="lstm",
                layers=config.layers,
                dropout=config.dropout,
            ),
            outputs=config.embedding_size,
        )
        if config.frequent:
            # The logarithm of the sum of what the others' logits stand for, nearly; see `fit_rest`.
            self.rest = nn.Linear(config.embedding_size, 1)
            self.rest.requires_grad_(False)

    def predict(self, words: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read words (batch, steps): what comes next as vectors (batch, steps, embedding), and the state.

        Padding behind a sentence changes nothing before it; the state is then not the sentence's.
        """
        vectors, state = self.aligned(self.dropout(self.embedding(words)), state=state)
        return self.dropout(vectors), state

    def logits(self, vectors: Tensor) -> Tensor:
        """Predicted vectors (..., embedding) -> logits (..., vocabulary)."""
        return nn.functional.linear(vectors, self.embedding.weight, self.bias)

    def forward(self, words: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read words (batch, steps): log-probabilities (batch, steps, vocabulary) of the next, the state."""
        vectors, state = self.predict(words, state)
        return self.logits(vectors).float().log_softmax(dim=-1), state


class Expectation(NamedTuple):
    """What is expected after histories, before any rare word is asked about.

    Attributes:
        log_probs: (histories, columns), of the words that were asked about.
        vectors: (histories, embedding + 1), by which `rare_log_probs` judges the others.
    """

    log_probs: Tensor
    vectors: Tensor


class LanguageModel:
    """A trained language model.

    Attributes:
        vocabulary: the words by number.
        numbers: of the words.
        end: number of the end of a sentence, which also stands before its start.
        unknown: number of the unknown word: any that is not in the vocabulary.
        unknown_share: log-probability that the unknown word is one certain unknown word: they are all
            taken as equally likely. Without it a sentence would gain from words that nobody knows.

    Args:
        network: is put into evaluation mode and, for 8 bits, steps in them from then on.
        in_8_bits: whether single steps multiply in 8 bits, where the processor can: three to ten times
            faster, each log-probability a few hundredths off. `score` stays exact.
    """

    def __init__(self, network: LanguageNetwork, in_8_bits: bool = False) -> None:
        self.network = network.eval()
        self.vocabulary = network.config.vocabulary
        self.frequent = network.config.frequent or len(self.vocabulary)
        self._in_8_bits = in_8_bits and can_multiply_in_8_bits(network.bias.device)
        if self._in_8_bits:
            network.aligned.step_in_8_bits()
        self.end, self.unknown = END, UNKNOWN
        self.unknown_share = -float(torch.tensor(max(1, network.config.unknown_words)).log())
        self.numbers = {word: number for number, word in enumerate(self.vocabulary)}

    @torch.inference_mode()
    def start(self) -> tuple[State, Tensor]:
        """Before the first word: the state of one history, and log-probabilities (1, vocabulary)."""
        return self.advance(*self._before_the_first())

    @torch.inference_mode()
    def advance(self, words: Tensor, state: State) -> tuple[State, Tensor]:
        """Go on by one word.

        Args:
            words: (histories,) the last word of each.
            state: tensors (layers, histories, hidden), what is remembered of the words before it.

        Returns:
            The new state, and the log-probabilities (histories, vocabulary) of each next word, float32.
        """
        vectors, state = self._step(words, state)
        return state, self.network.logits(vectors).float().log_softmax(dim=-1)

    @torch.inference_mode()
    def judge(self, words: Tensor) -> Judge:
        """What tells how likely words are after a history, for `expect`.

        Args:
            words: (columns,) by number, all frequent ones among them; `frequent` for all others together; -1
                for a column of minus infinity.
        """
        network, frequent = self.network, self.frequent
        weights, biases = network.embedding.weight[:frequent], network.bias[:frequent]
        nothing = torch.zeros_like(weights[:1]), biases.new_full((1,), -torch.inf)
        rest = (network.rest.weight, network.rest.bias) if network.config.frequent else nothing
        weights = torch.cat([weights, rest[0], nothing[0]])[words]
        biases = torch.cat([biases, rest[1], nothing[1]])[words]
        if self._in_8_bits:
            return Packed(weights, biases)
        return partial(nn.functional.linear, weight=weights, bias=biases)

    @torch.inference_mode()
    def expect_first(self, judge: Judge) -> tuple[State, Expectation]:
        """As `start`, for a search."""
        return self.expect(*self._before_the_first(), judge)

    @torch.inference_mode()
    def expect(
        self, words: Tensor, state: State, judge: Judge, out: Tensor | None = None
    ) -> tuple[State, Expectation]:
        """As `advance`, for a search, which asks about few of the rare words: several times faster.

        Args:
            words, state: as in `advance`.
            judge: of the words that are asked about.
            out: (histories, columns), to be written to.
        """
        vectors, state = self._step(words, state)
        logits = judge(vectors).float()
        log_probs = torch.log_softmax(logits, dim=-1, out=out)
        total = logits[:, :1] - log_probs[:, :1]
        return state, Expectation(log_probs, torch.cat([vectors, total], dim=1))

    @torch.inference_mode()
    def rare_log_probs(self, vectors: Tensor, words: Tensor) -> Tensor:
        """Log-probability of one word, which need not be a frequent one, after each of some histories.

        Args:
            vectors: (histories, embedding + 1), from `expect`.
            words: (histories,).
        """
        logits = (vectors[:, :-1] * self.network.embedding(words)).sum(dim=1) + self.network.bias[words]
        return logits - vectors[:, -1]

    def _before_the_first(self) -> tuple[Tensor, State]:
        """The end of what came before, (1,), which is read before a first word, and the state before it."""
        end = torch.tensor([self.end], device=self.network.bias.device)
        return end, self.network.aligned.stack.init_state(1)

    def _step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Read a word: vectors (histories, embedding) of what comes next, and the state."""
        vectors, state = self.network.aligned.step(self.network.embedding(words), state)
        return vectors, state

    reorder: Callable[[State, Tensor], State] = staticmethod(RecurrentStack.reorder)

    def encode(self, text: str) -> list[int]:
        """Any text -> the numbers of its words, normalised."""
        return [self.numbers.get(word, self.unknown) for word in normalize(text).split()]

    def score(self, texts: Sequence[str]) -> list[float]:
        """Log-probability of each text as one sentence, its end included, in nats.

        Each word that is not in the vocabulary costs `unknown_share` besides.
        """
        sentences = [self.encode(text) for text in texts]
        scores = sentence_log_probs(self.network, sentences)
        return [
            score + sentence.count(self.unknown) * self.unknown_share
            for score, sentence in zip(scores, sentences, strict=True)
        ]

    @torch.inference_mode()
    def generate(
        self,
        prefix: str = "",
        words: int = 30,
        temperature: float = 1.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> str:
        """Write on from a beginning, to the end of the sentence.

        Args:
            prefix: the beginning; any text, or none.
            words: most to write.
            temperature: above 0; below 1 prefers likely words, above 1 unlikely ones.
            top_p: draw only among the likeliest words that together have this probability.
            generator: where the draws come from; None for one that nothing seeds.

        Returns:
            Beginning and continuation, normalised.
        """
        *before, last = [self.end, *self.encode(prefix)]
        state = self.network.aligned.stack.init_state(1)
        device = self.network.bias.device
        for word in before:
            state, _ = self.advance(torch.tensor([word], device=device), state)

        def step(symbols: Tensor, state: State) -> tuple[Tensor, State]:
            state, log_probs = self.advance(symbols, state)
            log_probs[:, self.unknown] = float("-inf")  # it could not be written down
            return log_probs, state

        return generated(
            step, state, last, prefix, self.vocabulary, words, temperature, top_p, generator, device
        )


@torch.inference_mode()
def sentence_log_probs(
    network: LanguageNetwork, sentences: Sequence[Sequence[int]], most_words: int = 1024
) -> list[float]:
    """Log-probability of each sentence of word numbers, its end included, under a network that evaluates.

    Args:
        network: in evaluation mode.
        sentences: without end.
        most_words: in a batch, padding included; a longer sentence is a batch of its own.
    """
    scores = [0.0] * len(sentences)
    for numbers in by_length([len(sentence) + 1 for sentence in sentences], most_words):
        words, targets = (
            one.to(network.bias.device) for one in pad([sentences[number] for number in numbers])
        )
        log_probs, _ = network(words)
        picked = log_probs.gather(2, targets.clamp_min(0).unsqueeze(2)).squeeze(2)
        sums = picked.masked_fill(targets < 0, 0.0).sum(dim=1)
        for number, score in zip(numbers, sums.tolist(), strict=True):
            scores[number] = score
    return scores


@torch.inference_mode()
def fit_rest(network: LanguageNetwork, sentences: Sequence[Any], most: int = 20_000) -> None:
    """Estimate how likely all words that are not frequent are together, as a network with such words wants.

    Least squares, over what is expected after the words of some sentences: one more word vector, whose logit
    is nearly the logarithm of the sum over all others.

    Args:
        network: in evaluation mode; its `rest` is set.
        sentences: of word numbers.
        most: predictions to look at.
    """
    frequent, found, left = network.config.frequent, [], most
    for start in range(0, len(sentences), 32):
        if left <= 0:
            break
        words, targets = (one.to(network.bias.device) for one in pad(sentences[start : start + 32]))
        found.append(network.predict(words)[0][targets >= 0].float()[:left])
        left -= len(found[-1])
    vectors = torch.cat(found)
    wanted = [network.logits(part)[:, frequent:].float().logsumexp(dim=1) for part in vectors.split(512)]
    inputs = nn.functional.pad(vectors.double(), (0, 1), value=1.0)
    solution = torch.linalg.lstsq(inputs, torch.cat(wanted).double().unsqueeze(1)).solution
    network.rest.weight.copy_(solution[:-1].T)
    network.rest.bias.copy_(solution[-1])


def pad(sentences: Sequence[Sequence[int] | npt.NDArray[np.int32]]) -> tuple[Tensor, Tensor]:
    """Sentences of word numbers -> what is read and what should come next, (sentences, steps) each.

    The end of a sentence is read before it and predicted after it; -1 stands where nothing is to come.
    """
    steps = max(len(sentence) for sentence in sentences) + 1
    words = torch.full((len(sentences), steps), END)
    targets = torch.full((len(sentences), steps), -1)
    for row, sentence in enumerate(sentences):
        numbers = torch.as_tensor(sentence, dtype=torch.long)
        words[row, 1 : len(numbers) + 1] = numbers
        targets[row, : len(numbers)] = numbers
        targets[row, len(numbers)] = END
    return words, targets
