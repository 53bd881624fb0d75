"""A fleet run window after window: plan, do the first step, plan again; each solve warm from the last.

Where the future is not known, a window is planned for what is expected, then answered: with its jobs and day-ahead
commitments held, all else is settled for what comes during the step, and for what is expected later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from decomp.bound.coupling import FREE, Coupling, Fixing
from decomp.bound.lagrangian import Start, first_prices
from decomp.model.accounts import account, allot
from decomp.model.instance import SERIES, Array, InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Result, Schedule
from decomp.ranks.clock import process_seconds
from decomp.ranks.mpi import Team
from decomp.rolling.windows import Executed, Expect, Window
from decomp.schedule.held import of_free_fleet, with_decisions_of
from decomp.schedule.incumbent import fixing_of
from decomp.solver.series import Ask, led_by_root
from decomp.state.solve_state import Listener, Run

COLUMNS_CARRIED = 6  # answers of each site whose prices are asked again
SHORT_STEP = 3.0  # first proximal step from prices that are nearly right


@dataclass(frozen=True)
class Rolling:
    """How a run is planned: periods of a window and of a step, and what `Executed` is told.

    `warm`: each solve starts from the last one's prices.
    """

    window: int
    step: int
    foresight: bool = False
    switch_usd: float = 0.0
    warm: bool = True

    def check(self, instance: Instance) -> None:
        """Refuse what cannot be rolled."""
        if instance.n_scenarios:
            raise InputError(
                f"scenarios: the instance has {instance.n_scenarios}, of a run one comes; --history makes those of "
                "every window"
            )
        hours = instance.period_h
        if not 1 <= self.step <= self.window:
            step, window = hours * self.step, hours * self.window
            raise InputError(
                f"step: {step:g} h, must be between the period's {hours:g} h and the window's {window:g} h"
            )
        jobs = instance.jobs
        late = np.flatnonzero(jobs.mandatory & (self.step + jobs.periods - 1 > self.window))
        if self.window < instance.n_periods and len(late):
            longest = late[np.argmax(jobs.periods[late])]
            least = hours * (self.step + jobs.periods[longest] - 1)
            raise InputError(
                f"window: {hours * self.window:g} h, must be at least {least:g} h: a step, and the length of mandatory "
                f"job {str(jobs.name[longest])!r} less one period"
            )


@dataclass(frozen=True)
class Planned:
    """A window's plan, for the table. USD, t CO2, seconds; costs are net costs of all periods of the window.

    `planned_usd` leaves out what is charged for moved jobs; `bound_iterations` are those before jobs are fixed,
    `first_prices` the prices asked before the first of them.
    """

    number: int
    now: int
    end: int
    jobs: int
    running: int
    moved: int
    first_prices: int
    bound_iterations: int
    iterations: int
    gap: float
    planned_usd: float
    budget_t: float
    planned_t: float
    seconds: float


class Done(NamedTuple):
    """A plan whose first step has been done: its row, its window's instance and what it does."""

    planned: Planned
    instance: Instance
    plan: Schedule


@dataclass(frozen=True, eq=False)
class Operation:
    """A run: what was done and every plan of it; complete if no window was left without a plan.

    `signalled` : a stop signal ended it.
    """

    past: Executed
    plans: tuple[Planned, ...]
    signalled: bool = False

    @property
    def complete(self) -> bool:
        return self.past.complete

    @property
    def schedule(self) -> Schedule:
        return self.past.schedule()

    def realised(self, plan: Planned) -> float:
        """Net cost of what was then done in the periods of a plan, USD; of later arrivals too."""
        return self.past.cost(min(plan.end, self.past.now)) - self.past.cost(plan.now)


Tell = Callable[[Planned, Window, Result], None]
Keep = Callable[[Sequence[Planned], Start | None], None]


class Last(NamedTuple):
    """What the next solve is warm from."""

    window: Window
    plan: Schedule
    start: Start


