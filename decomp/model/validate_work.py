"""Refusal of work that cannot be done: streams, jobs and pools, and the sites at which they may run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from decomp.model.instance import Instance
from decomp.model.records import Arcs, Candidates, Jobs, PoolArcs, Pools, Streams
from decomp.model.refusal import (
    Label,
    check_columns,
    check_index,
    check_names,
    named,
    refuse,
    repeated,
)
from decomp.model.rounding import fits, possible_work
from decomp.model.table import Array, InputError

WORK = ("streams", "arcs", "jobs", "candidates", "pools", "pool_arcs")


def validate_work(instance: Instance) -> None:
    """Check streams, jobs and pools, whose shapes are right."""
    if instance.n_sites == 0:
        raise InputError("sites: there is no site, must be at least one")
    tables, sizes = {name: getattr(instance, name) for name in WORK}, instance.sizes
    site, capacity_gpu = named("site", instance.sites.name), instance.sites.capacity_gpu
    check_names("sites", "site", instance.sites.name)
    owners = dict(arcs=("streams", "stream"), candidates=("jobs", "job"), pool_arcs=("pools", "pool"))
    for links, (name, kind) in owners.items():
        owner = named(kind, tables[name].name)
        check_columns(name, tables[name], owner)
        check_names(name, kind, tables[name].name)
        _check_links(links, tables[links], kind, owner, site, sizes)
    _check_streams(tables["streams"], tables["arcs"], site)
    check_jobs(tables["jobs"], tables["candidates"], capacity_gpu)
    check_pools(tables["pools"], tables["pool_arcs"], capacity_gpu, instance.period_h)


def _check_links(name: str, table: Any, kind: str, owner: Label, site: Label, sizes: Mapping[str, int]) -> None:
    """Arcs, candidates, pool arcs: indexes in range, no pair twice, every stream, job and pool has a site."""
    row, first = table.columns()[0].metadata["dims"][0], getattr(table, kind)
    check_index(name, table, row, kind, sizes[kind])
    check_index(name, table, row, "site", sizes["site"])
    label: Label = lambda k: f"{row} {k} ({owner(first[k])} at {site(table.site[k])})"  # noqa: E731
    check_columns(name, table, label)
    lonely = np.bincount(first, minlength=sizes[kind]) == 0
    refuse(lonely, f"{kind}s", owner, f"has no site, must have at least one row in {name}")
    refuse(repeated(first * sizes["site"] + table.site), name, label, "this pair is listed twice")


def _check_streams(streams: Streams, arcs: Arcs, site: Label) -> None:
    total, limit = arcs.round_trip_ms + streams.service_ms[arcs.stream], streams.latency_limit_ms[arcs.stream]
    refuse(
        ~fits(total, limit),
        "arcs.round_trip_ms",
        lambda k: f"arc {k} (stream {str(streams.name[arcs.stream[k]])!r} at {site(arcs.site[k])})",
        "round trip plus service take {total:g} ms, must be at most latency_limit_ms = {limit:g} ms",
        total=total,
        limit=limit,
    )


def check_jobs(jobs: Jobs, candidates: Candidates, capacity_gpu: Array) -> None:
    """Windows are long enough and end in time; a mandatory job fits somewhere (C2)."""
    job, horizon = named("job", jobs.name), capacity_gpu.shape[1]
    text = f"{{deadline}}, must be at most {horizon}, the number of periods"
    refuse(jobs.deadline > horizon, "jobs.deadline", job, text, deadline=jobs.deadline)
    bad = jobs.release + jobs.periods > jobs.deadline
    text = "{deadline}, must be at least release + periods = {release} + {periods}"
    refuse(bad, "jobs.deadline", job, text, deadline=jobs.deadline, release=jobs.release, periods=jobs.periods)
    rows = np.flatnonzero(jobs.mandatory[candidates.job])
    k, i = candidates.job[rows], candidates.site[rows]
    run, longest = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for t in range(horizon):
        usable = (t >= jobs.release[k]) & (t < jobs.deadline[k]) & fits(jobs.gpus[k], capacity_gpu[i, t])
        run = (run + 1) * usable
        np.maximum(longest, run, out=longest)
    placed = np.zeros(len(jobs.name), dtype=bool)
    placed[k[longest >= jobs.periods[k]]] = True
    text = "mandatory, but no candidate site has {gpus:g} GPU for {periods} periods between release and deadline"
    refuse(jobs.mandatory & ~placed, "jobs.gpus", job, text, gpus=jobs.gpus, periods=jobs.periods)


def check_pools(pools: Pools, arcs: PoolArcs, capacity_gpu: Array, period_h: float) -> None:
    """Windows lie in the horizon; work that must be done can be done at the given rates (C4)."""
    pool, horizon = named("pool", pools.name), capacity_gpu.shape[1]
    text = f"{{end}}, must be at most {horizon}, the number of periods"
    refuse(pools.end > horizon, "pools.end", pool, text, end=pools.end)
    text = "{end}, must be after start = {start}"
    refuse(pools.end <= pools.start, "pools.end", pool, text, end=pools.end, start=pools.start)
    most = possible_work(pools, arcs, capacity_gpu, period_h)
    bad = np.isinf(pools.shortfall_penalty) & ~fits(pools.work_gpu_h, most)
    text = "{work:g} GPU h must be done, but its rates and the sites' capacity allow {most:g} GPU h"
    refuse(bad, "pools.work_gpu_h", pool, text, work=pools.work_gpu_h, most=most)
