"""What fits: the one tolerance by which an amount may exceed its limit, and instances in which that is settled.

57 % of 100 GPUs are 56.99999999999999, and a job of 57 fits there. Validation, kernels and models agree on what does,
whatever the solver's own tolerances are. The certificate has the same tolerance in its own words.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.model.instance import Array, Instance, PoolArcs, Pools

FIT = 1e-9  # relative, and in the unit of the amount
MISSED = 1e-6  # by which a solver may miss a row, relative to the row's scale, which is at least one unit


def most(limit: Array | float) -> Array:
    """The largest amount that fits under a limit."""
    return np.asarray(limit + FIT * (1.0 + np.abs(limit)))


def fits(amount: Array | float, limit: Array | float) -> Array:
    """Whether an amount is at most a limit, rounding aside."""
    return np.asarray(amount <= most(limit))


def with_exact_fits(instance: Instance) -> Instance:
    """The instance in which what fits does so exactly: each job its sites (1), work that must be done its pool (C4)."""
    capacity, pools = _with_room_for_jobs(instance), instance.pools
    possible = possible_work(pools, instance.pool_arcs, capacity, instance.period_h)
    work = pools.work_gpu_h
    work = np.where(np.isinf(pools.shortfall_penalty) & fits(work, possible), np.minimum(work, possible), work)
    if np.array_equal(capacity, instance.sites.capacity_gpu) and np.array_equal(work, pools.work_gpu_h):
        return instance
    sites = replace(instance.sites, capacity_gpu=capacity)
    return replace(instance, sites=sites, pools=replace(pools, work_gpu_h=work))


def possible_work(pools: Pools, arcs: PoolArcs, capacity_gpu: Array, period_h: float) -> Array:
    """Work of each pool (pool,) by its rates and the capacity (site, period) alone, GPU h."""
    work = np.zeros(len(pools.name))
    for t in range(capacity_gpu.shape[1]):
        inside = (t >= pools.start[arcs.pool]) & (t < pools.end[arcs.pool])
        rate = inside * np.minimum(arcs.rate_gpu, capacity_gpu[arcs.site, t])
        work += period_h * np.bincount(arcs.pool, rate, len(work))
    return work


def _with_room_for_jobs(instance: Instance) -> Array:
    """Capacity (site, period), GPU, as large as the largest job that fits there."""
    gpus = np.tile(instance.jobs.gpus[instance.candidates.job], instance.copies)
    site = instance.rows_of(instance.candidates.site)
    order = np.lexsort((gpus, site))
    gpus, ends = gpus[order], np.searchsorted(site[order], np.arange(instance.n_sites + 1))
    capacity = instance.sites.capacity_gpu.copy()
    for here, first, end in zip(capacity, ends[:-1], ends[1:], strict=True):
        own = np.append(0.0, gpus[first:end])
        np.maximum(here, own[np.searchsorted(own, most(here), side="right") - 1], out=here)
    return capacity


def money_slack(instance: Instance, cost: float) -> float:
    """USD by which a bound may exceed a cost though nothing is wrong: rows are kept to within a share of a unit only.

    That share of what a MW in every period of every site and a GPU of every stream are worth, or of the cost.
    """
    s, hours = instance.sites, instance.period_h
    energy = np.maximum(np.abs(s.buy_price), np.abs(s.sell_price))
    energy = energy + instance.carbon_price_usd_per_t * np.maximum(s.carbon_intensity, s.export_credit)
    work = (instance.streams.revenue + instance.streams.unserved_penalty).sum() * instance.n_periods
    unit = hours * (float(energy.sum()) + float(work)) + float(s.demand_charge.sum())
    return MISSED * max(abs(cost), 1.0, unit)