class Planner:
    """A rolling run, at the root.

    Parameters
    ----------
    instance : the whole run.
    options : of every window's solve; the time limit is that of one window.
    expect : what is known of a window when it starts; default: everything.
    tell : called with every plan, before its first step is done.
    keep : called with all plans and the start of the next solve, after every window.

    Raises
    ------
    InputError : windows and steps do not fit the instance.
    """

    def __init__(
        self,
        instance: Instance,
        options: Options,
        rolling: Rolling,
        *,
        expect: Expect | None = None,
        tell: Tell = lambda planned, window, result: None,
        keep: Keep = lambda plans, start: None,
    ):
        rolling.check(instance)
        self.options, self.rolling, self.expect, self.tell, self.keep = options, rolling, expect, tell, keep
        self.past = Executed(instance, foresight=rolling.foresight, switch_usd=rolling.switch_usd)
        self.plans: list[Planned] = []
        self.last: Last | None = None
        self.ahead: Window | None = None

    def do_again(self, done: Sequence[Done], start: Start | None) -> None:
        """Go to where an earlier run of the same instance was: what `keep` was called with the last time."""
        window: Window | None = None
        for planned, instance, plan in done:
            cut = self._cut()
            if (instance.sizes, instance.start_utc) != (cut.instance.sizes, cut.instance.start_utc):
                raise InputError(f"plan {planned.number}: its window is another one than {cut.now} to {cut.end}")
            window = replace(cut, instance=instance)
            self.plans.append(planned)
            self.past.do(window, plan, self.rolling.step)
        if window is not None and start is not None:
            self.last = Last(window, done[-1].plan, start)

    def look_ahead(self) -> None:
        """Cut the next window, if there is one, as it is known when it starts.

        Raises
        ------
        InputError : what is expected of it cannot be.
        """
        self.ahead = None if self.past.complete else self._cut()

    def _cut(self, all_carbon: bool = False) -> Window:
        return self.past.window(self.rolling.window, self.rolling.step, all_carbon=all_carbon, expect=self.expect)

    def run(self, ask: Ask) -> Operation:
        """Plan window after window, and do the first step of each plan; ends early where a window has none."""
        while not (self.past.complete or ask.signalled):
            window, self.ahead = self.ahead or self._cut(), None
            done = self._plan(ask, window)
            if done is None and window.end < self.past.instance.n_periods and not ask.signalled:
                done = self._plan(ask, self._cut(all_carbon=True))
            self.keep(self.plans, self.last.start if self.last else None)
            if not done:
                break
        return Operation(self.past, tuple(self.plans), ask.signalled)

    def _plan(self, ask: Ask, window: Window) -> bool | None:
        """Plan a window and do its first step; whether that was done, None where there is no plan."""
        start = shifted(*self.last, window) if self.rolling.warm and self.last is not None else None
        began, ended = process_seconds(), list[Start | None]()
        options = self._options(start)
        result = ask(window.known, options, start=start, after=lambda run: ended.append(harvest(run)))
        if result.schedule is None:
            return None
        planned = self._row(window, start, result, process_seconds() - began)
        if self.expect is not None:
            return not ask.signalled and self._answer(ask, planned, window, result.schedule)
        self._do(planned, window, result)
        after = ended[-1] if ended else None  # the extensive form has no prices
        self.last = Last(window, result.schedule, after) if after is not None else None
        return True

    def _options(self, start: Start | None) -> Options:
        """Where prices are nearly right, half of the iterations between jobs will do, and a quarter of those after."""
        recovery = self.options.recovery
        if start is None:
            return self.options
        few = dict(dive_iterations=recovery.dive_iterations // 2, settle_iterations=recovery.settle_iterations // 4)
        options: Options = self.options.updated(recovery=recovery.updated(**few).to_dict())
        return options

    def _answer(self, ask: Ask, planned: Planned, window: Window, plan: Schedule) -> bool:
        """Answer what comes during the step, jobs and commitments held, and do it; whether that can be."""
        comes = self._as_it_comes(window)
        held = with_decisions_of(comes, plan)
        result = ask(held, self.options)
        if result.schedule is None:
            return False
        schedule = of_free_fleet(held, result.schedule, plan)
        answer = replace(
            result,
            bound=-np.inf,
            schedule=schedule,
            dual=None,
            allowances=allot(comes, schedule, None),
            provenance=result.provenance | {"instance_hash": comes.content_hash()},
        )
        self._do(planned, replace(window, instance=comes), answer)
        return True

    def _as_it_comes(self, window: Window) -> Instance:
        """The window with what comes during the step, and what is expected later."""
        mixed = window.instance
        during = np.arange(mixed.n_periods) < self.rolling.step
        for name, table in SERIES.items():
            comes, expected = (getattr(getattr(of, table), name) for of in (window.instance, window.known))
            values = {name: np.where(during, comes, expected)}
            mixed = replace(mixed, **{table: replace(getattr(mixed, table), **values)})
        return mixed

    def _do(self, planned: Planned, window: Window, result: Result) -> None:
        assert result.schedule is not None
        self.plans.append(planned)
        self.tell(planned, window, result)
        self.past.do(window, result.schedule, self.rolling.step)

    def _row(self, window: Window, start: Start | None, result: Result, seconds: float) -> Planned:
        assert result.schedule is not None
        sums, moved = account(window.known, result.schedule), window.moved(result.schedule)
        return Planned(
            number=len(self.plans),
            now=window.now,
            end=window.end,
            jobs=len(window.jobs),
            running=int(window.running.sum()),
            moved=moved,
            first_prices=1 + (len(start.columns) if start else len(self.options.bundle.first_factors)),
            bound_iterations=sum(it.phase == "bound" for it in result.log),
            iterations=sum(it.model is not None for it in result.log),
            gap=result.gap_rel,
            planned_usd=sums.net_cost - moved * self.rolling.switch_usd,
            budget_t=window.instance.carbon_budget_t,
            planned_t=float(sums.emissions_t.sum()),
            seconds=seconds,
        )


def roll(planner: Planner | None, team: Team, listeners: Iterable[Listener] = ()) -> Operation | None:
    """Run a fleet over all periods of an instance, on all ranks of a team.

    Parameters
    ----------
    planner : the run, at the root; None on the other ranks.
    listeners : told of every iteration of every solve (root only).

    Returns
    -------
    The operation at the root, None on the others. It ends early where a window has no plan.

    Raises
    ------
    InputError : what is expected of a later window cannot be; on all ranks.
    """
    return led_by_root(team, lambda ask: planner.run(ask) if planner else None, listeners)


def harvest(run: Run) -> Start | None:
    """The best prices of a run, and those at which each site gave the answers it uses most, if any."""
    if run.proof is None or run.present is None:
        return None
    prices = run.loop.master.most_used(COLUMNS_CARRIED)
    return Start(run.proof.price, run.proof.carbon_price, np.moveaxis(prices, 1, 0), SHORT_STEP)


def shifted(before: Window, plan: Schedule, start: Start, window: Window) -> Start:
    """A start for a window from that of an earlier one.

    Periods that both have keep their prices; later ones have the marginal cost of energy and what prices were above
    it at the same time of the last day that is known. That of the day before is tried for all periods as well: plans
    that know no later arrivals price the end of a window too low.
    """
    day = max(round(24 / window.instance.period_h), 1)
    period = np.arange(window.now, window.end)
    energy, energy_before = (_energy(w, start.carbon_price) for w in (window, before))

    def move(price: Array, least_days: int = 0) -> Array:
        days = np.maximum(-(-(period - before.end + 1) // day), least_days)
        at = period - day * days - before.now
        known, out = at >= 0, energy.copy()
        out[:, known] += (price - energy_before)[:, at[known]]
        return out

    columns = [move(start.price, 1), *(move(price) for price in start.columns)]
    return replace(start, price=move(start.price), columns=np.array(columns), fixing=carried_over(before, plan, window))


def carried_over(before: Window, plan: Schedule, window: Window) -> Fixing:
    """The last plan's decisions on the jobs that run or are still to start."""
    _, old, new = np.intersect1d(before.jobs, window.jobs, assume_unique=True, return_indices=True)
    site, start = np.full((2, len(window.jobs)), -1)
    site[new] = plan.job_site[old]
    start[new] = np.where(window.running[new], 0, plan.job_start[old] + before.now - window.now)
    known = (site >= 0) & (start >= 0)
    decided = replace(plan, job_site=np.where(known, site, -1), job_start=np.where(known, start, -1))
    fixing = fixing_of(Coupling.of(window.instance), decided)
    return Fixing(np.where(known, fixing.run, FREE), fixing.start)


def _energy(window: Window, carbon_price: float) -> Array:
    instance = window.instance
    price = carbon_price + instance.carbon_price_usd_per_t
    return first_prices(Coupling.of(instance), instance.sites, price)
