"""The linear master of a small fleet: site answers as columns beside routing, job starts and pools, in HiGHS.

The proximal master finds good prices fast; this one finds the best there are, and the jobs' shares to branch on.
A node of a tree allows some runs only: bounds on columns, so that every node starts warm from the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import highspy
import numpy as np

from decomp.bound.coupling import Coupling
from decomp.lp.highs import run_lp
from decomp.model.instance import Array
from decomp.site.oracle import SiteAnswer

DEAREST_CARBON = 1e5  # USD/t; prices of carbon end here where the budget is hard
IMPROVING = 1e-9  # reduced cost of an answer, relative to its cost, from which it is worth a column
PRIMAL_SIMPLEX = 4


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
    sites' emissions (S,) in t, prices, value in USD.

    With no load left to `slack` (GPU) the value is an upper bound of what any prices prove.
    """

    value: float
    price: Array
    carbon_price: float
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
        """Load of every site and period, one answer a site, streams, jobs, pools, carbon."""
        c, optional = self.c, self.c.jobs.optional
        limits = [
            (np.zeros_like(c.capacity), np.zeros_like(c.capacity)),
            (np.ones(len(c.capacity)), np.ones(len(c.capacity))),
            (c.streams.demand, c.streams.demand),
            (np.where(optional, 0.0, 1.0), np.ones(len(optional))),
            (c.pools.work, c.pools.work),
            (np.array(-np.inf), np.array(c.budget)),
        ]
        numbers, n = [], 0
        for low, high in limits:
            numbers.append(np.arange(n, n + low.size).reshape(low.shape))
            n += low.size
            for a, b in zip(low.ravel(), high.ravel(), strict=True):
                self.solver.addRow(float(a), float(b), 0, [], [])
        self.load, self.site, self.stream, self.job, self.pool, carbon = numbers
        self.carbon = int(carbon)

    def _column(self, cost: float, high: float, rows: Array, values: Array) -> int:
        """Add a column; its number."""
        rows, values = np.asarray(rows, dtype=np.int32), np.asarray(values, dtype=float)
        keep = values != 0
        self.solver.addCol(float(cost), 0.0, float(high), int(keep.sum()), rows[keep], values[keep])
        return int(self.solver.getNumCol()) - 1

    def _add_work(self) -> None:
        """Slack on load, excess carbon, streams, pools, runs."""
        c, runs, one = self.c, self.runs, np.ones(1)
        rows = self.load.ravel()[:, None]
        self.short = np.array([self._column(0.0, np.inf, row, one) for row in rows], dtype=np.int32)
        self.spare = np.array([self._column(0.0, np.inf, row, -one) for row in rows], dtype=np.int32)
        if np.isfinite(c.budget):
            self._column(min(c.carbon_cap, DEAREST_CARBON), np.inf, np.array([self.carbon]), -one)
        for (d, _), row in np.ndenumerate(self.stream):
            self._column(c.streams.unserved[d], np.inf, np.array([row]), one)
        for row, penalty in zip(self.pool, c.pools.penalty, strict=True):
            hard = not np.isfinite(penalty)
            self._column(0.0 if hard else penalty, 0.0 if hard else np.inf, np.array([row]), one)
        self.routed = np.zeros((len(c.streams.site), self.load.shape[1]), dtype=int)
        stream = np.repeat(np.arange(len(c.streams.demand)), np.diff(c.streams.ptr))
        for a, t in np.ndindex(*self.routed.shape):
            at = np.array([self.stream[stream[a], t], self.load[c.streams.site[a], t]])
            self.routed[a, t] = self._column(c.streams.cost[a], np.inf, at, np.ones(2))
        self.pooled = np.zeros((len(c.pools.site), self.load.shape[1]), dtype=int)
        pool = np.repeat(np.arange(len(c.pools.work)), np.diff(c.pools.ptr))
        for a, t in np.ndindex(*self.pooled.shape):
            inside = c.pools.start[pool[a]] <= t < c.pools.end[pool[a]]
            at = np.array([self.pool[pool[a]], self.load[c.pools.site[a], t]])
            self.pooled[a, t] = self._column(0.0, c.pools.rate[a] if inside else 0.0, at, np.ones(2))
        first, every = int(self.solver.getNumCol()), self.load.reshape(c.copies, c.n_places, -1)
        for job, site, start, length, gpus, cost in zip(
            runs.job, runs.site, runs.start, runs.length, runs.gpus, runs.cost, strict=True
        ):
            loaded = every[:, site, start : start + length].ravel()
            self._column(cost, np.inf, np.append(loaded, self.job[job]), np.append(np.full(len(loaded), gpus), 1.0))
        self.run = np.arange(first, first + len(runs.job), dtype=np.int32)

    def _hold(self, i: int, load: Array, cost: float, emissions: float, integral: bool) -> None:
        at = np.concatenate([self.load[i], [self.site[i], self.carbon]])
        column = self._column(cost, np.inf, at, np.concatenate([-load, [1.0, emissions]]))
        self._held.append((column, i, emissions, integral))

    def add(self, i: int, answer: SiteAnswer, integral: bool) -> None:
        """Hold a site's answer if the last optimum would be cheaper with it."""
        if answer.load is None:
            return
        at = np.concatenate([-answer.load, [1.0, answer.emissions]])
        y = np.concatenate([self.dual[self.load[i]], [self.dual[self.site[i]], self.dual[self.carbon]]])
        if answer.cost - float(at @ y) < -IMPROVING * max(abs(answer.cost), 1.0) or integral:
            self._hold(i, answer.load, answer.cost, answer.emissions, integral)

    def demand_integral(self, sites: Array) -> None:
        """From now on these sites count with answers only in which their integers are integral."""
        for column, i, _, integral in self._held:
            self.solver.changeColBounds(column, 0.0, 0.0 if i in sites and not integral else np.inf)

    def solve(self, allowed: Array, rejectable: Array, centre: Array, reach: float) -> Optimum | None:
        """Optimum with the allowed runs (r,) alone, jobs (J,) left out only where they may be.

        Prices stay within `reach` of `centre` (S, T), USD per GPU and period. None if HiGHS fails.
        """
        zero = np.zeros(len(self.run))
        self.solver.changeColsBounds(len(zero), self.run, zero, np.where(allowed, np.inf, 0.0))
        for row, may in zip(self.job, rejectable, strict=True):
            self.solver.changeRowBounds(int(row), 0.0 if may else 1.0, 1.0)
        n = len(self.short)
        self.solver.changeColsCost(n, self.short, (reach - centre).ravel())
        self.solver.changeColsCost(n, self.spare, (reach + centre).ravel())
        if not run_lp(self.solver, warm=True):
            return None
        solution = self.solver.getSolution()
        x, self.dual = np.array(solution.col_value), np.array(solution.row_dual)
        return Optimum(
            value=float(self.solver.getInfo().objective_function_value),
            price=-self.dual[self.load],
            carbon_price=max(-float(self.dual[self.carbon]), 0.0),
            share=x[self.run],
            routed=np.maximum(x[self.routed], 0.0),
            pooled=np.maximum(x[self.pooled], 0.0),
            emissions=self._emissions(x),
            slack=float(x[self.short].sum() + x[self.spare].sum()),
        )

    def _emissions(self, x: Array) -> Array:
        tonnes = np.zeros(len(self.site))
        for column, i, emissions, _ in self._held:
            tonnes[i] += x[column] * emissions
        return tonnes
