"""The frontier by one run: budget after budget, each warm from all that went before.

Columns stay valid at every budget, prices prove a line over all of them, and a schedule keeps every budget above
its emissions; so a new budget starts from the best of these and asks only for what is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np

from decomp.accounts import emissions_t
from decomp.coupling import Coupling
from decomp.crew import Crew, SiteReader
from decomp.frontier import Frontier, at_budget
from decomp.infeasible import least_emissions, refuse_power_and_work
from decomp.instance import InputError, Instance
from decomp.lagrangian import DualPoint, LagrangianLoop, first_prices
from decomp.master import Fixing
from decomp.options import Options
from decomp.progress import process_seconds
from decomp.recovery import Incumbent, dive
from decomp.result import Result
from decomp.run import Listener, Run
from decomp.serial import Interrupted
from decomp.solve import improve, muster, raise_bound, settle
from decomp.team import Team
from decomp.timesheet import OTHER

NEAREST = 0.02  # distance of the first budget from the minimum, share of the way to where the budget is slack


def trace(
    instance: Instance | None,
    team: Team,
    options: Options,
    budgets: int | Sequence[float] = 10,
    *,
    read: SiteReader | None = None,
    listeners: Iterable[Listener] = (),
) -> Frontier | None:
    """Trace the frontier on all ranks of a team.

    Parameters
    ----------
    instance : at the root; other ranks may pass None. Its own budget does not matter.
    options : `rel_gap` is asked for at every budget, relative to the largest net cost on the frontier;
        `time_limit_seconds` is shared by the budgets.
    budgets : t CO2; or how many, to be spread between the certified minimum and where the budget is slack.

    Returns
    -------
    The frontier at the root, None on the others. A stop signal ends it with the budgets done so far.

    Raises
    ------
    Infeasible : there is no schedule at any budget.
    """
    crew = muster(instance, team, read)
    if not team.is_root:
        with team.sheet.section(OTHER):
            crew.serve()
        return None
    assert instance is not None
    try:
        with team.sheet.section(OTHER):
            return Sweep(instance, team, crew, options, listeners).trace(budgets)
    finally:
        crew.dismiss()


class Sweep:
    """What is known at all budgets: best prices, schedules, and the loop that finds more."""

    def __init__(self, instance: Instance, team: Team, crew: Crew, options: Options, listeners: Iterable[Listener]):
        self.instance, self.team, self.crew, self.options = instance, team, crew, options
        self.listeners = list(listeners)
        self.proofs: list[tuple[float, DualPoint]] = []
        self.schedules: list[tuple[float, Incumbent]] = []
        self.results: dict[float, Result] = {}
        refuse_power_and_work(instance, crew, options.bundle, team.stop_requested)
        self.minimum = least_emissions(instance, crew, options.bundle, team.stop_requested)
        coupling = Coupling.of(at_budget(instance, np.inf))
        price = first_prices(coupling, instance.sites, instance.carbon_price_usd_per_t)
        self.loop = LagrangianLoop(coupling, crew, price, 0.0, options.bundle)

    def trace(self, budgets: int | Sequence[float]) -> Frontier:
        least = self.minimum.tonnes
        if isinstance(budgets, int):
            slack = self._slack(budgets)
            first = least + NEAREST * (slack - least)
            even = np.linspace(slack, first, max(2, (budgets + 1) // 2))[1:]
            for k, budget in enumerate(even[: budgets - 1]):
                if not self.team.signalled:
                    self._solve(float(budget), budgets - 1 - k)
            while len(self.results) < budgets and not self.team.signalled:
                self._solve(self._widest(), budgets - len(self.results))
        else:
            for k, budget in enumerate(sorted(budgets, reverse=True)):
                if budget < least:
                    raise InputError(f"budget of {budget:,.6g} t is below the certified minimum of {least:,.6g} t")
                if not (self.results and self.team.signalled):
                    self._solve(budget, len(budgets) - k)
        return self._frontier()

    def _frontier(self) -> Frontier:
        at = sorted(self.results)
        results = tuple(self.results[b] for b in at)
        tonnes = [
            np.inf if r.schedule is None else float(emissions_t(self.instance, r.schedule).sum()) for r in results
        ]
        return Frontier(self.minimum.tonnes, self.minimum.ray, np.array(at), results, np.array(tonnes))

    def _slack(self, left: int) -> float:
        """Solve without a budget; the emissions of that schedule are a budget that costs nothing."""
        run = self._run(np.inf, left)
        tonnes = self.schedules[-1][0] if run.incumbent is not None else self.loop.master.emissions()
        budget = max(tonnes * (1 + 1e-9), self.minimum.tonnes)
        run.instance = at_budget(self.instance, budget)
        self.results[budget] = run.result()
        return budget

    def _widest(self) -> float:
        """The middle of the interval over which the staircase falls farthest above the lower curve."""
        f = self._frontier()
        step = np.minimum(f.upper(f.budgets[:-1]), 1e300) - f.lower(f.budgets[1:])
        k = int(np.argmax(step))
        return float(0.5 * (f.budgets[k] + f.budgets[k + 1]))

    def _solve(self, budget: float, left: int) -> None:
        self.results[budget] = self._run(budget, left).result()

    def _run(self, budget: float, left: int) -> Run:
        """Bound, dive, finish and improvement at a budget, with its share of the time."""
        instance, loop = at_budget(self.instance, budget), self.loop
        loop.set_budget(budget)
        loop.refix(Fixing(*loop.coupling.free_jobs()))
        run = Run(instance, self.team, self._options(budget, left), self.listeners)
        for at, p in self.proofs:
            shift = p.carbon_price * (at - budget) if p.carbon_price > 0 else 0.0
            moved = DualPoint(p.price, p.carbon_price, p.site_lower, p.bound + shift)
            if moved.bound > loop.centre.bound:
                loop.centre = moved
        for tonnes, incumbent in self.schedules:
            if tonnes <= budget:
                run.offer(incumbent)
        with suppress(Interrupted):
            raise_bound(run, loop, self.crew, hopeful=False)  # the budget is above the certified minimum
            run.options = run.options.updated(rel_gap=self._rel_gap(run.bound))
            if not run.must_stop():
                run.phase = "dive"
                with self.team.sheet.section("recovery"):
                    dive(loop, run.options.recovery, lambda step: run.record(step, loop))
                    settle(run, loop, self.crew, self._keep)
                    improve(run, loop, self.crew, self._keep)
        if run.proof is not None:
            self.proofs.append((budget, run.proof))
        if run.incumbent is not None:
            tonnes = float(emissions_t(instance, run.incumbent.schedule).sum())
            self.schedules.append((tonnes, run.incumbent))
        return run

    def _keep(self, result: Result) -> None:
        """Nothing is written before the end."""

    def _options(self, budget: float, left: int) -> Options:
        """A gap relative to the frontier's scale, and this budget's share of the time that is left."""
        here = float(self._frontier().lower(np.array([budget]))[0]) if self.results else np.inf
        now = process_seconds()
        until = now + (self.options.time_limit_seconds - now) / left
        seconds = max(until, 0.0)
        return self.options.updated(rel_gap=self._rel_gap(here), time_limit_seconds=seconds, method="lagrangian")

    def _rel_gap(self, cost: float) -> float:
        """The gap asked for, relative to a net cost (USD) instead of the frontier's scale."""
        scale = self._frontier().scale if self.results else 0.0
        return min(1.0, self.options.rel_gap * max(1.0, scale / max(abs(cost), 1.0)))
