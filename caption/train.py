"""Training a captioner: captioned photographs in, a model directory out.

Three stages, each from the best model of the one before it. The decoder learns beside an encoder that
stands still, whose grids are worked out once; then both learn from the pictures; then the decoder says
captions of its own, and those that agree with people's more than their siblings do become likelier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caption.captioner import BUNDLED, network_from_model, search
from caption.data import (
    CaptionBatch,
    Photograph,
    TrainingPhotographs,
    cache_grids,
    cache_pictures,
    pad_captions,
    read_photographs,
)
from caption.encoder import EncoderConfig, load_imagenet, load_torchvision
from caption.evaluate import score_captions
from caption.network import (
    CaptionConfig,
    CaptionNetwork,
    Scene,
    caption_loss,
    distillation_loss,
    own_steps,
    speakable,
)
from caption.options import DescribeOptions, TrainOptions
from caption.reward import Reward, reward_of
from caption.text import END, START, Vocabulary
from common.errors import InputError
from common.files import file_identity
from common.model_files import find_model, read_model, write_model
from common.run_record import keep_record
from common.search import Hypothesis, sample
from common.training import FitOptions, ResumableBatches, TrainingModule, decayed, fit

StageName = Literal["decoder", "everything", "reward"]


@dataclass(frozen=True)
class Stage:
    """One part of a run: what learns, from what, how long and in what steps."""

    name: StageName
    epochs: int
    learning_rate: float
    encoder_share: float  # the encoder's learning rate is this share of the decoder's; 0: it stands still
    batch_size: int
    dropout: float


def train(options: TrainOptions) -> None:
    """Train a captioner, or go on where the run directory stands; the best is in `run/best`.

    Raises:
        InputError: if a manifest, a photograph, the model to start from or the run cannot be used.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    photographs, dev = read_photographs(options.train), read_photographs(options.dev)
    files = [(one, file_identity(one.path)) for one in (*photographs, *dev)]
    keep_record(options.run, options, files)
    best = None if options.init is None else find_model(options.init, BUNDLED)
    for stage in _stages(options):
        directory = options.run / stage.name
        finished = directory / "finished"
        if not finished.is_file():
            torch.manual_seed(options.seed)
            network = _network(options, stage, photographs, best)
            _train_stage(network, stage, photographs, dev, options)
            finished.touch()
        best = directory / "best"
    if best is None:
        raise InputError(options.run, "nothing to train: every stage has 0 epochs")
    config, weights = read_model(best)
    write_model(options.run / "best", config, weights, (best / "README.md").read_text(encoding="utf-8"))


def _train_stage(
    network: CaptionNetwork,
    stage: Stage,
    photographs: list[Photograph],
    dev: list[Photograph],
    options: TrainOptions,
) -> None:
    """One stage: its best model so far is always in `run/<stage>/best`."""
    pictures, dev_pictures = (cache_pictures(several, options.cache) for several in (photographs, dev))
    views: Any = pictures
    dev_views: NDArray[Any] = dev_pictures
    if stage.name == "decoder":
        views = tuple(_grids(network, photographs, pictures, options, flipped) for flipped in (False, True))
    if not stage.encoder_share:
        dev_views = _grids(network, dev, dev_pictures, options)
    teachers = [] if stage.name == "reward" else [_teacher(network, stage, one) for one in options.teachers]
    vocabulary = Vocabulary(network.config.words)
    training_set = TrainingPhotographs(photographs, vocabulary, views, stage.batch_size)
    fit(
        CaptionModule(network, stage, dev, dev_views, training_set.symbols, options, teachers),
        ResumableBatches(training_set.plan, training_set.collate, options.seed),
        FitOptions(
            run=options.run / stage.name,
            epochs=stage.epochs,
            seed=options.seed,
            precision=options.precision,
            average_decay=options.average_decay,
            device=options.device,
        ),
    )


