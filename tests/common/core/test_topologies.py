"""Each topology learns a small task that no other shape could do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.core.quantized import can_multiply_in_8_bits
from common.core.recurrent import RecurrentConfig
from common.core.search import BeamOptions, beam_search
from common.core.topologies import Aligned, EncoderDecoder, FromVector, ToVector

START, END = 0, 1
GREEDY = BeamOptions(width=1, most_steps=8)


@pytest.fixture
def generator() -> torch.Generator:
    torch.manual_seed(1)
    return torch.Generator().manual_seed(2)


def learn(network: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float = 0.02) -> None:
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1.0 - step / steps)
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def spoken(symbols: tuple[int, ...]) -> list[int]:
    return [symbol - 2 for symbol in symbols]


def test_aligned_learns_the_parity_of_what_it_has_read_so_far(generator: torch.Generator) -> None:
    network = Aligned(RecurrentConfig(1, 16, "lstm"), outputs=2)

    def draw(batch: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        bits = torch.randint(0, 2, (batch, steps), generator=generator)
        lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
        return bits.float().unsqueeze(-1), lengths, bits.cumsum(1) % 2

    def loss() -> Tensor:
        bits, lengths, parity = draw(64, 6)
        own = torch.arange(6) < lengths.unsqueeze(1)
        return F.cross_entropy(network(bits, lengths)[0][own], parity[own])

    learn(network, loss, steps=400)
    bits, lengths, parity = draw(100, 12)  # twice as long as it ever saw
    own = torch.arange(12) < lengths.unsqueeze(1)
    right = network(bits, lengths)[0].argmax(-1)[own] == parity[own]
    assert right.float().mean() > 0.98


def test_to_vector_remembers_how_a_sequence_began_and_ended(generator: torch.Generator) -> None:
    network = ToVector(RecurrentConfig(4, 16, "gru", bidirectional=True), outputs=2)

    def draw(batch: int) -> tuple[Tensor, Tensor, Tensor]:
        symbols = torch.randint(0, 4, (batch, 9), generator=generator)
        lengths = torch.randint(1, 10, (batch,), generator=generator)
        same = symbols[:, 0] == symbols[torch.arange(batch), lengths - 1]
        return F.one_hot(symbols, 4).float(), lengths, same.long()

    def loss() -> Tensor:
        x, lengths, same = draw(64)
        return F.cross_entropy(network(x, lengths), same)

    learn(network, loss, steps=400)
    x, lengths, same = draw(200)
    assert (network(x, lengths).argmax(-1) == same).float().mean() > 0.98


def test_from_vector_counts_out_the_number_that_it_was_given(generator: torch.Generator) -> None:
    network = FromVector(RecurrentConfig(4, 16, "gru"), vector_size=6, symbols=3)
    numbers = torch.arange(6)
    vectors = F.one_hot(numbers, 6).float()
    tally = 2
    # (6, 6): n times the tally, then the end; the steps after that do not count.
    targets = torch.where(torch.arange(6) < numbers.unsqueeze(1), tally, END)
    symbols = torch.cat([torch.full((6, 1), START), targets[:, :-1]], dim=1)
    own = torch.arange(6) <= numbers.unsqueeze(1)

    learn(network, lambda: F.cross_entropy(network(vectors, symbols, numbers + 1)[own], targets[own]), 150)
    with torch.no_grad():
        found = beam_search(network.step, network.reorder, network.begin(vectors), 6, START, END, GREEDY)
    assert [len(best[0].symbols) for best in found] == list(range(6))
    assert all(best[0].finished for best in found)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_encoder_decoder_says_a_sequence_backwards(cell: str, generator: torch.Generator) -> None:
    network = EncoderDecoder(
        RecurrentConfig(3, 32, cell, bidirectional=True),  # type: ignore[arg-type]
        RecurrentConfig(8, 32, cell),  # type: ignore[arg-type]
        symbols=5,
    )

    def draw(batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        read = torch.randint(0, 3, (batch, 4), generator=generator)
        lengths = torch.randint(1, 5, (batch,), generator=generator)
        positions = torch.arange(5)
        backwards = read.gather(1, (lengths.unsqueeze(1) - 1 - positions[:4]).clamp_min(0)) + 2
        targets = F.pad(backwards, (0, 1)).masked_fill(positions >= lengths.unsqueeze(1), END)
        return read, F.one_hot(read, 3).float(), lengths, targets

    def loss() -> Tensor:
        _, x, lengths, targets = draw(64)
        symbols = F.pad(targets[:, :-1], (1, 0), value=START)
        return F.cross_entropy(network(x, lengths, symbols).flatten(0, 1), targets.flatten())

    learn(network, loss, steps=350)
    read, x, lengths, _ = draw(50)
    with torch.no_grad():
        found = beam_search(network.step, network.reorder, network.begin(x, lengths), 50, START, END, GREEDY)
    right = [
        spoken(best[0].symbols) == one[:length].tolist()[::-1]
        for best, one, length in zip(found, read, lengths, strict=True)
    ]
    assert sum(right) >= 45


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm"])
def test_teacher_forcing_and_single_steps_agree(cell: str) -> None:
    torch.manual_seed(3)
    network = FromVector(RecurrentConfig(4, 5, cell, layers=2), 3, 6).eval()  # type: ignore[arg-type]
    vectors, symbols = torch.randn(2, 3), torch.randint(0, 6, (2, 7))
    whole = network(vectors, symbols).log_softmax(-1)
    state = network.begin(vectors)
    for position in range(7):
        log_probs, state = network.step(symbols[:, position], state)
        torch.testing.assert_close(log_probs, whole[:, position])


def test_padding_never_reaches_a_vector() -> None:
    torch.manual_seed(4)
    network = ToVector(RecurrentConfig(2, 5, "lstm", layers=2, bidirectional=True), 3).eval()
    x = torch.randn(2, 6, 2)
    both = network(x, torch.tensor([4, 6]))
    torch.testing.assert_close(both[:1], network(x[:1, :4]))
    torch.testing.assert_close(both[1:], network(x[1:]))


def test_what_speaks_reads_in_one_direction() -> None:
    with pytest.raises(ValueError, match="both directions"):
        FromVector(RecurrentConfig(4, 5, bidirectional=True), 3, 6)


@pytest.mark.skipif(
    not can_multiply_in_8_bits(torch.device("cpu")), reason="PyTorch has no products in 8 bits here"
)
def test_an_aligned_network_steps_in_8_bits_to_its_output() -> None:
    torch.manual_seed(6)
    network = Aligned(RecurrentConfig(8, 30, "lstm"), outputs=5).eval()
    x, state = torch.randn(4, 8), network.stack.init_state(4)
    with torch.no_grad():
        exact, _ = network.step(x, state)
        network.step_in_8_bits()
        quick, _ = network.step(x, state)
        assert not torch.equal(quick, network.output(network.stack.step(x, state)[0]))
    torch.testing.assert_close(quick, exact, atol=0.03, rtol=0.0)
