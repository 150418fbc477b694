"""What can be chosen, each with its default: the one place for both. Nothing here imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class DecodingOptions:
    """How text is found.

    Attributes:
        beam: texts that are followed at once; 1 is greedy.
    """

    beam: int = 1

    def __str__(self) -> str:
        return "greedy" if self.beam == 1 else f"beam {self.beam}"


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides a training run.

    Attributes:
        train, dev: manifests, LibriSpeech trees or Common Voice folders.
        run: directory for checkpoint, log and the best model; an unfinished run in it is resumed.
        cache: directory for features; they are worked out once and used by every run.
        pronunciations: a dictionary in CMUdict's form. The lower half of the network then learns to hear
            phones, without one it learns letters too.
        init: a model directory to start from instead of random weights.
        epochs: passes over the training data.
        batch_seconds: sound in a batch, padding included.
        learning_rate: highest of the one-cycle schedule.
        warmup: share of the steps until then.
        weight_decay: AdamW's.
        phone_weight: share of the lower answer in the loss.
        hidden_size, lower_layers, upper_layers, stride, channels, dropout: of the network; see
            `SpeechConfig`.
        speeds: at which each utterance may be heard.
        seed: of everything random.
        precision: "bf16-mixed" halves a step's time on processors that have bfloat16 instructions.
        average_decay: of the moving average of the weights that is evaluated and kept.
        threads: of PyTorch; 0 leaves its own choice.
        processes: that train side by side, each on batches of its own; on a processor with n cores n
            processes of one thread are faster than one of n threads.
        device: "cpu", "cuda", "mps" or "auto".
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
    phone_weight: float = 0.4
    hidden_size: int = 256
    lower_layers: int = 2
    upper_layers: int = 2
    stride: int = 3
    channels: int = 256
    dropout: float = 0.1
    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    seed: int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    average_decay: float = 0.998
    threads: int = 0
    processes: int = 1
    device: str = "cpu"
