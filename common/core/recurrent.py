"""The recurrent core that every network of the suite is made of.

Comes in: sequences (batch, steps, features) with their lengths, or one step at a time.
Goes out: the hidden vectors (batch, steps, hidden) and the state after each sequence's last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from common.core.quantized import Packed, fast_tanh

Cell = Literal["rnn_tanh", "rnn_relu", "lstm", "gru"]
Normalization = Literal["none", "layer"]

# What a cell remembers, one tensor (layers * directions, batch, hidden) each: the hidden vector, and
# for an LSTM the cell vector behind it. Callers keep it and hand it back; only this file looks inside.
State = tuple[Tensor, ...]

GATES: dict[str, int] = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}

# Whether layers that are made draw initial weights; each thread has its own.
_drawing = ContextVar("drawing", default=True)

# Added to a gate's pre-activation on padding; sigmoid(+-100) is exactly 1 and, beside 1, exactly 0.
_SHUT = 100.0


@contextmanager
def without_initial_weights() -> Iterator[None]:
    """Layers of ours that this thread makes here have weights of no meaning: a model's take their place.

    To draw initial ones, the orthogonal above all, takes longer than to read a model.
    """
    token = _drawing.set(False)
    try:
        yield
    finally:
        _drawing.reset(token)


def draws_initial_weights() -> bool:
    """Whether a layer that is made here needs initial weights; see `without_initial_weights`."""
    return _drawing.get()


@dataclass(frozen=True)
class RecurrentConfig:
    """The shape of a recurrent stack.

    Attributes:
        input_size: features of an input vector.
        hidden_size: units of one direction of one layer.
        cell: which recurrence; all are PyTorch's, gate for gate.
        layers: how many layers stand on each other.
        bidirectional: read each sequence in both directions and join the two hidden vectors.
        dropout: probability with which a feature between two layers is dropped in training, at all steps of
            a sequence.
        normalization: "layer" normalises the features between two layers (Ba et al. 2016,
            arXiv:1607.06450); "none" leaves them alone.
    """

    input_size: int
    hidden_size: int
    cell: Cell = "lstm"
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    normalization: Normalization = "none"

    def __post_init__(self) -> None:
        if self.cell not in get_args(Cell):
            raise ValueError(f"cell must be one of {get_args(Cell)}, not {self.cell!r}")
        if self.normalization not in get_args(Normalization):
            raise ValueError(f"normalization must be one of {get_args(Normalization)}")
        if min(self.input_size, self.hidden_size, self.layers) < 1:
            raise ValueError("input_size, hidden_size and layers must be at least 1")

    @property
    def directions(self) -> int:
        """1, or 2 for a bidirectional stack."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """Features of an output vector: the hidden vectors of the last layer's directions, joined."""
        return self.hidden_size * self.directions


