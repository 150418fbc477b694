"""The training glue: a run that was killed goes on exactly where it stood."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.core.quantized import can_compute_in_bfloat16
from common.core.recurrent import RecurrentConfig, RecurrentStack
from common.core.truncated import backward_in_pieces
from common.errors import InputError
from common.training.batches import ResumableBatches
from common.training.devices import usable_precision
from common.training.loop import FitOptions, TrainingModule, fit
from common.training.run_record import run_record
from common.training.schedule import one_cycle


class Tiny(TrainingModule[nn.Sequential]):
    """Fits noisy lines through a dropout layer, so that every source of randomness is in play."""

    def __init__(self, stop_after: int | None = None) -> None:
        torch.manual_seed(7)
        network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        super().__init__(network, learning_rate=0.05)
        self.stop_after = stop_after
        self.losses: list[float] = []
        self.exported: list[float] = []
        self.last: list[float] = []

    def training_step(self, batch: Tensor, batch_number: int) -> Tensor:
        if self.stop_after is not None and len(self.losses) == self.stop_after:
            raise KeyboardInterrupt
        loss = (self.network(batch) - batch.sum(1, keepdim=True)).square().mean()
        self.losses.append(float(loss.detach()))
        return loss

    def dev_metrics(self) -> dict[str, float]:
        x = torch.eye(3)
        return {"error": float((self.network(x) - 1.0).square().mean())}

    def export(self, directory: Path, metrics: dict[str, float]) -> None:
        exported = {"best": self.exported, "last": self.last}
        exported[directory.name].append(metrics["error"])


def batches() -> ResumableBatches[Tensor]:
    def plan(epoch: int, generator: np.random.Generator) -> list[Sequence[int]]:
        return [[int(number)] for number in generator.permutation(5)]

    def collate(numbers: Sequence[int], generator: np.random.Generator) -> Tensor:
        return torch.from_numpy(generator.normal(numbers[0], 1.0, (4, 3)).astype(np.float32))

    return ResumableBatches(plan, collate, seed=3)


def options(run: Path) -> FitOptions:
    return FitOptions(run, epochs=3, average_decay=0.9, checkpoint_minutes=0.0)


@pytest.mark.parametrize("killed_after", [2, 5, 8])
def test_a_killed_run_goes_on_exactly_where_it_stood(tmp_path: Path, killed_after: int) -> None:
    whole = Tiny()
    fit(whole, batches(), options(tmp_path / "whole"))
    assert len(whole.losses) == 15

    killed = Tiny(stop_after=killed_after)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(killed, batches(), options(tmp_path / "killed"))
    resumed = Tiny()
    fit(resumed, batches(), options(tmp_path / "killed"))

    assert killed.losses + resumed.losses == whole.losses
    for ours, theirs in zip(resumed.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert min(killed.exported + resumed.exported) == min(whole.exported)


@pytest.mark.parametrize("asked_in", [2, 5])
def test_ctrl_c_ends_a_run_after_the_step_at_hand_which_is_kept(tmp_path: Path, asked_in: int) -> None:
    class Asked(Tiny):
        def training_step(self, batch: Tensor, batch_number: int) -> Tensor:
            if len(self.losses) + 1 == asked_in:
                signal.raise_signal(signal.SIGINT)
            return super().training_step(batch, batch_number)

    seldom = FitOptions(tmp_path, epochs=3, average_decay=0.9, checkpoint_minutes=60.0)
    asked, resumed, whole = Asked(), Tiny(), Tiny()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(asked, batches(), seldom)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == asked_in
    assert signal.getsignal(signal.SIGINT) is before
    fit(resumed, batches(), seldom)
    fit(whole, batches(), options(tmp_path / "whole"))
    assert asked.losses + resumed.losses == whole.losses
    assert asked.exported + resumed.exported == whole.exported


def test_the_log_is_one_table_that_a_resume_goes_on_with(tmp_path: Path) -> None:
    for epochs in (1, 2):
        fit(Tiny(), batches(), FitOptions(tmp_path, epochs))
    rows = list(csv.DictReader((tmp_path / "log" / "metrics.csv").open()))
    assert [(row["epoch"], row["step"], row["name"]) for row in rows] == [
        ("1", "5", "error"),
        ("2", "10", "error"),
    ]
    assert all(float(row["value"]) > 0.0 for row in rows)


def test_logged_figures_are_means_over_examples(tmp_path: Path) -> None:
    class Logging(Tiny):
        def training_step(self, batch: Tensor, batch_number: int) -> Tensor:
            size = 3 if self.global_step % 2 else 1
            self.log_dict({"place": torch.tensor(float(self.global_step % 2))}, batch_size=size)
            return super().training_step(batch, batch_number)

    fit(Logging(), batches(), FitOptions(tmp_path, epochs=4))
    rows = list(csv.DictReader((tmp_path / "log" / "metrics.csv").open()))
    (row,) = [row for row in rows if row["name"] == "place"]
    assert (row["epoch"], row["step"], float(row["value"])) == ("4", "20", 0.75)


def test_a_checkpoint_of_lightning_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.6"}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt: was written by an earlier version .*new directory"):
        fit(Tiny(), batches(), options(tmp_path))


class Bomb:
    """What runs a program where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_checkpoint_that_would_run_a_program_is_refused_and_does_not(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "bomb": Bomb(tmp_path / "ran")}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt: is no checkpoint of a run"):
        fit(Tiny(), batches(), options(tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"nothing of the kind" * 99])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(InputError, match="remove it to begin the run again"):
        fit(Tiny(), batches(), options(tmp_path))


