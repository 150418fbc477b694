"""Training a recogniser, from a manifest to a model directory that the command can use."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from common.models.files import read_model
from speech import Recognizer
from speech.cli import main
from speech.training.pronunciations import PHONES, read_pronunciations
from speech.training.train import SpeechModule, _dev_sets, phones_of


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = ["path\ttext"]
    for number, text in enumerate(["one", "two two", "Three!", "four"]):
        path = tmp_path / f"{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(generator.normal(0.0, 3000.0, 9600).astype("<i2").tobytes())
        rows.append(f"{path.name}\t{text}")
    table = tmp_path / "train.tsv"
    table.write_text("\n".join(rows) + "\n")
    return table


def test_a_model_is_trained_kept_and_started_from_again(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["--train", str(manifest), "--dev", str(manifest), "--cache", str(tmp_path / "cache")]
    sizes = [
        "--hidden-size",
        "8",
        "--lower-layers",
        "1",
        "--upper-layers",
        "1",
        "--channels",
        "8",
        "--speeds",
        "1.0",
        "0.9",
    ]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", *shared, *sizes, "--epochs", "2", "--run", str(first)]) == 0
    config, _ = read_model(first / "best")
    assert (config["hidden_size"], config["lower_layers"], len(config["phones"])) == (8, 1, 55)
    assert sum(config["frequencies"]) == pytest.approx(1.0, abs=1e-3)
    assert Recognizer.load(first / "best").transcribe(manifest.parent / "0.wav").duration == 0.6
    again = ["--init", str(first / "best"), "--epochs", "1", "--speeds", "1.0", "--run", str(second)]
    assert main(["train", *shared, *again, "--risk", "2", "--mmi", "0.5"]) == 0
    shown = capsys.readouterr().err
    assert "drawn_wer" in shown and "phone_rivals" in shown
    assert read_model(second / "best")[0]["hidden_size"] == 8


def test_a_run_takes_its_options_from_a_file_and_any_precision_on_any_processor(
    manifest: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(
        f'train = ["{manifest}"]\ndev = ["{manifest}"]\ncache = "{tmp_path / "cache"}"\nrun = "nowhere"\n'
        'hidden_size = 8\nchannels = 8\nspeeds = [1.0]\nepochs = 1\nprecision = "bf16-mixed"\n'
    )
    assert main(["train", "--options", str(file), "--run", str(tmp_path / "run"), "--channels", "4"]) == 0
    config, _ = read_model(tmp_path / "run" / "best")
    assert (config["hidden_size"], config["channels"]) == (8, 4)


def test_a_training_set_without_a_word_is_one_line(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = manifest.with_name("silent.tsv")
    silent.write_text("path\ttext\n0.wav\t...\n")
    assert (
        main(["train", "--train", str(silent), "--dev", str(manifest), "--run", str(tmp_path / "run")]) == 1
    )
    assert capsys.readouterr().err == "speech: training set: holds no utterance\n"


def test_a_dev_set_without_a_word_is_one_line(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = manifest.with_name("silent.tsv")
    silent.write_text("path\ttext\n0.wav\t...\n")
    arguments = ["--train", str(manifest), "--dev", str(silent), "--run", str(tmp_path / "run")]
    assert main(["train", *arguments]) == 1
    said = capsys.readouterr().err
    assert said == f"speech: {silent}: is to be measured on, but holds no utterance with a word\n"


def test_dev_sets_of_one_file_name_are_told_apart(manifest: Path) -> None:
    others = []
    for name in ("old", "new"):
        folder = manifest.parent / name
        folder.mkdir()
        (folder / "train.tsv").write_text("path\ttext\n../0.wav\tone\n")
        others.append(folder / "train.tsv")
    assert list(_dev_sets([*others, others[0]])) == ["old/train", "new/train"]
    assert list(_dev_sets([manifest])) == ["train"]


def test_a_run_that_never_made_a_step_may_begin_otherwise(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyError("the power fails")

    monkeypatch.setattr(SpeechModule, "training_step", stop)
    shared = ["--train", str(manifest), "--dev", str(manifest), "--cache", str(tmp_path / "cache")]
    sizes = ["--hidden-size", "8", "--channels", "8", "--speeds", "1.0", "--run", str(tmp_path / "run")]
    for seed in ("1", "2"):
        with pytest.raises(KeyError):
            main(["train", *shared, *sizes, "--seed", seed])
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_run_is_not_gone_on_with_by_other_recordings(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["--train", str(manifest), "--dev", str(manifest), "--cache", str(tmp_path / "cache")]
    sizes = ["--hidden-size", "8", "--channels", "8", "--speeds", "1.0", "--epochs", "1"]
    run = ["--run", str(tmp_path / "run")]
    assert main(["train", *shared, *sizes, *run]) == 0
    assert main(["train", *shared, *sizes, *run, "--seed", "2"]) == 1
    assert "seed 2 in place of 1" in capsys.readouterr().err
    (manifest.parent / "0.wav").write_bytes((manifest.parent / "1.wav").read_bytes())
    assert main(["train", *shared, *sizes, *run]) == 1
    assert "was begun with other data" in capsys.readouterr().err


def test_phones_come_from_a_dictionary_and_only_where_it_knows_every_word(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dictionary = tmp_path / "dictionary.txt"
    dictionary.write_text("ONE  W AH1 N\nTWO  T UW1\nTHREE  TH R IY1\n")
    known = read_pronunciations(dictionary)
    spoken = [PHONES[number] for number in phones_of("one two", PHONES, known)]
    assert spoken == ["W", "AH", "N", "T", "UW"]
    assert phones_of("one four", PHONES, known) == []
    shared = ["--train", str(manifest), "--dev", str(manifest), "--cache", str(tmp_path / "cache")]
    sizes = ["--hidden-size", "8", "--channels", "8", "--speeds", "1.0", "--epochs", "1"]
    run = tmp_path / "run"
    assert main(["train", *shared, *sizes, "--pronunciations", str(dictionary), "--run", str(run)]) == 0
    assert read_model(run / "best")[0]["phones"] == list(PHONES)
    # A model that hears phones cannot go on learning letters in their place.
    again = ["--init", str(run / "best"), "--run", str(tmp_path / "again")]
    assert main(["train", *shared, *sizes, *again]) == 1
    assert "hears other phones" in capsys.readouterr().err


def test_two_processes_train_one_model_and_a_kill_ends_both(manifest: Path, tmp_path: Path) -> None:
    shared = ["--train", str(manifest), "--dev", str(manifest), "--cache", str(tmp_path / "cache")]
    sizes = ["--hidden-size", "8", "--channels", "8", "--speeds", "1.0", "--batch-seconds", "1"]
    run, script = tmp_path / "run", tmp_path / "train.py"
    script.write_text("import sys\nfrom speech.cli import main\nsys.exit(main())\n")
    together = ["--processes", "2", "--threads", "1", "--epochs", "100000", "--run", str(run)]
    process = subprocess.Popen(
        [sys.executable, str(script), "train", *shared, *sizes, *together], stderr=subprocess.PIPE
    )
    try:
        for _ in range(1200):
            if (run / "last.ckpt").exists():
                break
            time.sleep(0.1)
        process.terminate()
        process.communicate(timeout=60)  # ends when the last process that holds standard error has ended
    finally:
        process.kill()
    assert process.returncode == -signal.SIGTERM
    kept = torch.load(run / "last.ckpt", weights_only=True)
    # Four utterances, a batch each, two at a time; the kill may have come after any step.
    assert kept["global_step"] == 2 * kept["batches"]["epoch"] + kept["batches"]["next_batch"] > 0
    assert Recognizer.load(run / "best").name == "best"