class CaptionModule(TrainingModule[CaptionNetwork]):
    """The captioner in one stage: its loss, and its scores on the dev photographs.

    Args:
        network: what is trained.
        stage: which parts of it learn, and from what.
        dev: photographs that are measured on.
        dev_views: pictures (photographs, 3, 224, 224) or grids (photographs, positions, channels).
        references: what people said of each training photograph, as symbols.
        options: of the run.
        teachers: to learn from, beside people's captions.
    """

    def __init__(
        self,
        network: CaptionNetwork,
        stage: Stage,
        dev: list[Photograph],
        dev_views: NDArray[Any],
        references: list[list[list[int]]],
        options: TrainOptions,
        teachers: Sequence[CaptionNetwork] = (),
    ) -> None:
        super().__init__(network, stage.learning_rate, options.warmup, options.weight_decay)
        self.stage = stage
        self.dev = dev
        self.dev_views = dev_views
        self.options = options
        self.vocabulary = Vocabulary(network.config.words)
        self.teachers = [*teachers]  # a plain list: they are no part of what is trained
        self.reward = reward_of(references, options.bleu_weight) if stage.name == "reward" else None
        network.encoder.requires_grad_(stage.encoder_share > 0.0)

    def training_step(self, batch: CaptionBatch, batch_number: int) -> Tensor:
        """The loss of one batch."""
        scene = scene_of(self.network, batch.views)
        if self.reward is not None:
            return self._reward_loss(scene, batch.numbers, self.reward)
        inputs = batch.inputs
        if self.options.own_words:
            share = self.options.own_words * self.global_step / self.total_steps
            inputs = self.partly_own(scene, inputs, share)
        logits = self.network.decoder(scene, inputs)
        loss = caption_loss(logits, batch.targets, batch.lengths, self.options.smoothing)
        if self.teachers:
            loss = (loss + distillation_loss(logits, self.taught(batch.views, inputs), batch.lengths)) / 2
        self.log("loss", loss, batch_size=len(batch.lengths))
        return loss

    @torch.no_grad()
    def partly_own(self, scene: Scene, inputs: Tensor, share: float) -> Tensor:
        """Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099): some words are the decoder's own.

        In two passes (Mihaylova and Martins 2019, arXiv:1906.07651): the first is told every word, and what
        it draws stands in the second in the place of some of them.

        Args:
            scene: of the pictures.
            inputs: (captions, steps) true words, start symbol first.
            share: of the words that are exchanged.
        """
        # Of the words from the second on.
        expected = speakable(self.network.decoder(scene, inputs[:, :-1])).exp()
        drawn = expected.flatten(0, 1).multinomial(1).view(len(inputs), -1)
        own = torch.rand(drawn.shape, device=drawn.device) < share
        return torch.cat([inputs[:, :1], torch.where(own, drawn, inputs[:, 1:])], dim=1)

    @torch.no_grad()
    def taught(self, views: Tensor, inputs: Tensor) -> Tensor:
        """What the teachers expect on the mean: probabilities (captions, steps, words)."""
        total: Tensor | float = 0.0
        for teacher in self.teachers:
            total = total + teacher.decoder(scene_of(teacher, views), inputs).float().softmax(dim=-1)
        assert isinstance(total, Tensor)
        return total / len(self.teachers)

    def _reward_loss(self, scene: Scene, numbers: tuple[int, ...], reward: Reward) -> Tensor:
        """Self-critical sequence training (Rennie et al. 2017, arXiv:1612.00563).

        Of five captions that are drawn for each photograph, those with a better reward than the mean
        of the other four become likelier, the rest less likely (Kool et al. 2019; Luo 2020,
        arXiv:2003.09971).
        """
        said = self._samples(scene, _SAMPLES)
        captions = [list(one.symbols) for one in said]
        rewards = torch.tensor(
            [reward(numbers[row // _SAMPLES], caption) for row, caption in enumerate(captions)]
        ).view(-1, _SAMPLES)
        advantages = (rewards - rewards.mean(dim=1, keepdim=True)) * (_SAMPLES / (_SAMPLES - 1))
        inputs, targets, lengths = (part.to(self.device) for part in pad_captions(captions))
        # A caption that was cut off never said its end.
        lengths = lengths - torch.tensor([not one.finished for one in said], device=self.device).long()
        log_probs = speakable(self.network.decoder(scene, inputs))
        chosen = log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)  # (captions, steps)
        mask = own_steps(lengths, chosen.shape[1])
        weighed = chosen * advantages.view(-1, 1).to(self.device)
        self.log("reward", rewards.mean(), batch_size=len(numbers), prog_bar=True)
        return -weighed[mask].sum() / mask.sum()

    @torch.no_grad()
    def _samples(self, scene: Scene, captions: int) -> list[Hypothesis]:
        """Draw captions without dropout; the draws depend on seed and step alone, as a resume needs."""
        decoder = self.network.decoder.eval()
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.global_step)
        state = decoder.begin(Scene(*(part.detach() for part in scene)), captions)
        said = sample(
            decoder.step,
            state,
            len(state.attention),
            START,
            END,
            generator,
            _MOST_WORDS + 1,
            device=self.device,
        )
        decoder.train()
        return said

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The encoder learns in smaller steps than the decoder."""
        groups = decayed(self.network.decoder, self.weight_decay)
        if self.stage.encoder_share:
            rate = self.learning_rate * self.stage.encoder_share
            groups += decayed(self.network.encoder, self.weight_decay, lr=rate)
        return groups

    def dev_metrics(self) -> dict[str, float]:
        """Scores on the dev photographs, with the search that `caption describe` uses."""
        captions = []
        for start in range(0, len(self.dev), 50):
            views = torch.from_numpy(np.array(self.dev_views[start : start + 50])).to(self.device)
            found = search(self.network.decoder, scene_of(self.network, views), DescribeOptions())
            captions += [self.vocabulary.decode(several[0].symbols) for several in found]
        scores = score_captions([photograph.captions for photograph in self.dev], captions)
        return {"minus cider": -scores.cider, **dataclasses.asdict(scores)}

    def export(self, directory: Path, metrics: dict[str, float]) -> None:
        """Write a model directory; the card of a shipped model is written by hand."""
        figures = "\n".join(f"- {name}: {figure:.1f}" for name, figure in metrics.items())
        card = f"# Captioner\n\nOn the dev photographs that it was chosen by, beam 3:\n\n{figures}\n"
        write_model(directory, dataclasses.asdict(self.network.config), self.network.state_dict(), card)


# Captions that are drawn for each photograph in the reward stage, and how long they may become.
_SAMPLES = 5
_MOST_WORDS = 20


def scene_of(network: CaptionNetwork, views: Tensor) -> Scene:
    """Pictures or grids -> what a network makes captions from."""
    if views.ndim == 4:
        # On a CPU the backward pass of depthwise convolutions is slower in bfloat16.
        with torch.autocast("cpu", enabled=False):
            views = network.encoder(views)
    return network.decoder.look(views.float())


def _stages(options: TrainOptions) -> list[Stage]:
    """The stages that the options ask for."""
    size, dropout = options.batch_size, options.dropout
    stages = [
        Stage("decoder", options.decoder_epochs, options.decoder_rate, 0.0, size, dropout),
        Stage(
            "everything",
            options.everything_epochs,
            options.everything_rate,
            options.encoder_share,
            size,
            dropout,
        ),
        Stage(
            "reward",
            options.reward_epochs,
            options.reward_rate,
            options.reward_encoder_share,
            options.reward_batch_size,
            options.reward_dropout,
        ),
    ]
    return [stage for stage in stages if stage.epochs > 0]


def _grids(
    network: CaptionNetwork,
    photographs: list[Photograph],
    pictures: NDArray[np.uint8],
    options: TrainOptions,
    flipped: bool = False,
) -> NDArray[np.float16]:
    """The grids of an encoder that stands still, from the cache if its weights are the same."""
    encoder = network.encoder.to("cuda" if options.device == "cuda" else "cpu").eval()

    def encode(batch: Tensor) -> Tensor:
        return encoder.in_turn(batch.to(encoder.mean.device)).cpu()

    return cache_grids(encode, encoder.state_dict(), photographs, pictures, options.cache, flipped)


def _teacher(network: CaptionNetwork, stage: Stage, directory: Path) -> CaptionNetwork:
    """A network to learn from.

    Raises:
        InputError: if it speaks in other words or, where only grids are shown, was made for other grids.
    """
    directory = find_model(directory, BUNDLED)
    teacher = network_from_model(*read_model(directory), directory).eval().requires_grad_(False)
    if teacher.config.words != network.config.words:
        raise InputError(directory, "cannot teach: it was trained for other words")
    if stage.name == "decoder":
        ours, theirs = network.encoder.state_dict(), teacher.encoder.state_dict()
        # What is stored is rounded to half precision.
        alike = ours.keys() == theirs.keys() and all(
            torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-4) for name in ours
        )
        if not alike:
            raise InputError(directory, "cannot teach in the first stage: its encoder is another one")
    return teacher


def _network(
    options: TrainOptions, stage: Stage, photographs: list[Photograph], init: Path | None
) -> CaptionNetwork:
    """A network to start a stage with: that of a model directory, or a new decoder."""
    if init is not None:
        return network_from_model(*read_model(init), init, dropout=stage.dropout)
    said = (caption for photograph in photographs for caption in photograph.captions)
    network = CaptionNetwork(
        CaptionConfig(
            words=Vocabulary.of(said, options.least_count).words,
            encoder=EncoderConfig.of(options.encoder),
            attention=options.attention,
            hidden_size=options.hidden_size,
            dropout=stage.dropout,
        )
    )
    if options.encoder_weights == "torchvision":
        load_torchvision(network.encoder)
    elif options.encoder_weights is not None:
        load_imagenet(network.encoder, options.encoder_weights)
    return network
