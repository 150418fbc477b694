"""The four shapes in which recurrent networks are used: thin heads on the recurrent core.

Comes in: sequences (batch, steps, features) with lengths, or vectors (batch, features). Goes out: logits,
one vector a step or one a sequence. What the field does with which:

    Aligned         many to many, step by step     acoustic models, language models, tagging
    ToVector        many to one                    classifying a sentence, a speaker, a film clip
    FromVector      one to many                    image captioning, music from a style
    EncoderDecoder  many to many, another length   translation, summarising, spelling to sound
    Attentive       the same, looking back         the same, of longer sequences
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from common.core.quantized import Packed
from common.core.recurrent import RecurrentConfig, RecurrentStack, State


class Aligned(nn.Module):
    """Many to many, one output a step.

    With CTC an output may be blank, and the text is then shorter than the steps (`speech.model.network`). Fed
    with symbols to predict the next one, it is a language model.

    Args:
        config: of the recurrent stack.
        outputs: size of an output vector.
    """

    def __init__(self, config: RecurrentConfig, outputs: int) -> None:
        super().__init__()
        self.stack = RecurrentStack(config)
        self.output = nn.Linear(config.output_size, outputs)
        self._packed: Packed | None = None

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: State | None = None,
        return_state: bool = True,
    ) -> tuple[Tensor, State]:
        """Read whole sequences.

        Args:
            x: (batch, steps, input_size).
            lengths: (batch,) steps of each sequence; None where all fill the batch.
            state: what is remembered of earlier steps; None to start afresh.
            return_state: whether the state after the sequences is wanted.

        Returns:
            Logits (batch, steps, outputs), meaningless on padding, and the state after each sequence.
        """
        hidden, state = self.stack(x, lengths, state, return_state)
        return self.output(hidden), state

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one vector a sequence: (batch, input_size) -> logits (batch, outputs) and the new state."""
        hidden, state = self.stack.step(x, state)
        return (self._packed or self.output)(hidden), state

    def step_in_8_bits(self) -> None:
        """Let every later `step` multiply in 8 bits; see `RecurrentStack.step_in_8_bits`."""
        self.stack.step_in_8_bits()
        self._packed = Packed(self.output.weight, self.output.bias)


class ToVector(nn.Module):
    """Many to one: what a whole sequence leaves in the network becomes a vector, or scores of classes.

    Args:
        config: of the recurrent stack.
        outputs: size of the vector.
    """

    def __init__(self, config: RecurrentConfig, outputs: int) -> None:
        super().__init__()
        self.stack = RecurrentStack(config)
        self.output = nn.Linear(config.output_size, outputs)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Read whole sequences.

        Args:
            x: (batch, steps, input_size).
            lengths: (batch,) steps of each sequence; None where all fill the batch.

        Returns:
            (batch, outputs).
        """
        hidden, _ = self.stack(x, lengths)
        batch, steps, _ = hidden.shape
        last = torch.full((batch,), steps - 1) if lengths is None else lengths - 1
        # Each direction has read everything at its own end: one at the last step, one at the first.
        size = self.stack.config.hidden_size
        ends = hidden[torch.arange(batch), last.to(hidden.device), :size]
        return self.output(torch.cat([ends, hidden[:, 0, size:]], dim=-1))


class FromVector(nn.Module):
    """One to many: a vector starts the state, and the network speaks from there, one symbol a step.

    Vinyals et al. 2015 (arXiv:1411.4555) describe photographs so.

    Args:
        config: of the recurrent stack, which reads in one direction; `input_size` is that of a symbol's
            vector.
        vector_size: features of the vector.
        symbols: how many there are.

    Raises:
        ValueError: for a bidirectional stack.
    """

    def __init__(self, config: RecurrentConfig, vector_size: int, symbols: int) -> None:
        super().__init__()
        if config.bidirectional:
            raise ValueError("what speaks step by step cannot read in both directions")
        self.embedding = nn.Embedding(symbols, config.input_size)
        self.aligned = Aligned(config, symbols)
        parts = len(self.aligned.stack.init_state(1))
        self.first = nn.Linear(vector_size, parts * config.layers * config.hidden_size)

    def begin(self, vector: Tensor) -> State:
        """The state before the first symbol: (batch, vector_size)."""
        shapes = [part.shape for part in self.aligned.stack.init_state(len(vector))]
        first = torch.tanh(self.first(vector)).chunk(len(shapes), dim=-1)
        return tuple(
            part.view(len(vector), shape[0], shape[2]).transpose(0, 1).contiguous()
            for part, shape in zip(first, shapes, strict=True)
        )

    def forward(self, vector: Tensor, symbols: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Teacher forcing: score every next symbol, given the true ones before it.

        Williams and Zipser 1989, doi:10.1162/neco.1989.1.2.270.

        Args:
            vector: (batch, vector_size).
            symbols: (batch, steps), the start symbol first.
            lengths: (batch,) steps of each sequence; None where all fill the batch.

        Returns:
            Logits (batch, steps, symbols), meaningless on padding.
        """
        logits, _ = self.aligned(self.embedding(symbols), lengths, self.begin(vector))
        return logits

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """One symbol more, as `common.core.search` asks for it.

        Args:
            symbols: (batch,) the last one of each sequence, at first the start symbol.
            state: from `begin`, or from the step before.

        Returns:
            Log-probabilities (batch, symbols) of the next one, and the new state.
        """
        logits, state = self.aligned.step(self.embedding(symbols), state)
        return logits.log_softmax(dim=-1), state

    reorder: Callable[[State, Tensor], State] = staticmethod(RecurrentStack.reorder)


