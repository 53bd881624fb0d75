"""The site oracle: one site's energy problem in HiGHS, built once and warm-started.

Two questions are answered. `evaluate`: at prices on load and carbon, which load would this site take
(linear relaxation, proven lower bound)? `evaluate_fixed`: at a given load, what is the cheapest dispatch
with all integers integral?
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np

from decomp import site_kernels
from decomp.blocks import Block, Model, add_site
from decomp.compact import relaxed_site
from decomp.instance import Array, Generators, Instance, Sites

SIMULTANEOUS_MW = 1e-6
MOST_MISSED_MW = 1e6


@dataclass(frozen=True)
class Answer:
    """What a site says to prices or to a load: a point of its relaxation, and a lower bound proved at prices.

    `lower` <= min of cost + carbon_price * emissions - price . load, USD, at `price` (USD per GPU and period) and
    `carbon_price` (USD/t). `load` (GPU, one per period), `cost` (USD, energy only) and `emissions` (t) belong
    to one feasible point of the relaxation; `load` is None when the solver failed, and `lower` is then the value
    of the last good dual vector at these prices.
    """

    lower: float
    load: Array | None
    cost: float
    emissions: float
    price: Array
    carbon_price: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A dispatch of one site with all integers integral; `values` maps variable names to arrays."""

    load: Array
    cost: float
    emissions: float
    values: dict[str, Array]
    seconds: float


@dataclass(frozen=True)
class Effort:
    """How hard a MIP is tried. Nodes, not seconds, so that every run does the same; seconds only as a safeguard.

    Restarts and the sub-MIPs of the root are left out: at some sites they took nine tenths of the time and
    found nothing.
    """

    rel_gap: float = 1e-4
    nodes: int = 200
    seconds: float = 60.0
    abs_gap: float = 1e-6

    def until(self, end: float) -> Effort:
        """The effort that is left until `end`, seconds of the epoch."""
        return replace(self, seconds=max(min(self.seconds, end - time.time()), 0.1))

    def apply(self, solver: highspy.Highs) -> None:
        solver.setOptionValue("mip_rel_gap", self.rel_gap)
        solver.setOptionValue("mip_abs_gap", self.abs_gap)
        solver.setOptionValue("mip_max_nodes", self.nodes)
        solver.setOptionValue("time_limit", self.seconds)
        for name in ("mip_allow_restart", "mip_heuristic_run_root_reduced_cost", "mip_heuristic_run_rins"):
            solver.setOptionValue(name, False)


def to_highs(model: Model, *, integer: Array | None = None) -> highspy.Highs:
    """A silent single-thread HiGHS that holds the model (all continuous unless `integer` says otherwise)."""
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = model.matrix.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = model.cost, model.low, model.high
    lp.row_lower_, lp.row_upper_ = model.row_low, model.row_high
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = model.matrix.indptr, model.matrix.indices
    lp.a_matrix_.value_ = model.matrix.data
    if integer is not None:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(flag)] for flag in integer]
    solver = highspy.Highs()
    solver.silent()
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("random_seed", 0)
    solver.passModel(lp)
    return solver


def safe_bound(model: Model, cost: Array, duals: Array) -> float:
    """Lower bound proved by any dual vector: y'b + sum of min over [low, high] of the reduced cost.

    Rows with an infinite side admit one sign only; a dual of the wrong sign is set to zero.
    """
    a = model.matrix
    return float(
        site_kernels.safe_bound(
            a.indptr, a.indices, a.data, cost, model.low, model.high, model.row_low, model.row_high, duals
        )
    )