# --- what a run was begun with ---------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    run: Path
    train: tuple[Path, ...] = (Path("a.tsv"),)
    epochs: int = 3
    threads: int = 0


def begin(run: Path, chosen: Chosen, data: list[str]) -> None:
    """Make a run's first step."""
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(Tiny(stop_after=1), batches(), options(run), record=run_record(run, chosen, data))


def test_a_run_that_never_made_a_step_may_begin_otherwise(tmp_path: Path) -> None:
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(
            Tiny(stop_after=0),
            batches(),
            options(tmp_path),
            record=run_record(tmp_path, Chosen(tmp_path), []),
        )
    run_record(tmp_path, Chosen(tmp_path, epochs=4), [])
    begin(tmp_path, Chosen(tmp_path, epochs=5), [])
    with pytest.raises(InputError, match="epochs 4 in place of 5"):
        run_record(tmp_path, Chosen(tmp_path, epochs=4), [])


def test_a_run_goes_on_with_what_it_was_begun_with(tmp_path: Path) -> None:
    begin(tmp_path / "run", Chosen(tmp_path / "run"), ["one", "two"])
    (tmp_path / "run").rename(tmp_path / "moved")
    run_record(tmp_path / "moved", Chosen(tmp_path / "moved", threads=2), ["one", "two"])
    stored = json.loads((tmp_path / "moved" / "run.json").read_text())
    assert stored["options"] == {"train": ["a.tsv"], "epochs": 3}
    assert stored["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("changes", "data", "difference"),
    [
        ({"epochs": 4}, ["one", "two"], "epochs 4 in place of 3"),
        ({"train": (Path("b.tsv"),)}, ["one", "two"], 'train ["b.tsv"] in place of ["a.tsv"]'),
        ({}, ["one"], "other data"),
        ({}, ["two", "one"], "other data"),
    ],
)
def test_a_run_that_was_begun_otherwise_is_refused_with_the_difference(
    tmp_path: Path, changes: dict[str, Any], data: list[str], difference: str
) -> None:
    begin(tmp_path, Chosen(tmp_path), ["one", "two"])
    with pytest.raises(InputError) as caught:
        run_record(tmp_path, Chosen(tmp_path, **changes), data)
    assert difference in str(caught.value) and "choose a new directory" in str(caught.value)


def test_another_pytorch_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path, Chosen(tmp_path), [])
    monkeypatch.setattr(torch, "__version__", "9.0")
    with pytest.raises(InputError, match=r'torch "9\.0" in place of'):
        run_record(tmp_path, Chosen(tmp_path), [])


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"options": 3}'])
def test_a_damaged_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError):
        run_record(tmp_path, Chosen(tmp_path), [])


def recurrent(cell: Any) -> RecurrentStack:
    return RecurrentStack(RecurrentConfig(2, 4, cell, bidirectional=True))


