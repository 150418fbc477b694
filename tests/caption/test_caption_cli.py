"""The `caption` command as a person meets it, on a small model with random weights."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from describing import describe, drawn, lines
from helping import require_defaults, require_defaults_of, require_own_words, subparsers
from PIL import Image

from caption.arguments import make_caption_parser
from caption.captioner import Captioner
from caption.cli import main
from caption.options import DescribeOptions, TrainOptions
from caption.output.metadata import read_description, write_description


@pytest.mark.parametrize("name", [name for name, _ in subparsers(make_caption_parser())])
def test_every_subcommand_has_help_with_one_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    text = capsys.readouterr().out
    assert text.count("example:") == 1
    assert f"\n  caption {name}" in text


@pytest.mark.parametrize("arguments", [[], ["describe"], ["evaluate"], ["train"], ["demo"]])
def test_help_answers_before_anything_heavy_is_imported(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom caption.cli import main\n"
        f"try: main({[*arguments, '--help']})\n"
        "finally: print(*(name for name in ('torch', 'numpy', 'PIL', 'tqdm') if name in sys.modules))"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    after = os.times()
    assert done.returncode == 0
    assert done.stdout.endswith("\n\n")
    # 0.15 s of the processor's time, whatever else it does
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1.0


def test_defaults_are_those_of_the_search() -> None:
    defaults = DescribeOptions()
    for subcommand in ("describe", "evaluate", "demo"):
        given = ["manifest.tsv"] if subcommand == "evaluate" else []
        arguments = make_caption_parser().parse_args([subcommand, *given])
        assert (arguments.beam, arguments.most_words) == (defaults.beam, defaults.most_words)


def test_evaluate_takes_every_option_that_decides_a_caption() -> None:
    found = dict(subparsers(make_caption_parser()))
    options = {
        name: {option for action in found[name]._actions for option in action.option_strings}
        for name in ("describe", "evaluate")
    }
    paper = {"--list", "--format", "--output", "--overwrite", "--report", "--attention"}
    paper |= {"--sidecar", "--existing", "--write-metadata", "--even-read-only", "--log-format"}
    paper |= {"--engine", "--workers"}
    assert options["describe"] - paper <= options["evaluate"]


def test_train_has_an_option_for_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    text = capsys.readouterr().out
    for field in dataclasses.fields(TrainOptions):
        assert f"--{field.name.replace('_', '-')}" in text


@pytest.mark.usefixtures("photographs")
def test_one_photograph_prints_its_caption_alone(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(model, "photos/a.png") == 0
    captured = capsys.readouterr()
    options = DescribeOptions(beam=2, most_words=4)
    assert captured.out == Captioner.load(model).describe("photos/a.png", options).text + "\n"
    assert captured.err == ""


@pytest.mark.usefixtures("photographs")
def test_several_photographs_print_path_and_caption(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(model, "photos") == 0
    printed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [path for path, _ in printed] == ["photos/a.png", "photos/b.jpg", "photos/deep/c.png"]


def test_folders_give_every_kind_of_photograph_and_say_what_else_they_hold(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a.HEIC", "b.heif", "c.avif", "d.jp2", "e.jfif", "f.tga", "g.ico"]
    for name in names:
        (photographs / name).write_bytes(b"no picture")
    for name in ("a.mov", "b.txt", "c.txt"):
        (photographs / name).touch()
    assert describe(model, "photos") == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "caption: passed over: 2 .txt, 1 .mov"
    assert sorted(line.split(": ")[1] for line in said[1:-1]) == [f"photos/{name}" for name in names]


@pytest.mark.usefixtures("photographs")
def test_json_lines_hold_path_and_caption_of_files_and_list(model: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("photos/b.jpg\nphotos/deep/c.png\n")
    arguments = ["photos/a.png", "--list", "list", "--format", "jsonl", "--output", "out/captions"]
    assert describe(model, *arguments) == 0
    written = lines(tmp_path / "out/captions")
    assert [row["path"] for row in written] == ["photos/a.png", "photos/b.jpg", "photos/deep/c.png"]
    assert all(isinstance(row["caption"], str) for row in written)


@pytest.mark.usefixtures("photographs")
def test_json_lines_go_to_standard_output_too(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(model, "photos", "--format", "jsonl") == 0
    assert [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()][1] == "photos/b.jpg"


@pytest.mark.usefixtures("threads_restored")
def test_two_threads_give_the_captions_of_one(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        color = (20 * number, 250 - 20 * number, 70 * number % 256)
        drawn(color).save(tmp_path / f"{number:02}.png")
    printed = {}
    for threads in ("1", "2"):
        assert describe(model, str(tmp_path), "--batch-size", "2", "--threads", threads) == 0
        printed[threads] = capsys.readouterr().out.splitlines()
    assert len({line.split("\t")[1] for line in printed["1"]}) > 1
    assert printed["2"] == printed["1"]


def test_text_files_mirror_the_folder(model: str, photographs: Path, tmp_path: Path) -> None:
    assert describe(model, "photos", "--output", "out") == 0
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.txt"))
    assert written == ["a.txt", "b.txt", "deep/c.txt"]
    assert not list(photographs.rglob("*.txt"))


@pytest.mark.usefixtures("photographs")
def test_one_photograph_can_go_to_one_text_file(model: str, tmp_path: Path) -> None:
    assert describe(model, "photos/a.png", "--output", "caption.txt") == 0
    assert (tmp_path / "caption.txt").is_file()


@pytest.mark.usefixtures("photographs")
def test_the_formats_of_one_run_share_a_folder(model: str, tmp_path: Path) -> None:
    assert describe(model, "photos", "--format", "txt,jsonl,csv", "--output", "out") == 0
    assert len(list((tmp_path / "out").rglob("*.txt"))) == 3
    assert len(lines(tmp_path / "out/captions.jsonl")) == 3
    with (tmp_path / "out/captions.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["path"] == "photos/a.png"


@pytest.mark.usefixtures("photographs")
def test_a_second_run_does_only_what_is_missing(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["photos", "--format", "txt,jsonl", "--output", "out"]
    assert describe(model, "photos/a.png", "--output", "out/captions.jsonl") == 0
    assert describe(model, *arguments) == 0
    assert [row["path"] for row in lines(tmp_path / "out/captions.jsonl")] == [
        "photos/a.png",
        "photos/b.jpg",
        "photos/deep/c.png",
    ]
    (tmp_path / "out/b.txt").unlink()
    capsys.readouterr()
    assert describe(model, *arguments) == 0
    assert "1 done, 2 already there" in capsys.readouterr().err
    assert len(lines(tmp_path / "out/captions.jsonl")) == 3
    monkeypatch.setattr(Captioner, "load", None)  # no model is needed for nothing
    assert describe(model, *arguments) == 0


def test_a_bad_photograph_is_one_line_and_the_others_are_described(
    model: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "b.jpg").write_text("no picture")
    (photographs / "broken.png").symlink_to("nowhere.png")
    arguments = ["photos", "gone.png", "--format", "jsonl", "--output", "out.jsonl", "--report", "report.tsv"]
    assert describe(model, *arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    said = captured.err.splitlines()
    assert said[0] == "caption: photos/broken.png: a link to a file that is not there"
    assert said[1] == "caption: gone.png: no such file"
    assert said[2].startswith("caption: photos/b.jpg: ")
    assert len(said) == 4 and said[3].startswith("caption: 2 done, 3 failed in ")
    assert [row["path"] for row in lines(tmp_path / "out.jsonl")] == ["photos/a.png", "photos/deep/c.png"]
    assert len((tmp_path / "report.tsv").read_text().splitlines()) == 7


@pytest.mark.usefixtures("photographs")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "nothing to do: name photographs, folders, globs or a --list"),
        (["photos", "--format", "txt,csv"], "--format: several formats need a folder to go to"),
        (["photos", "--output", "out.txt"], "out.txt: txt is one file a photograph"),
        (["photos", "--device", "abacus"], "--device: abacus is not one of"),
    ],
)
def test_a_mistake_is_one_line_with_the_way_out(
    model: str, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert describe(model, *arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert reason in captured.err
    assert captured.out == ""


def test_an_unknown_model_is_one_line(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe("klingon", str(photographs)) == 1
    assert "klingon: no such model or model directory" in capsys.readouterr().err


def test_evaluate_prints_exactly_one_json_object(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = photographs / "dev.tsv"
    manifest.write_text("path\tcaption\na.png\ta dog runs\na.png\tA cat.\nb.jpg\ta cat runs\n")
    arguments = ["evaluate", str(manifest), "--model", model, "--max-words", "4", "--threads", "1"]
    assert main([*arguments, "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert {name: type(value) for name, value in fields.items()} == {
        **dict.fromkeys(["bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "seconds"], float),
        "images": int,
        "model": str,
        "decoding": str,
    }
    assert (fields["images"], fields["model"]) == (2, "tiny")
    assert main(arguments) == 0
    assert "cider" in capsys.readouterr().out


def test_a_bad_manifest_is_one_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dev.tsv").write_text("path\ttext\n")
    assert main(["evaluate", str(tmp_path / "dev.tsv"), "--model", model]) == 1
    assert "dev.tsv: line 1: no column 'caption'" in capsys.readouterr().err


def search(model: str, *arguments: str) -> int:
    return main(["search", *arguments, "--model", model, "--threads", "1"])


def test_a_search_prints_every_photograph_best_first(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(model, "a dog", "photos") == 0
    found = capsys.readouterr().out.splitlines()
    expected = {str(path.relative_to(Path.cwd())) for path in photographs.rglob("*.*")}
    assert set(found) == expected
    scores = Captioner.load(model).log_likelihoods("a dog", found)
    assert scores == sorted(scores, reverse=True)
    assert search(model, "a dog", "photos", "--limit", "1", "--scores") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split("\t")[1] == found[0]
    assert float(line.split("\t")[0]) == pytest.approx(scores[0] - sum(scores) / 3, abs=1e-3)


def test_a_search_says_what_it_cannot_look_for_and_goes_on_past_bad_files(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "broken.jpg").write_bytes(b"no picture")
    assert search(model, "a zebra", "photos") == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert "zebra" in said.err
    assert "broken.jpg" in said.err
    assert search(model, "zebra", "photos") == 1
    assert capsys.readouterr().out == ""


def test_a_prefix_that_was_never_learned_is_one_line(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert describe(model, "photos", "--prefix", "a zebra") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "caption: --prefix: the captioner never learned: zebra\n"


def test_attention_is_drawn_for_each_photograph_and_only_where_it_is_missing(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("photos", "--output", "captions", "--attention", "maps")
    assert describe(model, *arguments) == 0
    sheets = {path: path.stat().st_mtime_ns for path in Path("maps").rglob("*.png")}
    names = {"maps/a.attention.png", "maps/b.attention.png", "maps/deep/c.attention.png"}
    assert {str(path) for path in sheets} == names
    with Image.open("maps/a.attention.png") as sheet:
        assert sheet.width == 4 * 224
    Path("maps/b.attention.png").unlink()
    Path("captions/a.txt").unlink()
    assert describe(model, *arguments) == 0
    assert Path("captions/a.txt").is_file()
    kept = {path for path, time in sheets.items() if path.stat().st_mtime_ns == time}
    assert {str(path) for path in kept} == names - {"maps/b.attention.png"}


def test_sheets_among_the_photographs_replace_none_of_them_and_are_not_described(
    model: str, photographs: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in photographs.rglob("*.*")}
    for _ in range(2):
        arguments = ["photos", "--attention", "photos", "--overwrite", "--output", "captions"]
        assert describe(model, *arguments) == 0
        assert {path: path.read_bytes() for path in before} == before
    there = {path.name for path in photographs.rglob("*.*") if not path.name.startswith(".")}
    sheets = {"a.attention.png", "b.attention.png", "c.attention.png"}
    assert there - {path.name for path in before} == sheets
    assert len(list((tmp_path / "captions").rglob("*.txt"))) == 3


@pytest.mark.usefixtures("photographs")
@pytest.mark.parametrize(
    "arguments",
    [
        ["photos/a.png", "--format", "jsonl", "--output", "photos/a.png"],
        ["photos", "--format", "csv", "--output", "link.csv"],
        ["photos", "--report", "photos/b.jpg"],
        ["--list", "list.txt", "--report", "list.txt"],
        ["notes.txt", "--sidecar"],
        ["photos", "photos/sheets/a.attention.png", "--attention", "photos/sheets"],
    ],
)
def test_no_output_may_be_one_of_the_inputs(
    model: str, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link.csv").symlink_to("photos/a.png")
    (tmp_path / "list.txt").write_text("photos/a.png\n")
    (tmp_path / "notes.txt").write_bytes((tmp_path / "photos" / "a.png").read_bytes())
    (tmp_path / "photos" / "sheets").mkdir()
    drawn("red").save(tmp_path / "photos" / "sheets" / "a.attention.png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert describe(model, *arguments, "--overwrite") == 1
    assert "is one of the inputs, which would be lost" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Let this be on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_picture_on_standard_input_is_described_as_the_file_is(
    model: str, photographs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert describe(model, "photos/a.png") == 0
    expected = capsys.readouterr().out
    piped(monkeypatch, (photographs / "a.png").read_bytes())
    assert describe(model, "-") == 0
    assert capsys.readouterr().out == expected
    piped(monkeypatch, (photographs / "a.png").read_bytes())
    arguments = ["--format", "txt,jsonl,html", "--output", "out", "--attention", "maps"]
    assert describe(model, "-", "photos/b.jpg", *arguments) == 0
    assert Path("out/stdin.txt").read_text() == expected
    assert [row["path"] for row in lines(Path("out/captions.jsonl"))] == ["-", "photos/b.jpg"]
    assert 'data-path="-"' in Path("out/captions.html").read_text()
    assert Path("maps/stdin.attention.png").is_file()


@pytest.mark.parametrize(
    ("data", "arguments", "reason"),
    [
        (b"", [], "-: is empty (0 bytes)"),
        (b"no picture", [], "-: is not a picture that can be read"),
        (b"", ["--sidecar"], "--sidecar: needs files"),
        (b"", ["--write-metadata"], "--write-metadata: needs files"),
        (b"", ["--list", "-"], "-: standard input is either a picture or a list"),
    ],
)
def test_what_standard_input_cannot_be_is_one_line(
    model: str,
    data: bytes,
    arguments: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    piped(monkeypatch, data)
    assert describe(model, "-", *arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"caption: {reason}") and said.err.count("\n") == 1


def test_a_picture_of_one_colour_gets_no_invented_story(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (30, 20)).save(photographs / "a.png")
    arguments = ["photos", "--format", "jsonl", "--prefix", "a dog", "--write-metadata"]
    assert describe(model, *arguments) == 0
    said = capsys.readouterr()
    first, last = said.err.splitlines()
    assert first == "caption: photos/a.png: is of one colour and shows nothing; its caption is empty"
    assert last.startswith("caption: 3 done in ")
    black, other, _ = [json.loads(line) for line in said.out.splitlines()]
    empty = {"caption": "", "confidence": 0.0, "log_prob": 0.0, "alternatives": []}
    assert black == {"path": "photos/a.png", **empty}
    assert other["caption"].startswith("a dog")
    assert read_description((photographs / "a.png").read_bytes()) is None
    (photographs / "a.txt").write_text("sks")
    assert describe(model, "photos/a.png", "--sidecar", "--existing", "append") == 0
    assert (photographs / "a.txt").read_text() == "sks\n"


@pytest.mark.usefixtures("photographs")
@pytest.mark.parametrize(
    ("command", "arguments", "reason"),
    [
        ("describe", ["--beam", "100000"], "--beam: 100000 is more than 100; a wider beam"),
        ("describe", ["--batch-size", "100000"], "--batch-size: 100000 is more than 256"),
        ("describe", ["--beam", "100", "--batch-size", "200"], "--batch-size: 200 takes too much memory"),
        ("evaluate", ["--beam", "101"], "--beam: 101 is more than 100"),
        ("search", ["--batch-size", "257"], "--batch-size: 257 is more than 256"),
    ],
)
def test_what_would_take_gigabytes_is_refused_before_anything_is_loaded(
    command: str, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["a dog"] if command == "search" else []
    assert main([command, *words, "photos", "--model", "none", *arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"caption: {reason}") and said.count("\n") == 1


def test_help_explains_every_option_in_words_of_its_own_and_shows_defaults_one_way() -> None:
    require_own_words(make_caption_parser())
    require_defaults(make_caption_parser())
    require_defaults_of(make_caption_parser(), "train", TrainOptions)


def test_sidecars_stand_beside_their_photographs_and_are_skipped_the_next_time(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "a.txt").write_text("my own words\n")
    assert describe(model, "photos", "--sidecar", "--prefix", "a dog") == 0
    assert (photographs / "a.txt").read_text() == "my own words\n"
    said = (photographs / "deep" / "c.txt").read_text()
    assert said.startswith("a dog")
    (photographs / "b.txt").unlink()
    assert describe(model, "photos", "--sidecar", "--prefix", "a dog", "--existing", "append") == 0
    assert (photographs / "a.txt").read_text().startswith("my own words, a dog")
    assert (photographs / "deep" / "c.txt").read_text() == said
    assert (photographs / "b.txt").is_file()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--sidecar", "--output", "x"], "leave out --output"),
        (["--existing", "append"], "add --sidecar"),
        (["--sidecar", "--overwrite", "--existing", "append"], "does not go with"),
    ],
)
def test_options_of_sidecars_that_contradict_each_other_are_refused(
    model: str,
    photographs: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    reason: str,
) -> None:
    assert describe(model, "photos", *options) == 1
    assert reason in capsys.readouterr().err


def test_captions_are_written_into_photographs_that_have_none(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_description(photographs / "b.jpg", "my own words")
    drawn("red").save(photographs / "d.bmp")
    assert describe(model, "photos", "--write-metadata", "--prefix", "a dog") == 1
    said = capsys.readouterr()
    assert "d.bmp" in said.err and "JPEG, PNG and WebP" in said.err
    written = read_description((photographs / "a.png").read_bytes())
    assert written is not None and written.startswith("a dog")
    assert read_description((photographs / "b.jpg").read_bytes()) == "my own words"
    before = {path: path.read_bytes() for path in photographs.rglob("*.*")}
    (photographs / "d.bmp").unlink()
    assert describe(model, "photos", "--write-metadata", "--prefix", "a cat") == 0
    assert {path: path.read_bytes() for path in photographs.rglob("*.*")}.items() <= before.items()
    assert describe(model, "photos", "--write-metadata", "--prefix", "a cat", "--overwrite") == 0
    again = read_description((photographs / "b.jpg").read_bytes())
    assert again is not None and again.startswith("a cat")


def test_a_photograph_that_may_not_be_changed_fails_before_it_is_described(
    model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "a.png").chmod(0o444)
    before = (photographs / "a.png").read_bytes()
    assert describe("no model is needed", "photos/a.png", "--write-metadata") == 1
    assert capsys.readouterr().err == "caption: photos/a.png: is read-only, and is left as it is\n"
    assert (photographs / "a.png").read_bytes() == before
    assert describe(model, "photos/a.png", "--write-metadata", "--even-read-only", "--prefix", "a dog") == 0
    assert (read_description((photographs / "a.png").read_bytes()) or "").startswith("a dog")
    assert (photographs / "a.png").stat().st_mode & 0o777 == 0o444
    assert describe(model, "photos/a.png", "--even-read-only") == 1
    assert "add --write-metadata" in capsys.readouterr().err