@dataclass(eq=False)
class SiteRows:
    """Site `i` by its rows, which may travel: its integral dispatch needs no more and remembers nothing.

    Parameters
    ----------
    sites, generators : tables that contain the site.
    i : its row.
    period_h : length of a period, hours.
    carbon_price : price that every tonne carries anyhow, USD/t.
    """

    sites: Sites
    generators: Generators
    i: int
    period_h: float
    carbon_price: float = 0.0

    @classmethod
    def of(cls, instance: Instance, i: int) -> SiteRows:
        """The rows of one site of an instance and no others."""
        first, end = np.searchsorted(instance.generators.site, [i, i + 1])
        own = instance.generators.take(np.arange(first, end))
        generators = replace(own, site=np.zeros(end - first, dtype=int))
        carbon_price = instance.carbon_price_usd_per_t
        return cls(instance.sites.take(np.array([i])), generators, 0, instance.period_h, carbon_price)

    def evaluate_fixed(
        self,
        load: Array,
        droppable: Array,
        drop_price: Array,
        carbon_price: float,
        *,
        effort: Effort,
        allowance: float | None = None,
    ) -> Plan | None:
        """Cheapest integral dispatch that carries `load`, of which `droppable` may be left out at a price.

        All (period,) arrays; load and droppable in GPU, drop_price in USD per GPU and period, carbon_price
        in USD/t on top of the fleet's own; with an `allowance` (t) it is charged on the emissions beyond it only.
        None when even dropping everything droppable does not help.
        """
        started = time.perf_counter()
        block = Block()
        add_site(block, self.sites, self.generators, self.i, self.period_h)
        if allowance is not None:
            add_allowance(block, allowance, carbon_price)
            carbon_price = 0.0
        model = block.finish()
        columns = model.columns
        low, high = model.low.copy(), model.high.copy()
        if (load - droppable > high[columns["load"]] * (1.0 + 1e-9) + 1e-9).any():
            return None
        high[columns["load"]] = np.minimum(load, high[columns["load"]])
        low[columns["load"]] = np.minimum(np.maximum(load - droppable, 0.0), high[columns["load"]])
        cost = model.cost + (self.carbon_price + carbon_price) * model.emission
        cost[columns["load"]] -= drop_price
        priced = replace(model, low=low, high=high, cost=cost)
        x = solve_integral(priced, effort)
        if x is None:
            return None
        # Where buying is never cheaper than selling no ban is needed, but a tie may run both: cancel it.
        both = np.minimum(x[columns["import"]], x[columns["export"]])
        x[columns["import"]] -= both
        x[columns["export"]] -= both
        emissions = float(model.emission @ x)
        energy = float(model.cost @ x) + self.carbon_price * emissions
        if allowance is not None:
            energy -= float(model.cost[columns["excess"]] @ x[columns["excess"]])
        values = {name: x[where] for name, where in columns.items()}
        return Plan(values["load"], energy, emissions, values, time.perf_counter() - started)


class SiteOracle(SiteRows):
    """The energy problem of a site behind prices on load and carbon; parameters as of `SiteRows`."""

    def __init__(self, sites: Sites, generators: Generators, i: int, period_h: float, carbon_price: float = 0.0):
        super().__init__(sites, generators, i, period_h, carbon_price)
        self._weights = 1.0, carbon_price
        self.model = relaxed_site(sites, generators, i, period_h)
        self.load = np.stack([where for name, where in self.model.columns.items() if name.startswith("load")])
        self.solver = to_highs(self.model)
        self.solver.setOptionValue("presolve", "off")
        self.solver.setOptionValue("solver", "simplex")
        # Prices on load and carbon reach these columns only.
        self._priced = np.union1d(self.load, np.flatnonzero(self.model.emission)).astype(np.int32)
        self._duals = np.zeros(len(self.model.row_low))

    def weigh(self, money: float, carbon: float) -> None:
        """From now on `evaluate` weighs the site's cost by `money`, not 1, and prices a tonne at `carbon` (USD/t)."""
        self._weights = money, carbon
        every = np.arange(len(self.model.cost), dtype=np.int32)
        self.solver.changeColsCost(len(every), every, money * self.model.cost)

    def evaluate(self, load_price: Array, carbon_price: float) -> Answer:
        """Cheapest point of the relaxation at prices on load (USD per GPU and period) and carbon (USD/t)."""
        started = time.perf_counter()
        model, cost = self.model, self._costs(load_price, carbon_price)
        self.solver.changeColsCost(len(self._priced), self._priced, cost[self._priced])
        point = self._run()
        lower = safe_bound(model, cost, self._duals)
        if point is None:
            return Answer(lower, None, np.nan, np.nan, load_price, carbon_price, time.perf_counter() - started)
        x = np.clip(point, model.low, model.high)
        emissions = float(model.emission @ x)
        money, carbon = self._weights
        energy = money * float(model.cost @ x) + carbon * emissions
        seconds = time.perf_counter() - started
        return Answer(lower, x[self.load].sum(axis=0), energy, emissions, load_price, carbon_price, seconds)

    def _costs(self, load_price: Array, carbon_price: float) -> Array:
        money, carbon = self._weights
        cost: Array = money * self.model.cost + (carbon + carbon_price) * self.model.emission
        cost[self.load] -= load_price
        return cost

    def fallback(self, load_price: Array, carbon_price: float) -> Answer:
        """What the last good dual vector proves at these prices, without a point; needs no solver."""
        lower = safe_bound(self.model, self._costs(load_price, carbon_price), self._duals)
        lower = lower if np.isfinite(lower) else -np.inf
        return Answer(lower, None, np.nan, np.nan, load_price, carbon_price, 0.0)

    def shortage(self) -> float:
        """Proven least energy, MWh, by which the site misses its power balance at every load; 0 where it need not."""
        block = Block()
        add_site(block, self.sites, self.generators, self.i, self.period_h, relaxed=True)
        n = self.load.shape[1]
        balance = np.arange(block.n_rows - n, block.n_rows)
        for name, sign in (("lacking", 1.0), ("surplus", -1.0)):
            block.add_entries(balance, block.add_columns(name, n, 0.0, MOST_MISSED_MW), sign)
        model = block.finish()
        cost = np.zeros_like(model.cost)
        cost[model.columns["lacking"]] = cost[model.columns["surplus"]] = self.period_h
        solver = to_highs(replace(model, cost=cost))
        solver.run()
        return max(safe_bound(model, cost, np.array(solver.getSolution().row_dual)), 0.0)

    def _run(self) -> Array | None:
        """Primal point if HiGHS says optimal (a second try is cold); keeps the duals."""
        for attempt in ("warm", "cold"):
            if attempt == "cold":
                self.solver.clearSolver()
            self.solver.run()
            if self.solver.getModelStatus() == highspy.HighsModelStatus.kOptimal:
                solution = self.solver.getSolution()
                point, duals = np.array(solution.col_value), np.array(solution.row_dual)
                if np.isfinite(point).all() and np.isfinite(duals).all():
                    self._duals = duals
                    return point
        return None


