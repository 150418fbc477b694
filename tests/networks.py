"""Untrained networks, small enough for tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from caption.model.network import CaptionConfig
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


def tiny_caption_config(words: Sequence[str], **changes: Any) -> CaptionConfig:
    """A captioner's configuration, all its sizes 8 but for the changes."""
    sizes = dict.fromkeys(("hidden_size", "embedding_size", "attention_size", "context_size"), 8)
    return CaptionConfig(tuple(words), **{**sizes, **changes})
