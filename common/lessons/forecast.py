"""A real series foretold: carbon dioxide in the air at Mauna Loa, month by month.

`python -m common.lessons.forecast`. An LSTM reads the series and says after each month what the next twelve
bring (aligned sequence to sequence). It is trained up to the end of one year and judged on the twelve after
it, beside three forecasts that learn nothing:

    persistence           y[t+h] = y[t]
    seasonal naive        y[t+h] = y[t+h-12]
    naive with growth     y[t+h] = y[t+h-12] + y[t] - y[t-12]

`--last-year 1977` judges on years that the default trains on: with it, settings were chosen.
"""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from common.commands.command import at_least, run_command
from common.core.recurrent import RecurrentConfig
from common.core.topologies import Aligned
from common.lessons.drawing import Chart, Line, write_png
from common.lessons.learning import learn, make_parser, set_up

SERIES = Path(__file__).parent / "data" / "co2.csv"
YEAR = 12  # months, of the season and of the longest forecast
JUDGED_YEARS = 12
FIRST_LAST_YEAR, LAST_LAST_YEAR = 1970, 2000  # what `--last-year` may be

_WINDOW = 72  # months of a training example
_WARM_UP = 12  # months that are read before the first forecast counts


@dataclass(frozen=True)
class Series:
    """A monthly series without gaps.

    Attributes:
        values: (months,), parts per million.
        first_year, first_month: of the first value; months count from 0.
    """

    values: Tensor
    first_year: int
    first_month: int

    def months(self) -> Tensor:
        """(months,) month of the year of each value, 0 to 11."""
        return (torch.arange(len(self.values)) + self.first_month) % YEAR

    def index(self, year: int) -> int:
        """Where the January of a year stands."""
        return YEAR * (year - self.first_year) - self.first_month


def read_series(path: Path = SERIES) -> Series:
    """A CSV file with the columns `month` (1958-03) and `ppm`; empty months lie on a straight line."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values = [float(row["ppm"] or "nan") for row in rows]
    for start, value in enumerate(values):
        if math.isnan(value):
            end = next(place for place in range(start, len(values)) if not math.isnan(values[place]))
            values[start] = values[start - 1] + (values[end] - values[start - 1]) / (end - start + 1)
    year, month = map(int, rows[0]["month"].split("-"))
    return Series(torch.tensor(values), year, month - 1)


def naive_forecasts(values: Tensor) -> dict[str, Tensor]:
    """What needs no learning: (months, 12) each, after each month the next twelve; none in the first year."""
    months = len(values)
    now = values.unsqueeze(1).expand(months, YEAR)
    season = torch.full((months, YEAR), math.nan)
    growth = torch.full((months, 1), math.nan)
    season[YEAR:] = values[1:].unfold(0, YEAR, 1)[: months - YEAR]  # row t: y[t-11], ..., y[t]
    growth[YEAR:, 0] = values[YEAR:] - values[:-YEAR]
    return {"persistence": now, "seasonal naive": season, "naive with growth": season + growth}


def truth(values: Tensor) -> Tensor:
    """(months, 12): after each month the next twelve; no number where the series has ended."""
    return torch.cat([values[1:], torch.full((YEAR,), math.nan)]).unfold(0, YEAR, 1)


class Forecaster(torch.nn.Module):
    """An LSTM that reads how the series moved, and says how far the next twelve months lie from this one.

    Args:
        hidden_size: units.
        values: (months,) of training, whose spreads become the units that the network works in.
    """

    def __init__(self, hidden_size: int, values: Tensor) -> None:
        super().__init__()
        self.aligned = Aligned(RecurrentConfig(2 + YEAR, hidden_size, "lstm"), YEAR)
        growth = values[YEAR:] - values[:-YEAR]
        self.monthly = float(values.diff().std())
        self.yearly, self.spread = float(growth.mean()), float(growth.std())

    def features(self, series: Series) -> Tensor:
        """(months, 14): the change since last month, that since last year, and which month it is."""
        values = series.values
        monthly = F.pad(values.diff() / self.monthly, (1, 0))
        yearly = F.pad((values[YEAR:] - values[:-YEAR] - self.yearly) / self.spread, (YEAR, 0))
        season = F.one_hot(series.months(), YEAR).float()
        return torch.cat([torch.stack([monthly, yearly], dim=1), season], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, months, 14) -> (batch, months, 12): the next months' distances, in units of `monthly`."""
        return self.aligned(features, return_state=False)[0]

    @torch.no_grad()
    def forecast(self, series: Series) -> Tensor:
        """(months, 12): after each month the next twelve, in parts per million."""
        distances = self(self.features(series).unsqueeze(0))[0]
        return series.values.unsqueeze(1) + distances * self.monthly


