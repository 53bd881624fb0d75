"""From prices of load to prices of the work itself, and the MILP of a site or block that decides its work at them.

Prices of load dualise each site's load balance. Prices of streams, jobs and pools dualise the rows (C1), (C2), (C4)
instead: the work is then in the sites' problems, whose integers strengthen the bound (Dantzig-Wolfe by site).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from decomp.bound import job_kernels
from decomp.bound.coupling import Coupling
from decomp.bound.lagrangian import DualPoint
from decomp.bound.packing import Packing, Runs, add_packing
from decomp.lp.block import Block, Model
from decomp.model.instance import Array, Instance, Microgrids
from decomp.site.equations import add_site


@dataclass(frozen=True)
class WorkPrices:
    """Multipliers of the coupling rows.

    Attributes
    ----------
    stream : (D, T) USD per GPU and period. pool : (P,) USD per GPU and period. job : (J,) USD. carbon : USD/t.
    """

    stream: Array
    job: Array
    pool: Array
    carbon: float

    def terms(self, c: Coupling) -> float:
        """What the dualised rows add to the sites' lower bounds, USD: multipliers times right-hand sides."""
        paid = np.where(c.jobs.optional, np.minimum(self.job, 0.0), self.job)
        total = float((c.streams.demand * self.stream).sum() + paid.sum() + (c.pools.work * self.pool).sum())
        return total - (self.carbon * c.budget if self.carbon > 0 else 0.0)


def translate(c: Coupling, point: DualPoint) -> tuple[WorkPrices, Array]:
    """Prices of work that prove the same bound as prices of load, and the sites' lower bounds (S,) at them, USD.

    A unit of work is priced at its cheapest place: load price plus cost there. No place then has a negative reduced
    cost, except those of a pool that are cheaper than its marginal one: their site's lower bound falls by as much.
    """
    price, lower = point.price, point.site_lower.copy()
    stream = np.repeat(c.streams.unserved[:, None], price.shape[1], axis=1)
    owner = np.repeat(np.arange(len(stream)), np.diff(c.streams.ptr))
    np.minimum.at(stream, owner, c.streams.cost[:, None] + price[c.streams.site])
    job = job_kernels.cheapest_runs(c.summed(price), c.jobs)[0]
    job = np.where(c.jobs.optional, np.minimum(job, 0.0), job)
    pool = np.zeros(len(c.pools.work))
    for p in range(len(pool)):
        arcs = slice(c.pools.ptr[p], c.pools.ptr[p + 1])
        site, rate = c.pools.site[arcs], c.pools.rate[arcs]
        places = price[site, c.pools.start[p] : c.pools.end[p]]
        pool[p] = _level(places, rate, c.pools.work[p], c.pools.penalty[p])
        np.add.at(lower, site, rate * np.minimum(places - pool[p], 0.0).sum(axis=1))
    leave_to_its_site(c, stream, job, lower)
    return WorkPrices(stream, job, pool, point.carbon_price), lower


def leave_to_its_site(c: Coupling, stream: Array, job: Array, lower: Array) -> None:
    """Price work with a single place at the cost of leaving it undone, so that its site alone decides on it.

    In place: `stream`, `job` rise; by as much times the work, `lower` of the site falls. A mandatory job keeps its
    price, since its site has to run it.
    """
    stream_home, job_home, _ = c.homes
    own = np.flatnonzero(stream_home >= 0)
    rise = c.streams.unserved[own, None] - stream[own]
    np.add.at(lower, stream_home[own], -(rise * c.streams.demand[own]).sum(axis=1))
    stream[own] += rise
    own = np.flatnonzero((job_home >= 0) & c.jobs.optional)
    np.add.at(lower, job_home[own], job[own])
    job[own] = 0.0


def _level(places: Array, rate: Array, work: float, penalty: float) -> float:
    """Marginal price of a pool, USD per GPU and period: its work fills places (arc, period) by rising price."""
    order = np.argsort(places, axis=None)
    filled = np.cumsum(np.broadcast_to(rate[:, None], places.shape).ravel()[order])
    last = int(np.searchsorted(filled, work * (1.0 - 1e-9)))
    if last < len(order):
        return min(float(places.ravel()[order[last]]), penalty)
    return penalty if np.isfinite(penalty) else float(places.max(initial=0.0))


