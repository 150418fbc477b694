"""What both commands share, as a person meets it."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from common.commands.command import (
    EXTRAS,
    add_batch_options,
    add_shared_options,
    add_subcommand,
    check_builds,
    make_parser,
    resolve_device,
    run_command,
)
from common.errors import InputError

ROOT = Path(__file__).parents[3]


def parser() -> argparse.ArgumentParser:
    parser, subcommands = make_parser("speech", "Recordings become text.")
    one = add_subcommand(subcommands, "transcribe", "turn recordings into text", "speech transcribe talk.mp3")
    add_shared_options(one, model="english", batch_size=8, beam=1)
    add_batch_options(one, kind="recordings", formats=["txt", "srt", "json"], output="folder for the outputs")
    return parser


def test_defaults_arrive_under_their_names() -> None:
    arguments = vars(parser().parse_args(["transcribe", "a.wav"]))
    assert arguments == {
        "subcommand": "transcribe",
        "inputs": ["a.wav"],
        "list": [],
        "formats": None,
        "output": None,
        "overwrite": False,
        "report": None,
        "log_format": "text",
        "model": "english",
        "device": "auto",
        "threads": 0,
        "batch_size": 8,
        "beam": 1,
    }


def test_several_formats_come_with_commas_and_by_repetition() -> None:
    arguments = parser().parse_args(
        ["transcribe", "--format", "srt,json", "--format", "srt", "--format", "txt"]
    )
    assert arguments.formats == ["srt", "json", "srt", "txt"]


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--format", "srt,doc", "no format 'doc'; there are txt, srt, json"),
        ("--threads", "-1", "-1 is less than 0"),
        ("--beam", "wide", "'wide' is not a whole number"),
    ],
)
def test_a_wrong_value_is_answered_with_the_right_ones(
    option: str, value: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["transcribe", option, value])
    assert reason in capsys.readouterr().err


def test_help_ends_in_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parser().parse_args(["transcribe", "--help"])
    text = capsys.readouterr().out
    assert text.endswith("example:\n  speech transcribe talk.mp3\n")
    assert "Turn recordings into text." in text


def test_an_input_error_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise InputError("talk.wav", "no sound in this file (0.0 s); was it recorded?")

    assert run_command("speech", main) == 1
    captured = capsys.readouterr()
    assert captured.err == "speech: talk.wav: no sound in this file (0.0 s); was it recorded?\n"
    assert captured.out == ""


def bring(package: str) -> None:
    """What a command does that needs a package."""
    importlib.import_module(package)


@pytest.mark.parametrize(("package", "extra"), EXTRAS.items())
def test_a_command_that_lacks_an_extra_says_in_one_line_what_to_install(
    package: str, extra: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    assert run_command("speech", lambda: bring(package)) == 1
    way_out = f"pip install '.[{extra}]' in the folder of the code"
    assert capsys.readouterr().err == f"speech: needs {package}: {way_out}\n"


def test_extras_bring_what_their_commands_need() -> None:
    settings = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = settings["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert any(one.replace("-", "_").startswith(package) for one in extras[extra])


def test_a_missing_package_of_the_base_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ModuleNotFoundError, match="tqdm"):
        run_command("speech", lambda: bring("tqdm"))


def test_an_interrupt_is_status_130_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise KeyboardInterrupt

    assert run_command("speech", main) == 130
    assert capsys.readouterr().err == "speech: stopped\n"


def test_an_interrupt_that_was_reported_is_not_reported_again(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise KeyboardInterrupt("stopped; 3 done, 2 left")

    assert run_command("speech", main) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name == "nt", reason="nobody sends it there")
def test_a_request_to_end_is_one_line_and_puts_all_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    ended = []

    def main() -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            ended.append(True)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    assert run_command("speech", main) == 143
    assert (capsys.readouterr().err, ended) == ("speech: stopped\n", [True])
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_wrong_argument_is_one_line_that_leads_to_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["transcribe", "--beam", "wide"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.endswith("transcribe --help\n")


def test_a_bug_shows_its_traceback() -> None:
    def main() -> int:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_command("speech", main)


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_the_status_is_what_the_command_returns(returned: int | None, status: int) -> None:
    assert run_command("speech", lambda: returned) == status


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = (
        "import sys\nfrom common.commands.command import run_command\n"
        "sys.exit(run_command('speech', lambda: [print('x' * 1000) for _ in range(1000)] and 0))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 141
    assert errors == b""


def test_a_name_that_is_not_utf8_is_printed() -> None:
    program = (
        "import sys\nfrom common.commands.command import run_command\n"
        "sys.exit(run_command('speech', lambda: print('\\udcff.wav')))"
    )
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", program], capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"\xff.wav\n")


@pytest.mark.parametrize(
    "error",
    [
        OSError("libtorchaudio.so: undefined symbol: _ZN3c10\nmore"),
        RuntimeError("operator torchvision::nms does not exist"),
        ImportError("cannot import name 'x'"),
    ],
)
def test_builds_that_do_not_fit_are_named_with_what_to_install(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(name: str) -> ModuleType:
        if name == "torchaudio":
            raise error
        return sys

    monkeypatch.setattr(importlib, "import_module", refusing)
    with pytest.raises(InputError) as caught:
        check_builds("torchaudio")
    line = str(caught.value)
    assert line.startswith("torchaudio: torchaudio 2.")
    assert "does not fit torch 2." in line
    assert str(error).split("\n")[0] in line
    assert line.endswith("pip install 'torch==2.11.*' 'torchaudio==2.11.0' 'torchvision==0.26.*'")
    assert "\n" not in line


def test_a_missing_companion_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", refusing)
    with pytest.raises(InputError, match="torch: No module named 'torch'; install what fits: pip install"):
        check_builds("torchvision")


def test_builds_that_fit_pass() -> None:
    check_builds("torchaudio", "torchvision")


def test_a_device_that_is_not_here_is_said_in_one_line() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(InputError, match="--device: abacus is not one of cpu, cuda, mps, auto"):
        resolve_device("abacus")


def test_the_shared_rooms_import_no_torch() -> None:
    program = (
        "import sys, common.commands.command, common.commands.batch, common.commands.inputs, common.errors\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'tqdm')))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such thresholds")
@pytest.mark.parametrize("keep", [False, True])
def test_freed_memory_is_kept_for_the_next_layer(keep: bool) -> None:
    program = f"""
