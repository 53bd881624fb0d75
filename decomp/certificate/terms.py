"""The closed-form terms of the bound: what streams, jobs and pools cost at best at given prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from decomp.model.instance import Array, Instance
from decomp.model.result import Dual

CHUNK = 4_000_000
"""Job starts priced at a time; bounds the memory."""

FIT = 1e-9
"""What may be asked for beyond a limit and still fit, relative and in its unit: rounding of the input."""


def largest(limit: Array) -> Array:
    """The most that may be asked for where there is so much of it."""
    return np.asarray(limit + FIT * (1.0 + limit))


def spread(first: Array, count: Array) -> tuple[Array, Array]:
    """Row k repeated count_k times, and first_k, first_k + 1, ... beside it."""
    count = np.maximum(count, 0)
    row = np.repeat(np.arange(len(count)), count)
    return row, np.arange(len(row)) - (np.cumsum(count) - count - first)[row]


def possible_starts(
    gpus: Array, periods: Array, release: Array, deadline: Array, capacity: Array, site: Array
) -> tuple[Array, Array]:
    """All (row, start) with release <= start, start + periods <= deadline and room for the job alone (C2, 1).

    `gpus`, `periods`, `release`, `deadline`, `site` are (row,); `capacity` is (site, period), GPU.
    """
    deadline = np.minimum(deadline, capacity.shape[1])
    row, start = spread(release, deadline - periods - release + 1)
    span = np.where(deadline - release >= periods, deadline - release, 0)
    at, period = spread(release, span)
    short = gpus[at] > largest(capacity[site[at], period])
    if short.any():
        count = np.concatenate([[0], np.cumsum(short)])
        begin = (np.cumsum(span) - span - release)[row] + start
        free = count[begin + periods[row]] == count[begin]
        row, start = row[free], start[free]
    return row, start


class Allowed(Protocol):
    """What a part of the schedules admits of jobs."""

    def allows(self, job: Array, site: Array, start: Array) -> Array: ...

    def rejectable(self, mandatory: Array) -> Array: ...


def load_terms(
    pieces: Sequence[tuple[Instance, Array]], joint: Instance, part: Allowed | None = None
) -> Iterator[tuple[str, str, Array]]:
    """Terms of form "load": (what, dimension, USD per row).

    An infinite entry says that the row alone cannot be met. `part`: for some of the schedules only.

    Parameters
    ----------
    pieces : every scenario with its prices (site, period), USD/(GPU h); a job pays their sum.
    joint : where jobs have to find room.
    """
    yield "streams", "stream", np.concatenate([_streams(world, price) for world, price in pieces])
    yield "jobs", "job", _jobs(joint, np.sum([price for _, price in pieces], axis=0), part)
    yield "pools", "pool", np.concatenate([_pools(world, price) for world, price in pieces])


def work_terms(instance: Instance, dual: Dual) -> Iterator[tuple[str, str, Array]]:
    """Terms of form "work": every row's price, or what leaving the row unmet costs if that is less."""
    jobs, pools = instance.jobs, instance.pools
    paid = np.minimum(dual.stream_price, instance.streams.unserved_penalty[:, None])
    yield "streams", "stream", instance.period_h * (instance.demand_gpu * paid).sum(axis=1)
    yield "jobs", "job", np.where(jobs.mandatory, dual.job_price, np.minimum(dual.job_price, 0.0))
    yield "pools", "pool", pools.work_gpu_h * np.minimum(dual.pool_price, pools.shortfall_penalty)


def _streams(instance: Instance, price: Array) -> Array:
    arcs, streams = instance.arcs, instance.streams
    best = np.repeat(streams.unserved_penalty[:, None], instance.n_periods, axis=1)
    np.minimum.at(best, arcs.stream, (arcs.cost - streams.revenue[arcs.stream])[:, None] + price[arcs.site])
    return instance.period_h * (instance.demand_gpu * best).sum(axis=1)


def _jobs(instance: Instance, price: Array, part: Allowed | None) -> Array:
    """Best reduced value of each job: the load price of a run is a difference of running sums."""
    jobs, candidates = instance.jobs, instance.candidates
    paid = np.zeros((instance.n_sites, instance.n_periods + 1))
    np.cumsum(instance.period_h * price, axis=1, out=paid[:, 1:])
    best = np.where(part.rejectable(jobs.mandatory) if part else ~jobs.mandatory, 0.0, np.inf)
    window = np.maximum(jobs.deadline - jobs.release, 1)[candidates.job]
    for rows in np.split(np.arange(len(candidates.job)), _cuts(window)):
        job, site = candidates.job[rows], candidates.site[rows]
        gpus, periods = jobs.gpus[job], jobs.periods[job]
        row, start = possible_starts(
            gpus, periods, jobs.release[job], jobs.deadline[job], instance.sites.capacity_gpu, site
        )
        if part is not None:
            inside = part.allows(job[row], site[row], start)
            row, start = row[inside], start[inside]
        run = paid[site[row], start + periods[row]] - paid[site[row], start]
        value = (candidates.cost_usd[rows] - jobs.value_usd[job])[row] + gpus[row] * run
        np.minimum.at(best, job[row], value)
    return best


def _cuts(size: Array) -> Array:
    """Where to split rows so that every part sums to about CHUNK."""
    part = np.cumsum(size) // CHUNK
    return np.flatnonzero(np.diff(part)) + 1


def possible_work(instance: Instance) -> Array:
    """The most work of each pool (pool,) by its rates and the sites' capacity, GPU h (C4, 1)."""
    pools, arcs = instance.pools, instance.pool_arcs
    start, end = pools.start[arcs.pool], np.minimum(pools.end[arcs.pool], instance.n_periods)
    row, period = spread(start, end - start)
    rate = np.minimum(arcs.rate_gpu[row], instance.sites.capacity_gpu[arcs.site[row], period])
    return np.bincount(arcs.pool[row], instance.period_h * rate, instance.n_pools)


def _pools(instance: Instance, price: Array) -> Array:
    """Cheapest fluid fill of each pool: its (arc, period) slots by rising price, shortfall for the rest."""
    pools, arcs = instance.pools, instance.pool_arcs
    start, end = pools.start[arcs.pool], np.minimum(pools.end[arcs.pool], instance.n_periods)
    row, period = spread(start, end - start)
    n_pools = instance.n_pools
    pool = np.concatenate([arcs.pool[row], np.arange(n_pools)])
    unit = np.concatenate([price[arcs.site[row], period], pools.shortfall_penalty])
    room = np.concatenate([instance.period_h * arcs.rate_gpu[row], pools.work_gpu_h])
    order = np.lexsort((unit, pool))
    pool, unit, room = pool[order], unit[order], room[order]
    filled = np.cumsum(room)
    begin = np.searchsorted(pool, np.arange(n_pools))
    before = filled - room - (filled - room)[begin][pool] if n_pools else filled
    used = np.clip(pools.work_gpu_h[pool] - before, 0.0, room)
    rounding = np.isinf(unit) & (used <= FIT * (1.0 + pools.work_gpu_h[pool]))
    cost = np.multiply(used, unit, out=np.zeros_like(used), where=~rounding)
    return np.bincount(pool, weights=cost, minlength=n_pools)
