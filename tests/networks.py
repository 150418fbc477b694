"""Untrained networks, small enough for tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from common.models.files import write_model
from speech.model.network import SpeechConfig, SpeechNetwork
from speech.model.subwords import LETTER_SYMBOLS
from speech.training.pronunciations import PHONES


def tiny_network() -> SpeechNetwork:
    """A recogniser's network; the same one each time."""
    torch.manual_seed(0)
    config = SpeechConfig(LETTER_SYMBOLS, PHONES, channels=8, hidden_size=8, lower_layers=1, upper_layers=1)
    return SpeechNetwork(config)


def write_tiny_model(directory: Path) -> Path:
    """Write `tiny_network` as a model directory, and give its path back."""
    network = tiny_network()
    write_model(directory, dataclasses.asdict(network.config), network.state_dict(), "# Tiny\n")
    return directory