def add_allowance(block: Block, allowance: float, price: float) -> None:
    """The emissions of the columns so far keep an allowance (t), or pay a price (USD/t) beyond it, inf: never."""
    tonnes, priced = np.concatenate(block.emission), np.isfinite(price)
    emitting = np.flatnonzero(tonnes)
    most = float(np.maximum(tonnes * np.concatenate(block.high), 0.0).sum())
    beyond = max(most - allowance, 0.0) if priced else 0.0
    excess = block.add_columns("excess", 1, 0.0, beyond, price if priced else 0.0)
    row = block.add_rows(-np.inf, allowance, (-1.0, excess))
    block.add_entries(np.repeat(row, len(emitting)), emitting, tonnes[emitting])


def solve_integral(model: Model, effort: Effort) -> Array | None:
    """A feasible point with all integers integral and no ban broken, or None.

    The modes that forbid import with export and charging with discharging are made integer only in the
    periods in which a solution breaks the ban, until none does.
    """
    integer = model.integer.copy()
    mode, first, second = model.bans.T
    while True:
        x = _mip(model, integer, effort)
        if x is None:
            return None
        broken = mode[(np.minimum(x[first], x[second]) > SIMULTANEOUS_MW) & ~integer[mode]]
        if not len(broken):
            return x
        integer[broken] = True


def _mip(model: Model, integer: Array, effort: Effort) -> Array | None:
    """Solve, fix the integers at their rounded values, and solve the rest again as an LP."""
    solver = to_highs(model, integer=integer if integer.any() else None)
    if integer.any():
        effort.apply(solver)
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    x = np.array(solver.getSolution().col_value)
    if integer.any():
        x = _polish(model, integer, x)
    return np.clip(x, model.low, model.high)


def _polish(model: Model, integer: Array, x: Array) -> Array:
    """The best continuous part for the rounded integers (x itself where that LP fails)."""
    fixed = np.round(x[integer])
    low, high = model.low.copy(), model.high.copy()
    low[integer] = high[integer] = fixed
    solver = to_highs(replace(model, low=low, high=high))
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return x
    return np.array(solver.getSolution().col_value)


def set_start(solver: highspy.Highs, start: Array) -> None:
    """Give a MIP a solution to start from (HiGHS does not reuse the last one by itself)."""
    solution: Any = highspy.HighsSolution()
    solution.col_value = start
    solver.setSolution(solution)
