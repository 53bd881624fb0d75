"""The MILP bound: load prices translated to prices of the work itself, each site solved with its jobs inside.

Prices on load see jobs and generators through their linear relaxation. Priced on demand, jobs and pools, the
work is the sites' to choose; a site's problem then has integers, and what a MIP solver proves of it counts.
Work with one place only is priced so that its site decides alone: where sites share nothing, that is their optimum.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import highspy
import numpy as np

from decomp import kernels
from decomp.blocks import Block, Model, add_site
from decomp.coupling import REJECTED, Coupling
from decomp.crew import Crew
from decomp.instance import Array, Generators, Instance, Sites
from decomp.lagrangian import DualPoint
from decomp.master import Fixing
from decomp.options import MilpBound
from decomp.result import Dual
from decomp.site import Effort, safe_bound, to_highs

FRACTIONAL = 1e-6
HUGE = 10.0  # times the median size of a site's relaxation, from which it is started first
ABS_GAP = 1e-6  # USD, the least that is asked of a MILP


@dataclass(frozen=True)
class WorkPrices:
    """Prices of the coupling rows: stream (D, T), pool (P,) USD per GPU and period, job (J,) USD, carbon USD/t."""

    stream: Array
    job: Array
    pool: Array
    carbon: float

    def terms(self, c: Coupling) -> float:
        """What the coupling rows add to the sites' lower bounds, USD."""
        paid = np.where(c.jobs.optional, np.minimum(self.job, 0.0), self.job)
        total = float((c.streams.demand * self.stream).sum() + paid.sum() + (c.pools.work * self.pool).sum())
        return total - (self.carbon * c.budget if self.carbon > 0 else 0.0)


def translate(c: Coupling, point: DualPoint) -> tuple[WorkPrices, Array]:
    """Every unit of work at the price of its cheapest place, and what that proves of each site, (S,) USD.

    No site finds work that pays better than its load does, save the places that are cheaper than the last one a
    pool needs: with those subtracted, the sites' lower bounds are still bounds, and the sum is what it was.
    """
    price, lower = point.price, point.site_lower.copy()
    stream = np.repeat(c.streams.unserved[:, None], price.shape[1], axis=1)
    owner = np.repeat(np.arange(len(stream)), np.diff(c.streams.ptr))
    np.minimum.at(stream, owner, c.streams.cost[:, None] + price[c.streams.site])
    job = kernels.cheapest_runs(price, c.jobs)[0]
    job = np.where(c.jobs.optional, np.minimum(job, 0.0), job)
    pool = np.zeros(len(c.pools.work))
    for p in range(len(pool)):
        arcs = slice(c.pools.ptr[p], c.pools.ptr[p + 1])
        site, rate = c.pools.site[arcs], c.pools.rate[arcs]
        places = price[site, c.pools.start[p] : c.pools.end[p]]
        pool[p] = _level(places, rate, c.pools.work[p], c.pools.penalty[p])
        np.add.at(lower, site, rate * np.minimum(places - pool[p], 0.0).sum(axis=1))
    _leave_to_its_site(c, price, stream, job, lower)
    return WorkPrices(stream, job, pool, point.carbon_price), lower


def _leave_to_its_site(c: Coupling, price: Array, stream: Array, job: Array, lower: Array) -> None:
    """Work with one place only pays what leaving it undone costs; what the prices rise by, its site loses at most."""
    stream_home, job_home, _ = c.homes
    own = np.flatnonzero(stream_home >= 0)
    rise = c.streams.unserved[own, None] - stream[own]
    np.add.at(lower, stream_home[own], -(rise * c.streams.demand[own]).sum(axis=1))
    stream[own] += rise
    own = np.flatnonzero(job_home >= 0)
    dear = job[own] + c.jobs.gpus[own] * c.jobs.length[own] * np.abs(price[job_home[own]]).max(axis=1)
    paid = np.where(c.jobs.optional[own], 0.0, dear)
    np.add.at(lower, job_home[own], job[own] - paid)
    job[own] = paid


def _level(places: Array, rate: Array, work: float, penalty: float) -> float:
    """Price at which places (arc, period) by rising price, each taking its arc's rate, have taken the work."""
    order = np.argsort(places, axis=None)
    filled = np.cumsum(np.broadcast_to(rate[:, None], places.shape).ravel()[order])
    last = int(np.searchsorted(filled, work * (1.0 - 1e-9)))
    if last < len(order):
        return min(float(places.ravel()[order[last]]), penalty)
    return penalty if np.isfinite(penalty) else float(places.max(initial=0.0))