import resource, numpy as np
from common.commands.command import keep_memory
if {keep}:
    keep_memory()
def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(12_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fill()
print(fill())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    # Huge pages, where the system gives them, are 512 usual ones.
    assert (int(done.stdout) < 40) == keep, done.stderr


CLOSED = """
import sys
from common.commands.command import run_command
from common.errors import InputError

def main():
    if not sys.stdin.buffer.read():
        print("nothing came", file=sys.stderr)
    print("result")

sys.exit(run_command("speech", main))
"""


@pytest.mark.skipif(os.name == "nt", reason="a shell's")
@pytest.mark.parametrize(
    ("how", "status", "out", "said"),
    [
        ("<&-", 0, "result\n", "nothing came\n"),
        (">&-", 1, "", "nothing came\nspeech: standard output: cannot be written: Bad file descriptor\n"),
        ("2>&-", 0, "result\n", ""),
        ("<&- >&- 2>&-", 1, "", ""),
        (
            "> /dev/full",
            1,
            "",
            "nothing came\nspeech: standard output: cannot be written: No space left on device\n",
        ),
    ],
)
def test_streams_may_be_closed_or_full(how: str, status: int, out: str, said: str) -> None:
    if "/dev/full" in how and not Path("/dev/full").exists():
        pytest.skip("no such device here")
    command = ["sh", "-c", f'exec "$0" -c "$1" {how}', sys.executable, CLOSED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (status, out, said)


def test_a_name_that_would_break_the_line_or_rule_the_terminal_is_shown_harmlessly() -> None:
    error = InputError("new\nline\x1b[2J\x9b.wav", "is empty")
    assert str(error) == r"new\nline\x1b[2J\x9b.wav: is empty"
    assert error.path == "new\nline\x1b[2J\x9b.wav"
