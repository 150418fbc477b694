"""What can be chosen, each with its default: the one place for both. Nothing here imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.commands.options import Device, Precision
from common.models.fields import check
from common.stages import DECODE, NETWORK, READ, SEARCH, WRITE

# The encoder that ships; `caption.model.encoder` knows the others.
LITE0 = "efficientnet_lite0"

# What of the encoder can learn: all of it, or the upper half alone, whose input is worked out once.
EncoderPart = Literal["all", "upper"]

# Photographs are decoded in this many threads while the network describes those before.
LOADERS = 2

# What a photograph goes through, each with its seconds in reports: the network is the encoder, the search the
# decoder's.
STAGES = (READ, DECODE, NETWORK, SEARCH, WRITE)

# More is refused. A hypothesis takes some 0.25 MB while it is followed, so that a batch stays below 1 GB; and
# the search compares all continuations of a beam, which grow with its square.
MOST_BEAM = 100
MOST_BATCH = 256
MOST_HYPOTHESES = 4096  # of all photographs in a batch together


@dataclass(frozen=True)
class DescribeOptions:
    """How captions are searched.

    Attributes:
        beam: hypotheses that are followed at once; 1 is greedy. Where captions are drawn, how many.
        most_words: longest caption.
        fewest_words: shortest caption that is searched; drawn ones may be shorter.
        length_power: captions are ranked by log-probability / words ** power; a high one favours long ones.
        insist: how much the encoder's belief weighs that a noun is in the picture which the likeliest caption
            leaves out: another caption that names it may be less likely by so many times the nats by which
            it is unlikely that the noun is not there. 0: leave it out.
        doubt: a caption with less confidence than this says only what the encoder is sure of, if there is
            anything: "a photograph of a cat". 0: never.
        prefix: words that every caption begins with.
        no_repeat: no so many words in a row stand twice in a caption; 0 allows it.
        nucleus: draw each word among the likeliest ones that together have this probability (Holtzman et
            al. 2020, arXiv:1904.09751); 0 searches the likeliest caption instead.
        temperature: of the draws; below 1 prefers the likely words, above 1 the unlikely.
        seed: of the draws.
    """

    beam: int = 3
    most_words: int = 24
    fewest_words: int = 4
    length_power: float = 0.7
    insist: float = 4.0
    doubt: float = 0.3
    prefix: str = ""
    no_repeat: int = 0
    nucleus: float = 0.0
    temperature: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        check(
            self,
            beam=(1, 100_000),
            most_words=(1, 10_000),
            no_repeat=(0, 10_000),
            insist=(0.0, 1e6),
            nucleus=(0.0, 1.0),
            temperature=(1e-3, 1e3),
            seed=(0, 2**63 - 1),
        )

    def __str__(self) -> str:
        if self.nucleus:
            found = f"nucleus {self.nucleus:g}, best of {self.beam}"
        else:
            found = "greedy" if self.beam == 1 else f"beam {self.beam}"
        if self.no_repeat and not self.nucleus:
            found += f", no {self.no_repeat} words twice"
        return f"{found}, prefix {self.prefix!r}" if self.prefix else found


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides a training run.

    Attributes:
        train: photographs to learn from: manifests (TSV: path, caption; one row a caption).
        dev: photographs to be measured on after each epoch, as manifests of the same kind; the model with the
            best mean of CIDEr over them is kept.
        run: directory for checkpoints, logs and the best model; an unfinished run in it is resumed.
        cache: directory for decoded pictures and what encoders make of them.
        init: bundled model or model directory to start from instead of a new decoder.
        decoder_from: a model directory whose decoder a new one takes over, as far as shapes and words agree.
        encoder: the network that looks at pictures: efficientnet_lite0, or of torchvision resnet18, resnet50,
            resnet101, mobilenet_v3_large, efficientnet_b0, convnext_tiny.
        encoder_weights: what a new encoder starts from: a safetensors file with ImageNet weights of
            EfficientNet-Lite0, or "torchvision" for that package's own weights, which it downloads.
        mirrored: show what was worked out once the other way round as well, which takes twice the room.
        encoder_part: what of the encoder learns where its share is not 0; "upper" is four times as fast.
        attention: weigh the grid's positions anew for each word.
        beliefs: words of the ImageNet classifier's likeliest classes, attended to beside the grid; 0: none.
        hidden_size: units of the decoder.
        text: captions without photographs, one a line (.txt or .txt.xz), for the text stage.
        text_captions: captions of --text that are read in an epoch.
        kinds: sources whose captions start with a symbol of their own, so that the others stay plain.
        plain_only: sources of whose captions only those count that read like descriptions.
        passes: how often photographs of a source are shown in an epoch, as SOURCE=TIMES; of others, once.
        text_epochs: passes of the first stage, text, in which the decoder reads captions without photographs;
            0 leaves it out.
        decoder_epochs: passes of the second stage, in which the decoder learns beside an encoder that stands
            still; 0 leaves it out.
        everything_epochs: passes of the third stage, in which decoder and encoder learn together; 0 leaves it
            out.
        reward_epochs: passes of the last stage, reward, in which the decoder's own captions are made likelier
            the better they are; 0 leaves it out.
        text_rate: highest learning rate of the text stage's one-cycle schedule.
        decoder_rate: highest learning rate of the second stage's one-cycle schedule.
        everything_rate: highest learning rate of the third stage's one-cycle schedule, for the decoder.
        reward_rate: highest learning rate of the reward stage's one-cycle schedule, for the decoder.
        encoder_share: learning rate of the encoder in the third stage, as a share of the decoder's; 0 leaves
            it standing still.
        reward_encoder_share: learning rate of the encoder in the reward stage, as a share of the decoder's; 0
            leaves it standing still.
        warmup: share of a stage's steps until the learning rate is highest.
        weight_decay: weight decay of AdamW, which draws weights towards 0.
        batch_size: photographs in a batch of the second and third stage, up to five captions each.
        text_batch_size: captions in a batch of the text stage.
        reward_batch_size: photographs in a batch of the reward stage, which gains from more and smaller
            steps.
        least_count: words that stand in fewer places of the captions are not learned.
        vocabulary_size: most words that are learned.
        smoothing: share of the probability that is wanted for other words than the right one.
        own_words: scheduled sampling: share of the words in front of each word that the decoder draws itself
            instead of being told, at the end of the first two stages; it rises from 0.
        teachers: models whose mean is learned from in the first two stages, as much as from people.
        dropout: share of the features of word vectors and outputs that are left out, but for the reward
            stage.
        reward_dropout: share of the same features that are left out in the reward stage.
        bleu_weight: weight of BLEU-4 beside CIDEr-D in the reward.
        least_references: plain captions that a photograph needs to be rewarded by; the others are told.
        told_weight: weight of what is told beside rewards, in the reward stage.
        forgetting_weight: weight, in the loss, of how far the encoder's ImageNet classes drift while it
            learns.
        seed: seed of everything random.
        precision: "bf16-mixed" more than halves the decoder's time on processors that have bfloat16
            instructions; where it cannot be computed, float32 is.
        average_decay: decay of the moving average of the weights that is evaluated and kept; 0: no average.
        threads: processor cores to work with; 0: as many as are of use.
        device: where it runs; auto is a CUDA device if there is one.
    """

    train: tuple[Path, ...]
    dev: tuple[Path, ...]
    run: Path
    cache: Path = Path("runs/cache")
    init: Path | None = None
    decoder_from: Path | None = None
    encoder: str = LITE0
    encoder_weights: Path | Literal["torchvision"] | None = None
    mirrored: bool = True
    encoder_part: EncoderPart = "all"
    attention: bool = True
    beliefs: int = 0
    hidden_size: int = 512
    text: Path | None = None
    text_captions: int = 200_000
    kinds: tuple[str, ...] = ()
    plain_only: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    text_epochs: int = 0
    decoder_epochs: int = 5
    everything_epochs: int = 8
    reward_epochs: int = 6
    text_rate: float = 1e-3
    decoder_rate: float = 1.5e-3
    everything_rate: float = 7e-4
    reward_rate: float = 2e-4
    encoder_share: float = 0.15
    reward_encoder_share: float = 0.0
    warmup: float = 0.1
    weight_decay: float = 0.01
    batch_size: int = 32
    text_batch_size: int = 128
    reward_batch_size: int = 16
    least_count: int = 4
    vocabulary_size: int = 6000
    smoothing: float = 0.1
    own_words: float = 0.0
    teachers: tuple[Path, ...] = ()
    dropout: float = 0.4
    reward_dropout: float = 0.2
    bleu_weight: float = 1.0
    least_references: int = 1
    told_weight: float = 0.5
    forgetting_weight: float = 0.0
    seed: int = 1
    precision: Precision = "32-true"
    average_decay: float = 0.995
    threads: int = 0
    device: Device = "cpu"

    def __post_init__(self) -> None:
        check(
            self,
            hidden_size=(1, 16_384),
            decoder_epochs=(0, 1_000_000),
            everything_epochs=(0, 1_000_000),
            reward_epochs=(0, 1_000_000),
            decoder_rate=(1e-9, 10.0),
            everything_rate=(1e-9, 10.0),
            reward_rate=(1e-9, 10.0),
            encoder_share=(0.0, 100.0),
            reward_encoder_share=(0.0, 100.0),
            warmup=(0.0, 1.0),
            weight_decay=(0.0, 10.0),
            batch_size=(1, 100_000),
            reward_batch_size=(1, 100_000),
            least_count=(1, 1_000_000),
            smoothing=(0.0, 0.99),
            own_words=(0.0, 1.0),
            dropout=(0.0, 0.99),
            reward_dropout=(0.0, 0.99),
            bleu_weight=(0.0, 1000.0),
            seed=(0, 2**32 - 1),
            average_decay=(0.0, 0.999999),
            threads=(0, 4096),
        )
