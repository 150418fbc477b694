"""The recogniser as an ONNX file: ONNX Runtime, which knows nothing of the suite, hears the same."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from speech import Recognizer
from speech.cli import main
from speech.export import export, word_error_rate
from speech.model.network import SpeechConfig, SpeechNetwork
from speech.model.subwords import LETTER_SYMBOLS
from speech.search.decoding import greedy
from speech.sound.audio import load_audio
from speech.sound.features import FeatureConfig
from speech.training.pronunciations import PHONES

SAMPLES = Path(__file__).parents[2] / "speech" / "samples"


@pytest.fixture(scope="module")
def english() -> Recognizer:
    return Recognizer.load(exact=True)


@pytest.fixture(scope="module")
def english_file(english: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "english.onnx"
    export(english.acoustic.network, path)
    return path


@pytest.fixture(scope="module")
def sentences() -> list[Tensor]:
    return [load_audio(path) for path in sorted(SAMPLES.glob("*.opus"))]


def tiny(features: FeatureConfig | None = None) -> Recognizer:
    torch.manual_seed(0)
    shape = SpeechConfig(LETTER_SYMBOLS, PHONES, channels=8, hidden_size=6, lower_layers=2, upper_layers=1)
    network = SpeechNetwork(replace(shape, features=features or FeatureConfig()))
    torch.nn.init.normal_(network.heard.weight)  # zeros would hide the lower half's answer
    return Recognizer(network, "tiny", exact=True)


def open_graph(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def metadata_of(path: Path) -> dict[str, Any]:
    metadata = open_graph(path).get_modelmeta().custom_metadata_map
    return {name: json.loads(value) for name, value in metadata.items()}


def heard_by_onnx(path: Path, recordings: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Log-probabilities (batch, steps, symbols) and steps (batch,) of recordings that share a batch."""
    padded = torch.nn.utils.rnn.pad_sequence(recordings, batch_first=True)
    lengths = np.array([len(one) for one in recordings])
    log_probs, steps = open_graph(path).run(None, {"samples": padded.numpy(), "lengths": lengths})
    return torch.from_numpy(log_probs), torch.from_numpy(steps)


def assert_heard_alike(recognizer: Recognizer, path: Path, recordings: list[Tensor]) -> None:
    expected, expected_steps = recognizer.acoustic.log_probs(
        [recognizer.acoustic.log_mel(one) for one in recordings]
    )
    found, steps = heard_by_onnx(path, recordings)
    assert steps.tolist() == expected_steps.tolist()
    for one, other, length in zip(found, expected, steps.tolist(), strict=True):
        torch.testing.assert_close(one[:length], other[:length], atol=1e-4, rtol=0)


