"""Where nobody may write, every command says so in one line, before it loads a model or begins its work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOUND, PHOTOGRAPH = ROOT / "speech/samples/city.opus", ROOT / "caption/samples/cat.jpg"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="folders have no such permissions there")

# Runs command lines, each a list in JSON on a line; none of them may come as far as a model.
RUNNER = """
import importlib, json, sys
from common.models import files
def read_model(directory):
    raise AssertionError(f"{directory} is read before it is known that anything can be written")
files.read_model = read_model
for line in sys.stdin:
    command, *arguments = json.loads(line)
    status = importlib.import_module(command + ".cli").main(arguments)
    print(f"status {status}", file=sys.stderr, flush=True)
"""


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def without_override() -> list[str]:
    """What a command line begins with, so that permissions bind it: root may else write everywhere."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and setpriv, which would keep it from that, is not here")
    return ["setpriv", "--bounding-set", "-dac_override"]


def test_what_cannot_be_written_is_said_before_the_work(read_only: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.tsv"
    manifest.write_text(f"path\ttext\tcaption\n{SOUND}\tthe city\ta city\n")
    text = tmp_path / "text.txt"
    text.write_text("the city is large\n")
    new = read_only / "new"
    models = ("english", "english", "--shares", "0.5", "0.5")
    commands = [
        ("speech", "transcribe", SOUND, "--output", new),
        ("speech", "transcribe", SOUND, "--output", read_only / "city.txt"),
        ("speech", "transcribe", SOUND, "--report", read_only / "report.tsv"),
        ("speech", "align", SOUND, "the city", "--output", read_only / "city.srt"),
        ("speech", "align", manifest, "--output", read_only / "words.tsv"),
        ("speech", "export", "--output", read_only / "english.onnx"),
        ("speech", "average", *models, "--output", new),
        ("speech", "train", "--train", manifest, "--dev", manifest, "--run", new),
        ("speech", "train-lm", "--text", text, "--run", new),
        ("speech", "count-lm", "--text", text, "--output", new),
        ("caption", "describe", PHOTOGRAPH, "--output", new),
        ("caption", "describe", PHOTOGRAPH, "--format", "jsonl", "--output", read_only / "captions.jsonl"),
        ("caption", "describe", PHOTOGRAPH, "--attention", new),
        ("caption", "search", "a cat", PHOTOGRAPH, "--index", read_only / "photos.index"),
        ("caption", "export", "--output", new),
        ("caption", "average", "photos", "photos", "--shares", "0.5", "0.5", "--output", new),
        ("caption", "train", "--train", manifest, "--dev", manifest, "--run", new),
    ]
    lines = "".join(json.dumps([str(word) for word in command]) + "\n" for command in commands)
    program = [*without_override(), sys.executable, "-c", RUNNER]
    told = subprocess.run(program, input=lines, capture_output=True, text=True, cwd=ROOT)
    assert (told.returncode, told.stdout) == (0, "")
    said = told.stderr.splitlines()
    assert said[1::2] == ["status 1"] * len(commands)
    for command, line in zip(commands, said[::2], strict=True):
        assert line.startswith(f"{command[0]}: {read_only}"), line
        assert line.endswith("cannot be written: Permission denied"), line
