"""The work of a fleet: training jobs with candidate sites, inference streams with latency limits, deferrable pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from decomp.families.geography import Places, haversine_km, nearest, round_trip_ms
from decomp.families.weather import Clock, smooth_noise
from decomp.model.instance import Array

Rng = np.random.Generator


@dataclass(frozen=True)
class ServiceClass:
    """An inference class: service time (time to first token, ms), GPUs for a request per second, and what it earns."""

    name: str
    service_ms: float
    gpu_per_rps: float
    revenue: tuple[float, float]  # USD/(GPU h), net of costs other than energy
    penalty: float  # USD/(GPU h)


CLASSES = (
    ServiceClass("chat-8b", 120.0, 0.4, (0.8, 1.3), 0.4),
    ServiceClass("chat-70b", 450.0, 2.5, (0.7, 1.1), 0.3),
    ServiceClass("reason-405b", 6000.0, 20.0, (0.6, 1.0), 0.2),
)


@dataclass(frozen=True)
class JobShape:
    """How training jobs look: share of the home site, length, slack, worth; none exceeds `high` of a candidate site."""

    low: float
    high: float
    hours: tuple[float, float] = (2.0, 6.0)
    starts: tuple[int, int] = (5, 50)
    value: tuple[float, float] = (0.15, 0.9)  # USD/(GPU h), net of costs other than energy


def _log_uniform(rng: Rng, low: float, high: float, n: int) -> Array:
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), n)))


def training_jobs(
    rng: Rng, n: int, places: Places, count: int, shape: JobShape, clock: Clock
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`n` jobs, spread evenly over home sites, and `count` candidates of each, home first."""
    if not n:
        return {}, {}
    capacity = places.gpus
    home = np.arange(n) % len(capacity)
    where = mixed_candidates(rng, home, places.neighbours, count)
    gpus = capacity[home] * _log_uniform(rng, shape.low, shape.high, n)
    gpus = np.maximum(1.0, np.floor(np.minimum(gpus, shape.high * capacity[where].min(axis=1))))
    shortest, longest = (max(1, round(h / clock.period_h)) for h in shape.hours)
    longest = min(longest, max(1, clock.n_periods // 2))
    periods = rng.integers(min(shortest, longest), longest + 1, n)
    most = clock.n_periods - periods + 1
    starts = rng.integers(np.minimum(shape.starts[0], most), np.minimum(shape.starts[1], most) + 1)
    release = rng.integers(0, most - starts + 1)
    gpu_h = gpus * periods * clock.period_h
    jobs = dict(
        gpus=gpus,
        periods=periods,
        release=release,
        deadline=release + starts - 1 + periods,
        value_usd=_log_uniform(rng, *shape.value, n) * gpu_h,
    )
    job, site = np.repeat(np.arange(n), where.shape[1]), where.ravel()
    latitude, longitude = places.latitude, places.longitude
    away = haversine_km(latitude[home[job]], longitude[home[job]], latitude[site], longitude[site])
    move = np.where(site == home[job], 0.0, 0.01 + 6e-6 * away) * gpu_h[job]  # data transfer, USD
    return jobs, dict(job=job, site=site, cost_usd=move)


def training_gpu_h(jobs: dict[str, Any], clock: Clock) -> float:
    """GPU-hours that the jobs ask for."""
    return clock.period_h * float(jobs["gpus"] @ jobs["periods"]) if jobs else 0.0


def mixed_candidates(rng: Rng, home: Array, neighbours: Array, count: int) -> Array:
    """Candidate sites, home first, then half of them near and the rest anywhere, (job, candidate).

    `neighbours` holds the nearest other sites, (site, neighbour).
    """
    n_sites = len(neighbours)
    count = min(count, n_sites)
    near = min(count // 2, neighbours.shape[1])
    chosen = np.empty((len(home), count), dtype=np.int64)
    chosen[:, 0] = home
    order = np.argsort(rng.random((len(home), neighbours.shape[1])), axis=1)[:, :near]
    chosen[:, 1 : 1 + near] = np.take_along_axis(neighbours[home], order, axis=1)
    for k in range(1 + near, count):
        chosen[:, k] = rng.integers(0, n_sites, len(home))
        while (again := np.flatnonzero((chosen[:, :k] == chosen[:, k : k + 1]).any(axis=1))).size:
            chosen[again, k] = rng.integers(0, n_sites, len(again))
    return chosen


def reach(
    rng: Rng, latitude: Array, longitude: Array, places: Places, share: float, most: int
) -> tuple[dict[str, Array], Array]:
    """Arcs from each origin to about a share of the sites, and the round trip that bounds them, ms (origin,).

    The bound lies half-way between the last site inside and the first outside.
    """
    n_sites = len(places)
    wanted = np.rint(n_sites * share * rng.uniform(0.8, 1.2, len(latitude))).astype(int)
    wanted = np.clip(wanted, min(3, most, n_sites), min(most, n_sites))
    site, km = nearest(latitude, longitude, places.latitude, places.longitude, int(wanted.max()) + 1)
    trip = round_trip_ms(km)
    rows = np.arange(len(latitude))
    beyond = np.minimum(wanted, trip.shape[1] - 1)
    limit = np.where(wanted < trip.shape[1], 0.5 * (trip[rows, wanted - 1] + trip[rows, beyond]), trip[:, -1] + 1.0)
    stream, rank = np.nonzero(np.arange(trip.shape[1])[None, :] < wanted[:, None])
    arcs = dict(stream=stream, site=site[stream, rank], round_trip_ms=trip[stream, rank])
    arcs["cost"] = 2e-4 * arcs["round_trip_ms"]
    return arcs, limit


@dataclass(frozen=True, eq=False)
class Origins:
    """Where streams come from: name and longitude (degrees) of the place, (stream,) each like the rest.

    `kind` is the number of the class in `CLASSES`, `round_trip_limit` in ms, `weight` the share of all demand before
    local differences.
    """

    name: Array
    longitude: Array
    kind: Array
    round_trip_limit: Array
    weight: Array


def inference_streams(
    rng: Rng, origins: Origins, gpu_h: float, clock: Clock, swing: tuple[float, float] = (0.15, 0.35)
) -> dict[str, Any]:
    """Streams whose demand follows the sun at their origin and sums to `gpu_h` GPU-hours.

    `swing` is the range of the day's amplitude.
    """
    n, kind = len(origins.kind), origins.kind
    local = clock.local_hours(origins.longitude)
    depth = rng.uniform(*swing, (n, 1))
    shape = (
        1.0 + depth * np.cos(2.0 * np.pi * (local - 15.0) / 24.0) + 0.08 * np.cos(4.0 * np.pi * (local - 10.0) / 24.0)
    )
    shape *= np.maximum(0.5, 1.0 + 0.04 * smooth_noise(rng, n, clock, 1.0))
    demand = (origins.weight * rng.uniform(0.8, 1.2, n))[:, None] * shape
    demand *= gpu_h / (clock.period_h * demand.sum())
    per_rps = np.array([c.gpu_per_rps for c in CLASSES])[kind]
    service = np.array([c.service_ms for c in CLASSES])[kind]
    low, high = np.array([c.revenue for c in CLASSES])[kind].T
    label = np.array([c.name for c in CLASSES])[kind]
    return dict(
        name=np.array([f"{place}-{name}-{k}" for k, (place, name) in enumerate(zip(origins.name, label, strict=True))]),
        origin=origins.name,
        service_class=label,
        demand_rps=demand / per_rps[:, None],
        gpu_per_rps=per_rps,
        latency_limit_ms=service + origins.round_trip_limit,
        service_ms=service,
        revenue=rng.uniform(low, high),
        unserved_penalty=np.array([c.penalty for c in CLASSES])[kind],
    )


def accessible_share(arcs: dict[str, Array], capacity: Array, n_streams: int) -> Array:
    """GPUs that each stream could claim if every site were split evenly over the streams that reach it, (stream,)."""
    reached_by = np.bincount(arcs["site"], minlength=len(capacity))
    return np.bincount(arcs["stream"], (capacity / np.maximum(reached_by, 1))[arcs["site"]], minlength=n_streams)


def deferrable_pools(
    rng: Rng, count: int, places: Places, gpu_h: float, clock: Clock
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pools of `gpu_h` GPU-hours in all, each at one to three sites near each other, at a shortfall penalty."""
    if not count:
        return {}, {}
    capacity, neighbours = places.gpus, places.neighbours
    home = rng.integers(0, len(capacity), count)
    spread = rng.integers(1, 2 + min(2, neighbours.shape[1]), count)
    sites = np.concatenate([home[:, None], neighbours[home][:, :2]], axis=1)
    pool, rank = np.nonzero(np.arange(sites.shape[1])[None, :] < spread[:, None])
    site = sites[pool, rank]
    length = rng.integers(max(1, clock.n_periods // 4), clock.n_periods + 1, count)
    start = rng.integers(0, clock.n_periods - length + 1)
    work = capacity[home] * spread * length * rng.uniform(0.5, 1.5, count)
    work *= gpu_h / work.sum()
    rate = rng.uniform(1.5, 3.0, count) * work / (length * clock.period_h * spread)
    pools = dict(work_gpu_h=work, start=start, end=start + length, shortfall_penalty=rng.uniform(0.4, 1.0, count))
    return pools, dict(pool=pool, site=site, rate_gpu=np.minimum(rate[pool], capacity[site]))


def even_load(sections: dict[str, dict[str, Any]], capacity: Array, clock: Clock) -> Array:
    """Load if all work were spread evenly over its sites and windows, and cut at the GPUs installed, (site, period).

    The closed form from which carbon budgets are made: no decision enters it.
    """
    load = np.zeros(capacity.shape)
    if arcs := sections["arcs"]:
        room = capacity.mean(axis=1)[arcs["site"]]
        part = room / np.bincount(arcs["stream"], room)[arcs["stream"]]
        streams = sections["streams"]
        demand = streams["demand_rps"] * streams["gpu_per_rps"][:, None]
        for t in range(clock.n_periods):
            load[:, t] += np.bincount(arcs["site"], demand[arcs["stream"], t] * part, minlength=len(capacity))
    if jobs := sections["jobs"]:
        job, site = sections["candidates"]["job"], sections["candidates"]["site"]
        window = jobs["deadline"] - jobs["release"]
        rate = (jobs["gpus"] * jobs["periods"] / window / np.bincount(job))[job]
        load += _during(site, jobs["release"][job], jobs["deadline"][job], rate, capacity.shape)
    if pools := sections["pools"]:
        pool, site = sections["pool_arcs"]["pool"], sections["pool_arcs"]["site"]
        rate = pools["work_gpu_h"] / clock.period_h / (pools["end"] - pools["start"]) / np.bincount(pool)
        load += _during(site, pools["start"][pool], pools["end"][pool], rate[pool], capacity.shape)
    return np.minimum(load, capacity)


def _during(site: Array, start: Array, end: Array, rate: Array, shape: tuple[int, ...]) -> Array:
    """Sum of the rates that are on from start to end at each site, (site, period)."""
    change = np.zeros((shape[0], shape[1] + 1))
    np.add.at(change, (site, start), rate)
    np.add.at(change, (site, end), -rate)
    return np.asarray(np.cumsum(change[:, :-1], axis=1))
