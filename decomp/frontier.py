"""The cost-carbon frontier: the least net cost at every carbon budget, between a certified lower and an upper curve."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.instance import Array, Instance
from decomp.result import Ray, Result, Schedule


@dataclass(frozen=True, eq=False)
class Step:
    """A schedule between two budgets: what it emits, t CO2, and its net cost, USD."""

    schedule: Schedule
    tonnes: float
    cost: float


@dataclass(frozen=True, eq=False)
class Frontier:
    """Results at several budgets, and the certified minimum of emissions.

    Attributes
    ----------
    minimum_t : no schedule emits less, t CO2; `ray` proves it.
    budgets : (point,) t CO2, rising; each budget is hard, whatever the instance charges for excess.
    results : one per budget, of the instance with that budget; all by one method, in load prices.
    emissions : (point,) t CO2 of the result's schedule, inf where there is none.
    steps : further schedules, of the upper curve between the budgets.
    """

    minimum_t: float
    ray: Ray
    budgets: Array
    results: tuple[Result, ...]
    emissions: Array
    steps: tuple[Step, ...] = ()

    def lower(self, budget: Array) -> Array:
        """Certified lower bound of the net cost at any budgets (n,), USD: a maximum of lines, so convex and falling.

        Prices prove `constant - carbon_price * budget` for every budget, not only for the one they were found at.
        """
        lines = [
            r.bound + r.dual.carbon_price * (at - np.asarray(budget))
            for at, r in zip(self.budgets, self.results, strict=True)
            if r.dual is not None
        ]
        return np.asarray(np.max(lines, axis=0))

    def upper(self, budget: Array) -> Array:
        """Net cost of the cheapest schedule found that keeps a budget (n,), USD: a falling staircase; inf: none."""
        cost = np.array([r.incumbent for r in self.results] + [step.cost for step in self.steps])
        tonnes = np.append(self.emissions, [step.tonnes for step in self.steps])
        keeps = tonnes[:, None] <= np.asarray(budget) * (1 + 1e-9) + 1e-9
        return np.asarray(np.where(keeps, cost[:, None], np.inf).min(axis=0))

    @property
    def scale(self) -> float:
        """What gaps are relative to, USD: the largest net cost on the frontier, which itself may pass through zero."""
        costs = np.array([abs(r.incumbent) for r in self.results])
        return float(max(1.0, costs[np.isfinite(costs)].max(initial=0.0)))


def at_budget(instance: Instance, budget: float) -> Instance:
    """The instance with a hard budget, t CO2."""
    return replace(instance, carbon_budget_t=float(budget), carbon_excess_usd_per_t=np.inf)
