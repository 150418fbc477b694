"""Which files hold sound: the suffixes that they have, and the bytes with which they begin."""

from __future__ import annotations

from collections.abc import Callable

# Folders are searched for these; a file that is named may be called anything.
SUFFIXES = tuple(
    f".{name}"
    for name in (
        # sound as it is, then compressed
        "wav wave w64 rf64 bwf aif aiff aifc caf au snd voc sph "
        "flac wv ape tta tak shn mp3 mp2 mpga aac ac3 eac3 dts "
        "m4a m4b m4r mka ogg oga opus spx wma asf weba ra mpc "
        # of telephones and dictating machines
        "amr awb gsm 3ga qcp dss "
        # films
        "mp4 m4v mov qt mkv webm avi wmv flv f4v ogv 3gp 3g2 ts mts m2ts m2t mpg mpeg vob rm rmvb mxf dv nut"
    ).split()
)

HEAD_BYTES = 4096  # that `begins_a_file` looks at

# Where it stands, and what: the signatures of containers.
_SIGNATURES = (
    (0, b"RIFF"),
    (0, b"RF64"),
    (0, b"riff"),  # Wave64
    (0, b"FORM"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (4, b"ftyp"),
    (4, b"moov"),
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF
    (0, b".snd"),
    (0, b"caff"),
    (0, b"#!AMR"),
    (0, b"FLV\x01"),
    (0, b"wvpk"),
    (0, b"MAC "),
    (0, b"TTA1"),
    (0, b"\x00\x00\x01\xba"),  # MPEG program stream
    (0, b"Creative Voice File"),
    (0, b"nut/multimedia container"),
)

# Thousands of bits per second of MPEG audio: of version 1, layers II and III, and of both in later versions.
_LAYER_2_RATES = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LAYER_3_RATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LATER_RATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_HERTZ = (44_100, 48_000, 32_000)


def begins_a_file(head: bytes) -> bool:
    """Whether something begins as a sound file, and not as raw samples.

    MP3, AAC and MPEG transport streams have no signature, only frames that follow each other: two are asked
    for, because chance makes one of every few thousand samples.

    Args:
        head: its first bytes, `HEAD_BYTES` or fewer.
    """
    if any(head.startswith(signature, place) for place, signature in _SIGNATURES):
        return True
    for first, length in ((0, 188), (4, 192)):  # MPEG transport stream; with times, as cameras write it
        if {head[place : place + 1] for place in range(first, 3 * length, length)} == {b"\x47"}:
            return True
    return any(_follows_itself(head, length) for length in (_mpeg_frame, _adts_frame, _ac3_frame))


def _follows_itself(head: bytes, frame_length: Callable[[bytes], int]) -> bool:
    """Whether two frames and the beginning of a third stand there."""
    place = 0
    for _ in range(3):
        length = frame_length(head[place : place + 8])
        if not length:
            return False
        place += length
    return place <= len(head) + length


def _mpeg_frame(header: bytes) -> int:
    """Bytes of the MPEG frame of layer II or III that begins so; 0 if none does (ISO 11172-3, 2.4.1.3)."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, hertz = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or rate in (0, 15) or hertz == 3:
        return 0
    rates = _LATER_RATES if version != 3 else _LAYER_2_RATES if layer == 2 else _LAYER_3_RATES
    sample_rate = _MP3_HERTZ[hertz] >> {3: 0, 2: 1, 0: 2}[version]
    eighths = 72 if version != 3 and layer == 3 else 144  # samples of a frame, over eight
    return eighths * 1000 * rates[rate] // sample_rate + (header[2] >> 1 & 1)


def _adts_frame(header: bytes) -> int:
    """Bytes of the AAC frame that begins so; 0 if none does (ISO 14496-3, 1.A.2)."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return 0
    return (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5


def _ac3_frame(header: bytes) -> int:
    """Bytes of the AC-3 (at 48 kHz) or E-AC-3 frame that begins so; 0 if none does (ATSC A/52, 5.4, E.2)."""
    if len(header) < 6 or header[:2] != b"\x0b\x77":
        return 0
    if header[5] >> 3 > 10:
        return 2 * (((header[2] & 7) << 8 | header[3]) + 1)
    if header[4] >> 6 or header[4] & 63 > 37:
        return 0
    kilobits = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
    return 4 * kilobits[(header[4] & 63) >> 1]
