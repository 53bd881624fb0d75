"""Refusals: each says which dataset, where, the value and what would be right."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from decomp.extensive.pyomo_model import build
from decomp.families import generate
from decomp.model.instance import InputError, build_instance
from decomp.model.refusal import LEAST_COEFFICIENT, LEAST_SLOPE
from decomp.model.validate import validate
from decomp.model.validate_sites import validate_sites
from tiny import bare_sites, tiny

NAN, INF = np.nan, np.inf


def series(value: float, site: int = 1, period: int = 3, base: float = 1.0) -> np.ndarray:
    """(3, 8) of `base` but for one value."""
    array = np.full((3, 8), base)
    array[site, period] = value
    return array


def at(value: Any, base: Any, position: int = 1, length: int = 3) -> list[Any]:
    return [value if k == position else base for k in range(length)]


SCALARS = [
    (dict(period_h=0.05), "period_h: 0.05 h, must be between 0.08333333333 and 1 h"),
    (dict(period_h=2.0), "period_h: 2 h"),
    (dict(period_h=NAN), "period_h: nan h"),
    (dict(period_h="1"), "period_h: '1', must be a number"),
    (dict(carbon_budget_t=NAN), "carbon_budget_t: nan t, must be between 0 and 1e+12 t or inf"),
    (dict(carbon_budget_t=1e308), "carbon_budget_t: 1e+308 t, must be between 0 and 1e+12 t or inf"),
    (dict(carbon_excess_usd_per_t=1e13), "carbon_excess_usd_per_t: 1e+13 USD/t, must be between 0 and 1e+12"),
    (dict(carbon_budget_t=-1.0), "carbon_budget_t: -1 t"),
    (dict(carbon_excess_usd_per_t=-5.0), "carbon_excess_usd_per_t: -5 USD/t"),
    (dict(carbon_price_usd_per_t=INF), "carbon_price_usd_per_t: inf USD/t"),
    (dict(start_utc="yesterday"), "start_utc: 'yesterday', must be an ISO 8601 time"),
    (dict(family="a\0b"), "family: 'a\\x00b', must be printable text"),
    (dict(seed=1.5), "seed: 1.5, must be an integer"),
]

SITES = [
    (dict(buy_price=series(NAN)), "sites.buy_price: site 'Buffalo', period 3: nan USD/MWh, must be between -1e+06"),
    (dict(buy_price=series(2e6)), "sites.buy_price: site 'Buffalo', period 3: 2e+06 USD/MWh"),
    (dict(sell_price=series(-INF)), "sites.sell_price: site 'Buffalo', period 3: -inf USD/MWh"),
    (
        dict(capacity_gpu=series(-5, base=1000.0)),
        "sites.capacity_gpu: site 'Buffalo', period 3: -5 GPU, must be between 0",
    ),
    (dict(capacity_gpu=series(INF)), "sites.capacity_gpu: site 'Buffalo', period 3: inf GPU, must be between 0"),
    (dict(pue=series(0.9)), "sites.pue: site 'Buffalo', period 3: 0.9, must be between 1 and 5"),
    (
        dict(carbon_intensity=series(300.0)),
        "sites.carbon_intensity: site 'Buffalo', period 3: 300 t/MWh, must be between",
    ),
    (dict(latitude=at(95.0, 0.0)), "sites.latitude: site 'Buffalo': 95 degrees_north, must be between -90 and 90"),
    (dict(name=["a", "b", "a"]), "sites.name: site 2: the name 'a' is taken"),
    (dict(name=["a", "", "c"]), "sites.name: site 1: has no name"),
    (dict(name=["a", " ", "c"]), "sites.name: site 1: has no name"),
    (dict(name=["a b", "c", "a  b "]), "sites.name: site 2: the name 'a  b ' is taken"),
    (dict(name=["Z\u00fcrich", "b", "Zu\u0308rich"]), "sites.name: site 2: the name 'Zu\u0308rich' is taken"),
    (dict(name=["a", "b\nc", "d"]), "sites.name: site 'b\\nc': must be printable text"),
    (dict(power_slope_mw_per_gpu=[-0.001, 0.001]), "sites.power_slope_mw_per_gpu: site 'Albany', segment 0: -0.001"),
    (dict(power_intercept_mw=[-0.2, -0.1]), "sites.power_intercept_mw: site 'Albany': idle power is -0.1 MW"),
    (
        dict(charge_efficiency=at(0.0, 0.9, 0)),
        "sites.charge_efficiency: site 'Albany': 0, must be above 0 where there is",
    ),
    (dict(discharge_efficiency=1.1), "sites.discharge_efficiency: site 'Albany': 1.1, must be between 0 and 1"),
    (dict(charge_mw=0.0), "sites.charge_mw: site 'Albany': 0, must be above 0 where there is a battery"),
    (dict(discharge_mw=0.0), "sites.discharge_mw: site 'Albany': 0, must be above 0"),
    (dict(battery_initial_mwh=at(5.0, 0.0, 0)), "sites.battery_initial_mwh: site 'Albany': 5 MWh, must be at most"),
    (
        dict(battery_initial_mwh=0.0),
        "sites.battery_initial_mwh: site 'Albany': 0 MWh, must be at least battery_min_mwh",
    ),
    (dict(battery_final_mwh=at(4.1, 0.0, 0)), "sites.battery_final_mwh: site 'Albany': 4.1 MWh, must be at most"),
    (dict(battery_final_mwh=at(3.0, 0.0, 0), charge_mw=0.1), "sites.battery_final_mwh: site 'Albany': 3 MWh cannot be"),
    (dict(battery_min_mwh=at(2.0, 0.0, 0), charge_mw=1e-4), "sites.battery_min_mwh: site 'Albany': 2 MWh cannot be"),
    (
        dict(battery_mwh=1e9, battery_initial_mwh=at(2e7, 1.0)),
        "sites.battery_initial_mwh: site 'Buffalo': 2e+07 MWh, must be between 0 and 1e+07 MWh",
    ),
    (dict(battery_initial_mwh=at(1.0, 0.0)), "sites.battery_initial_mwh: site 'Buffalo': 1 MWh, must be at most"),
    (
        dict(import_limit_mw=series(0.1, 1, 0, 2.0), wind_mw=0.0),
        "sites.import_limit_mw: site 'Buffalo', period 0: idle load needs 0.24 MW, but imports, wind, sun, generators "
        "and battery give at most 0.1 MW",
    ),
    (
        dict(wind_mw=series(9.0)),
        "sites.export_limit_mw: site 'Buffalo', period 3: 9 MW cannot be turned off, but full load, export and battery "
        "take at most 2.32 MW",
    ),
    (dict(wear_usd_per_mwh=-1.0), "sites.wear_usd_per_mwh: site 'Albany': -1 USD/MWh, must be between 0"),
    (dict(demand_charge=2e6), "sites.demand_charge: site 'Albany': 2e+06 USD/MW"),
]

OTHERS = [
    ("generators", dict(site=[0, 3]), "generators.site: generator 1: 3, must be an index of a site, 0 to 2"),
    ("generators", dict(site=[2, 0]), "generators.site: generator 1 at site 'Albany': comes after"),
    ("generators", dict(p_min_mw=1.5), "generators.p_min_mw: generator 0 at site 'Albany': 1.5 MW, must be at most"),
    (
        "generators",
        dict(initial_mw=[0.2, 0.5]),
        "generators.initial_mw: generator 0 at site 'Albany': 0.2 MW, must be 0",
    ),
    (
        "generators",
        dict(min_up_periods=0),
        "generators.min_up_periods: generator 0 at site 'Albany': 0, must be between 1 and 1e+12",
    ),
    (
        "generators",
        dict(fuel_usd_per_mwh=NAN),
        "generators.fuel_usd_per_mwh: generator 0 at site 'Albany': nan USD/MWh",
    ),
    ("generators", dict(ramp_up_mw_per_h=NAN), "generators.ramp_up_mw_per_h: generator 0 at site 'Albany': nan MW/h"),
    ("generators", dict(emission_t_per_mwh=500.0), "generators.emission_t_per_mwh: generator 0 at site 'Albany': 500"),
    ("streams", dict(name=["x", "x"]), "streams.name: stream 1: the name 'x' is taken"),
    (
        "streams",
        dict(demand_rps=[[1.0] * 8, [1.0] * 7 + [NAN]]),
        "streams.demand_rps: stream 'code', period 7: nan 1/s",
    ),
    (
        "streams",
        dict(gpu_per_rps=0.0),
        "streams.gpu_per_rps: stream 'chat': 0 GPU s, must be between 1e-09 and",
    ),
    (
        "streams",
        dict(latency_limit_ms=460.0),
        "arcs.round_trip_ms: arc 1 (stream 'chat' at site 'Buffalo'): round trip",
    ),
    (
        "arcs",
        dict(site=[0, 1, 2, 2]),
        "arcs: arc 3 (stream 'code' at site 'Cork'): this pair is",
    ),
    ("arcs", dict(stream=[0, 0, 0, 0], site=[0, 1, 2, 2]), "streams: stream 'code': has no site, must have at least"),
    ("arcs", dict(stream=[0, 0, 0, 2]), "arcs.stream: arc 3: 2, must be an index of a stream, 0 to 1"),
    ("arcs", dict(site=[0, 1, 1, -1]), "arcs.site: arc 3: -1, must be an index of a site, 0 to 2"),
    ("jobs", dict(deadline=[9, 8, 6]), "jobs.deadline: job 'small': 9, must be at most 8, the number of periods"),
    ("jobs", dict(deadline=[8, 4, 6]), "jobs.deadline: job 'large': 4, must be at least release + periods = 1 + 4"),
    ("jobs", dict(deadline=[8, 8, 1]), "jobs.deadline: job 'must': 1, must be at least release + periods = 2 + 2"),
    ("jobs", dict(gpus=[100.0, 800.0, 2000.0]), "jobs.gpus: job 'must': mandatory, but no candidate site has 2000 GPU"),
    ("jobs", dict(periods=[0, 1, 1]), "jobs.periods: job 'small': 0, must be between 1 and 1e+12"),
    ("jobs", dict(release=[-1, 1, 2]), "jobs.release: job 'small': -1, must be between 0 and 1e+12"),
    ("candidates", dict(job=[0, 0, 1, 1], site=[0, 1, 2, 0]), "jobs: job 'must': has no site, must have at least one"),
    (
        "candidates",
        dict(site=[0, 0, 2, 0]),
        "candidates: candidate 1 (job 'small' at site 'Albany'): this pair is listed",
    ),
    ("candidates", dict(cost_usd=INF), "candidates.cost_usd: candidate 0 (job 'small' at site 'Albany'): inf USD"),
    ("pools", dict(end=[8, 9]), "pools.end: pool 'embed': 9, must be at most 8, the number of periods"),
    ("pools", dict(start=[0, 7]), "pools.end: pool 'embed': 7, must be after start = 7"),
    (
        "pools",
        dict(work_gpu_h=[400.0, 2001.0]),
        "pools.work_gpu_h: pool 'embed': 2001 GPU h must be done, but its rates",
    ),
    ("pools", dict(shortfall_penalty=NAN), "pools.shortfall_penalty: pool 'index': nan USD/(GPU h), must be between"),
    ("pool_arcs", dict(pool=[1, 1, 1], site=[0, 1, 2]), "pools: pool 'index': has no site"),
    ("pool_arcs", dict(rate_gpu=-1.0), "pool_arcs.rate_gpu: pool_arc 0 (pool 'index' at site 'Buffalo'): -1 GPU"),
]

CASES = [
    *SCALARS,
    *((dict(sites=change), words) for change, words in SITES),
    *(({table: change}, words) for table, change, words in OTHERS),
]


def test_the_tiny_instance_is_valid() -> None:
    validate(tiny())


@pytest.mark.parametrize("seed", range(30, 50))
def test_random_instances_are_valid(seed: int) -> None:
    validate(generate("small", seed=seed))


@pytest.mark.parametrize(("changes", "words"), CASES, ids=[words[:60] for _, words in CASES])
def test_refusal(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(tiny(**changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "np." not in str(caught.value)


def test_wrong_shapes() -> None:
    instance = tiny()
    short = replace(instance.sites, buy_price=np.ones((3, 7)))
    with pytest.raises(InputError, match=r"sites\.buy_price: shape \(3, 7\), must be \(site, period\) = \(3, 8\)"):
        validate(replace(instance, sites=short))
    flat = replace(instance.sites, capacity_gpu=np.ones(3))
    with pytest.raises(InputError, match=r"sites\.capacity_gpu: shape \(3,\), must be \(site, period\)"):
        validate(replace(instance, sites=flat))
    streams = replace(instance.streams, demand_rps=np.ones((2, 9)))
    with pytest.raises(InputError, match=r"streams\.demand_rps: shape \(2, 9\), must be .* = \(2, 8\)"):
        validate(replace(instance, streams=streams))
    jobs = replace(instance.jobs, gpus=np.ones(2))
    with pytest.raises(InputError, match=r"jobs\.gpus: shape \(2,\), must be \(job\) = \(3,\)"):
        validate(replace(instance, jobs=jobs))


def test_nothing_to_schedule() -> None:
    with pytest.raises(InputError, match="there is no period"):
        validate(bare_sites(1, 0))
    with pytest.raises(InputError, match="there is no site"):
        validate(bare_sites(0, 4, power_slope_mw_per_gpu=np.ones((0, 1))))


def test_what_is_unusual_but_legal() -> None:
    validate(tiny(carbon_budget_t=INF, carbon_excess_usd_per_t=INF, period_h=1 / 12, pools=dict(work_gpu_h=1.0)))
    validate(tiny(sites=dict(buy_price=-300.0, sell_price=500.0, latitude=NAN)))
    validate(tiny(jobs=dict(gpus=[100.0, 9000.0, 200.0])))  # an optional job that fits nowhere is rejected later
    validate(tiny(pools=dict(shortfall_penalty=3.0, work_gpu_h=1e6)))
    validate(tiny(sites=dict(charge_mw=[1.0, 0.0, 0.0], charge_efficiency=[0.9, 0.0, 0.0])))


def test_a_mandatory_job_needs_consecutive_periods() -> None:
    capacity = np.full((3, 8), 1000.0)
    capacity[0, [3, 5]] = 100.0  # 'must' may run in periods 2 to 5, two in a row, at Albany
    with pytest.raises(InputError, match="job 'must': mandatory"):
        validate(tiny(sites=dict(capacity_gpu=capacity), pools=dict(shortfall_penalty=3.0)))
    capacity[0, 3] = 1000.0
    validate(tiny(sites=dict(capacity_gpu=capacity), pools=dict(shortfall_penalty=3.0)))


def test_idle_load_counts_what_generators_can_really_give() -> None:
    """Cork is off the grid: 0.24 MW idle, a generator that is on at 0.5 MW, or off and not yet allowed to start."""
    island = dict(import_limit_mw=[[2.0], [2.0], [0.0]], wind_mw=[[0.0], [0.0], [0.0]])
    validate(tiny(sites=island))
    off = dict(initial_mw=0.0, initial_periods=[9, 1], min_down_periods=[1, 2])
    with pytest.raises(InputError, match="site 'Cork', period 0: idle load needs 0.24 MW"):
        validate(tiny(sites=island, generators=off))
    validate(tiny(sites=island, generators={**off, "min_down_periods": 1}))


def test_generation_that_cannot_stop_needs_a_sink() -> None:
    """Albany: at most 1.32 MW at full load, 1 MW into the battery, no export."""
    closed = dict(export_limit_mw=0.0, curtailable=True)
    running = dict(p_max_mw=3.0, initial_mw=[3.0, 0.5], initial_periods=9, min_up_periods=1)
    validate(tiny(sites=closed, generators=running))  # it may stop at once
    with pytest.raises(InputError, match="site 'Albany', period 0: 2.5 MW cannot be turned off"):
        validate(tiny(sites=closed, generators={**running, "ramp_down_mw_per_h": 0.5}))
    with pytest.raises(InputError, match="site 'Albany', period 0: 2.4 MW cannot be turned off"):
        validate(tiny(sites=closed, generators={**running, "p_min_mw": [2.4, 0.4], "min_up_periods": [12, 1]}))


def test_sites_alone() -> None:
    instance = tiny(arcs=dict(round_trip_ms=9999.0))
    validate_sites(instance.microgrids, instance.period_h)
    broken = replace(instance.sites, pue=np.full((3, 8), 9.0))
    with pytest.raises(InputError, match=r"sites\.pue"):
        validate_sites(replace(instance.microgrids, sites=broken), instance.period_h)


def test_large_fleets_are_validated_quickly() -> None:
    n, periods, rng = 2000, 96, np.random.default_rng(0)
    instance = build_instance(
        n,
        periods,
        0.25,
        sites=dict(
            capacity_gpu=rng.uniform(500, 1000, (n, periods)),
            power_slope_mw_per_gpu=[0.0008, 0.001],
            power_intercept_mw=[0.2, 0.1],
            import_limit_mw=2.0,
            buy_price=rng.normal(40, 20, (n, periods)),
            sell_price=10.0,
            battery_mwh=4.0,
            charge_mw=1.0,
            discharge_mw=1.0,
        ),
        generators=dict(site=np.sort(rng.integers(0, n, n)), p_min_mw=0.4, p_max_mw=1.0, fuel_usd_per_mwh=60.0),
        jobs=dict(gpus=rng.uniform(10, 900, 5 * n), periods=8, release=0, deadline=periods, mandatory=False),
        candidates=dict(job=np.repeat(np.arange(5 * n), 2), site=np.tile([0, 1], 5 * n)),
    )
    begun = time.process_time()
    validate(instance)
    assert time.process_time() - begun < 2.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            dict(sites=dict(power_slope_mw_per_gpu=[0.0008, 1e-10])),
            "sites.power_slope_mw_per_gpu: site 'Albany', segment 1: 1e-10 MW/GPU, which solvers drop, "
            "must be 0 or at least 1e-06 MW/GPU; give load in units of 1,000,000 GPU",
        ),
        (dict(sites=dict(power_slope_mw_per_gpu=[0.0008, 3e-8])), "give load in units of 1,000 GPU"),
        (dict(sites=dict(power_slope_mw_per_gpu=[0.0, 1e-14])), "give load in units of 1,000,000,000 GPU"),
        (dict(jobs=dict(gpus=[100.0, 1e-9, 200.0])), "at least 2e-08 GPU; give load in units of 0.001 GPU"),
        (dict(jobs=dict(gpus=[100.0, 5e-324, 200.0])), "at least 2e-08 GPU; give load in units of 1e-24 GPU"),
        (dict(sites=dict(carbon_intensity=1e-9)), "period 0: 1e-09 t/MWh, which solvers drop, must be 0 or at least"),
        (dict(sites=dict(discharge_efficiency=1e-9)), "sites.discharge_efficiency: site 'Albany': 1e-09, which"),
        (dict(sites=dict(export_limit_mw=1e-17)), "sites.export_limit_mw: site 'Albany', period 0: 1e-17 MW, which"),
        (dict(generators=dict(p_min_mw=[0.4, 1e-9])), "generators.p_min_mw: generator 1 at site 'Cork': 1e-09 MW"),
        (dict(generators=dict(ramp_up_mw_per_h=[np.inf, 1e-9])), "ramp_up_mw_per_h: generator 1 at site 'Cork': 1e-09"),
        (
            dict(sites=dict(power_slope_mw_per_gpu=[1e6, 0.0], capacity_gpu=1e10)),
            "sites.power_slope_mw_per_gpu: site 'Albany', period 0: 1e+16 MW at full load, must be at most 1e+12 MW",
        ),
    ],
)
def test_coefficients_that_solvers_drop(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(tiny(**changes))
    assert words in str(caught.value)


def test_the_least_coefficients_reach_the_solver() -> None:
    """In the shortest periods, nothing that is not 0 is lost on the way into HiGHS, nor in an MPS file."""
    least = LEAST_COEFFICIENT
    sites = dict(power_slope_mw_per_gpu=[LEAST_SLOPE, 0.0], carbon_intensity=least, export_credit=least)
    sites |= dict(charge_efficiency=[least, 1.0, 1.0], charge_mw=1.0, battery_final_mwh=0.0, self_discharge_per_h=0.0)
    sites |= dict(battery_initial_mwh=[0.4, 0.0, 0.0], battery_min_mwh=0.0)
    generators = dict(emission_t_per_mwh=least)
    instance = tiny(period_h=1 / 12, sites=sites, generators=generators, pools=dict(work_gpu_h=1.0))
    validate(instance)
    form = build(instance)
    assert np.abs(form.matrix.data).min() > 1e-9
    assert form.highs().getNumNz() == form.matrix.nnz
