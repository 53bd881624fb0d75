"""The variants of the joint study as transformations of an instance, and their schedules in terms of the fleet.

Every baseline is a restriction of the fleet's own problem: its schedules, lifted, keep every rule of the fleet and
cost the same, so no baseline can be better than `joint`. `no-carbon` is a relaxation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from decomp.model.accounts import load_gpu
from decomp.model.instance import Arcs, Array, Instance, Streams
from decomp.model.result import Schedule

FIRM_USD_PER_GPU_H = 100.0  # what fixed work costs that is not done: more than any energy it saves
EXCESS_USD_PER_T = 5000.0  # what fixed work pays for a tonne above a hard budget: more than any dispatch that avoids it
RESERVE = 0.98  # share of firm power that such work may take: batteries lose charge, and a dispatch is not exact
WORK = ("routed_gpu", "unserved_gpu", "job_site", "job_start", "pool_gpu", "pool_shortfall_gpu_h")


@dataclass(frozen=True, eq=False)
class Variant:
    """An instance derived from a fleet's.

    Attributes
    ----------
    instance : what is solved.
    arc, pool_arc : rows of the fleet's tables that are left, in order.
    work : a schedule of the fleet whose work is given, so that only energy is decided; else None.
    """

    instance: Instance
    arc: Array
    pool_arc: Array
    work: Schedule | None = None

    def lift(self, fleet: Instance, schedule: Schedule) -> Schedule:
        """A schedule of the variant as one of the fleet."""
        if self.work is not None:
            return replace(schedule, **{name: getattr(self.work, name) for name in WORK})
        routed = np.zeros((len(fleet.arcs.site), fleet.n_periods))
        routed[self.arc] = schedule.routed_gpu
        pool = np.zeros((len(fleet.pool_arcs.site), fleet.n_periods))
        pool[self.pool_arc] = schedule.pool_gpu
        return replace(schedule, routed_gpu=routed, pool_gpu=pool)

    def work_left(self, schedule: Schedule) -> float:
        """Largest part of the given work that a schedule of the variant does not do, GPU."""
        return 0.0 if self.work is None else float(schedule.unserved_gpu.max(initial=0.0))


Make = Callable[[Instance], Variant]


def joint(fleet: Instance) -> Variant:
    """Work and energy decided together."""
    return Variant(fleet, np.arange(len(fleet.arcs.site)), np.arange(len(fleet.pool_arcs.site)))


def no_carbon(fleet: Instance) -> Variant:
    """Without the carbon budget; a carbon price stays."""
    return joint(replace(fleet, carbon_budget_t=np.inf, carbon_excess_usd_per_t=np.inf))


def no_battery(fleet: Instance) -> Variant:
    """Batteries rest: what they hold may only sink by its own loss, or rise to what the end asks for."""
    s = fleet.sites
    left = s.battery_initial_mwh * (1.0 - s.self_discharge_per_h) ** (fleet.period_h * fleet.n_periods)
    final = np.maximum(s.battery_final_mwh, left)
    resting = dict(
        battery_mwh=np.minimum(s.battery_mwh, np.maximum(s.battery_initial_mwh, final)),
        battery_min_mwh=np.maximum(s.battery_min_mwh, left),
        battery_final_mwh=final,
    )
    return joint(replace(fleet, sites=replace(s, **resting)))


def compute_only(fleet: Instance) -> Variant:
    """Jobs and routing decided, at the sites' prices; batteries rest, nothing is exported that may be curtailed."""
    rested = no_battery(fleet).instance
    s = rested.sites
    export = np.where(s.curtailable[:, None], 0.0, s.export_limit_mw)
    return joint(replace(rested, sites=replace(s, export_limit_mw=export)))


def no_routing(fleet: Instance) -> Variant:
    """Every stream at its nearest site, every job and pool at its home: the first site listed for it."""
    return within(fleet, 1)


def within(fleet: Instance, count: int) -> Variant:
    """Streams at their `count` nearest sites, jobs and pools at the first `count` listed for them."""
    arcs, candidates, pool_arcs = fleet.arcs, fleet.candidates, fleet.pool_arcs
    arc = np.flatnonzero(_rank(arcs.stream, arcs.round_trip_ms) < count)
    pool_arc = np.flatnonzero(_rank(pool_arcs.pool) < count)
    left = np.flatnonzero(_rank(candidates.job) < count)
    fewer = replace(fleet, arcs=arcs.take(arc), candidates=candidates.take(left), pool_arcs=pool_arcs.take(pool_arc))
    return Variant(fewer, arc, pool_arc)


