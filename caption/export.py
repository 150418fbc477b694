"""The captioner's network as two ONNX files: `encoder.onnx` looks, `decoder.onnx` says one word a run.

The words are in the decoder's file: whoever reads the two needs a picture of 224 x 224 pixels and nothing of
this suite. The search, beyond always taking the likeliest word, is the reader's own.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from caption.images import SIZE
from caption.model.network import CaptionNetwork, Decoder
from caption.model.text import END, START
from common.models.onnx_export import Port, to_onnx, write_onnx

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"


def export(network: CaptionNetwork, folder: Path) -> None:
    """Write a captioner's network as ONNX.

    `encoder.onnx` takes `pixels`, uint8 (batch, 3, 224, 224), RGB, and gives float32 tensors: `keys` (batch,
    positions, attention size) and `values` (batch, positions, context size), what each position of the grid,
    and behind them each word that is believed to be seen, is compared by and brings; `state` (batch, hidden),
    where the decoder starts; and of a model with such beliefs `believed` (batch, beliefs), int64, their
    symbols, `copies` (batch, beliefs, attention size), what is compared to say one of them outright, and
    `said`, bool (batch, words), the nouns that were said: none yet.

    `decoder.onnx` takes all of these and `symbols`, int64 (batch,), the words said last: `start` at first. It
    gives `log_probs`, float32 (batch, words), natural logarithms, the new `next_state` (batch, hidden),
    `attention` (batch, positions), where it looked, and of a model with beliefs the new `next_said`. A noun
    that was said has the log-probability minus infinity: a caption says each once. Each row is a caption;
    for a beam, rows are repeated.

    The metadata holds `size` of the pixels, and `words`, `start` and `end` (symbols), each as JSON.

    Args:
        network: stays as it is.
        folder: of the two files; it is made, older ones are replaced.

    Raises:
        InputError: if the package onnx is missing or a file cannot be written.
    """
    network = copy.deepcopy(network).cpu().eval()
    network.encoder.fold()
    batch = {0: "batch"}
    grid = tuple(Port(name, {**batch, 1: "positions"}) for name in ("keys", "values"))
    believes = bool(network.config.classes)
    beliefs = tuple(Port(name, batch) for name in ("believed", "copies", "said")) if believes else ()
    pixels = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8)
    looking = _Looking(network)
    encoder = to_onnx(
        looking,
        (pixels,),
        inputs=(Port("pixels", batch),),
        outputs=(*grid, Port("state", batch), *beliefs),
        metadata={"size": SIZE},
    )
    with torch.no_grad():
        keys, values, state, *believed = looking(pixels)
    decoder = to_onnx(
        _Speaking(network.decoder),
        (torch.tensor([START, START]), state, keys, values, *believed),
        inputs=(Port("symbols", batch), Port("state", batch), *grid, *beliefs),
        outputs=(
            Port("log_probs", batch),
            Port("next_state", batch),
            Port("attention", {**batch, 1: "positions"}),
            *((Port("next_said", batch),) if believes else ()),
        ),
        metadata={"words": network.config.words, "start": START, "end": END},
    )
    write_onnx(encoder, folder / ENCODER)
    write_onnx(decoder, folder / DECODER)


class _Looking(nn.Module):
    """Pictures -> keys, values, the first state, what is believed and what was said.

    `CaptionNetwork.look` looks at a few at a time, which in a graph would fix how many there are.
    """

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Look at pictures: uint8 (batch, 3, 224, 224)."""
        scene = self.network.decoder.look(self.network.encoder(pixels))
        if not self.network.config.classes:
            return tuple(scene[:3])
        words = len(self.network.config.words)
        return (*scene, torch.zeros_like(scene.first[:, :1], dtype=torch.bool).expand(-1, words))


class _Speaking(nn.Module):
    """`Decoder.step` for captions that each have their own picture, of any number, and say each noun once.

    The decoder lets the captions of a picture share its grid, which in a graph would fix how many
    pictures there are; and the suite's search remembers the nouns itself.
    """

    nouns: Tensor

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        nouns = torch.zeros(len(decoder.config.words), dtype=torch.bool)
        nouns[list(decoder.nouns)] = True
        self.register_buffer("nouns", nouns)

    def forward(
        self,
        symbols: Tensor,
        state: Tensor,
        keys: Tensor,
        values: Tensor,
        believed: Tensor | None = None,
        copies: Tensor | None = None,
        said: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """(batch,), (batch, hidden), (batch, positions, ...) twice -> as `export` describes it."""
        decoder = self.decoder
        if decoder.config.attention:
            query = decoder.to_query(state).unsqueeze(1)
            energies = decoder.to_weight(torch.tanh(keys + query)).squeeze(-1)  # (batch, positions)
        else:
            energies = keys.sum(dim=-1)  # keys of no width: zeros, so that every position weighs the same
        attention = energies.softmax(dim=-1)
        context = torch.bmm(attention.unsqueeze(1), values).squeeze(1)
        words = torch.cat([decoder.embedding(symbols), context], dim=-1)
        hidden, _ = decoder.recurrent.step(words, (state.unsqueeze(0),))
        found = torch.cat([hidden, context], dim=-1)
        logits = decoder.score(found)
        if believed is None or copies is None or said is None:
            return decoder.speakable(logits), hidden, attention
        wanted = decoder.to_copy(found).unsqueeze(2)  # (batch, attention size, 1)
        scores = torch.bmm(copies, wanted).squeeze(2) / copies.shape[2] ** 0.5
        log_probs = decoder.speakable(logits.scatter_add(-1, believed, scores))
        said_last = torch.arange(len(self.nouns)) == symbols.unsqueeze(1)  # (batch, words)
        said = said | (self.nouns & said_last)
        return log_probs.masked_fill(said, -torch.inf), hidden, attention, said
