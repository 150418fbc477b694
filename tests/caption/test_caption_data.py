"""Captioned photographs are read and cached: nothing is lost, nothing is worked out twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from caption.data import Photograph, Pictures, cache_grids, cache_pictures, plain_only, read_photographs
from common.errors import InputError

CAPTIONS = [
    ("A red dog .", "The dog runs"),
    ("A cat",),
    ("One", "Two cats", "Three red cats run"),
    ("A dog",),
]


@pytest.fixture
def photographs(tmp_path: Path) -> list[Photograph]:
    found = []
    for number, captions in enumerate(CAPTIONS):
        path = tmp_path / f"{number}.png"
        shades = np.linspace(0, 255, 40 * 30 * 3).reshape(40, 30, 3) * (number + 1) / len(CAPTIONS)
        Image.fromarray(shades.astype(np.uint8)).save(path)
        found.append(Photograph(path, captions))
    return found


def test_rows_of_one_photograph_are_gathered_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg"):
        (tmp_path / name).touch()
    manifest = tmp_path / "photos.tsv"
    manifest.write_text("path\tcaption\tby\nb.jpg\tone\tx\na.jpg\ttwo\ty\nb.jpg\tthree\tz\n")
    assert read_photographs(manifest) == [
        Photograph(tmp_path / "b.jpg", ("one", "three")),
        Photograph(tmp_path / "a.jpg", ("two",)),
    ]


def test_a_manifest_s_sources_are_kept_and_several_manifests_are_one_list(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "one.tsv").write_text("path\tcaption\tsource\na.jpg\ta cat\tweb\n")
    (tmp_path / "two.tsv").write_text("path\tcaption\nb.jpg\ta dog\n")
    assert read_photographs(tmp_path / "one.tsv", tmp_path / "two.tsv") == [
        Photograph(tmp_path / "a.jpg", ("a cat",), "web"),
        Photograph(tmp_path / "b.jpg", ("a dog",)),
    ]


def test_only_plain_captions_are_left_of_sources_that_are_sifted() -> None:
    headline, plain = "person arrives at the premiere", "a cat sleeps on a chair"
    photographs = [
        Photograph(Path("1"), (headline, plain), "web"),
        Photograph(Path("2"), (headline,), "web"),
        Photograph(Path("3"), (headline,), "coco"),
    ]
    left = plain_only(photographs, ("web",))
    assert [one.captions for one in left] == [(plain,), (headline,)]


def brightness(pictures: Tensor) -> Tensor:
    """An encoder of a kind: a grid of 2 x 2 means."""
    return torch.nn.functional.adaptive_avg_pool2d(pictures.float(), 2).flatten(2).transpose(1, 2)


def test_caches_are_made_once_and_used_again(photographs: list[Photograph], tmp_path: Path) -> None:
    calls = []

    def encode(pictures: Tensor) -> Tensor:
        calls.append(len(pictures))
        return brightness(pictures)

    def grids(weight: float, flipped: bool = False) -> np.ndarray:
        pictures = cache_pictures(photographs, tmp_path / "cache")
        weights = {"weight": torch.tensor([weight])}
        calls.clear()
        return cache_grids(encode, weights, photographs, pictures, tmp_path / "cache", flipped, batch_size=3)

    pictures = cache_pictures(photographs, tmp_path / "cache")
    expected = brightness(torch.from_numpy(np.array(pictures)))
    made = grids(1.0)
    assert calls == [1, 3, 1] and made.dtype == np.float16
    np.testing.assert_allclose(made, expected.numpy(), rtol=1e-3)
    used = grids(1.0)
    assert calls == [1]  # it asks for the shape alone
    np.testing.assert_array_equal(used, made)
    # Another encoder, or the other way round, is another cache.
    mirrored = grids(1.0, flipped=True)
    assert len(calls) == 3
    np.testing.assert_allclose(mirrored, expected.numpy()[:, [1, 0, 3, 2]], rtol=1e-3)
    grids(2.0)
    assert len(calls) == 3
    assert not list((tmp_path / "cache").glob(".*"))


def test_two_trainings_may_fill_one_cache_at_the_same_time(
    photographs: list[Photograph], tmp_path: Path
) -> None:
    cache, weights = tmp_path / "cache", {"weight": torch.zeros(1)}
    pictures = cache_pictures(photographs, cache)

    def mean(batch: Tensor) -> Tensor:
        return batch.float().mean(dim=(2, 3))[:, None]

    def while_another_begins_and_ends(batch: Tensor) -> Tensor:
        if len(batch) > 1:
            others.append(cache_grids(mean, weights, photographs, pictures, cache))
        return mean(batch)

    others: list[np.ndarray] = []
    own = cache_grids(while_another_begins_and_ends, weights, photographs, pictures, cache)
    np.testing.assert_array_equal(own, others[0])
    assert own.any() and len(list(cache.iterdir())) == 2


def test_pictures_that_are_decoded_when_asked_for_are_those_of_the_cache(
    photographs: list[Photograph], tmp_path: Path
) -> None:
    kept = cache_pictures(photographs, tmp_path / "cache")
    decoded = Pictures(photographs)
    assert len(decoded) == len(kept)
    np.testing.assert_array_equal(decoded[1:3], kept[1:3])


def test_a_photograph_that_changed_is_read_again(photographs: list[Photograph], tmp_path: Path) -> None:
    before = np.array(cache_pictures(photographs, tmp_path / "cache"))
    Image.new("RGB", (50, 50), "white").save(photographs[1].path)
    after = cache_pictures(photographs, tmp_path / "cache")
    assert (after[1] == 255).all() and not (before[1] == 255).all()
    np.testing.assert_array_equal(after[2], before[2])


def test_a_damaged_photograph_is_named_and_leaves_no_cache(
    photographs: list[Photograph], tmp_path: Path
) -> None:
    Path(photographs[2].path).write_bytes(b"nonsense")
    for _ in range(2):
        with pytest.raises(InputError, match=r"2\.png"):
            cache_pictures(photographs, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.memmap"))
