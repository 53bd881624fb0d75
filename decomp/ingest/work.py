"""Training: a job trace becomes rigid jobs with windows, values and candidate sites, its small jobs fluid pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from decomp.ingest.library import Library
from decomp.ingest.network import egress_usd_per_gb, great_circle_km
from decomp.ingest.spec import Jobs, Pools, Spec
from decomp.ingest.trace import Trace
from decomp.model.instance import Array, InputError

SERVER = 8


def build_jobs(
    spec: Spec, jobs: Jobs, trace: Trace, capacity: Array, library: Library, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rigid jobs and their candidate sites; `capacity` : GPUs, (site, period)."""
    sites, horizon = spec.sites, spec.horizon
    rows = np.flatnonzero(trace.gpus >= jobs.min_gpus)
    if len(rows) > jobs.max_jobs:
        rows = np.sort(rng.choice(rows, jobs.max_jobs, replace=False))
    if len(rows) < jobs.min_jobs:
        raise InputError(f"{len(rows)} jobs of at least {jobs.min_gpus} GPUs on these days; needs {jobs.min_jobs}")
    trace, period_h, n = trace.take(rows), horizon.period_min / 60, horizon.periods
    _ordered(jobs.value_usd_per_gpu_h, "value_usd_per_gpu_h", 1e-9)
    _ordered(jobs.slack, "slack", 1.0)
    if jobs.min_h > jobs.max_h:
        raise InputError(f"min_h = {jobs.min_h:g}: must be at most max_h = {jobs.max_h:g}")
    hours = np.clip(trace.hours * jobs.duration_scale, jobs.min_h, jobs.max_h)
    wanted = np.maximum(np.ceil(hours / period_h - 1e-9), 1.0)
    if long := int((wanted > n).sum()):
        library.note(f"{long} of {len(rows)} jobs are longer than the horizon and last for all of it")
    length = np.minimum(wanted, n).astype(int)
    window = np.clip(np.round(length * rng.uniform(jobs.slack[0], jobs.slack[1], len(rows))), length, n).astype(int)
    release = fitted_release((trace.submit_h / period_h).astype(int), window, n)
    least = capacity.min(axis=1)
    work = jobs.gpu_hours_share * float(capacity.sum()) * period_h
    gpus = scaled_gpus(trace.gpus, length * period_h, work, jobs.largest_share * float(least.max()))
    low, high = np.log(jobs.value_usd_per_gpu_h)
    value = np.exp(rng.uniform(low, high, len(rows))) * gpus * length * period_h
    mandatory = np.zeros(len(rows), dtype=bool)
    mandatory[rng.permutation(len(rows))[: round(jobs.mandatory_share * len(rows))]] = True
    home = spread_homes(gpus * length, gpus, least)
    job, site = choose_sites(home, gpus, least, jobs.candidates, jobs.choose, great_circle_km(sites, sites), rng)
    usd_per_gb = egress_usd_per_gb(spec.egress, library, sites)
    columns = dict(
        name=trace.name,
        gpus=gpus,
        periods=length,
        release=release,
        deadline=release + window,
        value_usd=np.round(value, 2),
        mandatory=mandatory,
    )
    cost = usd_per_gb[home[job], site] * jobs.data_gb_per_gpu * gpus[job]
    return columns, dict(job=job, site=site, cost_usd=np.round(cost, 2))


def fitted_release(submit: Array, window: Array, n: int) -> Array:
    """First period of each window such that it ends within n periods.

    A window that ends too late moves back to fit; when more than half of it is too late the job is taken as
    submitted the day before: it waits when the horizon starts.
    """
    return np.where(submit + window / 2 > n, 0, np.minimum(submit, n - window))


def _ordered(pair: list[float], name: str, low: float) -> None:
    if len(pair) != 2 or not low <= pair[0] <= pair[1]:
        raise InputError(f"{name} = {pair}: must be [least, most] with {low:g} ≤ least ≤ most")


