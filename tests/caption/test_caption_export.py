"""The captioner as two ONNX files: ONNX Runtime, which knows nothing of the suite, says the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from networks import tiny_caption_config
from numpy.typing import NDArray
from torch import Tensor

from caption import Captioner, DescribeOptions
from caption.cli import main
from caption.export import DECODER, ENCODER, export
from caption.images import load_image
from caption.model.network import CaptionNetwork
from caption.model.text import END, SPECIAL, START

SAMPLES = sorted((Path(__file__).parents[2] / "caption" / "samples").glob("*.jpg"))
WORDS = (*SPECIAL, "a", "dog", "cat", "runs", "sleeps")


class Graphs:
    """The two files of a folder, opened."""

    def __init__(self, folder: Path) -> None:
        self.encoder = onnxruntime.InferenceSession(folder / ENCODER)
        self.decoder = onnxruntime.InferenceSession(folder / DECODER)
        metadata = self.decoder.get_modelmeta().custom_metadata_map
        self.about = {name: json.loads(value) for name, value in metadata.items()}

    def greedy(self, pixels: Tensor, most_words: int = 20) -> list[str]:
        """The caption of each picture, always taking the likeliest word."""
        seen = self.look(pixels)
        symbols = np.full(len(pixels), self.about["start"])
        spoken = []
        for _ in range(most_words):
            symbols = self.step(symbols, seen)["log_probs"].argmax(axis=-1)
            spoken.append(symbols)
        return [self._text(one.tolist()) for one in np.stack(spoken, axis=1)]

    def look(self, pixels: Tensor) -> dict[str, NDArray[Any]]:
        """What the encoder gives, by name."""
        return self._run(self.encoder, {"pixels": pixels.numpy()})

    def step(self, symbols: NDArray[np.int64], seen: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What the decoder gives, by name; what is `next_state` then is `state` in `seen`, and so on."""
        given = self._run(self.decoder, {"symbols": symbols, **seen})
        seen |= {name.removeprefix("next_"): value for name, value in given.items() if "next_" in name}
        return given

    @staticmethod
    def _run(graph: onnxruntime.InferenceSession, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        names = [port.name for port in graph.get_outputs()]
        return dict(zip(names, graph.run(names, inputs), strict=True))

    def _text(self, symbols: list[int]) -> str:
        end = self.about["end"]
        spoken = symbols[: symbols.index(end)] if end in symbols else symbols
        return " ".join(self.about["words"][symbol] for symbol in spoken)


@pytest.fixture(scope="module")
def photos() -> Captioner:
    return Captioner.load(in_8_bits=False)


@pytest.fixture(scope="module")
def graphs(photos: Captioner, tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    folder = tmp_path_factory.mktemp("onnx") / "photos"
    export(photos.network, folder)
    return Graphs(folder)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.stack([load_image(path) for path in SAMPLES])


def tiny(attention: bool = True, classes: tuple[str, ...] = ()) -> Captioner:
    torch.manual_seed(1)
    sizes = {"embedding_size": 6, "attention_size": 5, "context_size": 7}
    config = tiny_caption_config(WORDS, attention=attention, classes=classes, beliefs=2, **sizes)
    return Captioner(CaptionNetwork(config), "tiny")


@torch.inference_mode()
def assert_said_alike(network: CaptionNetwork, graphs: Graphs, pixels: Tensor) -> None:
    scene = network.look(pixels)
    seen = graphs.look(pixels)
    parts = {"keys": scene.keys, "values": scene.values, "state": scene.first}
    if network.config.classes:
        parts |= {"believed": scene.believed, "copies": scene.copies}
    for name, expected in parts.items():
        torch.testing.assert_close(torch.from_numpy(seen[name]), expected, atol=1e-3, rtol=0)
    expected_state = network.decoder.begin(scene)
    generator = torch.Generator().manual_seed(2)
    symbols = torch.full((len(pixels),), START)
    spoken: list[list[int]] = [[] for _ in pixels]
    for _ in range(4):
        given = graphs.step(symbols.numpy(), seen)
        expected_log_probs, expected_state = network.decoder.step(symbols, expected_state)
        for row, symbol in enumerate(symbols.tolist()):
            spoken[row] += [symbol] if symbol in network.decoder.nouns else []
            expected_log_probs[row, spoken[row]] = -torch.inf
        # Forbidden words are minus infinity in both.
        log_probs, attention = (torch.from_numpy(given[name]) for name in ("log_probs", "attention"))
        torch.testing.assert_close(log_probs, expected_log_probs, atol=1e-3, rtol=0)
        torch.testing.assert_close(attention, expected_state.attention, atol=1e-4, rtol=0)
        words = len(network.config.words)
        symbols = torch.randint(len(SPECIAL), words, (len(pixels),), generator=generator)


def test_pictures_and_steps_give_what_they_give_in_pytorch(
    photos: Captioner, graphs: Graphs, pixels: Tensor
) -> None:
    assert_said_alike(photos.network, graphs, pixels)
    assert_said_alike(photos.network, graphs, pixels[:1])


def test_the_files_alone_are_enough_to_describe_photographs(
    photos: Captioner, graphs: Graphs, pixels: Tensor
) -> None:
    options = DescribeOptions(beam=1, doubt=0.0, fewest_words=0, most_words=20)
    assert graphs.greedy(pixels) == [one.text for one in photos.describe_batch(list(pixels), options)]
    size = json.loads(graphs.encoder.get_modelmeta().custom_metadata_map["size"])
    assert pixels.shape[2:] == (size, size)


def test_a_captioner_without_attention_is_written_too(pixels: Tensor, tmp_path: Path) -> None:
    captioner = tiny(attention=False)
    export(captioner.network, tmp_path)
    assert_said_alike(captioner.network, Graphs(tmp_path), pixels[:3])


def test_what_is_believed_to_be_seen_is_written_too(pixels: Tensor, tmp_path: Path) -> None:
    captioner = tiny(classes=("dog", "cat", "", "dog, cat"))
    export(captioner.network, tmp_path)
    graphs = Graphs(tmp_path)
    assert {port.name for port in graphs.decoder.get_inputs()} >= {"believed", "copies", "said"}
    assert_said_alike(captioner.network, graphs, pixels[:3])


def test_words_of_nearly_the_same_probability_keep_their_places() -> None:
    captioner = tiny(classes=("dog", "cat", "sleeps"))
    concepts = captioner.network.decoder.concepts
    grid = torch.zeros(2, 4, captioner.network.encoder.channels)
    with torch.no_grad():
        concepts.classifier.bias.copy_(torch.tensor([0.0, 1e-4, -9.0]))
        one = concepts(grid).symbols.tolist()
        concepts.classifier.bias.copy_(torch.tensor([1e-4, 0.0, -9.0]))
        assert concepts(grid).symbols.tolist() == one == [[WORDS.index("dog"), WORDS.index("cat")]] * 2


def test_a_reader_who_knows_only_the_graphs_says_no_noun_twice(pixels: Tensor, tmp_path: Path) -> None:
    captioner = tiny(classes=("dog", "cat"))
    bias = captioner.network.decoder.output_bias
    with torch.no_grad():  # it would say nothing but "dog"
        bias.fill_(-50.0)[[WORDS.index("dog"), END]] = torch.tensor([50.0, 0.0])
    export(captioner.network, tmp_path)
    assert Graphs(tmp_path).greedy(pixels[:2]) == ["dog", "dog"]


def test_a_missing_package_is_one_line_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Captioner, "load", lambda model, in_8_bits: tiny())
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "--output", str(tmp_path / "tiny")]) == 1
    assert capsys.readouterr().err == "caption: onnx: the export needs this package: pip install onnx\n"
    assert not list(tmp_path.iterdir())


def test_the_command_writes_two_files_and_prints_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Captioner, "load", lambda model, in_8_bits: tiny())
    assert main(["export", "--output", str(tmp_path / "tiny")]) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'tiny'}\n", "")
    assert {path.name for path in (tmp_path / "tiny").iterdir()} == {ENCODER, DECODER}
