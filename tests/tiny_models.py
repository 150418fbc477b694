"""Untrained models for the pages and what is said into them: the one place that looks behind public names."""

from __future__ import annotations

import numpy as np
import torch
from networks import tiny_network

from caption import Captioner
from caption.model.network import CaptionConfig, CaptionNetwork
from caption.model.text import SPECIAL
from demos import speech_page
from speech import Recognizer
from speech.sound.audio import load_audio


def tiny() -> Recognizer:
    """An untrained recogniser."""
    return Recognizer(tiny_network(), "tiny")


def tiny_captioner() -> Captioner:
    """An untrained captioner of three words."""
    torch.manual_seed(0)
    words = (*SPECIAL, "a", "dog", "runs")
    config = CaptionConfig(words, hidden_size=8, embedding_size=8, attention_size=8, context_size=8)
    return Captioner(CaptionNetwork(config), "tiny")


def sentence() -> np.ndarray:
    """(samples,) int16 at 16 kHz of a sentence that comes with the recogniser."""
    return (load_audio(speech_page.SAMPLES / "city.opus").numpy() * 32767).astype(np.int16)
