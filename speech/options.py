"""What can be chosen, each with its default: the one place for both. Nothing here imports PyTorch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from common.commands.options import Device, Precision
from common.errors import InputError, OptionError
from common.models.fields import check
from common.stages import DECODE, DETECT, FEATURES, NETWORK, READ, SEARCH, WRITE

# What a recording goes through, each with its seconds in reports.
STAGES = (READ, DECODE, DETECT, FEATURES, NETWORK, SEARCH, WRITE)


@dataclass(frozen=True)
class DecodingOptions:
    """How text is found.

    Attributes:
        beam: texts that are followed at once; 1 is greedy.
        beam_margin: texts this much worse than the best are given up, in nats.
        min_prob: symbols less probable than this are not tried in a step; a tenth of it, those of hotwords.
        words: say only words that the model knows, and say them as its language model expects; if not, or if
            the model has no words, any letters.
        temperature: the network's log-probabilities are divided by it before words are sought; above 1 it is
            taken as less sure than it says it is (Guo et al. 2017, arXiv:1706.04599).
        prior_weight: of the log-probability that the network's symbols have in the texts that it learned
            from, which is taken from the network's answer: it expects what it read there, and what is likely
            the language model knows better.
        lm_weight: of the language model's log-probabilities beside the network's.
        judge_share: where the model has a judge (a recurrent language model that reads the texts that are
            followed), its share in the probability of a word, from 0 to 1; 0 leaves it out.
        phone_share: share of the phones that the network's lower layers heard in the score of a text that
            was found, beside the symbols of its upper layers, from 0 to 1; where the language model knows how
            words are spoken.
        word_bonus: for each word, in nats; it makes up for what the language model takes for one.
        open_vocabulary: let words that the model does not know be spelled, such as names.
        unknown_letter_penalty: for each letter of such a word, in nats.
        hotwords: words or phrases that are likely to be said; such as are unknown become known.
        hotword_boost: for each word of these that is said, in nats.
        grammar: file of phrases, one a line, of which one is said; nothing else can come out.
    """

    beam: int = 64
    beam_margin: float = 6.0
    min_prob: float = 3e-3
    words: bool = True
    temperature: float = 1.2
    prior_weight: float = 0.3
    lm_weight: float = 0.8
    judge_share: float = 0.7
    phone_share: float = 0.5
    word_bonus: float = 1.0
    open_vocabulary: bool = True
    unknown_letter_penalty: float = 2.5
    hotwords: tuple[str, ...] = ()
    hotword_boost: float = 6.0
    grammar: Path | None = None

    def __post_init__(self) -> None:
        check(
            self,
            beam=(1, 100_000),
            beam_margin=(0.0, 1e6),
            min_prob=(0.0, 1.0),
            temperature=(1e-3, 1e3),
            prior_weight=(0.0, 100.0),
            lm_weight=(0.0, 100.0),
            judge_share=(0.0, 1.0),
            phone_share=(0.0, 1.0),
            word_bonus=(-100.0, 100.0),
            unknown_letter_penalty=(-100.0, 100.0),
            hotword_boost=(-100.0, 100.0),
        )
        if self.hotwords and self.grammar is not None:
            raise OptionError("hotword", "does not go with a grammar, which says already what can be said")
        if self.hotwords and not self.searches_words:
            raise OptionError("hotword", "needs a search over words: a beam of 2 or more, and words")

    @property
    def searches_words(self) -> bool:
        """Whether the text is searched for among known words, if the model knows any."""
        return self.words and self.beam > 1 and self.grammar is None

    def __str__(self) -> str:
        if self.grammar is not None:
            return f"grammar {self.grammar}"
        if self.beam == 1:
            return "greedy"
        # The rest is said where it is not as usual.
        unusual = [
            f"{field.name} {value!r}"
            for field in dataclasses.fields(self)
            if field.name != "beam" and (value := getattr(self, field.name)) != field.default
        ]
        return ", ".join([f"beam {self.beam}", *unusual])


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides a training run.

    Attributes:
        train: recordings to learn from: manifests (TSV: path, text), LibriSpeech trees or Common Voice
            folders.
        dev: recordings to be measured on after each pass, of the same kinds; the best model is kept.
        run: directory for checkpoint, log and the best model; an unfinished run in it is resumed.
        cache: directory for features; they are computed once and used by every run.
        pronunciations: a dictionary in CMUdict's form. The lower layers of the network then learn phones,
            without one they learn letters too.
        init: bundled model or model directory to start from instead of random weights; what of it fits is
            taken over.
        epochs: passes over the training data.
        batch_seconds: sound in a batch, padding included.
        learning_rate: highest learning rate of the one-cycle schedule.
        warmup: share of the steps until the learning rate is highest.
        weight_decay: weight decay of AdamW, which draws weights towards 0.
        muon: recurrent layers learn with Muon, which is slower a step and learns more in it; AdamW otherwise.
        phone_weight: share of the lower answer, in phones or letters, in the loss.
        consistency: if not 0, each utterance is in its batch twice, varied in two ways, and this is the share
            in the loss of how unlike the two answers are.
        mmi: if not 0, the right text should be likelier than others, not only likely, and this is the weight
            in the loss of all texts together, each as probable as bigrams of the training texts say.
        risk: if not 0, the network also learns from texts that are drawn from its own answers, and this is
            the weight in the loss of the words that are wrong in them.
        subwords: symbols of the network, learned from the training texts unless --init has as many (as in
            --init, or else 500).
        hidden_size: units of each direction of a recurrent layer (as in --init, or else 256).
        lower_layers: recurrent layers below the answer in phones (as in --init, or else 2).
        upper_layers: recurrent layers above it, which answer in subwords (as in --init, or else 3).
        stride: frames of 10 ms in a step of the lower layers (as in --init, or else 4).
        join: steps of the lower layers in one of the upper (as in --init, or else 2).
        channels: outputs of the convolution that reads the features (as in --init, or else 256).
        dropout: share of the features between layers that are left out in training (as in --init, or else
            0.1).
        speeds: factors by which each utterance may be played faster or slower.
        masked: share of the time that is blotted out, in stretches of up to a quarter of a second.
        splice: share of the utterances in which words are exchanged for others; those whose manifest says
            in a column `words` when each word is said, as `speech align` writes it.
        seed: seed of everything random.
        precision: "bf16-mixed" halves a step's time on processors that have bfloat16 instructions; where it
            cannot be computed, float32 is.
        average_decay: decay of the moving average of the weights that is evaluated and kept; 0: no average.
        threads: processor cores to work with, in each process; 0: as many as are of use.
        processes: processes that train side by side, each on batches of its own; on a processor with n cores
            n processes of one thread are faster than one of n threads.
        device: where it runs; auto is a CUDA device if there is one.
    """

    train: tuple[Path, ...]
    dev: tuple[Path, ...]
    run: Path
    cache: Path = Path("runs/cache")
    pronunciations: Path | None = None
    init: Path | None = None
    epochs: int = 40
    batch_seconds: float = 40.0
    learning_rate: float = 1.2e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    muon: bool = False
    phone_weight: float = 0.4
    consistency: float = 0.0
    mmi: float = 0.0
    risk: float = 0.0
    subwords: int | None = None
    hidden_size: int | None = None
    lower_layers: int | None = None
    upper_layers: int | None = None
    stride: int | None = None
    join: int | None = None
    channels: int | None = None
    dropout: float | None = None
    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    masked: float = 0.03
    splice: float = 0.5
    seed: int = 1
    precision: Precision = "32-true"
    average_decay: float = 0.998
    threads: int = 0
    processes: int = 1
    device: Device = "cpu"

    def __post_init__(self) -> None:
        check(
            self,
            epochs=(1, 1_000_000),
            batch_seconds=(0.1, 1e6),
            learning_rate=(1e-9, 10.0),
            warmup=(0.0, 1.0),
            weight_decay=(0.0, 10.0),
            phone_weight=(0.0, 1.0),
            consistency=(0.0, 100.0),
            mmi=(0.0, 1.0),
            risk=(0.0, 1000.0),
            subwords=(55, 32_767),  # the blank, and each letter within and at the end of a word
            hidden_size=(1, 16_384),
            lower_layers=(1, 64),
            upper_layers=(1, 64),
            stride=(1, 16),
            join=(1, 16),
            channels=(1, 16_384),
            dropout=(0.0, 0.99),
            speeds=(0.25, 4.0),
            masked=(0.0, 1.0),
            splice=(0.0, 1.0),
            seed=(0, 2**32 - 1),
            average_decay=(0.0, 0.999999),
            threads=(0, 4096),
            processes=(1, 1024),
        )
        for name in ("train", "dev", "speeds"):
            if not getattr(self, name):
                raise InputError(name, "is empty; give at least one")
