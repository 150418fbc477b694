"""The `speech` command as a person uses it, with a tiny untrained model."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from helping import require_defaults, require_defaults_of, require_own_words
from networks import write_tiny_model
from recordings import write

from speech import Recognizer
from speech.arguments import make_speech_parser
from speech.cli import main
from speech.language.loading import load_language_model, write_language_model
from speech.language.options import CountOptions, LanguageModelOptions
from speech.language.recurrent import LanguageModelConfig, LanguageNetwork
from speech.language.vocabulary import SPECIAL
from speech.model.network import SpeechNetwork
from speech.options import TrainOptions
from speech.sound.audio import AudioOptions, load_audio
from speech.stream import Stream, Update

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "speech" / "samples"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder with three recordings, one of them in a folder of its own, and a text file."""
    folder = tmp_path / "recordings"
    (folder / "monday").mkdir(parents=True)
    for number, name in enumerate(["a.wav", "b.wav", "monday/c.wav"]):
        write_speech(folder / name, 0.9 + 0.4 * number, 0.5 + 0.3 * number)
    (folder / "notes.txt").write_text("no sound")
    return folder


def write_speech(path: Path, start: float, seconds: float) -> None:
    """Write a stretch of somebody's sentence."""
    sentence = load_audio(SAMPLES / "city.opus").numpy()
    said = sentence[round(16_000 * start) : round(16_000 * (start + seconds))]
    write_wav(path, said)


def write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_help_explains_every_option_in_words_of_its_own_and_shows_defaults_one_way() -> None:
    parser = make_speech_parser()
    require_own_words(parser)
    require_defaults(parser)
    require_defaults_of(parser, "train", TrainOptions)
    require_defaults_of(parser, "train-lm", LanguageModelOptions)
    require_defaults_of(parser, "count-lm", CountOptions)


