"""Benders decomposition with the jobs fixed: who serves what, and who may emit how much, at true cost.

Routing, pool loads and one carbon allowance a site are the first stage; a site's recourse is its cost for
what it is given. It always has an answer, for inference may be dropped at what it is worth and emissions beyond the
allowance are priced. Every reply is a cut and a column of the same pool that the prices have filled, so the
proximal master proposes from both, and its proven bound and the true cost of its proposals close the gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.accounts import account
from decomp.crew import Answers, Crew, Dispatch
from decomp.instance import Array, Instance
from decomp.lagrangian import LagrangianLoop, Step
from decomp.options import Benders, Options, Recovery
from decomp.recourse import Given
from decomp.recovery import Heard, Incumbent, Work, assemble, finish, inference_worth, place_work, undone
from decomp.site import Effort, Plan, SiteRows

FIRM = 10.0  # price of emissions beyond an allowance, relative to what a tonne is worth
HIGHER, LOWER = (1.1, 1.5, 3.0, 10.0, 100.0), 0.8  # prices of a tonne at which sites plan again, relative


@dataclass(frozen=True)
class Point:
    """A first-stage decision, its relaxed net cost (USD; inf if it is not feasible) and what a tonne is worth.

    `abatement` (S,) is the cost of one tonne less at each site, USD/t.
    """

    work: Work
    given: Given
    abatement: Array
    cost: float


class BendersLoop:
    """Iterations of the master and the recourse around a Lagrangian loop whose jobs are all fixed."""

    def __init__(self, loop: LagrangianLoop, crew: Crew):
        self.loop, self.crew, self.coupling = loop, crew, loop.coupling
        self.best: Point | None = None
        self.firmness = FIRM

    @property
    def cost(self) -> float:
        """Least relaxed net cost found, USD."""
        return np.inf if self.best is None else self.best.cost

    @property
    def gap(self) -> float:
        """(cost - bound) / max(|cost|, 1 USD), both with the jobs fixed and the sites relaxed."""
        return (self.cost - self.loop.centre.bound) / max(abs(self.cost), 1.0) if self.best else np.inf

    def iterate(self) -> Step:
        """One proposal, asked at its prices for the bound and at its loads and allowances for the cost."""
        step = self.loop.iterate()
        point = self._propose()
        cuts = self.loop.master.pool.least_cost(point.given.load, point.given.allowance)
        if self._first_stage(point.work) + float(cuts.sum()) < self.cost:  # else it cannot be better
            answers = self.crew.recourse(point.given)
            self.loop.master.add(list(answers))
            point = self._settled(point, answers)
            if point.cost < self.cost:
                self.best = point
            step = replace(step, site_seconds=step.site_seconds + float(answers.seconds.sum()))
        return replace(step, model=min(step.model, self.cost))

    def _propose(self) -> Point:
        """The master's work made to fit, and its emissions as allowances, with an equal share of what is left."""
        c = self.coupling
        work = place_work(self.loop)
        inference = work.inference(c)
        allowance, excess_price = self._allowances()
        worth = inference_worth(self.loop, work, inference)
        given = Given(work.load(c), inference, worth, allowance, np.full(len(allowance), excess_price))
        return Point(work, given, np.zeros(len(allowance)), np.inf)

    def _allowances(self) -> tuple[Array, float]:
        """Allowances that sum to the budget (t), and the price of a tonne beyond (USD/t)."""
        budget, master = self.coupling.budget, self.loop.master
        tonnes = (master.theta * master.pool.emission).sum(axis=1)
        if np.isinf(budget):
            return np.full(len(tonnes), np.inf), 0.0
        mean_cost = abs(float((master.theta * master.pool.cost).sum())) / max(float(np.abs(tonnes).sum()), 1e-9)
        price = self.firmness * (self.loop.centre.carbon_price + mean_cost)
        return tonnes + (budget - tonnes.sum()) / len(tonnes), min(price, self.coupling.carbon_cap)

    def _first_stage(self, work: Work) -> float:
        """Net cost of routing, pools and jobs, USD."""
        c = self.coupling
        jobs = np.append(c.jobs.cost, 0.0)[work.fixing.run]
        return c.flow_cost(work.routed, work.pooled) + float(jobs.sum())

    def _settled(self, point: Point, answers: Answers) -> Point:
        """The point with what the sites made of it; costs too much if it breaks what must be kept."""
        c, given = self.coupling, point.given
        cost = self._first_stage(point.work) + float(answers.cost.sum())
        cost += float((given.drop_price * (given.load - answers.load)).sum())
        excess = float(answers.emissions.sum()) - c.budget
        if excess > 1e-9 * abs(c.budget):
            cost += c.carbon_cap * excess
            if np.isinf(cost):
                self.firmness *= 2.0
        if np.isnan(cost) or len(undone(c, point.work.pooled)):
            cost = np.inf
        return replace(point, abatement=answers.carbon_price, cost=cost)