def scaled_gpus(gpus: Array, hours: Array, work_gpu_h: float, largest: float) -> Array:
    """Whole servers of 8 GPUs, in the trace's proportions up to `largest`, that add up to the work wanted."""
    if (most := largest * float(hours.sum())) < work_gpu_h:
        raise InputError(
            f"gpu_hours_share: {len(gpus)} jobs of at most {largest:g} GPUs ask for at most {most:.0f} of the "
            f"{work_gpu_h:.0f} GPU-hours wanted; take more days, or lower it"
        )
    low, high = 0.0, largest / gpus.min()
    for _ in range(60):
        factor = (low + high) / 2
        size = np.minimum(gpus * factor, largest)
        low, high = (factor, high) if (size * hours).sum() < work_gpu_h else (low, factor)
    return np.maximum(np.floor(np.minimum(gpus * high, largest) / SERVER), 1.0) * SERVER


def spread_homes(work: Array, gpus: Array, capacity: Array) -> Array:
    """Home of each job, (job,): the largest work first, each to the site with the least work per GPU that fits it."""
    home, load = np.zeros(len(work), dtype=int), np.zeros(len(capacity))
    for j in np.argsort(-work, kind="stable"):
        after = np.where(capacity >= gpus[j], (load + work[j]) / np.maximum(capacity, 1e-9), np.inf)
        home[j] = int(np.argmin(after))
        if not np.isfinite(after[home[j]]):
            raise InputError(f"a job of {gpus[j]:g} GPUs fits no site; the largest always has {capacity.max():g} GPUs")
        load[home[j]] += work[j]
    return home


def choose_sites(
    home: Array, gpus: Array, capacity: Array, count: int, rule: str, km: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """(job, site) of each candidate, home first, then `count` - 1 others that fit the job."""
    pairs: list[tuple[int, int]] = []
    for j, h in enumerate(home):
        others = np.flatnonzero((capacity >= gpus[j]) & (np.arange(len(capacity)) != h))
        order = rng.permutation(others) if rule == "random" else others[np.argsort(km[h, others], kind="stable")]
        pairs += [(j, int(h))] + [(j, int(s)) for s in order[: count - 1]]
    job, site = np.array(pairs).T
    return job, site


def build_pools(spec: Spec, pools: Pools, trace: Trace, capacity: Array) -> tuple[dict[str, Any], dict[str, Any]]:
    """One pool per virtual cluster from its small jobs; it may run from the first submission to the end."""
    sites, horizon = spec.sites, spec.horizon
    small = trace.take(np.flatnonzero(trace.gpus <= pools.max_gpus))
    if not len(small.name):
        raise InputError(f"no job of at most {pools.max_gpus} GPUs on these days")
    if not pools.sites or min(pools.sites) < 1:
        raise InputError(f"sites = {pools.sites}: must be one or more whole numbers of at least 1")
    period_h, n = horizon.period_min / 60, horizon.periods
    groups = sorted(set(small.group.tolist()))
    gpu_h = small.gpus * np.minimum(small.hours, pools.max_h)
    raw = np.array([gpu_h[small.group == g].sum() for g in groups])
    work = raw * pools.gpu_hours_share * float(capacity.sum()) * period_h / raw.sum()
    start = [min(int(small.submit_h[small.group == g].min() / period_h), n - 1) for g in groups]
    km, least = great_circle_km(sites, sites), capacity.min(axis=1)
    arcs, load = [], np.zeros(len(sites))
    for p in np.argsort(-work, kind="stable"):
        used = min(pools.sites[p % len(pools.sites)], len(sites))
        first = int(np.argmin((load + work[p] / used) / np.maximum(least, 1e-9)))
        chosen = np.argsort(km[first], kind="stable")[:used]
        load[chosen] += work[p] / used
        even = work[p] / ((n - start[p]) * period_h * used)
        arcs += [(int(p), int(s), min(pools.rate_factor * even, float(least[s]))) for s in chosen]
    pool, site, rate = (np.array(c) for c in zip(*sorted(arcs), strict=True))
    table = dict(
        name=[f"small jobs {g}" for g in groups],
        work_gpu_h=work,
        start=start,
        end=np.full(len(groups), n),
        shortfall_penalty=np.full(len(groups), pools.shortfall_penalty),
    )
    return table, dict(pool=pool, site=site, rate_gpu=rate)
