"""A site's recourse: what a given load under a given carbon allowance costs, and a Benders cut on it.

The linear relaxation of one site with its load fixed, kept warm in HiGHS; only bounds and a few costs change. It
always has an answer: inference may be dropped at what it is worth, and emissions beyond the allowance are priced.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import highspy
import numpy as np

from decomp.blocks import Block, add_site
from decomp.instance import Array, Generators, Sites
from decomp.site import Answer, add_allowance, safe_bound, to_highs


@dataclass(frozen=True)
class Given:
    """What one site, or every site (arrays with one more axis in front), is given.

    `load` (T,) GPU, of which `droppable` may be left out at `drop_price` (USD per GPU and period); an `allowance`
    (t, may be infinite) beyond which a tonne costs `excess_price` (USD/t).
    """

    load: Array
    droppable: Array
    drop_price: Array
    allowance: Array
    excess_price: Array

    def rows(self) -> Array:
        """All sites' shares as one table (S, 3 T + 2), to be scattered."""
        tail = np.column_stack([self.allowance, self.excess_price])
        return np.hstack([self.load, self.droppable, self.drop_price, tail])

    @classmethod
    def of(cls, row: Array) -> Given:
        """One site's share of `rows`."""
        load, droppable, drop_price = np.split(row[:-2], 3)
        return cls(load, droppable, drop_price, row[-2], row[-1])


class Recourse:
    """The recourse of site `i`; parameters as of SiteOracle."""

    def __init__(self, sites: Sites, generators: Generators, i: int, period_h: float, carbon_price: float):
        self.carbon_price = carbon_price
        block = Block()
        add_site(block, sites, generators, i, period_h, relaxed=True)
        self.free = block.finish()
        add_allowance(block, 0.0, 0.0)
        self.model = block.finish()
        self.load, self.excess = self.model.columns["load"], int(self.model.columns["excess"][0])
        self.row = len(self.model.row_low) - 1
        self.own_cost = self.model.cost + carbon_price * self.model.emission
        self.solver = to_highs(self.model)
        self.solver.setOptionValue("presolve", "off")
        self.solver.setOptionValue("solver", "simplex")
        self.solver.changeColBounds(self.excess, 0.0, highspy.kHighsInf)
        self.solver.changeColsCost(len(self.own_cost), np.arange(len(self.own_cost), dtype=np.int32), self.own_cost)

    def evaluate(self, given: Given) -> Answer:
        """Cheapest relaxed dispatch of what is given."""
        started = time.perf_counter()
        high = np.minimum(given.load, self.free.high[self.load])
        low = np.clip(given.load - given.droppable, 0.0, high)
        index = self.load.astype(np.int32)
        self.solver.changeColsBounds(len(index), index, low, high)
        self.solver.changeColsCost(len(index), index, self.own_cost[self.load] - given.drop_price)
        self.solver.changeColCost(self.excess, float(given.excess_price))
        self.solver.changeRowBounds(self.row, -highspy.kHighsInf, float(given.allowance))
        self.solver.run()
        if self.solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            self.solver.clearSolver()
            self.solver.run()
        solution = self.solver.getSolution()
        duals = np.array(solution.row_dual) if solution.dual_valid else np.zeros(self.row + 1)
        lower, price, carbon_price = self._cut(duals)
        seconds = time.perf_counter() - started
        if self.solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return Answer(lower, None, np.nan, np.nan, price, carbon_price, seconds)
        x = np.clip(np.array(solution.col_value)[: len(self.free.cost)], self.free.low, self.free.high)
        emissions = float(self.free.emission @ x)
        cost = float(self.free.cost @ x) + self.carbon_price * emissions
        return Answer(lower, x[self.load], cost, emissions, price, carbon_price, seconds)

    def _cut(self, duals: Array) -> tuple[float, Array, float]:
        """The cut that any duals prove: the load's slopes are its reduced costs, the allowance's that of its row."""
        carbon_price = max(-float(duals[self.row]), 0.0)
        free = self.free
        cost = free.cost + (self.carbon_price + carbon_price) * free.emission
        price = (cost - free.matrix.T @ duals[: self.row])[self.load]
        cost[self.load] -= price
        return safe_bound(free, cost, duals[: self.row]), price, carbon_price
