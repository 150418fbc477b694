"""Small recordings for tests: tones and videos, in any container that PyAV writes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

Sound = NDArray[np.float32]  # (channels, samples)

# Suffix, codec, rate of what PyAV writes here.
WRITTEN = (
    *(("wav", "pcm_s16le", 16_000), ("w64", "pcm_s16le", 16_000), ("au", "pcm_s16be", 8000)),
    *(("aif", "pcm_s16be", 22_050), ("aiff", "pcm_s16be", 22_050), ("aifc", "pcm_alaw", 8000)),
    *(("caf", "pcm_s16le", 22_050), ("voc", "pcm_s16le", 22_050), ("flac", "flac", 16_000)),
    *(("wv", "wavpack", 22_050), ("tta", "tta", 22_050), ("mp3", "libmp3lame", 22_050)),
    *(("mp2", "mp2", 22_050), ("aac", "aac", 22_050), ("ac3", "ac3", 48_000), ("eac3", "eac3", 48_000)),
    *(("m4a", "aac", 22_050), ("m4b", "aac", 22_050), ("m4v", "aac", 22_050), ("mp4", "aac", 22_050)),
    *(("mov", "pcm_s16le", 22_050), ("3gp", "libopencore_amrnb", 8000), ("amr", "libopencore_amrnb", 8000)),
    *(("ogg", "libopus", 48_000), ("opus", "libopus", 48_000), ("oga", "flac", 16_000)),
    *(("spx", "libopus", 48_000), ("webm", "libopus", 48_000), ("mka", "libopus", 48_000)),
    *(("mkv", "aac", 22_050), ("ts", "aac", 22_050), ("mts", "ac3", 48_000), ("m2ts", "ac3", 48_000)),
    *(("flv", "aac", 22_050), ("mpg", "mp2", 44_100), ("mpeg", "mp2", 44_100), ("vob", "mp2", 44_100)),
    *(("avi", "libmp3lame", 22_050), ("nut", "libopus", 48_000), ("f4v", "aac", 22_050)),
)


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0, level: float = 0.3) -> Sound:
    """A sine (1, samples)."""
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)
    return wave.astype(np.float32)[None]


def write(
    path: Path | io.BytesIO,
    tracks: Sequence[Sound],
    codec: str,
    rate: int,
    begins: float = 0.0,
    default: int | None = None,
    pictures: int = 0,
    format: str | None = None,
    pause: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Write sound tracks.

    Args:
        path: where they go.
        tracks: (channels, samples) each.
        codec, rate: of all of them.
        begins: second at which they begin.
        default: number from 1 of the track that is marked as default.
        pictures: grey ones, five a second, before which the sound waits.
        format: of the container, where the suffix does not tell.
        pause: a second of the sound, and the seconds for which nothing is written behind it.
    """
    with av.open(path if isinstance(path, io.BytesIO) else str(path), "w", format=format) as container:
        video = None
        if pictures:
            video = container.add_stream("mpeg4", rate=5)
            video.width = video.height = 16
            video.pix_fmt = "yuv420p"
        streams = []
        for number, sound in enumerate(tracks, 1):
            layout = {1: "mono", 2: "stereo"}[len(sound)]
            stream = container.add_stream(codec, rate=rate, layout=layout)
            assert isinstance(stream, av.AudioStream)
            streams.append(stream)
            if default is not None:
                stream.disposition = Disposition.default if number == default else Disposition(0)
        packets: list[av.Packet[Any]] = []
        if video is not None:
            picture = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 128, np.uint8), format="rgb24")
            packets += [packet for _ in range(pictures) for packet in video.encode(picture)]
            packets += video.encode(None)
        for stream, sound in zip(streams, tracks, strict=True):
            packets += _encoded(stream, sound, rate, begins, pause)
        packets.sort(key=lambda packet: float((packet.dts or 0) * packet.time_base))
        for packet in packets:
            container.mux(packet)


def _encoded(
    stream: av.AudioStream, sound: Sound, rate: int, begins: float, pause: tuple[float, float]
) -> list[av.Packet[av.AudioStream]]:
    """The packets of a track."""
    context = stream.codec_context
    layout = context.layout.name
    context.open()
    convert = av.AudioResampler(context.format, layout, rate, frame_size=context.frame_size or 1024)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    packets: list[av.Packet[av.AudioStream]] = []
    for one in [*convert.resample(frame), *convert.resample(None)]:
        assert one.pts is not None
        late = begins + (pause[1] if one.pts >= pause[0] * rate else 0.0)
        one.pts += round(late * rate)
        packets += stream.encode(one)
    return [packet for packet in [*packets, *stream.encode(None)] if packet.dts is not None]
