"""How much gradient reaches back through time, against what theory says of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from common.core.recurrent import RecurrentConfig, RecurrentStack
from common.lessons.drawing import write_png
from common.lessons.gradients import (
    EXPERIMENTS,
    Experiment,
    clip,
    clipping_panel,
    lags_panels,
    measure,
    reach_of,
    reach_panel,
    recurrent_radius,
    run_experiment,
    table,
    table_of_lags,
)
from common.lessons.long_lags import CHANCE, Result
from common.lessons.starts import gaussian, keeping_bias, pytorch_start, spectral_radius


def reach(name: str, cell: str, prepare: object = None, steps: int = 101) -> tuple[float, str]:
    found, _ = run_experiment(Experiment(name, cell, prepare), steps)  # type: ignore[arg-type]
    return float(found.profile[-1]), found.verdict


def test_a_linear_recurrence_multiplies_by_its_factor_every_step() -> None:
    stack = RecurrentStack(RecurrentConfig(3, 3, "rnn_relu")).double()
    with torch.no_grad():
        for name, weight in stack.named_parameters():
            weight.copy_(torch.zeros(3) if "bias" in name else torch.eye(3) * (0.9 if "hh" in name else 1.0))
    x = torch.rand(2, 21, 3, dtype=torch.float64)  # positive, so that every unit is in its linear part
    found = measure(stack, x, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.profile, 0.9 ** torch.arange(21, dtype=torch.float64))
    assert found.factor == pytest.approx(0.9)
    assert found.half_life == pytest.approx(math.log(0.5) / math.log(0.9))
    assert recurrent_radius(stack) == pytest.approx(0.9)


def test_a_small_spectral_radius_vanishes_and_a_large_one_explodes() -> None:
    share, verdict = reach("small", "rnn_tanh", gaussian(0.5))
    assert share < 1e-20
    assert verdict == "vanishes"
    share, verdict = reach("large", "rnn_tanh", gaussian(3.0))
    assert share > 1e4
    assert verdict == "explodes"
    assert reach("large", "rnn_relu", gaussian(2.0))[1] == "explodes"


def test_an_lstm_with_an_open_forget_gate_keeps_orders_of_magnitude_more() -> None:
    lstm, verdict = reach("lstm", "lstm")
    assert verdict == "reaches"
    assert lstm > 1e3 * reach("shut", "lstm", keeping_bias(0.0))[0]
    assert lstm > 1e3 * reach("naive", "rnn_tanh", gaussian(0.9))[0]


def test_an_orthogonal_start_keeps_orders_of_magnitude_more_than_pytorch_own() -> None:
    share, verdict = reach("orthogonal", "rnn_tanh")
    assert verdict == "reaches"
    assert share > 1e10 * reach("usual", "rnn_tanh", pytorch_start)[0]


def test_an_open_update_gate_helps_a_gru() -> None:
    assert reach("open", "gru", keeping_bias(2.0))[0] > 1e3 * reach("half", "gru")[0]


def test_truncation_cuts_the_gradient_where_it_says() -> None:
    found, _ = run_experiment(Experiment("cut", "lstm", truncate=25), steps=100)
    assert found.profile[:25].gt(0).all()
    assert not found.profile[25:].any()
    assert found.verdict == "is cut"


def test_clipping_brings_an_exploding_gradient_to_its_bound() -> None:
    before, after = clip(Experiment("large", "rnn_relu", gaussian(2.0)))
    assert before > 1e6
    assert after == pytest.approx(1.0, rel=1e-3)


def test_measuring_changes_neither_network_nor_random_state() -> None:
    stack = RecurrentStack(RecurrentConfig(4, 5, "lstm", layers=2)).double()
    state = torch.get_rng_state()
    measure(stack, torch.randn(2, 7, 4, dtype=torch.float64, generator=torch.Generator()), torch.Generator())
    run_experiment(EXPERIMENTS[0], steps=5, hidden_size=4)
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in stack.parameters())


def test_the_spectral_radius_is_that_of_the_largest_eigenvalue() -> None:
    turn = torch.tensor([[0.0, -2.0], [2.0, 0.0]])  # its eigenvalues are complex
    assert spectral_radius(turn) == pytest.approx(2.0)


def test_a_gradient_that_reaches_one_step_only_has_no_half_life() -> None:
    assert reach_of(torch.tensor([1.0, 0.0, 0.0])).half_life == 0.0


def test_through_a_linear_recurrence_the_gradient_is_the_power_of_the_spectral_radius() -> None:
    stack = RecurrentStack(RecurrentConfig(2, 2, "rnn_relu")).double()
    turn = torch.tensor([[0.6, -0.3], [0.3, 0.6]], dtype=torch.float64)  # a rotation that shrinks
    with torch.no_grad():
        for name, weight in stack.named_parameters():
            weight.copy_(torch.ones(2) if weight.ndim == 1 else turn if "hh" in name else torch.eye(2))
    x = 9.0 + torch.rand(3, 31, 2, dtype=torch.float64)  # positive, so that every unit is in its linear part
    found = measure(stack, x, torch.Generator().manual_seed(1))
    radius = spectral_radius(turn)
    assert radius == pytest.approx(math.hypot(0.6, 0.3))
    torch.testing.assert_close(found.profile, radius ** torch.arange(31, dtype=torch.float64))


def test_table_and_panel_show_every_experiment() -> None:
    results = {one.name: run_experiment(one, steps=12, hidden_size=8, batch=2) for one in EXPERIMENTS}
    lines = table(results).splitlines()
    assert len(lines) == 1 + len(EXPERIMENTS)
    assert all(line.startswith(one.name) for line, one in zip(lines[1:], EXPERIMENTS, strict=True))
    panel = reach_panel({name: found for name, (found, _) in results.items()})
    assert [line.name for line in panel.lines] == [one.name for one in EXPERIMENTS]


def test_what_is_solved_has_a_star_in_the_table() -> None:
    right = Result("copying", "lstm", {50: 1.0, 800: 0.2}, {50: 3, 800: 9})
    wrong = Result("adding", "rnn_tanh", {50: CHANCE["adding"], 800: 0.001}, {50: 9, 800: 9})
    lines = table_of_lags([right, wrong]).splitlines()
    assert "100.0%*" in lines[1] and "20.0% " in lines[1]
    assert "0.1667 " in lines[2] and "0.0010*" in lines[2]


def test_the_picture_is_written_with_every_panel(tmp_path: Path) -> None:
    results = [Result("copying", "lstm", {50: 1.0, 800: 0.2}, {50: 3, 800: 9})]
    results.append(Result("adding", "gru", {50: 0.1, 800: 0.2}, {50: 3, 800: 9}))
    one, all_ = tmp_path / "one.png", tmp_path / "all.png"
    panel = clipping_panel({"without": [1.0, 1e5, math.nan], "with": [1.0, 0.5, 0.1]})
    write_png(one, [panel])
    write_png(all_, [panel, *lags_panels(results)])
    with Image.open(one) as small, Image.open(all_) as large:
        assert (large.width, large.height) == (small.width, 3 * small.height)
