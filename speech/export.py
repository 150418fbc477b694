"""The recogniser's network as one ONNX file: samples (batch, samples) -> log-probabilities.

The log-mel features are in the file, and so are the symbols and the times of the steps: whoever reads it
needs 16 kHz sound and nothing of this suite. Pauses, long recordings and the language model are not in it.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.core.recurrent import RecurrentStack, State
from common.manifest import read_manifest
from common.models.onnx_export import Port, require, to_onnx, write_onnx
from speech.model.network import SpeechNetwork
from speech.model.subwords import Subwords
from speech.search.decoding import greedy
from speech.sound.audio import load_audio
from speech.sound.features import FeatureConfig, LogMel

if TYPE_CHECKING:
    from onnx import ModelProto


def export(network: SpeechNetwork, path: Path, int8: bool = False) -> None:
    """Write a recogniser's network as ONNX.

    The graph takes `samples`, float32 (batch, samples), 16 kHz mono, -1 to 1, and `lengths`, int64 (batch,),
    the samples of each recording. It gives `log_probs`, float32 (batch, steps, symbols), natural logarithms,
    meaningless behind a recording's end, and `steps`, int64 (batch,). The file's metadata holds `symbols`
    (the first is CTC's blank; one with `_` at its end is the last of its word), `sample_rate`, `step_seconds`
    and `features`, each as JSON.

    Args:
        network: stays as it is.
        path: of the file; an older one is replaced.
        int8: keep and multiply the LSTMs' weights in 8 bits: a third of the size, twice as fast.

    Raises:
        InputError: if the package onnx (for 8 bits also onnxruntime) is missing or the file cannot be
            written.
    """
    config = network.config
    rate = config.features.sample_rate
    batch = {0: "batch"}
    model = to_onnx(
        _Hearing(network).eval(),
        (torch.zeros(2, rate), torch.tensor([rate, rate // 2])),
        inputs=(Port("samples", {**batch, 1: "samples"}), Port("lengths", batch)),
        outputs=(Port("log_probs", {**batch, 1: "steps"}), Port("steps", batch)),
        metadata={
            "symbols": config.symbols,
            "sample_rate": rate,
            "step_seconds": config.step_seconds,
            "features": dataclasses.asdict(config.features),
        },
    )
    write_onnx(_in_8_bits(model) if int8 else model, path)


def word_error_rate(path: Path, manifest: Path) -> float:
    """Word error rate in percent, along the likeliest path, of a file that `export` wrote, in ONNX Runtime.

    Args:
        path: of the file.
        manifest: TSV with the columns `path` and `text`; each recording is heard whole and alone.

    Raises:
        InputError: if the package onnxruntime is missing, or the manifest or a recording cannot be read.
    """
    runtime = require("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    subwords = Subwords(json.loads(session.get_modelmeta().custom_metadata_map["symbols"]))
    rows = read_manifest(manifest, ["path", "text"])
    texts = []
    for row in rows:
        samples = load_audio(row["path"])
        inputs = {"samples": samples[None].numpy(), "lengths": np.array([len(samples)])}
        log_probs, steps = (torch.from_numpy(one) for one in session.run(None, inputs))
        texts += greedy(log_probs, steps, subwords)
    from speech.measuring.scoring import error_rates  # the export itself needs no jiwer

    return error_rates([row["text"] for row in rows], texts).wer


class _Hearing(nn.Module):
    """A network and its features in operators that ONNX has.

    Args:
        network: copied; in inference mode.
    """

    def __init__(self, network: SpeechNetwork) -> None:
        super().__init__()
        self.log_mel = _BatchLogMel(network.config.features)
        self.network = copy.deepcopy(network).cpu().eval()
        for part, name in ((self.network, "lower"), (self.network.upper, "stack")):
            setattr(part, name, _OnnxStack(getattr(part, name)))

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (batch, samples), lengths (batch,) -> log-probabilities (batch, steps, symbols), steps."""
        features, frames = self.log_mel(samples, lengths)
        log_probs, steps = self.network(features, frames)
        return log_probs, steps


def _in_8_bits(model: ModelProto) -> ModelProto:
    """The same graph, its LSTMs in 8 bits.

    The other matrices are small, and what the features lose is lost to all that follows.
    """
    onnx, quantization = require("onnx"), require("onnxruntime.quantization")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    # Otherwise it advises, on standard error, to simplify the graph first, which changes nothing here.
    onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        # Signed weights overflow in the 8-bit products of processors without VNNI.
        quantization.quantize_dynamic(
            model, path, op_types_to_quantize=["LSTM"], weight_type=quantization.QuantType.QUInt8
        )
        quantized: ModelProto = onnx.load(path)
    onnx.helper.set_model_props(quantized, metadata)
    return quantized


class _BatchLogMel(nn.Module):
    """`speech.sound.features.LogMel` for recordings of unlike length at once, without Fourier transform.

    Not every runtime has that operator. A convolution with windowed cosines and sines is the same.
    """

    basis: Tensor
    filters: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        spectrogram = LogMel(config).spectrogram
        window = spectrogram.spectrogram.window.double()
        times = torch.arange(len(window), dtype=torch.float64)
        bins = torch.arange(config.fft_size // 2 + 1, dtype=torch.float64)
        angles = 2.0 * math.pi / config.fft_size * bins.unsqueeze(1) * times
        basis = torch.cat([angles.cos(), angles.sin()]) * window  # (2 * bins, window)
        self.register_buffer("basis", basis.float().unsqueeze(1))
        self.register_buffer("filters", spectrogram.mel_scale.fb)  # (bins, mels)

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, samples), (batch,) -> features (batch, frames, mels), zero on padding, and the frames."""
        shortest = self.config.fft_size + 1  # what is shorter is filled up with zeros, see `LogMel`
        counted = lengths.clamp_min(shortest)
        frames = counted // self.config.hop + 1
        sounds = torch.arange(samples.shape[1]) < lengths.unsqueeze(1)
        samples = F.pad(torch.where(sounds, samples, 0.0), (0, shortest))
        real, imaginary = F.conv1d(
            self._reflected(samples, counted).unsqueeze(1), self.basis, stride=self.config.hop
        ).chunk(2, dim=1)
        power = (real.square() + imaginary.square()).transpose(1, 2) @ self.filters  # (batch, frames, mels)
        decibels = 10.0 * power.clamp_min(1e-10).log10()
        valid = (torch.arange(decibels.shape[1]) < frames.unsqueeze(1)).unsqueeze(-1)  # (batch, frames, 1)
        return self._normalized(decibels, valid), frames

    def _reflected(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """Half a window more at either end of every recording, reflected there: (batch, longer)."""
        fft_size, window = self.config.fft_size, self.config.window
        reach = fft_size // 2 - (fft_size - window) // 2
        longest = cast(int, lengths.max())  # as a number it would be written down, see `to_onnx`
        positions = (torch.arange(longest + window) - reach).abs()
        last = lengths.unsqueeze(1) - 1
        return samples.gather(1, (last - (last - positions).abs()).clamp_min(0))

    def _normalized(self, decibels: Tensor, valid: Tensor) -> Tensor:
        """(batch, frames, mels), (batch, frames, 1) -> as `LogMel` does it, each recording on its own."""
        heard = torch.where(valid, decibels, -torch.inf)
        floor = heard.amax(dim=(1, 2), keepdim=True) - self.config.range_decibels
        decibels = torch.maximum(decibels, floor)
        loudness = torch.where(valid, decibels.mean(dim=2, keepdim=True), -torch.inf)
        loudest = loudness.amax(dim=1, keepdim=True)
        active = (loudness >= loudest - self.config.active_decibels).float()
        count = active.sum(dim=1, keepdim=True)
        mean = (decibels * active).sum(dim=1, keepdim=True) / count
        variance = ((decibels - mean).square() * active).sum(dim=1, keepdim=True) / count
        return torch.where(valid, (decibels - mean) / variance.sqrt().clamp_min(2.0), 0.0)


class _OnnxStack(nn.Module):
    """A bidirectional LSTM stack that is written as ONNX's own LSTM, which knows lengths and directions.

    Args:
        stack: whose weights are copied.
    """

    def __init__(self, stack: RecurrentStack) -> None:
        super().__init__()
        if stack.config.cell != "lstm" or not stack.config.bidirectional:
            raise ValueError("only a bidirectional LSTM can be written")
        self.norms = stack.norms
        for index, directions in enumerate(stack.layers):
            sides: list[Any] = list(directions)  # type: ignore[call-overload]
            biases = [torch.cat([_iofc(side.bias_ih), _iofc(side.bias_hh)]) for side in sides]
            self.register_buffer(f"weights{index}", torch.stack([_iofc(side.weight_ih) for side in sides]))
            self.register_buffer(
                f"recurrences{index}", torch.stack([_iofc(side.weight_hh) for side in sides])
            )
            self.register_buffer(f"biases{index}", torch.stack(biases))

    def forward(
        self, x: Tensor, lengths: Tensor, state: State | None = None, return_state: bool = False
    ) -> tuple[Tensor, State]:
        """As `RecurrentStack.forward`, but only whole sequences without a state before or after them."""
        assert state is None and not return_state
        for index in range(len(self.norms) + 1):
            if index > 0:
                x = self.norms[index - 1](x)
            outputs = _OnnxLstm.apply(
                x.transpose(0, 1),
                lengths.int(),
                self.get_buffer(f"weights{index}"),
                self.get_buffer(f"recurrences{index}"),
                self.get_buffer(f"biases{index}"),
            )
            x = outputs.permute(2, 0, 1, 3).flatten(2)  # (batch, steps, 2 * hidden)
        return x, ()


class _OnnxLstm(torch.autograd.Function):
    """ONNX's operator LSTM, in both directions."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, lengths: Tensor, weights: Tensor, recurrences: Tensor, biases: Tensor
    ) -> Tensor:
        """(steps, batch, features) -> (steps, 2, batch, hidden): PyTorch only learns the shape."""
        steps, batch, _ = x.shape
        return x.new_zeros(steps, 2, batch, recurrences.shape[-1])

    @staticmethod
    def symbolic(g: Any, x: Any, lengths: Any, weights: Any, recurrences: Any, biases: Any) -> Any:
        """The operator as it stands in the file."""
        hidden = recurrences.type().sizes()[-1]
        return g.op(
            "LSTM",
            x,
            weights,
            recurrences,
            biases,
            lengths,
            hidden_size_i=hidden,
            direction_s="bidirectional",
        )


def _iofc(parameter: Tensor) -> Tensor:
    """Rows in PyTorch's order of gates (input, forget, cell, output) -> in ONNX's (i, o, f, c)."""
    given, forget, cell, out = parameter.detach().chunk(4)
    return torch.cat([given, out, forget, cell])
