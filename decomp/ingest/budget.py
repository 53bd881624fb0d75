"""The carbon budget, given in tonnes or as a share of a baseline in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.ingest.spec import Carbon
from decomp.model.instance import Array, InputError, Instance


def requested_gpu(instance: Instance) -> Array:
    """Load asked for in each period, GPU, (period,): inference as it comes, jobs and pools even over their windows."""
    load = instance.demand_gpu.sum(axis=0)
    jobs, pools = instance.jobs, instance.pools
    for gpus, length, first, last in zip(jobs.gpus, jobs.periods, jobs.release, jobs.deadline, strict=True):
        load[first:last] += gpus * length / (last - first)
    for work, first, last in zip(pools.work_gpu_h, pools.start, pools.end, strict=True):
        load[first:last] += work / (instance.period_h * (last - first))
    return load


def emission_t(instance: Instance, share: Array) -> Array:
    """Emission of each site, t, (site,), when it carries a share (period,) of its GPUs and follows prices.

    Wind and sun come first; then every generator that is cheaper than the grid covers what it can, and sells up to
    the export limit where that pays; the grid does the rest. Batteries, ramps and minimum times are left out.
    """
    sites, units = instance.sites, instance.generators
    load = sites.capacity_gpu * share
    need = np.maximum(sites.pue * sites.it_power_mw(load) - instance.renewable_mw, 0.0)
    outlet = sites.export_limit_mw.copy()
    emitted = np.zeros_like(need)
    for g, i in enumerate(units.site):
        most = units.p_max_mw[g]
        cost = units.fuel_usd_per_mwh[g] + units.no_load_usd_per_h[g] / max(most, 1e-9)
        room = need[i] * (sites.buy_price[i] > cost) + outlet[i] * (sites.sell_price[i] > cost)
        output = np.minimum(most, room) * (room >= units.p_min_mw[g])
        own = np.minimum(output, need[i])
        need[i] -= own
        outlet[i] -= np.minimum(output - own, outlet[i])
        emitted[i] += units.emission_t_per_mwh[g] * output
    return instance.period_h * (emitted + sites.carbon_intensity * need).sum(axis=1)


def baseline_t(instance: Instance) -> float:
    """Emission when every site carries the same share of its GPUs, that of the load asked for to the GPUs installed.

    A share above 1 is counted as it is: that work is done at other hours.
    """
    share = requested_gpu(instance) / np.maximum(instance.sites.capacity_gpu.sum(axis=0), 1e-9)
    return float(emission_t(instance, share).sum())


def with_budget(instance: Instance, carbon: Carbon) -> Instance:
    """The instance with the spec's carbon budget."""
    if carbon.budget_t is not None and carbon.budget_share is not None:
        raise InputError("carbon: give budget_t or budget_share, not both (--set carbon.budget_share= removes a key)")
    if carbon.budget_share is not None:
        return replace(instance, carbon_budget_t=round(carbon.budget_share * baseline_t(instance), 3))
    return instance if carbon.budget_t is None else replace(instance, carbon_budget_t=carbon.budget_t)
