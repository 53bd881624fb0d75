"""The carbon budget, given in tonnes or as a share of a baseline in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.ingest.spec import Carbon
from decomp.instance import Array, InputError, Instance


def requested_gpu(instance: Instance) -> Array:
    """Load asked for in each period, GPU, (period,): inference as it comes, jobs and pools even over their windows."""
    load = instance.demand_gpu.sum(axis=0)
    jobs, pools = instance.jobs, instance.pools
    for gpus, length, first, last in zip(jobs.gpus, jobs.periods, jobs.release, jobs.deadline, strict=True):
        load[first:last] += gpus * length / (last - first)
    for work, first, last in zip(pools.work_gpu_h, pools.start, pools.end, strict=True):
        load[first:last] += work / (instance.period_h * (last - first))
    return load


def grid_emission_t(instance: Instance, share: Array) -> Array:
    """Emission of each site, t, (site,), at a share (period,) of its GPUs, from wind, sun and grid alone."""
    sites = instance.sites
    load = sites.capacity_gpu * share
    power = np.max(
        sites.power_slope_mw_per_gpu[:, :, None] * load[:, None, :] + sites.power_intercept_mw[:, :, None], axis=1
    )
    imported = np.maximum(sites.pue * power - sites.wind_mw - sites.solar_mw, 0.0)
    return (instance.period_h * sites.carbon_intensity * imported).sum(axis=1)


def baseline_t(instance: Instance) -> float:
    """Emission when every site carries the same share of the load asked for, at most all of its GPUs."""
    share = requested_gpu(instance) / np.maximum(instance.sites.capacity_gpu.sum(axis=0), 1e-9)
    return float(grid_emission_t(instance, np.minimum(share, 1.0)).sum())


def with_budget(instance: Instance, carbon: Carbon) -> Instance:
    """The instance with the spec's carbon budget."""
    if carbon.budget_t is not None and carbon.budget_share is not None:
        raise InputError("carbon: give budget_t or budget_share, not both (--set carbon.budget_share= removes a key)")
    if carbon.budget_share is not None:
        return replace(instance, carbon_budget_t=round(carbon.budget_share * baseline_t(instance), 3))
    return instance if carbon.budget_t is None else replace(instance, carbon_budget_t=carbon.budget_t)
