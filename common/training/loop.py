"""Training, the same for every network here: the loop is Lightning's, the rest is in this room.

Comes in: a module that knows its loss, and batches in an order that can be resumed. Goes out: a run
directory with the best model so far (a model directory), the last checkpoint and a CSV log.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelSummary, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from common.commands.options import Device, Precision
from common.core.quantized import can_compute_in_bfloat16
from common.core.recurrent import RecurrentStack
from common.errors import InputError
from common.files import require_writable
from common.models.fields import check
from common.training.callbacks import DevEvaluation, LastCheckpoint, PlainProgress, Position, WeightAverage

Batch = TypeVar("Batch")
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class FitOptions:
    """How to train; what to train is the module's.

    Attributes:
        run: directory for checkpoint, log and best model; an unfinished run in it is resumed.
        epochs: passes over the training data.
        seed: of initial weights, order and augmentation.
        precision: "bf16-mixed" is faster only on processors with bfloat16 instructions: time a step. Where
            the network cannot be computed so, float32 is taken, and that is said.
        clip_norm: gradients are scaled down to this norm (Pascanu et al. 2013, arXiv:1211.5063).
        average_decay: of the exponential moving average of the weights, which is what is evaluated
            and kept (Polyak and Juditsky 1992); 0 keeps the plain weights.
        checkpoint_minutes: at most this much work is lost with the process.
        processes: that train side by side on batches of their own and average their gradients.
        device: "cpu", "cuda", "mps" or "auto".
    """

    run: Path
    epochs: int
    seed: int = 1
    precision: Precision = "32-true"
    clip_norm: float = 1.0
    average_decay: float = 0.0
    checkpoint_minutes: float = 4.0
    processes: int = 1
    device: Device = "cpu"

    def __post_init__(self) -> None:
        check(
            self,
            epochs=(1, 1_000_000),
            seed=(0, 2**32 - 1),
            clip_norm=(0.0, 1e9),
            average_decay=(0.0, 0.999999),
            checkpoint_minutes=(0.0, 1e6),
            processes=(1, 1024),
        )


class TrainingModule(lightning.LightningModule, Generic[Network]):
    """A network with its loss, its measure on the dev set and the way its model directory is written.

    Subclasses implement `training_step`, `dev_metrics` and `export`.

    Args:
        network: what is trained.
        learning_rate: highest of the one-cycle schedule (Smith and Topin 2018, arXiv:1708.07120).
        warmup: share of all steps until then.
        weight_decay: AdamW's (Loshchilov and Hutter 2019, arXiv:1711.05101); matrices only.
    """

    network: Network

    def __init__(
        self, network: Network, learning_rate: float, warmup: float = 0.1, weight_decay: float = 0.01
    ) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.total_steps = 1  # set by `fit`

    def dev_metrics(self) -> dict[str, float]:
        """Measure the network as it stands; the first entry chooses the best model, smaller is better."""
        raise NotImplementedError

    def export(self, directory: Path, metrics: dict[str, float]) -> None:
        """Write the network as it stands to a model directory."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """AdamW's groups; a subclass gives some parameters a learning rate of their own."""
        return decayed(self.network, self.weight_decay)

    def configure_optimizers(self) -> Any:
        """AdamW under a one-cycle schedule over all steps of the run."""
        optimizer = torch.optim.AdamW(self.parameter_groups(), lr=self.learning_rate, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: one_cycle(step, self.total_steps, self.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def decayed(network: nn.Module, weight_decay: float, **options: Any) -> list[dict[str, Any]]:
    """Parameter groups: matrices with weight decay, biases and normalisation without; frozen left out."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay, **options},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, **options},
    ]


def one_cycle(step: int, total: int, warmup: float) -> float:
    """Factor on the learning rate: linear up over the `warmup` share, then a cosine down to 1 %."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    progress = min(1.0, (step - rise) / max(1, total - rise))
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))


