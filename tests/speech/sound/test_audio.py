"""The door for sound: every container, rate and number of channels, and every kind of damage."""

from __future__ import annotations

import io
import os
import socket
import threading
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from common.errors import InputError, shown
from speech.sound.audio import (
    SAMPLE_RATE,
    AudioOptions,
    AudioReader,
    load_audio,
    read_audio,
    require_sound,
)

SAMPLE = Path(__file__).parents[3] / "speech" / "samples" / "tags.opus"


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    """A sine of (samples,) float32."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    """16-bit PCM; samples (samples,) or (samples, channels)."""
    channels = samples[:, None] if samples.ndim == 1 else samples
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((channels * 32767).astype("<i2").tobytes())
    return path


def encode(path: Path, codec: str, samples: np.ndarray, rate: int, layout: str = "mono") -> Path:
    """Write (channels, samples) float32 with one of FFmpeg's encoders."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def write_video(path: Path, sound: np.ndarray | None) -> Path:
    """A second of grey pictures, with sound or without."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
        if sound is not None:
            speech = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="rgb24")
            for packet in pictures.encode(picture):
                container.mux(packet)
        for packet in pictures.encode(None):
            container.mux(packet)
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            for packet in [*speech.encode(frame), *speech.encode(None)]:
                container.mux(packet)
    return path


def pitch(samples: torch.Tensor) -> float:
    """The strongest frequency in hertz."""
    spectrum = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs()
    return float(spectrum.argmax()) * SAMPLE_RATE / len(samples)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_any_rate_and_number_of_channels_gives_the_same_sound(
    tmp_path: Path, rate: int, channels: int
) -> None:
    sound = np.repeat(tone(rate)[:, None], channels, axis=1)
    samples = load_audio(write_wav(tmp_path / "tone.wav", sound, rate))
    assert samples.dtype == torch.float32
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=2)
    expected = torch.from_numpy(tone(SAMPLE_RATE))[: len(samples)]
    torch.testing.assert_close(samples[500:-500], expected[500 : len(samples) - 500], atol=2e-3, rtol=0)


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.stack([tone(SAMPLE_RATE), np.zeros(SAMPLE_RATE, np.float32)], axis=1)
    samples = load_audio(write_wav(tmp_path / "half.wav", both))
    torch.testing.assert_close(samples, torch.from_numpy(tone(SAMPLE_RATE)) / 2, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44100),
        ("a.m4a", "aac", 44100),
        ("a.flac", "flac", 16000),
        ("a.ogg", "libopus", 48000),
        ("a.opus", "libopus", 48000),
        ("a.webm", "libopus", 48000),
        ("a.mkv", "pcm_s16le", 16000),
        ("a.aiff", "pcm_s16be", 22050),
        ("a.wav", "pcm_u8", 8000),
        ("a.wav", "pcm_f32le", 48000),
    ],
)
def test_any_container_is_read(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    layout = "stereo" if name.endswith((".mp3", ".ogg")) else "mono"
    sound = np.stack([tone(rate, seconds=1.0)] * (2 if layout == "stereo" else 1))
    if codec in ("flac", "pcm_s16le", "pcm_s16be", "pcm_u8"):
        path = _encode_integers(tmp_path / name, codec, sound, rate, layout)
    else:
        path = encode(tmp_path / name, codec, sound, rate, layout)
    samples = load_audio(path)
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
    assert pitch(samples) == pytest.approx(440.0, abs=3.0)


def _encode_integers(path: Path, codec: str, samples: np.ndarray, rate: int, layout: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate = rate
        convert = av.AudioResampler(format="u8" if codec == "pcm_u8" else "s16")
        for converted in convert.resample(frame):
            for packet in [*stream.encode(converted), *stream.encode(None)]:
                container.mux(packet)
    return path


def test_the_sound_track_of_a_video_is_read(tmp_path: Path) -> None:
    samples = load_audio(write_video(tmp_path / "talk.mp4", tone(SAMPLE_RATE)))
    assert pitch(samples[2000:-2000]) == pytest.approx(440.0, abs=3.0)


def test_an_open_file_is_read_like_its_path() -> None:
    torch.testing.assert_close(load_audio(io.BytesIO(SAMPLE.read_bytes())), load_audio(SAMPLE))


def test_reading_piece_by_piece_gives_the_whole() -> None:
    pieces = list(read_audio(SAMPLE))
    assert len(pieces) >= 3
    assert max(map(len, pieces)) < 1.1 * SAMPLE_RATE
    assert torch.equal(torch.cat(pieces), load_audio(SAMPLE))


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.opus", "libopus", 48000), ("a.mp3", "libmp3lame", 44100), ("a.wav", "pcm_f32le", 8000)],
)
def test_what_is_read_does_not_depend_on_how_much_is_gathered(
    tmp_path: Path, name: str, codec: str, rate: int
) -> None:
    generator = np.random.default_rng(1)
    sound = tone(rate, 3.3) + generator.normal(scale=0.1, size=(2, round(3.3 * rate))).astype(np.float32)
    path = encode(tmp_path / name, codec, sound, rate, "stereo")
    for options in (AudioOptions(), AudioOptions(split_channels=True)):
        at_once = list(AudioReader(path, options, piece_seconds=0.0))
        gathered = list(AudioReader(path, options))
        assert len(gathered) <= 5 < len(at_once)
        assert torch.equal(torch.cat(gathered, dim=1), torch.cat(at_once, dim=1))


def test_sound_whose_rate_changes_midway_loses_nothing(tmp_path: Path) -> None:
    halves = [
        encode(tmp_path / f"{rate}.mp3", "libmp3lame", tone(rate, 1.3)[None], rate).read_bytes()
        for rate in (44100, 16000)
    ]
    (tmp_path / "both.mp3").write_bytes(b"".join(halves))
    alone = [load_audio(tmp_path / f"{rate}.mp3") for rate in (44100, 16000)]
    samples = load_audio(tmp_path / "both.mp3")
    assert len(samples) == pytest.approx(sum(map(len, alone)), abs=0.15 * SAMPLE_RATE)
    assert pitch(samples[:SAMPLE_RATE]) == pytest.approx(440.0, abs=3.0)
    assert pitch(samples[-SAMPLE_RATE:]) == pytest.approx(440.0, abs=3.0)


def test_samples_that_are_no_numbers_count_as_nothing(tmp_path: Path) -> None:
    sound = tone(SAMPLE_RATE)
    sound[100], sound[200], sound[300] = np.nan, np.inf, -np.inf
    samples = load_audio(encode(tmp_path / "broken.wav", "pcm_f32le", sound[None], SAMPLE_RATE))
    assert samples.isfinite().all()
    assert not samples[[100, 200, 300]].any()


def test_a_clip_of_a_twentieth_of_a_second_is_read(tmp_path: Path) -> None:
    assert len(load_audio(write_wav(tmp_path / "short.wav", tone(SAMPLE_RATE, 0.05)))) == 800


def test_a_recording_with_a_scratch_is_read_around_it(tmp_path: Path) -> None:
    path = encode(tmp_path / "scratched.mp3", "libmp3lame", tone(44100, 4.0)[None], 44100)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    assert len(load_audio(path)) > 2.5 * SAMPLE_RATE


def test_what_can_be_decoded_of_a_file_that_was_cut_is_read(tmp_path: Path) -> None:
    path = encode(tmp_path / "cut.webm", "libopus", tone(48000, 4.0)[None], 48000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert SAMPLE_RATE < len(load_audio(path)) < 3 * SAMPLE_RATE


def test_pieces_that_cannot_be_decoded_are_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = encode(tmp_path / "scratched.mp3", "libmp3lame", tone(44100, 4.0)[None], 44100)
    data = path.read_bytes()
    noise = np.random.default_rng(1).bytes(3000)
    path.write_bytes(data[: len(data) // 2] + noise + data[len(data) // 2 + len(noise) :])
    assert len(load_audio(path)) > 3 * SAMPLE_RATE
    assert f"{path}: damaged" in caplog.text


@pytest.mark.parametrize("name", ["12:30.wav", "concat:a.wav", "-x.wav", "%03d.wav", "caf\udce9.wav"])
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        write_wav(Path(name), tone(SAMPLE_RATE))
    except (OSError, UnicodeError):
        pytest.skip("no file may have this name here")
    assert len(load_audio(name)) == SAMPLE_RATE


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_read(tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "tone.wav", tone(SAMPLE_RATE)).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[sound], daemon=True)
    writer.start()
    assert len(load_audio(pipe)) == SAMPLE_RATE
    writer.join(timeout=5)


def test_absurdly_large_samples_count_as_nothing(tmp_path: Path) -> None:
    sound = tone(SAMPLE_RATE)
    sound[100], sound[200] = 1e30, -3e38
    samples = load_audio(encode(tmp_path / "broken.wav", "pcm_f32le", sound[None], SAMPLE_RATE))
    assert not samples[[100, 200]].any()
    assert float(samples.abs().max()) <= 0.501


def test_a_playlist_opens_no_connection(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.1)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path = tmp_path / "talk.m3u8"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(InputError):
            load_audio(path)
        with pytest.raises(TimeoutError):
            server.accept()


def bad_files(folder: Path) -> dict[str, Path]:
    """A file for each reason to refuse it."""
    paths = {
        "missing": folder / "missing.wav",
        "folder": folder,
        "empty": folder / "empty.wav",
        "text": folder / "text.wav",
        "header": folder / "header.wav",
        "silent": write_wav(folder / "silent.wav", np.zeros(SAMPLE_RATE, np.float32)),
        "no samples": write_wav(folder / "none.wav", np.zeros(0, np.float32)),
        "constant": write_wav(folder / "constant.wav", np.full(SAMPLE_RATE, 0.3, np.float32)),
        "noise": folder / "noise.mp3",
        "one hertz": write_wav(folder / "slow.wav", tone(SAMPLE_RATE), rate=1),
        "null": folder / "a\0b.wav",
        "video": write_video(folder / "silent.mp4", None),
    }
    paths["noise"].write_bytes(np.random.default_rng(0).bytes(200_000))
    paths["empty"].touch()
    paths["text"].write_text("this is no sound\n" * 100)
    paths["header"].write_bytes(SAMPLE.read_bytes()[:40])
    return paths


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder"),
        ("empty", "is empty"),
        ("text", "is not a sound file"),
        ("header", "is not a sound file"),
        ("silent", "no sound in this file (1.0 s); was it recorded?"),
        ("no samples", "no sound in this file (0.0 s); was it recorded?"),
        ("constant", "no sound in this file (1.0 s); was it recorded?"),
        ("noise", "is damaged: nothing of it can be decoded"),
        ("one hertz", "a sample rate of 1 Hz is no sound"),
        ("null", "no such file"),
        ("video", "has no sound track"),
    ],
)
def test_a_bad_file_gives_one_line_that_names_it_and_the_reason(
    tmp_path: Path, kind: str, reason: str
) -> None:
    path = bad_files(tmp_path)[kind]
    with pytest.raises(InputError) as caught:
        load_audio(path)
    line = str(caught.value)
    assert line.startswith(f"{shown(path)}: ")
    assert reason in line
    assert "\n" not in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "secret.wav", tone(SAMPLE_RATE))
    path.chmod(0)
    with pytest.raises(InputError, match="permissions"):
        load_audio(path)


def test_samples_handed_over_are_checked_as_well() -> None:
    with pytest.raises(InputError, match="no sound"):
        require_sound(torch.zeros(100), "samples")
    with pytest.raises(InputError, match="not finite"):
        require_sound(torch.tensor([0.1, float("nan"), 0.3]), "samples")
