"""The captioner's network: pictures -> a grid of features -> one word a step.

A GRU speaks (Vinyals et al. 2015, arXiv:1411.4555), and before each word additive attention weighs the
grid's positions (Bahdanau et al. 2015, arXiv:1409.0473; Xu et al. 2015, arXiv:1502.03044) and, beside them,
the words that the encoder believes to see (`caption.model.concepts`), each of which can be said outright.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caption.model.concepts import Beliefs, Concepts
from caption.model.encoder import Encoder, EncoderConfig
from caption.model.text import SPECIAL, START, UNKNOWN
from common.core.quantized import Packed, fast_tanh
from common.core.recurrent import RecurrentConfig, RecurrentStack, State
from common.errors import InputError
from common.models.fields import check


@dataclass(frozen=True)
class CaptionConfig:
    """A captioner's shape, stored as JSON beside its weights.

    Attributes:
        words: word of each symbol; see `caption.model.text.Vocabulary`.
        encoder: which network looks.
        attention: weigh the grid's positions anew for each word; without it every word is given
            their mean.
        hidden_size: units of the GRU.
        embedding_size: of a word's vector, which serves as input and, transposed, as output.
        attention_size: of the space in which a position and the GRU's state are compared.
        context_size: of what a position gives to the GRU.
        dropout: of word vectors and outputs, in training.
        kinds: of captions that are told apart by the symbol they start with, beside the plain ones; these
            symbols stand behind `SPECIAL` in `words`.
        classes: nouns of each class of the encoder's classifier (see `caption.model.nouns`); without classes
            nothing is believed.
        beliefs: words that are believed to be seen, a picture.
    """

    words: tuple[str, ...]
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    attention: bool = True
    hidden_size: int = 512
    embedding_size: int = 256
    attention_size: int = 256
    context_size: int = 512
    dropout: float = 0.4
    kinds: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    beliefs: int = 10

    def __post_init__(self) -> None:
        check(
            self,
            hidden_size=(1, 16_384),
            embedding_size=(1, 16_384),
            attention_size=(1, 16_384),
            context_size=(1, 16_384),
            dropout=(0.0, 0.99),
            beliefs=(0, 1000),
        )
        if self.words[: len(SPECIAL)] != SPECIAL or len(self.words) < len(SPECIAL) + len(self.kinds):
            raise InputError("words", f"must begin with {', '.join(SPECIAL)} and a start symbol a kind")


class Scene(NamedTuple):
    """A batch of pictures, ready to be spoken about.

    Attributes:
        keys: (pictures, positions, attention_size), what the state is compared with. The positions are the
            grid's, and behind them the words that are believed to be seen.
        values: (pictures, positions, context_size), what a look brings.
        first: (pictures, hidden_size), where the GRU starts.
        believed: (pictures, beliefs), the symbols of these words.
        copies: (pictures, beliefs, attention_size), what is compared to say one of them outright.
    """

    keys: Tensor
    values: Tensor
    first: Tensor
    believed: Tensor
    copies: Tensor

    def of(self, pictures: Sequence[int]) -> Scene:
        """Some of the pictures."""
        return Scene(*(part[list(pictures)] for part in self))

    def repeat(self, captions: Tensor) -> Scene:
        """Picture i as often as it has captions: `captions` (pictures,)."""
        return Scene(*(part.repeat_interleave(captions, dim=0) for part in self))


class DecoderState(NamedTuple):
    """Where captions stand between two words.

    Attributes:
        scene: the pictures.
        picture: (captions,) which picture of the scene each caption is about; None if they follow
            the pictures' order, equally many a picture.
        state: of the GRU.
        attention: (captions, positions) where the last step looked.
    """

    scene: Scene
    picture: Tensor | None
    state: State
    attention: Tensor

    @property
    def pictures(self) -> Tensor:
        """Which picture of the scene each caption is about, (captions,)."""
        if self.picture is not None:
            return self.picture
        count = len(self.scene.first)
        each = len(self.attention) // max(1, count)
        return torch.arange(count, device=self.attention.device).repeat_interleave(each)

    @staticmethod
    def joined(states: Sequence[DecoderState]) -> DecoderState:
        """The captions of several about one scene as one: all of the first, of the second, and so on."""
        return states[0]._replace(
            picture=torch.cat([one.pictures for one in states]),
            state=tuple(
                torch.cat(parts, dim=1) for parts in zip(*(one.state for one in states), strict=True)
            ),
            attention=torch.cat([one.attention for one in states]),
        )


class Decoder(nn.Module):
    """Grid features -> words, one step at a time.

    Args:
        config: the captioner's shape.
        channels: features at each position of the grid.
    """

    def __init__(self, config: CaptionConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(channels)
        self.to_first = nn.Linear(channels, config.hidden_size)
        self.to_value = nn.Linear(channels, config.context_size)
        if config.attention:
            self.to_key = nn.Linear(channels, config.attention_size)
            self.to_query = nn.Linear(config.hidden_size, config.attention_size)
            self.to_weight = nn.Linear(config.attention_size, 1, bias=False)
        self.embedding = nn.Embedding(len(config.words), config.embedding_size)
        nn.init.normal_(self.embedding.weight, std=config.embedding_size**-0.5)
        self.recurrent = RecurrentStack(
            RecurrentConfig(config.embedding_size + config.context_size, config.hidden_size, "gru")
        )
        self.to_output = nn.Linear(config.hidden_size + config.context_size, config.embedding_size)
        self.output_bias = nn.Parameter(torch.zeros(len(config.words)))
        if config.classes:
            self.concepts = Concepts(config.words, config.classes, config.beliefs, channels)
            about = config.embedding_size + 1  # a word's vector and how much it is believed
            self.belief_key = nn.Linear(about, config.attention_size)
            self.belief_value = nn.Linear(about, config.context_size)
            self.belief_copy = nn.Linear(about, config.attention_size)
            self.to_copy = nn.Linear(config.hidden_size + config.context_size, config.attention_size)
        # A caption says each noun once: not "a toilet sitting on a toilet".
        self.nouns = self.concepts.nouns if config.classes else frozenset()
        self.dropout = nn.Dropout(config.dropout)
        self._packed: dict[nn.Module, Packed] = {}

    def look(self, grid: Tensor) -> Scene:
        """Work out once what all captions of a picture share: (pictures, positions, channels)."""
        beliefs = self.concepts(grid) if self.config.classes else None
        grid = self.norm(grid)
        first = torch.tanh(self.to_first(grid.mean(dim=1)))
        values = self.to_value(grid)
        keys = self.to_key(grid) if self.config.attention else values[..., :0]
        if beliefs is None:
            none = beliefs_of_nothing(len(grid), grid.device)
            return Scene(keys, values, first, none.symbols, keys.new_zeros(len(grid), 0, 0))
        return self._with_beliefs(keys, values, first, beliefs)

    def imagine(self, beliefs: Beliefs) -> Scene:
        """A scene without a picture: only some words are said to be in it."""
        pictures = len(beliefs.symbols)
        first = torch.tanh(self.to_first.bias).expand(pictures, -1)
        keys = first.new_zeros(pictures, 0, self.config.attention_size)
        values = first.new_zeros(pictures, 0, self.config.context_size)
        return self._with_beliefs(keys, values, first, beliefs)

    def _with_beliefs(self, keys: Tensor, values: Tensor, first: Tensor, beliefs: Beliefs) -> Scene:
        """The believed words stand behind the positions of the grid."""
        belief = 1.0 + beliefs.log_probs / _BELIEF_SCALE
        about = torch.cat([self.embedding(beliefs.symbols), belief.unsqueeze(-1)], dim=-1)
        # (pictures, beliefs, embedding_size + 1)
        if self.config.attention:
            keys = torch.cat([keys, self.belief_key(about)], dim=1)
        else:
            keys = keys.new_zeros(len(keys), keys.shape[1] + about.shape[1], 0)
        values = torch.cat([values, self.belief_value(about)], dim=1)
        return Scene(keys, values, first, beliefs.symbols, self.belief_copy(about))

    def begin(self, scene: Scene, captions: int = 1) -> DecoderState:
        """The state before the first word of `captions` captions a picture, one picture after another."""
        first = scene.first.repeat_interleave(captions, dim=0)
        positions = scene.values.shape[1]
        uniform = scene.values.new_full((len(first), positions), 1.0 / positions)
        return DecoderState(scene, None, (first.unsqueeze(0),), uniform)

    def step(self, symbols: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Say one word more: symbols (captions,) -> log-probabilities (captions, words), and the state."""
        found, state = self._recur(self.embedding(symbols), state)
        logits = self.score(found)
        if self.config.classes:
            copied, wanted = self._copies(found.unsqueeze(1), state.scene, state.picture)
            logits = logits.scatter_add(-1, copied.squeeze(1), wanted.squeeze(1))
        return self.speakable(logits), state

    def step_in_8_bits(self) -> None:
        """Let every later step multiply in 8 bits, by the weights as they are now.

        A search then takes half the time; each log-probability is a few hundredths off.
        """
        self.recurrent.step_in_8_bits()
        linears = [self.to_output]
        linears += [self.to_query] if self.config.attention else []
        linears += [self.to_copy] if self.config.classes else []
        self._packed = {linear: Packed(linear.weight, linear.bias) for linear in linears}
        self._packed[self.embedding] = Packed(self.embedding.weight, self.output_bias)

    def forward(self, scene: Scene, symbols: Tensor, mask: Tensor | None = None) -> Tensor:
        """Teacher forcing: the scores of every next word, given the true words before it.

        Args:
            scene: of the pictures.
            symbols: (captions, steps), start symbol first; the captions of a picture in a row, equally
                many a picture (see `Scene.repeat`).
            mask: (captions, steps), the steps whose scores are asked for; None: all. Scores take most of the
                time.

        Returns:
            Logits (captions, steps, words); of a mask's steps in a row (steps that are asked for, words).
        """
        state = self.begin(scene, len(symbols) // len(scene.first))
        words = self.dropout(self.embedding(symbols))
        found = []
        for position in range(symbols.shape[1]):
            one, state = self._recur(words[:, position], state)
            found.append(one)
        told = torch.stack(found, dim=1)  # (captions, steps, hidden_size + context_size)
        asked = told if mask is None else told[mask]
        logits = self.score(asked)
        if self.config.classes:
            copied, wanted = self._copies(told, scene)
            if mask is not None:
                copied, wanted = copied[mask], wanted[mask]
            logits = logits.scatter_add(-1, copied, wanted)
        return logits

    def speakable(self, logits: Tensor) -> Tensor:
        """Logits (..., words) -> log-probabilities; what only starts a caption, or no word, never follows."""
        return speakable(logits, len(self.config.kinds))

    def grid_attention(self, attention: Tensor) -> Tensor:
        """Attention (captions, positions) -> its part over the grid, scaled to a sum of 1 again."""
        over = attention[:, : attention.shape[1] - (self.concepts.most if self.config.classes else 0)]
        return over / over.sum(dim=1, keepdim=True).clamp_min(1e-9)

    @staticmethod
    def reorder(state: DecoderState, indices: Tensor) -> DecoderState:
        """The state of new captions, where caption i goes on from caption `indices[i]`."""
        scene, pictures = state.scene, state.pictures[indices]
        recurrent, attention = RecurrentStack.reorder(state.state, indices), state.attention[indices]
        left, counts = pictures.unique_consecutive(return_counts=True)
        if len(left) > 0 and bool((counts == counts[0]).all() and (left.diff() > 0).all()):
            # The pictures' order: their keys and values need not be copied for every caption.
            if len(left) < len(scene.first):
                scene = Scene(*(part[left] for part in scene))
            return DecoderState(scene, None, recurrent, attention)
        return DecoderState(scene, pictures, recurrent, attention)

    def _recur(self, words: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One step up to what the next word is chosen by.

        Args:
            words: (captions, embedding_size) vectors of the words said last.
            state: of the captions.

        Returns:
            (captions, hidden_size + context_size), and the state.
        """
        keys, values = state.scene.keys, state.scene.values
        if state.picture is not None:
            keys, values = keys[state.picture], values[state.picture]
        # The captions of a picture share its keys and values.
        attention = state.attention.view(len(keys), -1, keys.shape[1])  # (pictures, captions, positions)
        if self.config.attention:
            query = self._linear(self.to_query, state.state[0][-1]).view(len(keys), -1, 1, keys.shape[2])
            energies = self.to_weight(fast_tanh(keys.unsqueeze(1) + query)).squeeze(-1)
            attention = energies.softmax(dim=-1)
        context = torch.bmm(attention.to(values.dtype), values).flatten(0, 1)  # (captions, context_size)
        attention = attention.flatten(0, 1)
        hidden, recurrent = self.recurrent.step(torch.cat([words, context], dim=-1), state.state)
        found = torch.cat([hidden, context], dim=-1)
        return found, DecoderState(state.scene, state.picture, recurrent, attention)

    def _copies(self, found: Tensor, scene: Scene, picture: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The believed words' symbols and how much each is wanted: (captions, steps, beliefs) twice.

        Args:
            found: (captions, steps, hidden_size + context_size), what the words are chosen by.
            scene: of the pictures.
            picture: as in `DecoderState`.
        """
        believed, copies = scene.believed, scene.copies
        if picture is not None:
            believed, copies = believed[picture], copies[picture]
        wanted = self._linear(self.to_copy, found).unflatten(0, (len(copies), -1)).flatten(1, 2)
        scores = torch.bmm(wanted, copies.transpose(1, 2)) / copies.shape[2] ** 0.5
        scores = scores.unflatten(1, (-1, found.shape[1])).flatten(0, 1)
        symbols = believed.repeat_interleave(len(found) // len(copies), dim=0).unsqueeze(1)
        return symbols.expand_as(scores), scores

    def score(self, found: Tensor) -> Tensor:
        """(..., hidden_size + context_size) -> logits (..., words): how well each word's vector fits."""
        wanted = fast_tanh(self._linear(self.to_output, self.dropout(found)))
        wanted = self.dropout(wanted) * _SHARPNESS
        packed = self._packed.get(self.embedding)
        return packed(wanted) if packed else F.linear(wanted, self.embedding.weight, self.output_bias)

    def _linear(self, linear: nn.Linear, x: Tensor) -> Tensor:
        """A linear layer (..., inputs) -> (..., outputs), in 8 bits once steps are."""
        result: Tensor = self._packed.get(linear, linear)(x)
        return result


# Embeddings start small, so that they suit the GRU; as outputs they need a larger scale.
_SHARPNESS = 4.0
# Log-probabilities of believed words then lie between -1 and 1.
_BELIEF_SCALE = 4.6


def beliefs_of_nothing(pictures: int, device: torch.device) -> Beliefs:
    """No words for so many pictures."""
    return Beliefs(
        torch.zeros(pictures, 0, dtype=torch.long, device=device), torch.zeros(pictures, 0, device=device)
    )


class CaptionNetwork(nn.Module):
    """Encoder and decoder together."""

    def __init__(self, config: CaptionConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder)
        self.decoder = Decoder(config, self.encoder.channels)

    def look(self, pictures: Tensor) -> Scene:
        """uint8 (pictures, 3, 224, 224) -> what captions are made from."""
        return self.decoder.look(self.encoder.in_turn(pictures))


def speakable(logits: Tensor, kinds: int = 0) -> Tensor:
    """Logits (..., words) -> log-probabilities; start symbols and the unknown word never follow.

    Args:
        logits: (..., words).
        kinds: so many start symbols stand behind `SPECIAL`.
    """
    allowed = logits.float()
    forbidden = [START, UNKNOWN, *range(len(SPECIAL), len(SPECIAL) + kinds)]
    allowed = allowed.index_fill(-1, torch.tensor(forbidden, device=logits.device), -torch.inf)
    return allowed.log_softmax(dim=-1)
