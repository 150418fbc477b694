"""What goes along with a training: averaged weights, resumable order, measures, checkpoints, progress."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from common.files import write_error

if TYPE_CHECKING:
    from common.training.loop import ResumableBatches


class WeightAverage(Callback):
    """An exponential moving average of the weights, kept beside them.

    The decay grows from 0 in the first steps, so that the average does not remember the start.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights: dict[str, Tensor] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Move the average towards the weights of this step."""
        if self.decay <= 0.0:
            return
        self.updates += 1
        decay = min(self.decay, (1.0 + self.updates) / (10.0 + self.updates))
        with torch.no_grad():
            for name, weight in pl_module.network.state_dict().items():
                if name not in self.weights or not weight.is_floating_point():
                    self.weights[name] = weight.clone()
                else:
                    self.weights[name].lerp_(weight, 1.0 - decay)

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """The network with averaged weights inside the block, with its own again after it."""
        if not self.weights:
            yield
            return
        own = {name: weight.clone() for name, weight in network.state_dict().items()}
        network.load_state_dict(self.weights)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"updates": self.updates, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a kept average."""
        self.updates, self.weights = state_dict["updates"], state_dict["weights"]


class Position(Callback):
    """Carries the order of the batches through the checkpoint, and seeds each step by its number.

    Data and dropout then go on as if nothing had happened, in each of several processes. (Lightning
    restores a loader's state itself after a stop within an epoch, but not after one at an epoch's end.)
    """

    def __init__(self, batches: ResumableBatches[Any], seed: int) -> None:
        self.batches = batches
        self.seed = seed

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Take this process's share of the batches."""
        self.batches.share(trainer.global_rank, trainer.world_size)

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """Seed PyTorch's generator, which dropout draws from."""
        sequence = np.random.SeedSequence([self.seed, trainer.global_step, trainer.global_rank])
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"batches": self.batches.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the order."""
        self.batches.load_state_dict(state_dict["batches"])


class DevEvaluation(Callback):
    """Measures the averaged network after each epoch, and writes it to `best` if it is the best so far."""

    def __init__(self, average: WeightAverage, best: Path) -> None:
        self.average = average
        self.best = best
        self.best_value = math.inf

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure, log, and keep the network if it is the best; of several processes the first does."""
        if not trainer.is_global_zero:
            return
        pl_module.eval()
        with torch.inference_mode(), self.average.applied(pl_module.network):
            metrics = pl_module.dev_metrics()
            value = next(iter(metrics.values()))
            if value < self.best_value:
                self.best_value = value
                pl_module.export(self.best, metrics)
        pl_module.train()
        trainer.logger.log_metrics({**metrics, "epoch": trainer.current_epoch}, trainer.global_step)
        trainer.logger.save()
        figures = "  ".join(f"{name} {figure:.4g}" for name, figure in metrics.items())
        print(f"epoch {trainer.current_epoch + 1}: {figures}", file=sys.stderr, flush=True)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"best_value": self.best_value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember how good the best was."""
        self.best_value = state_dict["best_value"]


class LastCheckpoint(Callback):
    """Writes the whole state of the run every few minutes and after each epoch, whole or not at all."""

    def __init__(self, path: Path, minutes: float) -> None:
        self.path = path
        self.seconds = 60.0 * minutes
        self._written_at = time.monotonic()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Let a kill end the process at once: nothing is lost but what the checkpoint has not yet.

        Lightning would wait for the end of the batch, which never comes if another process has stopped.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Write if it is time, by the clock of the first of several processes."""
        if trainer.strategy.broadcast(time.monotonic() - self._written_at >= self.seconds):
            self.write(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write at the end of an epoch."""
        self.write(trainer)

    def write(self, trainer: Any) -> None:
        """Write beside the old checkpoint, then take its place."""
        part = self.path.with_suffix(".part")
        try:
            trainer.save_checkpoint(part)
            if trainer.is_global_zero:
                part.replace(self.path)
        except OSError as error:
            raise write_error(self.path, error) from error
        self._written_at = time.monotonic()


class PlainProgress(Callback):
    """A line a minute where no terminal shows a progress bar: step, loss and time to the end."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self._started: tuple[float, int] | None = None
        self._printed_at = 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Print if it is time."""
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        if self._started is None:
            self._started = (now, trainer.global_step)
        if now - self._printed_at < self.seconds:
            return
        self._printed_at = now
        started, first_step = self._started
        steps = trainer.global_step - first_step
        loss = float(outputs["loss"] if isinstance(outputs, dict) else outputs)
        line = f"step {trainer.global_step}/{pl_module.total_steps}  loss {loss:.3f}"
        if steps > 0:
            pace = (now - started) / steps
            left = pace * (pl_module.total_steps - trainer.global_step) / 60.0
            line += f"  {pace:.2f} s a step, {left:.0f} min left"
        print(line, file=sys.stderr, flush=True)
