"""Some sites of a fleet as an instance of their own, everything else held where a schedule has it.

A part has the sites' own work only: what a stream or pool is given elsewhere stays there, jobs that run
elsewhere too, and the emissions of the other sites are taken off the budget. So any schedule of the part
completes the rest to one of the fleet, and its cost differs from the fleet's by a constant. Where excess
is priced, what the others emit may leave a budget below zero. Of a fleet with its scenarios side by side a part has
its sites in several of them, or sites in one: then it has no scenarios. In all but all its jobs have to stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decomp.model.accounts import emissions_t
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.model.scenarios import plain


@dataclass(frozen=True, eq=False)
class SubInstance:
    """A sub-instance, and the rows of the whole that its rows are: one array per dimension, and one for places."""

    instance: Instance
    rows: dict[str, Array]

    def own(self, whole: Schedule) -> Schedule:
        """The part's own piece of a schedule of the whole."""
        values = {f.name: getattr(whole, f.name)[self.rows[f.metadata["dims"][0]]] for f in whole.columns()}
        site = values["job_site"]
        return Schedule(**values | {"job_site": np.where(site >= 0, np.searchsorted(self.rows["place"], site), -1)})

    def merge(self, whole: Schedule, own: Schedule) -> Schedule:
        """A schedule of the whole with the part's own piece put in."""
        return merge_all(whole, [(self, own)])


def merge_all(whole: Schedule, pieces: Iterable[tuple[SubInstance, Schedule]]) -> Schedule:
    """A schedule of the whole with the pieces of several parts put in."""
    values = {f.name: np.array(getattr(whole, f.name)) for f in whole.columns()}
    for part, own in pieces:
        sites = np.append(part.rows["place"], -1)
        for f in own.columns():
            piece = sites[own.job_site] if f.name == "job_site" else getattr(own, f.name)
            values[f.name][part.rows[f.metadata["dims"][0]]] = piece
    return Schedule(**values)


def restrict(instance: Instance, schedule: Schedule, sites: Array, claimed: Array | None = None) -> SubInstance:
    """The part of the given sites (rows, ascending), with rejected jobs that could run there.

    `claimed` (J,) : which rejected jobs may be the part's; default: all.
    """
    inside, places = np.zeros(instance.n_sites, dtype=bool), np.zeros(instance.n_places, dtype=bool)
    inside[sites] = places[sites % instance.n_places] = True
    arcs, pool_arcs = inside[instance.arcs.site], inside[instance.pool_arcs.site]
    streams = _used(instance.arcs.stream[arcs], instance.n_streams)
    pools = _used(instance.pool_arcs.pool[pool_arcs], instance.n_pools)
    rejected = schedule.job_site < 0
    movable = np.where(rejected, True if claimed is None else claimed, places[schedule.job_site])
    candidates = places[instance.candidates.site] & movable[instance.candidates.job]
    jobs = _used(instance.candidates.job[candidates], instance.n_jobs)
    rows = dict(place=places, stream=streams, arc=arcs, job=jobs, candidate=candidates, pool=pools, pool_arc=pool_arcs)
    grids, own = instance.microgrids, np.flatnonzero(inside)

    elsewhere, others = np.zeros_like(instance.demand_gpu), ~arcs & streams[instance.arcs.stream]
    np.add.at(elsewhere, instance.arcs.stream[others], schedule.routed_gpu[others])
    demand = np.maximum(instance.demand_gpu - elsewhere, 0.0) / instance.streams.gpu_per_rps[:, None]
    done, others = np.zeros(instance.n_pools), ~pool_arcs & pools[instance.pool_arcs.pool]
    np.add.at(done, instance.pool_arcs.pool[others], instance.period_h * schedule.pool_gpu[others].sum(axis=1))
    work = np.maximum(instance.pools.work_gpu_h - done, 0.0)
    budget = _budget_left(instance, emissions_t(instance, schedule), inside)
    seen = np.unique(sites // instance.n_places)
    several = replace(instance, scenarios=instance.scenarios.take(seen)) if instance.copies > 1 else instance
    whole = several if len(seen) > 1 or instance.copies == 1 else plain(instance)
    part = replace(
        whole,
        **grids.take(own).tables(),
        streams=replace(instance.streams, demand_rps=demand).take(streams),
        arcs=_renumbered(instance.arcs.take(arcs), site=inside, stream=streams),
        jobs=instance.jobs.take(jobs),
        candidates=_renumbered(instance.candidates.take(candidates), site=places, job=jobs),
        pools=replace(instance.pools, work_gpu_h=work).take(pools),
        pool_arcs=_renumbered(instance.pool_arcs.take(pool_arcs), site=inside, pool=pools),
        carbon_budget_t=budget,
        risk_weight=0.0,  # a part plans for its expected cost
    )
    return SubInstance(part, grids.rows(own) | {name: np.flatnonzero(mask) for name, mask in rows.items()})


def _budget_left(instance: Instance, emissions: Array, inside: Array) -> float:
    """What the others leave of the budget, t; if every scenario keeps it, the least that is left in one of the part."""
    if not instance.budget_in_every:
        return instance.carbon_budget_t - float(emissions[~inside].sum())
    p, n = instance.scenarios.probability, instance.copies
    others = np.where(inside, 0.0, emissions).reshape(n, -1).sum(axis=1)
    seen = np.flatnonzero(inside.reshape(n, -1).any(axis=1))
    if len(seen) > 1:
        return float((instance.carbon_budget_t - others / p)[seen].min())
    [s] = seen
    return float(p[s] * instance.carbon_budget_t - others[s])


def around(instance: Instance, sites: Array, size: int, among: Array | None = None) -> Array:
    """The sites and those that share most work with them, `size` in all if there are so many (`among`: a mask).

    Of several scenarios the first stands for all: each site has the same neighbours in each.
    """
    ties = np.zeros(instance.n_sites)
    for owner, place in (
        (instance.candidates.job, instance.candidates.site),
        (instance.pool_arcs.pool, instance.pool_arcs.site),
        (instance.arcs.stream, instance.arcs.site),
    ):
        shared = np.isin(owner, owner[np.isin(place, sites)])
        ties += np.bincount(place[shared], minlength=len(ties))
    ties[sites] = np.inf
    if among is not None:
        ties[~among] = -1.0
        size = min(size, int(among.sum()))
    return np.sort(np.argsort(-ties, kind="stable")[:size])


def _used(members: Array, n: int) -> Array:
    """Which of n rows occur among the members."""
    mask = np.zeros(n, dtype=bool)
    mask[members] = True
    return mask


def _renumbered(table: Any, **kept: Array) -> Any:
    """A table whose references count only the kept rows."""
    return replace(table, **{name: (np.cumsum(mask) - 1)[getattr(table, name)] for name, mask in kept.items()})
