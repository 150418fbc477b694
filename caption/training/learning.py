"""What a captioner learns from in each stage: its loss, and its scores on the dev photographs."""

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

from caption.captioner import search
from caption.data import Photograph
from caption.measuring.evaluate import score_captions
from caption.measuring.reward import reward_of
from caption.model.concepts import Beliefs, distilled
from caption.model.network import CaptionNetwork, Scene
from caption.model.text import END, START, Vocabulary
from caption.options import DescribeOptions, EncoderPart, TrainOptions
from caption.training.batches import CaptionBatch, Said, TextBatch, pad_captions
from caption.training.losses import caption_loss, distillation_loss, own_steps
from common.core.search import Hypothesis, sample
from common.models.files import write_model
from common.training.loop import TrainingModule
from common.training.schedule import decayed

StageName = Literal["text", "decoder", "everything", "reward"]


@dataclass(frozen=True)
class Stage:
    """One part of a run: what learns, from what, how long and in what steps."""

    name: StageName
    epochs: int
    learning_rate: float
    encoder_share: float  # the encoder's learning rate is this share of the decoder's; 0: it stands still
    batch_size: int
    dropout: float
    encoder_part: EncoderPart = "all"


@dataclass(frozen=True)
class DevSet:
    """Photographs that are measured on.

    Attributes:
        name: of their manifest.
        photographs: with what people said.
        views: pictures (photographs, 3, 224, 224), or features or grids (photographs, positions, channels).
    """

    name: str
    photographs: Sequence[Photograph]
    views: NDArray[Any]