def test_bfloat16_is_tried_and_not_asked_for() -> None:
    for cell in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        x = torch.randn(2, 3, 2)
        try:
            with torch.autocast("cpu", torch.bfloat16):
                outputs, _ = recurrent(cell)(x)
            outputs.float().sum().backward()
            worked = True
        except RuntimeError:
            worked = False
        assert can_compute_in_bfloat16(cell) == worked


def test_to_try_bfloat16_draws_no_random_number() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    can_compute_in_bfloat16.__wrapped__("lstm")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("possible", [False, True])
def test_where_bfloat16_cannot_be_computed_float32_is_and_that_is_said(
    possible: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("common.training.devices.can_compute_in_bfloat16", lambda *_: possible)
    network = nn.Sequential(nn.Linear(2, 2), recurrent("lstm"))
    assert usable_precision(network, "32-true", "cpu") == "32-true"
    assert capsys.readouterr().err == ""
    assert usable_precision(network, "bf16-mixed", "cpu") == ("bf16-mixed" if possible else "32-true")
    said = capsys.readouterr().err
    assert said.count("\n") == (0 if possible else 1)
    assert possible or "no LSTM in bfloat16" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what it should not have")
def test_a_device_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device: this machine has no cuda"):
        fit(Tiny(), batches(), FitOptions(tmp_path, epochs=1, device="cuda"))


def test_the_best_model_is_measured_with_averaged_weights(tmp_path: Path) -> None:
    module = Tiny()
    fit(module, batches(), options(tmp_path))
    assert module.exported == sorted(module.exported, reverse=True)
    with torch.no_grad():
        plain = module.eval().dev_metrics()["error"]
    assert plain != module.exported[-1]


def test_the_last_model_is_written_whether_it_is_the_best_or_not(tmp_path: Path) -> None:
    class Worse(Tiny):
        def dev_metrics(self) -> dict[str, float]:
            return {"error": float(len(self.losses))}

    module = Worse()
    fit(module, batches(), options(tmp_path))
    assert module.exported == [5.0] and module.last == [5.0, 10.0, 15.0]


def test_batches_are_the_same_for_a_seed_and_differ_between_epochs() -> None:
    first, again = batches(), batches()
    epochs = [[batch.tolist() for batch in first] for _ in range(2)]
    assert epochs == [[batch.tolist() for batch in again] for _ in range(2)]
    assert epochs[0] != epochs[1]


def test_processes_share_the_batches_without_overlap() -> None:
    alone = [batch.tolist() for batch in batches()]
    shares = []
    for process in range(2):
        share = batches()
        share.share(process, 2)
        assert len(share) == 2
        shares.append([batch.tolist() for batch in share])
    assert [shares[0][0], shares[1][0], shares[0][1], shares[1][1]] == alone[:4]


def test_pieces_give_the_whole_loss_but_no_gradient_across_their_border() -> None:
    torch.manual_seed(0)
    stack = RecurrentStack(RecurrentConfig(2, 4, "gru"))
    x, targets = torch.randn(3, 12, 2), torch.randn(3, 12, 4)

    def learn(steps: int) -> tuple[float, Tensor]:
        own = x.clone().requires_grad_()
        stack.zero_grad()
        total = backward_in_pieces(
            lambda piece, state: stack(piece, state=state),
            # Only the last step of a piece is scored: its gradient has to travel.
            lambda outputs, wanted: (outputs - wanted)[:, -1].square().sum(),
            own,
            targets,
            steps,
        )
        assert own.grad is not None
        return total, own.grad

    _, whole = learn(12)
    halves_loss, halves = learn(6)
    assert whole[:, 0].abs().min() > 0.0
    outputs, _ = stack(x)
    expected = (outputs - targets)[:, [5, 11]].square().sum()
    assert halves_loss == pytest.approx(float(expected), rel=1e-5)
    torch.testing.assert_close(halves[:, 6:], whole[:, 6:])
    first = x[:, :6].clone().requires_grad_()
    (stack(first)[0] - targets[:, :6])[:, -1].square().sum().backward()
    assert first.grad is not None
    torch.testing.assert_close(halves[:, :6], first.grad)


def test_one_cycle_rises_to_the_full_rate_and_falls_to_a_hundredth() -> None:
    rates = [one_cycle(step, 100, 0.1) for step in range(100)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[0] == pytest.approx(0.1)
    assert one_cycle(100, 100, 0.1) == pytest.approx(0.01)
