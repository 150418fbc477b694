"""Training a recogniser, from a manifest to a model directory that the command can use."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from common.model_files import read_model
from speech import Recognizer
from speech.cli import main


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = ["path\ttext"]
    for number, text in enumerate(["one", "two two", "Three!", "four"]):
        path = tmp_path / f"{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(generator.normal(0.0, 3000.0, 9600).astype("<i2").tobytes())
        rows.append(f"{path.name}\t{text}")
    table = tmp_path / "train.tsv"
    table.write_text("\n".join(rows) + "\n")
    return table


def test_a_model_is_trained_kept_and_started_from_again(manifest: Path, tmp_path: Path) -> None:
    shared = ["--train", str(manifest), "--dev", str(manifest), "--cache", str(tmp_path / "cache")]
    sizes = ["--hidden-size", "8", "--layers", "1", "--channels", "8", "--speeds", "1.0", "0.9"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", *shared, *sizes, "--epochs", "2", "--run", str(first)]) == 0
    config, _ = read_model(first / "best")
    assert (config["hidden_size"], config["layers"]) == (8, 1)
    assert Recognizer.load(first / "best").transcribe(manifest.parent / "0.wav").duration == 0.6
    again = ["--init", str(first / "best"), "--epochs", "1", "--speeds", "1.0", "--run", str(second)]
    assert main(["train", *shared, *again]) == 0
    assert read_model(second / "best")[0]["hidden_size"] == 8