def test_a_folder_becomes_transcripts_in_the_same_folders(
    recordings: Path, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    arguments = ["transcribe", str(recordings), "--format", "txt,json", "--output", str(output)]
    assert main([*arguments, "--model", str(model)]) == 0
    written = sorted(str(path.relative_to(output)) for path in output.rglob("[!.]*.*"))
    assert written == ["a.json", "a.txt", "b.json", "b.txt", "monday/c.json", "monday/c.txt"]
    told = json.loads((output / "monday" / "c.json").read_text())
    assert told["path"] == str(recordings / "monday" / "c.wav")
    assert told["duration"] == pytest.approx(1.1, abs=0.001)
    assert told["text"] == (output / "monday" / "c.txt").read_text().rstrip("\n")


def test_without_an_output_the_text_is_printed(
    recordings: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(recordings / "a.wav"), "--model", str(model)]) == 0
    alone = capsys.readouterr().out
    assert main(["transcribe", str(recordings), "--model", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert f"{recordings / 'a.wav'}\t{alone.rstrip()}" in [line.rstrip() for line in lines]


def test_a_bad_recording_is_one_line_and_the_others_are_done(
    recordings: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recordings / "bad.wav").write_text("no sound")
    (recordings / "empty.mp3").touch()
    output = tmp_path / "out"
    assert main(["transcribe", str(recordings), "--output", str(output), "--model", str(model)]) == 1
    errors = capsys.readouterr().err
    assert f"speech: {recordings / 'bad.wav'}: is not a sound file" in errors
    assert f"speech: {recordings / 'empty.mp3'}: is empty (0 bytes)" in errors
    assert len(list(output.rglob("*.txt"))) == 3


def test_what_is_done_is_passed_over_when_run_again(recordings: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ["transcribe", str(recordings), "--output", str(output), "--model", str(model)]
    assert main(arguments) == 0
    (output / "a.txt").write_text("mine")
    (output / "b.txt").unlink()
    assert main(arguments) == 0
    assert (output / "a.txt").read_text() == "mine"
    assert (output / "b.txt").is_file()
    assert main([*arguments, "--overwrite"]) == 0
    assert (output / "a.txt").read_text() != "mine"


def test_evaluate_prints_one_json_object(
    recordings: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = recordings / "dev.tsv"
    manifest.write_text("path\ttext\tspeaker\na.wav\tHello there.\tx\nmonday/c.wav\tyou\ty\n")
    assert main(["evaluate", str(manifest), "--json", "--model", str(model), "--beam", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"wer", "cer", "utterances", "audio_seconds", "seconds", "model", "decoding"}
    assert told["utterances"] == 2
    assert told["audio_seconds"] == pytest.approx(1.6, abs=0.001)
    assert told["decoding"] == "beam 2"
    assert told["model"] == "tiny"


def test_evaluate_takes_every_decoding_option_of_transcribe() -> None:
    subcommands = make_speech_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    shared = {"--model", "--device", "--threads", "--batch-size", "--beam", "--grammar", "--hotword"}
    shared |= {"--hotword-boost", "--language-model", "--lm-weight", "--word-bonus", "--words"}
    shared |= {"--open-vocabulary", "--exact", "--judge-share"}
    for name in ("transcribe", "evaluate"):
        assert shared <= set(subcommands[name]._option_string_actions)  # type: ignore[index]


@pytest.mark.parametrize("command", [["transcribe"], ["align", "--format", "txt"]])
@pytest.mark.parametrize("exact", [False, True])
def test_the_network_reckons_in_float32_where_that_is_asked_for(
    recordings: Path, model: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], exact: bool
) -> None:
    monkeypatch.setattr("speech.acoustic.multiplies_bfloat16_faster", lambda _: True)
    computed = []
    network = SpeechNetwork.forward_with_phones

    def forward(self: SpeechNetwork, features: torch.Tensor, lengths: torch.Tensor) -> object:
        computed.append(torch.is_autocast_enabled("cpu"))
        with torch.autocast("cpu", enabled=False):  # not every processor could do it in bfloat16
            return network(self, features, lengths)

    monkeypatch.setattr(SpeechNetwork, "forward_with_phones", forward)
    subcommand, *options = command
    said = ["a"] if subcommand == "align" else []
    arguments = [subcommand, str(recordings / "a.wav"), *said, "--model", str(model), *options]
    assert main([*arguments, "--exact"] if exact else arguments) == 0
    assert computed == [not exact]


@pytest.mark.parametrize("arguments", [[], ["transcribe"], ["listen"], ["evaluate"], ["train"], ["demo"]])
def test_help_answers_without_torch_and_with_an_example(arguments: list[str]) -> None:
    program = (
        "import sys; from speech.cli import main\n"
        f"try: main({[*arguments, '--help']!r})\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.endswith("False\n")
    assert not arguments or f"example:\n  speech {arguments[0]}" in told.stdout


def test_a_batch_gives_what_one_by_one_gives(recordings: Path, model: Path) -> None:
    recognizer = Recognizer.load(model)
    paths = sorted(recordings.rglob("*.wav"))
    together = recognizer.transcribe_batch(paths)
    for path, transcript in zip(paths, together, strict=True):
        alone = recognizer.transcribe(str(path))
        assert alone.text == transcript.text
        assert alone.duration == transcript.duration
        assert [word.start for word in alone.words] == [word.start for word in transcript.words]


def test_a_recording_on_standard_input_is_one_like_any_other(
    recordings: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(["transcribe", str(recordings / "a.wav"), "--model", str(model)]) == 0
    expected = capsys.readouterr().out
    sure = ["--least-confidence", "0"]  # an untrained model doubts its texts
    command = ["transcribe", "--model", str(model), *sure, "-"]
    data = (recordings / "a.wav").read_bytes()
    program = [sys.executable, "-m", "speech.cli", *command]
    told = subprocess.run(program, input=data, capture_output=True, cwd=ROOT)
    assert (told.stdout.decode(), told.stderr, told.returncode) == (expected, b"", 0)
    output = tmp_path / "out"
    monkeypatch.chdir(recordings)
    with (recordings / "a.wav").open() as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        assert main([*command, "b.wav", "--output", str(output), "--format", "txt,json"]) == 0
    assert sorted(path.name for path in output.glob("[!.]*")) == [
        "b.json",
        "b.txt",
        "stdin.json",
        "stdin.txt",
    ]
    capsys.readouterr()
    (tmp_path / "bad").write_bytes(b"no sound")
    with (tmp_path / "bad").open() as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        assert main(command) == 1
    assert capsys.readouterr().err.startswith("speech: -: is not a sound file")
    assert main(["transcribe", "-", "--list", "-"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_is_printed_stands_in_the_order_of_the_recordings(
    recordings: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["monday/c.wav", "a.wav", "b.wav", "bad.wav"]  # the shortest would be done first
    (recordings / "bad.wav").write_text("no sound")
    main(["transcribe", *(str(recordings / name) for name in names), "--model", str(model)])
    printed = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [str(recordings / name) for name in names[:3]]


def test_a_recording_in_which_nobody_speaks_is_an_empty_text_and_no_error(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(tmp_path / "noise.wav", np.random.default_rng(0).normal(0.0, 0.1, 16_000))
    arguments = ["transcribe", str(tmp_path), "--format", "json", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--model", str(model)]) == 0
    assert capsys.readouterr().err == ""
    told = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert (told["text"], told["words"], told["confidence"], told["duration"]) == ("", [], None, 1.0)


def test_a_recording_in_which_nothing_was_recorded_is_an_empty_text_and_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(tmp_path / "silent.wav", np.zeros(30 * 16_000))
    report, output = tmp_path / "report.tsv", tmp_path / "out"
    arguments = ["transcribe", str(tmp_path / "silent.wav"), "--output", str(output), "--report", str(report)]
    assert main([*arguments, "--model", str(model)]) == 0
    reason = "no sound in this file (30.0 s); was it recorded?"
    assert capsys.readouterr().err == f"speech: {tmp_path / 'silent.wav'}: {reason}\n"
    assert (output / "silent.txt").read_text() == "\n"
    row = dict(zip(*(line.split("\t") for line in report.read_text().splitlines()[:2]), strict=True))
    assert (row["status"], row["reason"]) == ("warning", reason)
    assert main([*arguments, "--model", str(model)]) == 0
    assert capsys.readouterr().err == ""  # it is done
    assert "skipped" in report.read_text()


def damaged(path: Path, how: str) -> None:
    """Write a recording of which a part cannot be read."""
    sentence = load_audio(SAMPLES / "city.opus").numpy()[None, :48_000]
    if how == "scratched flac":
        write(path, [sentence], "flac", 16_000, format="flac")
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
        path.write_bytes(data)
        return
    parts = []  # an Ogg whose second stream has another codec
    for codec in ("libopus", "flac"):
        file = io.BytesIO()
        write(file, [np.repeat(sentence, 3, axis=1)], codec, 48_000, format="ogg")
        parts.append(file.getvalue())
    path.write_bytes(b"".join(parts))


@pytest.mark.parametrize(
    ("how", "said"),
    [("scratched flac", "of its 3.0 s are missing"), ("chained ogg", "cannot be read beyond 3.0 s")],
)
def test_what_could_not_be_read_stands_on_standard_error_and_in_the_report_and_the_exit_status_tells(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, said: str
) -> None:
    damaged(tmp_path / "talk", how)
    report = tmp_path / "report.tsv"
    arguments = ["transcribe", str(tmp_path / "talk"), "--format", "json", "--report", str(report)]
    assert main([*arguments, "--model", str(model)]) == 1
    told = capsys.readouterr()
    (warning,) = json.loads(told.out)["warnings"]
    assert said in warning
    assert f"talk: {warning}" in told.err
    assert "\twarning\t" in report.read_text() and warning in report.read_text()
    assert main(["align", str(tmp_path / "talk"), "city", "--model", str(model)]) == 1
    assert f"talk: {warning}" in capsys.readouterr().err


def test_how_many_recordings_were_read_only_in_part_is_counted(
    recordings: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(recordings / "talk.ogg", "chained ogg")
    arguments = ["transcribe", str(recordings), "--output", str(tmp_path / "out"), "--model", str(model)]
    assert main(arguments) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("speech: 4 done (1 only in part) in ")


def test_a_text_that_is_probably_wrong_is_one_line(
    recordings: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["transcribe", str(recordings / "a.wav"), "--model", str(model), "--beam", "1"]
    assert main([*arguments, "--least-confidence", "1"]) == 0
    assert "a.wav: mean confidence 0." in capsys.readouterr().err
    assert main([*arguments, "--least-confidence", "0"]) == 0
    assert capsys.readouterr().err == ""


def test_channels_are_heard_apart_and_times_are_the_container_s(tmp_path: Path) -> None:
    city, tags = (load_audio(SAMPLES / f"{name}.opus").numpy() for name in ("city", "tags"))
    sound = np.zeros((2, 90_000), np.float32)
    sound[0, : len(city)], sound[1, : len(tags)] = city, tags
    write(tmp_path / "talk.mkv", [sound], "pcm_s16le", 16_000, begins=4.0, pictures=25)
    recognizer = Recognizer.load()
    transcript = recognizer.transcribe(tmp_path / "talk.mkv", None, AudioOptions(split_channels=True))
    segments = sorted(transcript.segments, key=lambda segment: segment.channel or 0)
    assert [segment.channel for segment in segments] == [1, 2]
    assert transcript.offset == pytest.approx(4.0, abs=0.02)
    assert transcript.duration == pytest.approx(4.0 + 90_000 / 16_000, abs=0.02)
    for segment, samples in zip(segments, (city, tags), strict=True):
        alone = recognizer.transcribe(torch.from_numpy(samples))
        common = set(segment.text.split()) & set(alone.text.split())
        assert len(common) >= 0.6 * len(set(alone.text.split()))
        assert segment.start == pytest.approx(4.0 + alone.words[0].start, abs=0.1)


def test_a_sound_file_on_standard_input_is_listened_to(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (SAMPLES / "city.opus").open() as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        assert main(["listen", "-", "--model", str(model)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    stream = Recognizer.load(model).stream()
    updates = stream.feed(load_audio(SAMPLES / "city.opus")) + stream.finish()
    assert told.out.splitlines() == [update.text for update in updates if update.final]


def test_a_kill_leaves_whole_transcripts_and_the_next_run_does_the_rest(model: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    second = load_audio(SAMPLES / "city.opus").numpy()[None, 14_400:30_400]
    for number in range(20):
        write(folder / f"{number}.wav", [second], "pcm_s16le", 16_000)
    arguments = [str(folder), "--output", str(output), "--format", "json", "--model", str(model)]
    command = [sys.executable, "-m", "speech.cli", "transcribe", *arguments, "--batch-size", "1"]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while running.poll() is None and len(list(output.glob("*.json"))) < 3:
        time.sleep(0.01)
    running.kill()
    running.wait()
    written = list(output.glob("*.json"))
    assert len(written) >= 3
    for path in written:
        assert json.loads(path.read_text())["words"]
    assert main(["transcribe", *arguments]) == 0
    assert len(list(output.glob("*.json"))) == 20
    assert len(list(output.glob("[!.]*"))) == 20


def test_the_progress_bar_counts_hours_of_sound(
    recordings: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("common.commands.progress.BAR_DELAY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    arguments = ["transcribe", str(recordings), "--output", str(tmp_path / "out"), "--model", str(model)]
    assert main(arguments) == 0
    assert "h of sound" in capsys.readouterr().err


def test_listening_to_standard_input_prints_final_text(model: Path, tmp_path: Path) -> None:
    said = torch.cat([load_audio(SAMPLES / f"{name}.opus") for name in ("tags", "service", "city")])
    raw = (said * 32767).short().numpy().astype("<i2").tobytes()
    command = [sys.executable, "-m", "speech.cli", "listen", "-", "--exact", "--model", str(model)]
    told = subprocess.run(command, input=raw, capture_output=True, cwd=ROOT)
    assert (told.returncode, told.stderr) == (0, b"")
    recognizer = Recognizer.load(model, exact=True)
    expected = [update.text for update in listen(recognizer.stream(), said) if update.final]
    assert told.stdout.decode().splitlines() == expected
    assert expected


def listen(stream: Stream, samples: torch.Tensor) -> list[Update]:
    rounded = (samples * 32767).short() / 32768
    return stream.feed(rounded) + stream.finish()


def test_listening_without_a_microphone_is_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["listen", "--model", str(model)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install sounddevice" in line


def test_no_such_model_is_one_line(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(recordings), "--model", "klingon"]) == 1
    assert "english" in capsys.readouterr().err


def test_with_a_grammar_every_recording_says_one_of_its_phrases(
    recordings: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grammar = tmp_path / "menu.txt"
    grammar.write_text("On!\noff\n\n")
    arguments = ["transcribe", str(recordings), "--model", str(model), "--grammar"]
    assert main([*arguments, str(grammar)]) == 0
    said = {line.split("\t")[1] for line in capsys.readouterr().out.splitlines()}
    assert said <= {"on", "off"}
    assert main([*arguments, str(tmp_path / "none.txt")]) == 1
    *_, line = capsys.readouterr().err.splitlines()  # behind what was passed over in the folder
    assert "none.txt: cannot be read" in line


@pytest.fixture(scope="module")
def model_with_words(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, with a language model that knows three words."""
    directory = tmp_path_factory.mktemp("models") / "words"
    shutil.copytree(model, directory)
    torch.manual_seed(0)
    config = LanguageModelConfig((*SPECIAL, "dog", "cat", "hippo"), embedding_size=8, hidden_size=8)
    write_language_model(directory / "language", LanguageNetwork(config), "# Three words\n")
    return directory


def transcribed(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    """The words of each recording."""
    assert main(["transcribe", *map(str, arguments)]) == 0
    return [line.partition("\t")[2] for line in capsys.readouterr().out.splitlines()]


def test_a_model_with_a_language_model_writes_its_words(
    recordings: Path, model: Path, model_with_words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = (recordings, "--no-open-vocabulary", "--word-bonus", "20", "--model")
    words = " ".join(transcribed(capsys, *closed, model_with_words)).split()
    assert words
    assert set(words) <= {"dog", "cat", "hippo"}
    language = model_with_words / "language"
    assert " ".join(transcribed(capsys, *closed, model, "--language-model", language)).split() == words
    letters = transcribed(capsys, recordings, "--model", model_with_words, "--no-words")
    assert letters == transcribed(capsys, recordings, "--model", model)


def test_hotwords_are_heard_where_they_are_likely(
    recordings: Path, model: Path, model_with_words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boosted = ("--hotword", "Zoe", "--hotword", "my yak", "--hotword-boost", "40", "--no-open-vocabulary")
    heard = " ".join(transcribed(capsys, recordings, *boosted, "--model", model_with_words))
    assert set(heard.split()) & {"zoe", "my", "yak"}
    assert main(["transcribe", str(recordings), "--hotword", "Zoe", "--model", str(model)]) == 1
    assert "needs a model with a lexicon" in capsys.readouterr().err


def test_a_language_model_that_is_none_is_one_line(
    recordings: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()
    recording, none = str(recordings / "a.wav"), str(tmp_path / "none")
    assert main(["transcribe", recording, "--model", str(model), "--language-model", none]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(tmp_path) in error


def test_a_language_model_is_trained_from_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "sentences.txt"
    text.write_text(
        "".join(f"the {animal} number {n} runs\n" for n in range(200) for animal in ("cat", "dog"))
    )
    sizes = ["--embedding-size", "8", "--hidden-size", "8", "--epochs", "1", "--batch-words", "64"]
    run = tmp_path / "run"
    assert main(["train-lm", "--text", f"{text}:2", "--run", str(run), "--drawn", "0", *sizes]) == 0
    assert capsys.readouterr().out == f"{run / 'best'}\n"
    model = load_language_model(run / "best")
    assert {"cat", "dog", "runs"} <= set(model.vocabulary)