def _rank(owner: Array, distance: Array | None = None) -> Array:
    """Place of every row among those of its owner: by distance if given, then in the order listed."""
    distance = np.zeros(len(owner)) if distance is None else distance
    order = np.lexsort((np.arange(len(owner)), distance, owner))
    first = np.searchsorted(owner[order], owner[order])
    rank = np.empty(len(owner), dtype=int)
    rank[order] = np.arange(len(owner)) - first
    return rank


def energy_only(fleet: Instance) -> Variant:
    """Work as it comes (see `as_it_comes`), then the energy of that load decided.

    A hard budget that this load breaks is exceeded by as little as the dispatch can: the variant is infeasible then,
    and the excess says by how much.
    """
    work = as_it_comes(fleet)
    n = fleet.n_sites
    sizes = dict(stream=n, arc=n, period=fleet.n_periods)
    streams = Streams.make(
        sizes, name=fleet.sites.name, demand_rps=load_gpu(fleet, work), unserved_penalty=FIRM_USD_PER_GPU_H
    )
    none = slice(0)
    instance = replace(
        fleet,
        streams=streams,
        arcs=Arcs.make(sizes, stream=np.arange(n), site=np.arange(n)),
        jobs=fleet.jobs.take(none),
        candidates=fleet.candidates.take(none),
        pools=fleet.pools.take(none),
        pool_arcs=fleet.pool_arcs.take(none),
        carbon_excess_usd_per_t=min(fleet.carbon_excess_usd_per_t, EXCESS_USD_PER_T),
    )
    return Variant(instance, np.arange(0), np.arange(0), work)


def as_it_comes(fleet: Instance) -> Schedule:
    """Work placed blind to energy, first come, first served; the energy of the schedule is zero.

    In this order: mandatory jobs; inference, the dearest first, each at the nearest site with room; the other jobs by
    release; pools. A job takes the earliest start at its home (the first site listed) at which it fits, or is rejected;
    a pool runs at its home as soon as it can. Room is what GPUs and firm power (import, wind and sun) leave.
    """
    jobs, room = fleet.jobs, firm_gpu(fleet)
    site, start = np.full(fleet.n_jobs, -1), np.full(fleet.n_jobs, -1)
    order = np.argsort(jobs.release, kind="stable")
    home = np.full(fleet.n_jobs, -1)
    home[fleet.candidates.job[::-1]] = fleet.candidates.site[::-1]  # the first one listed is written last

    def place(chosen: Array) -> None:
        for j in chosen:
            length, row = int(jobs.periods[j]), room[home[j]]
            for t in range(int(jobs.release[j]), min(int(jobs.deadline[j]), fleet.n_periods) - length + 1):
                if row[t : t + length].min() >= jobs.gpus[j]:
                    row[t : t + length] -= jobs.gpus[j]
                    site[j], start[j] = home[j], t
                    break

    place(order[jobs.mandatory[order]])
    routed, unserved = _nearest(fleet, room)
    place(order[~jobs.mandatory[order]])
    pool, short = _soonest(fleet, room)
    work = dict(zip(WORK, (routed, unserved, site, start, pool, short), strict=True))
    sizes = {**fleet.sizes, "instant": fleet.n_periods + 1}
    shapes = {f.name: tuple(sizes[d] for d in f.metadata["dims"]) for f in fields(Schedule)}
    return Schedule(**{name: work.get(name, np.zeros(shape)) for name, shape in shapes.items()})


def firm_gpu(fleet: Instance) -> Array:
    """Load that GPUs and firm power (import, wind and sun) carry without battery or engine (site, period), GPU."""
    s = fleet.sites
    power = (RESERVE * (s.import_limit_mw + fleet.renewable_mw) / s.pue)[:, None, :]
    slope, intercept = s.power_slope_mw_per_gpu[:, :, None], s.power_intercept_mw[:, :, None]
    carried = np.where(slope > 0, (power - intercept) / np.where(slope > 0, slope, 1.0), np.inf).min(axis=1)
    return np.clip(carried, 0.0, s.capacity_gpu)


