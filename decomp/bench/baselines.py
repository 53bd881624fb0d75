"""Textbook ways to the bound, for the bench to compare with: no part of the solver.

The dual is written once for two choices of priced rows. `on_load`: prices on the load of each site and period, work
answered by itself, with the solver's own site oracles. `on_work`: the textbook form, prices on demand, jobs and pools,
each site taking what it wants of them. Both are maximised by a subgradient method or by cutting planes; whatever the
prices, an iteration's bound is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import highspy
import numpy as np
from scipy.sparse import bmat, coo_matrix, csc_matrix, hstack, identity

from decomp.bound.coupling import Coupling
from decomp.bound.lagrangian import first_prices
from decomp.lp.block import Block
from decomp.lp.highs import run_lp, safe_bound, to_highs
from decomp.model.instance import Array, Instance
from decomp.ranks.mpi import Serial
from decomp.ranks.workers import Workers
from decomp.site.equations import add_site
from decomp.site.service import SiteService, muster

LEVEL = 0.1  # of the subgradient method: by how much more than its best bound it aims at, share of the first bound
PATIENCE = 5  # steps without a better bound, after which that is halved


@dataclass(frozen=True)
class Taken:
    """What the sites answer to prices: lower bounds, costs (USD) and emissions (t) (S,); use of the rows (R, S)."""

    lower: Array
    cost: Array
    emissions: Array
    uses: csc_matrix


@dataclass(frozen=True, eq=False)
class PricedWork:
    """The work by itself: x in [0, most], summing to `need` over each block; it uses the priced rows, (R, n)."""

    cost: Array
    most: Array
    block: Array
    need: Array
    uses: csc_matrix

    def cheapest(self, price: Array) -> tuple[float, Array]:
        """Least cost at prices (R,), and x: each block filled from its cheapest column on."""
        value = self.cost + self.uses.T @ price
        order = np.lexsort((value, self.block))
        block, most = self.block[order], self.most[order]
        filled = np.cumsum(most)
        first = np.searchsorted(block, np.arange(len(self.need)))
        before = filled - most - np.append(filled - most, 0.0)[first][block]
        x = np.empty_like(value)
        x[order] = np.clip(self.need[block] - before, 0.0, most)
        return float(value @ x), x


@dataclass(frozen=True, eq=False)
class DualFunction:
    """A Lagrangian dual: `price` (R,) to start from, `weight` (R,) a price's scale over its row's.

    No row's price is worth going beyond its `limit` (R,). `ask` gives the sites' answers at prices and a carbon
    price. `budget` t, `carbon_cap` USD/t.
    """

    work: PricedWork
    ask: Callable[[Array, float], Taken]
    price: Array
    weight: Array
    limit: Array
    budget: float
    carbon_cap: float

    def bound(self, carbon: float, taken: Taken, work_value: float) -> float:
        """What these prices prove, USD."""
        return float(taken.lower.sum()) + work_value - (carbon * self.budget if carbon > 0 else 0.0)


def on_load(instance: Instance) -> DualFunction:
    """Prices on load: rows are (site, period), USD per GPU and period."""
    c, n = Coupling.of(instance), instance.n_periods
    sites = muster(instance, Workers(Serial())).of(SiteService)

    def ask(price: Array, carbon: float) -> Taken:
        a = sites.evaluate(price.reshape(-1, n), carbon)
        uses = csc_matrix(
            (np.nan_to_num(a.load).ravel(), np.arange(a.load.size), np.arange(0, a.load.size + 1, n)),
            shape=(a.load.size, len(a.load)),
        )
        return Taken(a.lower, a.cost, a.emissions, uses)

    price = first_prices(c, instance.sites, instance.carbon_price_usd_per_t).ravel()
    weight = np.abs(price).mean() / np.maximum(c.capacity, 1e-3 * c.capacity.max()).ravel()
    return DualFunction(
        _placed_work(c), ask, price, weight, np.full(len(price), _dearest(c, price)), c.budget, c.carbon_cap
    )


def on_work(instance: Instance) -> DualFunction:
    """The textbook form: rows are (stream, period), then jobs, then pools; sites decide which to take."""
    c = Coupling.of(instance)
    need = np.concatenate([c.streams.demand.ravel(), np.ones(c.n_jobs), c.pools.work])
    sites = [_WorkingSite(instance, c, i) for i in range(instance.n_sites)]

    def ask(price: Array, carbon: float) -> Taken:
        answers = [site.ask(price, carbon) for site in sites]
        lower, cost, emissions = (np.array(column) for column in list(zip(*answers, strict=True))[:3])
        return Taken(lower, cost, emissions, hstack([a[3] for a in answers], format="csc"))

    served, row = np.zeros(len(need)), np.arange(len(need))
    job_rows = slice(c.streams.demand.size, c.streams.demand.size + c.n_jobs)
    leave = np.concatenate([np.repeat(c.streams.unserved, instance.n_periods), np.zeros(c.n_jobs), c.pools.penalty])
    may = np.isfinite(leave)
    may[job_rows] = c.jobs.optional
    unpriced = csc_matrix((len(need), int(may.sum())))
    work = PricedWork(
        cost=np.concatenate([served, leave[may]]),
        most=np.concatenate([need, need[may]]),
        block=np.concatenate([row, row[may]]),
        need=need,
        uses=hstack([identity(len(need), format="csc"), unpriced], format="csc"),
    )
    load_price = first_prices(c, instance.sites, instance.carbon_price_usd_per_t)
    typical, scale = float(np.abs(load_price).mean()), np.ones(len(need))
    scale[job_rows] = c.jobs.gpus * c.jobs.length
    start = _first_work_prices(c, load_price)
    limit = _dearest(c, load_price.ravel()) * scale
    return DualFunction(work, ask, start, typical * scale / np.maximum(need, 1e-3), limit, c.budget, c.carbon_cap)


def _first_work_prices(c: Coupling, load_price: Array) -> Array:
    """What the work costs at its cheapest place at prices on load."""
    placed = _placed_work(c)
    value = placed.cost + placed.uses.T @ load_price.ravel()
    best = np.full(len(placed.need), np.inf)
    np.minimum.at(best, placed.block, value)
    return np.where(np.isfinite(best), best, 0.0)


def _dearest(c: Coupling, price: Array) -> float:
    """A price per GPU and period far above all that work is worth."""
    worth = [np.abs(price), c.streams.unserved, np.abs(c.streams.cost)]
    worth.append(np.abs(c.jobs.cost) / np.repeat(c.jobs.gpus * c.jobs.length, np.diff(c.jobs.ptr)))
    worth.append(c.pools.penalty[np.isfinite(c.pools.penalty)])
    return 2.0 * max(float(values.max(initial=0.0)) for values in worth)


def _runs(c: Coupling) -> tuple[Array, Array, Array]:
    """All allowed runs: job, candidate row and start."""
    jobs = c.jobs
    k = np.repeat(np.arange(len(jobs.site)), np.diff(jobs.first))
    j = np.repeat(np.arange(c.n_jobs), np.diff(jobs.ptr))[k]
    start = jobs.release[j] + np.arange(len(k)) - jobs.first[k]
    return j[jobs.allowed], k[jobs.allowed], start[jobs.allowed]


def _spread(site: Array, start: Array, length: Array, n: int) -> tuple[Array, Array]:
    """Rows site * n + start, ... of each run, and the run of each row."""
    run = np.repeat(np.arange(len(length)), length)
    return (site * n + start)[run] + np.arange(len(run)) - np.repeat(np.cumsum(length) - length, length), run


def _placed_work(c: Coupling) -> PricedWork:
    """Work whose columns say where and when: blocks are (stream, period), then jobs, then pools."""
    n = c.capacity.shape[1]
    s, jobs, pools, t = c.streams, c.jobs, c.pools, np.arange(n)
    stream = np.repeat(np.arange(len(s.unserved)), np.diff(s.ptr))
    pool = np.repeat(np.arange(len(pools.work)), np.diff(pools.ptr))
    first_job = len(s.unserved) * n
    first_pool = first_job + c.n_jobs
    j, k, start = _runs(c)
    at, run = _spread(jobs.site[k], start, jobs.length[j], n)
    inside = ((t >= pools.start[pool, None]) & (t < pools.end[pool, None])).ravel()
    optional, soft = np.flatnonzero(jobs.optional), np.flatnonzero(np.isfinite(pools.penalty))
    demand_rows = (stream[:, None] * n + t).ravel()
    arc_at, pool_at = ((site[:, None] * n + t).ravel() for site in (s.site, pools.site))
    rows = c.capacity.size
    parts = [
        (np.repeat(s.cost, n), s.demand[stream].ravel(), demand_rows, _one_row_each(arc_at, rows)),
        (np.repeat(s.unserved, n), s.demand.ravel(), np.arange(first_job), None),
        (jobs.cost[k], np.ones(len(k)), first_job + j, csc_matrix((jobs.gpus[j][run], (at, run)), (rows, len(k)))),
        (np.zeros(len(optional)), np.ones(len(optional)), first_job + optional, None),
        (
            np.zeros(int(inside.sum())),
            np.repeat(pools.rate, n)[inside],
            first_pool + np.repeat(pool, n)[inside],
            _one_row_each(pool_at[inside], rows),
        ),
        (pools.penalty[soft], pools.work[soft], first_pool + soft, None),
    ]
    cost, most, block = (np.concatenate([part[k] for part in parts]) for k in range(3))
    uses = [csc_matrix((rows, len(part[0]))) if part[3] is None else part[3] for part in parts]
    need = np.concatenate([s.demand.ravel(), np.ones(c.n_jobs), pools.work])
    return PricedWork(cost, most, block, need, hstack(uses, format="csc"))


def _one_row_each(row: Array, rows: int) -> csc_matrix:
    return csc_matrix((np.ones(len(row)), (row, np.arange(len(row)))), (rows, len(row)))


class _WorkingSite:
    """A site with the work it may take, relaxed, behind prices on the work."""

    def __init__(self, instance: Instance, c: Coupling, i: int):
        self.carbon_price, self.n = instance.carbon_price_usd_per_t, instance.n_periods
        self.n_demand = c.streams.demand.size
        self.n_rows = self.n_demand + c.n_jobs + len(c.pools.work)
        self.block, self.row = Block(), [np.zeros(0, dtype=int)]
        add_site(self.block, instance.microgrids, i, instance.period_h, relaxed=True)
        energy = self.block.n_columns
        self.link = self.block.add_rows(0.0, 0.0, (1.0, self.block.columns["load"]))
        self._take_inference(c, i)
        self._take_jobs(c, i)
        self._take_pools(c, i)
        self.model = self.block.finish()
        self.work = np.arange(energy, self.block.n_columns)
        self.rows = np.concatenate(self.row)
        self.solver = to_highs(self.model)
        self.solver.setOptionValue("presolve", "off")

    def _take_inference(self, c: Coupling, i: int) -> None:
        s = c.streams
        stream = np.repeat(np.arange(len(s.unserved)), np.diff(s.ptr))
        for a in np.flatnonzero(s.site == i):
            most = np.minimum(s.demand[stream[a]], c.capacity[i])
            x = self.block.add_columns(f"x{a}", self.n, 0.0, most, s.cost[a])
            self.block.add_entries(self.link, x, -1.0)
            self.row.append(stream[a] * self.n + np.arange(self.n))

    def _take_jobs(self, c: Coupling, i: int) -> None:
        """At most one run of each job."""
        j, k, start = _runs(c)
        here = c.jobs.site[k] == i
        j, k, start = j[here], k[here], start[here]
        y = self.block.add_columns("runs", len(j), 0.0, 1.0, c.jobs.cost[k])
        at, run = _spread(np.zeros(len(k), dtype=int), start, c.jobs.length[j], self.n)
        self.block.add_entries(self.link[at], y[run], -c.jobs.gpus[j][run].astype(float))
        _, first, group = np.unique(j, return_index=True, return_inverse=True)
        once = self.block.add_rows(-np.inf, 1.0, (1.0, y[first]))
        more = np.setdiff1d(np.arange(len(y)), first)
        self.block.add_entries(once[group[more]], y[more], 1.0)
        self.row.append(self.n_demand + j)

    def _take_pools(self, c: Coupling, i: int) -> None:
        pools, t = c.pools, np.arange(self.n)
        pool = np.repeat(np.arange(len(pools.work)), np.diff(pools.ptr))
        for a in np.flatnonzero(pools.site == i):
            inside = (t >= pools.start[pool[a]]) & (t < pools.end[pool[a]])
            v = self.block.add_columns(f"v{a}", self.n, 0.0, np.where(inside, pools.rate[a], 0.0))
            self.block.add_entries(self.link, v, -1.0)
            self.row.append(np.full(self.n, self.n_demand + c.n_jobs + pool[a]))

    def ask(self, price: Array, carbon: float) -> tuple[float, float, float, csc_matrix]:
        """Lower bound, cost, emissions and the work taken."""
        model = self.model
        cost = model.cost + (self.carbon_price + carbon) * model.emission
        cost[self.work] -= price[self.rows]
        self.solver.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        if not run_lp(self.solver, warm=True):
            raise ArithmeticError("HiGHS has no answer of a site to these prices")
        solution = self.solver.getSolution()
        x = np.clip(np.array(solution.col_value), model.low, model.high)
        emissions = float(model.emission @ x)
        taken = x[self.work]
        uses = coo_matrix((taken, (self.rows, np.zeros_like(self.rows))), shape=(self.n_rows, 1))
        energy = float(model.cost @ x) + self.carbon_price * emissions
        return safe_bound(model, cost, np.array(solution.row_dual)), energy, emissions, uses.tocsc()


def subgradient(dual: DualFunction) -> Iterator[float]:
    """Bounds of a subgradient method, without end: Polyak's step towards the best bound + a level that shrinks.

    The level is halved after some steps without a better bound, with a return to the best prices (Nedic and Bertsekas
    2001, in the metric of the rows' weights).
    """
    price, carbon = dual.price.copy(), 0.0
    best, centre, stale, aim = -np.inf, (price, carbon), 0, 0.0
    carbon_weight = 0.0
    while True:
        taken = dual.ask(price, carbon)
        value, x = dual.work.cheapest(price)
        bound = dual.bound(carbon, taken, value)
        yield bound
        tonnes = float(taken.emissions.sum())
        if not np.isfinite(best):
            aim, carbon_weight = LEVEL * max(abs(bound), 1.0), 50.0 / max(abs(tonnes), 1e-9)
        if bound > best:
            best, centre, stale = bound, (price, carbon), 0
        else:
            stale += 1
        slope = dual.work.uses @ x - taken.uses @ np.ones(taken.uses.shape[1])
        excess = tonnes - dual.budget if dual.carbon_cap > 0 else 0.0
        length = float((dual.weight * slope**2).sum()) + carbon_weight * excess**2
        if stale >= PATIENCE:
            stale, aim, (price, carbon) = 0, 0.5 * aim, centre
            continue
        step = (best + aim - bound) / max(length, 1e-12)
        price = price + step * dual.weight * slope
        carbon = float(np.clip(carbon + step * carbon_weight * excess, 0.0, dual.carbon_cap))


def cutting_planes(dual: DualFunction) -> Iterator[float]:
    """Bounds of Kelley's method: next prices where the model of all answers so far is highest (a linear program).

    Not stabilised. Ends when the model promises nothing more.
    """
    master = _Master(dual)
    price, carbon, best = dual.price, 0.0, -np.inf
    while True:
        taken = dual.ask(price, carbon)
        bound = dual.bound(carbon, taken, dual.work.cheapest(price)[0])
        yield bound
        best = max(best, bound)
        master.add(taken)
        model, price, carbon = master.highest()
        if model - best <= 1e-6 * max(abs(best), 1.0):
            return


class _Master:
    """The Dantzig-Wolfe master: convex combinations of each site's answers, work exact, prices as duals."""

    def __init__(self, dual: DualFunction):
        work, self.dual = dual.work, dual
        rows, n_sites = work.uses.shape[0], dual.ask(dual.price, 0.0).uses.shape[1]
        blocks = csc_matrix((np.ones(len(work.block)), (work.block, np.arange(len(work.block)))))
        artificial = identity(rows, format="csc")
        matrix = bmat([[work.uses, artificial, -artificial], [blocks, None, None]], format="csc")
        capped = dual.carbon_cap > 0
        self.price_rows, self.first_site = rows, rows + len(work.need)
        self.carbon_row = self.first_site + n_sites if capped else -1
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = self.first_site + n_sites + capped, matrix.shape[1]
        lp.col_cost_ = np.concatenate([work.cost, dual.limit, dual.limit])
        lp.col_lower_ = np.zeros(matrix.shape[1])
        lp.col_upper_ = np.concatenate([work.most, np.full(2 * rows, np.inf)])
        right = np.concatenate([np.zeros(rows), work.need, np.ones(n_sites)])
        lp.row_lower_ = np.append(right, [-np.inf] * capped)
        lp.row_upper_ = np.append(right, [dual.budget] * capped)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
        self.solver = highspy.Highs()
        self.solver.silent()
        self.solver.setOptionValue("threads", 1)
        self.solver.passModel(lp)
        if capped:
            price = min(dual.carbon_cap, 1e6)
            self.solver.addCol(price, 0.0, np.inf, 1, np.array([self.carbon_row]), np.array([-1.0]))

    def add(self, taken: Taken) -> None:
        """One column a site."""
        for i, (cost, tonnes) in enumerate(zip(taken.cost, taken.emissions, strict=True)):
            uses = taken.uses[:, [i]].tocoo()
            index = np.concatenate([uses.row, [self.first_site + i]])
            value = np.concatenate([-uses.data, [1.0]])
            if self.carbon_row >= 0:
                index, value = np.append(index, self.carbon_row), np.append(value, tonnes)
            self.solver.addCol(float(cost), 0.0, np.inf, len(index), index.astype(np.int32), value)

    def highest(self) -> tuple[float, Array, float]:
        """The model's greatest value and the prices that have it."""
        if not run_lp(self.solver, warm=True):
            raise ArithmeticError("HiGHS has no optimum of the master")
        duals = np.array(self.solver.getSolution().row_dual)
        carbon = -float(duals[self.carbon_row]) if self.carbon_row >= 0 else 0.0
        return self.solver.getInfo().objective_function_value, -duals[: self.price_rows], max(carbon, 0.0)


BASELINES: dict[str, Callable[[Instance], Iterator[float]]] = {
    "subgradient": lambda instance: subgradient(on_load(instance)),
    "cutting-planes": lambda instance: cutting_planes(on_load(instance)),
    "textbook": lambda instance: subgradient(on_work(instance)),
}
