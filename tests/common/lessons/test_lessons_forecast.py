"""The forecaster: its series, the forecasts without learning, and what it may know."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from common.lessons.forecast import Forecaster, Series, errors, naive_forecasts, read_series, train, truth


def test_the_series_that_ships_is_whole_and_begins_in_march_1958() -> None:
    series = read_series()
    assert (series.first_year, series.first_month, len(series.values)) == (1958, 2, 526)
    assert series.values.isfinite().all()
    assert float(series.values[0]) == pytest.approx(316.1)
    assert float(series.values[3]) == pytest.approx((317.43 + 315.62) / 2)  # June 1958 was not measured
    assert series.index(2001) == 526 - 12
    assert series.months()[series.index(1990)] == 0


def test_months_without_a_value_lie_on_a_straight_line(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    path.write_text("month,ppm\n2001-11,1.0\n2001-12,\n2002-01,\n2002-02,4.0\n")
    series = read_series(path)
    assert series.values.tolist() == pytest.approx([1.0, 2.0, 3.0, 4.0])
    assert series.months().tolist() == [10, 11, 0, 1]
    assert series.index(2002) == 2


def test_forecasts_without_learning_are_what_they_say() -> None:
    y = torch.rand(40, generator=torch.Generator().manual_seed(1)).tolist()
    forecasts = naive_forecasts(torch.tensor(y))
    for t in range(40):
        for h in range(1, 13):
            assert float(forecasts["persistence"][t, h - 1]) == pytest.approx(y[t])
            if t < 12:
                assert math.isnan(forecasts["seasonal naive"][t, h - 1])
                continue
            assert float(forecasts["seasonal naive"][t, h - 1]) == pytest.approx(y[t + h - 12])
            grown = y[t + h - 12] + y[t] - y[t - 12]
            assert float(forecasts["naive with growth"][t, h - 1]) == pytest.approx(grown, abs=1e-6)


def test_the_truth_is_the_next_twelve_months_as_far_as_there_are_any() -> None:
    wanted = truth(torch.arange(30.0))
    assert wanted[4].tolist() == list(range(5, 17))
    assert wanted[20, :9].tolist() == list(range(21, 30)) and wanted[20, 9:].isnan().all()
    assert wanted.shape == (30, 12)


def test_errors_are_those_of_the_judged_months_at_every_distance() -> None:
    values = torch.arange(60.0)  # grows by one a month: persistence is off by the distance
    found = errors(naive_forecasts(values)["persistence"], truth(values), 40, 60)
    torch.testing.assert_close(found, torch.arange(1.0, 13.0))
    values[50] += 100.0  # one judged month of twenty is odd
    naive = errors(torch.zeros(60, 12), truth(values), 50, 51)
    assert naive.tolist() == [150.0] * 12


def test_a_forecast_knows_nothing_of_what_comes_after_it() -> None:
    series = read_series()
    torch.manual_seed(1)
    network = Forecaster(4, series.values[:300]).eval()
    whole = network.forecast(series)
    known = Series(series.values[:400], series.first_year, series.first_month)
    torch.testing.assert_close(network.forecast(known), whole[:400])


def test_training_knows_nothing_of_the_years_that_are_judged() -> None:
    series = read_series()
    changed = Series(series.values.clone(), series.first_year, series.first_month)
    changed.values[300:] += 50.0
    weights = []
    for one in (series, changed):
        torch.manual_seed(1)
        weights.append(train(one, 300, 3, torch.Generator().manual_seed(1), hidden=4).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_seconds_of_training_beat_persistence_and_last_year() -> None:
    series = read_series()
    torch.manual_seed(1)
    first = series.index(1990)
    network = train(series, first, 120, torch.Generator().manual_seed(1))
    wanted = truth(series.values)
    ours = errors(network.forecast(series), wanted, first, len(series.values)).mean()
    for name in ("persistence", "seasonal naive"):
        naive = errors(naive_forecasts(series.values)[name], wanted, first, len(series.values)).mean()
        assert ours < 0.8 * naive, name