class LockedDropout(nn.Module):
    """Dropout for sequences: a feature is dropped at all steps of a sequence, or at none.

    Gal and Ghahramani 2016, arXiv:1512.05287. A feature that comes back a step later is hardly missed by what
    remembers it. It also costs next to nothing: one draw for each feature of a sequence, not one a step.

    Args:
        share: probability with which a feature is dropped in training; the others grow to make up for it.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """(batch, steps, features), the same shape."""
        return nn.functional.dropout1d(x.transpose(1, 2), self.share, self.training).transpose(1, 2)


class RecurrentStack(nn.Module):
    """Recurrent layers on each other, for whole sequences or one step at a time.

    Sequences of unlike length share a batch. Padding stands behind a sequence and never reaches an
    answer: outputs on padding are zero, the state is that of each sequence's own last step, and the
    backward direction reads every sequence reversed within its own length. The results are those of
    PyTorch's packed sequences, which on a CPU leave the fused kernel and take several times as long.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.input_size] + [config.output_size] * (config.layers - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                _Direction(config.cell, width, config.hidden_size) for _ in range(config.directions)
            )
            for width in widths
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(width) if config.normalization == "layer" else nn.Identity() for width in widths[1:]
        )
        self.dropout = LockedDropout(config.dropout)

    @property
    def output_size(self) -> int:
        """Features of an output vector."""
        return self.config.output_size

    def init_state(self, batch: int) -> State:
        """The state before anything was read: zeros, on the device and of the type of the weights."""
        weight = next(self.parameters())
        shape = (self.config.layers * self.config.directions, batch, self.config.hidden_size)
        return tuple(weight.new_zeros(shape) for _ in range(2 if self.config.cell == "lstm" else 1))

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
            lengths: (batch,) steps of each sequence, 1 to `steps`; None where all fill the batch.
            state: what the stack remembers of earlier steps; None to start afresh.
            return_state: whether the state after the sequences is wanted. An LSTM is a tenth faster if not:
                its cell vector need not be kept over the padding.

        Returns:
            The outputs (batch, steps, output_size), zero on padding, and the state after each
            sequence's last step (of the backward direction: after its first); empty if not wanted.

        Raises:
            ValueError: if shapes or lengths do not fit.
        """
        batch, steps, features = x.shape
        if features != self.config.input_size:
            raise ValueError(f"input has {features} features, the stack reads {self.config.input_size}")
        if state is None:
            state = self.init_state(batch)
        padding = None if lengths is None else _Padding.of(lengths, batch, steps, x.device)
        finals: list[State] = []
        for index, directions in enumerate(self.layers):
            if index > 0:
                x = self.dropout(self.norms[index - 1](x))
            if padding is not None:
                # What stands there could be no number, whose gradient would be none either, or be larger
                # than the lock of an LSTM's gates.
                x = x.masked_fill(padding.mask, 0.0)
            outputs = []
            for side, direction in enumerate(cast(nn.ModuleList, directions)):
                row = index * self.config.directions + side
                before = tuple(part[row] for part in state)
                read = x if side == 0 else _reverse(x, padding)
                output, after = direction(read, before, padding, return_state)
                outputs.append(output if side == 0 else _reverse(output, padding))
                finals.append(after)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        if padding is not None:
            x = x.masked_fill(padding.mask, 0.0)
        if not return_state:
            return x, ()
        return x, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one vector a sequence: (batch, input_size) -> (batch, output_size) and the new state.

        Raises:
            ValueError: for a bidirectional stack, which cannot know what is still to come.
        """
        if self.config.bidirectional:
            raise ValueError("a bidirectional stack reads whole sequences; it has no single step")
        finals: list[State] = []
        for index, directions in enumerate(self.layers):
            if index > 0:
                # Each call is a sequence of one step: steps share no mask.
                x = self.dropout(self.norms[index - 1](x).unsqueeze(1)).squeeze(1)
            direction = cast(_Direction, cast(nn.ModuleList, directions)[0])
            finals.append(direction.step(x, tuple(part[index] for part in state)))
            x = finals[-1][0]
        return x, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def step_in_8_bits(self) -> None:
        """Let every later `step` multiply in 8 bits, with the weights as they are now.

        Three to four times faster, each output a few hundredths off; whole sequences stay exact.
        """
        for directions in self.layers:
            cast(_Direction, cast(nn.ModuleList, directions)[0]).pack()

    @staticmethod
    def reorder(state: State, indices: Tensor) -> State:
        """The state of a new batch whose sequence i goes on from sequence `indices[i]` of the old.

        A beam search keeps, drops and doubles hypotheses with it; indices: (new batch,).
        """
        return tuple(part.index_select(1, indices) for part in state)

    @staticmethod
    def detach(state: State) -> State:
        """The same state, cut off from what made it: truncated back-propagation through time.

        Williams and Peng 1990, doi:10.1162/neco.1990.2.4.490.
        """
        return tuple(part.detach() for part in state)


