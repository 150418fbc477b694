"""Text for a language model: every kind of file is read, weighed and divided the same way."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from speech.language.options import Source, parse_source
from speech.language.sentences import (
    HELD_OUT_SHARE,
    Sentences,
    Text,
    count_words,
    is_held_out,
    normalize_all,
    read_normalized,
    read_texts,
)
from speech.model.text import normalize


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("books.txt.xz:0.3", "books.txt.xz", 0.3),
        ("prompts.txt", "prompts.txt", 1.0),
        ("C:\\prompts.txt", "C:\\prompts.txt", 1.0),
        ("a:b:2", "a:b", 2.0),
    ],
)
def test_a_weight_stands_behind_the_last_colon(text: str, path: str, weight: float) -> None:
    assert parse_source(text) == Source(Path(path), weight)


@pytest.mark.parametrize("text", ["books.txt:0", "books.txt:-1", "books.txt:nan", "books.txt:inf", ":3"])
def test_a_weight_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a number above 0"):
        parse_source(text)


def read(*sources: Source) -> list[tuple[list[str], list[str]]]:
    """What there is to learn from in each source, and what was held out, in words."""
    words, texts = read_texts(sources)

    def spelled(sentences: Sentences) -> list[str]:
        return [" ".join(words[number] for number in one) for one in sentences]

    return [(spelled(text.training), spelled(text.held_out)) for text in texts]


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".txt", bytes), (".txt.xz", lzma.compress), (".txt.gz", gzip.compress)]
)
def test_plain_and_packed_text_read_the_same(
    suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(pack("\ufeffOne Café.\r\ntwo\n\nTWO!\n—\n".encode()))
    ((training, held_out),) = read(Source(path))
    assert training + held_out == ["one cafe", "two"], "normalised, each once, none empty"


def test_a_manifest_gives_its_transcripts(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("text\tspeaker\nHELLO\tbob\nI am\tjane\n")
    assert list(read_normalized(path)) == [["hello", "i am"]]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("no.txt", None, "cannot be read"),
        ("empty.txt", b"\n 3! \n".replace(b"3", b""), "holds no words"),
        ("latin.txt", "one\ncafé".encode("latin-1"), "line 2: not UTF-8"),
        ("plain.txt.xz", b"one\ntwo\n", "damaged or not a .xz file"),
        ("plain.txt.gz", b"one\ntwo\n", "damaged or not a .gz file"),
        ("cut.txt.xz", lzma.compress(b"one two three " * 99)[:-20], "damaged or not a .xz file"),
        ("cut.txt.gz", gzip.compress(b"one two three " * 99)[:-20], "damaged or not a .gz file"),
        ("other.tsv", b"path\n", "no column 'text'"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    name: str, data: bytes | None, reason: str, tmp_path: Path
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=reason) as caught:
        read_texts([Source(tmp_path / name)])
    assert name in str(caught.value)


def test_what_is_held_out_is_held_out_of_every_source(tmp_path: Path) -> None:
    lines = [f"sentence {'a' * (number % 7)} {bin(number)[2:]}" for number in range(3000)]
    (tmp_path / "one.txt").write_text("\n".join(lines))
    (tmp_path / "two.txt").write_text("\n".join(line.upper() + "." for line in reversed(lines)))
    (learned, held_out), (others, others_held_out) = read(
        *(Source(tmp_path / name) for name in ("one.txt", "two.txt"))
    )
    assert set(held_out) == set(others_held_out)
    assert set(learned) == set(others) and set(learned + held_out) == set(map(normalize, lines))
    assert len(held_out) == pytest.approx(HELD_OUT_SHARE * 3000, rel=0.4)
    assert all(map(is_held_out, held_out)) and not any(map(is_held_out, learned))


def test_words_count_by_the_weight_of_their_source(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("yes\nyes no")
    (tmp_path / "two.txt").write_text("no maybe")
    words, texts = read_texts([Source(tmp_path / "one.txt", 0.5), Source(tmp_path / "two.txt", 3.0)])
    assert not any(len(text.held_out) for text in texts)
    assert count_words(words, texts) == {"yes": 1.0, "no": 3.5, "maybe": 3.0}
    unheard = Text(texts[0].source, texts[0].training, texts[1].training)
    assert "maybe" not in count_words(words, [unheard])


def test_sentences_are_kept_as_one_array_and_given_one_by_one() -> None:
    given = [[3, 4], [5], [], [6, 3, 4]]
    sentences = Sentences.joined([Sentences.of(given[:1]), Sentences.of(given[1:])])
    assert [one.tolist() for one in sentences] == given
    assert [one.tolist() for one in sentences[1:]] == given[1:] and sentences[-1].tolist() == [6, 3, 4]
    assert sentences.renumbered(np.arange(7, dtype=np.int32)[::-1])[0].tolist() == [3, 2]
    assert [one.tolist() for one in sentences.spread(3)] == [[3, 4], []]
    assert sentences.spread(6) is sentences
    assert len(Sentences.of([])) == 0


@given(
    st.lists(
        st.text("abAB'' \u2019\u2018\u201c\u2014\u2026.,-&%1\u00e9\ufb01`\u0149\n\r\x0b\u2028", max_size=20)
    )
)
def test_many_lines_are_normalised_as_each_is_alone(lines: list[str]) -> None:
    assert normalize_all(lines) == [normalize(line) for line in lines]


def test_a_long_file_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech.language.sentences._BLOCK", 8)
    path = tmp_path / "text.txt"
    path.write_text("\ufeffOne, two.\n\n3 dogs\nrun\n --\nhome", encoding="utf-8")
    parts = list(read_normalized(path))
    assert len(parts) > 1
    assert [sentence for part in parts for sentence in part] == ["one two", "three dogs", "run", "home"]
    path.write_bytes(b"one\ntwo\nthree\nf\xfcnf")
    with pytest.raises(InputError, match="line 4: not UTF-8"):
        list(read_normalized(path))
