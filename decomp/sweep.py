"""The frontier by one run: budget after budget, each warm from all that went before.

Columns stay valid at every budget, prices prove a line over all of them, and a schedule is traded along its curve to
every budget that it can keep. So the lower curve is raised at evenly spread budgets first; then schedules are made from
the largest budget down, new integers only where those at hand leave more of a gap than is asked for; then further
budgets close the holes between the curves. Where one stays open in spite of all that, a search for better schedules
follows, and what holes it leaves are closed the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from decomp.accounts import emissions_t
from decomp.coupling import Coupling
from decomp.crew import Crew, SiteReader
from decomp.frontier import Frontier, Step, at_budget, chords
from decomp.infeasible import least_emissions, refuse_power_and_work
from decomp.instance import Array, InputError, Instance
from decomp.lagrangian import DualPoint, LagrangianLoop, first_prices
from decomp.master import Fixing
from decomp.options import Options
from decomp.progress import process_seconds
from decomp.recovery import Incumbent, dive, finish
from decomp.result import Result
from decomp.run import Listener, Run
from decomp.serial import Interrupted
from decomp.solve import improve, muster, raise_bound, settle
from decomp.team import Team
from decomp.timesheet import OTHER
from decomp.trade import Trade, trade_all

FIRST = 0.02  # distance of the first budget from the minimum, share of the way to where the budget is slack
ROUGH = 0.05  # of the gap asked for: what the bound, prices with the jobs fixed, and mixtures of steps may leave
SETTLED = 5e-4
WARM = 3  # iterations on coming back to a budget
BEYOND, FURTHER = 1.1, 40.0  # the largest price of a trade: relative to that of the budget, plus USD/t
ACCURACY = 0.2  # of the gap asked for: by how much a curve may be too dear
MOST_BUDGETS = 6  # times as many as were asked for: further ones, where the curves differ more than asked for
NEAR = 2e-4  # least distance of those to other budgets, share of the way from the first to the last
CLOSES = 0.6  # of the gap asked for: by how much net cost may fall with the budget where one schedule is to do
GROUP_SITES = 5  # of a trade: larger groups take longer and bring little
GRID = 4000  # emissions among which corners of the upper curve are chosen


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
    budgets : t CO2; or how many at least, between the certified minimum and where the budget is slack; more follow as
        long as the curves are somewhere further apart than asked for.

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


@dataclass
class Base:
    """A schedule that is traded, and the price of a tonne up to which it has been, USD/t."""

    incumbent: Incumbent
    price: float
    again: bool = False


class Sweep:
    """What is known at all budgets: best prices, schedules and their curves, and the loop that finds more."""

    def __init__(self, instance: Instance, team: Team, crew: Crew, options: Options, listeners: Iterable[Listener]):
        self.instance, self.team, self.crew, self.options = instance, team, crew, options
        self.listeners = list(listeners)
        self.unlimited = at_budget(instance, np.inf)
        self.runs: dict[float, Run] = {}
        self.bases: list[Base] = []
        self.trades: list[Trade] = []
        self.left = 1
        refuse_power_and_work(instance, crew, options.bundle, team.stop_requested)
        self.minimum = least_emissions(instance, crew, options.bundle, team.stop_requested)
        coupling = Coupling.of(self.unlimited)
        price = first_prices(coupling, instance.sites, instance.carbon_price_usd_per_t)
        self.loop = LagrangianLoop(coupling, crew, price, 0.0, options.bundle)

    def trace(self, budgets: int | Sequence[float]) -> Frontier:
        least = self.minimum.tonnes
        if isinstance(budgets, int):
            self.left = 3 * budgets
            slack = self._slack()
            first = least + FIRST * (slack - least)
            even = np.linspace(slack, first, max(2, (budgets + 1) // 2))[:budgets]
            self._solve(even.tolist())
            self._close_holes(budgets)
        else:
            self.left = 3 * len(budgets)
            for budget in budgets:
                if budget < least:
                    raise InputError(f"budget of {budget:,.6g} t is below the certified minimum of {least:,.6g} t")
            self._solve(sorted(budgets, reverse=True))
        for budget in sorted(self.runs):
            if not self.team.signalled:
                with suppress(Interrupted):
                    self._improve(self.runs[budget])
        if isinstance(budgets, int):
            self._close_holes(budgets)
        return self._frontier()

    def _slack(self) -> float:
        """Solve without a budget; the emissions of that schedule are a budget that costs nothing."""
        run = self._raise(np.inf)
        with suppress(Interrupted):
            self._plan(run)
        del self.runs[np.inf]
        tonnes = float(self.loop.master.means()[1].sum())
        if run.incumbent is not None:
            tonnes = float(emissions_t(self.instance, run.incumbent.schedule).sum())
            self.bases.append(Base(run.incumbent, 0.0))
        budget = max(tonnes + 1e-9 * abs(tonnes), self.minimum.tonnes)
        run.instance = at_budget(self.instance, budget)
        self.runs[budget] = run
        return budget

    def _close_holes(self, budgets: int) -> None:
        """Further budgets, as long as there is a place for one."""
        while (place := self._widest(budgets)) is not None:
            self._solve([place])

    def _widest(self, budgets: int) -> float | None:
        """A place for a budget, where the curves are furthest apart, and further than asked for.

        Up to so many budgets there is always a place: the middle of such a hole. Then only where no other budget is
        near: so far below the hole's upper end that a schedule there closes it from its own budget on.
        """
        at, extra = np.array(sorted(self.runs)), len(self.runs) >= budgets
        over = self.team.signalled or process_seconds() >= self.options.time_limit_seconds
        if over or len(at) >= MOST_BUDGETS * budgets:
            return None
        grid = np.linspace(at[0], at[-1], GRID)
        lower, asked = self._lower(grid), self.options.rel_gap * self._scale()
        gap, apart = self._upper(grid) - lower, np.abs(grid[:, None] - at).min(axis=1)
        wide = (gap > asked) & (apart > (NEAR * (at[-1] - at[0]) if extra else 0.0))
        pieces = np.split(np.arange(GRID), np.flatnonzero(np.diff(2 * np.searchsorted(at, grid) + wide)) + 1)
        holes = [piece for piece in pieces if wide[piece[0]]]
        if holes:
            hole = max(holes, key=lambda hole: float(gap[hole].max()))
            closing = hole[lower[hole] <= lower[hole[-1]] + CLOSES * asked]
            return float(grid[closing[0] if extra else hole[len(hole) // 2]])
        k = int(np.argmax(np.diff(at)))
        return None if extra else float(0.5 * (at[k] + at[k + 1]))

    def _solve(self, budgets: Sequence[float]) -> None:
        """Bounds at falling budgets, then schedules."""
        for budget in budgets:
            if budget not in self.runs and not (self.runs and self.team.signalled):
                self._raise(budget)
        for budget in budgets:
            if budget in self.runs and not self.team.signalled:
                with suppress(Interrupted):
                    self._schedule(budget)

    def _raise(self, budget: float) -> Run:
        """The bound at a budget, with its share of the time."""
        self.runs[budget] = run = Run(at_budget(self.instance, budget), self.team, self.options, self.listeners)
        self._start(run)
        with suppress(Interrupted):
            tolerance = ROUGH * self._rel_gap(self.loop.centre.bound)
            raise_bound(run, self.loop, self.crew, hopeful=False, tolerance=tolerance)  # there is a schedule
        return run

    def _start(self, run: Run) -> None:
        """The loop at the run's budget and the prices that prove most there; this budget's share of the time."""
        budget, loop, now = run.instance.carbon_budget_t, self.loop, process_seconds()
        loop.set_budget(budget)
        loop.refix(Fixing(*loop.coupling.free_jobs()))
        for other in self.runs.values():
            if (p := other.proof) is not None:
                shift = p.carbon_price * (other.instance.carbon_budget_t - budget) if p.carbon_price > 0 else 0.0
                moved = DualPoint(p.price, p.carbon_price, p.site_lower, p.bound + shift)
                if moved.bound > loop.centre.bound:
                    loop.centre = moved
        seconds = (self.options.time_limit_seconds - now) / self.left
        self.left = max(self.left - 1, 1)
        rel_gap = self._rel_gap(loop.centre.bound)
        run.options = self.options.updated(rel_gap=rel_gap, method="hybrid")
        run.deadline = now + max(seconds, 0.0)

    def _schedule(self, budget: float) -> None:
        """The best of the schedules at hand, the last one traded further if it must; else a new one."""
        run = self.runs[budget]
        self._offer(run)
        if run.proof is None or run.phase != "bound":
            return
        if self.bases:
            last = max(self.bases, key=lambda base: base.price)
            if last.price < run.proof.carbon_price:
                top = max(r.proof.carbon_price for r in self.runs.values() if r.proof is not None)
                high = top if last.again else run.proof.carbon_price
                self._trade(last.incumbent, (last.price, last.price, BEYOND * high))
                last.price, last.again = high, True
                self._offer(run)
        self._plan(run)

    def _plan(self, run: Run) -> None:
        """While the gap is open, new integers at a budget's prices, traded to the budget.

        Those that do not come down to it are planned once more, for a budget that is smaller by twice what was missed.
        """
        self._start(run)
        if run.must_stop():
            return
        for _ in range(WARM):
            run.record(self.loop.iterate(), self.loop)
            run.prove(self.loop.centre)
        budget = run.instance.carbon_budget_t
        with self.team.sheet.section("recovery"):
            missed = self._find(run) - budget
            if 0.0 < missed < np.inf and not run.must_stop():
                self.loop.set_budget(max(budget - 2.0 * missed, self.minimum.tonnes))
                self.loop.refix(Fixing(*self.loop.coupling.free_jobs()))
                for _ in range(WARM):
                    run.record(self.loop.iterate(), self.loop)
                self._find(run)
                self.loop.set_budget(budget)
            if run.incumbent is None:
                settle(run, self.loop, self.crew, self._keep)

    def _find(self, run: Run) -> float:
        """New integers at the loop's prices, and their curve; the least that they can emit, t, inf: none found."""
        run.phase = "dive"
        dive(self.loop, run.options.recovery, lambda step: run.record(step, self.loop))
        self._reprice(run)
        before = len(self.trades)
        found = finish(self.unlimited, self.loop, self.crew, run.options.recovery, polish=False)
        if found is not None:
            self._land(run, found)
        run.record(None, self.loop)
        return float(self.trades[-1].tonnes[0]) if len(self.trades) > before else np.inf

    def _improve(self, run: Run) -> None:
        """While the gap is open, what a solve does to improve its schedule, from the best that is at hand."""
        self._offer(run)
        self._start(run)
        if run.incumbent is None or run.must_stop():
            return
        before = run.incumbent
        self.loop.refix(before.fixing)
        with self.team.sheet.section("recovery"):
            self._reprice(run)
            improve(run, self.loop, self.crew, self._keep)
            if run.incumbent is not before:
                self._land(run, run.incumbent)

    def _reprice(self, run: Run) -> None:
        """Prices with all jobs fixed."""
        run.phase = "finish"
        for _ in range(run.options.recovery.settle_iterations):
            step = self.loop.iterate()
            if run.record(step, self.loop) or step.converged(SETTLED):
                return

    def _land(self, run: Run, found: Incumbent) -> None:
        """Trade a new schedule from the budget above that of its run to the budget below."""
        budget, own = run.instance.carbon_budget_t, self.loop.centre.carbon_price
        prices = {b: r.proof.carbon_price for b, r in self.runs.items() if r.proof is not None}
        low = max((p for b, p in prices.items() if b > budget), default=0.0)
        high = max(own, min((p for b, p in prices.items() if b < budget), default=0.0))
        if np.isfinite(budget):
            self._trade(found, (min(low, own), own, BEYOND * high + FURTHER))
            self.bases.append(Base(found, high))
        else:
            self._trade(found, (0.0, 0.0, 0.0))
        if float(emissions_t(self.instance, found.schedule).sum()) <= budget:
            run.offer(found)
        self._offer(run)

    def _trade(self, incumbent: Incumbent, prices: tuple[float, float, float]) -> None:
        """One more curve."""
        accuracy = ACCURACY * self.options.rel_gap * self._scale()
        trade = trade_all(self.unlimited, incumbent, self.crew, GROUP_SITES, prices, accuracy)
        self.trades += [trade] if trade else []

    def _offer(self, run: Run) -> None:
        """The best that is at hand: schedules of smaller budgets, and of the curves at this one."""
        budget = run.instance.carbon_budget_t
        for smaller, other in self.runs.items():
            if smaller <= budget:
                run.offer(other.incumbent)
        run.offer(self._at(budget, run.cost))

    def _at(self, budget: float, limit: float = np.inf) -> Incumbent | None:
        """The cheapest schedule on the curves at a budget, where it costs less than a limit (USD)."""
        costs = [float(trade.cost_at(budget)) for trade in self.trades]
        return self.trades[int(np.argmin(costs))].at(budget) if min(costs, default=np.inf) < limit else None

    def _upper(self, budgets: Array) -> Array:
        """The upper curve so far; inf: no schedule."""
        runs = [np.where(budgets >= b, run.cost, np.inf) for b, run in self.runs.items()]
        return np.asarray(np.min([*runs, *(trade.cost_at(budgets) for trade in self.trades)], axis=0))

    def _lower(self, budgets: Array) -> Array:
        """The lower curve so far."""
        proofs = [(b, run.proof) for b, run in self.runs.items() if run.proof is not None]
        return np.asarray(np.max([p.bound + p.carbon_price * (b - budgets) for b, p in proofs], axis=0))

    def _frontier(self) -> Frontier:
        at = sorted(self.runs)
        for budget in at:
            self._offer(self.runs[budget])
        results = tuple(self.runs[b].result() for b in at)
        tonnes = [
            np.inf if r.schedule is None else float(emissions_t(self.instance, r.schedule).sum()) for r in results
        ]
        frontier = Frontier(self.minimum.tonnes, self.minimum.ray, np.array(at), results, np.array(tonnes))
        return replace(frontier, steps=self._steps(frontier))

    def _steps(self, frontier: Frontier) -> tuple[Step, ...]:
        """Chains of schedules along the cheapest curves; mixtures of two neighbours are hardly dearer."""
        grid = np.linspace(frontier.budgets[-1], frontier.budgets[0], GRID)
        costs = np.array([frontier.upper(grid), *(trade.cost_at(grid) for trade in self.trades)])
        cheapest, found = costs.argmin(axis=0), list[Step]()
        for part in np.split(np.arange(GRID), np.flatnonzero(np.diff(cheapest)) + 1):
            if (k := cheapest[part[0]]) > 0:
                corners = chords(grid[part], costs[k, part], ROUGH * self.options.rel_gap * frontier.scale)
                made = [self.trades[k - 1].at(float(budget)) for budget in grid[part][corners]]
                found += self._chain([incumbent for incumbent in made if incumbent is not None])
        return tuple(found)

    def _chain(self, incumbents: Sequence[Incumbent]) -> list[Step]:
        """Schedules of a curve, from the cheapest on, as steps."""
        steps: list[Step] = []
        for incumbent in incumbents:
            tonnes = float(emissions_t(self.instance, incumbent.schedule).sum())
            if not steps or tonnes < steps[-1].tonnes:
                steps.append(Step(incumbent.schedule, tonnes, incumbent.cost, mixes=bool(steps)))
        return steps

    def _scale(self) -> float:
        """What gaps are relative to, USD: the largest net cost found, as long as there is none the largest bound."""
        costs = np.abs([run.cost for run in self.runs.values()])
        bounds = np.abs([run.bound for run in self.runs.values()])
        known = costs[np.isfinite(costs)] if np.isfinite(costs).any() else bounds[np.isfinite(bounds)]
        return float(known.max(initial=1.0))

    def _rel_gap(self, cost: float) -> float:
        """The gap asked for, relative to a net cost (USD) instead of the frontier's scale."""
        return min(1.0, self.options.rel_gap * max(1.0, self._scale() / max(abs(cost), 1.0)))

    def _keep(self, result: Result) -> None:
        """Nothing is written before the end."""