class CaptionModule(TrainingModule[CaptionNetwork]):
    """The captioner in one stage: its loss, and its scores on the dev photographs.

    Args:
        network: what is trained.
        stage: which parts of it learn, and from what.
        dev: what is measured on.
        said: captions of each training photograph.
        options: of the run.
        teachers: to learn from, beside people's captions.
        before: (photographs, classes) logits that the encoder's classifier gave when the stage began, and
            should still give; None where the encoder stands still.
    """

    def __init__(
        self,
        network: CaptionNetwork,
        stage: Stage,
        dev: Sequence[DevSet],
        said: Sequence[Sequence[Said]],
        options: TrainOptions,
        teachers: Sequence[CaptionNetwork] = (),
        before: NDArray[np.float16] | None = None,
    ) -> None:
        super().__init__(network, stage.learning_rate, options.warmup, options.weight_decay)
        self.stage = stage
        self.dev = dev
        self.options = options
        self.vocabulary = Vocabulary(network.config.words, network.config.kinds)
        self.teachers = [*teachers]  # a plain list: they are no part of what is trained
        self.before = before
        self.rewards: dict[int, int] = {}
        if stage.name == "reward":
            references = plain_references(said, options.least_references)
            self.rewards = {number: place for place, number in enumerate(references)}
            self.reward = reward_of(list(references.values()), options.bleu_weight)
        network.encoder.requires_grad_(False)
        for parameter in self._encoder_parameters():
            parameter.requires_grad_(stage.encoder_share > 0.0)

    def training_step(self, batch: CaptionBatch | TextBatch, batch_number: int) -> Tensor:
        """The loss of one batch."""
        decoder = self.network.decoder
        if isinstance(batch, TextBatch):
            scene = decoder.imagine(Beliefs(batch.believed, batch.log_probs))
            logits = decoder(scene, batch.inputs, own_steps(batch.lengths, batch.inputs.shape[1]))
            loss = caption_loss(logits, batch.targets, batch.lengths, self.options.smoothing)
        else:
            grid = grid_of(self.network, batch.views)
            loss = self._loss(decoder.look(grid), batch)
            if self.before is not None and self.options.forgetting_weight:
                before = torch.from_numpy(self.before[list(batch.numbers)].astype(np.float32))
                drift = distilled(decoder.concepts.classify(grid), before.to(grid.device))
                self.log("drift", drift, batch_size=len(batch.numbers))
                loss = loss + self.options.forgetting_weight * drift
        self.log("loss", loss, batch_size=len(batch.lengths))
        return loss

    def _loss(self, scene: Scene, batch: CaptionBatch) -> Tensor:
        """By what people said; in the reward stage by rewards, where there are references enough."""
        if self.stage.name != "reward":
            return self._told_loss(scene, batch)
        rewarded = [row for row, number in enumerate(batch.numbers) if number in self.rewards]
        told = [row for row, number in enumerate(batch.numbers) if number not in self.rewards]
        loss = scene.first.new_zeros(())
        if rewarded:
            numbers = [self.rewards[batch.numbers[row]] for row in rewarded]
            share = len(rewarded) / len(batch.numbers)
            loss = loss + share * self._reward_loss(scene.of(rewarded), numbers)
        if told:
            share = self.options.told_weight * len(told) / len(batch.numbers)
            loss = loss + share * self._told_loss(scene.of(told), batch.of(told))
        return loss

    def _told_loss(self, scene: Scene, batch: CaptionBatch) -> Tensor:
        """The cross-entropy of people's captions, and of what teachers expect."""
        if bool((batch.counts != batch.counts[0]).any()):
            scene = scene.repeat(batch.counts)
        inputs = batch.inputs
        if self.options.own_words:
            share = self.options.own_words * self.global_step / self.total_steps
            inputs = self.partly_own(scene, inputs, share)
        mask = None if self.teachers else own_steps(batch.lengths, inputs.shape[1])
        logits = self.network.decoder(scene, inputs, mask)
        loss = caption_loss(logits, batch.targets, batch.lengths, self.options.smoothing)
        if self.teachers:
            taught = self.taught(batch.views, inputs, batch.counts)
            loss = (loss + distillation_loss(logits, taught, batch.lengths)) / 2
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
        expected = self.network.decoder.speakable(self.network.decoder(scene, inputs[:, :-1])).exp()
        drawn = expected.flatten(0, 1).multinomial(1).view(len(inputs), -1)
        own = torch.rand(drawn.shape, device=drawn.device) < share
        return torch.cat([inputs[:, :1], torch.where(own, drawn, inputs[:, 1:])], dim=1)

    @torch.no_grad()
    def taught(self, views: Tensor, inputs: Tensor, counts: Tensor) -> Tensor:
        """What the teachers expect on the mean: probabilities (captions, steps, words)."""
        total: Tensor | float = 0.0
        for teacher in self.teachers:
            scene = teacher.decoder.look(grid_of(teacher, views)).repeat(counts)
            total = total + teacher.decoder(scene, inputs).float().softmax(dim=-1)
        assert isinstance(total, Tensor)
        return total / len(self.teachers)

    def _reward_loss(self, scene: Scene, numbers: Sequence[int]) -> Tensor:
        """Self-critical sequence training (Rennie et al. 2017, arXiv:1612.00563).

        Of five captions that are drawn for each photograph, those with a better reward than the mean
        of the other four become likelier, the rest less likely (Kool et al. 2019; Luo 2020,
        arXiv:2003.09971).
        """
        said = self._samples(scene, _SAMPLES)
        captions = [list(one.symbols) for one in said]
        rewards = torch.tensor(
            [self.reward(numbers[row // _SAMPLES], caption) for row, caption in enumerate(captions)]
        ).view(-1, _SAMPLES)
        advantages = (rewards - rewards.mean(dim=1, keepdim=True)) * (_SAMPLES / (_SAMPLES - 1))
        inputs, targets, lengths = (part.to(self.device) for part in pad_captions(captions))
        # A caption that was cut off never said its end.
        lengths = lengths - torch.tensor([not one.finished for one in said], device=self.device).long()
        mask = own_steps(lengths, inputs.shape[1])
        log_probs = self.network.decoder.speakable(self.network.decoder(scene, inputs, mask))
        chosen = log_probs.gather(-1, targets[mask].unsqueeze(-1)).squeeze(-1)  # (steps that count,)
        weights = advantages.view(-1, 1).to(self.device).expand(mask.shape)[mask]
        self.log("reward", rewards.mean(), batch_size=len(numbers))
        return -(chosen * weights).sum() / mask.sum()

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

    def _encoder_parameters(self) -> list[torch.nn.Parameter]:
        """Those weights of the encoder that may learn."""
        encoder = self.network.encoder
        return encoder.upper_parameters() if self.stage.encoder_part == "upper" else [*encoder.parameters()]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The encoder learns in smaller steps than the decoder."""
        groups = decayed(self.network.decoder, self.weight_decay)
        if self.stage.encoder_share:
            rate = self.learning_rate * self.stage.encoder_share
            groups += decayed(self.network.encoder, self.weight_decay, lr=rate)
        return groups

    def dev_metrics(self) -> dict[str, float]:
        """Scores on the dev photographs, with `caption describe`'s search; the mean of CIDEr decides."""
        metrics: dict[str, float] = {}
        for dev in self.dev:
            scores = score_captions([one.captions for one in dev.photographs], self._describe(dev.views))
            label = f"{dev.name} " if len(self.dev) > 1 else ""
            metrics |= {f"{label}{name}": figure for name, figure in dataclasses.asdict(scores).items()}
        ciders = [figure for name, figure in metrics.items() if name.endswith("cider")]
        return {"minus cider": -sum(ciders) / max(1, len(ciders)), **metrics}

    def _describe(self, views: NDArray[Any]) -> list[str]:
        """The captions of some photographs."""
        captions = []
        for start in range(0, len(views), 50):
            batch = torch.from_numpy(np.array(views[start : start + 50])).to(self.device)
            scene = self.network.decoder.look(grid_of(self.network, batch))
            found = search(self.network.decoder, scene, DescribeOptions())
            captions += [self.vocabulary.decode(several[0].symbols) for several in found]
        return captions

    def export(self, directory: Path, metrics: dict[str, float]) -> None:
        """Write a model directory; the card of a shipped model is written by hand."""
        figures = "\n".join(f"- {name}: {figure:.1f}" for name, figure in metrics.items())
        card = f"# Captioner\n\nOn the dev photographs that it was chosen by, beam 3:\n\n{figures}\n"
        write_model(directory, dataclasses.asdict(self.network.config), self.network.state_dict(), card)


# Captions that are drawn for each photograph in the reward stage, and how long they may become.
_SAMPLES = 5
_MOST_WORDS = 20


def grid_of(network: CaptionNetwork, views: Tensor) -> Tensor:
    """Pictures, features of the encoder's lower half, or grids -> grids (pictures, positions, channels)."""
    if views.ndim == 3 and views.shape[2] == network.encoder.channels:
        return views.float()
    # On a CPU the backward pass of depthwise convolutions is slower in bfloat16.
    with torch.autocast("cpu", enabled=False):
        return network.encoder(views) if views.ndim == 4 else network.encoder.upper(views.float())


def plain_references(said: Sequence[Sequence[Said]], least: int) -> dict[int, list[tuple[int, ...]]]:
    """The plain captions of those photographs that have at least so many, by number."""
    plain = {
        number: [one.symbols for one in several if one.start == START] for number, several in enumerate(said)
    }
    return {number: several for number, several in plain.items() if len(several) >= least}