def _nearest(fleet: Instance, room: Array) -> tuple[Array, Array]:
    """Inference at the nearest sites with room, which it takes: (arc, period); the rest (stream, period), GPU."""
    arcs, streams = fleet.arcs, fleet.streams
    routed, unserved = np.zeros((len(arcs.site), fleet.n_periods)), fleet.demand_gpu.copy()
    worth = streams.revenue + streams.unserved_penalty
    for a in np.lexsort((arcs.round_trip_ms, arcs.stream, -worth[arcs.stream])):
        d, i = arcs.stream[a], arcs.site[a]
        routed[a] = np.minimum(unserved[d], room[i])
        unserved[d] -= routed[a]
        room[i] -= routed[a]
    return routed, unserved


def _soonest(fleet: Instance, room: Array) -> tuple[Array, Array]:
    """Pools at home as soon as they can: load (pool arc, period), GPU, and shortfall (pool), GPU h."""
    arcs, pools, hours = fleet.pool_arcs, fleet.pools, fleet.period_h
    load, left = np.zeros((len(arcs.site), fleet.n_periods)), pools.work_gpu_h.copy()
    for k in np.flatnonzero(_rank(arcs.pool) == 0):
        p, i = arcs.pool[k], arcs.site[k]
        for t in range(int(pools.start[p]), min(int(pools.end[p]), fleet.n_periods)):
            load[k, t] = min(arcs.rate_gpu[k], room[i, t], left[p] / hours)
            left[p] = max(0.0, left[p] - hours * load[k, t])
            room[i, t] -= load[k, t]
    return load, left


VARIANTS: dict[str, Make] = {  # the baselines, then joint, then its relaxation
    "compute-only": compute_only,
    "energy-only": energy_only,
    "no-battery": no_battery,
    "no-routing": no_routing,
    "joint": joint,
    "no-carbon": no_carbon,
}


# ---------------------------------------------------------------- sweeps


def battery(fleet: Instance, scale: float) -> Instance:
    """Batteries of another size, energy and power alike."""
    s = fleet.sites
    names = ("mwh", "min_mwh", "initial_mwh", "final_mwh")
    sized = {f"battery_{name}": scale * getattr(s, f"battery_{name}") for name in names}
    return replace(fleet, sites=replace(s, **sized, charge_mw=scale * s.charge_mw, discharge_mw=scale * s.discharge_mw))


def generation(fleet: Instance, scale: float) -> Instance:
    """More or less wind and sun at the sites."""
    s = fleet.sites
    return replace(fleet, sites=replace(s, wind_mw=scale * s.wind_mw, solar_mw=scale * s.solar_mw))


def routing(fleet: Instance, count: float) -> Instance:
    """Streams, jobs and pools at their `count` nearest sites."""
    return within(fleet, int(count)).instance


def slack(fleet: Instance, scale: float) -> Instance:
    """Deadlines nearer or farther: the jobs' slack times `scale`, within the horizon."""
    jobs = fleet.jobs
    earliest = jobs.release + jobs.periods
    deadline = earliest + np.rint(scale * (jobs.deadline - earliest)).astype(int)
    return replace(fleet, jobs=replace(jobs, deadline=np.minimum(deadline, fleet.n_periods)))


def budget(fleet: Instance, tonnes: float) -> Instance:
    """A carbon budget of so many tonnes."""
    return replace(fleet, carbon_budget_t=tonnes)


SWEEPS: dict[str, tuple[str, tuple[float, ...], Callable[[Instance, float], Instance]]] = {
    "routing": ("sites open to a stream and a job", (1, 2, 3, 5, 8), routing),
    "battery": ("batteries, times their size", (0.0, 0.5, 1.0, 2.0, 4.0), battery),
    "generation": ("wind and sun, times their power", (0.0, 0.5, 1.0, 1.5, 2.0), generation),
    "slack": ("slack of the jobs, times what it is", (0.0, 0.5, 1.0, 1.5, 2.0), slack),
    "budget": ("carbon budget, share of the emissions without one", (0.5, 0.6, 0.7, 0.8, 0.9, 1.0), budget),
}
