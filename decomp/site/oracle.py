"""The site oracle: one site's energy problem in HiGHS, built once and warm-started.

Two questions are answered. `evaluate`: at prices on load and carbon, which load would this site take
(linear relaxation, proven lower bound)? `evaluate_fixed`: at a given load, what is the cheapest dispatch
with all integers integral?
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from decomp.lp.block import Block
from decomp.lp.highs import SIMULTANEOUS_MW, Effort, run_lp, safe_bound, solve_integral, to_highs
from decomp.model.instance import Array, Instance, Microgrids
from decomp.model.rounding import fits
from decomp.site.equations import add_allowance, add_site
from decomp.site.grid_ban import Ban, BannedAnswer, BannedSite
from decomp.site.relaxation import relaxed_site

MOST_MISSED = 1e6  # MW, or units of a device's row


@dataclass(frozen=True)
class SiteAnswer:
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


def missed(grids: Microgrids, i: int, period_h: float, asked: Array | None = None) -> tuple[float, Array]:
    """Proven least sum by which a site misses its power balance (MWh) and rows of its devices at every load.

    And the dual value of each of these rows. `asked` (device_row,) : those that count; default: all.
    """
    block = Block()
    add_site(block, grids, i, period_h, relaxed=True)
    own, n = block.rows.get("device", np.zeros(0, dtype=int)), len(block.rows["balance"])
    for name, sign in (("lacking", 1.0), ("surplus", -1.0)):
        block.add_entries(block.rows["balance"], block.add_columns(name, n, 0.0, MOST_MISSED), sign)
        block.add_entries(own, block.add_columns("device_" + name, len(own), 0.0, MOST_MISSED), sign)
    model = block.finish()
    low, high, cost = model.row_low.copy(), model.row_high.copy(), np.zeros_like(model.cost)
    if asked is not None:
        low[own[~asked]], high[own[~asked]] = -np.inf, np.inf
    for name in ("lacking", "surplus"):
        cost[model.columns[name]], cost[model.columns["device_" + name]] = period_h, 1.0
    model = replace(model, row_low=low, row_high=high)
    solver = to_highs(replace(model, cost=cost))
    if not run_lp(solver, small=True):
        return 0.0, np.zeros(len(own))
    dual = np.array(solver.getSolution().row_dual)
    return max(safe_bound(model, cost, dual), 0.0), dual[own]


@dataclass(eq=False)
class SiteRows:
    """Site `i` by its rows, which may travel: its integral dispatch needs no more and remembers nothing.

    Parameters
    ----------
    grids : tables that contain the site.
    i : its row.
    period_h : length of a period, hours.
    carbon_price : price that every tonne carries anyhow, USD/t.
    """

    grids: Microgrids
    i: int
    period_h: float
    carbon_price: float = 0.0

    @classmethod
    def of(cls, instance: Instance, i: int) -> SiteRows:
        """The rows of one site of an instance and no others."""
        return cls(instance.microgrids.take(np.array([i])), 0, instance.period_h, instance.carbon_price_usd_per_t)

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
        add_site(block, self.grids, self.i, self.period_h)
        if allowance is not None:
            add_allowance(block, allowance, carbon_price)
            carbon_price = 0.0
        model = block.finish()
        columns = model.columns
        low, high = model.low.copy(), model.high.copy()
        if not fits(load - droppable, high[columns["load"]]).all():
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
    """The energy problem of a site behind prices on load and carbon; parameters as of `SiteRows`.

    With `lines` also behind prices on the commitment of its first so many day-ahead generators: prices and loads are
    then followed by theirs, period by period, zero for those it does not have.
    """

    def __init__(self, grids: Microgrids, i: int, period_h: float, carbon_price: float = 0.0, lines: int = 0):
        super().__init__(grids, i, period_h, carbon_price)
        self._weights = 1.0, carbon_price
        self.model = relaxed_site(grids, i, period_h)
        self.load = np.stack([where for name, where in self.model.columns.items() if name.startswith("load")])
        self.solver = to_highs(self.model)
        self.solver.setOptionValue("presolve", "off")
        self.solver.setOptionValue("solver", "simplex")
        once = np.flatnonzero((grids.generators.site == i) & grids.generators.day_ahead)[:lines]
        self.committed = np.array([self.model.columns[f"g{g}_on"] for g in once], dtype=int).ravel()
        capacity = grids.sites.capacity_gpu[i]
        self.most = np.append(capacity, np.ones(lines * len(capacity)))
        # Prices on load, commitments and carbon reach these columns only.
        linked = np.append(self.load, self.committed)
        self._priced = np.union1d(linked, np.flatnonzero(self.model.emission)).astype(np.int32)
        self._duals = np.zeros(len(self.model.row_low))
        self.ban = Ban.RELAXED
        self._emission = self.model.emission
        self._banned: BannedSite | None = None

    def weigh(self, money: float, carbon: float) -> None:
        """From now on `evaluate` weighs the site's cost by `money`, not 1, and prices a tonne at `carbon` (USD/t)."""
        self._weights = money, carbon
        every = np.arange(len(self.model.cost), dtype=np.int32)
        self.solver.changeColsCost(len(every), every, money * self.model.cost)

    def treat_ban(self, ban: Ban) -> None:
        """From now on `evaluate` treats the ban on importing and exporting at once so."""
        self.ban, emission = ban, self._emission
        if ban is Ban.UNTEMPTED:
            sold, emission = self.model.columns["export"], emission.copy()
            emission[sold] = np.maximum(emission[sold], -emission[self.model.columns["import"]])
        self.model = replace(self.model, emission=emission)

    def evaluate(self, load_price: Array, carbon_price: float) -> SiteAnswer:
        """Cheapest point of the relaxation at prices on load (USD per GPU and period) and carbon (USD/t)."""
        started = time.perf_counter()
        model, cost = self.model, self._costs(load_price, carbon_price)
        self.solver.changeColsCost(len(self._priced), self._priced, cost[self._priced])
        point = self._run()
        lower = safe_bound(model, cost, self._duals)
        if point is None:
            return SiteAnswer(lower, None, np.nan, np.nan, load_price, carbon_price, time.perf_counter() - started)
        x = np.clip(point, model.low, model.high)
        own, emissions = float(model.cost @ x), float(model.emission @ x)
        load = np.zeros(len(self.most))
        n = self.load.shape[1]
        load[:n], load[n : n + len(self.committed)] = x[self.load].sum(axis=0), x[self.committed]
        if self.ban is Ban.KEPT and (found := self._without_both(x, load_price[:n], carbon_price)) is not None:
            lower, load[:n], own, emissions = max(lower, found.lower), found.load, found.cost, found.emissions
        money, carbon = self._weights
        energy, seconds = money * own + carbon * emissions, time.perf_counter() - started
        return SiteAnswer(lower, load, energy, emissions, load_price, carbon_price, seconds)

    def _without_both(self, x: Array, load_price: Array, carbon_price: float) -> BannedAnswer | None:
        """A better answer where this one imports and exports at once; None where it does not."""
        bought, sold = (x[self.model.columns[name]] for name in ("import", "export"))
        broken = np.minimum(bought, sold) > SIMULTANEOUS_MW
        if not broken.any():
            return None
        if self._banned is None:
            self._banned = BannedSite(self.grids, self.i, self.period_h)
        money, carbon = self._weights
        return self._banned.answer(broken, load_price, money, carbon + carbon_price)

    def _costs(self, load_price: Array, carbon_price: float) -> Array:
        money, carbon = self._weights
        cost: Array = money * self.model.cost + (carbon + carbon_price) * self.model.emission
        n = self.load.shape[1]
        cost[self.load] -= load_price[:n]
        cost[self.committed] -= load_price[n : n + len(self.committed)]
        return cost

    def fallback(self, load_price: Array, carbon_price: float) -> SiteAnswer:
        """What the last good dual vector proves at these prices, without a point; needs no solver."""
        lower = safe_bound(self.model, self._costs(load_price, carbon_price), self._duals)
        lower = lower if np.isfinite(lower) else -np.inf
        return SiteAnswer(lower, None, np.nan, np.nan, load_price, carbon_price, 0.0)

    def shortage(self) -> float:
        """Proven least energy, MWh, by which the site misses its power balance at every load; 0 where it need not.

        What rows of devices are missed by counts too, in their own units.
        """
        return missed(self.grids, self.i, self.period_h)[0]

    def _run(self) -> Array | None:
        """Primal point if HiGHS says optimal; keeps the duals."""
        for _ in range(2):
            if not run_lp(self.solver, small=True, warm=True):
                return None
            solution = self.solver.getSolution()
            point, duals = np.array(solution.col_value), np.array(solution.row_dual)
            if np.isfinite(point).all() and np.isfinite(duals).all():
                self._duals = duals
                return point
            self.solver.clearSolver()
        return None
