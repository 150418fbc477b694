"""What containers say about their sound: when it begins, which track is meant, what of it is missing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import WRITTEN, Sound, tone, write

from common.errors import InputError
from speech.sound.audio import SAMPLE_RATE, AudioOptions, AudioReader, load_audio
from speech.sound.formats import SUFFIXES


def read(path: Path, options: AudioOptions | None = None) -> tuple[torch.Tensor, AudioReader]:
    """All samples (channels, samples), and the reader that gave them."""
    reader = AudioReader(path, options)
    return torch.cat(list(reader), dim=1), reader


def seconds_of_sound(samples: torch.Tensor) -> tuple[float, float]:
    """When the first and the last loud sample come."""
    loud = (samples[0].abs() > 0.05).nonzero().flatten() / SAMPLE_RATE
    return float(loud[0]), float(loud[-1])


@pytest.mark.parametrize(("suffix", "codec", "rate"), WRITTEN)
def test_every_format_that_can_be_written_here_is_read_whole_and_found_in_folders(
    tmp_path: Path, suffix: str, codec: str, rate: int
) -> None:
    assert f".{suffix}" in SUFFIXES
    path = tmp_path / f"tone.{suffix}"
    write(path, [tone(rate)], codec, rate)
    samples, reader = read(path)
    assert samples.shape[1] == pytest.approx(SAMPLE_RATE, abs=0.12 * SAMPLE_RATE)
    assert reader.offset_seconds == 0.0
    assert reader.warnings == []


# --- the clock -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "aac"), ("mkv", "aac"), ("mov", "pcm_s16le"), ("ts", "aac")]
)
def test_sound_that_begins_behind_the_pictures_says_when(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"late.{suffix}"
    write(path, [tone(SAMPLE_RATE)], codec, SAMPLE_RATE, begins=4.0, pictures=30)
    samples, reader = read(path)
    assert reader.offset_seconds == pytest.approx(4.0, abs=0.08)
    assert samples.shape[1] == pytest.approx(SAMPLE_RATE, abs=2100)
    assert reader.warnings == []


def test_a_pause_of_the_recorder_is_silence_of_its_length(tmp_path: Path) -> None:
    path = tmp_path / "paused.mkv"
    write(path, [tone(SAMPLE_RATE, 2.0)], "pcm_s16le", SAMPLE_RATE, pause=(1.0, 3.0))
    samples, reader = read(path)
    assert samples.shape[1] == pytest.approx(5 * SAMPLE_RATE, abs=100)
    assert not samples[0, round(1.1 * SAMPLE_RATE) : round(3.9 * SAMPLE_RATE)].any()
    assert seconds_of_sound(samples) == pytest.approx((0.0, 5.0), abs=0.01)
    assert reader.warnings == []


# --- tracks ----------------------------------------------------------------------------------------


def pitch(samples: torch.Tensor) -> float:
    """The strongest frequency in hertz."""
    spectrum = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs()
    return float(spectrum.argmax()) * SAMPLE_RATE / len(samples)


SILENT, LOW, HIGH = (
    tone(SAMPLE_RATE, hertz=hertz, level=level) for hertz, level in [(1, 0), (300, 0.3), (900, 0.3)]
)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize(
    ("tracks", "default", "expected"),
    [
        ([SILENT, HIGH], 2, 900),
        ([LOW, HIGH], 2, 900),
        ([LOW, HIGH], 1, 300),
        ([SILENT, HIGH], 1, 900),  # the one that is marked is silent: the first with sound
        ([SILENT, SILENT, LOW], 2, 300),
    ],
)
def test_the_default_track_is_heard_or_else_the_first_with_sound(
    tmp_path: Path, suffix: str, tracks: list[Sound], default: int, expected: int
) -> None:
    path = tmp_path / f"talk.{suffix}"
    write(path, tracks, "aac", SAMPLE_RATE, default=default)
    assert pitch(load_audio(path)) == pytest.approx(expected, abs=20)
    assert pitch(load_audio(io.BytesIO(path.read_bytes()))) == pytest.approx(expected, abs=20)


def test_a_track_can_be_chosen_and_a_wrong_number_says_how_many_there_are(tmp_path: Path) -> None:
    path = tmp_path / "talk.mkv"
    write(path, [LOW, HIGH], "aac", SAMPLE_RATE, default=1)
    assert pitch(read(path, AudioOptions(track=2))[0][0]) == pytest.approx(900, abs=20)
    with pytest.raises(InputError, match=r"talk\.mkv: has 2 sound tracks, and no track 3"):
        read(path, AudioOptions(track=3))


# --- channels --------------------------------------------------------------------------------------


def stereo(left: Sound, right: Sound) -> Sound:
    return np.concatenate([left, right])


@pytest.mark.parametrize("share", [-1.0, -0.9])
def test_where_channels_cancel_each_other_the_louder_one_is_heard(tmp_path: Path, share: float) -> None:
    path = tmp_path / "inverted.wav"
    noise = 0.003 * np.random.default_rng(0).standard_normal((2, SAMPLE_RATE // 2)).astype(np.float32)
    sound = np.concatenate([noise, stereo(LOW, np.float32(share) * LOW)], axis=1)
    write(path, [sound], "pcm_s16le", SAMPLE_RATE)
    heard = load_audio(path)[-len(LOW[0]) + 2000 :]
    torch.testing.assert_close(heard, torch.from_numpy(LOW[0, 2000:]), atol=1e-3, rtol=0)


def test_channels_that_have_nothing_in_common_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "both.wav"
    write(path, [stereo(LOW, HIGH)], "pcm_s16le", SAMPLE_RATE)
    expected = torch.from_numpy((LOW + HIGH)[0] / 2)
    torch.testing.assert_close(load_audio(path), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_channels_can_be_read_apart(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "both.wav"
    write(path, [stereo(tone(rate, hertz=300), tone(rate, hertz=900))], "pcm_s16le", rate)
    samples, _ = read(path, AudioOptions(split_channels=True))
    assert samples.shape == (2, pytest.approx(SAMPLE_RATE, abs=50))
    assert [pitch(channel) for channel in samples] == pytest.approx([300, 900], abs=5)


# --- damage ----------------------------------------------------------------------------------------


def scratched(path: Path, share: float = 0.1) -> Path:
    """Overwrite a stretch in the middle of a file with noise."""
    data = path.read_bytes()
    middle, length = len(data) // 2, round(share * len(data))
    noise = np.random.default_rng(1).bytes(length)
    path.write_bytes(data[:middle] + noise + data[middle + length :])
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [
        ("flac", "flac", 16_000),
        ("mp3", "libmp3lame", 22_050),
        ("m4a", "aac", 22_050),
        ("opus", "libopus", 48_000),
        ("webm", "libopus", 48_000),
        ("ts", "aac", 22_050),
        ("amr", "libopencore_amrnb", 8000),
    ],
)
def test_broken_frames_are_said(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    path = tmp_path / f"scratched.{suffix}"
    write(path, [tone(rate, 3.0)], codec, rate)
    (warning,) = read(scratched(path))[1].warnings
    assert warning.startswith(("damaged", "cannot be read beyond"))


def test_the_time_behind_broken_frames_stays_right(tmp_path: Path) -> None:
    path = tmp_path / "scratched.flac"
    write(path, [tone(SAMPLE_RATE, 3.0)], "flac", SAMPLE_RATE)
    samples, reader = read(scratched(path))
    assert samples.shape[1] == pytest.approx(3 * SAMPLE_RATE, abs=100)
    assert "of its 3.0 s are missing" in reader.warnings[0]


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 16_000),
        ("flac", "flac", 16_000),
        ("mp3", "libmp3lame", 22_050),
        ("aac", "aac", 22_050),
        ("opus", "libopus", 48_000),
        ("webm", "libopus", 48_000),
        ("ts", "aac", 22_050),
        ("aiff", "pcm_s16be", 22_050),
        ("amr", "libopencore_amrnb", 8000),
    ],
)
def test_a_file_that_was_cut_short_is_read_and_said(
    tmp_path: Path, suffix: str, codec: str, rate: int
) -> None:
    path = tmp_path / f"cut.{suffix}"
    write(path, [tone(rate, 3.0)], codec, rate)
    path.write_bytes(path.read_bytes()[: round(0.6 * path.stat().st_size) + 1])
    samples, reader = read(path)
    assert 0.9 * SAMPLE_RATE < samples.shape[1] < 2.9 * SAMPLE_RATE
    assert len(reader.warnings) == 1


def test_a_chained_ogg_is_read_as_far_as_its_codec_and_says_that_more_is_there(tmp_path: Path) -> None:
    files = {}
    for codec in ("libopus", "flac"):
        files[codec] = io.BytesIO()
        write(files[codec], [tone(48_000, 1.5)], codec, 48_000, format="ogg")
    opus, flac = (file.getvalue() for file in files.values())
    path = tmp_path / "chained.ogg"
    path.write_bytes(opus + opus)
    samples, reader = read(path)
    assert samples.shape[1] == pytest.approx(3 * SAMPLE_RATE, abs=500)
    assert reader.warnings == []
    path.write_bytes(opus + flac)
    samples, reader = read(path)
    assert samples.shape[1] == pytest.approx(1.5 * SAMPLE_RATE, abs=500)
    assert reader.warnings[0].startswith("cannot be read beyond 1.5 s")


def ogg_checksum(page: bytes) -> int:
    """Of a page whose own checksum is 0; see RFC 3533, section 6."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x104C11DB7 if value >> 31 else 0)
    return value


