"""Demand that was measured: in an instance, in scenarios from its past and from an ensemble; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from decomp.ingest.build import build, open_spec
from decomp.model.instance import InputError, Instance
from decomp.model.scenarios import series_of
from decomp.model.validate import validate
from decomp.scenarios.members import from_members
from decomp.scenarios.past import analogs, as_known, read_past
from running import CHECKOUT
from series_files import times, write
from specs import CHAT, PLACE, REQUESTS, head

DATA = CHECKOUT.parent / "shared" / "data"
WEEK = np.array([10.0, 11.0, 12.0, 13.0, 14.0, 2.0, 1.0])  # of 1 July 2022, a Friday, and the six days after it
SPEC = f"""
{head("served", "2022-07-22", 24, load="load.csv", runs="{member}.csv")}
{CHAT}
[[sites]]
name = "A"
{PLACE}
"""
SPEC += """
[sites.series]
price = { file = "load", column = "price", unit = "usd/MWh" }
carbon = { value = 300.0, unit = "g/kWh" }
pue = { value = 1.2, unit = "1" }
[inference.series]
requests = { file = "load", column = "{origin} {class}", unit = "1/min" }
[[inference.origins]]
name = "Bonn"
latitude = 50.7
longitude = 7.1
weight = 3.0
time_zone = "Europe/Berlin"
[[inference.origins]]
name = "Rome"
latitude = 41.9
longitude = 12.5
weight = 1.0
time_zone = "Europe/Rome"
[history]
days = 14
[ensemble]
members = ["m1", "m2"]
series = { requests = { file = "runs", column = "{origin}", unit = "1/s" } }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four weeks from 1 July: demand of Bonn grows by 6 a minute each week, that of Rome is half; the price jumps."""
    day = np.repeat(np.arange(28), 24)
    bonn = 60.0 * WEEK[day % 7] + 6.0 * (day // 7)
    columns = {"price": 40.0 + (day % 2), "Bonn chat": bonn, "Rome chat": 0.5 * bonn}
    stamps = times("2022-07-01", 28 * 24, 60)
    write(tmp_path / "load.csv", "utc," + ",".join(columns), stamps, *(v.tolist() for v in columns.values()))
    for m in (1, 2):
        rows = [[float(m)] * 24, bonn[21 * 24 : 22 * 24] / 120.0]
        write(tmp_path / f"m{m}.csv", "utc,Bonn,Rome", times("2022-07-22", 24, 60), *(list(v) for v in rows))
    (tmp_path / "requests.csv").write_text(REQUESTS)
    (tmp_path / "spec.toml").write_text(SPEC)
    return tmp_path


def fleet(folder: Path, *settings: str) -> Instance:
    return build(*open_spec(folder / "spec.toml", None, settings))


def test_measured_requests_are_the_demand(folder: Path) -> None:
    found = fleet(folder)
    validate(found)
    assert found.streams.demand_rps[0] == pytest.approx(10.3) and found.streams.demand_rps[1] == pytest.approx(5.15)


def test_relative_demand_is_in_units_of_the_mean_asked_for(folder: Path) -> None:
    relative = 'inference.series={ demand = { value = 50.0, unit = "%" } }'
    found = fleet(folder, relative)
    assert found.demand_gpu[0] == pytest.approx(0.5 * 0.75 * 400.0) and found.demand_gpu[1] == pytest.approx(50.0)
    fewer = 'sites.A.series.availability={ value = 0.5, unit = "1" }'
    assert fleet(folder, relative, fewer).demand_gpu[0] == pytest.approx(150.0), "outages do not lower demand"


def test_demand_was_forecast_by_the_week_before(folder: Path) -> None:
    """Errors of demand are the growth of a week on any day of it, beside those of the price on the same day."""
    instance, (spec, library) = fleet(folder), open_spec(folder / "spec.toml", None, ())
    found = analogs(instance, read_past(instance, spec, library), 14)
    error = series_of(found, "demand_rps") - instance.streams.demand_rps
    assert error[:, 0] == pytest.approx(0.1) and error[:, 1] == pytest.approx(0.05)
    jump = series_of(found, "buy_price")[:, 0, 0] - instance.sites.buy_price[0, 0]
    odd = np.array([int(name[-2:]) % 2 for name in found.scenarios.name])
    assert jump == pytest.approx(1.0 - 2.0 * odd)
    known = as_known(instance, spec, library, 2)
    assert known.streams.demand_rps[0] == pytest.approx(10.2)
    assert series_of(known, "demand_rps")[:, 0] == pytest.approx(10.3)


def test_what_had_been_forecast_of_demand(folder: Path) -> None:
    said = 'history.forecast={ requests = { file = "load", column = "{origin} chat", unit = "1/min", factor = 0.9 } }'
    spec, library = open_spec(folder / "spec.toml", None, [said])
    past = read_past(fleet(folder), spec, library)
    assert past.forecast["demand_rps"] == pytest.approx(0.9 * past.actual["demand_rps"])


def test_members_of_demand(folder: Path) -> None:
    found = from_members(fleet(folder), *open_spec(folder / "spec.toml", None, ()))
    assert series_of(found, "demand_rps")[:, 0, 0] == pytest.approx([1.0, 2.0])
    assert found.overrides.row.tolist() == [0, 0], "what members say of Rome is what the fleet has"
    assert set(found.overrides.series.tolist()) == {"demand_rps"}


LOAD = '{ file = "load", column = "Bonn chat", unit = "1/min" }'
REFUSED = {
    "of a site": ("sites.A.series.requests=" + LOAD, "site A: series.requests: no such quantity of a site"),
    "of a stream": ("inference.series.price=" + LOAD, "inference: series.price: no such quantity of a stream"),
    "two": (
        'inference.series.demand={ value = 1.0, unit = "1" }',
        "needs one of requests, demand; there are 2",
    ),
    "unit": ("inference.series.requests.unit=rps", "stream Bonn/chat: series requests: unit = 'rps': must be one of"),
    "column": ("inference.series.requests.column={city}", r"stream Bonn/chat: .*no placeholder {city}"),
    "negative": (
        "inference.series.requests.factor=-1.0",
        "stream Bonn/chat: .*load.csv, line 506.*outside",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_demand_that_cannot_be(folder: Path, kind: str) -> None:
    setting, told = REFUSED[kind]
    with pytest.raises(InputError, match=told):
        fleet(folder, setting)


def test_a_forecast_of_what_was_not_measured(folder: Path) -> None:
    settings = ["inference.series=", f"history.forecast={{ requests = {LOAD} }}"]
    with pytest.raises(InputError, match="spec.toml: requests: of no use where inference.series"):
        read_past(fleet(folder, "inference.series="), *open_spec(folder / "spec.toml", None, settings))


@pytest.mark.skipif(not (DATA / "cluster_cpu_load_hourly.csv.gz").exists(), reason="the public series are not here")
def test_four_sites_under_a_measured_load(tmp_path: Path) -> None:
    """Load of Google's cells as demand of four sites in the US: errors with those of prices, day by day."""
    load = pd.read_csv(DATA / "cluster_cpu_load_hourly.csv.gz").google_cpu_frac.to_numpy()
    stamps = pd.date_range("2022-01-01", periods=len(load), freq="h").strftime("%Y-%m-%dT%H:%MZ")
    write(tmp_path / "load.csv", "utc,load", list(stamps), load.tolist())
    for file in DATA.glob("*.csv*"):
        (tmp_path / file.name).symlink_to(file)
    settings = [
        *("horizon.periods=24", "horizon.period_min=60", "history.days=6", "pools=", "jobs="),
        'files.load={ path = "load.csv", time_column = "utc", step_min = 60 }',
        'inference.series={ demand = { file = "load", column = "load", unit = "1", factor = 1.8 } }',
    ]
    spec, library = open_spec(CHECKOUT / "instances" / "us4.toml", tmp_path, settings)
    instance = build(spec, library)
    past = read_past(instance, spec, library)
    found = analogs(instance, past, 6)
    validate(found)
    relative = series_of(found, "demand_rps") / instance.streams.demand_rps - 1.0
    assert relative == pytest.approx(relative[:, :1].repeat(relative.shape[1], axis=1)), "one load for all streams"
    assert 0.001 < np.abs(relative).mean() < 0.5 and "buy_price" in found.overrides.series
