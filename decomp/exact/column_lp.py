"""The linear master of a small fleet: site answers as columns beside routing, job starts and pools, in HiGHS.

The proximal master finds good prices fast; this one finds the best there are, and the jobs' shares to branch on.
A node of a tree allows some runs only: bounds on columns, so that every node starts warm from the last.

With risk the net cost t_s of each scenario has a row, and the objective has the measure of all of them: the largest
mean of weight times cost is the least value of eta + sum of (high worse_s - low better_s) with
t_s = p_s eta + worse_s - better_s (linear programming duality). The row's dual is the scenario's weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import highspy
import numpy as np

from decomp.bound.coupling import Coupling
from decomp.bound.multipliers import Multipliers
from decomp.lp.highs import run_lp
from decomp.model.instance import Array
from decomp.site.oracle import SiteAnswer

DEAREST_CARBON = 1e5  # USD/t; prices of carbon end here where the budget is hard
IMPROVING = 1e-9  # reduced cost of an answer, relative to its cost, from which it is worth a column
PRIMAL_SIMPLEX = 4
NOWHERE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Runs:
    """Every allowed run of every job, one row each: job, candidate, site, periods, GPU, net cost in USD."""

    job: Array
    candidate: Array
    site: Array
    start: Array
    length: Array
    gpus: Array
    cost: Array

    @classmethod
    def of(cls, c: Coupling) -> Runs:
        jobs = c.jobs
        row = np.flatnonzero(jobs.allowed)
        k = np.searchsorted(jobs.first, row, side="right") - 1
        j = np.searchsorted(jobs.ptr, k, side="right") - 1
        start = jobs.release[j] + row - jobs.first[k]
        return cls(j, k, jobs.site[k], start, jobs.length[j], jobs.gpus[j], jobs.cost[k])

    def values(self, price: Array) -> Array:
        """Net cost of every run (r,) at prices of load, of all scenarios together, (place, T), USD."""
        paid = np.zeros((len(price), price.shape[1] + 1))
        np.cumsum(price, axis=1, out=paid[:, 1:])
        return np.asarray(
            self.cost + self.gpus * (paid[self.site, self.start + self.length] - paid[self.site, self.start])
        )

    def inside(self, job: int, site: int, last: int) -> Array:
        """Runs (r,) of a job at a site (-1: anywhere) that start no later than `last`."""
        return np.asarray((self.job == job) & ((self.site == site) | (site < 0)) & (self.start <= last))


@dataclass(frozen=True)
class Optimum:
    """Of the master: share of every run, routing (arc, T) and pools (pool arc, T) in GPU, the
    sites' emissions (S,) in t, multipliers, value in USD.

    With no load left to `slack` (GPU) the value is an upper bound of what any prices prove.
    """

    value: float
    prices: Multipliers
    share: Array
    routed: Array
    pooled: Array
    emissions: Array
    slack: float


class LinearMaster:
    """Cheapest mixture of work placed and site answers that carry it; prices kept near a centre.

    Parameters
    ----------
    c : the coupling. runs : all runs of its jobs. columns : answers to begin with, see `Part.columns`.
    """

    def __init__(self, c: Coupling, runs: Runs, columns: Mapping[str, Array]):
        self.c, self.runs = c, runs
        worth = np.repeat(c.capacity.mean(axis=1, keepdims=True), c.lines * c.n_periods, axis=1)
        self.size = np.hstack([np.ones_like(c.capacity), worth])
        self.solver = highspy.Highs()
        self.solver.silent()
        for name, value in (("threads", 1), ("random_seed", 0), ("presolve", "off"), ("solver", "simplex")):
            self.solver.setOptionValue(name, value)
        self.solver.setOptionValue("simplex_strategy", PRIMAL_SIMPLEX)  # what changes most often are columns and costs
        self._add_rows()
        self._add_work()
        self._held: list[tuple[int, int, float, bool]] = []  # column, site, emissions, integral
        for k, i in enumerate(columns["site"]):
            cost, tonnes = float(columns["cost"][k]), float(columns["emissions"][k])
            self._hold(int(i), columns["load"][k], cost, tonnes, False)

    def _add_rows(self) -> None:
        """Links of every site, one answer a site, streams, jobs, pools, budgets, net cost of scenarios."""
        c, optional = self.c, self.c.jobs.optional
        links, costs = np.zeros(self.size.shape), np.zeros(c.copies if c.risk.counts else 0)
        limits = [
            (links, links),
            (np.ones(len(c.capacity)), np.ones(len(c.capacity))),
            (c.streams.demand, c.streams.demand),
            (np.where(optional, 0.0, 1.0), np.ones(len(optional))),
            (c.pools.work, c.pools.work),
            (np.full(len(c.budgets), -np.inf), c.budgets),
            (costs, costs),
        ]
        numbers, n = [], 0
        for low, high in limits:
            numbers.append(np.arange(n, n + low.size).reshape(low.shape))
            n += low.size
            for a, b in zip(low.ravel(), high.ravel(), strict=True):
                self.solver.addRow(float(a), float(b), 0, [], [])
        self.link, self.site, self.stream, self.job, self.pool, self.carbon, self.net_cost = numbers
        self.load = self.link[:, : c.n_periods]

    def _column(self, cost: float, high: float, rows: Array, values: Array, net_cost: Array = NOWHERE) -> int:
        """Add a column, whose cost is a scenario's if its row of `net_cost` is given; its number."""
        if len(net_cost):
            rows, values, cost = np.append(rows, net_cost), np.append(values, cost), 0.0
        rows, values = np.asarray(rows, dtype=np.int32), np.asarray(values, dtype=float)
        keep = values != 0
        self.solver.addCol(float(cost), 0.0, float(high), int(keep.sum()), rows[keep], values[keep])
        return int(self.solver.getNumCol()) - 1

    def _cost_row(self, row: int, n: int) -> Array:
        """The row of `net_cost` for one of n rows of all scenarios; none without risk."""
        k = row * len(self.net_cost) // n
        return np.asarray(self.net_cost[k : k + 1])

    def _add_work(self) -> None:
        """Slack on links, excess carbon, streams, pools, commitments, what scenarios count by, runs."""
        c, runs, one = self.c, self.runs, np.ones(1)
        rows = self.link.ravel()[:, None]
        self.short = np.array([self._column(0.0, np.inf, row, one) for row in rows], dtype=np.int32)
        self.spare = np.array([self._column(0.0, np.inf, row, -one) for row in rows], dtype=np.int32)
        if np.isfinite(c.budget):
            own = c.in_every and np.isfinite(c.carbon_cap)
            for s, row in enumerate(self.carbon):
                of = self._cost_row(s, len(self.carbon)) if own else NOWHERE
                self._column(min(c.carbon_cap, DEAREST_CARBON), np.inf, np.array([row]), -one, of)
        for (d, _), row in np.ndenumerate(self.stream):
            self._column(c.streams.unserved[d], np.inf, np.array([row]), one, self._cost_row(d, len(self.stream)))
        for p, (row, penalty) in enumerate(zip(self.pool, c.pools.penalty, strict=True)):
            cost, high = (penalty, np.inf) if np.isfinite(penalty) else (0.0, 0.0)
            self._column(cost, high, np.array([row]), one, self._cost_row(p, len(self.pool)))
        self.routed = np.zeros((len(c.streams.site), self.load.shape[1]), dtype=int)
        stream = np.repeat(np.arange(len(c.streams.demand)), np.diff(c.streams.ptr))
        for a, t in np.ndindex(*self.routed.shape):
            at = np.array([self.stream[stream[a], t], self.load[c.streams.site[a], t]])
            self.routed[a, t] = self._column(c.streams.cost[a], np.inf, at, np.ones(2), self._cost_row(a, len(stream)))
        self.pooled = np.zeros((len(c.pools.site), self.load.shape[1]), dtype=int)
        pool = np.repeat(np.arange(len(c.pools.work)), np.diff(c.pools.ptr))
        for a, t in np.ndindex(*self.pooled.shape):
            inside = c.pools.start[pool[a]] <= t < c.pools.end[pool[a]]
            at = np.array([self.pool[pool[a]], self.load[c.pools.site[a], t]])
            self.pooled[a, t] = self._column(0.0, c.pools.rate[a] if inside else 0.0, at, np.ones(2))
        for rows in self.link[:, c.n_periods :].reshape(c.copies, -1).T:
            self._column(0.0, 1.0, rows, np.ones(len(rows)))
        self._add_weights()
        first, every = int(self.solver.getNumCol()), self.load.reshape(c.copies, c.n_places, -1)
        for job, site, start, length, gpus, cost in zip(
            runs.job, runs.site, runs.start, runs.length, runs.gpus, runs.cost, strict=True
        ):
            loaded = every[:, site, start : start + length].ravel()
            self._column(cost, np.inf, np.append(loaded, self.job[job]), np.append(np.full(len(loaded), gpus), 1.0))
        self.run = np.arange(first, first + len(runs.job), dtype=np.int32)

    def _add_weights(self) -> None:
        """The measure of risk of the scenarios' net costs, as a linear program."""
        c, one = self.c, np.ones(1)
        if c.risk.counts:
            eta = self._column(1.0, np.inf, self.net_cost, -c.probability)
            self.solver.changeColBounds(eta, -np.inf, np.inf)
            for row in self.net_cost[:, None]:
                self._column(c.risk.high, np.inf, row, -one)
                self._column(-c.risk.low, np.inf, row, one)

    def _rows_of(self, i: int) -> Array:
        """The rows of a site's answers: its links, one answer, its budget."""
        budget = self.carbon[i * len(self.carbon) // len(self.site)]
        return np.concatenate([self.link[i], [self.site[i], budget]])

    def _hold(self, i: int, load: Array, cost: float, emissions: float, integral: bool) -> None:
        of = self._cost_row(i, len(self.site))
        column = self._column(cost, np.inf, self._rows_of(i), np.concatenate([-load, [1.0, emissions]]), of)
        self._held.append((column, i, emissions, integral))

    def add(self, i: int, answer: SiteAnswer, integral: bool) -> None:
        """Hold a site's answer if the last optimum would be cheaper with it."""
        if answer.load is None:
            return
        at = np.concatenate([-answer.load, [1.0, answer.emissions]])
        of = self._cost_row(i, len(self.site))
        cost = -float(self.dual[of][0]) * answer.cost if len(of) else answer.cost
        reduced = cost - float(at @ self.dual[self._rows_of(i)])
        if reduced < -IMPROVING * max(abs(answer.cost), 1.0) or integral:
            self._hold(i, answer.load, answer.cost, answer.emissions, integral)

    def demand_integral(self, sites: Array) -> None:
        """From now on these sites count with answers only in which their integers are integral."""
        for column, i, _, integral in self._held:
            self.solver.changeColBounds(column, 0.0, 0.0 if i in sites and not integral else np.inf)

    def solve(self, allowed: Array, rejectable: Array, centre: Array, reach: float) -> Optimum | None:
        """Optimum with the allowed runs (r,) alone, jobs (J,) left out only where they may be.

        Prices of load stay within `reach`, USD per GPU and period, of `centre` (S, .), those of commitments within as
        much as that is for the load of a site. None if HiGHS fails.
        """
        zero = np.zeros(len(self.run))
        self.solver.changeColsBounds(len(zero), self.run, zero, np.where(allowed, np.inf, 0.0))
        for row, may in zip(self.job, rejectable, strict=True):
            self.solver.changeRowBounds(int(row), 0.0 if may else 1.0, 1.0)
        n = len(self.short)
        self.solver.changeColsCost(n, self.short, (reach * self.size - centre).ravel())
        self.solver.changeColsCost(n, self.spare, (reach * self.size + centre).ravel())
        if not run_lp(self.solver, warm=True):
            return None
        solution = self.solver.getSolution()
        x, self.dual = np.array(solution.col_value), np.array(solution.row_dual)
        return Optimum(
            value=float(self.solver.getInfo().objective_function_value),
            prices=self._prices(),
            share=x[self.run],
            routed=np.maximum(x[self.routed], 0.0),
            pooled=np.maximum(x[self.pooled], 0.0),
            emissions=self._emissions(x),
            slack=float(x[self.short].sum() + x[self.spare].sum()),
        )

    def _prices(self) -> Multipliers:
        """The multipliers that the duals are, within what is allowed."""
        c, weight = self.c, np.ones(1)
        if c.risk.counts:
            weight = c.risk.exact(np.clip(-self.dual[self.net_cost], c.risk.low, c.risk.high), c.probability)
        dearest = c.carbon_cap * (weight if c.in_every else 1.0)
        return Multipliers(-self.dual[self.link], np.clip(-self.dual[self.carbon], 0.0, dearest), weight)

    def _emissions(self, x: Array) -> Array:
        tonnes = np.zeros(len(self.site))
        for column, i, emissions, _ in self._held:
            tonnes[i] += x[column] * emissions
        return tonnes
