"""Several processes that train one model, on one machine or on many: each on batches of its own.

Comes in: how many, or what torchrun says. Goes out: this process's place among them, and gradients that are
the mean of all, so that n processes do what one would do with n times the batch.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from common.errors import InputError
from common.training.checkpoint import pack, unpack

_TO_MEET = timedelta(minutes=10)
_TO_WAIT = timedelta(days=7)  # while the first measures or prepares; the end of a process is noticed at once
_STARTED = {"RANK", "WORLD_SIZE"}  # what torchrun, and `join`, tell a process


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train together; without arguments it is alone.

    Attributes:
        rank: its number; the first, 0, measures and writes.
        count: how many there are.
        local_rank: its number on its machine.
        group: through which they talk.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    group: Any = None

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Prepare inside the block: the first, then the first of each other machine, then all others.

        Nobody then writes a cache while another does, and each finds what is there already.
        """
        turn = 0 if self.rank == 0 else 1 if self.local_rank == 0 else 2
        for _ in range(turn):
            self._wait()
        yield
        for _ in range(turn, 2):
            self._wait()

    def average_gradients(self, parameters: Sequence[nn.Parameter], asked: bool) -> bool:
        """Set all gradients to their mean over the processes.

        Args:
            parameters: that learn.
            asked: whether somebody asked this process to end.

        Returns:
            Whether any process was asked to: all then end after the same step.
        """
        if self.count == 1:
            return asked
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat(
            [*(one.flatten() for one in gradients), gradients[0].new_tensor([float(asked)])]
        ).cpu()
        self._all(dist.all_reduce, flat)
        parts = (flat[:-1] / self.count).split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.device)
        return bool(flat[-1] > 0)

    def from_first(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state that the first process has, on the processor."""
        if self.count == 1:
            return state
        data = bytearray(pack(state)) if self.rank == 0 else bytearray()
        size = torch.tensor([len(data)])
        self._all(dist.broadcast, size, src=0)
        sent = torch.frombuffer(data or bytearray(int(size)), dtype=torch.uint8)
        self._all(dist.broadcast, sent, src=0)
        return unpack(sent.numpy().tobytes())

    def leave(self) -> None:
        """Close the connections, after the last exchange: left to the end of the process, that can abort."""
        if self.count > 1:
            dist.destroy_process_group()

    def end(self) -> None:
        """End because another has ended; the first says so, once.

        Raises:
            InputError: in the first.
            SystemExit: in the others.
        """
        if self.rank:
            raise SystemExit(1)
        reason = "another process of it has ended; the same command goes on from the last checkpoint"
        raise InputError("training", reason)

    def _wait(self) -> None:
        """Wait for the slowest."""
        if self.count > 1:
            self._all(dist.all_reduce, torch.zeros(1))

    def _all(self, exchange: Callable[..., Any], numbers: Tensor, **options: Any) -> None:
        """Change numbers in place to what an exchange among all processes makes of them."""
        try:
            exchange(numbers, group=self.group, **options)
        except RuntimeError:  # the connection to one of them is closed
            self.end()


def join(count: int) -> Processes:
    """Train together with others.

    Where torchrun started this process, it is one of torchrun's. Otherwise it is the first, and starts the
    others by running the same command again; they go with it.

    Args:
        count: of processes; 1 where torchrun says how many.

    Raises:
        InputError: if torchrun started another number.
    """
    if os.environ.keys() >= _STARTED:
        place = (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", 0)))
        if count not in (1, place[1]):
            raise InputError("processes", f"is {count}, but {place[1]} were started; leave it out")
        dist.init_process_group("gloo", timeout=_TO_MEET)
    elif count > 1:
        place = (0, count, 0)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        for rank in range(1, count):
            _start_again(rank, count, port)
        dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", timeout=_TO_MEET, rank=0, world_size=count)
    else:
        return Processes()
    return Processes(*place, group=dist.new_group(timeout=_TO_WAIT))


def require_alone() -> None:
    """Make sure that torchrun did not start several processes, for a training that takes one.

    Raises:
        InputError: if it did.
    """
    if os.environ.keys() >= _STARTED and os.environ["WORLD_SIZE"] != "1":
        raise InputError("training", "takes one process here; start it without torchrun")


def _start_again(rank: int, count: int, port: int) -> None:
    """Run this command again as another process; what it prints as a result, the first prints."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    environment = {name: str(value) for name, value in numbers.items()}
    subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, **environment, "MASTER_ADDR": "127.0.0.1"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the first: it tells the others
    )