class _Direction(nn.Module):
    """One direction of one layer: the parameters and PyTorch's fused loop over the steps."""

    def __init__(self, cell: Cell, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell: Cell = cell
        self._packed: tuple[Packed, Packed] | None = None
        rows = GATES[cell] * hidden_size
        # Names, order of gates and the two biases are those of torch.nn.LSTM, so weights can be compared.
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih = nn.Parameter(torch.zeros(rows))
        self.bias_hh = nn.Parameter(torch.zeros(rows))
        if draws_initial_weights():
            self._draw()

    def _draw(self) -> None:
        """Draw initial weights."""
        hidden_size = self.weight_hh.shape[1]
        for gate in range(GATES[self.cell]):
            block = slice(gate * hidden_size, (gate + 1) * hidden_size)
            # Xavier keeps the scale upwards (Glorot and Bengio 2010); orthogonal recurrence keeps it
            # through time (Saxe et al. 2014, arXiv:1312.6120).
            nn.init.xavier_uniform_(self.weight_ih[block])
            nn.init.orthogonal_(self.weight_hh[block])
        if self.cell == "lstm":
            # An open forget gate lets the gradient through from the start (Jozefowicz et al. 2015).
            nn.init.ones_(self.bias_ih[hidden_size : 2 * hidden_size])

    def forward(
        self, x: Tensor, state: State, padding: _Padding | None, return_state: bool
    ) -> tuple[Tensor, State]:
        """x (batch, steps, input), state of (batch, hidden) -> outputs (batch, steps, hidden), state."""
        weight_ih: Tensor = self.weight_ih
        if padding is not None and self.cell == "lstm" and return_state:
            # The hidden vector of the last step is among the outputs, the cell vector is not. One more
            # input feature, 1 on padding, opens the forget gate there and shuts the input gate, so that
            # the cell vector stays what it was at the sequence's end and the loop stays the fused one.
            x = torch.cat([x, padding.mask.to(x.dtype)], dim=-1)
            weight_ih = torch.cat([weight_ih, self._freeze_column()], dim=1)
        weights: list[Tensor] = [weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        first = tuple(part.unsqueeze(0) for part in state)
        # (input, state, weights, biases?, layers, dropout, training?, bidirectional?, batch first?)
        options = (True, 1, 0.0, self.training, False, True)
        if self.cell == "lstm":
            outputs, hidden, cell = torch.lstm(x, first, weights, *options)
            after: State = (hidden.squeeze(0), cell.squeeze(0))
        else:
            loop = {"gru": torch.gru, "rnn_tanh": torch.rnn_tanh, "rnn_relu": torch.rnn_relu}[self.cell]
            outputs, hidden = loop(x, first[0], weights, *options)
            after = (hidden.squeeze(0),)
        if padding is not None:
            last = padding.last.view(-1, 1, 1).expand(-1, 1, outputs.shape[-1])
            after = (outputs.gather(1, last).squeeze(1), *after[1:])
        return outputs, after

    def step(self, x: Tensor, state: State) -> State:
        """x (batch, input), state of (batch, hidden) -> the state after it, whose first part is the output.

        PyTorch's loops prepare the weights anew at every call, which for a single step takes several times
        as long as the step.
        """
        if self._packed is not None:
            of_input, of_hidden = self._packed
            if self.cell == "gru":
                return (_gru_after(of_input(x), of_hidden(state[0]), state[0]),)
            return _after(self.cell, of_hidden(state[0], bias=of_input(x)), state)
        cell = getattr(torch, f"{self.cell}_cell")
        weights = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        if self.cell == "lstm":
            after: State = cell(x, state, *weights)
            return after
        return (cell(x, state[0], *weights),)

    def pack(self) -> None:
        """Let `step` multiply in 8 bits from now on."""
        # A GRU alone treats what input and hidden vector bring differently: both have their own bias.
        of_input = self.bias_ih if self.cell == "gru" else self.bias_ih + self.bias_hh
        self._packed = Packed(self.weight_ih, of_input), Packed(self.weight_hh, self.bias_hh)

    def _freeze_column(self) -> Tensor:
        """(4 * hidden, 1): shuts the input gate, opens the forget gate, leaves the other two alone."""
        hidden = self.weight_hh.shape[1]
        column = self.weight_ih.new_zeros(4, hidden)
        column[0], column[1] = -_SHUT, _SHUT
        return column.view(-1, 1)


def _after(cell: Cell, total: Tensor, state: State) -> State:
    """The state after a step, given what input and hidden vector bring together: (batch, gates * hidden)."""
    if cell == "lstm":
        enter, forget, new, leave = total.chunk(4, dim=1)
        memory = forget.sigmoid() * state[1] + enter.sigmoid() * fast_tanh(new)
        return leave.sigmoid() * fast_tanh(memory), memory
    return (fast_tanh(total) if cell == "rnn_tanh" else total.relu(),)


def _gru_after(from_input: Tensor, from_hidden: Tensor, before: Tensor) -> Tensor:
    """The hidden vector after a step of a GRU, which resets what the hidden vector brings, not the input."""
    reset_in, update_in, new_in = from_input.chunk(3, dim=1)
    reset_hidden, update_hidden, new_hidden = from_hidden.chunk(3, dim=1)
    update = (update_in + update_hidden).sigmoid()
    new = fast_tanh(new_in + (reset_in + reset_hidden).sigmoid() * new_hidden)
    return torch.lerp(new, before, update)


@dataclass(frozen=True)
class _Padding:
    """Where a batch's padding lies, worked out once for all layers.

    Attributes:
        mask: (batch, steps, 1), true on padding.
        last: (batch,), each sequence's last step.
        reversal: (batch * steps,), for each step of each sequence the one that the backward direction
            reads in its place, counted through the whole batch.
    """

    mask: Tensor
    last: Tensor
    reversal: Tensor

    @staticmethod
    def of(lengths: Tensor, batch: int, steps: int, device: torch.device) -> _Padding | None:
        """The padding of a batch, or None where there is none.

        Raises:
            ValueError: if there are not `batch` lengths, or one is not in 1 to `steps`.
        """
        if lengths.shape != (batch,):
            raise ValueError(f"lengths must be of shape ({batch},), not {tuple(lengths.shape)}")
        if int(lengths.min()) < 1 or int(lengths.max()) > steps:
            raise ValueError(f"lengths must lie in 1 to {steps}")
        if int(lengths.min()) == steps:
            return None
        lengths = lengths.to(device).long()
        positions = torch.arange(steps, device=device).expand(batch, steps)
        mask = positions >= lengths.unsqueeze(1)
        reversal = torch.where(mask, positions, lengths.unsqueeze(1) - 1 - positions)
        reversal += steps * torch.arange(batch, device=device).unsqueeze(1)
        return _Padding(mask.unsqueeze(-1), lengths - 1, reversal.view(-1))


def _reverse(x: Tensor, padding: _Padding | None) -> Tensor:
    """Reverse each sequence within its own length; padding stays behind. (batch, steps, features)."""
    if padding is None:
        return x.flip(1)
    return x.flatten(0, 1).index_select(0, padding.reversal).view_as(x)