class EncoderDecoder(nn.Module):
    """Many to many of another length: what one network read, the other says.

    Sutskever et al. 2014 (arXiv:1409.3215), Cho et al. 2014 (arXiv:1406.1078). All that was read must
    pass through one vector; attention (below) takes this narrow place away.

    Args:
        encoder: stack that reads, in one direction or both.
        decoder: stack that speaks, in one direction; `input_size` is that of a symbol's vector.
        symbols: how many the decoder can say.
    """

    def __init__(self, encoder: RecurrentConfig, decoder: RecurrentConfig, symbols: int) -> None:
        super().__init__()
        self.encoder = ToVector(encoder, decoder.hidden_size)
        self.decoder = FromVector(decoder, decoder.hidden_size, symbols)

    def begin(self, x: Tensor, lengths: Tensor | None = None) -> State:
        """Read sequences (batch, steps, input_size) with their lengths (batch,): the decoder's state."""
        return self.decoder.begin(self.encoder(x, lengths))

    def forward(self, x: Tensor, lengths: Tensor | None, symbols: Tensor) -> Tensor:
        """Teacher forcing: score every next symbol, given what was read and the true symbols before it.

        Args:
            x: (batch, steps, input_size), what is read.
            lengths: (batch,) steps of each; None where all fill the batch.
            symbols: (batch, spoken steps), the start symbol first.

        Returns:
            Logits (batch, spoken steps, symbols); symbols behind a sequence's end change nothing before.
        """
        return self.decoder(self.encoder(x, lengths), symbols)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """One symbol more, as `common.core.search` asks for it; see `FromVector.step`."""
        return self.decoder.step(symbols, state)

    reorder: Callable[[State, Tensor], State] = staticmethod(RecurrentStack.reorder)


class AttentiveState(NamedTuple):
    """What an `Attentive` network knows between two steps.

    Attributes:
        state: of the decoder.
        memory: (batch, read steps, encoder's output_size), what was read.
        padding: (batch, read steps), true where nothing was.
    """

    state: State
    memory: Tensor
    padding: Tensor


class Attentive(nn.Module):
    """An encoder-decoder that looks back, at every step it speaks, at all that was read.

    Luong et al. 2015 (arXiv:1508.04025), their "general" score. With h the decoder's hidden vector and m_j
    the encoder's output at its step j:

        attention a_j = softmax over j of (h . W m_j)
        context   c   = sum over j of a_j m_j
        logits        = V tanh(U [h, c]) + b

    Args:
        encoder: stack that reads, in one direction or both.
        decoder: stack that speaks, in one direction; `input_size` is that of a symbol's vector.
        symbols: how many the decoder can say.
    """

    def __init__(self, encoder: RecurrentConfig, decoder: RecurrentConfig, symbols: int) -> None:
        super().__init__()
        self.encoder = RecurrentStack(encoder)
        self.decoder = FromVector(decoder, encoder.output_size, symbols)
        self.to_key = nn.Linear(encoder.output_size, decoder.hidden_size, bias=False)
        self.join = nn.Linear(decoder.hidden_size + encoder.output_size, decoder.hidden_size)

    def begin(self, x: Tensor, lengths: Tensor | None = None) -> AttentiveState:
        """Read sequences (batch, steps, input_size) with their lengths (batch,).

        The decoder starts from the mean of what was read.
        """
        memory, _ = self.encoder(x, lengths, return_state=False)
        batch, steps, _ = memory.shape
        if lengths is None:
            lengths = torch.full((batch,), steps)
        lengths = lengths.to(memory.device).unsqueeze(1)
        padding = torch.arange(steps, device=memory.device) >= lengths
        mean = memory.sum(dim=1) / lengths  # outputs on padding are zero
        return AttentiveState(self.decoder.begin(mean), memory, padding)

    def look(self, hidden: Tensor, memory: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Weigh what was read, and score the next symbol.

        Args:
            hidden: (batch, spoken steps, hidden) of the decoder.
            memory, padding: as in `AttentiveState`.

        Returns:
            Logits (batch, spoken steps, symbols), and the attention (batch, spoken steps, read steps), whose
            weights sum to one over the steps that were read.
        """
        energies = hidden @ self.to_key(memory).transpose(1, 2)
        attention = energies.masked_fill(padding.unsqueeze(1), float("-inf")).softmax(dim=-1)
        joined = torch.cat([hidden, attention @ memory], dim=-1)
        return self.decoder.aligned.output(torch.tanh(self.join(joined))), attention

    def speak(self, x: Tensor, lengths: Tensor | None, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, with the attention as in `look` beside the logits."""
        begun = self.begin(x, lengths)
        vectors = self.decoder.embedding(symbols)
        hidden, _ = self.decoder.aligned.stack(vectors, state=begun.state, return_state=False)
        return self.look(hidden, begun.memory, begun.padding)

    def forward(self, x: Tensor, lengths: Tensor | None, symbols: Tensor) -> Tensor:
        """Teacher forcing; see `EncoderDecoder.forward`."""
        return self.speak(x, lengths, symbols)[0]

    def step(self, symbols: Tensor, state: AttentiveState) -> tuple[Tensor, AttentiveState]:
        """One symbol more, as `common.core.search` asks for it; see `FromVector.step`."""
        hidden, after = self.decoder.aligned.stack.step(self.decoder.embedding(symbols), state.state)
        logits, _ = self.look(hidden.unsqueeze(1), state.memory, state.padding)
        return logits.squeeze(1).log_softmax(dim=-1), state._replace(state=after)

    @staticmethod
    def reorder(state: AttentiveState, indices: Tensor) -> AttentiveState:
        """The state of a new batch whose sequence i goes on from sequence `indices[i]` of the old."""
        return AttentiveState(
            RecurrentStack.reorder(state.state, indices), state.memory[indices], state.padding[indices]
        )