def noises(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


def test_a_batch_of_unlike_lengths_is_heard_as_pytorch_hears_it(
    english: Recognizer, english_file: Path, sentences: list[Tensor]
) -> None:
    assert_heard_alike(english, english_file, sentences)


@pytest.mark.parametrize(
    "features", [FeatureConfig(), FeatureConfig(mels=20, window_seconds=0.0201, fft_size=400)], ids=str
)
def test_recordings_of_any_length_are_heard_alike_whatever_the_features(
    features: FeatureConfig, tmp_path: Path
) -> None:
    recognizer = tiny(features)
    export(recognizer.acoustic.network, tmp_path / "tiny.onnx")
    shorter_than_a_window = noises(80, 512, 513)
    assert_heard_alike(recognizer, tmp_path / "tiny.onnx", [*shorter_than_a_window, torch.zeros(4000)])
    assert_heard_alike(recognizer, tmp_path / "tiny.onnx", noises(16_001, 9_000, 31_999, 24_160, 700))
    assert_heard_alike(recognizer, tmp_path / "tiny.onnx", noises(20_000))


def test_what_stands_on_padding_is_not_heard(english_file: Path, sentences: list[Tensor]) -> None:
    short, long = sorted(sentences, key=len)[::2]
    padded = torch.nn.utils.rnn.pad_sequence([short, long], batch_first=True)
    padded[0, len(short) :] = 1.0
    inputs = {"samples": padded.numpy(), "lengths": np.array([len(short), len(long)])}
    log_probs, steps = open_graph(english_file).run(None, inputs)
    alone, _ = heard_by_onnx(english_file, [short])
    torch.testing.assert_close(torch.from_numpy(log_probs[0, : steps[0]]), alone[0], atol=1e-4, rtol=0)


def test_the_file_alone_is_enough_to_read_what_is_said(
    english: Recognizer, english_file: Path, sentences: list[Tensor]
) -> None:
    about = metadata_of(english_file)
    assert (about["sample_rate"], about["step_seconds"]) == (
        16_000,
        english.acoustic.network.config.step_seconds,
    )
    assert about["features"]["mels"] == english.acoustic.network.config.features.mels
    texts = []
    for log_probs, length in zip(*heard_by_onnx(english_file, sentences), strict=True):
        path = torch.unique_consecutive(log_probs[:length].argmax(dim=-1))
        pieces = "".join(about["symbols"][symbol] for symbol in path if symbol != 0)
        texts.append(pieces.replace("_", " ").strip())
    heard = english.acoustic.log_probs([english.acoustic.log_mel(one) for one in sentences])
    assert texts == greedy(*heard, english.acoustic.subwords)
    assert all(texts)


def test_in_8_bits_it_is_a_third_of_the_size_and_hears_nearly_the_same(
    english: Recognizer, english_file: Path, sentences: list[Tensor], tmp_path: Path
) -> None:
    export(english.acoustic.network, tmp_path / "int8.onnx", int8=True)
    assert (tmp_path / "int8.onnx").stat().st_size < 0.35 * english_file.stat().st_size
    assert metadata_of(tmp_path / "int8.onnx") == metadata_of(english_file)
    expected, steps = heard_by_onnx(english_file, sentences)
    found, _ = heard_by_onnx(tmp_path / "int8.onnx", sentences)
    valid = torch.arange(expected.shape[1]) < steps.unsqueeze(1)
    alike = (found.argmax(dim=-1) == expected.argmax(dim=-1))[valid]
    assert alike.float().mean() > 0.95


def test_the_network_that_is_written_goes_on_as_it_was(tmp_path: Path) -> None:
    recognizer = tiny()
    recording = [recognizer.acoustic.log_mel(noises(8_000)[0])]
    before, _ = recognizer.acoustic.log_probs(recording)
    export(recognizer.acoustic.network, tmp_path / "tiny.onnx")
    assert torch.equal(recognizer.acoustic.log_probs(recording)[0], before)


@pytest.mark.parametrize(("package", "options"), [("onnx", []), ("onnxruntime.quantization", ["--int8"])])
def test_a_missing_package_is_one_line_that_says_what_to_install(
    package: str,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Recognizer, "load", lambda model: tiny())
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", "--output", str(tmp_path / "tiny.onnx"), *options]) == 1
    name = package.split(".")[0]
    said = capsys.readouterr().err
    assert said == f"speech: {name}: the export needs this package: pip install {name}\n"
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_file_and_prints_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Recognizer, "load", lambda model: tiny())
    path = tmp_path / "new" / "tiny.onnx"
    assert main(["export", "--output", str(path)]) == 0
    assert capsys.readouterr() == (f"{path}\n", "")
    assert [one.name for one in path.parent.iterdir()] == ["tiny.onnx"]


def test_the_files_word_error_rate_is_that_of_the_network(
    english: Recognizer, english_file: Path, sentences: list[Tensor], tmp_path: Path
) -> None:
    manifest = tmp_path / "samples.tsv"
    paths = sorted(SAMPLES.glob("*.opus"))
    said = greedy(
        *english.acoustic.log_probs([english.acoustic.log_mel(one) for one in sentences]),
        english.acoustic.subwords,
    )
    texts = [said[0], said[1] + " indeed", *said[2:]]
    rows = "".join(f"{path}\t{text}\n" for path, text in zip(paths, texts, strict=True))
    manifest.write_text(f"path\ttext\n{rows}")
    words = sum(len(text.split()) for text in texts)
    assert word_error_rate(english_file, manifest) == pytest.approx(100 / words)
