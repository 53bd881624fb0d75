"""Specs: sites, traces, tables, the driver, the real fleets; and what is refused."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import decomp
from decomp.files.store import read_instance
from decomp.ingest.budget import baseline_t, requested_gpu
from decomp.ingest.build import ingest
from decomp.ingest.keys import key_reference
from decomp.ingest.network import great_circle_km
from decomp.ingest.spec import Origin, Spec
from decomp.model.instance import InputError
from decomp.model.validate import validate
from draws import seldom
from drivers import ingest as driver
from running import run_limited
from series_files import times, write
from specs import CHAT, PLACE, REQUESTS, head

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
REAL = pytest.mark.skipif(not (DATA / "zones.csv").exists(), reason="the public series are not here")

SPEC = f"""
{head("two", "2022-07-15", 8, wide="wide.csv")}
[currencies]
eur = 1.1
[defaults]
{PLACE}
{CHAT}
"""
SPEC += """
[defaults.series]
price = { file = "wide", column = "{zone}_eur", unit = "eur/MWh" }
carbon = { file = "wide", column = "{zone}_g", unit = "g/kWh" }
temperature = { file = "wide", column = "{zone}_c", unit = "degC" }
[[sites]]
name = "A"
zone = "A"
region = "east"
battery = { energy_mwh = 2.0, power_mw = 0.5 }
generators = [{ type = "gas", mw = 1.0 }]
[[sites]]
name = "B"
zone = "B"
region = "west 2"
[generators.gas]
fuel_usd_per_mwh = 60.0
emission_t_per_mwh = 0.5
min_up_h = 2.5
[trace]
path = "jobs.csv"
name_column = "job"
gpus_column = "gpus"
duration_column = "seconds"
submit_column = "submit"
group_column = "vc"
[jobs]
gpu_hours_share = 0.1
value_usd_per_gpu_h = [0.5, 1.0]
candidates = 2
[pools]
gpu_hours_share = 0.1
[[inference.origins]]
name = "Berlin"
region = "east"
latitude = 52.5
longitude = 13.4
weight = 1.0
time_zone = "Europe/Berlin"
[latency]
path = "rtt.csv"
from_column = "a"
to_column = "b"
value_column = "ms"
[carbon]
budget_share = 0.9
"""
JOBS = "job,vc,gpus,seconds,submit\nj0,x,4,7200,0\nj1,x,2,3600,10800\nj2,y,1,5000,7200\nj3,y,1,9000,0\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    hours = times("2022-07-15T00:00", 24, 60)
    level = list(range(24))
    write(
        tmp_path / "wide.csv",
        "utc,A_eur,A_g,A_c,B_eur,B_g,B_c",
        hours,
        [100 + k for k in level],
        [400] * 24,
        [20] * 24,
        [50] * 24,
        [100 + 10 * k for k in level],
        level,
    )
    (tmp_path / "jobs.csv").write_text(JOBS)
    (tmp_path / "requests.csv").write_text(REQUESTS)
    (tmp_path / "rtt.csv").write_text("a,b,ms\neast,east,1\nEast,West-2,80\n")
    (tmp_path / "two.toml").write_text(SPEC)
    return tmp_path / "two.toml"


def test_a_small_spec_becomes_an_instance(spec: Path) -> None:
    instance, notes = ingest(spec)
    validate(instance)
    sites = instance.sites
    assert notes == [] and instance.start_utc == "2022-07-15T00:00Z" and instance.family == "two"
    assert sites.buy_price[0] == pytest.approx(1.1 * np.arange(100, 108))
    assert sites.carbon_intensity[1] == pytest.approx(0.1 + 0.01 * np.arange(8))
    assert sites.pue[0] == pytest.approx(np.full(8, 1.18498))
    assert sites.battery_initial_mwh.tolist() == [1.0, 0.0]
    assert sites.charge_efficiency[0] == pytest.approx(math.sqrt(0.85))
    at = [0.0, 600.0, 1000.0]
    curve = [max(sites.power_slope_mw_per_gpu[0] * w + sites.power_intercept_mw[0]) for w in at]
    assert curve == pytest.approx([0.2 * 1.05, 0.62 * 1.05, 1.05])
    assert instance.generators.min_up_periods.tolist() == [3]
    assert instance.streams.gpu_per_rps == pytest.approx([4.0])
    assert instance.demand_gpu.mean() == pytest.approx(0.4 * 2000)
    assert instance.arcs.round_trip_ms.tolist() == [1, 80]
    gpu_h = instance.jobs.gpus * instance.jobs.periods
    assert 0.09 * 16000 < gpu_h.sum() <= 0.1 * 16000 and sorted(instance.jobs.name) == ["j0", "j1"]
    assert instance.pools.work_gpu_h.sum() == pytest.approx(0.1 * 16000)
    assert instance.carbon_budget_t == pytest.approx(0.9 * baseline_t(instance), abs=1e-3)
    assert requested_gpu(instance).mean() == pytest.approx(0.6 * 2000, rel=0.02)
    assert "wide.csv sha256:" in instance.source and str(spec.parent) not in instance.source


def test_overrides_reach_everything_and_the_seed_decides(spec: Path) -> None:
    assert ingest(spec)[0].content_hash() == ingest(spec)[0].content_hash()
    settings = ["seed=5", "sites.B.gpus=2000", "carbon.budget_share=", "horizon.start=2022-07-15T02:00", "name=three"]
    instance, _ = ingest(spec, overrides=settings)
    assert instance.sites.capacity_gpu[1, 0] == 2000 and instance.carbon_budget_t == np.inf
    assert instance.sites.buy_price[0, 0] == pytest.approx(112.2) and instance.family == "three"
    assert ingest(spec, overrides=["inference.classes.chat.share=3", "inference.origins.0.weight=2"])


def test_data_may_lie_elsewhere(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("spec") / "two.toml"
    elsewhere.write_text(spec.read_text())
    assert ingest(elsewhere, spec.parent)[0].content_hash() == ingest(spec)[0].content_hash()
    with pytest.raises(InputError, match=r"wide\.csv: no such file in .* \(see --data\)"):
        ingest(elsewhere)


def test_demand_follows_local_time(spec: Path) -> None:
    shape = "inference.classes.chat.shape=[" + ",".join("1.0" if h == 12 else "0.1" for h in range(24)) + "]"
    day = ["horizon.periods=20", "jobs.gpu_hours_share=0.01"]
    berlin, _ = ingest(spec, overrides=[shape, *day])
    assert berlin.demand_gpu[0].argmax() == 10
    kolkata, _ = ingest(spec, overrides=[shape, *day, "inference.origins.0.time_zone=Asia/Kolkata"])
    assert kolkata.demand_gpu[0].argmax() in (6, 7)


def test_late_jobs_fit_the_horizon(spec: Path) -> None:
    rows = "".join(f"l{k},x,2,{1800 + 1800 * k},{2000 * k}\n" for k in range(40))
    (spec.parent / "jobs.csv").write_text(JOBS + rows)
    jobs = ingest(spec, overrides=["jobs.slack=[1.0, 4.0]"])[0].jobs
    assert (
        (jobs.release >= 0).all()
        and (jobs.deadline <= 8).all()
        and (jobs.release + jobs.periods <= jobs.deadline).all()
    )
    assert (jobs.gpus % 8 == 0).all() and (jobs.gpus <= 900).all()


def test_jobs_longer_than_the_horizon_are_noted(spec: Path) -> None:
    instance, notes = ingest(spec, overrides=["horizon.periods=1"])
    assert notes[-1] == "1 of 2 jobs are longer than the horizon and last for all of it"
    assert instance.jobs.periods.tolist() == [1, 1]


def test_missing_pairs_follow_the_great_circle(spec: Path) -> None:
    settings = ["inference.origins.0.region=nowhere", "latency.offset_ms=3"]
    with pytest.raises(
        InputError, match=r"latency: rtt.csv: no region 'nowhere' \(of Berlin\); there are east, West-2"
    ):
        ingest(spec, overrides=settings)
    instance, notes = ingest(spec, overrides=[*settings, "latency.missing=great_circle"])
    assert len(notes) == 1 and "2 pair(s)" in notes[0] and "nowhere → west 2" in notes[0]
    here = Origin(name="", latitude=52.5, longitude=13.4, weight=1.0, time_zone="UTC")
    there = Origin(name="", latitude=50.0, longitude=8.0, weight=1.0, time_zone="UTC")
    km = great_circle_km([here], [there])[0, 0]
    assert km == pytest.approx(465, abs=5)
    assert instance.arcs.round_trip_ms == pytest.approx([3 + 0.021 * km] * 2)


def test_filled_values_are_noted(spec: Path) -> None:
    wide = spec.parent / "wide.csv"
    wide.write_text(wide.read_text().replace(",103,", ",,"))
    with pytest.raises(
        InputError, match=r"two.toml: site A: series price: wide.csv, column A_eur: no value at .*03:00"
    ):
        ingest(spec)
    rule = 'defaults.series.price={file="wide", column="{zone}_eur", unit="eur/MWh", missing="hold"}'
    instance, notes = ingest(spec, overrides=[rule])
    assert notes == ["wide.csv, column A_eur: 1 missing value(s) filled by 'hold'"]
    assert instance.sites.buy_price[0, 3] == pytest.approx(1.1 * 102)


REFUSED_SPECS = {
    "unknown key": ("sites.A.gpu=5", r"sites.A.gpu: no such key; known are name"),
    "unknown section": ("solar.x=5", "solar: no such key"),
    "missing key": ("trace.path=", "trace.path: missing"),
    "type": ("sites.A.gpus=many", "sites.A.gpus = 'many': must be a number"),
    "whole number": ("horizon.periods=8.5", "horizon.periods = 8.5: must be a whole number"),
    "range": ("horizon.period_min=120", "horizon.period_min = 120.0: must be within 5 … 60"),
    "nan": ("sites.A.latitude=nan", "sites.A.latitude = nan: must be within"),
    "word": ("jobs.choose=best", "jobs.choose = 'best': must be one of random, nearest"),
    "start": ("horizon.start=soon", "horizon.start = 'soon': not a date"),
    "list": ("jobs.slack=2", "jobs.slack = 2: must be a list"),
    "order": ("jobs.slack=[3, 2]", r"slack = \[3.0, 2.0\]: must be"),
    "quantity": ('sites.A.series.snow={value=1, unit="1"}', "site A: series.snow: no such quantity"),
    "no price": ("defaults.series.price=", "site A: series.price: missing"),
    "two coolings": ('sites.A.series.pue={value=1.2, unit="1"}', "site A: facility power needs exactly one"),
    "wind without wind": ("sites.A.wind_capacity_mw=5", "wind_capacity_mw needs exactly one of the series wind_speed"),
    "concave": ("sites.A.power_curve=[[0,0.2],[0.5,0.8],[1,1]]", "site A: power_curve .*convex"),
    "curve end": ("sites.A.power_curve=[[0,0.2],[0.5,0.8]]", r"must rise from \[0, idle share\] to \[1, 1\]"),
    "generator": ('sites.A.generators=[{type="coal", mw=1}]', r"generator type 'coal' is not in \[generators\]: gas"),
    "battery": ("sites.A.battery.minimum=0.8", "site A: battery.minimum = 0.8: must not exceed"),
    "two names": ("sites.A.name=B", "sites: must have one or more, with different names"),
    "out of reach": ("inference.classes.chat.latency_limit_ms=400", "stream Berlin/chat: no site within 400 ms"),
    "shape": ("inference.classes.chat.shape=[1, 2]", "class chat: shape: must be 24 weights"),
    "request trace": ("inference.classes.chat.trace=code", r"trace = 'code': must be one of \[requests\]: chat"),
    "origin's clock": ("inference.origins.0.time_zone=CET+1", "origin Berlin: time_zone = 'CET\\+1'"),
    "no jobs that day": ("trace.first_day=9", "trace: jobs.csv: no job was submitted on days 9"),
    "too few jobs": ("jobs.min_jobs=80", "jobs: 2 jobs of at least 2 GPUs on these days; needs 80"),
    "too much work": ("jobs.gpu_hours_share=0.9", "2 jobs of at most 900 GPUs ask for at most 2700 of the 14400"),
    "trace filter": ('trace.where={vc="z"}', "jobs.csv: no job with {'vc': 'z'}"),
    "latency column": ("latency.value_column=us", "latency: rtt.csv: no column 'us'"),
    "both budgets": ("carbon.budget_t=5", "carbon: give budget_t or budget_share, not both"),
    "dollars": ("currencies.usd=0.92", "currencies.usd = 0.92: must be 1; a rate is the USD that a unit is worth"),
    "units per dollar": ("currencies.eur=157", "currencies.eur = 157.0: must be within 1e-09 … 10"),
    "per cent": ("defaults.tariff.buy_factor=110", "tariff.buy_factor = 110.0: must be within 0 … 10"),
    "no such start": ("horizon.start=2022-02-30", "two.toml: horizon.start = '2022-02-30': not a date"),
    "a currency twice": ("currencies.EUR=1.2", "currencies.eur: given twice, in other letters"),
    "least above most": ("jobs.min_h=12", "jobs: min_h = 12: must be at most max_h = 10"),
    "seconds for milliseconds": ('latency.unit="us"', r"round trips of 0.0405 ms .* where light takes 3\.\d+ ms there"),
    "member": ("sites.C.gpus=5", "no member 'C'; there are A, B"),
    "no value": ("horizon.start", "must look like key=value"),
}


@pytest.mark.parametrize("kind", REFUSED_SPECS)
def test_broken_specs_are_refused(spec: Path, kind: str) -> None:
    setting, message = REFUSED_SPECS[kind]
    with pytest.raises(InputError, match=message):
        ingest(spec, overrides=[setting])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("jobs.csv", JOBS + "j4,y,-1,5,5\n", "jobs.csv, line 6: a job of -1 GPUs"),
        ("jobs.csv", JOBS + "j4,y,1,5,\n", "jobs.csv, line 6: a job of 1 GPUs, .* submitted at nan"),
        ("jobs.csv", JOBS + "j4,y,one,5,5\n", "jobs.csv, line 6, column gpus: 'one' is not a number"),
        ("requests.csv", "in,out\n1,-1\n", r"requests.csv, line 2: tokens are \[1.0, -1.0\]"),
        ("requests.csv", "in,out\n", "requests.csv: has a header in line 1 and no row"),
        ("rtt.csv", "a,b,ms\neast,east,1\nEAST,east,2\n", "rtt.csv, line 3, column ms: EAST → east occurs twice"),
        ("rtt.csv", "a,b,ms\neast,east,-1\n", "east → east is -1; must be at least 0"),
        ("two.toml", "name = ", "two.toml: not a TOML file"),
        ("two.toml", "name = 'x'\n", r"two.toml: the spec needs \[\[sites\]\] tables"),
    ],
)
def test_broken_traces_and_tables_are_refused(spec: Path, name: str, content: str, message: str) -> None:
    (spec.parent / name).write_text(content)
    with pytest.raises(InputError, match=message):
        ingest(spec)


# --------------------------------------------------------------------------------------------------- driver


def test_the_driver_writes_what_it_read(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "fleet.h5"
    assert driver.main([str(spec), "-o", str(target), "--set", "horizon.periods=4"]) == 0
    instance = read_instance(target)
    assert instance.content_hash() == ingest(spec, overrides=["horizon.periods=4"])[0].content_hash()
    assert "two: 2 sites, 4 periods, 1 generator" in capsys.readouterr().out


def test_the_driver_refuses_in_one_line_and_leaves_nothing(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "fleet.h5"
    command = [str(spec), "-o", str(target), "--set", "sites.B.import_limit_mw=0.01"]
    assert driver.run(driver.main, command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not target.exists() and not list(tmp_path.glob("*.h5*"))


def test_without_pandas_all_else_works_and_ingest_says_what_to_install(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert driver.run(driver.main, [str(spec), "-o", str(tmp_path / "fleet.h5")]) == 2
    error = capsys.readouterr().err
    assert error.endswith("reading files needs pandas: pip install 'decomp-fleet[ingest]'\n") and error.count("\n") == 1
    blocked = "import sys; sys.modules.update(pandas=None, pvlib=None); import decomp.api, drivers.ingest"
    assert run_limited([sys.executable, "-c", blocked]).returncode == 0


def test_python_reads_a_spec_too(spec: Path) -> None:
    wide = spec.parent / "wide.csv"
    wide.write_text(wide.read_text().replace(",103,", ",,"))
    rule = 'defaults.series.price={file="wide", column="{zone}_eur", unit="eur/MWh", missing="hold"}'
    with pytest.warns(UserWarning, match="1 missing value.* filled by 'hold'"):
        instance = decomp.ingest(spec, overrides=[rule])
    assert instance.content_hash() == ingest(spec, overrides=[rule])[0].content_hash()
    assert "A: price 110 … 117.7, mean 113.71 USD/MWh, 12.5 % filled, 2022-07-15T00:00Z" in instance.source


def test_every_key_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    keys = {name: usual for name, _, usual in key_reference(Spec)}
    assert len(keys) > 100 and keys["sites[].battery.energy_mwh"] == "required"
    assert keys["sites[].power_curve"] == "[[0.0, 0.2], [0.6, 0.62], [1.0, 1.0]]"
    assert driver.main(["--keys"]) == 0 and "series carbon: units t/MWh" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------- real fleets


@pytest.mark.parametrize("name", ["world16", "us4"])
def test_specs_know_no_machine(name: str) -> None:
    text = (ROOT / "instances" / f"{name}.toml").read_text()
    assert not any(word in text for word in ("../", "/work", "/home", "/tmp"))


@REAL
def test_world16_is_the_fleet_it_claims_to_be() -> None:
    instance, notes = ingest(ROOT / "instances" / "world16.toml", DATA)
    validate(instance)
    sizes = instance.sizes
    assert (sizes["site"], sizes["period"]) == (16, 96)
    assert len(notes) == 2 and all("are not in the table" in note for note in notes)
    assert sizes["job"] >= 80 and sizes["stream"] >= 40 and sizes["pool"] >= 3 and sizes["generator"] >= 8
    full_mw = (instance.sites.power_slope_mw_per_gpu[:, -1] * instance.sites.capacity_gpu[:, 0]) + (
        instance.sites.power_intercept_mw[:, -1]
    )
    assert full_mw.min() >= 20 and full_mw.max() <= 60
    asked = requested_gpu(instance).sum() / instance.sites.capacity_gpu.sum()
    assert 0.85 <= asked <= 0.95 and (instance.sites.battery_mwh > 0).all()
    assert (instance.sites.buy_price < 0).any() and instance.carbon_budget_t < baseline_t(instance)


@REAL
@pytest.mark.parametrize("day", seldom(["2022-12-31", "2022-01-01", "2022-03-13", "2022-07-15", "2022-09-03"], daily=1))
def test_world16_builds_on_days_with_gaps(day: str) -> None:
    instance, notes = ingest(ROOT / "instances" / "world16.toml", DATA, [f"horizon.start={day}"])
    validate(instance)
    assert instance.start_utc.startswith(day)
    assert any("filled by" in note for note in notes) == (day != "2022-07-15")


@REAL
@pytest.mark.parametrize("day", ["2022-07-15", "2022-03-13", "2022-11-06"])
def test_us4_builds(day: str) -> None:
    instance, _ = ingest(ROOT / "instances" / "us4.toml", DATA, [f"horizon.start={day}"])
    validate(instance)
    assert instance.n_sites == 4 and instance.n_periods == 96 and instance.n_jobs >= 20


@REAL
def test_us4_has_no_data_beyond_its_year() -> None:
    with pytest.raises(
        InputError, match=r"us4.toml: site California: series price: core_us4.*covers .*, not the horizon"
    ):
        ingest(ROOT / "instances" / "us4.toml", DATA, ["horizon.start=2022-12-31"])


@REAL
@pytest.mark.parametrize("minutes", seldom([60, 5], daily=1))
def test_us4_has_the_same_day_in_other_steps(minutes: int) -> None:
    settings = [f"horizon.period_min={minutes}", f"horizon.periods={24 * 60 // minutes}"]
    quarter, _ = ingest(ROOT / "instances" / "us4.toml", DATA)
    other, _ = ingest(ROOT / "instances" / "us4.toml", DATA, settings)
    validate(other)
    for name in ("buy_price", "carbon_intensity", "pue"):
        mean, expected = (getattr(i.sites, name).mean(axis=1) for i in (other, quarter))
        assert mean == pytest.approx(expected, rel=2e-3)


# ---------------------------------------------------------------- devices


DEVICES = """
[[sites.devices]]
kind = "thermal_storage"
tank_mwh = 4.0
[[sites.devices]]
kind = "interconnection_ramp"
name = "ramp"
mw_per_h = 1.0
"""


def equip(spec: Path, text: str) -> Path:
    """The spec with devices at its last site."""
    spec.write_text(SPEC.replace("[generators.gas]", text + "[generators.gas]", 1))
    return spec


def test_devices_of_a_site_are_attached(spec: Path) -> None:
    found = ingest(equip(spec, DEVICES))[0].devices
    assert found.name.tolist() == ["thermal_storage", "ramp"] and found.site.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[sites.devices]]\nkind = "tank"\n', "devices.0: kind: 'tank', must be one of battery"),
        ('[[sites.devices]]\nkind = "battery"\nmwhh = 3\n', "devices.0: battery has no setting 'mwhh'"),
        ('[[sites.devices]]\nname = "x"\nkind = "hydrogen"\ntank_mwh = -1\n', "devices.x: hydrogen"),
    ],
)
def test_a_device_that_cannot_be_is_refused(spec: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        ingest(equip(spec, text))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("generators.gas.min_up_h=inf", "generators.gas.min_up_h = inf: must be within 0 … 100000"),
        ("generators.gas.min_down_h=1e30", "generators.gas.min_down_h = 1e+30: must be within"),
        ("trace.name_column=[]", "trace.name_column = []: must be a list of one or more"),
        ("trace.submit_column=5", "trace.submit_column = 5: must be a string"),
        ("trace.gpus_column=[1]", "trace.gpus_column.0 = 1: must be a string"),
    ],
)
def test_values_that_are_not_of_their_key(setting: str, words: str, spec: Path) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        ingest(spec, overrides=[setting])
