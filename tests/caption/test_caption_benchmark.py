"""The benchmark times everybody on the same photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from networks import tiny_caption_config
from PIL import Image

import caption.benchmark
from caption import Captioner, DescribeOptions
from caption.model.network import CaptionNetwork
from caption.model.text import SPECIAL
from common.core.search import Hypothesis, beam_search


@pytest.fixture
def captioner() -> Captioner:
    torch.manual_seed(0)
    words = (*SPECIAL, "a", "dog")
    return Captioner(CaptionNetwork(tiny_caption_config(words)), "tiny")


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for number in range(3):
        Image.effect_noise((80, 60), 60 + number).convert("RGB").save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(3)]


class Peer(torch.nn.Module):
    """Stands for a large network, and counts what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.fc: torch.nn.Module = torch.nn.Linear(4, 1)
        self.seen: list[torch.Size] = []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.seen.append(pictures.shape)
        return torch.zeros(len(pictures), 4)


def test_everybody_sees_the_same_photographs(
    captioner: Captioner, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    resnet, transformer = Peer(), Peer()
    monkeypatch.setattr(torchvision.models, "resnet101", lambda: resnet)
    monkeypatch.setattr(torchvision.models, "vit_b_16", lambda image_size: transformer)
    costs = caption.benchmark.compare(captioner, paths, DescribeOptions(beam=2), batch_size=2, repeats=1)
    assert [cost.name.split(",")[0] for cost in costs] == ["caption", "caption", "ResNet-101", "BLIP-base"]
    assert all(cost.seconds > 0.0 for cost in costs)
    assert resnet.seen == [(1, 3, 224, 224)] * 6  # once untimed, once timed
    assert transformer.seen == [(1, 3, 384, 384)] * 6


def test_the_peer_says_as_many_words_as_we_do(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models, "resnet101", Peer)
    found: list[list[list[Hypothesis]]] = []

    def noted(*arguments: Any) -> list[list[Hypothesis]]:
        found.append(beam_search(*arguments))
        return found[-1]

    monkeypatch.setattr(caption.benchmark, "beam_search", noted)
    caption.benchmark.resnet_lstm(paths, words=7)()
    assert [len(hypotheses) for (hypotheses,) in found] == [5, 5, 5]
    assert all(len(one.symbols) == 8 for (hypotheses,) in found for one in hypotheses)


@pytest.mark.usefixtures("threads_restored")
@pytest.mark.parametrize("threads", [1, 2])
def test_files_become_the_captions_that_one_by_one_gives(
    captioner: Captioner, paths: list[str], threads: int
) -> None:
    torch.set_num_threads(threads)
    options = DescribeOptions(beam=2)
    together = caption.benchmark.describe_files(captioner, paths, options, batch_size=2)
    assert together == [captioner.describe(path, options).text for path in paths]
