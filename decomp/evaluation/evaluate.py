"""A plan in scenarios: jobs and commitments stay, the rest answers each; what one future, or knowing, would cost.

Every amount comes as an interval between a proven bound and the cost of a schedule (Birge and Louveaux, Introduction to
Stochastic Programming, chapter 4, define the two values).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from decomp.families.futures import drawn
from decomp.model.accounts import account, by_scenario, cvar, emissions_t
from decomp.model.instance import OPTIONAL, Array, InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Result, Schedule
from decomp.model.scenarios import mean, scenario
from decomp.ranks.mpi import Team
from decomp.schedule.held import with_decisions_of
from decomp.solver.series import Ask, led_by_root
from decomp.state.solve_state import Listener

DECIDED = dict(  # what a plan's decisions are about; a fleet in which they would mean something else is another one
    sites=("name",),
    jobs=("name", "gpus", "periods"),
    candidates=("job", "site"),
    generators=("site", "day_ahead"),
    streams=("name",),
    pools=("name",),
)


def fresh_scenarios(instance: Instance, count: int, seed: int) -> Instance:
    """The instance with so many synthetic scenarios that no seed of `drawn` alone gives."""
    return drawn(instance, count, seed, 1)


class Interval(NamedTuple):
    """Between these two lies an amount, USD."""

    lower: float
    upper: float


class ChangedJob(NamedTuple):
    """A job that is run otherwise in the mean-value plan: site and first period here and there; -1: rejected."""

    job: int
    site: int
    start: int
    mean_site: int
    mean_start: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A plan's jobs and day-ahead commitments over some scenarios.

    Attributes
    ----------
    name, probability, cost : of the scenarios, (s,); net cost with the plan's jobs, USD.
    level : of CVaR.
    this : what the plan's jobs cost at best, expected or weighted by risk as in the instance, USD.
    best : the scenarios are those planned for; then `this` is what the best plan for them costs.
    mean_value : what the jobs of a plan for the expected series cost at best; None if not asked for.
    perfect : the same if jobs could wait until it is known which scenario comes; None if not asked for.
    mean_cost, perfect_cost : (s,) net cost in each scenario of these two, NaN where there is none.
    moves : where the mean-value plan differs; None if not asked for.
    """

    name: Array
    probability: Array
    cost: Array
    level: float
    this: Interval
    best: bool
    mean_value: Interval | None = None
    perfect: Interval | None = None
    mean_cost: Array | None = None
    perfect_cost: Array | None = None
    moves: tuple[ChangedJob, ...] | None = None

    @property
    def mean(self) -> float:
        """Expected net cost, USD."""
        return float(self.probability @ self.cost)

    def half_width(self) -> float:
        """Half of the mean's 95 % confidence interval by Student's t, USD; NaN if scenarios are not equally likely."""
        n = len(self.cost)
        if n < 2 or not np.allclose(self.probability, 1.0 / n) or not np.isfinite(self.cost).all():
            return np.nan
        return float(student.ppf(0.975, n - 1) * self.cost.std(ddof=1) / np.sqrt(n))

    @property
    def cvar(self) -> float:
        """Mean of the worst 1 - level of the scenarios, USD."""
        return cvar(self.cost, self.probability, self.level)

    @property
    def stochastic(self) -> Interval | None:
        """Value of the stochastic solution: what the mean-value plan costs more than this one, USD.

        Where `this` is the best plan for the scenarios, it is not negative; with fresh ones it may be.
        """
        if self.mean_value is None:
            return None
        low, high = _difference(self.mean_value, self.this)
        return Interval(max(low, 0.0), max(high, 0.0)) if self.best else Interval(low, high)

    @property
    def information(self) -> Interval | None:
        """Expected value of perfect information: what this plan costs more than plans that knew, USD."""
        if self.perfect is None:
            return None
        low, high = _difference(self.this, self.perfect)
        return Interval(max(low, 0.0), max(high, 0.0))


def _difference(a: Interval, b: Interval) -> Interval:
    return Interval(a.lower - b.upper, a.upper - b.lower)


def evaluate(
    instance: Instance | None,
    result: Result | None,
    team: Team,
    options: Options,
    *,
    fresh: Instance | None = None,
    values: bool = True,
    listeners: tuple[Listener, ...] = (),
) -> Evaluation | None:
    """Hold a result's jobs and day-ahead commitments against scenarios, on all ranks of a team.

    Parameters
    ----------
    instance, result : at the root; other ranks may pass None.
    options : of every solve; the time limit is that of one.
    fresh : the fleet with the scenarios to come (root only); default: the instance's own.
    values : also what planning for the expected series, and what knowing the scenario, would cost: one solve more for
        the former, one a scenario for the latter.

    Returns
    -------
    The evaluation at the root, None on the others.

    Raises
    ------
    InputError : no schedule, no scenarios, or scenarios of another fleet; on all ranks.
    """

    def work(ask: Ask) -> Evaluation | None:
        if instance is None or result is None:
            return None
        return _evaluate(instance, result, fresh, values, lambda one: ask(one, options))

    return led_by_root(team, work, listeners)


Solve = Callable[[Instance], Result]


