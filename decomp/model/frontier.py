"""The cost-carbon frontier: the least net cost at every carbon budget, between a certified lower and an upper curve."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.model.instance import Array, Instance, Table, var
from decomp.model.result import Ray, Result, Schedule


@dataclass(frozen=True, eq=False)
class CurveStep:
    """A schedule between two budgets: what it emits, t CO2, and its net cost, USD.

    `mixes` : with the step before it, which emits more, in any shares; see `decomp.certificate.mixture`.
    """

    schedule: Schedule
    tonnes: float
    cost: float
    mixes: bool = False


@dataclass(frozen=True, eq=False)
class CurveSteps(Table):
    """Steps without their schedules, as a table."""

    tonnes: Array = var("step", "t", "emissions of the step's schedule", low=0)
    cost: Array = var("step", "USD", "net cost of the step's schedule")
    mixes: Array = var("step", "1", "may be mixed with the step before", kind="?")


@dataclass(frozen=True, eq=False)
class Frontier:
    """Results at several budgets, and the certified minimum of emissions.

    Attributes
    ----------
    minimum_t : no schedule emits less, t CO2; `ray` proves it.
    budgets : (point,) t CO2, rising; each budget is hard, whatever the instance charges for excess.
    results : one per budget, of the instance with that budget; all by one method, in load prices.
    emissions : (point,) t CO2 of the result's schedule, inf where there is none.
    steps : further schedules, of the upper curve between the budgets; those that mix follow on each other.
    """

    minimum_t: float
    ray: Ray
    budgets: Array
    results: tuple[Result, ...]
    emissions: Array
    steps: tuple[CurveStep, ...] = ()

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
        """Net cost of the cheapest schedule found that keeps a budget (n,), USD; inf: none.

        A falling staircase of the results, and chains of steps, between which costs of mixtures are at most linear.
        """
        most = np.asarray(budget) * (1 + 1e-9) + 1e-9
        results = np.array([r.incumbent for r in self.results])
        curves = [np.where(self.emissions[:, None] <= most, results[:, None], np.inf).min(axis=0)]
        for chain in self.chains():
            tonnes, cost = np.array([(step.tonnes, step.cost) for step in reversed(chain)]).T
            curves.append(np.interp(most, tonnes, cost, left=np.inf))
        return np.asarray(np.min(curves, axis=0))

    def chains(self) -> list[list[CurveStep]]:
        """The steps, those that mix together; a step that does not emit less than the one before begins a chain."""
        chains: list[list[CurveStep]] = []
        for step in self.steps:
            if step.mixes and chains and step.tonnes < chains[-1][-1].tonnes:
                chains[-1].append(step)
            else:
                chains.append([step])
        return chains

    @property
    def scale(self) -> float:
        """What gaps are relative to, USD: the largest net cost on the frontier, which itself may pass through zero."""
        costs = np.array([abs(r.incumbent) for r in self.results])
        return float(max(1.0, costs[np.isfinite(costs)].max(initial=0.0)))


def at_budget(instance: Instance, budget: float) -> Instance:
    """The instance with a hard budget, t CO2."""
    return replace(instance, carbon_budget_t=float(budget), carbon_excess_usd_per_t=np.inf)


def chords(x: Array, y: Array, accuracy: float) -> list[int]:
    """Corners of a curve (n,), its ends among them; straight lines between them are at most `accuracy` above it."""
    if len(x) < 3:
        return list(range(len(x)))
    above = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0]) - y
    k = int(np.argmax(above))
    if above[k] <= accuracy:
        return [0, len(x) - 1]
    return chords(x[: k + 1], y[: k + 1], accuracy)[:-1] + [k + i for i in chords(x[k:], y[k:], accuracy)]
