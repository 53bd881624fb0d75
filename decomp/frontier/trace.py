"""The frontier of net cost against carbon budget, by the epsilon-constraint method (Haimes, Lasdon and Wismer 1971).

All budgets share one Lagrangian loop: columns stay valid at every budget, prices prove a line over all of them, and a
schedule has a cost curve over budgets (see `fleet_curve`). First the bounds are proved, at the budgets where the lower
curve bends most. Then schedules are sought in the gaps between the curves, each with its cost curve. Where a gap stays
open, neighbourhood search follows, and cost curves of what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace

import numpy as np

from decomp.bound.coupling import Coupling, Fixing
from decomp.bound.infeasible import least_emissions, refuse_power_and_work
from decomp.bound.lagrangian import LagrangianLoop, first_prices
from decomp.frontier.envelope import Envelope
from decomp.frontier.fleet_curve import cost_curve
from decomp.frontier.known import known_curves, take
from decomp.lp.watch import Interrupted
from decomp.model.accounts import emissions_t
from decomp.model.frontier import Frontier, at_budget
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.ranks.clock import process_seconds
from decomp.ranks.mpi import Team
from decomp.ranks.timesheet import OTHER
from decomp.ranks.workers import Workers
from decomp.schedule.dive import dive, room_for_all
from decomp.schedule.finish import finish
from decomp.schedule.incumbent import Incumbent, admits
from decomp.site.service import SiteReader, muster
from decomp.solver.bounding import iterate_bound
from decomp.solver.phases import by_prices, complete, improve
from decomp.state.solve_state import Hooks, Listener, Run

FIRST = 0.02  # distance of the least budget from the minimum, share of the range up to where the budget is slack
ROUGH = 0.1  # of the gap asked for: tolerance of the bound at a budget
SAME = 1e-6  # of a budget, at least of a tonne: closer ones are the same to the certificate
SETTLED = 5e-4  # relative tolerance of prices with the jobs fixed
MOST_BUDGETS = 6  # times the number asked for: most budgets, where gaps stay open
FAR, NEAR = 0.3, 0.05  # of the gap aimed at: distance on the lower curve of budgets at which schedules are sought

Keep = Callable[[Callable[[], Frontier]], None]


def trace(
    instance: Instance | None,
    team: Team,
    options: Options,
    budgets: int | Sequence[float] = 10,
    *,
    read: SiteReader | None = None,
    listeners: Iterable[Listener] = (),
    keep: Keep = lambda so_far: None,
    known: Frontier | None = None,
) -> Frontier | None:
    """Trace the frontier on all ranks of a team.

    Parameters
    ----------
    instance : at the root; other ranks may pass None. Its own budget does not matter.
    options : `rel_gap` is asked for at every budget, relative to the largest net cost on the frontier;
        `time_limit_seconds` is shared by the budgets.
    budgets : t CO2; or how many at least, between the certified minimum and where the budget is slack; more follow as
        long as the curves are somewhere further apart than asked for.
    keep : called after every budget and every schedule with what gives the frontier so far (root only).
    known : an earlier frontier of the instance, from which to go on (root only).

    Returns
    -------
    The frontier at the root, None on the others. A stop signal ends it with the budgets done so far.

    Raises
    ------
    Infeasible : there is no schedule at any budget.
    Interrupted : time or a stop signal ended it before the first bound.
    InputError : the method is not the hybrid one, whose phases these are; or there are scenarios; on all ranks. Or a
        budget asked for is below the certified minimum; at the root.
    """
    team.at_root(lambda: _refuse(instance, options), "frontier")
    workers = muster(instance, Workers(team), read)
    if not team.is_root:
        with team.sheet.section(OTHER):
            workers.serve()
        return None
    assert instance is not None
    try:
        with team.sheet.section(OTHER):
            return FrontierLoop(instance, workers, options, listeners, keep).trace(budgets, known)
    finally:
        workers.dismiss()


def _refuse(instance: Instance | None, options: Options) -> None:
    """Other methods have other phases; cost curves change the jobs group by group, which scenarios have in common."""
    if options.method != "hybrid":
        raise InputError(f"method: {options.method!r}, a frontier is traced by the phases of method 'hybrid'")
    if instance is not None and instance.n_scenarios:
        raise InputError(
            f"scenarios: {instance.n_scenarios}, a frontier is of a fleet without them; `solve` with other carbon "
            "budgets gives points of it"
        )


class FrontierLoop:
    """Bounds and schedules at ever more budgets until the gap between the curves is closed. Root only."""

    def __init__(
        self, instance: Instance, workers: Workers, options: Options, listeners: Iterable[Listener], keep: Keep
    ):
        self.instance, self.workers, self.options, self.keep = instance, workers, options, keep
        self.team = workers.team
        self.hooks = Hooks(listeners=list(listeners))
        self.unlimited = at_budget(instance, np.inf)
        self.envelope = Envelope(options.rel_gap)
        self.runs = self.envelope.runs
        self.steps: dict[float, float] = {}
        self.left = 1
        workers.limit(options.time_limit_seconds)
        refuse_power_and_work(instance, workers, options.bundle, self._over)
        self.minimum = least_emissions(instance, workers, options.bundle, self._over)
        coupling = Coupling.of(self.unlimited)
        price = first_prices(coupling, instance.sites, instance.carbon_price_usd_per_t)
        self.loop = LagrangianLoop(coupling, workers, coupling.multipliers(price), options.bundle)

    def trace(self, budgets: int | Sequence[float], known: Frontier | None = None) -> Frontier:
        if known is not None:
            self._take(known)
        most = MOST_BUDGETS * budgets if isinstance(budgets, int) else 0
        if isinstance(budgets, int):
            self._spread(budgets, most)
        else:
            self._raise_all(budgets)
        for budget in sorted(self.runs, reverse=True):
            self._schedule(budget)
        for budget in sorted(self.runs):
            if not self._over():
                with suppress(Interrupted):
                    self._improve(self.runs[budget])
        if most:
            self._close_holes(most, NEAR)
            self._close_holes(most, 0.0, search=True)
        return self._frontier()

    def _take(self, known: Frontier) -> None:
        """Go on from the bounds and schedules of an earlier frontier."""
        for budget, result in zip(known.budgets.tolist(), known.results, strict=True):
            self.runs[budget] = run = self._run(budget)
            take(run, result)
        self.envelope.curves += known_curves(self.unlimited, self.loop.coupling, known)

    def _spread(self, least: int, most: int) -> None:
        """Bounds at budgets between the minimum and where the budget is slack, and schedules in the gaps."""
        self.left = 3 * least
        slack = max(self.runs) if self.runs else self._slack()
        same, range_t = SAME * max(abs(slack), 1.0), slack - self.minimum.tonnes
        if range_t > same:  # else carbon binds nowhere, and one budget is all of the frontier
            first = self.minimum.tonnes + FIRST * range_t
            for budget in np.linspace(slack, first, max(2, (least + 1) // 2))[1:].tolist():
                self._raise(budget)
        while len(self.runs) < most and not self._over() and (bend := self.envelope.bend()) is not None:
            self._raise(bend)
        if (cheapest := self.runs[slack].incumbent) is not None:
            self._add_schedule(self.runs[slack], cheapest, 0.0)
        self._close_holes(most, FAR)
        while len(self.runs) < least and not self._over():
            at = np.array(sorted(self.runs))
            apart, middle = max(zip(np.diff(at), 0.5 * (at[1:] + at[:-1]), strict=True), default=(0.0, slack))
            if apart <= same:
                return
            self._raise(float(middle))

    def _raise_all(self, budgets: Sequence[float]) -> None:
        """Bounds at the budgets given (t), from the largest down."""
        self.left, least = 3 * len(budgets), self.minimum.tonnes
        for budget in sorted(budgets, reverse=True):
            if budget < least:
                raise InputError(f"budget of {budget:,.6g} t is below the certified minimum of {least:,.6g} t")
        for budget in sorted(budgets, reverse=True):
            if not (self.runs and self.team.signalled):
                self._raise(budget)

    def _over(self) -> bool:
        return self.team.signalled or process_seconds() >= self.options.time_limit_seconds

    def _slack(self) -> float:
        """Solve without a budget; the emissions (t) of that schedule are the least budget known to be slack."""
        run = self._raise(np.inf)
        with suppress(Interrupted), self.team.sheet.section("recovery"):
            self._find(run)
        del self.runs[np.inf]
        tonnes = float(self.loop.master.means()[1].sum())
        if run.incumbent is not None:
            tonnes = float(emissions_t(self.instance, run.incumbent.schedule).sum())
        budget = max(tonnes + 1e-9 * abs(tonnes), self.minimum.tonnes)
        run.instance = at_budget(self.instance, budget)
        self.runs[budget] = run
        self.steps[budget] = self.steps.pop(np.inf)
        return budget

    def _close_holes(self, most: int, apart: float, search: bool = False) -> None:
        """Schedules where the gap is open, as long as `Envelope.place` finds a budget for one at the distance `apart`.

        `search` : followed by neighbourhood search. `most` : budgets in all.
        """
        while not self._over() and (place := self.envelope.place(apart)) is not None:
            if place not in self.runs:
                if len(self.runs) >= most:
                    return
                self._raise(place)
            self._schedule(place)
            if search:
                with suppress(Interrupted):
                    self._improve(self.runs[place])

    def _run(self, budget: float) -> Run:
        """The solve at a budget (t), on the loop of all."""
        run = Run(at_budget(self.instance, budget), self.workers, self.options, self.hooks)
        run.present = self.loop
        return run

    def _raise(self, budget: float) -> Run:
        """The bound at a budget (t), in its share of the time."""
        if budget in self.runs:
            return self.runs[budget]
        self.runs[budget] = run = self._run(budget)
        self._start(run)
        with suppress(Interrupted):
            self._converge(run)
        self.steps[budget] = self.loop.master.step
        self._keep()
        return run

    def _keep(self) -> None:
        if np.inf not in self.runs:  # that budget becomes another one
            self.keep(self._frontier)

    def _converge(self, run: Run) -> None:
        """Iterate the bound at the loop's budget."""
        tolerance = ROUGH * self._rel_gap(self.loop.centre.bound)
        iterate_bound(run, tolerance, hopeful=False)  # there is a schedule

    def _start(self, run: Run) -> None:
        """Set the loop to the run's budget and to the prices that prove most there; allot the run its time."""
        budget, loop, now = run.instance.carbon_budget_t, self.loop, process_seconds()
        loop.set_budget(budget)
        loop.refix(Fixing(*loop.coupling.free_jobs()))
        for other in self.runs.values():
            if (p := other.proof) is not None:
                tonnes = other.instance.carbon_budget_t
                shift = p.carbon_price * (tonnes - budget) if p.carbon_price > 0 else 0.0
                moved = replace(p, bound=p.bound + shift)
                if moved.bound > loop.centre.bound:
                    loop.centre, loop.master.step = moved, self.steps.get(tonnes, loop.master.step)
        run.prove(loop.centre)
        seconds = (self.options.time_limit_seconds - now) / self.left
        self.left = max(self.left - 1, 1)
        rel_gap = self._rel_gap(loop.centre.bound)
        run.options = self.options.updated(rel_gap=rel_gap)
        run.deadline = now + max(seconds, 0.0)

    def _schedule(self, budget: float) -> None:
        """The best schedule known for a budget (t), else a new one; once a budget."""
        if self._over() or budget in self.envelope.tried:
            return
        self.envelope.tried.add(budget)
        with suppress(Interrupted):
            self._offer(self.runs[budget])
            if self.runs[budget].proof is not None:
                self._plan(self.runs[budget])
        self._keep()

    def _plan(self, run: Run) -> None:
        """If the gap is open: a dive and a finish at the budget's prices, and the cost curve of what they give."""
        self._start(run)
        if run.must_stop():
            return
        self._converge(run)
        with self.team.sheet.section("recovery"):
            self._find(run)
            if run.incumbent is None:
                complete(run, by_prices)

    def _find(self, run: Run) -> None:
        """A dive and a finish at the loop's prices, without the budget."""
        run.phase = "dive"
        dive(self.loop, run.options.recovery, run.record)
        self._reprice(run)
        found = finish(self.unlimited, self.loop, run.options.recovery, joint=False)
        if found is not None and admits(self.unlimited, found):
            self._add_schedule(run, found, self.loop.centre.carbon_price)
        run.record(None)

    def _improve(self, run: Run) -> None:
        """Neighbourhood search from the best schedule known, where its gap is larger than asked for."""
        self._offer(run)
        self._start(run)
        if (before := run.incumbent) is None or before.cost - run.bound <= self.options.rel_gap * self.envelope.scale:
            return
        self.loop.refix(before.fixing)
        with self.team.sheet.section("recovery"):
            self._reprice(run)
            improve(run, by_prices, replans=True)
            if run.incumbent is not None and run.incumbent is not before:
                self._add_schedule(run, run.incumbent, self.loop.centre.carbon_price)
        self._keep()

    def _reprice(self, run: Run) -> None:
        """Iterate with all jobs fixed."""
        run.phase = "finish"
        for _ in range(run.options.recovery.settle_iterations):
            step = self.loop.iterate()
            if run.record(step) or step.converged(SETTLED):
                return

    def _add_schedule(self, run: Run, found: Incumbent, price: float) -> None:
        """Offer a new schedule, found at a carbon price (USD/t), and add its cost curve over the open gaps."""
        budget = run.instance.carbon_budget_t
        prices = self.envelope.reach(budget, price) if np.isfinite(budget) else []
        if float(emissions_t(self.instance, found.schedule).sum()) <= budget:
            run.offer(found)
        if prices:
            self._add_curve(found, prices)
            self._offer(run)

    def _add_curve(self, incumbent: Incumbent, prices: Sequence[float]) -> None:
        """Add the cost curve of a schedule over a range of carbon prices, USD/t."""
        runs, asked = room_for_all(self.loop, incumbent.fixing), self.envelope.asked()
        curve = cost_curve(self.unlimited, incumbent.schedule, self.loop, runs, prices, asked)
        self.envelope.curves += [curve] if curve else []

    def _offer(self, run: Run) -> None:
        """Offer the run the schedules of smaller budgets, and of the cost curves at its own."""
        budget = run.instance.carbon_budget_t
        for smaller, other in self.runs.items():
            if smaller <= budget:
                run.offer(other.incumbent)
        run.offer(self.envelope.cheapest(budget, run.cost))

    def _frontier(self) -> Frontier:
        """What is known by now; asking does not change what follows."""
        at = sorted(self.runs)
        runs = [copy(self.runs[budget]) for budget in at]
        for run in runs:
            self._offer(run)
        results = tuple(run.result() for run in runs)
        tonnes = [
            np.inf if r.schedule is None else float(emissions_t(self.instance, r.schedule).sum()) for r in results
        ]
        frontier = Frontier(self.minimum.tonnes, self.minimum.ray, np.array(at), results, np.array(tonnes))
        return replace(frontier, steps=self.envelope.steps(frontier))

    def _rel_gap(self, cost: float) -> float:
        """The gap aimed at, relative to a net cost (USD) instead of the frontier's scale."""
        return min(1.0, self.envelope.gap / max(abs(cost), 1.0))