def _evaluate(instance: Instance, result: Result, fresh: Instance | None, values: bool, solve: Solve) -> Evaluation:
    plan = result.schedule
    if plan is None:
        raise InputError("the result holds no schedule, whose jobs could be held")
    fleet = instance if fresh is None else fresh
    _check(instance, fleet)
    if fresh is None:
        this, cost = Interval(result.bound, result.incumbent), costs(instance, plan)
    else:
        this, cost = _held(fleet, plan, solve)
    s = fleet.scenarios
    found = Evaluation(s.name, s.probability, cost, fleet.risk_level, this, fresh is None)
    if not values:
        return found
    expected = solve(mean(instance)).schedule
    if expected is None:
        raise InputError(
            "no schedule was found for the expected series in time; --cost-only (values=False) does without"
        )
    mean_value, mean_cost = _held(fleet, expected, solve)
    price = result.dual.carbon_price if result.dual is not None else 0.0
    perfect, perfect_cost = _informed(fleet, price, this.upper, solve)
    return replace(
        found,
        mean_value=mean_value,
        mean_cost=mean_cost,
        perfect=perfect,
        perfect_cost=perfect_cost,
        moves=moves(plan, expected),
    )


def moves(plan: Schedule, other: Schedule) -> tuple[ChangedJob, ...]:
    """Jobs that two plans run at different sites or times, or only one of them."""
    columns = (plan.job_site, plan.job_start, other.job_site, other.job_start)
    differ = np.flatnonzero((columns[0] != columns[2]) | (columns[1] != columns[3]))
    return tuple(ChangedJob(int(j), *(int(column[j]) for column in columns)) for j in differ)


def _check(instance: Instance, fleet: Instance) -> None:
    if not fleet.n_scenarios:
        raise InputError("scenarios: there are none; --scenarios FILE or --count K gives some")
    skipped = OPTIONAL.values()
    for name, size in instance.sizes.items():
        if name not in skipped and fleet.sizes[name] != size:
            raise InputError(f"scenarios: are of a fleet with {fleet.sizes[name]} {name}s, not {size}")
    if fleet.period_h != instance.period_h:
        raise InputError(f"scenarios: are of a fleet with periods of {fleet.period_h:g} h, not {instance.period_h:g} h")
    for table, columns in DECIDED.items():
        for column in columns:
            mine, other = (getattr(getattr(of, table), column) for of in (instance, fleet))
            if (differ := mine != other).any():
                k = int(np.argmax(differ))
                what = f"{table}.{column} is {other[k]} in row {k}, not {mine[k]}"
                raise InputError(f"scenarios: are of another fleet: {what}")


def _held(fleet: Instance, plan: Schedule, solve: Solve) -> tuple[Interval, Array]:
    """What the plan's jobs and commitments cost over the scenarios."""
    held = with_decisions_of(fleet, plan)
    answer = solve(held)
    if answer.schedule is None:
        return Interval(answer.bound, np.inf), np.full(fleet.n_scenarios, np.inf)
    return Interval(answer.bound, answer.incumbent), costs(held, answer.schedule)


def _informed(fleet: Instance, price: float, known: float, solve: Solve) -> tuple[Interval, Array]:
    """What plans cost that know their scenario; `known`: one that does not know it costs so much.

    A budget for the expected emissions is priced (USD/t), which leaves a lower bound by weak duality, (C3); the plans
    found so have a cost where they keep it together, or pay for what they exceed it by.
    """
    p, n = fleet.scenarios.probability, fleet.n_scenarios
    joint = common_budget(fleet)
    price = min(price, fleet.carbon_excess_usd_per_t) if joint else 0.0
    lower, upper, emitted = np.zeros(n), np.full(n, np.nan), np.zeros(n)
    for s in range(n):
        alone = scenario(fleet, s)
        if joint:
            priced = fleet.carbon_price_usd_per_t + price
            alone = replace(alone, carbon_budget_t=np.inf, carbon_price_usd_per_t=priced)
        answer = solve(alone)
        lower[s] = answer.bound
        if answer.schedule is not None:
            emitted[s] = emissions_t(alone, answer.schedule).sum()
            upper[s] = answer.incumbent - price * emitted[s]
    least = objective(fleet, lower) if not joint else float(p @ lower) - price * fleet.carbon_budget_t
    over = max(float(p @ emitted) - fleet.carbon_budget_t, 0.0) if joint else 0.0
    paid = over * fleet.carbon_excess_usd_per_t if over > 1e-6 * fleet.carbon_budget_t else 0.0
    upper += paid
    most = np.inf if np.isnan(upper).any() else objective(fleet, upper)
    return Interval(least, max(min(most, known), least)), upper


def costs(fleet: Instance, schedule: Schedule) -> Array:
    """Net cost of a schedule in each scenario (s,), USD; each pays the same for what exceeds a common budget."""
    alone = np.array([accounts.net_cost for accounts in by_scenario(fleet, schedule)])
    return alone + (account(fleet, schedule).components["carbon_excess"] if common_budget(fleet) else 0.0)


def common_budget(fleet: Instance) -> bool:
    """Whether there is a budget for the expected emissions."""
    return fleet.carbon_scope == "expected" and bool(np.isfinite(fleet.carbon_budget_t))


def objective(fleet: Instance, cost: Array) -> float:
    """Expected net cost, or that and CVaR as the instance weighs them, USD."""
    p, weight = fleet.scenarios.probability, fleet.risk_weight
    return (1.0 - weight) * float(p @ cost) + (weight * cvar(cost, p, fleet.risk_level) if weight else 0.0)
