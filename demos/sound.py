"""What the speech page shows of a recording's sound: something to play, its picture, what the network writes.

Comes in: a file, a recogniser, a transcript. Goes out: samples, a WAV file, a picture as a data URL, spikes.
"""

from __future__ import annotations

import base64
import os
import wave
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import mkstemp

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from speech import InputError, Recognizer, Transcript, read_audio

RATE = 16_000  # hertz, of what is played and looked at
MOST_COLUMNS = 6000  # of the picture: at 10 ms each a minute; of longer recordings a column is more
SPIKE_SECONDS = 120.0  # spikes are looked for in recordings up to this length: the network hears them again

_AROUND = 0.3  # seconds before and after the words of a segment, which the network heard as well
_LEAST_SPIKE = 0.05  # a probability below this draws nothing
_BLANK = 0  # the first of the network's symbols

# From quiet to loud, the colours of the sound picture: readable on light and dark pages, and in grey.
_COLOURS = np.array(
    [[13, 8, 35], [68, 20, 104], [154, 43, 98], [228, 90, 49], [250, 175, 40], [252, 255, 200]]
)

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Spike:
    """A step in which the network writes something.

    Attributes:
        seconds: on the recording's clock.
        probability: of anything but CTC's blank, 0 to 1.
        symbol: the likeliest piece of a word.
    """

    seconds: float
    probability: float
    symbol: str


def samples_of(path: str, most_seconds: float) -> NDArray[np.int16]:
    """The sound of a file that the recogniser has read, as it heard it: (samples,) at `RATE`, channels mixed.

    What is damaged ends it early, as it does for the recogniser, which says so.
    """
    parts: list[NDArray[np.float32]] = []
    length = 0
    with suppress(InputError):
        for piece in read_audio(path):
            parts.append(piece.numpy())
            length += len(piece)
            if length > most_seconds * RATE:
                break
    sound = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return (sound * 32768).round().clip(-32768, 32767).astype(np.int16)


def write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    """Write samples (samples,) as a WAV file that every browser plays, whole or not at all."""
    handle, unfinished = mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    Path(unfinished).replace(path)


@torch.inference_mode()
def loudness(recognizer: Recognizer, samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """The log-mel picture of samples (samples,) at `RATE`: (frames, mels) in decibels, low pitches first.

    A minute after another, because the transform of an hour takes more than a gigabyte at once.
    """
    sound = torch.from_numpy(samples / np.float32(32768))
    log_mel = recognizer.acoustic.log_mel
    # Not `recognizer.loudness`, which refuses silence: a minute of it is nothing wrong.
    minutes = [log_mel.decibels(piece) for piece in sound.split(60 * RATE)]
    hops = 60 * RATE // log_mel.config.hop  # of a whole minute; one frame more stands on its end
    joined = torch.cat([minute[:hops] for minute in minutes[:-1]] + minutes[-1:])
    floor = joined.max() - log_mel.config.range_decibels  # a quiet minute has a lower one
    return joined.clamp_min(floor).numpy()


def paint(decibels: NDArray[np.float32]) -> Picture:
    """Loudness (frames, mels) in decibels -> a picture (mels, columns, 3), low pitches at the bottom.

    A column is a frame; of a long recording, the loudest of several.
    """
    if len(decibels) > MOST_COLUMNS:
        edges = np.linspace(0, len(decibels), MOST_COLUMNS + 1).astype(int)
        decibels = np.maximum.reduceat(decibels, edges[:-1], axis=0)
    low, high = float(decibels.min()), float(decibels.max())
    level = (decibels - low) / max(high - low, 1e-6) * (len(_COLOURS) - 1)
    below = np.clip(level.astype(int), 0, len(_COLOURS) - 2)
    share = (level - below)[..., None]
    colours = _COLOURS[below] * (1.0 - share) + _COLOURS[below + 1] * share  # (frames, mels, 3)
    return colours.astype(np.uint8).transpose(1, 0, 2)[::-1]


def data_url(image: Image.Image, kind: str = "webp", quality: int = 85) -> str:
    """An image as an address that holds it."""
    file = BytesIO()
    image.save(file, kind, quality=quality)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def spikes(recognizer: Recognizer, samples: NDArray[np.int16], transcript: Transcript) -> list[Spike]:
    """Where the network writes pieces of words (CTC's spikes, Graves et al. 2006), segment by segment.

    Args:
        recognizer: that hears.
        samples: (samples,) of the whole recording at `RATE`.
        transcript: of it; between its segments nothing is looked for.
    """
    sound = torch.from_numpy(samples / np.float32(32768))
    acoustic = recognizer.acoustic
    found: list[Spike] = []
    for segment in transcript.segments:
        begin = max(0.0, segment.start - transcript.offset - _AROUND)
        end = segment.end - transcript.offset + _AROUND
        piece = sound[round(begin * RATE) : round(end * RATE)]
        if not len(piece):
            continue
        log_probs, _ = acoustic.log_probs([acoustic.log_mel(piece)])  # (1, steps, symbols)
        probs = log_probs[0].float().exp()
        probs[:, _BLANK] = 0.0
        heights, symbols = probs.sum(dim=-1).tolist(), probs.argmax(dim=-1).tolist()
        found += [
            Spike(
                transcript.offset + begin + step * acoustic.step_seconds,
                height,
                acoustic.subwords.symbols[symbol],
            )
            for step, (height, symbol) in enumerate(zip(heights, symbols, strict=True))
            if height >= _LEAST_SPIKE
        ]
    return found
