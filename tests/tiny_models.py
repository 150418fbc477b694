"""Untrained models for the pages and what is said into them: the one place that looks behind public names."""

from __future__ import annotations

import numpy as np
import torch
from networks import tiny_caption_config, tiny_network

from caption import Captioner
from caption.model.network import CaptionNetwork
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
    return Captioner(CaptionNetwork(tiny_caption_config(words)), "tiny")


def sentence() -> np.ndarray:
    """(samples,) int16 at 16 kHz of a sentence that comes with the recogniser."""
    return (load_audio(speech_page.SAMPLES / "city.opus").numpy() * 32767).astype(np.int16)
