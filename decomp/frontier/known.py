"""What an earlier frontier of the same instance is worth: its prices, asked again, its schedules, accounted again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from decomp.bound.coupling import Coupling, Fixing
from decomp.bound.lagrangian import LagrangianLoop
from decomp.frontier.group_curve import mix
from decomp.model.accounts import account, complete, emissions_t
from decomp.model.frontier import CurveStep, Frontier
from decomp.model.instance import Array, Instance
from decomp.model.result import Result
from decomp.schedule.incumbent import Incumbent, admits, incumbent_of
from decomp.state.solve_state import Run


class KnownCurve:
    """The cost curve of a chain of schedules with the same integers; as `fleet_curve.CostCurve`."""

    def __init__(self, instance: Instance, coupling: Coupling, chain: Sequence[CurveStep]):
        """`chain` : by falling emissions."""
        self.instance, self.coupling = instance, coupling
        self.schedules = [step.schedule for step in reversed(chain)]
        self.tonnes = np.array([float(emissions_t(instance, s).sum()) for s in self.schedules])
        self.cost = np.array([account(instance, s).net_cost for s in self.schedules])

    def cost_at(self, budgets: Array | float) -> Array:
        """Net cost at budgets (n,) t, USD; inf below the least emissions."""
        return np.interp(budgets, self.tonnes, self.cost, left=np.inf)

    def chain(self, budgets: Array | float) -> Array:
        """A number for each budget (n,) t: equal numbers mean equal integers."""
        return np.zeros(np.shape(budgets))

    def at(self, budget: float) -> Incumbent | None:
        """The schedule at a budget (t) not below the least emissions; None if rounding makes it exceed the budget."""
        share = float(np.interp(budget, self.tonnes, np.arange(len(self.tonnes))))
        k = min(int(share), len(self.schedules) - 1)
        schedule = self.schedules[k]
        if share > k:
            schedule = complete(self.instance, mix(schedule, self.schedules[k + 1], share - k))
        if float(emissions_t(self.instance, schedule).sum()) > budget:
            return None
        return incumbent_of(self.instance, self.coupling, schedule)


def known_curves(instance: Instance, coupling: Coupling, frontier: Frontier) -> list[KnownCurve]:
    """The cost curves of an earlier frontier's steps; a schedule that breaks a hard rule is left out."""
    chains = [
        [step for step in chain if admits(instance, incumbent_of(instance, coupling, step.schedule))]
        for chain in frontier.chains()
    ]
    return [KnownCurve(instance, coupling, chain) for chain in chains if len(chain) > 1]


def take(run: Run, result: Result) -> None:
    """Prove again what the prices of a result prove at the budget of the run, and offer its schedule."""
    loop: LagrangianLoop = run.loop
    loop.set_budget(run.instance.carbon_budget_t)
    loop.refix(Fixing(*loop.coupling.free_jobs()))
    if result.dual is not None:
        price = result.dual.load_price * run.instance.period_h
        run.prove(loop.prove_at(loop.coupling.multipliers(price, result.dual.carbon_price)))
    if result.schedule is not None:
        run.offer(incumbent_of(run.instance, loop.coupling, result.schedule))
