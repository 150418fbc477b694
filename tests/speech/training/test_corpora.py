"""Corpora as people have them: LibriSpeech trees, Common Voice folders and manifests give the same rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InputError
from speech.training.corpora import read_corpus


def librispeech(root: Path) -> Path:
    """Two speakers, three sentences."""
    said = {"84/121123": ["GO DO YOU HEAR", "BUT IN LESS"], "174/50561": ["FORGOTTEN TOO"]}
    for chapter, texts in said.items():
        folder = root / "LibriSpeech" / "dev-clean" / chapter
        folder.mkdir(parents=True)
        name = chapter.replace("/", "-")
        lines = []
        for number, text in enumerate(texts):
            (folder / f"{name}-{number:04}.flac").touch()
            lines.append(f"{name}-{number:04} {text}\n")
        (folder / f"{name}.trans.txt").write_text("".join(lines), encoding="utf-8")
    return root


def common_voice(root: Path, clip: str = "common_voice_en_1.mp3", sentence: str = "Hello there.") -> Path:
    """One clip, in the columns of a release."""
    (root / "clips").mkdir(parents=True)
    (root / "clips" / "common_voice_en_1.mp3").touch()
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\n"
    (root / "validated.tsv").write_text(f"{header}a1b2\t{clip}\t{sentence}\t2\t0\t\n", encoding="utf-8")
    return root


def test_a_librispeech_tree_gives_its_sentences_in_a_fixed_order(tmp_path: Path) -> None:
    rows = read_corpus(librispeech(tmp_path))
    assert [(row["text"], row["speaker"]) for row in rows] == [
        ("FORGOTTEN TOO", "174"),
        ("GO DO YOU HEAR", "84"),
        ("BUT IN LESS", "84"),
    ]
    assert all(Path(row["path"]).is_file() for row in rows)


def test_a_part_of_a_librispeech_tree_is_a_corpus_too(tmp_path: Path) -> None:
    part = librispeech(tmp_path) / "LibriSpeech" / "dev-clean" / "84"
    assert [row["text"] for row in read_corpus(part)] == ["GO DO YOU HEAR", "BUT IN LESS"]


def test_our_rows_are_what_torchaudio_reads_from_the_same_tree(tmp_path: Path) -> None:
    from torchaudio.datasets import LIBRISPEECH

    ours = read_corpus(librispeech(tmp_path))
    dataset = LIBRISPEECH(tmp_path, url="dev-clean")
    theirs = [dataset.get_metadata(number) for number in range(len(dataset))]
    expected = {
        (str(tmp_path / "LibriSpeech" / path), text, str(speaker)) for path, _, text, speaker, *_ in theirs
    }
    assert {(row["path"], row["text"], row["speaker"]) for row in ours} == expected


@pytest.mark.parametrize("name", ["", "validated.tsv"])
def test_a_common_voice_folder_and_its_table_give_the_same_rows(tmp_path: Path, name: str) -> None:
    root = common_voice(tmp_path)
    path = str(root / "clips" / "common_voice_en_1.mp3")
    assert read_corpus(root / name) == [{"path": path, "text": "Hello there.", "speaker": "a1b2"}]


def test_early_common_voice_tables_leave_the_suffix_out(tmp_path: Path) -> None:
    rows = read_corpus(common_voice(tmp_path, clip="common_voice_en_1"))
    assert rows[0]["path"].endswith("common_voice_en_1.mp3")


@pytest.mark.parametrize("character", ["\u2028", "\x0b", "\x85", '"'])
def test_rare_characters_in_a_sentence_do_not_part_its_line(tmp_path: Path, character: str) -> None:
    rows = read_corpus(common_voice(tmp_path, sentence=f"one{character}two"))
    assert [row["text"] for row in rows] == [f"one{character}two"]


def test_a_table_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    table = common_voice(tmp_path) / "validated.tsv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert read_corpus(tmp_path)[0]["speaker"] == "a1b2"


def test_a_manifest_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    manifest = tmp_path / "train.tsv"
    manifest.write_text("path\ttext\tspeaker\na.wav\thello\tanna\n", encoding="utf-8")
    expected = [{"path": str(tmp_path / "a.wav"), "text": "hello", "speaker": "anna"}]
    assert read_corpus(manifest) == expected


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.tsv: "):
        read_corpus(tmp_path / "nowhere.tsv")


def test_a_folder_without_a_corpus_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no corpus: no validated\.tsv"):
        read_corpus(tmp_path)


def test_a_missing_clip_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"validated\.tsv: line 2: no such file: .*gone\.mp3"):
        read_corpus(common_voice(tmp_path, clip="gone.mp3"))


def test_a_missing_librispeech_recording_is_named_with_its_line(tmp_path: Path) -> None:
    folder = librispeech(tmp_path) / "LibriSpeech" / "dev-clean" / "84" / "121123"
    (folder / "84-121123-0001.flac").unlink()
    with pytest.raises(InputError, match=r"trans\.txt: line 2: no such file: .*0001\.flac"):
        read_corpus(tmp_path)


def test_a_line_with_too_few_fields_is_named(tmp_path: Path) -> None:
    table = common_voice(tmp_path) / "validated.tsv"
    table.write_text(table.read_text(encoding="utf-8") + "alone\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: has 1 fields, the header 6"):
        read_corpus(tmp_path)


def test_transcripts_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    table = common_voice(tmp_path) / "validated.tsv"
    table.write_bytes(table.read_bytes().replace(b"Hello", b"caf\xe9"))
    with pytest.raises(InputError, match="is not UTF-8"):
        read_corpus(tmp_path)
