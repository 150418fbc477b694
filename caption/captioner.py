"""The whole captioner: a photograph becomes a sentence.

from caption import Captioner
print(Captioner.load().describe("photo.jpg").text)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from PIL import Image
from torch import Tensor

from caption.encoder import EncoderConfig
from caption.images import load_image
from caption.network import CaptionConfig, CaptionNetwork, Decoder, Scene
from caption.options import DescribeOptions
from caption.text import END, START, Vocabulary
from common.errors import InputError
from common.model_files import find_model, read_model
from common.search import BeamOptions, Hypothesis, beam_search

BUNDLED = Path(__file__).parent / "models"

Picture = str | Path | BinaryIO | Image.Image | Tensor


@dataclass(frozen=True)
class Caption:
    """What was seen on a photograph.

    Attributes:
        text: the caption, lower case.
        log_prob: natural logarithm of its probability.
        confidence: geometric mean of its words' probabilities, 0 to 1.
        alternatives: the runners-up, best first, themselves without runners-up.
    """

    text: str
    log_prob: float
    confidence: float
    alternatives: tuple[Caption, ...] = ()


class Captioner:
    """A trained network with all that it needs to be asked.

    Args:
        network: encoder and decoder.
        name: the model's name, as it is reported.
        device: where it runs.
    """

    def __init__(self, network: CaptionNetwork, name: str, device: str | torch.device = "cpu") -> None:
        self.network = network.to(device).eval()
        self.name = name
        self.device = torch.device(device)
        self.vocabulary = Vocabulary(network.config.words)

    @classmethod
    def load(cls, model: str | Path = "photos", device: str = "cpu", threads: int = 0) -> Captioner:
        """Load a bundled model by its name, or any model directory.

        Args:
            model: "photos", or the path of a model directory.
            device: where PyTorch runs it: "cpu", "cuda", "mps".
            threads: PyTorch's threads, for the whole process; 0 leaves its own choice.

        Raises:
            InputError: if there is no such model or it cannot be read.
        """
        if threads:
            torch.set_num_threads(threads)
        directory = find_model(model, BUNDLED)
        network = network_from_model(*read_model(directory), directory)
        network.encoder.fold()
        return cls(network, directory.name, device)

    def describe(self, picture: Picture, options: DescribeOptions | None = None) -> Caption:
        """Describe one photograph.

        Args:
            picture: a file, an open binary file, a Pillow image, or uint8 (3, 224, 224).
            options: how to search; None for the defaults.

        Raises:
            InputError: if the picture cannot be read.
        """
        return self.describe_batch([picture], options)[0]

    @torch.inference_mode()
    def describe_batch(
        self, pictures: Sequence[Picture], options: DescribeOptions | None = None
    ) -> list[Caption]:
        """Describe photographs together; arguments and errors as in `describe`."""
        if not pictures:
            return []
        loaded = [one if isinstance(one, Tensor) else load_image(one) for one in pictures]
        scene = self.network.look(torch.stack(loaded).to(self.device))
        found = search(self.network.decoder, scene, options or DescribeOptions())
        return [self._caption(hypotheses) for hypotheses in found]

    def _caption(self, hypotheses: Sequence[Hypothesis]) -> Caption:
        """The hypotheses of one picture, best first -> its caption with runners-up."""
        captions = [
            Caption(
                self.vocabulary.decode(one.symbols),
                one.log_prob,
                math.exp(one.log_prob / max(1, len(one.log_probs))),
            )
            for one in hypotheses
        ]
        best = captions[0]
        return Caption(best.text, best.log_prob, best.confidence, tuple(captions[1:]))


def search(decoder: Decoder, scene: Scene, options: DescribeOptions) -> list[list[Hypothesis]]:
    """The likeliest captions of every picture of a scene, best first."""
    return beam_search(
        decoder.step,
        decoder.reorder,
        decoder.begin(scene),
        len(scene.first),
        START,
        END,
        BeamOptions(width=options.beam, most_steps=options.most_words + 1),
        scene.first.device,
    )


def network_from_model(
    stored: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    directory: Path,
    dropout: float | None = None,
) -> CaptionNetwork:
    """The network of a model directory, as `read_model` gives it.

    Args:
        stored: the configuration.
        weights: of encoder and decoder.
        directory: where they come from, for the error.
        dropout: in place of the stored one.

    Raises:
        InputError: if it is a model of another kind.
    """
    try:
        encoder = dict(stored["encoder"])
        encoder["mean"], encoder["scale"] = tuple(encoder["mean"]), tuple(encoder["scale"])
        shape = {**stored, "words": tuple(stored["words"]), "encoder": EncoderConfig(**encoder)}
        if dropout is not None:
            shape["dropout"] = dropout
        network = CaptionNetwork(CaptionConfig(**shape))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(directory, f"is not a captioning model: {error}") from error
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:  # it names every weight
        raise InputError(directory, "is not a captioning model: config and weights do not match") from error
    return network
