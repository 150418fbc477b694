"""The captioner from a model directory to a sentence, and the scores of what it says."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny_caption_config
from PIL import Image

from caption import Caption, Captioner, DescribeOptions
from caption.bundled import BUNDLED
from caption.images import load_image
from caption.measuring.evaluate import evaluate, score_captions
from caption.model.network import CaptionNetwork
from caption.model.text import END, SPECIAL, START
from common.errors import InputError
from common.models.files import write_model

WORDS = (*SPECIAL, "a", "dog", "cat", "runs", "sleeps", "red", "the")


def tiny_model(directory: Path) -> Path:
    torch.manual_seed(1)
    config = tiny_caption_config(WORDS)
    network = CaptionNetwork(config)
    write_model(directory, dataclasses.asdict(config), network.state_dict(), "# Tiny\n")
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def captioner(model: Path) -> Captioner:
    return Captioner.load(model)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(1)
    paths = [folder / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (8, 6, 3), np.uint8)).resize((60, 80)).save(path)
    return paths


def test_a_photograph_becomes_a_sentence_with_runners_up(captioner: Captioner, photos: list[Path]) -> None:
    caption = captioner.describe(photos[0], DescribeOptions(beam=3, most_words=6))
    assert isinstance(caption, Caption)
    assert len(caption.alternatives) == 2
    for one in (caption, *caption.alternatives):
        assert set(one.text.split()) <= set(WORDS[len(SPECIAL) :])
        assert len(one.text.split()) <= 6
        assert one.log_prob < 0 < one.confidence < 1
        assert one.log_prob <= math.log(one.confidence)
    assert all(one.alternatives == () for one in caption.alternatives)


def test_steps_in_8_bits_are_near_the_exact_ones() -> None:
    pictures = [load_image(path) for path in sorted((BUNDLED.parent / "samples").glob("*.jpg"))]
    exact, ours = Captioner.load(in_8_bits=False), Captioner.load()
    captions = [one.text for one in exact.describe_batch(pictures)]
    for caption in captions:
        likelihoods = exact.log_likelihoods(caption, pictures), ours.log_likelihoods(caption, pictures)
        assert likelihoods[0] != likelihoods[1]
        assert likelihoods[1] == pytest.approx(likelihoods[0], abs=0.05)
    # Of two captions that are almost as likely it may choose the other one.
    for picture, other, caption in zip(pictures, ours.describe_batch(pictures), captions, strict=True):
        (found,), (best,) = (exact.log_likelihoods(text, [picture]) for text in (other.text, caption))
        assert found == pytest.approx(best, abs=0.1)


def test_a_picture_may_come_in_any_form(captioner: Captioner, photos: list[Path]) -> None:
    expected = captioner.describe(photos[0])
    with Image.open(photos[0]) as image, photos[0].open("rb") as file:
        for form in (str(photos[0]), image, file, load_image(photos[0])):
            assert captioner.describe(form) == expected


@pytest.mark.parametrize("beam", [1, 3])
def test_photographs_together_are_described_as_one_by_one(
    captioner: Captioner, photos: list[Path], beam: int
) -> None:
    options = DescribeOptions(beam=beam, most_words=8)
    together = captioner.describe_batch(photos, options)
    assert captioner.describe_batch([], options) == []
    for caption, photo in zip(together, photos, strict=True):
        alone = captioner.describe(photo, options)
        assert caption.text == alone.text
        assert caption.log_prob == pytest.approx(alone.log_prob, abs=1e-4)
        assert [one.text for one in caption.alternatives] == [one.text for one in alone.alternatives]


def test_a_caption_is_as_likely_as_the_network_says(captioner: Captioner, photos: list[Path]) -> None:
    caption = captioner.describe(photos[1], DescribeOptions(most_words=5, fewest_words=0))
    symbols = captioner.vocabulary.encode(caption.text)
    decoder = captioner.network.decoder
    with torch.inference_mode():
        state = decoder.begin(captioner.network.look(load_image(photos[1])[None]))
        total = 0.0
        words = [*symbols, 1] if len(symbols) < 6 else symbols
        for last, word in zip([0, *symbols], words, strict=False):
            log_probs, state = decoder.step(torch.tensor([last]), state)
            total += float(log_probs[0, word])
    assert caption.log_prob == pytest.approx(total, abs=1e-3)
    assert caption.confidence == pytest.approx(math.exp(total / len(words)), abs=1e-3)


def test_an_unreadable_photograph_is_named(captioner: Captioner, photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.jpg: no such file"):
        captioner.describe_batch([photos[0], tmp_path / "missing.jpg"])


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a model directory"):
        Captioner.load(tmp_path)
    with pytest.raises(InputError, match="no such model"):
        Captioner.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    "config",
    [
        {"symbols": ["", "a", "b"], "hidden_size": 8, "layers": 2},
        {"words": ["a"], "encoder": {"name": "speech"}},
        {"words": 3, "encoder": "conv"},
        {},
    ],
)
def test_a_model_of_another_kind_is_refused(config: dict[str, object], tmp_path: Path) -> None:
    write_model(tmp_path / "english", config, {"weight": torch.ones(3)}, "# Speech\n")
    with pytest.raises(InputError, match="english: is not a captioning model"):
        Captioner.load(tmp_path / "english")


def test_weights_of_another_shape_are_refused(model: Path, tmp_path: Path) -> None:
    config = tiny_caption_config(WORDS)
    write_model(tmp_path / "other", dataclasses.asdict(config), {"weight": torch.ones(3)}, "")
    with pytest.raises(InputError, match="is not a captioning model") as caught:
        Captioner.load(tmp_path / "other")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_captions_that_repeat_a_reference_score_full_marks() -> None:
    references = [
        ["A dog runs on the green grass .", "Some animal"],
        ["Two men's hats hang on a wall", "A wall"],
    ]
    scores = score_captions(references, ["a dog runs on the green grass", "two men's hats hang on a wall"])
    assert (scores.bleu1, scores.bleu4, scores.rouge_l) == pytest.approx((100.0, 100.0, 100.0), abs=1e-4)
    assert scores.cider > 200


def test_captions_that_share_nothing_score_nothing() -> None:
    scores = score_captions([["a dog runs"], ["two men sit"]], ["blue sky over water", "green trees"])
    assert dataclasses.astuple(scores) == pytest.approx((0, 0, 0, 0, 0, 0), abs=1e-3)


def test_scores_are_those_of_their_papers() -> None:
    # Papineni et al. 2002, example 2: of seven words "the", two are clipped counts.
    scores = score_captions(
        [["The cat is on the mat.", "There is a cat on the mat."]], ["the the the the the the the"]
    )
    assert scores.bleu1 == pytest.approx(100 * 2 / 7, abs=1e-3)
    # Lin 2004: a longest common subsequence of 3 of 4 and 4 words, beta 1.2.
    scores = score_captions([["police killed the gunman"]], ["police kill the gunman"])
    assert scores.rouge_l == pytest.approx(75.0)


def test_a_manifest_is_described_and_scored(captioner: Captioner, photos: list[Path]) -> None:
    manifest = photos[0].parent / "photos.tsv"
    options = DescribeOptions(beam=2, most_words=5)
    said = [caption.text for caption in captioner.describe_batch(photos, options)]
    rows = [f"{photo.name}\t{text}" for photo, text in zip(photos, said, strict=True)]
    manifest.write_text("\n".join(["path\tcaption", *rows, f"{photos[0].name}\tsomething else", ""]))
    seen: list[int] = []
    report = evaluate(captioner, manifest, options, batch_size=2, progress=seen.append)
    assert report.images == 3 and seen == [2, 1]
    assert report.bleu1 == pytest.approx(100.0, abs=1e-3)
    assert report.model == "tiny" and report.decoding == "beam 2" and report.seconds > 0
    assert score_captions([[text] for text in said], said).bleu1 == pytest.approx(100.0, abs=1e-3)


def test_the_likelihood_of_a_sentence_is_that_of_its_words_one_by_one(
    captioner: Captioner, photos: list[Path]
) -> None:
    scores = captioner.log_likelihoods("A dog runs.", photos)
    for score, photo in zip(scores, photos, strict=True):
        with torch.inference_mode():
            state = captioner.network.decoder.begin(captioner.network.look(load_image(photo)[None]))
            said, total = START, 0.0
            for word in [*captioner.vocabulary.encode("a dog runs"), END]:
                log_probs, state = captioner.network.decoder.step(torch.tensor([said]), state)
                total += float(log_probs[0, word])
                said = word
        assert score == pytest.approx(total / 4, abs=1e-5)


def test_the_caption_of_a_photograph_has_the_likelihood_that_it_was_found_with(
    captioner: Captioner, photos: list[Path]
) -> None:
    caption = captioner.describe(photos[0], DescribeOptions(beam=2, most_words=6))
    words = len(caption.text.split())
    if words < 6:  # its end was reached, and counts
        (score,) = captioner.log_likelihoods(caption.text, [photos[0]])
        assert score * (words + 1) == pytest.approx(caption.log_prob, abs=1e-4)


def test_words_that_were_never_learned_are_passed_over(captioner: Captioner, photos: list[Path]) -> None:
    assert captioner.unknown_words("a zebra runs") == ["zebra"]
    assert captioner.log_likelihoods("a zebra runs", photos) == captioner.log_likelihoods("a runs", photos)
    with pytest.raises(InputError, match="no word that the captioner knows"):
        captioner.log_likelihoods("zebra", photos)


def test_every_caption_begins_with_the_prefix_and_goes_on_as_the_network_would(
    captioner: Captioner, photos: list[Path]
) -> None:
    plain = captioner.describe(photos[0], DescribeOptions(beam=1, most_words=6))
    first = plain.text.split()[0]
    begun = captioner.describe(photos[0], DescribeOptions(beam=1, most_words=6, prefix=first))
    assert begun.text == plain.text
    led = captioner.describe_batch(photos, DescribeOptions(beam=2, most_words=6, prefix="The red cat"))
    assert all(one.text.startswith("the red cat") for one in led)
    assert all(len(one.text.split()) <= 6 for one in led)
    with pytest.raises(InputError, match="never learned: zebra"):
        captioner.describe(photos[0], DescribeOptions(prefix="a zebra"))


def test_no_words_in_a_row_stand_twice_if_that_is_forbidden(captioner: Captioner, photos: list[Path]) -> None:
    caption = captioner.describe(photos[0], DescribeOptions(beam=2, most_words=20, no_repeat=2))
    words = caption.text.split()
    pairs = list(itertools.pairwise(words))
    assert len(pairs) == len(set(pairs))


def test_drawn_captions_depend_on_the_seed_alone_and_stand_best_first(
    captioner: Captioner, photos: list[Path]
) -> None:
    options = DescribeOptions(beam=4, most_words=6, nucleus=0.9)
    first, again = (captioner.describe_batch(photos, options) for _ in range(2))
    assert first == again
    other = captioner.describe_batch(photos, dataclasses.replace(options, seed=2))
    assert first != other
    for caption in first:
        confidences = [caption.confidence, *(one.confidence for one in caption.alternatives)]
        assert len(confidences) == 4
        assert confidences == sorted(confidences, reverse=True)


def test_a_nucleus_of_almost_nothing_is_greedy(captioner: Captioner, photos: list[Path]) -> None:
    greedy = captioner.describe(photos[0], DescribeOptions(beam=1, most_words=6, fewest_words=0))
    drawn = captioner.describe(photos[0], DescribeOptions(beam=1, most_words=6, nucleus=1e-6))
    assert drawn.text == greedy.text


def test_no_caption_is_shorter_than_asked(model: Path, photos: list[Path]) -> None:
    captioner = Captioner.load(model, in_8_bits=False)
    with torch.no_grad():
        captioner.network.decoder.output_bias[END] += 50.0  # it would rather say nothing
    for fewest in (0, 3, 5):
        options = DescribeOptions(beam=2, most_words=6, fewest_words=fewest)
        for caption in captioner.describe_batch(photos, options):
            assert len(captioner.vocabulary.encode(caption.text)) == fewest


def test_a_caption_names_what_the_encoder_believes_if_that_weighs_enough(photos: list[Path]) -> None:
    torch.manual_seed(1)
    words = (*SPECIAL, "a", "dog", "runs", "cup")
    captioner = Captioner(CaptionNetwork(tiny_caption_config(words, classes=("cup", ""), beliefs=1)), "tiny")
    with torch.no_grad():
        captioner.network.decoder.concepts.classifier.bias.copy_(torch.tensor([50.0, -50.0]))
        captioner.network.decoder.output_bias[words.index("cup")] -= 20.0
        captioner.network.decoder.output_bias[END] += 3.0
    options = DescribeOptions(beam=2, most_words=12, doubt=0.0, insist=0.0)
    likeliest = captioner.describe(photos[0], options)
    naming = captioner.describe(photos[0], dataclasses.replace(options, insist=4.0))
    assert "cup" not in likeliest.text.split() and "cup" in naming.text.split()
    assert naming.log_prob < likeliest.log_prob
    assert [one.text for one in naming.alternatives] == [likeliest.text]
    for unheard in (
        dataclasses.replace(options, insist=4.0, prefix="a"),
        dataclasses.replace(options, insist=0.1),
    ):
        assert "cup" not in captioner.describe(photos[0], unheard).text.split()


def test_a_doubted_caption_gives_way_and_stands_among_the_runners_up(photos: list[Path]) -> None:
    torch.manual_seed(1)
    words = (*SPECIAL, "a", "dog", "runs", "cup")
    config = tiny_caption_config(words, classes=("cup", ""), beliefs=1)
    captioner = Captioner(CaptionNetwork(config), "tiny")
    with torch.no_grad():
        captioner.network.decoder.concepts.classifier.bias.copy_(torch.tensor([50.0, -50.0]))
        captioner.network.decoder.output_bias[words.index("cup")] -= 50.0
    options = DescribeOptions(beam=2, most_words=6)
    options = dataclasses.replace(options, doubt=0.0)
    believed = captioner.describe(photos[0], options)
    doubted = captioner.describe(photos[0], dataclasses.replace(options, doubt=1.0))
    assert doubted.text == "a photograph of a cup"
    assert doubted.confidence == pytest.approx(1.0, abs=1e-3) and doubted.log_prob == pytest.approx(
        0.0, abs=1e-3
    )
    assert [one.text for one in doubted.alternatives] == [believed.text]
