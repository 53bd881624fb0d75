"""Groups of sites as one linear program: what is held, what is free, and the schedule it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from decomp.lp.block import Block, Model
from decomp.model.accounts import emissions_t, load_gpu
from decomp.model.devices import variable_site
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.model.rounding import with_exact_fits
from decomp.schedule.incumbent import dispatch_fields, turn
from decomp.schedule.subinstance import SubInstance, around, restrict
from decomp.site.equations import add_allowance, add_site


@dataclass(frozen=True, eq=False)
class GroupTask:
    """A part of a fleet with its piece of the schedule, ready to travel."""

    instance: Instance
    schedule: Schedule


class GroupAnswer(NamedTuple):
    """The group's part of a cheaper schedule (None: none found), and whether the clock ended the search for it."""

    schedule: Schedule | None
    late: bool


def groups(instance: Instance, size: int) -> list[Array]:
    """Disjoint groups of at most `size` sites that share work, which cover the fleet, each in one scenario."""
    n, found = instance.n_places, []
    left = np.arange(instance.n_sites) < n
    for i in range(n):
        if left[i]:
            found.append(around(instance, np.array([i]), size, left))
            left[found[-1]] = False
    return [sites + n * s for s in range(instance.copies) for sites in found]


def share_out(instance: Instance, schedule: Schedule, parts: list[SubInstance]) -> list[GroupTask]:
    """Tasks that may be done at the same time: each unserved stream and short pool is one part's.

    What is left of the budget, or overshoots it, is shared by all parts alike.
    """
    emissions = emissions_t(instance, schedule)
    free_streams, free_pools = np.ones(instance.n_streams, dtype=bool), np.ones(instance.n_pools, dtype=bool)
    tasks = []
    for part in parts:
        kept = _kept_back(instance, emissions, part, len(parts))
        own, streams, pools = part.own(schedule), part.instance.streams, part.instance.pools
        others = np.where(free_streams[part.rows["stream"]], 0.0, own.unserved_gpu.T).T
        short = np.where(free_pools[part.rows["pool"]], 0.0, own.pool_shortfall_gpu_h)
        free_streams[part.rows["stream"]] = free_pools[part.rows["pool"]] = False
        demand = np.maximum(part.instance.demand_gpu - others, 0.0) / streams.gpu_per_rps[:, None]
        mine = replace(
            part.instance,
            streams=replace(streams, demand_rps=demand),
            pools=replace(pools, work_gpu_h=np.maximum(pools.work_gpu_h - short, 0.0)),
            carbon_budget_t=part.instance.carbon_budget_t - kept,
        )
        tasks.append(GroupTask(mine, own))
    return tasks


def by_scenario(instance: Instance, schedule: Schedule) -> list[tuple[SubInstance, GroupTask]]:
    """The fleet in each of its scenarios, as tasks that may be done at the same time; without scenarios, as it is."""
    n = instance.n_places
    if instance.copies == 1:
        rows = {name: np.arange(size) for name, size in instance.sizes.items()} | dict(place=np.arange(n))
        return [(SubInstance(instance, rows), GroupTask(instance, schedule))]
    parts = [restrict(instance, schedule, np.arange(n) + n * s) for s in range(instance.copies)]
    return list(zip(parts, share_out(instance, schedule, parts), strict=True))