@dataclass(frozen=True)
class SiteWork:
    """One site with the work it may take at given prices; ready to travel.

    Attributes
    ----------
    sites, generators : tables with this site alone. period_h : hours. carbon_price : USD/t, all in.
    fluid_most, fluid_cost (a, T) : streams' and pools' work, GPU and reduced cost in USD per GPU and period.
    job, run, start, length, gpus, cost (r,) : possible runs: number of the job, row of the candidate, periods, GPU,
        reduced cost in USD.
    """

    sites: Sites
    generators: Generators
    period_h: float
    carbon_price: float
    fluid_most: Array
    fluid_cost: Array
    job: Array
    run: Array
    start: Array
    length: Array
    gpus: Array
    cost: Array


def site_works(instance: Instance, c: Coupling, prices: WorkPrices) -> list[SiteWork]:
    """Every site with its work."""
    tables = (c.streams.site, c.jobs.site, c.pools.site, instance.generators.site)
    rows = [_by_site(site, instance.n_sites) for site in tables]
    owners = [np.repeat(np.arange(len(ptr) - 1), np.diff(ptr)) for ptr in (c.streams.ptr, c.jobs.ptr, c.pools.ptr)]
    works = []
    for i, (arcs, candidates, pool_arcs, own) in enumerate(zip(*rows, strict=True)):
        stream, pool = owners[0][arcs], owners[2][pool_arcs]
        most, cost = _fluid(instance.n_periods, c, prices, (arcs, stream), (pool_arcs, pool))
        starts = [np.flatnonzero(c.jobs.allowed[c.jobs.first[k] : c.jobs.first[k + 1]]) for k in candidates]
        k = np.repeat(candidates, [len(s) for s in starts])
        j = owners[1][k]
        works.append(
            SiteWork(
                sites=instance.sites.take(np.array([i])),
                generators=replace(instance.generators.take(own), site=np.zeros(len(own), dtype=int)),
                period_h=instance.period_h,
                carbon_price=instance.carbon_price_usd_per_t + prices.carbon,
                fluid_most=most,
                fluid_cost=cost,
                job=j,
                run=k,
                start=c.jobs.release[j] + np.concatenate([np.zeros(0, dtype=int), *starts]),
                length=c.jobs.length[j],
                gpus=c.jobs.gpus[j],
                cost=c.jobs.cost[k] - prices.job[j],
            )
        )
    return works


