"""Training a captioner: captioned photographs in, a model directory out.

First the decoder learns beside an encoder that stands still, whose grids are worked out once; then both
learn together from the pictures, the encoder in smaller steps.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caption.captioner import DescribeOptions, config_from_json, search
from caption.data import (
    CaptionBatch,
    Photograph,
    TrainingPhotographs,
    cache_grids,
    cache_pictures,
    read_photographs,
)
from caption.encoder import EncoderConfig, load_imagenet
from caption.evaluate import score_captions
from caption.network import CaptionConfig, CaptionNetwork, caption_loss
from caption.text import Vocabulary
from common.model_files import read_model, write_model
from common.training import FitOptions, ResumableBatches, TrainingModule, decayed, fit


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides a training run.

    Attributes:
        train, dev: manifests of captioned photographs.
        run: directory for checkpoint, log and the best model; an unfinished run in it is resumed.
        cache: directory for decoded pictures and grids.
        init: a model directory to start from instead of a new decoder.
        encoder: which network looks; see `caption.encoder`.
        encoder_weights: a safetensors file with ImageNet weights of EfficientNet-Lite0.
        fine_tune: let the encoder learn as well.
        frozen_blocks: of a fine-tuned EfficientNet-Lite0, this many first blocks stand still: they are
            the costly ones, and the most general.
        attention: weigh the grid's positions anew for each word.
        epochs: passes over the photographs.
        batch_size: photographs in a batch, five captions each.
        learning_rate: highest of the one-cycle schedule.
        encoder_rate: the encoder's learning rate is this share of it.
        warmup: share of the steps until then.
        weight_decay: AdamW's.
        least_count: words that stand in fewer places of the captions are not learned.
        smoothing: of the labels.
        dropout: of word vectors and outputs.
        seed: of everything random.
        precision: "bf16-mixed" helps only processors that have bfloat16 instructions.
        average_decay: of the moving average of the weights that is evaluated and kept.
        threads: of PyTorch; 0 leaves its own choice.
        device: "cpu", "cuda", "mps" or "auto".
    """

    train: Path
    dev: Path
    run: Path
    cache: Path = Path("runs/cache")
    init: Path | None = None
    encoder: str = EncoderConfig().name
    encoder_weights: Path | None = None
    fine_tune: bool = False
    frozen_blocks: int = 0
    attention: bool = True
    epochs: int = 8
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    encoder_rate: float = 0.1
    warmup: float = 0.1
    weight_decay: float = 0.01
    least_count: int = 4
    smoothing: float = 0.1
    dropout: float = 0.4
    seed: int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    average_decay: float = 0.99
    threads: int = 0
    device: str = "cpu"


class CaptionModule(TrainingModule[CaptionNetwork]):
    """The captioner, its word loss, and its scores on the dev photographs."""

    def __init__(
        self,
        network: CaptionNetwork,
        dev: list[Photograph],
        dev_views: NDArray[Any],
        options: TrainOptions,
    ) -> None:
        super().__init__(network, options.learning_rate, options.warmup, options.weight_decay)
        self.dev = dev
        self.dev_views = dev_views
        self.options = options
        self.vocabulary = Vocabulary(network.config.words)
        network.encoder.requires_grad_(options.fine_tune)
        if options.fine_tune and options.frozen_blocks:
            network.encoder.freeze(options.frozen_blocks)

    def scene(self, views: Tensor) -> Any:
        """Pictures or grids -> what captions are made from."""
        if views.ndim == 4:
            # Backwards, depthwise convolutions are slower in bfloat16; the decoder is twice as fast.
            with torch.autocast(views.device.type, enabled=False):
                views = self.network.encoder(views)
        return self.network.decoder.look(views)

    def training_step(self, batch: CaptionBatch, batch_number: int) -> Tensor:
        """Cross-entropy of one batch, in nats a word."""
        logits = self.network.decoder(self.scene(batch.views), batch.inputs)
        loss = caption_loss(logits, batch.targets, batch.lengths, self.options.smoothing)
        self.log("loss", loss, batch_size=len(batch.lengths))
        return loss

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The encoder learns in smaller steps than the decoder."""
        groups = decayed(self.network.decoder, self.weight_decay)
        if self.options.fine_tune:
            rate = self.learning_rate * self.options.encoder_rate
            groups += decayed(self.network.encoder, self.weight_decay, lr=rate)
        return groups

    def dev_metrics(self) -> dict[str, float]:
        """Scores on the dev photographs, with the search that `caption describe` uses."""
        captions = []
        for start in range(0, len(self.dev), 50):
            views = torch.from_numpy(np.array(self.dev_views[start : start + 50]))
            scene = self.scene(views if views.ndim == 4 else views.float())
            found = search(self.network.decoder, scene, DescribeOptions())
            captions += [self.vocabulary.decode(several[0].symbols) for several in found]
        scores = score_captions([photograph.captions for photograph in self.dev], captions)
        return {"minus_cider": -scores.cider, **vars(scores)}

    def export(self, directory: Path, metrics: dict[str, float]) -> None:
        """Write a model directory; the card of a shipped model is written by hand."""
        figures = "\n".join(f"- {name}: {figure:.1f}" for name, figure in metrics.items())
        card = f"# Captioner\n\nOn the dev photographs it was chosen by:\n\n{figures}\n"
        write_model(directory, dataclasses.asdict(self.network.config), self.network.state_dict(), card)


def train(options: TrainOptions) -> None:
    """Train a captioner, or go on where the run directory stands; the best is in `run/best`.

    Raises:
        InputError: if a manifest, a photograph, the model to start from or the run cannot be used.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    photographs, dev = read_photographs(options.train), read_photographs(options.dev)
    network = _network(options, photographs)
    pictures = cache_pictures(photographs, options.cache)
    dev_views: NDArray[Any] = cache_pictures(dev, options.cache)
    vocabulary = Vocabulary(network.config.words)
    views: Any = pictures
    if not options.fine_tune:
        encoder = network.encoder.eval()
        name = f"{options.init or options.encoder_weights or options.seed} {options.encoder}"
        views = tuple(
            cache_grids(encoder, f"{name} train", pictures, options.cache, flipped)
            for flipped in (False, True)
        )
        dev_views = cache_grids(encoder, f"{name} dev", dev_views, options.cache)
    training_set = TrainingPhotographs(photographs, vocabulary, views, options.batch_size)
    batches: ResumableBatches[Any] = ResumableBatches(training_set.plan, training_set.collate, options.seed)
    fit(
        CaptionModule(network, dev, dev_views, options),
        batches,
        FitOptions(
            run=options.run,
            epochs=options.epochs,
            seed=options.seed,
            precision=options.precision,
            average_decay=options.average_decay,
            device=options.device,
        ),
    )


def _network(options: TrainOptions, photographs: list[Photograph]) -> CaptionNetwork:
    """A network to start from: a new decoder, or that of a model directory."""
    if options.init is not None:
        stored, weights = read_model(options.init)
        network = CaptionNetwork(dataclasses.replace(config_from_json(stored), dropout=options.dropout))
        network.load_state_dict(weights)
        return network
    words = Vocabulary.of(
        (one for photograph in photographs for one in photograph.captions), options.least_count
    )
    network = CaptionNetwork(
        CaptionConfig(
            words=words.words,
            encoder=EncoderConfig(options.encoder),
            attention=options.attention,
            dropout=options.dropout,
        )
    )
    if options.encoder_weights is not None:
        load_imagenet(network.encoder, options.encoder_weights)
    return network
