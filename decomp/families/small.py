"""Family `small`: tiny random instances that switch every feature of the model on and off.

Each is feasible by construction. A schedule is laid down first - mandatory work in place, everything else left
undone, generators that were on kept at their least output, batteries charged just enough - and the limits of the
grid and of carbon are then drawn so that this schedule keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from decomp.devices import thermal_storage
from decomp.families.equipment import it_power_mw, with_devices
from decomp.families.family import Family, Request, setting
from decomp.families.futures import Errors, with_futures
from decomp.model.instance import Array, Instance, build_instance

Rng = np.random.Generator


@dataclass
class _Plan:
    """The schedule known to be feasible: load (GPU), battery charging and generation (MW), all (site, period)."""

    load: Array
    charge: Array
    generation: Array
    emission_t: float = 0.0


@dataclass(frozen=True)
class Small(Family):
    """Tiny random instances over all features, always feasible; for comparing methods with the ground truth."""

    devices: float = setting(0.0, "share of sites with a cold tank", low=0.0, high=1.0)
    scenarios: int = setting(0, "equally likely scenarios of price, weather and demand", low=0, high=10_000)

    def instance(self, request: Request) -> Instance:
        rng = np.random.default_rng(request.seed)
        drawn = [int(rng.integers(*limits)) for limits in ((2, 5), (4, 13), (0, 6), (0, 4))]
        asked = (request.sites, request.periods, request.jobs, request.streams)
        n_sites, n_periods, n_jobs, n_streams = (d if a is None else a for a, d in zip(asked, drawn, strict=True))
        period_h = float(rng.choice([1 / 12, 0.25, 0.5, 1.0]))

        table = _sites(rng, n_sites, n_periods)
        shape = table["capacity_gpu"].shape
        plan = _Plan(load=np.zeros(shape), charge=np.zeros(shape), generation=np.zeros(shape))
        work = _jobs(rng, n_jobs, table["capacity_gpu"], plan, period_h)
        work |= _pools(rng, int(rng.integers(0, 3)), table["capacity_gpu"], plan, period_h)
        work |= _streams(rng, n_streams, table["capacity_gpu"])
        table |= _batteries(rng, n_sites, n_periods, period_h, plan)
        generators = _generators(rng, table, period_h, plan)
        _grid(rng, table, plan)
        carbon = _carbon(rng, table, generators, plan, period_h)
        made = dict(sites=table, generators=generators, **work, **carbon)
        instance = build_instance(n_sites, n_periods, period_h, family="small", seed=request.seed, **made)
        equipped = with_devices(instance, self.devices, thermal_storage(initial_share=0.0))
        return with_futures(equipped, self.scenarios, Errors(cautious=True))


def random_small(seed: int) -> Instance:
    """A tiny random instance, feasible by construction."""
    return Small().instance(Request(seed=seed))


def _maybe(rng: Rng, share: float = 0.5) -> bool:
    return bool(rng.random() < share)


def _sites(rng: Rng, n_sites: int, n_periods: int) -> dict[str, Any]:
    """Capacity, power curve, weather and prices; grid limits and batteries come later."""
    shape = (n_sites, n_periods)
    installed = rng.integers(5, 40, n_sites) * 100.0
    available = np.where(rng.random(shape) < 0.15 * _maybe(rng), rng.choice([0.0, 0.5, 0.8], shape), 1.0)
    segments = int(rng.integers(1, 4))
    slope = np.sort(rng.uniform(0.5e-3, 1.3e-3, (n_sites, segments)), axis=1)
    knots = np.sort(rng.uniform(0.2, 0.8, (n_sites, segments - 1)), axis=1) * installed[:, None]
    steps = -np.diff(slope, axis=1) * knots
    idle = rng.uniform(0.1, 0.25, n_sites) * slope[:, 0] * installed
    intercept = idle[:, None] + np.hstack([np.zeros((n_sites, 1)), np.cumsum(steps, axis=1)])

    buy = rng.uniform(15, 90, (n_sites, 1)) * rng.uniform(0.4, 1.8, shape)
    if _maybe(rng, 0.4):
        buy = np.where(rng.random(shape) < 0.25, -rng.uniform(1, 60, shape), buy)
    sell = buy - rng.uniform(0, 15, shape) * rng.integers(0, 2, (n_sites, 1))
    if _maybe(rng, 0.3):
        sell = np.where(rng.random(shape) < 0.2, buy + rng.uniform(1, 25, shape), sell)
    retail = rng.random(n_sites) < 0.4 * _maybe(rng)
    buy[retail] = np.abs(buy[retail]) + 20.0
    sell[retail] = 0.6 * (buy[retail] - 20.0)
    power = (slope[:, -1] * installed)[:, None]
    return dict(
        capacity_gpu=installed[:, None] * available,
        power_slope_mw_per_gpu=slope,
        power_intercept_mw=intercept,
        exact_power_curve=rng.random(n_sites) < 0.5 * _maybe(rng),
        pue=rng.uniform(1.06, 1.4, shape),
        buy_price=buy,
        sell_price=sell,
        demand_charge=np.where(retail, rng.uniform(20, 400, n_sites), 0.0),
        peak_so_far_mw=np.where(retail, rng.integers(0, 2, n_sites) * rng.uniform(0, 0.8, n_sites) * power[:, 0], 0.0),
        carbon_intensity=rng.uniform(0, 0.7, (n_sites, 1)) * rng.uniform(0.5, 1.5, shape),
        export_credit=rng.uniform(0, 0.3, shape) if _maybe(rng, 0.25) else np.zeros(shape),
        wind_mw=power * rng.uniform(0, 1.2, shape) * rng.integers(0, 2, (n_sites, 1)),
        solar_mw=power * rng.uniform(0, 0.8, shape) * rng.integers(0, 2, (n_sites, 1)),
        curtailable=rng.random(n_sites) < rng.choice([0.4, 1.0]),
    )


def _jobs(rng: Rng, n_jobs: int, capacity: Array, plan: _Plan, period_h: float) -> dict[str, Any]:
    """Jobs that fit somewhere when alone; mandatory ones are placed in the plan, beside each other."""
    n_sites, n_periods = capacity.shape
    jobs: dict[str, list[Any]] = {k: [] for k in ("gpus", "periods", "release", "deadline", "value_usd", "mandatory")}
    candidates: dict[str, list[Any]] = {k: [] for k in ("job", "site", "cost_usd")}
    for job in range(n_jobs):
        length = int(rng.integers(1, min(max(2, n_periods // 2), n_periods) + 1))
        start = int(rng.integers(0, n_periods - length + 1))
        where = rng.permutation(n_sites)[: rng.integers(1, n_sites + 1)]
        home, run = where[0], slice(start, start + length)
        mandatory = _maybe(rng, 0.3)
        left = capacity[home, run] - (plan.load[home, run] if mandatory else 0.0)
        gpus = float(rng.uniform(0.1, 0.9) * left.min())
        if gpus < 1.0:  # outage, or the site is full: a short optional job in the best period
            mandatory, length, start = False, 1, int(capacity[home].argmax())
            gpus = float(rng.uniform(0.1, 0.9) * capacity[home, start])
        if mandatory:
            plan.load[home, run] += gpus
        jobs["gpus"].append(gpus)
        jobs["periods"].append(length)
        jobs["release"].append(int(rng.integers(0, start + 1)))
        jobs["deadline"].append(int(rng.integers(start + length, n_periods + 1)))
        jobs["value_usd"].append(rng.uniform(0.0, 2.0) * gpus * length * period_h)
        jobs["mandatory"].append(mandatory)
        where = rng.permutation(where)
        candidates["job"] += [job] * len(where)
        candidates["site"] += where.tolist()
        candidates["cost_usd"] += (rng.uniform(0, 0.1, len(where)) * gpus * length * period_h).tolist()
    return dict(jobs=jobs, candidates=candidates) if n_jobs else {}


def _pools(rng: Rng, n_pools: int, capacity: Array, plan: _Plan, period_h: float) -> dict[str, Any]:
    """Pools at one or several sites; what must be done is put into the plan, evenly over the window."""
    n_sites, n_periods = capacity.shape
    pools: dict[str, list[Any]] = {k: [] for k in ("work_gpu_h", "start", "end", "shortfall_penalty")}
    arcs: dict[str, list[Any]] = {k: [] for k in ("pool", "site", "rate_gpu")}
    for pool in range(n_pools):
        length = int(rng.integers(min(2, n_periods), n_periods + 1))
        start = int(rng.integers(0, n_periods - length + 1))
        where = rng.permutation(n_sites)[: 1 if _maybe(rng) else rng.integers(1, n_sites + 1)]
        rate = rng.uniform(0.1, 0.6, len(where)) * capacity[where].max(axis=1)
        hard = _maybe(rng, 0.6)
        run = slice(start, start + length)
        if hard:
            fill = np.minimum(rate[:, None], 0.8 * (capacity - plan.load)[where, run]) * rng.uniform(0.2, 1.0)
            plan.load[where, run] += fill
            work = period_h * float(fill.sum())
        else:
            work = period_h * length * float(rate.sum()) * rng.uniform(0.3, 1.2)
        pools["work_gpu_h"].append(work)
        pools["start"].append(start)
        pools["end"].append(start + length)
        pools["shortfall_penalty"].append(np.inf if hard else rng.uniform(0.05, 1.5))
        arcs["pool"] += [pool] * len(where)
        arcs["site"] += where.tolist()
        arcs["rate_gpu"] += rate.tolist()
    return dict(pools=pools, pool_arcs=arcs) if n_pools else {}


def _streams(rng: Rng, n_streams: int, capacity: Array) -> dict[str, Any]:
    """Demand that may stay unserved, and the sites inside its latency limit."""
    if not n_streams:
        return {}
    n_sites, n_periods = capacity.shape
    round_trip = rng.uniform(2, 150, (n_streams, n_sites))
    service = rng.choice([50.0, 450.0, 6000.0], n_streams)
    reach = rng.uniform(30, 160, n_streams)
    limit = service + np.maximum(reach, round_trip.min(axis=1) + 1.0)
    stream, site = np.nonzero(service[:, None] + round_trip <= limit[:, None])
    per_gpu = rng.uniform(0.2, 5.0, n_streams)
    demand = rng.uniform(0, 0.7, (n_streams, n_periods)) * capacity.max() * rng.uniform(0.3, 1.0, (n_streams, 1))
    demand = np.where(rng.random(demand.shape) < 0.1, 0.0, demand)
    streams = dict(
        demand_rps=demand / per_gpu[:, None],
        gpu_per_rps=per_gpu,
        latency_limit_ms=limit,
        service_ms=service,
        revenue=rng.uniform(0, 2.5, n_streams),
        unserved_penalty=rng.uniform(0, 1.5, n_streams),
    )
    hops = round_trip[stream, site]
    arcs = dict(stream=stream, site=site, round_trip_ms=hops, cost=hops * rng.uniform(0, 2e-3))
    return dict(streams=streams, arcs=arcs)


def _batteries(rng: Rng, n_sites: int, n_periods: int, period_h: float, plan: _Plan) -> dict[str, Any]:
    """Batteries; the plan charges at a constant rate that reaches the least final energy, and never discharges."""
    energy = rng.uniform(0.3, 6.0, n_sites) * (rng.random(n_sites) < rng.choice([0.0, 0.6, 1.0]))
    initial = rng.uniform(0.1, 1.0, n_sites) * energy
    least = initial * rng.choice([0.0, 0.5, 1.0], n_sites)
    final = np.minimum(energy, initial * rng.choice([0.0, 0.5, 1.0, 1.15], n_sites))
    efficiency = rng.uniform(0.85, 1.0, (2, n_sites))
    leak = rng.uniform(0, 0.05, n_sites) * rng.integers(0, 2, n_sites)
    keep = (1.0 - leak) ** period_h
    stages = (keep[:, None] ** np.arange(n_periods)).sum(axis=1)
    missing = np.maximum(0.0, np.maximum(final, least) - keep**n_periods * initial)
    charge = missing / (period_h * efficiency[0] * stages)
    plan.charge += charge[:, None]
    return dict(
        battery_mwh=energy,
        battery_min_mwh=least,
        battery_initial_mwh=initial,
        battery_final_mwh=final,
        charge_mw=np.maximum(energy / rng.uniform(1, 4, n_sites), 1.1 * charge),
        discharge_mw=energy / rng.uniform(1, 4, n_sites),
        charge_efficiency=efficiency[0],
        discharge_efficiency=efficiency[1],
        self_discharge_per_h=leak,
        wear_usd_per_mwh=rng.uniform(0, 40, n_sites) * rng.integers(0, 2, n_sites),
    )


def _generators(rng: Rng, table: dict[str, Any], period_h: float, plan: _Plan) -> dict[str, Any]:
    """None, one or two generators a site; in the plan those that were on stay on, ramping down to least output."""
    n_sites, n_periods = plan.load.shape
    site = np.repeat(np.arange(n_sites), rng.integers(0, 3, n_sites) * (rng.random(n_sites) < rng.choice([0.0, 0.7])))
    n = len(site)
    if not n:
        return {}
    p_max = _nominal_mw(table)[site] * rng.uniform(0.2, 0.8, n)
    p_min = p_max * rng.choice([0.0, 0.2, 0.4, 0.7], n)
    ramp_up, ramp_down = (np.where(rng.random(n) < 0.5, np.inf, p_max * rng.uniform(0.3, 3.0, n)) for _ in range(2))
    initial = np.where(rng.random(n) < 0.4, rng.uniform(p_min, p_max), 0.0)
    steps = np.arange(1, n_periods + 1) * period_h
    fall = initial[:, None] - np.minimum(ramp_down, 1e6)[:, None] * steps
    np.add.at(plan.generation, site, np.where(initial[:, None] > 0, np.maximum(p_min[:, None], fall), 0.0))
    return dict(
        site=site,
        p_min_mw=p_min,
        p_max_mw=p_max,
        fuel_usd_per_mwh=rng.uniform(20, 120, n),
        no_load_usd_per_h=rng.uniform(0, 40, n) * rng.integers(0, 2, n),
        start_usd=rng.uniform(0, 60, n) * rng.integers(0, 2, n),
        ramp_up_mw_per_h=ramp_up,
        ramp_down_mw_per_h=ramp_down,
        min_up_periods=rng.integers(1, 5, n),
        min_down_periods=rng.integers(1, 5, n),
        emission_t_per_mwh=rng.uniform(0, 0.6, n),
        initial_mw=initial,
        initial_periods=rng.integers(1, 6, n),
    )


def _nominal_mw(table: dict[str, Any]) -> Array:
    """Power scale of each site, MW."""
    return np.asarray(table["power_slope_mw_per_gpu"][:, -1] * table["capacity_gpu"].max(axis=1))


def _net_import(table: dict[str, Any], plan: _Plan, load: Array) -> Array:
    """Import less export (MW, (site, period)) when the plan's batteries and generators serve a load."""
    forced = np.where(table["curtailable"][:, None], 0.0, table["wind_mw"] + table["solar_mw"])
    return np.asarray(table["pue"] * it_power_mw(table, load) + plan.charge - plan.generation - forced)


