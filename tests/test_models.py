"""The models that ship: small enough, whole, and good at what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from caption import Captioner
from caption.data import read_photographs
from caption.measuring.evaluate import score_captions
from common.manifest import read_manifest
from speech import Recognizer
from speech.measuring.scoring import error_rates

ROOT = Path(__file__).parents[1]
ENGLISH, PHOTOS = ROOT / "speech" / "models" / "english", ROOT / "caption" / "models" / "photos"
DATA = ROOT.parent / "shared" / "data"
MEGABYTE = 1_000_000

SAID = {
    "tags.opus": "The first tags were made of tin.",
    "service.opus": "There is no charge for this service.",
    "city.opus": "He was born and raised in New York City.",
}

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside the repository")


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*"))


def test_the_models_are_small_enough_to_ship_and_have_cards() -> None:
    for directory in (ENGLISH, ENGLISH / "language", ENGLISH / "judge", PHOTOS):
        weights = "model.safetensors.xz" if directory.name == "language" else "model.safetensors"
        files = {path.name for path in directory.iterdir() if path.is_file()}
        assert files == {"config.json", weights, "README.md"}
    assert size(ENGLISH) <= 40 * MEGABYTE
    assert size(PHOTOS) <= 25 * MEGABYTE


def test_the_samples_are_heard() -> None:
    recognizer = Recognizer.load()
    heard = recognizer.transcribe_batch([ROOT / "speech" / "samples" / name for name in SAID])
    assert error_rates(list(SAID.values()), [one.text for one in heard]).cer < 45.0
    for transcript in heard:
        assert transcript.words
        assert all(0.0 <= word.start < word.end <= transcript.duration + 0.1 for word in transcript.words)


def test_the_samples_are_described_in_a_sentence() -> None:
    captioner = Captioner.load()
    for path in sorted((ROOT / "caption" / "samples").glob("*.jpg")):
        caption = captioner.describe(path)
        assert 3 <= len(caption.text.split()) <= 24
        assert 0.0 < caption.confidence <= 1.0
        assert len(caption.alternatives) == 2


@needs_data
def test_people_never_heard_before_are_understood_about_as_well_as_the_card_says() -> None:
    rows = read_manifest(DATA / "dev-an4.tsv", ["path", "text"])[::8]
    heard = Recognizer.load().transcribe_batch([row["path"] for row in rows])
    assert error_rates([row["text"] for row in rows], [one.text for one in heard]).cer < 30.0


@needs_data
def test_photographs_never_seen_before_are_described_about_as_well_as_the_card_says() -> None:
    photographs = read_photographs(DATA / "flickr8k-dev.tsv")[::20]
    captions = Captioner.load().describe_batch([photograph.path for photograph in photographs])
    scores = score_captions(
        [photograph.captions for photograph in photographs], [caption.text for caption in captions]
    )
    assert scores.bleu1 > 50.0
    assert scores.cider > 35.0
