"""What each stage of recognising costs: from a file on the disk to the text that is written.

Comes in: a recording in a file, which `encode` writes. Goes out: the processor's seconds by stage, and the
transcript.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import torch
from torch import Tensor

from speech.options import DecodingOptions
from speech.output.writers import WRITERS
from speech.placing.alignment import Word, forced_path, words_of_path
from speech.pool import SegmentFeatures, batches
from speech.recognizer import Recognizer
from speech.sound.audio import SAMPLE_RATE, AudioReader
from speech.sound.segments import RecordingSplitter
from speech.transcript import Transcript, joined

STAGES = ("read", "detect", "features", "network", "search", "place", "write")


class StageCosts:
    """The processor's seconds that each stage took, the threads of this process together.

    The processor's, because a machine that has other things to do lets work wait, but adds little to it.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """What is done here is a part of a stage."""
        started = time.process_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.process_time() - started


@torch.inference_mode()
def stage_costs(
    recognizer: Recognizer, path: Path, options: DecodingOptions, batch_size: int = 32
) -> tuple[dict[str, float], Transcript]:
    """Recognise a recording stage by stage: what `speech transcribe` does, but nothing beside another.

    Args:
        recognizer: that does it.
        path: of the recording, of which the channels are mixed.
        options: how the text is found.
        batch_size: segments that go through the network together, at most.

    Returns:
        Seconds by stage, and the transcript.

    Raises:
        InputError: if the recording cannot be read.
    """
    acoustic = recognizer.acoustic
    decoder = recognizer.finder.decoder(options)  # reads the words now and not in a stage
    splitter = RecordingSplitter(recognizer.detector())
    costs = StageCosts()
    with costs.of("read"):
        pieces = list(AudioReader(path))
    with costs.of("detect"):
        found = [segment for piece in pieces for segment in splitter.feed(piece[0])]
        found += splitter.finish()
    with costs.of("features"):
        segments = [
            SegmentFeatures(
                0, index, one.start_seconds, acoustic.log_mel(one.samples), len(one.samples) / SAMPLE_RATE
            )
            for index, one in enumerate(found)
        ]
    words: dict[int, tuple[Word, ...]] = {}
    for batch in batches(segments, batch_size):
        with costs.of("network"):
            emissions = acoustic.emissions(batch)
        with costs.of("search"):
            texts = recognizer.finder.texts(emissions, decoder)
        with costs.of("place"):
            for segment, one, text in zip(batch, emissions, texts, strict=True):
                symbols = forced_path(one.log_probs, text.symbols)
                words[segment.index] = words_of_path(symbols, one, acoustic.subwords, acoustic.step_seconds)
    with costs.of("write"):
        parts = [words[index] for index in sorted(words)]
        duration = sum(piece.shape[1] for piece in pieces) / SAMPLE_RATE
        transcript = joined(parts, [None] * len(parts), duration)
        for write in WRITERS.values():
            write(transcript, str(path))
    return costs.seconds, transcript


def encode(path: Path, samples: Tensor, codec: str = "libopus", rate: int = 48_000) -> None:
    """Write samples (samples,) at 16 kHz as a recording in stereo, as most are.

    Args:
        path: of the file; its suffix is the container's.
        samples: about -1 to 1.
        codec: FFmpeg's name of the encoder.
        rate: samples a second in the file.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        convert = av.AudioResampler(format=stream.format.name, layout="stereo", rate=rate)
        for piece in samples.split(SAMPLE_RATE):
            frame = av.AudioFrame.from_ndarray(piece.numpy()[None], format="fltp", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            for converted in convert.resample(frame):
                container.mux(stream.encode(converted))
        for rest in convert.resample(None):
            container.mux(stream.encode(rest))
        container.mux(stream.encode(None))