def _kept_back(instance: Instance, emissions: Array, part: SubInstance, n_parts: int) -> float:
    """What a part leaves to others of what the schedule leaves of the budget, t (<0: has to make good)."""
    sites, p = part.rows["site"], instance.scenarios.probability
    if not instance.budget_in_every:
        spare = instance.carbon_budget_t - float(emissions.sum())
    else:
        left = p * instance.carbon_budget_t - emissions.reshape(len(p), -1).sum(axis=1)
        own = np.unique(sites // instance.n_places)
        n_parts = n_parts * len(own) // len(p)  # those of other scenarios have budgets of their own
        spare = float((left / (p if len(own) > 1 else 1.0))[own].min())
    return spare * (1.0 - 1.0 / n_parts) if np.isfinite(spare) else 0.0


def side_by_side(instance: Instance, jobs: Array) -> tuple[Block, list[Array]]:
    """All sites beside the load of jobs, (S, T) GPU; and the rows (T,) that carry the load of each site."""
    block, links, instance = Block(), [], with_exact_fits(instance)
    for i in range(instance.n_sites):
        add_site(block, instance.microgrids, i, instance.period_h, f"s{i}_")
        links.append(block.add_rows(jobs[i], jobs[i], (1.0, block.columns[f"s{i}_load"])))
    if np.isfinite(instance.carbon_budget_t):
        add_allowance(block, instance.carbon_budget_t, instance.carbon_excess_usd_per_t)
    _add_streams(block, instance, links)
    _add_pools(block, instance, links)
    return block, links


def held(instance: Instance, model: Model, values: Iterable[tuple[str, Array]]) -> Model:
    """The model at the price of carbon, with variables held as in `hold`."""
    return hold(replace(model, cost=model.cost + instance.carbon_price_usd_per_t * model.emission), values)


def hold(model: Model, values: Iterable[tuple[str, Array]]) -> Model:
    """The model with variables held, by name, but where the value is NaN."""
    low, high = model.low.copy(), model.high.copy()
    for name, value in values:
        known = ~np.isnan(value)
        columns = model.columns[name][known]
        low[columns] = high[columns] = value[known]
    return replace(model, low=low, high=high)


def _add_streams(block: Block, instance: Instance, links: list[Array]) -> None:
    """(C1): demand is routed over the arcs or stays unserved."""
    n, dt, arcs, streams = instance.n_periods, instance.period_h, instance.arcs, instance.streams
    demand, rows = instance.demand_gpu, []
    for d, penalty in enumerate(streams.unserved_penalty):
        unserved = block.add_columns(f"unserved{d}", n, 0.0, demand[d], dt * penalty)
        rows.append(block.add_rows(demand[d], demand[d], (1.0, unserved)))
    for a, (d, i) in enumerate(zip(arcs.stream, arcs.site, strict=True)):
        routed = block.add_columns(f"routed{a}", n, 0.0, demand[d], dt * (arcs.cost[a] - streams.revenue[d]))
        block.add_entries(rows[d], routed, 1.0)
        block.add_entries(links[i], routed, -1.0)


def _add_pools(block: Block, instance: Instance, links: list[Array]) -> None:
    """(C4): a pool's work is done within its window, or falls short where it may."""
    n, dt, pools = instance.n_periods, instance.period_h, instance.pools
    period, rows = np.arange(n), []
    for p, (work, penalty) in enumerate(zip(pools.work_gpu_h, pools.shortfall_penalty, strict=True)):
        soft = np.isfinite(penalty)
        short = block.add_columns(f"short{p}", 1, 0.0, work if soft else 0.0, penalty if soft else 0.0)
        rows.append(block.add_rows(work, work, (1.0, short)))
    for k, (p, i) in enumerate(zip(instance.pool_arcs.pool, instance.pool_arcs.site, strict=True)):
        inside = (period >= pools.start[p]) & (period < pools.end[p])
        load = block.add_columns(f"pool{k}", n, 0.0, np.where(inside, instance.pool_arcs.rate_gpu[k], 0.0))
        block.add_entries(np.repeat(rows[p], n), load, dt)
        block.add_entries(links[i], load, -1.0)


def fixed_integers(instance: Instance, schedule: Schedule) -> Iterator[tuple[str, Array]]:
    """Names of all integer variables but for jobs, and where the schedule has them."""
    yield from commitments(instance, schedule)
    yield from _segments(instance, schedule)


def commitments(instance: Instance, schedule: Schedule) -> Iterator[tuple[str, Array]]:
    """Names of the integers of generators (with their changes) and devices, and where the schedule has them."""
    sites = instance.generators.site
    for g, i in enumerate(sites):
        on, k = schedule.generator_on[g].astype(float), turn(sites, g)
        change = np.diff(on, prepend=float(instance.generators.initial_mw[g] > 0))
        yield f"s{i}_g{k}_on", on
        yield f"s{i}_g{k}_start", np.maximum(change, 0.0)
        yield f"s{i}_g{k}_stop", np.maximum(-change, 0.0)
    site, whole = variable_site(instance), np.where(instance.device_variables.integer, schedule.device_value, np.nan)
    for i in np.unique(site):
        yield f"s{i}_device", whole[site == i]


def _segments(instance: Instance, schedule: Schedule) -> Iterator[tuple[str, Array]]:
    """The same for the segments of exact power curves."""
    power = instance.sites.segments_mw(load_gpu(instance, schedule))
    highest = power.argmax(axis=0)
    for i in np.flatnonzero(instance.sites.exact_power_curve):
        for m in range(len(power)):
            yield f"s{i}_segment{m}", (highest[i] == m).astype(float)


def schedule_of(task: GroupTask, model: Model, x: Array) -> Schedule:
    """The point as a schedule; buying and selling at once, where it costs nothing, cancels."""
    instance, now = task.instance, task.schedule
    n = instance.n_periods
    values = {name: x[columns] for name, columns in model.columns.items()}

    def rows(count: int, name: str) -> Array:
        return np.array([values.get(name.format(k), np.zeros(n)) for k in range(count)]).reshape(count, n)

    own: list[dict[str, Array]] = [{} for _ in range(instance.n_sites)]
    for name, x_of in values.items():
        site, _, variable = name.partition("_")
        if variable and site[1:].isdigit():
            own[int(site[1:])][variable] = x_of
    dispatch = dispatch_fields(instance, own)
    both = np.minimum(dispatch["import_mw"], dispatch["export_mw"])
    dispatch |= dict(import_mw=dispatch["import_mw"] - both, export_mw=dispatch["export_mw"] - both)
    return replace(
        now,
        routed_gpu=rows(len(instance.arcs.site), "routed{}"),
        unserved_gpu=rows(instance.n_streams, "unserved{}"),
        pool_gpu=rows(len(instance.pool_arcs.site), "pool{}"),
        pool_shortfall_gpu_h=np.array([values[f"short{p}"][0] for p in range(instance.n_pools)]),
        **dispatch,
    )