def train(series: Series, end: int, updates: int, generator: torch.Generator, hidden: int = 32) -> Forecaster:
    """A forecaster that saw nothing of the series from `end` on, neither as input nor as target."""
    known = Series(series.values[:end], series.first_year, series.first_month)
    network = Forecaster(hidden, known.values)
    features = network.features(known)
    wanted = (truth(known.values) - known.values.unsqueeze(1)) / network.monthly

    def loss() -> Tensor:
        starts = torch.randint(YEAR, end - YEAR - _WINDOW + 1, (16,), generator=generator)
        places = starts.unsqueeze(1) + torch.arange(_WINDOW)
        return F.l1_loss(network(features[places])[:, _WARM_UP:], wanted[places][:, _WARM_UP:])

    learn(network, loss, updates, rate=0.01, name="forecaster")
    return network


def errors(forecasts: Tensor, wanted: Tensor, first: int, last: int) -> Tensor:
    """(12,): mean absolute error of each distance, over the judged months `first` to before `last`.

    Each distance has as many judged months: the forecast of month m at distance h was made in m - h.
    """
    found = []
    for distance in range(YEAR):
        made = slice(first - 1 - distance, last - 1 - distance)
        found.append((forecasts[made, distance] - wanted[made, distance]).abs().mean())
    return torch.stack(found)


def main() -> int:
    """Train, print the error of each forecast, and draw the judged years."""
    parser = make_parser(
        "forecast", "Carbon dioxide at Mauna Loa foretold, beside forecasts without learning."
    )
    parser.add_argument("--updates", type=at_least(1), default=400, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--last-year",
        type=int,
        choices=range(FIRST_LAST_YEAR, LAST_LAST_YEAR + 1),
        default=1989,
        metavar="YEAR",
        help="of training; the twelve after it are judged (%(default)s)",
    )
    arguments = parser.parse_args()
    generator = set_up(arguments)
    series = read_series()
    first = series.index(arguments.last_year + 1)
    last = min(len(series.values), first + YEAR * JUDGED_YEARS)
    network = train(series, first, arguments.updates, generator)
    forecasts = {**naive_forecasts(series.values), "LSTM": network.forecast(series)}
    years = f"{arguments.last_year + 1} to {arguments.last_year + (last - first) // YEAR}"
    print(f"mean absolute error in parts per million, {years}, so many months ahead:")
    shown = (1, 3, 6, 12)
    print(f"{'':18}" + "".join(f"{distance:>8}" for distance in shown) + f"{'all':>8}")
    wanted = truth(series.values)
    for name, made in forecasts.items():
        found = errors(made, wanted, first, last)
        row = [float(found[distance - 1]) for distance in shown]
        print(f"{name:18}" + "".join(f"{value:8.2f}" for value in [*row, float(found.mean())]))
    if arguments.output is not None:
        ahead = slice(first - YEAR, last - YEAR)  # twelve months before each judged one
        lines = [Line("measured", series.values[first:last].tolist())]
        lines += [Line(f"{name}, 12 ahead", made[ahead, -1].tolist()) for name, made in forecasts.items()]
        low, high = float(series.values[first:last].min()), float(series.values[first:last].max())
        title = f"Carbon dioxide at Mauna Loa, {years}, parts per million"
        write_png(arguments.output, [Chart(title, lines, "months", math.floor(low - 3), math.ceil(high + 1))])
    return 0


if __name__ == "__main__":
    sys.exit(run_command("forecast", main))