def _fluid(
    n: int, c: Coupling, prices: WorkPrices, streams: tuple[Array, Array], pools: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Most (GPU) and reduced cost of a site's arcs and pool arcs, each with its stream or pool, (a, T)."""
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


def build(work: SiteWork) -> Model:
    """The site's problem, its work inside; costs include the price of carbon.

    The bans (5) and (6) stay relaxed: they would bring hardly anything and double the time.
    """
    block = Block()
    add_site(block, work.sites, work.generators, 0, work.period_h, relaxed=True)
    link = block.add_rows(0.0, 0.0, (-1.0, block.columns["load"]))
    _add_fluid(block, work, link)
    if len(work.job):
        run = block.add_columns("run", len(work.job), 0.0, 1.0, work.cost, integer=True)
        column = np.repeat(np.arange(len(run)), work.length)
        since = np.arange(len(column)) - np.repeat(np.cumsum(work.length) - work.length, work.length)
        block.add_entries(link[work.start[column] + since], run[column], work.gpus[column])
        jobs, number = np.unique(work.job, return_inverse=True)
        once = block.add_rows(-np.inf, 1.0, (0.0, np.repeat(run[:1], len(jobs))))
        block.add_entries(once[number], run, 1.0)
    model = block.finish()
    return replace(model, cost=model.cost + work.carbon_price * model.emission)


def _add_fluid(block: Block, work: SiteWork, link: Array) -> None:
    """In every period the cheapest fluid work as far as it could fill the site; dearer work has no use there."""
    capacity = work.sites.capacity_gpu[0]
    order = np.argsort(work.fluid_cost, axis=0, kind="stable")
    cost, most = (np.take_along_axis(a, order, axis=0) for a in (work.fluid_cost, work.fluid_most))
    width = np.clip(capacity - (np.cumsum(most, axis=0) - most), 0.0, most)
    place, period = np.nonzero(width)
    fluid = block.add_columns("fluid", len(period), 0.0, width[place, period], cost[place, period])
    block.add_entries(link[period], fluid, 1.0)


def relax(work: SiteWork) -> tuple[float, float, float]:
    """Lower bound from the relaxation's duals, USD; money that passes through its fractional integers; its size.

    The size is pivots times rows: about the time it took, but the same in every run.
    """
    model = build(work)
    solver = to_highs(model)
    solver.run()
    solution = solver.getSolution()
    share, dual = np.array(solution.col_value)[model.integer], np.array(solution.row_dual)
    fractional = np.minimum(share - np.floor(share), np.ceil(share) - share)
    fractional[fractional < FRACTIONAL] = 0.0
    money = float(fractional @ (abs(model.matrix).T @ np.abs(dual))[model.integer])
    size = float(solver.getInfo().simplex_iteration_count) * len(dual)
    return safe_bound(model, model.cost, dual), money, size


@dataclass(frozen=True)
class MilpTask:
    """A site, how hard to try, and until when (seconds of the epoch: ranks share no other clock)."""

    work: SiteWork
    effort: Effort
    until: float


def solve_milp(task: MilpTask) -> tuple[float, bool, Array | None]:
    """Lower bound that HiGHS proves of the site's problem with its integers, USD; whether the clock ended it.

    If it did not: the runs of its best point as well, if there is one.
    """
    model = build(task.work)
    solver = to_highs(model, integer=model.integer)
    task.effort.until(task.until).apply(solver)
    status = solver.run()
    info, taken = solver.getInfo(), None
    late = solver.getModelStatus() == highspy.HighsModelStatus.kTimeLimit
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    if feasible and len(task.work.job) and not late:
        taken = np.flatnonzero(np.array(solver.getSolution().col_value)[model.columns["run"]] > 0.5)
    good = status != highspy.HighsStatus.kError and np.isfinite(info.mip_dual_bound)
    return float(info.mip_dual_bound) if good else -np.inf, late, taken


@dataclass(frozen=True)
class WorkProof:
    """Prices of work and what they prove: `bound` = sum of the sites' lower bounds (S,) + the rows' terms, USD.

    `taken` : of every site solved whose jobs can run nowhere else, the work and the rows of the runs that it chose.
    """

    prices: WorkPrices
    site_lower: Array
    bound: float
    solved: int
    taken: tuple[tuple[SiteWork, Array], ...] = ()

    def refixed(self, fixing: Fixing) -> Fixing:
        """The fixing with the choice of those sites in its place."""
        run, start = fixing.run.copy(), fixing.start.copy()
        for work, rows in self.taken:
            run[work.job], start[work.job] = REJECTED, -1
            run[work.job[rows]], start[work.job[rows]] = work.run[rows], work.start[rows]
        return Fixing(run, start)


def milp_bound(
    instance: Instance,
    c: Coupling,
    crew: Crew,
    point: DualPoint,
    options: MilpBound,
    seconds_left: float,
    spare: float = 0.0,
) -> WorkProof:
    """The bound at translated prices: every site's relaxation, then their MILPs, the most fractional money first.

    `spare` : what the sites' MILPs may leave open between them, USD.

    But before all others start sites of another size than the rest: one long MILP in the end keeps all ranks waiting.
    A site that fails or has no time left counts with what it proved before, at the same prices. Claimed is less than
    was proved, by the MILPs' gap: another solver may end its own proof at that; and of the smallest gains that
    together stay within `spare` nothing, so that none of them has to be proved again.
    """
    end = time.time() + seconds_left
    until = crew.team.clock() + seconds_left
    prices, lower = translate(c, point)
    works = site_works(instance, c, prices)
    relaxed = crew.farm(relax, works, until, "relaxations")
    lower = np.maximum(lower, [-np.inf if r is None else r[0] for r in relaxed])
    money = np.array([0.0 if r is None else r[1] for r in relaxed])
    size = np.array([0.0 if r is None else r[2] for r in relaxed])
    huge = size > HUGE * np.median(size)
    spare /= max(len(works), 1)
    order = np.lexsort((-money, -np.where(huge, size, 0.0)))
    order = order[money[order] > spare]
    effort = Effort(options.rel_gap, options.site_nodes, options.site_seconds, max(spare, ABS_GAP))
    tasks = [MilpTask(works[i], effort, end) for i in order]
    proved = crew.farm(solve_milp, tasks, until, "site MILPs")
    found = np.array([-np.inf if p is None else p[0] for p in proved])
    late = [(k, found[k] if np.isfinite(found[k]) else None) for k, p in enumerate(proved) if p is not None and p[1]]
    for k, value in crew.stops.ask(lambda: late) or []:
        found[k] = -np.inf if value is None else value
    gain = np.maximum(found - np.maximum(effort.rel_gap * np.abs(found), spare) - lower[order], 0.0)
    few = np.argsort(gain, kind="stable")
    gain[few[np.cumsum(gain[few]) <= spare * len(works)]] = 0.0
    lower[order] += gain
    alone = [bool((c.homes[1][works[i].job] >= 0).all()) for i in order]
    chosen = [(works[i], p[2]) for i, p, own in zip(order, proved, alone, strict=True) if p is not None and own]
    taken = tuple((work, rows) for work, rows in chosen if rows is not None)
    return WorkProof(prices, lower, float(lower.sum()) + prices.terms(c), int(np.isfinite(found).sum()), taken)


def dual_of_work(instance: Instance, load_price: Array, proof: WorkProof) -> Dual:
    """The proof in the units of the result; the load prices (S, T) it was translated from go with it."""
    hours, prices = instance.period_h, proof.prices
    return Dual(
        load_price=load_price / hours,
        stream_price=prices.stream / hours,
        job_price=prices.job,
        pool_price=prices.pool / hours,
        site_lower=proof.site_lower,
        carbon_price=prices.carbon,
        form="work",
    )
