"""Weights that take less room on disk: xz in pieces, which as many cores as there are unpack side by side.

Comes in: bytes. Goes out: a file that `xz --decompress` reads as well, and the lengths of its pieces; and
back. Tables of n-grams shrink to three fifths; weights of networks are as good as random, and hardly shrink.
"""

from __future__ import annotations

import lzma
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

# Bytes of a piece before it is compressed.
_PIECE = 1 << 22

# So many at most: a few kilobytes could else say that they are gigabytes.
_MOST_PIECES = 64

# Memory that unpacking a piece may take: what xz's default level needs.
_MEMORY = 1 << 25


def compress(data: bytes) -> tuple[bytes, list[int]]:
    """Data as an xz file, and the length of each of its pieces in it.

    Raises:
        ValueError: for more than 256 MB.
    """
    starts = range(0, max(1, len(data)), _PIECE)
    if len(starts) > _MOST_PIECES:
        raise ValueError(f"{len(data):,} bytes are too many to compress")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pieces = list(pool.map(lzma.compress, (data[start : start + _PIECE] for start in starts)))
    return b"".join(pieces), [len(piece) for piece in pieces]


def decompress(data: bytes, lengths: Sequence[int]) -> bytes:
    """What `compress` was given.

    A piece is never unpacked to more than it can have held, whatever its bytes say.

    Raises:
        ValueError: if it gave nothing of the kind.
    """
    if len(lengths) > _MOST_PIECES:
        raise ValueError(f"it cannot have {len(lengths):,} pieces")
    if any(type(length) is not int or length < 1 for length in lengths) or sum(lengths) != len(data):
        raise ValueError("its pieces are not as long as is said")
    ends = accumulate(lengths)
    pieces = (data[end - length : end] for end, length in zip(ends, lengths, strict=True))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return b"".join(pool.map(_unpacked, pieces))


def _unpacked(piece: bytes) -> bytes:
    """One piece."""
    unpacking = lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY)
    try:
        data = unpacking.decompress(piece, _PIECE)
    except lzma.LZMAError as error:
        raise ValueError(f"a piece is no xz file: {error}") from error
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("a piece holds more or less than it must")
    return data