@dataclass(frozen=True)
class SiteWork:
    """One site with the work it may take at given prices; picklable.

    Attributes
    ----------
    grids : this site alone. period_h : hours. carbon_price : USD/t, all in.
    fluid_most, fluid_cost (a, T) : streams' and pools' work, GPU and reduced cost in USD per GPU and period.
    stream (a,) : number of the stream, -1 for a pool.
    job, run, start, length, gpus, cost (r,) : possible runs: number of the job, row of the candidate, periods, GPU,
        reduced cost in USD.
    must (r,) : whether the job is mandatory and can run nowhere else.
    """

    grids: Microgrids
    period_h: float
    carbon_price: float
    fluid_most: Array
    fluid_cost: Array
    stream: Array
    job: Array
    run: Array
    start: Array
    length: Array
    gpus: Array
    cost: Array
    must: Array

    @property
    def runs(self) -> Runs:
        """What the runs take of the site's capacity."""
        return Runs(self.job, self.start, self.length, self.gpus, self.grids.sites.capacity_gpu[0])


def site_works(instance: Instance, c: Coupling, prices: WorkPrices) -> list[SiteWork]:
    """Every site with the work it may take at the prices, in site order."""
    rows = [_by_site(site, instance.n_sites) for site in (c.streams.site, c.jobs.site, c.pools.site)]
    owners = [np.repeat(np.arange(len(ptr) - 1), np.diff(ptr)) for ptr in (c.streams.ptr, c.jobs.ptr, c.pools.ptr)]
    works, must = [], ~c.jobs.optional & (c.homes[1] >= 0)
    grids = replace(instance.microgrids, sites=replace(instance.sites, capacity_gpu=c.capacity))
    for i, (arcs, candidates, pool_arcs) in enumerate(zip(*rows, strict=True)):
        stream, pool = owners[0][arcs], owners[2][pool_arcs]
        most, cost = _fluid(instance.n_periods, c, prices, (arcs, stream), (pool_arcs, pool))
        starts = [np.flatnonzero(c.jobs.allowed[c.jobs.first[k] : c.jobs.first[k + 1]]) for k in candidates]
        k = np.repeat(candidates, [len(s) for s in starts])
        j = owners[1][k]
        works.append(
            SiteWork(
                grids=grids.take(np.array([i])),
                period_h=instance.period_h,
                carbon_price=instance.carbon_price_usd_per_t + prices.carbon,
                fluid_most=most,
                fluid_cost=cost,
                stream=np.append(stream, np.full(len(pool), -1)),
                job=j,
                run=k,
                start=c.jobs.release[j] + np.concatenate([np.zeros(0, dtype=int), *starts]),
                length=c.jobs.length[j],
                gpus=c.jobs.gpus[j],
                cost=c.jobs.cost[k] - prices.job[j],
                must=must[j],
            )
        )
    return works


