"""The training loop, the same for every network here.

Comes in: a module that knows its loss, and batches in an order that can be resumed. Goes out: a run
directory with the best model so far and the last one (model directories), the last checkpoint and a CSV log.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from common.commands.options import Device, Precision
from common.files import require_writable, write_whole
from common.models.fields import check
from common.training.average import WeightAverage
from common.training.batches import ResumableBatches
from common.training.checkpoint import pack, read_checkpoint
from common.training.devices import training_device, usable_precision
from common.training.muon import Muon
from common.training.processes import Processes, join
from common.training.progress import Means, Progress, append_metrics, say
from common.training.run_record import RunRecord
from common.training.schedule import decayed, one_cycle
from common.training.stopping import Stop

Network = TypeVar("Network", bound=nn.Module)

_LOG_STEPS = 20  # between rows of the log


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
        device: "cpu", "cuda", "mps" or "auto".
    """

    run: Path
    epochs: int
    seed: int = 1
    precision: Precision = "32-true"
    clip_norm: float = 1.0
    average_decay: float = 0.0
    checkpoint_minutes: float = 4.0
    device: Device = "cpu"

    def __post_init__(self) -> None:
        check(
            self,
            epochs=(1, 1_000_000),
            seed=(0, 2**32 - 1),
            clip_norm=(0.0, 1e9),
            average_decay=(0.0, 0.999999),
            checkpoint_minutes=(0.0, 1e6),
        )


class TrainingModule(nn.Module, Generic[Network]):
    """A network with its loss, its measure on the dev set and the way its model directory is written.

    Subclasses implement `training_step`, `dev_metrics` and `export`.

    Args:
        network: what is trained.
        learning_rate: highest of the one-cycle schedule.
        warmup: share of all steps until then.
        weight_decay: decoupled from the loss (Loshchilov and Hutter 2019, arXiv:1711.05101); matrices only.

    Attributes:
        global_step: how many steps are done.
        total_steps: of the run; `fit` sets it.
        means: of what was logged.
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
        self.global_step, self.total_steps = 0, 1
        self.means = Means()

    def training_step(self, batch: Any, batch_number: int) -> Tensor:
        """The loss of one batch, the mean over its examples."""
        raise NotImplementedError

    def dev_metrics(self) -> dict[str, float]:
        """Measure the network as it stands; the first entry chooses the best model, smaller is better."""
        raise NotImplementedError

    def export(self, directory: Path, metrics: dict[str, float]) -> None:
        """Write the network as it stands to a model directory."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for `Muon`; a subclass gives some a learning rate of their own, or says their gates."""
        return decayed(self.network, self.weight_decay)

    def log(self, name: str, value: Tensor | float, batch_size: int) -> None:
        """Keep a figure of a batch for the log, which has the mean over examples."""
        self.means.add(name, value, batch_size)

    def log_dict(self, values: dict[str, Tensor], batch_size: int) -> None:
        """Keep several figures of a batch."""
        for name, value in values.items():
            self.log(name, value, batch_size)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device


def fit(
    module: TrainingModule[Any],
    batches: ResumableBatches[Any],
    options: FitOptions,
    processes: Processes | None = None,
    record: RunRecord | None = None,
) -> None:
    """Train, or go on training where the run directory's last checkpoint stands.

    The best model so far is always in `run/best`, that of the last epoch in `run/last`, the metrics of every
    epoch in `run/log/metrics.csv`.

    Args:
        module: what is trained, and how it is measured.
        batches: what it learns from.
        options: how.
        processes: this one among those that train together, which part in the end; alone if it is not given.
        record: of what the run was begun with; it is written before the first step.

    Raises:
        InputError: if the run directory cannot be written, its checkpoint is damaged, this machine has no
            such device, or another of the processes has ended.
    """
    training = _Training(module, batches, options, processes or Processes(), record)
    training.resume()
    stop = Stop()
    with stop.heard(), closing(Progress(module.global_step, module.total_steps)) as progress:
        while batches.epoch < options.epochs:
            module.train()
            for batch in batches:
                with stop.step():
                    asked = training.step(batch, stop)
                    if asked or training.is_time():
                        training.save()
                    progress.step(module.global_step, module.means)
                if asked:
                    stop.end()
                    training.processes.end()  # another was asked
            training.evaluate()
            training.save()
    training.processes.leave()


class RunOptions(Protocol):
    """What the options of every training say of its run; see `FitOptions`."""

    @property
    def run(self) -> Path:
        """Its directory."""

    @property
    def epochs(self) -> int:
        """Passes over the training data."""

    @property
    def seed(self) -> int:
        """Of everything random."""

    @property
    def precision(self) -> Precision:
        """Of the products."""

    @property
    def average_decay(self) -> float:
        """Of the moving average of the weights."""

    @property
    def device(self) -> Device:
        """Where it runs."""

    @property
    def threads(self) -> int:
        """PyTorch's, in each process; 0 leaves its own choice."""

    @property
    def processes(self) -> int:
        """That train together."""


