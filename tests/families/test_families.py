"""Generator families: what they promise, reproducibility, refusals, and the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import FAMILIES, generate, random_small
from decomp.families.geography import distance_km, haversine_km, nearest
from decomp.families.weather import Clock, clear_sky_w_per_m2, pue, sine_of_elevation, smooth_noise
from decomp.files.store import read_instance
from decomp.model.instance import Array, InputError, Instance
from decomp.model.result import Status
from decomp.model.validate import validate
from drivers.common import run
from drivers.generate import main, requested_share

FEW = dict(fleet=6, swarm=4, cloud=8)


def small_request(family: str, seed: int = 0) -> Instance:
    return generate(family, sites=FEW.get(family), seed=seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_instances_are_valid_and_reproducible(family: str) -> None:
    instance = small_request(family, seed=5)
    validate(instance)
    assert instance.family == family and instance.seed == 5
    assert instance.content_hash() == small_request(family, seed=5).content_hash()
    assert instance.content_hash() != small_request(family, seed=6).content_hash()


def test_paper_has_the_size_studied() -> None:
    paper = generate("paper")
    sizes = paper.sizes
    assert (sizes["site"], sizes["period"], sizes["job"], sizes["stream"], paper.period_h) == (3, 24, 6, 3, 1.0)
    assert len(set(paper.streams.service_class)) == 3
    assert (paper.sites.battery_mwh > 0).all() and (paper.sites.export_limit_mw > 0).all()
    reached = np.bincount(paper.arcs.stream)
    assert reached.min() < 3 and reached.max() == 3  # latency limits leave some streams fewer sites
    assert np.isfinite(paper.carbon_budget_t)


@pytest.mark.slow
def test_paper_is_solved_to_optimality_and_its_budget_binds_weakly() -> None:
    paper = generate("paper")
    joint = solve_extensive(paper, time_limit=600)
    assert joint.status is Status.GAP_REACHED and joint.gap_rel <= 1e-6
    free = solve_extensive(replace(paper, carbon_budget_t=np.inf), time_limit=600)
    assert free.bound <= joint.incumbent and joint.incumbent - free.incumbent < 0.03 * abs(joint.incumbent)
    assert free.incumbent < joint.incumbent - 1.0


def starts(instance: Instance) -> Array:
    jobs = instance.jobs
    return np.asarray(jobs.deadline - jobs.release - jobs.periods + 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_fleet_defaults_are_hard(seed: int) -> None:
    fleet = generate("fleet", sites=60, seed=seed)
    sites, jobs, generators = fleet.sites, fleet.jobs, fleet.generators
    assert (fleet.n_periods, fleet.period_h, fleet.n_jobs, fleet.n_streams) == (96, 0.25, 300, 20)
    assert (np.bincount(fleet.candidates.job) == 5).all()
    pairs = fleet.candidates.job * 60 + fleet.candidates.site
    assert len(np.unique(pairs)) == len(pairs)
    share = jobs.gpus / sites.capacity_gpu.min(axis=1)[fleet.candidates.site[::5]]
    assert 1 / 6 - 1e-3 <= share.min() < 0.2 and 0.8 < share.max() <= 1.0 and 0.33 < np.median(share) < 0.46
    assert (jobs.gpus <= sites.capacity_gpu.min(axis=1)[fleet.candidates.site].reshape(-1, 5).min(axis=1)).all()
    hours = jobs.periods * fleet.period_h
    assert hours.min() >= 2 and hours.max() <= 6 and starts(fleet).min() >= 5 and starts(fleet).max() <= 50
    assert requested_share(fleet) == pytest.approx(0.95, abs=1e-9)
    reached = np.bincount(fleet.arcs.stream)
    assert reached.max() <= 20 and 12 <= reached.mean() <= 18
    delay = fleet.arcs.round_trip_ms + fleet.streams.service_ms[fleet.arcs.stream]
    assert (delay <= fleet.streams.latency_limit_ms[fleet.arcs.stream]).all()
    assert (sites.battery_mwh > 0).all()
    assert len(np.unique(generators.site)) == 36
    assert generators.p_min_mw == pytest.approx(0.4 * generators.p_max_mw)
    assert (np.minimum(generators.min_up_periods, generators.min_down_periods) > 1).all()
    assert np.isfinite(generators.ramp_up_mw_per_h).all() and (generators.start_usd > 0).all()
    assert (sites.buy_price < 0).mean() == pytest.approx(0.02, abs=1e-3)
    assert sites.buy_price.max() > 4 * np.median(sites.buy_price)


@pytest.mark.parametrize("family, seed", [("fleet", 0), ("fleet", 3), ("swarm", 1), ("cloud", 0)])
def test_carbon_is_worth_more_than_50_usd_a_tonne(family: str, seed: int) -> None:
    """The shadow price of the budget in the LP relaxation of the extensive form."""
    instance = generate(family, sites=6, seed=seed, period_h=0.5, jobs=60 if family == "swarm" else None)
    relaxed = solve_extensive(instance, relax=True)
    assert relaxed.status is Status.GAP_REACHED and relaxed.provenance["lp_carbon_price"] > 50.0


def test_swarm_has_many_small_jobs() -> None:
    swarm = generate("swarm", sites=8)
    share = swarm.jobs.gpus / swarm.sites.capacity_gpu[swarm.candidates.site[::5], 0]
    assert swarm.n_jobs == 400 and share.min() > 0.009 and share.max() <= 0.1
    assert requested_share(swarm) == pytest.approx(0.95)


def test_settings_change_what_they_name() -> None:
    calm = generate("fleet", sites=8, negative="0", pools="6", mandatory="0.5", generators="0", exact="1")
    assert not (calm.sites.buy_price < 0).any() and calm.n_pools == 6 and calm.jobs.mandatory.sum() == 4
    assert calm.sizes["generator"] == 0 and calm.sites.exact_power_curve.all()
    assert requested_share(calm) == pytest.approx(0.95)
    assert (generate("fleet", sites=8, negative=0.2).sites.buy_price < 0).mean() == pytest.approx(0.2, abs=2e-3)
    tight, loose = (generate("fleet", sites=8, budget=b) for b in (0.9, 1.8))
    assert loose.carbon_budget_t == pytest.approx(2 * tight.carbon_budget_t)
    assert (tight.jobs.gpus == loose.jobs.gpus).all()  # a setting moves no other random number


@pytest.mark.parametrize("period_h, periods", [(1 / 12, 60), (0.5, None), (1.0, 24), (1.0, 7)])
@pytest.mark.parametrize("family", ["fleet", "swarm", "cloud", "colocation"])
def test_other_time_steps_and_horizons(family: str, period_h: float, periods: int | None) -> None:
    instance = generate(family, sites=None if family == "colocation" else 5, periods=periods, period_h=period_h)
    validate(instance)
    assert instance.period_h == period_h and (instance.n_jobs == 0 or starts(instance).min() >= 1)


@pytest.mark.parametrize("sites", [1, 2, 3])
def test_fleets_may_be_tiny(sites: int) -> None:
    for family in ("fleet", "swarm", "cloud"):
        validate(generate(family, sites=sites))
    validate(generate("fleet", sites=sites, jobs=0))
    validate(generate("fleet", sites=sites, streams=0, pools=3))


@pytest.mark.parametrize("periods", [1, 2, 3])
@pytest.mark.parametrize("family", ["fleet", "cloud", "small"])
def test_horizons_may_be_short(family: str, periods: int) -> None:
    for seed in range(12):
        instance = generate(family, sites=1, periods=periods, jobs=2, seed=seed)
        validate(instance)
        assert (instance.n_periods, instance.n_jobs) == (periods, 2)


def test_cloud_regions_lie_where_they_are() -> None:
    cloud = generate("cloud", sites=30)
    names = list(cloud.sites.name)
    assert len(set(names)) == 30 and names[26] == names[0] + "-2"
    japan = names.index("japaneast")
    assert (cloud.sites.latitude[japan], cloud.sites.longitude[japan]) == (35.68, 139.77)
    demand, local = cloud.demand_gpu, (np.arange(96) / 4 + 0.125)
    east, west = (cloud.streams.origin == name for name in ("japaneast", "eastus"))
    peaks = [local[demand[rows].sum(axis=0).argmax()] for rows in (east, west)]
    assert 10 <= (peaks[1] - peaks[0]) % 24 <= 18  # the peaks follow the sun, 14 h of longitude apart
    emitted = {
        name: cloud.sites.carbon_intensity[names.index(name)].mean() for name in ("swedencentral", "centralindia")
    }
    assert emitted["swedencentral"] < 0.05 < 0.5 < emitted["centralindia"]


def test_colocation_can_do_its_work() -> None:
    month = generate("colocation", negative=0)
    assert (month.n_sites, month.n_periods, month.n_streams, month.n_pools) == (1, 2976, 1, 31)
    work = 0.25 * month.demand_gpu.sum()
    assert month.pools.work_gpu_h.sum() / (work + month.pools.work_gpu_h.sum()) == pytest.approx(0.4, abs=0.01)
    room = month.sites.capacity_gpu - month.demand_gpu
    assert room.min() > 0
    for start, end, needed in zip(month.pools.start, month.pools.end, month.pools.work_gpu_h, strict=True):
        assert 0.25 * room[0, start:end].sum() > needed
    assert (month.sites.buy_price == month.sites.sell_price).all() and month.sizes["segment"] == 2
    assert not month.sites.curtailable.any() and np.isinf(month.pools.shortfall_penalty).all()
    retail = generate("colocation", periods=96, tariff="retail")
    assert (retail.sites.buy_price > retail.sites.sell_price).all() and (retail.sites.demand_charge > 0).all()
    assert solve_extensive(retail, time_limit=600).status is Status.GAP_REACHED


def test_small_instances_cover_every_feature() -> None:
    many = [random_small(seed) for seed in range(200)]
    for instance in many:
        validate(instance)
    features = {
        "mandatory": [i.jobs.mandatory.any() for i in many],
        "hard pool": [np.isinf(i.pools.shortfall_penalty).any() for i in many],
        "priced pool": [np.isfinite(i.pools.shortfall_penalty).any() for i in many],
        "shared pool": [(np.bincount(i.pool_arcs.pool, minlength=1) > 1).any() for i in many],
        "exact": [i.sites.exact_power_curve.any() for i in many],
        "negative": [(i.sites.buy_price < 0).any() for i in many],
        "sell above buy": [(i.sites.sell_price > i.sites.buy_price).any() for i in many],
        "demand charge": [(i.sites.demand_charge > 0).any() for i in many],
        "no curtailment": [(~i.sites.curtailable & (i.renewable_mw.max(axis=1) > 0)).any() for i in many],
        "battery": [(i.sites.battery_mwh > 0).any() for i in many],
        "self discharge": [((i.sites.battery_mwh > 0) & (i.sites.self_discharge_per_h > 0)).any() for i in many],
        "running generator": [(i.generators.initial_mw > 0).any() for i in many],
        "ramp": [np.isfinite(i.generators.ramp_up_mw_per_h).any() for i in many],
        "credit": [(i.sites.export_credit > 0).any() for i in many],
        "hard budget": [np.isfinite(i.carbon_budget_t) and np.isinf(i.carbon_excess_usd_per_t) for i in many],
        "priced budget": [np.isfinite(i.carbon_excess_usd_per_t) for i in many],
        "carbon price": [i.carbon_price_usd_per_t > 0 for i in many],
        "no work": [i.n_jobs == 0 and i.n_streams == 0 for i in many],
        "outage": [(i.sites.capacity_gpu == 0).any() for i in many],
    }
    assert {name: sum(map(bool, seen)) for name, seen in features.items() if sum(map(bool, seen)) < 5} == {}
    assert {i.period_h for i in many} == {1 / 12, 0.25, 0.5, 1.0}


@pytest.mark.parametrize("seed", range(1000, 1012))
def test_small_instances_are_feasible(seed: int) -> None:
    assert solve_extensive(random_small(seed), time_limit=600).schedule is not None


def test_a_thousand_sites_are_made_at_once() -> None:
    fleet = generate("fleet", sites=1000, periods=24)
    assert fleet.n_sites == 1000 and fleet.n_streams == 333
    assert (np.bincount(fleet.arcs.stream) == 20).all()


def test_the_sun_agrees_with_pvlib() -> None:
    pvlib = pytest.importorskip("pvlib")
    pandas = pytest.importorskip("pandas")
    clock = Clock(96, 0.25, 200)
    lat, lon = np.array([52.0, 1.0, -33.0]), np.array([13.0, 104.0, 151.0])
    ours, light = sine_of_elevation(lat, lon, clock), clear_sky_w_per_m2(lat, lon, clock)
    times = pandas.to_datetime(clock.start_utc) + pandas.to_timedelta(clock.hours, unit="h")
    for k in range(3):
        true = pvlib.solarposition.get_solarposition(pandas.DatetimeIndex(times), lat[k], lon[k])["elevation"]
        assert ours[k] == pytest.approx(np.sin(np.radians(true.to_numpy())), abs=5e-3)
        theirs = pvlib.clearsky.haurwitz(90.0 - true)["ghi"].to_numpy()
        assert light[k] == pytest.approx(theirs, abs=10.0)


def test_weather_and_geography() -> None:
    assert pue(np.array([-20.0, 0.0, 20.0, 45.0])) == pytest.approx([1.06, 1.0743, 1.185, 1.30], abs=1e-3)
    noise = smooth_noise(np.random.default_rng(0), 4000, Clock(48, 0.25, 1), 3.0)
    assert noise.std(axis=0) == pytest.approx(np.ones(48), abs=0.05)
    lat, lon = np.array([51.5, 40.7, 35.7]), np.array([-0.1, -74.0, 139.8])
    km = distance_km(lat, lon, lat, lon)
    assert km[0, 1] == pytest.approx(5570, rel=0.01) and km[0, 2] == pytest.approx(9560, rel=0.01)
    assert haversine_km(lat[:2], lon[:2], lat[1], lon[1]) == pytest.approx([km[0, 1], 0.0], abs=0.1)
    index, away = nearest(lat, lon, lat, lon, 9)
    assert index[:, 0].tolist() == [0, 1, 2] and (np.diff(away, axis=1) >= 0).all()


@pytest.mark.parametrize(
    "family, asked, words",
    [
        ("fleat", {}, "known are paper, fleet"),
        ("fleet", {"colour": 1}, "known are period_h"),
        ("fleet", {"negative": "many"}, "'many', must be a number"),
        ("fleet", {"negative": "nan"}, "outside 0 to 0.5"),
        ("fleet", {"negative": 0.7}, "outside 0 to 0.5"),
        ("fleet", {"candidates": "2.5"}, "'2.5', must be an integer"),
        ("fleet", {"candidates": 2.5}, "must be an integer"),
        ("fleet", {"sites": 0}, "0 sites, must be at least 1"),
        ("fleet", {"jobs": -1}, "-1 jobs"),
        ("fleet", {"seed": -1}, "seed -1"),
        ("paper", {"sites": 4}, "number of sites is fixed"),
        ("colocation", {"tariff": "free"}, "known are wholesale, retail"),
        ("colocation", {"curtail": "perhaps"}, "neither true nor false"),
    ],
)
def test_refusals(family: str, asked: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        generate(family, **asked)  # type: ignore[arg-type]


def test_command_writes_what_generate_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "fleet.h5"
    words = ["fleet", "-o", str(target), "--sites", "4", "--periods", "24", "--jobs", "7", "--streams", "5"]
    assert main([*words, "--seed", "3", "--set", "negative=0.2", "--set", "pools=2"]) == 0
    made = generate("fleet", sites=4, periods=24, jobs=7, streams=5, seed=3, negative=0.2, pools=2)
    assert read_instance(target).content_hash() == made.content_hash()
    assert "4 sites, 24 periods" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [["nothing"], ["fleet", "--set", "x=1"], ["fleet", "--set", "negative"], ["fleet", "--set", "sites=3"]],
)
def test_command_refuses_in_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "fleet.h5"
    assert run(main, [*words, "-o", str(target)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and not any(tmp_path.iterdir())


def test_help_lists_families_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "negative=0.02" in shown and "colocation:" in shown


@pytest.mark.parametrize(("family", "kinds"), [("fleet", 2), ("small", 1)])
def test_devices_at_a_share_of_the_sites(family: str, kinds: int) -> None:
    plain = generate(family, sites=4, periods=12, seed=3)
    equipped = generate(family, sites=4, periods=12, seed=3, devices=0.5)
    assert not len(plain.devices.site) and len(equipped.devices.site) == 2 * kinds
    assert len(set(equipped.devices.site.tolist())) == 2 and (equipped.sites.buy_price == plain.sites.buy_price).all()
    validate(equipped)
