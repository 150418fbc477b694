"""A captioner with random weights, and photographs for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from describing import drawn
from networks import tiny_caption_config

from caption.model.network import CaptionNetwork
from common.models.files import write_model

WORDS = ("<start>", "<end>", "<unknown>", "a", "dog", "cat", "runs")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    config = tiny_caption_config(WORDS, hidden_size=16)
    directory = tmp_path_factory.mktemp("models") / "tiny"
    write_model(directory, dataclasses.asdict(config), CaptionNetwork(config).state_dict(), "")
    return str(directory)


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, color in [("a.png", "red"), ("b.jpg", "green"), ("deep/c.png", "blue")]:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(color).save(path)
    return tmp_path / "photos"