class ResumableBatches(Generic[Batch]):
    """Batches in an order that depends on the seed and the epoch alone, and that can be taken up midway.

    Args:
        plan: epoch and generator -> the epoch's batches, each a sequence of example numbers; every
            epoch must have equally many.
        collate: example numbers and generator -> a batch. The generator is the batch's own, so that
            augmentation is the same after a resume.
        seed: of both.

    Processes that train side by side (`share`) take turns: each has every n-th batch of the one order, and
    what is left over at an epoch's end is left out.
    """

    def __init__(
        self,
        plan: Callable[[int, np.random.Generator], Sequence[Sequence[int]]],
        collate: Callable[[Sequence[int], np.random.Generator], Batch],
        seed: int,
    ) -> None:
        self.plan = plan
        self.collate = collate
        self.seed = seed
        self.epoch = 0
        self.next_batch = 0
        self._process, self._processes = 0, 1
        self._planned = len(plan(0, np.random.default_rng([seed, 0])))

    def share(self, process: int, processes: int) -> None:
        """Give this process its share: of every `processes` batches the one with number `process`."""
        self._process, self._processes = process, processes

    def __len__(self) -> int:
        return self._planned // self._processes

    def __iter__(self) -> Iterator[Batch]:
        if self.next_batch >= len(self):
            self.epoch, self.next_batch = self.epoch + 1, 0
        order = self.plan(self.epoch, np.random.default_rng([self.seed, self.epoch]))
        if len(order) != self._planned:
            raise ValueError(f"epoch {self.epoch} has {len(order)} batches, the first had {self._planned}")
        while self.next_batch < len(self):
            number = self.next_batch * self._processes + self._process
            self.next_batch += 1
            yield self.collate(order[number], np.random.default_rng([self.seed, self.epoch, number, 1]))

    def state_dict(self) -> dict[str, int]:
        """Where the order stands."""
        return {"epoch": self.epoch, "next_batch": self.next_batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a kept state."""
        self.epoch, self.next_batch = state["epoch"], state["next_batch"]


def fit(module: TrainingModule[Any], batches: ResumableBatches[Any], options: FitOptions) -> None:
    """Train, or go on training where the run directory's last checkpoint stands.

    The best model so far is always in `run/best`, with the metrics of every epoch in `run/log/`.

    Raises:
        InputError: if the run directory cannot be written, its checkpoint is damaged, or this machine has no
            such device.
    """
    device = training_device(options.device)
    require_writable(options.run)
    batches.share(0, options.processes)  # as many for each; Lightning says later which this one is
    # Lightning's own estimate would fetch the batches before it has restored where their order stood.
    module.total_steps = options.epochs * len(batches)
    last = options.run / "last.ckpt"
    require_checkpoint(last)
    average = WeightAverage(options.average_decay)
    callbacks: list[Callback] = [
        average,
        Position(batches, options.seed),
        DevEvaluation(average, options.run / "best"),
        LastCheckpoint(last, options.checkpoint_minutes),
        ModelSummary(max_depth=2),
    ]
    terminal = sys.stderr.isatty()
    callbacks.append(TQDMProgressBar() if terminal else PlainProgress())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # workers, loggers: not our case
        lightning.seed_everything(options.seed, verbose=False)
        trainer = lightning.Trainer(
            accelerator=device,
            devices=options.processes,
            strategy="auto" if options.processes == 1 else "ddp",
            precision=usable_precision(module.network, options.precision, device),
            max_epochs=options.epochs,
            gradient_clip_val=options.clip_norm,
            callbacks=callbacks,
            logger=CSVLogger(options.run, name="log", flush_logs_every_n_steps=20),
            log_every_n_steps=20,
            enable_checkpointing=False,
            enable_progress_bar=terminal,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        trainer.fit(
            module,
            train_dataloaders=batches,
            ckpt_path=last if last.is_file() else None,
            weights_only=True,
        )


def require_checkpoint(path: Path) -> None:
    """Make sure that a checkpoint, if it is there, can be read; it holds numbers and names, and no program.

    Raises:
        InputError: if it is damaged, or holds anything that would have to be unpickled.
    """
    if not path.is_file():
        return
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged file makes PyTorch raise almost anything
        reason = str(error).split("\n")[0][:120]
        way_out = "remove it to begin the run again"
        raise InputError(path, f"is no checkpoint of a run ({reason}); {way_out}") from error


def training_device(device: Device) -> str:
    """The device that is meant, which Lightning and PyTorch call the same; "auto" is the fastest.

    Raises:
        InputError: if this machine has none.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[device]:
        raise InputError("device", f"this machine has no {device}; there is always cpu")
    return device


def usable_precision(network: nn.Module, precision: Precision, device: str) -> Precision:
    """The precision that is asked for; float32 where the network cannot be computed in it, which is said."""
    cells = {stack.config.cell for stack in network.modules() if isinstance(stack, RecurrentStack)}
    impossible = sorted(cell for cell in cells if not can_compute_in_bfloat16(cell, device))
    if precision == "32-true" or not impossible:
        return precision
    what = " and ".join(cell.upper() for cell in impossible)
    _say(f"{precision}: this {device} has no {what} in bfloat16; training in float32")
    return "32-true"


@rank_zero_only
def _say(line: str) -> None:
    """A line on standard error, from the first of several processes."""
    print(line, file=sys.stderr, flush=True)
