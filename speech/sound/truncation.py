"""Whether a file was cut short, of formats of which FFmpeg reads what is there and says nothing.

A download or a recording that was interrupted ends so: an MP3 has fewer frames than its first one counts, the
last page of an Ogg is not whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_HEAD = 4096  # bytes behind an ID3 tag, in which the count of frames stands
_TAIL = 1 << 17  # two pages of Ogg, which have 65,307 bytes at most
_TOLERANCE_SECONDS = 0.3  # what encoders add at both ends, and decoders take off again

_MP3_HERTZ = (44_100, 48_000, 32_000)


def cut_short(source: str | Path | BinaryIO, formats: frozenset[str], seconds: float) -> str:
    """Why what was read of a file cannot be all; empty if it can.

    Args:
        source: the file; an open one is left where it stood.
        formats: FFmpeg's names for its format.
        seconds: that were read.
    """
    if not formats & {"mp3", "ogg"}:
        return ""
    if isinstance(source, str | Path):
        if not Path(source).is_file():
            return ""
        with Path(source).open("rb") as file:
            return cut_short(file, formats, seconds)
    if not source.seekable():
        return ""
    place = source.tell()
    try:
        if "mp3" in formats:
            source.seek(0)
            stated = mp3_seconds(source)
            if stated - seconds > _TOLERANCE_SECONDS:
                return f"damaged or cut short: {stated - seconds:.1f} of its {stated:.1f} s are missing"
        else:
            source.seek(max(0, source.seek(0, 2) - _TAIL))
            if not ends_with_a_page(source.read(_TAIL)):
                return f"cut short: it ends in the middle, after {seconds:.1f} s"
    finally:
        source.seek(place)
    return ""


def mp3_seconds(file: BinaryIO) -> float:
    """How long an MP3 says that it is, in the frame that encoders write before all; 0 if it does not."""
    tag = file.read(10)
    behind = 0
    if tag[:3] == b"ID3" and len(tag) == 10:
        behind = 10 + sum((byte & 127) << 7 * (3 - place) for place, byte in enumerate(tag[6:]))
    file.seek(behind)
    frame = file.read(_HEAD)
    count = max(frame.find(b"Xing", 0, 64), frame.find(b"Info", 0, 64))
    if count < 4 or frame[0] != 0xFF or not frame[count + 7] & 1 or frame[2] >> 2 & 3 == 3:
        return 0.0
    version = frame[1] >> 3 & 3  # 3 is MPEG-1; 2 has half of its rates, 0 a quarter
    rate = _MP3_HERTZ[frame[2] >> 2 & 3] >> {3: 0, 2: 1}.get(version, 2)
    frames = int.from_bytes(frame[count + 8 : count + 12], "big")
    return frames * (1152 if version == 3 else 576) / rate


def ends_with_a_page(tail: bytes) -> bool:
    """Whether the last page of an Ogg is whole (RFC 3533, section 6).

    Args:
        tail: its last bytes, more than a page.
    """
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