def _grid(rng: Rng, table: dict[str, Any], plan: _Plan) -> None:
    """Grid limits, generous or tight, that the plan keeps."""
    n_sites = len(plan.load)
    net = _net_import(table, plan, plan.load)
    full = _net_import(table, plan, table["capacity_gpu"]).max(axis=1)
    wanted = np.maximum(full, 0.0) * rng.choice([0.5, 0.8, 1.5], n_sites)
    table["import_limit_mw"] = np.maximum(wanted[:, None], 1.05 * net + 1e-3)
    wanted = rng.choice([0.0, 0.5, 1.5], n_sites) * _nominal_mw(table)
    table["export_limit_mw"] = np.maximum(wanted[:, None], -1.05 * net)


def _carbon(
    rng: Rng, table: dict[str, Any], generators: dict[str, Any], plan: _Plan, period_h: float
) -> dict[str, Any]:
    """Budget (none, hard, or with a priced excess) and carbon price; a hard budget allows the plan."""
    factor = np.zeros(plan.load.shape[0])
    if generators:
        np.maximum.at(factor, generators["site"], generators["emission_t_per_mwh"])

    def emitted(load: Array) -> float:
        net = _net_import(table, plan, load)
        grid = table["carbon_intensity"] * np.maximum(net, 0.0) - table["export_credit"] * np.maximum(-net, 0.0)
        return period_h * float((grid + factor[:, None] * plan.generation).sum())

    plan.emission_t = emitted(plan.load)
    busy = max(emitted(0.8 * table["capacity_gpu"]), plan.emission_t)
    price = float(rng.uniform(5, 150)) if _maybe(rng, 0.3) else 0.0
    kind = rng.choice(["none", "hard", "priced"], p=[0.25, 0.5, 0.25])
    carbon = dict(carbon_price_usd_per_t=price)
    if kind == "none":
        return carbon
    tightness = rng.uniform(0.02, 0.7) if kind == "hard" else rng.uniform(-0.5, 0.5)
    carbon["carbon_budget_t"] = max(0.0, plan.emission_t + tightness * (busy - plan.emission_t) + 1e-4)
    if kind == "priced":
        carbon["carbon_excess_usd_per_t"] = float(rng.uniform(20, 400))
    return carbon
