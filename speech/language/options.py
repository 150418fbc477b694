"""What can be chosen about training a language model, each with its default. Nothing here imports PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from common.commands.options import Device, Precision
from common.errors import InputError
from common.models.fields import check


@dataclass(frozen=True)
class LanguageModelOptions:
    """Everything that decides a training run of a language model.

    Attributes:
        text: files of one sentence a line (plain, .xz or .gz), or manifests (.tsv) whose column `text` is
            read, each with a weight behind a colon: `prompts.txt.xz:3 novels.txt.gz:0.3`. A pass hears each
            sentence that often; of a fraction, another share each time. Without a weight it is 1.
        run: directory for checkpoint, log and the best model; an unfinished run in it is resumed.
        init: directory of a model to start from instead of random weights; its words stay.
        epochs: passes over the weighted text, or stretches of it. After each the model is measured.
        epoch_words: words of a stretch, about, ends of sentences included; one goes on where the one before
            it stopped. 0: a stretch is one pass.
        batch_words: words in a batch, ends of sentences included.
        learning_rate: highest learning rate of the one-cycle schedule.
        warmup: share of the steps until the learning rate is highest.
        weight_decay: weight decay of AdamW, which draws weights towards 0.
        words: most words in the vocabulary, the end of a sentence and the unknown word included (those of
            --init, or else 25,000).
        always: so many most frequent words compete with the right one in each step of training. After
            training, a search judges as many words after every history, others only where they are said.
        drawn: so many of the other words, drawn by their frequency, compete beside them; 0: all words do.
        embedding_size: features of a word's vector (as in --init, or else 128).
        hidden_size: units of a recurrent layer (as in --init, or else 512).
        layers: recurrent layers (as in --init, or else 1).
        dropout: share of a word vector's features that are left out in training.
        trigram: count a trigram of the same text, too, to compare with: some 100 bytes of memory a word.
        seed: seed of everything random.
        precision: "bf16-mixed" is several times faster on processors that have bfloat16 instructions; where
            it cannot be computed, float32 is.
        average_decay: decay of the moving average of the weights that is evaluated and kept; 0: no average.
        threads: processor cores to work with, in each process; 0: as many as are of use.
        processes: processes that train side by side, each on batches of its own.
        device: where it runs; auto is a CUDA device if there is one.
    """

    text: tuple[str, ...]
    run: Path
    init: Path | None = None
    epochs: int = 12
    epoch_words: int = 0
    batch_words: int = 3072
    learning_rate: float = 4e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    words: int | None = None
    always: int = 3072
    drawn: int = 1024
    embedding_size: int | None = None
    hidden_size: int | None = None
    layers: int | None = None
    dropout: float = 0.25
    trigram: bool = True
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
            epoch_words=(0, 10**12),
            batch_words=(1, 10_000_000),
            learning_rate=(1e-9, 10.0),
            warmup=(0.0, 1.0),
            weight_decay=(0.0, 10.0),
            words=(3, 10_000_000),
            always=(1, 10_000_000),
            drawn=(0, 10_000_000),
            embedding_size=(1, 16_384),
            hidden_size=(1, 16_384),
            layers=(1, 64),
            dropout=(0.0, 0.99),
            seed=(0, 2**32 - 1),
            average_decay=(0.0, 0.999999),
            threads=(0, 4096),
            processes=(1, 1024),
        )
        if not self.text:
            raise InputError("text", "is empty; give at least one")


@dataclass(frozen=True)
class CountOptions:
    """Everything that decides what an n-gram model becomes.

    Attributes:
        text: files of one sentence a line (plain, .xz or .gz), or manifests (.tsv) whose column `text` is
            read, each with a weight behind a colon: `prompts.txt.xz:3 novels.txt.gz:0.3`. So often each of
            its sentences counts; without a weight it is 1.
        output: directory of the model.
        dev: files like those of --text, not learned from, that the model is measured on.
        model: directory of the recogniser that the model is for: its words are then stored as the
            recogniser writes and orders them, and it begins sooner. Another can use the model, too.
        pronunciations: a dictionary in CMUdict's form. The model then also holds how its words are spoken
            (3 bytes a word), and texts are compared with the phones that a recogniser hears.
        words: most words in the vocabulary, the end of a sentence and the unknown word included.
        order: words of the longest n-grams.
        megabytes: size of the model in memory, of which three fifths are written; n-grams that predict little
            are left out until it fits.
    """

    text: tuple[str, ...]
    output: Path
    dev: tuple[Path, ...] = ()
    model: Path | None = None
    pronunciations: Path | None = None
    words: int = 60_000
    order: int = 3
    megabytes: float = 18.0


@dataclass(frozen=True)
class Source:
    """A text and how often a pass hears each of its sentences.

    Attributes:
        path: of the file.
        weight: above 0.
    """

    path: Path
    weight: float = 1.0

    @property
    def name(self) -> str:
        """What the source is called in logs and cards: the file's name up to the first dot."""
        return self.path.name.split(".")[0]


def parse_source(text: str) -> Source:
    """`path` or `path:weight` -> a source.

    Raises:
        InputError: if the weight is not a number above 0.
    """
    path, colon, weight = text.rpartition(":")
    if not colon:
        return Source(Path(text))
    try:
        value = float(weight)
    except ValueError:
        return Source(Path(text))  # the colon belongs to the path
    if not path or not math.isfinite(value) or value <= 0.0:
        raise InputError(text, "a text's weight is a number above 0, as in sentences.txt.xz:0.5")
    return Source(Path(path), value)