def _fluid(
    n: int, c: Coupling, prices: WorkPrices, streams: tuple[Array, Array], pools: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Upper bounds (GPU) and reduced costs (USD per GPU and period) of a site's arcs and pool arcs, (a, T) each.

    `streams`, `pools` : rows of the arcs, and the stream or pool of each.
    """
    (arcs, stream), (pool_arcs, pool) = streams, pools
    period = np.arange(n)
    inside = (period >= c.pools.start[pool, None]) & (period < c.pools.end[pool, None])
    rate = np.where(inside, c.pools.rate[pool_arcs, None], 0.0)
    paid = np.broadcast_to(prices.pool[pool, None], rate.shape)
    most = np.concatenate([c.streams.demand[stream], rate])
    return most, np.concatenate([c.streams.cost[arcs, None] - prices.stream[stream], -paid])


def _by_site(site: Array, n_sites: int) -> list[Array]:
    """The rows of each site."""
    order = np.argsort(site, kind="stable")
    return np.split(order, np.searchsorted(site[order], np.arange(1, n_sites)))


def site_with_work(work: SiteWork, *beside: SiteWork, packed: Sequence[Packing] = ()) -> Model:
    """The MILP of a site, or of a block of sites, that chooses its work; costs include the carbon price.

    `packed` : of each site, the periods whose jobs are in the convex hull of the sets that fit; default: none.
    """
    model = work_block((work, *beside), packed).finish()
    return replace(model, cost=model.cost + work.carbon_price * model.emission)


def work_block(works: Sequence[SiteWork], packed: Sequence[Packing] = ()) -> Block:
    """Sites that choose their work, without the cost of carbon.

    The binaries of (5) and (6) are relaxed: they hardly raise the bound and double the time. Among several sites a
    stream is served once, by rows "streams" (stream, T), -1 for none, in the order of the streams' numbers; and a job
    runs once, by rows "once" in the order of the jobs'. A mandatory job without another place has to run.
    """
    block, fluid, runs = Block(), [], []
    for work in works:
        add_site(block, work.grids, 0, work.period_h, relaxed=True)
        link = block.add_rows(0.0, 0.0, (-1.0, block.columns["load"]))
        fluid.append(_add_fluid(block, work, link, len(works) > 1))
        runs.append(_add_runs(block, work, link))
    if len(works) > 1:
        _share_streams(block, works, fluid)
    jobs, first, number = np.unique(np.concatenate([w.job for w in works]), return_index=True, return_inverse=True)
    run = np.concatenate(runs)
    if len(jobs):
        least = np.where(np.concatenate([w.must for w in works])[first], 1.0, -np.inf)
        block.rows["once"] = block.add_rows(least, 1.0, (0.0, np.repeat(run[:1], len(jobs))))
        block.add_entries(block.rows["once"][number], run, 1.0)
    for work, columns, packing in zip(works, runs, packed, strict=False):
        add_packing(block, work.runs, columns, packing)
    return block


def _add_runs(block: Block, work: SiteWork, link: Array) -> Array:
    """Add a binary for every run of a job and its load; the columns (r,)."""
    run = block.add_columns("run", len(work.job), 0.0, 1.0, work.cost, integer=True)
    column = np.repeat(np.arange(len(run)), work.length)
    since = np.arange(len(column)) - np.repeat(np.cumsum(work.length) - work.length, work.length)
    block.add_entries(link[work.start[column] + since], run[column], work.gpus[column])
    return run


def _add_fluid(block: Block, work: SiteWork, link: Array, shared: bool) -> Array:
    """Add the load of streams and pools; the column of every (arc, period), (a, T), -1: none.

    Of a site alone only the cheapest work of a period, as much as fills the site, has columns: the rest is dominated.
    """
    capacity = work.grids.sites.capacity_gpu[0]
    width = np.minimum(work.fluid_most, capacity)
    if not shared:
        order = np.argsort(work.fluid_cost, axis=0, kind="stable")
        most = np.take_along_axis(work.fluid_most, order, axis=0)
        np.put_along_axis(width, order, np.clip(capacity - (np.cumsum(most, axis=0) - most), 0.0, most), axis=0)
    place, period = np.nonzero(width)
    columns = np.full(width.shape, -1)
    cost = work.fluid_cost[place, period]
    columns[place, period] = block.add_columns("fluid", len(period), 0.0, width[place, period], cost)
    block.add_entries(link[period], columns[place, period], 1.0)
    return columns


def _share_streams(block: Block, works: Sequence[SiteWork], fluid: list[Array]) -> None:
    """Add rows: the sites of a block together serve no stream beyond its demand in any period."""
    stream = np.concatenate([w.stream for w in works])
    most, columns = np.concatenate([w.fluid_most for w in works]), np.concatenate(fluid)
    shared = [np.zeros((0, most.shape[1]), dtype=int)]
    for d in np.unique(stream[stream >= 0]):
        arcs = np.flatnonzero(stream == d)
        demand = most[arcs[0]]
        some = columns[arcs].max(axis=0) >= 0
        rows = np.full(len(demand), -1)
        rows[some] = block.add_rows(-np.inf, demand[some], (0.0, columns[arcs].max(axis=0)[some]))
        for column in columns[arcs]:
            at = column >= 0
            block.add_entries(rows[at], column[at], 1.0)
        shared.append(rows[None])
    block.rows["streams"] = np.concatenate(shared)