def fit_together(
    options: RunOptions,
    prepare: Callable[[int], tuple[TrainingModule[Any], ResumableBatches[Any], RunRecord]],
) -> None:
    """Train in as many processes as the options say, or as torchrun has started.

    Args:
        options: of the run.
        prepare: how many processes there are -> what is trained, on what, and the run's record. They do it in
            turn: the first writes caches, the others read them.

    Raises:
        InputError: as `fit` and `prepare` do.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    together = join(options.processes)
    with together.in_turn():
        module, batches, record = prepare(together.count)
    fit(
        module,
        batches,
        FitOptions(
            run=options.run,
            epochs=options.epochs,
            seed=options.seed,
            precision=options.precision,
            average_decay=options.average_decay,
            device=options.device,
        ),
        together,
        record,
    )


class _Training:
    """The state of a run, and what is done to it."""

    def __init__(
        self,
        module: TrainingModule[Any],
        batches: ResumableBatches[Any],
        options: FitOptions,
        processes: Processes,
        record: RunRecord | None,
    ) -> None:
        self.module, self.batches, self.options, self.processes = module, batches, options, processes
        self.record = record
        self.device = training_device(options.device, processes.local_rank)
        precision = usable_precision(module.network, options.precision, self.device.type)
        self.half = precision == "bf16-mixed"
        require_writable(options.run)
        self.checkpoint = options.run / "last.ckpt"
        batches.share(processes.rank, processes.count)
        module.to(self.device).total_steps = options.epochs * len(batches)
        self.optimizer = Muon(
            module.parameter_groups(), module.learning_rate, betas=(0.9, 0.98), half=self.half
        )
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.average = WeightAverage(options.average_decay)
        self.best_value = math.inf
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Take up the last checkpoint if there is one; all processes begin with what the first has."""
        first = self.processes.rank == 0
        kept = read_checkpoint(self.checkpoint, self.processes.count) if first else None
        state = self.processes.from_first(kept or self._state())
        self.module.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"], self.device)
        self.batches.load_state_dict(state["batches"])
        self.best_value, self.module.global_step = state["best_value"], state["global_step"]

    def step(self, batch: Any, stop: Stop) -> bool:
        """Learn from one batch; true if this process or another was asked to end."""
        module, step = self.module, self.module.global_step
        if step % _LOG_STEPS == 0:
            module.means.clear()
        # Seeded by their number, steps after a resume drop out the same as without.
        seed = np.random.SeedSequence([self.options.seed, step, self.processes.rank])
        torch.manual_seed(int(seed.generate_state(1)[0]))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss = module.training_step(batch.to(self.device), self.batches.next_batch - 1)
        self.optimizer.zero_grad()
        loss.backward()
        groups = self.optimizer.param_groups
        parameters = [parameter for group in groups for parameter in group["params"]]
        asked = self.processes.average_gradients(parameters, stop.asked)
        if self.options.clip_norm:
            nn.utils.clip_grad_norm_(parameters, self.options.clip_norm)
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * one_cycle(step, module.total_steps, module.warmup)
        if self.record is not None and self.processes.rank == 0:
            self.record.write()  # before any checkpoint holds a step
        self.optimizer.step()
        self.average.update(module.network)
        module.global_step += 1
        if module.global_step % _LOG_STEPS == 0:
            self._log(module.means.values())
        return asked

    def evaluate(self) -> None:
        """Measure the averaged network, and write it to `last`, and to `best` if it is the best so far."""
        if self.processes.rank:
            return
        module = self.module.eval()
        with torch.inference_mode(), self.average.applied(module.network):
            metrics = module.dev_metrics()
            module.export(self.options.run / "last", metrics)
            value = next(iter(metrics.values()))
            if value < self.best_value:
                self.best_value = value
                module.export(self.options.run / "best", metrics)
        self._log(metrics)
        figures = "  ".join(f"{name} {figure:.4g}" for name, figure in metrics.items())
        say(f"epoch {self.batches.epoch}: {figures}")

    def is_time(self) -> bool:
        """Whether the last checkpoint is so old that another is due."""
        return time.monotonic() - self.saved_at >= 60.0 * self.options.checkpoint_minutes

    def save(self) -> None:
        """Write the state to the last checkpoint, whole or not at all; the first process does."""
        if self.processes.rank == 0:
            write_whole(self.checkpoint, pack(self._state()))
            self.saved_at = time.monotonic()

    def _state(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {
            "network": self.module.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            "batches": self.batches.state_dict(),
            "best_value": self.best_value,
            "global_step": self.module.global_step,
            "processes": self.processes.count,
        }

    def _log(self, metrics: dict[str, float]) -> None:
        """Add figures to the log; the first process does."""
        if self.processes.rank == 0:
            path = self.options.run / "log" / "metrics.csv"
            step = self.module.global_step
            append_metrics(path, math.ceil(step / len(self.batches)), step, metrics)