def test_what_opus_is_to_drop_at_its_beginning_is_not_missing() -> None:
    file = io.BytesIO()
    write(file, [tone(48_000, 3.0)], "libopus", 48_000, format="ogg")
    data = bytearray(file.getvalue())
    end, head = data.index(b"OggS", 4), data.index(b"OpusHead")
    data[head + 10 : head + 12] = (60_000).to_bytes(2, "little")
    data[22:26] = bytes(4)
    data[22:26] = ogg_checksum(bytes(data[:end])).to_bytes(4, "little")
    reader = AudioReader(io.BytesIO(data))
    assert sum(piece.shape[1] for piece in reader) / SAMPLE_RATE == pytest.approx(1.75, abs=0.05)
    assert reader.warnings == []


def test_a_track_that_begins_midway_in_a_broadcast_hinders_nothing() -> None:
    file = io.BytesIO()
    write(file, [tone(48_000, 3.0)], "ac3", 48_000, format="mpegts")
    packets = [file.getvalue()[start : start + 188] for start in range(0, len(file.getvalue()), 188)]
    sound = packets[len(packets) // 2 :]
    # ISO/IEC 13818-1, 2.4.3.2: thirteen bits behind the first byte are the number of the packet's track.
    others = [one[:1] + (int.from_bytes(one[1:3], "big") ^ 7).to_bytes(2, "big") + one[3:] for one in sound]
    mixed = [one for pair in zip(sound, others, strict=True) for one in pair]
    reader = AudioReader(io.BytesIO(b"".join([*packets[: len(packets) // 2], *mixed])))
    seconds = sum(piece.shape[1] for piece in reader) / SAMPLE_RATE
    assert seconds == pytest.approx(3.0, abs=0.05)


def test_a_damaged_clock_makes_no_hours_of_silence() -> None:
    file = io.BytesIO()
    write(file, [tone(22_050, 0.3)], "pcm_s16le", 22_050, format="caf")
    data = bytearray(file.getvalue())
    frames = data.index(b"desc") + 12 + 20  # of a packet
    assert data[frames : frames + 4] == (1).to_bytes(4, "big")
    data[frames : frames + 4] = (0x20001).to_bytes(4, "big")
    reader = AudioReader(io.BytesIO(data))
    assert sum(piece.shape[1] for piece in reader) / SAMPLE_RATE < 3700.0
    assert reader.warnings[0].startswith("damaged")