def relaxed(benders: BendersLoop, options: Benders, heard: Heard) -> None:
    """Iterate until routing and allowances are settled to the tolerance, or time is over."""
    for _ in range(options.max_iterations):
        if heard(benders.iterate()) or benders.gap <= options.rel_gap:
            return


def benders_finish(
    instance: Instance,
    loop: LagrangianLoop,
    crew: Crew,
    options: Options,
    heard: Heard,
) -> Incumbent | None:
    """Settle routing and allowances for the fixed jobs, then every integer at every site; as recovery.finish.

    Where that breaks the budget or a site cannot do what it was given, recovery.finish takes over.
    """
    benders = BendersLoop(loop, crew)
    relaxed(benders, options.benders, heard)
    point = benders.best
    plans = commit(instance, loop, crew, point, options) if point else None
    if point is None or plans is None:
        return finish(instance, loop, crew, options.recovery)
    schedule = assemble(instance, loop, point.work, plans)
    return Incumbent(schedule, account(instance, schedule).net_cost, point.work.fixing)


def commit(
    instance: Instance, loop: LagrangianLoop, crew: Crew, point: Point, options: Options
) -> list[Plan] | None:
    """Integral plans of all sites that keep the budget together; None where that fails.

    All sites plan at the common price of a tonne. With integers their emissions miss the budget by a little, so some
    plan again: at higher prices until it is kept, at a lower price if what is left of it is worth it.
    """
    c, price = loop.coupling, loop.centre.carbon_price
    n_sites = len(c.capacity)
    budget = c.budget if np.isinf(c.carbon_cap) else np.inf
    menus: list[list[Plan]] = [[] for _ in range(n_sites)]
    if not _ask(instance, menus, crew, point, np.arange(n_sites), price, options.recovery):
        return None
    chosen, left = choose(menus, point.given, budget)
    batch = max(1, n_sites // 8)
    for rung in HIGHER:
        order = np.argsort([-plan.emissions for plan in chosen], kind="stable")
        for first in range(0, n_sites, batch):
            if left >= 0:
                break
            some, dearer = order[first : first + batch], rung * price + 10.0 * (rung - 1.0)
            _ask(instance, menus, crew, point, some, dearer, options.recovery)
            chosen, left = choose(menus, point.given, budget)
    if np.isfinite(left) and left * price > options.benders.rel_gap * abs(point.cost):
        _ask(instance, menus, crew, point, np.arange(n_sites), LOWER * price, options.recovery)
        chosen, left = choose(menus, point.given, budget)
    return chosen if left >= 0 else None


def _ask(
    instance: Instance,
    menus: list[list[Plan]],
    crew: Crew,
    point: Point,
    sites: Array,
    carbon_price: float,
    options: Recovery,
) -> bool:
    """Put the plans of some sites at a price of carbon on their menus; whether all of them have one."""
    g, effort = point.given, Effort(options.site_rel_gap, options.site_nodes)
    plans = crew.dispatch(
        [
            Dispatch(i, SiteRows.of(instance, i), g.load[i], g.droppable[i], g.drop_price[i], carbon_price, effort)
            for i in sites.tolist()
        ]
    )
    for i, plan in zip(sites, plans, strict=True):
        menus[i] += [] if plan is None else [plan]
    return None not in plans


def choose(menus: list[list[Plan]], given: Given, budget: float) -> tuple[list[Plan], float]:
    """One plan a site, from the cleanest up by the most money per tonne; and what is left of the budget (t)."""

    def cost(i: int, plan: Plan) -> float:
        return plan.cost + float((given.drop_price[i] * (given.load[i] - plan.load)).sum())

    chosen = [min(menu, key=lambda plan: plan.emissions) for menu in menus]
    left = budget - sum(plan.emissions for plan in chosen)
    while True:
        best, most = None, 0.0
        for i, menu in enumerate(menus):
            for plan in menu:
                more = plan.emissions - chosen[i].emissions
                saving = cost(i, chosen[i]) - cost(i, plan)
                if more <= left and saving > 1e-9 and saving / max(more, 1e-9) > most:
                    best, most = (i, plan), saving / max(more, 1e-9)
        if best is None:
            return chosen, left
        i, plan = best
        left -= plan.emissions - chosen[i].emissions
        chosen[i] = plan
