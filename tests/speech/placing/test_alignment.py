"""Words with their times: paths against brute force and torchaudio, times against sound put where it is."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchaudio.functional import forced_align

from common.errors import InputError
from common.manifest import read_manifest
from speech import Recognizer
from speech.cli import main
from speech.measuring.evaluate import evaluate_timing
from speech.measuring.word_times import timed_words
from speech.model.subwords import BLANK, LETTER_SYMBOLS, Subwords
from speech.placing.alignment import (
    Emissions,
    align_emissions,
    forced_path,
    steps_needed,
    windowed_path,
    words_of_path,
)
from speech.placing.timing import Quiet, place, spoken_span
from speech.search.decoding import collapse
from speech.sound.audio import SAMPLE_RATE, load_audio
from speech.transcript import Transcript

SAMPLES = Path(__file__).parents[3] / "speech" / "samples"
LETTERS = Subwords(LETTER_SYMBOLS)
CITY = "He was born and raised in New York City."


def random_emissions(seed: int, steps: int, symbols: int, sharpness: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(steps, symbols, generator=generator) * sharpness).log_softmax(-1)


def score(path: list[int], log_probs: Tensor) -> float:
    return float(log_probs[range(len(path)), path].sum())


def emissions_along(path: list[int], sharpness: float = 8.0) -> Tensor:
    log_probs = torch.full((len(path), len(LETTERS)), -sharpness)
    log_probs[range(len(path)), path] = 0.0
    return log_probs.log_softmax(-1)


# --- the path of a known text ----------------------------------------------------------------------


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 6), text=st.lists(st.integers(1, 2), max_size=4))
def test_no_path_of_the_text_is_more_probable(seed: int, steps: int, text: list[int]) -> None:
    log_probs = random_emissions(seed, steps, 3)
    paths = [
        list(path)
        for path in itertools.product(range(3), repeat=steps)
        if [symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK] == text
    ]
    assert bool(paths) == (steps_needed(text) <= steps)
    if not paths:
        with pytest.raises(ValueError, match="steps"):
            forced_path(log_probs, text)
        return
    best = max(score(path, log_probs) for path in paths)
    searches = [forced_path, windowed_path] if text else [forced_path]
    for search in searches:
        found = search(log_probs, text)
        assert found in paths
        assert score(found, log_probs) == pytest.approx(best, abs=1e-4)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 60), data=st.data())
def test_a_window_that_holds_the_whole_text_finds_what_torchaudio_finds(
    seed: int, steps: int, data: st.DataObject
) -> None:
    text = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=steps))
    while steps_needed(text) > steps:
        text.pop()
    log_probs = random_emissions(seed, steps, 5)
    truth, _ = forced_align(log_probs[None], torch.tensor([text]), blank=BLANK)
    found = windowed_path(log_probs, text)
    assert score(found, log_probs) == pytest.approx(score(truth[0].tolist(), log_probs), abs=1e-3)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), length=st.integers(1, 60), spare=st.integers(0, 60))
def test_whatever_the_window_all_of_the_text_is_on_the_path(seed: int, length: int, spare: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(1, 4, (length,), generator=generator).tolist()
    log_probs = random_emissions(seed, steps_needed(text) + spare, 4)
    log_probs[log_probs < -4.0] = -math.inf
    found = windowed_path(log_probs, text, window=8)
    assert [symbol for symbol, _ in itertools.groupby(found) if symbol != BLANK] == text


def test_a_window_goes_along_with_a_long_text_and_finds_it_behind_a_long_pause() -> None:
    words = " ".join(f"{first}{second}" for first in "abcdefghijklm" for second in "nopqrstuvwxyz")
    text = LETTERS.encode(words)
    spoken = [symbol for letter in text for symbol in (letter, BLANK)]
    path = [BLANK] * 300 + spoken[: len(spoken) // 2] + [BLANK] * 300 + spoken[len(spoken) // 2 :]
    assert windowed_path(emissions_along(path), text, window=64) == path


# --- times -----------------------------------------------------------------------------------------


def heard(path: list[int], quiet: Quiet | None = None, start: float = 0.0) -> Emissions:
    return Emissions(start, 0.03 * len(path), emissions_along(path), quiet or Quiet())


def spell(text: str) -> list[int]:
    """A path: each letter in one step, with a blank behind it."""
    return [symbol for letter in LETTERS.encode(text) for symbol in (letter, BLANK)]


def sound(*seconds: tuple[float, float], length: float) -> Quiet:
    """Quiet but for these stretches."""
    frames = [
        not any(start <= 0.01 * frame < end for start, end in seconds) for frame in range(int(100 * length))
    ]
    return Quiet(frames, 0.01)


def test_in_fluent_speech_a_word_ends_where_the_next_one_begins_shortly_before_its_letters() -> None:
    path = [BLANK] * 10 + spell("so it") + [BLANK] * 10
    so, it = words_of_path(path, heard(path), LETTERS, 0.03)
    assert (so.text, it.text) == ("so", "it")
    assert so.end == it.start == pytest.approx(0.03 * 14 - 0.055)
    assert so.start == pytest.approx(0.3 - 0.055)
    assert 0.9 < so.confidence <= 1.0


def test_beside_pauses_the_sound_says_where_words_begin_and_end() -> None:
    path = [BLANK] * 10 + spell("so") + [BLANK] * 20 + spell("it") + [BLANK] * 20
    spoken = sound((0.21, 0.52), (1.0, 1.33), length=0.03 * len(path))
    so, it = words_of_path(path, heard(path, spoken), LETTERS, 0.03)
    assert [so.start, so.end, it.start, it.end] == pytest.approx([0.21, 0.52, 1.0, 1.33])


def test_a_letter_written_in_the_silence_after_the_word_does_not_make_it_longer() -> None:
    spelled = spell("bake")
    path = [BLANK] * 10 + spelled[:-2] + [BLANK] * 30 + spelled[-2:]
    (bake,) = words_of_path(path, heard(path), LETTERS, 0.03)
    assert bake.text == "bake"
    assert bake.end < 0.7


def test_a_piece_s_words_move_with_it() -> None:
    path = [BLANK] * 10 + spell("so it")
    here, there = (words_of_path(path, heard(path, start=start), LETTERS, 0.03) for start in (0.0, 60.0))
    assert [word.start + 60.0 for word in here] == pytest.approx([word.start for word in there])
    assert [word.confidence for word in here] == [word.confidence for word in there]


def test_a_text_said_in_several_pieces_is_placed_in_each_of_them() -> None:
    pieces = [heard([BLANK] * 5 + spell(text) + [BLANK] * 5, start=start) for text, start in SAID]
    words = align_emissions(pieces, LETTERS.encode("so it is what is it"), LETTERS, 100.0, 0.03)
    assert [word.text for word in words] == ["so", "it", "is", "what", "is", "it"]
    for word, start in zip(words, [0, 0, 20, 20, 90, 90], strict=True):
        assert start < word.start < word.end < start + 1.0


SAID = [("so it", 0.0), ("is what", 20.0), ("is it", 90.0)]


@settings(max_examples=100)
@given(
    path=st.lists(st.sampled_from([BLANK, BLANK, *LETTERS.encode("ab c a")]), min_size=1, max_size=60),
    frames=st.lists(st.booleans(), max_size=200),
    share=st.floats(0.01, 1.5),
)
def test_words_are_those_of_the_path_in_order_without_overlap(
    path: list[int], frames: list[bool], share: float
) -> None:
    seconds = 0.03 * len(path) * share
    piece = Emissions(0.0, seconds, random_emissions(0, len(path), len(LETTERS)), Quiet(frames))
    words = words_of_path(path, piece, LETTERS, 0.03)
    assert " ".join(word.text for word in words) == LETTERS.decode(collapse(path))
    edges = [0.0, *(edge for word in words for edge in (word.start, word.end)), seconds + 1e-9]
    assert edges == sorted(edges)
    assert all(word.start < word.end and 0.0 <= word.confidence <= 1.0 for word in words)


def test_where_no_words_are_nothing_is_placed() -> None:
    assert place([], 0.0, Quiet()) == []
    assert words_of_path([BLANK] * 3, heard([BLANK] * 3), LETTERS, 0.03) == ()


def test_letters_far_from_their_word_do_not_count_at_either_end() -> None:
    assert spoken_span([(0.0, 0.1), (1.0, 1.0), (1.1, 1.2), (1.9, 1.9)]) == (1.0, 1.2)
    assert spoken_span([(0.5, 0.6)]) == (0.5, 0.6)


@pytest.mark.parametrize("noise", [-6.0, 0.0])
def test_the_pauses_of_a_noisy_recording_are_quiet_too(noise: float) -> None:
    frames = torch.full((300, 80), noise) + 0.3 * torch.randn(
        300, 80, generator=torch.Generator().manual_seed(0)
    )
    frames[100:200] += 3.0
    quiet = Quiet.of(frames, 0.01).frames
    assert quiet[100:200].count(True) == 0
    assert quiet[:100].count(True) + quiet[200:].count(True) > 190


# --- the recogniser and the command ----------------------------------------------------------------


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load()


def test_a_known_text_is_found_in_a_long_recording(recognizer: Recognizer) -> None:
    texts = {"city": CITY, "service": "There is no charge for this service."}
    parts, text = [], ""
    for name, sentence in texts.items():
        parts += [load_audio(SAMPLES / f"{name}.opus"), torch.zeros(12 * SAMPLE_RATE)]
        text += f" {sentence}"
    together = recognizer.align(torch.cat(parts), text)
    alone = [recognizer.align(SAMPLES / f"{name}.opus", sentence) for name, sentence in texts.items()]
    begins = [0.0, (len(parts[0]) + len(parts[1])) / SAMPLE_RATE]
    expected = [
        (word.text, word.start + begin)
        for one, begin in zip(alone, begins, strict=True)
        for word in one.words
    ]
    assert [word.text for word in together.words] == [word for word, _ in expected]
    assert together.score is not None and together.score > 0.6
    late = [abs(word.start - start) for word, (_, start) in zip(together.words, expected, strict=True)]
    assert sum(late) / len(late) < 0.06


def test_a_text_that_cannot_be_said_in_the_recording_is_refused(recognizer: Recognizer) -> None:
    with pytest.raises(InputError, match=r"city\.opus: a text of .* cannot be said in its 5\.1 s of speech"):
        recognizer.align(SAMPLES / "city.opus", CITY * 10)
    with pytest.raises(InputError, match="no letters"):
        recognizer.align(SAMPLES / "city.opus", " ... ")
    with pytest.raises(InputError, match="nobody speaks"):
        recognizer.align(0.1 * torch.randn(SAMPLE_RATE), CITY)
    with pytest.raises(InputError, match="no such file"):
        recognizer.align("none.wav", CITY)


def test_recordings_that_are_aligned_together_get_what_each_gets_alone(recognizer: Recognizer) -> None:
    service = "There is no charge for this service."
    recordings: list[tuple[str | Path, str]] = [
        (SAMPLES / "city.opus", CITY),
        ("none.wav", CITY),
        (SAMPLES / "tags.opus", " ... "),
        (SAMPLES / "service.opus", service),
    ]
    together = dict(recognizer.align_all(recordings, batch_size=2))
    assert sorted(together) == [0, 1, 2, 3]
    assert "none.wav: no such file" in str(together[1])
    assert "tags.opus: its text has no letters" in str(together[2])
    for number in (0, 3):
        found, alone = together[number], recognizer.align(*recordings[number])
        assert isinstance(found, Transcript)
        assert (found.text, found.duration) == (alone.text, alone.duration)
        for word, same in zip(found.words, alone.words, strict=True):
            assert (word.start, word.end) == pytest.approx((same.start, same.end), abs=0.011)


def test_align_prints_and_writes_and_takes_the_text_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["align", str(SAMPLES / "city.opus")]
    assert main([*arguments, CITY]) == 0
    printed = capsys.readouterr().out
    words = json.loads(printed)["words"]
    assert [word["text"] for word in words] == CITY.split()
    assert 0.5 < words[0]["start"] < 1.1 and 3.0 < words[-1]["start"] < 3.5
    text, output = tmp_path / "city.txt", tmp_path / "new" / "city.json"
    text.write_text(CITY + "\n", encoding="utf-8-sig")
    assert main([*arguments, str(text), "--output", str(output)]) == 0
    assert capsys.readouterr().out == ""
    assert output.read_text() == printed
    assert main([*arguments, str(tmp_path / "none.txt")]) == 1
    assert "none.txt: cannot be read" in capsys.readouterr().err


def test_align_takes_a_text_file_of_any_name_and_says_when_it_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "city.lrc"
    text.write_text("Nobody expects\nquick brown foxes — at 42% of 7 o'clock!\n")
    arguments = ["align", str(SAMPLES / "city.opus"), str(text), "--format", "json"]
    assert main(arguments) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert [segment["text"] for segment in found["segments"]] == text.read_text().splitlines()
    assert found["score"] < 0.4
    assert f"city.opus: the text hardly fits the sound (score {found['score']:.2f})" in told.err
    assert main([*arguments, "--strict"]) == 1
    assert main([*arguments, "--strict", "--least-score", "0"]) == 0
    text.write_text(CITY)
    capsys.readouterr()
    assert main([*arguments, "--strict"]) == 0
    assert capsys.readouterr().err == ""


def manifest_of(path: Path, words: str) -> Path:
    path.write_text(f"path\ttext\twords\n{SAMPLES / 'tags.opus'}\tThe first tags\t{words}\n")
    return path


def test_evaluate_says_how_far_from_their_true_times_words_are_placed(
    tmp_path: Path, recognizer: Recognizer, capsys: pytest.CaptureFixture[str]
) -> None:
    found = recognizer.align(SAMPLES / "tags.opus", "the first tags were made of 10").words
    truth: list[list[object]] = [[f"{word.text},", word.start - 0.02, word.end + 0.01] for word in found[:-1]]
    truth += [["10", found[-1].start + 0.02, found[-1].end + 0.01], ["-", 0.0, 0.0]]
    manifest = manifest_of(tmp_path / "timed.tsv", json.dumps(truth))
    assert main(["evaluate", str(manifest), "--json", "--timing", "--beam", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["timed_words"] == len(found)
    assert told["word_start_error_ms"] == pytest.approx(20.0)
    assert told["word_end_error_ms"] == pytest.approx(10.0)
    assert main(["evaluate", str(manifest), "--json", "--beam", "1"]) == 0
    assert "word_start_error_ms" not in json.loads(capsys.readouterr().out)


def test_a_manifest_without_true_times_is_refused(tmp_path: Path, recognizer: Recognizer) -> None:
    plain = tmp_path / "plain.tsv"
    plain.write_text(f"path\ttext\n{SAMPLES / 'tags.opus'}\tThe first tags\n")
    with pytest.raises(InputError, match="no column 'words'"):
        evaluate_timing(recognizer, plain)
    for words in ("none", "[1]", '[["the", 1]]', '[["the", 1, null]]', "[]", '[["!", 1, 2]]'):
        with pytest.raises(InputError, match="words"):
            evaluate_timing(recognizer, manifest_of(tmp_path / "bad.tsv", words))


def test_words_are_placed_within_60_ms_of_the_truth(recognizer: Recognizer, tmp_path: Path) -> None:
    manifest = Path(__file__).parents[4] / "shared" / "data" / "dev-align.tsv"
    if not manifest.is_file():
        pytest.skip("needs recordings with true word times, which are not in the repository")
    rows = manifest.read_text().splitlines()
    few = [rows[0], *(row.replace("dev-align/", f"{manifest.parent}/dev-align/", 1) for row in rows[1::12])]
    (tmp_path / "few.tsv").write_text("\n".join(few) + "\n")
    report = evaluate_timing(recognizer, tmp_path / "few.tsv")
    assert report.timed_words > 80
    assert report.word_start_error_ms < 60.0


def test_a_manifest_gets_the_times_of_its_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    manifest, output, again = tmp_path / "plain.tsv", folder / "timed.tsv", folder / "again.tsv"
    rows = [f"{SAMPLES / 'city.opus'}\t{CITY}\tann", f"{SAMPLES / 'tags.opus'}\t{'far too long ' * 60}\tbob"]
    manifest.write_text("\n".join(["path\ttext\tspeaker", *rows]) + "\n")
    assert main(["align", str(manifest), "--output", str(output)]) == 1
    assert "cannot be said" in capsys.readouterr().err
    city, tags = read_manifest(output, ["path", "text", "speaker", "words"])
    assert Path(city["path"]).samefile(SAMPLES / "city.opus") and city["speaker"] == "ann"
    assert [word.text for word in timed_words(city)] == "he was born and raised in new york city".split()
    assert (tags["text"], tags["words"]) == ("far too long " * 60, "[]")
    # What has times already gets new ones.
    assert main(["align", str(output), "--output", str(again)]) == 1
    assert again.read_text() == output.read_text()
