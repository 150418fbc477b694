"""Models of one shape become their mean; others are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from caption.bundled import BUNDLED
from caption.cli import main as caption_main
from common.errors import InputError
from common.models.averaging import average
from common.models.files import read_model, write_model
from speech.cli import main
from speech.model.network import SpeechConfig, SpeechNetwork
from speech.model.subwords import LETTER_SYMBOLS


def write_random(directory: Path, seed: int, **shape: object) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    shape = {"channels": 8, "hidden_size": 6, "lower_layers": 1, "upper_layers": 1, **shape}
    network = SpeechNetwork(SpeechConfig(symbols=LETTER_SYMBOLS, phones=LETTER_SYMBOLS, **shape))  # type: ignore[arg-type]
    write_model(directory, dataclasses.asdict(network.config), network.state_dict(), "# A card")
    return read_model(directory)[1]


def test_the_mean_weighs_each_model_by_its_share(tmp_path: Path) -> None:
    first = write_random(tmp_path / "first", 1)
    heard = (1.0, *[0.0] * (len(LETTER_SYMBOLS) - 1))
    second = write_random(tmp_path / "second", 2, dropout=0.3, frequencies=heard)
    models = [str(tmp_path / "first"), str(tmp_path / "second")]
    assert main(["average", *models, "--shares", "3", "1", "--output", str(tmp_path / "mean")]) == 0
    config, mean = read_model(tmp_path / "mean")
    assert config["dropout"] == 0.3
    assert config["frequencies"] == list(heard)
    assert mean.keys() == first.keys()
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor, 0.75 * first[name] + 0.25 * second[name], atol=1e-3, rtol=1e-3)


def test_without_shares_all_models_count_the_same(tmp_path: Path) -> None:
    first, second = write_random(tmp_path / "first", 1), write_random(tmp_path / "second", 2)
    models = [str(tmp_path / "first"), str(tmp_path / "second")]
    assert main(["average", *models, "--output", str(tmp_path / "mean")]) == 0
    name = "phones.weight"
    mean = read_model(tmp_path / "mean")[1][name]
    torch.testing.assert_close(mean, (first[name] + second[name]) / 2, atol=1e-3, rtol=1e-3)


def test_the_mean_of_one_is_the_model_in_other_storage(tmp_path: Path) -> None:
    first = write_random(tmp_path / "first", 1, hidden_size=40)
    command = ["average", str(tmp_path / "first"), "--storage", "int8", "--output", str(tmp_path / "small")]
    assert main(command) == 0
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("first", "small")]
    assert sizes[1] < 0.7 * sizes[0]
    for name, tensor in read_model(tmp_path / "small")[1].items():
        torch.testing.assert_close(tensor, first[name], atol=float(tensor.abs().max()) / 250, rtol=1e-3)


@pytest.mark.parametrize(
    ("shape", "shares", "reason"),
    [
        ({"hidden_size": 7}, [1.0, 1.0], "another shape than .*: hidden_size"),
        ({}, [1.0], "1 shares for 2 models"),
        ({}, [1.0, -1.0], "more than 0"),
    ],
)
def test_what_has_no_mean_is_refused(
    tmp_path: Path, shape: dict[str, object], shares: list[float], reason: str
) -> None:
    write_random(tmp_path / "first", 1)
    write_random(tmp_path / "second", 2, **shape)
    with pytest.raises(InputError, match=reason):
        average([tmp_path / "first", tmp_path / "second"], shares, tmp_path / "mean", tmp_path, "Mean")
    assert not (tmp_path / "mean").exists()


def test_captioners_have_a_mean_as_well(tmp_path: Path) -> None:
    config, weights = read_model(BUNDLED / "photos")
    changed = {name: 3 * tensor if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    write_model(tmp_path / "changed", config, changed, "# A card")
    assert (
        caption_main(["average", "photos", str(tmp_path / "changed"), "--output", str(tmp_path / "mean")])
        == 0
    )
    mean = read_model(tmp_path / "mean")[1]
    assert mean.keys() == weights.keys()
    for name, tensor in mean.items():
        expected = 2 * weights[name] if tensor.is_floating_point() else weights[name]
        torch.testing.assert_close(tensor, expected, atol=1e-3, rtol=1e-3)
