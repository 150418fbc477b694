"""The four shapes in which recurrent networks are used: thin heads on the recurrent core.

Comes in: sequences (batch, steps, features) with lengths, or vectors (batch, features). Goes out: logits,
one vector a step or one a sequence. What the field does with which:

    Aligned         many to many, step by step     acoustic models, language models, tagging
    ToVector        many to one                    classifying a sentence, a speaker, a film clip
    FromVector      one to many                    image captioning, music from a style
    EncoderDecoder  many to many, another length   translation, summarising, spelling to sound
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from common.recurrent import RecurrentConfig, RecurrentStack, State


class Aligned(nn.Module):
    """Many to many, one output a step.

    With CTC an output may be blank, and the text is then shorter than the steps (`speech.network`). Fed
    with symbols to predict the next one, it is a language model.

    Args:
        config: of the recurrent stack.
        outputs: size of an output vector.
    """

    def __init__(self, config: RecurrentConfig, outputs: int) -> None:
        super().__init__()
        self.stack = RecurrentStack(config)
        self.output = nn.Linear(config.output_size, outputs)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: State | None = None,
        remember: bool = True,
    ) -> tuple[Tensor, State]:
        """Read whole sequences.

        Args:
            x: (batch, steps, input_size).
            lengths: (batch,) steps of each sequence; None where all fill the batch.
            state: what is remembered of earlier steps; None to start afresh.
            remember: whether the state after the sequences is wanted.

        Returns:
            Logits (batch, steps, outputs), meaningless on padding, and the state after each sequence.
        """
        hidden, state = self.stack(x, lengths, state, remember)
        return self.output(hidden), state

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one vector a sequence: (batch, input_size) -> logits (batch, outputs) and the new state."""
        hidden, state = self.stack.step(x, state)
        return self.output(hidden), state


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
        """One symbol more, as `common.search` asks for it.

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
    pass through one vector; attention (`caption.network`) takes this narrow place away.

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
        """One symbol more, as `common.search` asks for it; see `FromVector.step`."""
        return self.decoder.step(symbols, state)

    reorder: Callable[[State, Tensor], State] = staticmethod(RecurrentStack.reorder)
