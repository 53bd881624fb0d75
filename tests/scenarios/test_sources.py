"""Scenarios from the past and from ensembles, against series whose errors are known; the command; refusals."""

from __future__ import annotations

import signal
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decomp.files.store import read_instance, write_instance
from decomp.ingest.build import build, open_spec
from decomp.model.instance import InputError, Instance
from decomp.model.scenarios import series_of
from decomp.scenarios.known import SITE_SERIES
from decomp.scenarios.members import from_members
from decomp.scenarios.past import Past, analogs, as_known, read_past
from drivers import ingest, rolling
from drivers import scenarios as driver
from drivers.common import BAD_INPUT, run
from running import CHECKOUT, Reader
from series_files import times, write
from specs import PLACE, head
from tiny import tiny

DATA = CHECKOUT.parent / "shared" / "data"
SPEC = f"""
{head("two", "2022-07-15", 24, past="past.csv", runs="{member}.csv")}
[defaults]
{PLACE}
"""
SPEC += """
wind_capacity_mw = 10.0
tariff = { sell_factor = 0.5 }
[defaults.series]
price = { file = "past", column = "{name}_rt", unit = "usd/MWh" }
carbon = { value = 300.0, unit = "g/kWh" }
pue = { value = 1.2, unit = "1" }
wind_factor = { file = "past", column = "{name}_wind", unit = "1" }
[[sites]]
name = "A"
[[sites]]
name = "B"
[history]
days = 4
forecast = { price = { file = "past", column = "{name}_da", unit = "usd/MWh" } }
[ensemble]
members = ["m1", "m2", "m3"]
probability = [0.5, 0.3, 0.2]
series = { wind_factor = { file = "runs", column = "{name}", unit = "1" } }
"""
DRIVERS = dict(ingest=ingest, rolling=rolling, scenarios=driver)
LEVEL = {"A": np.array([50.0, 40.0, 30.0, 55.0, 62.0, 50.0]), "B": np.array([20.0, 90.0, 20.0, 20.0, 20.0, 20.0])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six days from 10 July, day d: A is off by d, B by -2 d; wind is 0.1 d; the last is that of the fleet."""
    hour, day = np.arange(144) % 24, np.repeat(np.arange(6.0), 24)
    columns: dict[str, np.ndarray] = {}
    for name, error in (("A", 1.0), ("B", -2.0)):
        columns[f"{name}_da"] = np.repeat(LEVEL[name], 24) + hour
        columns[f"{name}_rt"] = columns[f"{name}_da"] + error * day
        columns[f"{name}_wind"] = 0.1 * (1 + day) * (1.0 if name == "A" else 0.5)
    stamps = times("2022-07-10", 144, 60)
    write(tmp_path / "past.csv", "utc," + ",".join(columns), stamps, *(v.round(6).tolist() for v in columns.values()))
    for m in (1, 2, 3):
        rows = [np.full(24, 0.1 * m).round(3).tolist(), np.full(24, 0.3).tolist()]
        write(tmp_path / f"m{m}.csv", "utc,A,B", times("2022-07-15", 24, 60), *rows)
    (tmp_path / "spec.toml").write_text(SPEC)
    return tmp_path


def fleet(folder: Path) -> Instance:
    return build(*open_spec(folder / "spec.toml", None, ()))


def test_errors_of_days_like_this_one(folder: Path) -> None:
    instance, (spec, library) = fleet(folder), open_spec(folder / "spec.toml", None, ())
    past = read_past(instance, spec, library)
    assert past.name == ["2022-07-14", "2022-07-13", "2022-07-12", "2022-07-11"]
    found = analogs(instance, past, 2)
    # the 13th's forecasts are nearest in price and wind together, then the 14th's; the 11th's price at B is far off
    days = [{"2022-07-13": 3.0, "2022-07-14": 4.0}[name] for name in found.scenarios.name]
    assert sorted(days) == [3.0, 4.0] and found.scenarios.probability.tolist() == [0.5, 0.5]
    for s, day in enumerate(days):
        for i, error in enumerate((day, -2.0 * day)):  # both sites off by the same day's errors
            own = instance.sites.buy_price[i]
            assert series_of(found, "buy_price")[s, i] == pytest.approx(own + error)
            assert series_of(found, "sell_price")[s, i] == pytest.approx(0.5 * (own + error))
    # without a forecast: more wind than the day before, by a tenth, but never more than has been seen
    wind = series_of(found, "wind_mw")
    assert wind[:, 0] == pytest.approx(6.0)
    assert "carbon_intensity" not in found.overrides.series and "pue" not in found.overrides.series
    assert analogs(instance, past, 4).n_scenarios == 4


def test_members_of_an_ensemble(folder: Path) -> None:
    instance = fleet(folder)
    found = from_members(instance, *open_spec(folder / "spec.toml", None, ()))
    assert found.scenarios.name.tolist() == ["m1", "m2", "m3"]
    assert found.scenarios.probability.tolist() == [0.5, 0.3, 0.2]
    assert series_of(found, "wind_mw")[:, 0, 0] == pytest.approx([1.0, 2.0, 3.0])
    assert set(found.overrides.series.tolist()) == {"wind_mw"}
    assert found.overrides.row.tolist() == [0, 0, 0]  # what members say of B is what the fleet has


def scenarios(words: str) -> int:
    return run(driver.main, words.split())


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    write_instance("fleet.h5", fleet(folder))
    assert scenarios("fleet.h5 -o past.h5 --history spec.toml --count 4 --reduce 3") == 0
    assert read_instance("past.h5").n_scenarios == 3
    assert "3 scenarios of probability 0.25 to 0.5; " in capsys.readouterr().out
    assert scenarios("fleet.h5 -o runs.h5 --ensemble spec.toml") == 0
    assert scenarios("past.h5 -o two.h5 --reduce 2") == 0
    assert set(read_instance("two.h5").scenarios.name) < set(read_instance("past.h5").scenarios.name)
    for name, seed in (("a.h5", 1), ("b.h5", 1), ("c.h5", 2)):
        assert scenarios(f"fleet.h5 -o {name} --count 5 --seed {seed}") == 0
    hashes = [read_instance(name).content_hash() for name in ("a.h5", "b.h5", "c.h5")]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len(Path("a.h5").read_bytes()) < 3 * len(Path("fleet.h5").read_bytes())


@pytest.mark.parametrize(
    "line",
    [
        "ingest spec.toml -o D/windows.csv",
        "scenarios fleet.h5 -o D/windows.csv --history spec.toml --count 2",
        "scenarios fleet.h5 -o m2.csv --ensemble spec.toml",
        "rolling fleet.h5 -o D --history spec.toml --window 24 --step 24",
    ],
)
def test_data_of_a_spec_are_not_written(
    line: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was read for the spec, by any name: {member}.csv is a file for each member."""
    monkeypatch.chdir(folder)
    write_instance("fleet.h5", fleet(folder))
    Path("D").mkdir()
    Path("past.csv").rename("D/windows.csv")
    Path("spec.toml").write_text(SPEC.replace("past.csv", "D/windows.csv"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    verb, *words = line.split()
    assert run(DRIVERS[verb].main, words) == BAD_INPUT
    told = capsys.readouterr().err
    assert "is also the file of the spec's data; nothing is overwritten" in told and told.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_run_does_not_go_on_with_other_data(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    write_instance("fleet.h5", build(*open_spec("spec.toml", None, ["horizon.start=2022-07-13", "horizon.periods=48"])))
    words = ["fleet.h5", "-o", "D", "--history", "spec.toml", "--window", "24", "--step", "24"]
    with redirect_stdout(Reader(signal.SIGTERM, Path("D/state.npz").exists)):
        assert run(rolling.main, words) == 3
    data, plans = Path("past.csv").read_text(), sorted(Path("D/plans").iterdir())
    Path("past.csv").write_text(data.replace("50.0", "51.0"))
    capsys.readouterr()
    assert run(rolling.main, [*words, "--resume"]) == BAD_INPUT
    assert capsys.readouterr().err == "error: D: the run there is another one: past.csv: changed since\n"
    Path("past.csv").write_text(data)
    assert run(rolling.main, [*words, "--resume"]) == 0
    assert set(plans) < set(Path("D/plans").iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "--count: missing; how many scenarios"),
        ("--history spec.toml", "--count: missing; how many days"),
        ("--history spec.toml --count 9", "count: 9, must be between 1 and the 4 days of the history"),
        ("--count 3 --ensemble spec.toml", "--count: not with --ensemble"),
        ("--count 3 --data .", "--data: only with --history or --ensemble"),
        ("--count 3 --reduce 5", "reduce: 5 of 3 scenarios"),
        ("--reduce 1", "reduce: the instance has no scenarios"),
        ("--count 2 --history other.toml", "sites: Z, must be sites of the instance"),
        ("--count 2 --history late.toml", "column A_rt: covers 2022-07-10"),
        ("--ensemble odd.toml", "ensemble.probability: 2 of 3 members"),
        ("--ensemble sum.toml", "sum.toml: ensemble.probability: 1.1 in all, must be 1"),
        ("--ensemble twice.toml", "twice.toml: ensemble.members.name: member 1: the name 'm1' is taken"),
        ("--ensemble none.toml", "ensemble: needs members and series"),
        ("--ensemble short.toml", "member m4"),
    ],
)
def test_refusal(
    words: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    write_instance("fleet.h5", fleet(folder))
    Path("other.toml").write_text(SPEC.replace('name = "A"', 'name = "Z"').replace('name = "B"', 'name = "Y"'))
    Path("late.toml").write_text(SPEC.replace("days = 4", "days = 40"))
    Path("odd.toml").write_text(SPEC.replace("[0.5, 0.3, 0.2]", "[0.5, 0.5]"))
    Path("sum.toml").write_text(SPEC.replace("[0.5, 0.3, 0.2]", "[0.5, 0.3, 0.3]"))
    Path("twice.toml").write_text(SPEC.replace('"m2"', '"m1"'))
    Path("none.toml").write_text(SPEC.replace('["m1", "m2", "m3"]', "[]"))
    Path("short.toml").write_text(SPEC.replace('"m3"', '"m4"'))
    assert run(driver.main, ["fleet.h5", "-o", "out.h5", *words.split()]) == BAD_INPUT
    [line] = capsys.readouterr().err.splitlines()
    assert told in line and not Path("out.h5").exists()


def test_periods_that_do_not_divide_a_day_have_no_past(folder: Path) -> None:
    """Other days would be read at other times of day."""
    odd = replace(fleet(folder), period_h=0.7)
    with pytest.raises(InputError, match="period_h: 0.7 h, must divide a day"):
        read_past(odd, *open_spec(folder / "spec.toml", None, ()))


def test_a_window_is_known_by_forecasts_and_by_the_day_before(folder: Path) -> None:
    """Two days from 14 July: prices of the first were published, and taken for the second; wind stays as it was."""
    words = ["horizon.start=2022-07-14", "horizon.periods=48", "history.days=2"]
    spec, library = open_spec(folder / "spec.toml", None, words)
    whole = build(spec, library)
    day = np.arange(24)
    for count in (0, 2):
        known = as_known(whole, spec, library, count)
        assert known.n_scenarios == count
        assert known.sites.buy_price[0] == pytest.approx(np.tile(62.0 + day, 2))
        assert known.sites.wind_mw[:, 0] == pytest.approx([4.0, 2.0])
        assert (known.sites.wind_mw == known.sites.wind_mw[:, :1]).all()
    error = series_of(known, "buy_price") - known.sites.buy_price
    assert sorted(known.scenarios.name) == ["2022-07-11", "2022-07-12"]
    later = known.scenarios.name.tolist().index("2022-07-12")
    assert error[later, 0, :24] == pytest.approx(2.0) and error[later, 0, 24:] == pytest.approx(55.0 - 30.0 + 3.0)
    other = replace(whole, sites=replace(whole.sites, buy_price=whole.sites.buy_price + 9.0))
    assert (as_known(other, spec, library, 0).sites.buy_price == known.sites.buy_price).all()


@pytest.mark.skipif(not (DATA / "zones.csv").exists(), reason="the public series are not here")
@pytest.mark.slow
def test_the_world_from_its_own_past() -> None:
    settings = ["horizon.periods=24", "horizon.period_min=60"]
    spec, library = open_spec(CHECKOUT / "instances" / "world16.toml", DATA, settings)
    instance = build(spec, library)
    past = read_past(instance, spec, library)
    found = analogs(instance, past, 10)
    error = series_of(found, "buy_price") - instance.sites.buy_price
    neighbours = [instance.sites.name.tolist().index(name) for name in instance.sites.name[:2]]
    assert found.n_scenarios == 10 and np.isfinite(error).all() and error[:, neighbours].any()
    assert (series_of(found, "solar_mw") <= np.maximum(past.actual["solar_mw"].max(), 0) + 1e-9).all()


def test_a_fleet_keeps_what_the_past_does_not_tell() -> None:
    instance = tiny()
    shape = (3, 1, instance.n_periods)
    flat = {name: np.full(shape, 2.0) for name in SITE_SERIES}
    high = flat | {"buy_price": np.arange(3.0)[:, None, None] + flat["buy_price"], "wind_mw": flat["wind_mw"] - 9.0}
    found = analogs(instance, Past(["d0", "d1", "d2"], dict(sites=np.array([1])), flat, high), 3)
    price = series_of(found, "buy_price") - instance.sites.buy_price
    assert price[:, 1].max(axis=1) == pytest.approx([0, 1, 2]) and not price[:, [0, 2]].any()
    assert not series_of(found, "wind_mw")[:, 1].any()  # no less than nothing
