"""Benders decomposition with the jobs fixed: who serves what, and who may emit how much, at true cost.

Routing, pool loads and one carbon allowance a site are the first stage; a site's recourse is its cost for
what it is given. It always has an answer, for inference may be dropped at what it is worth and emissions beyond the
allowance are priced. Every reply is a cut and a column of the same pool that the prices have filled, so the
proximal master proposes from both, and its proven bound and the true cost of its proposals close the gap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from decomp.benders.recourse import RecourseService
from decomp.bound.lagrangian import BundleStep, LagrangianLoop
from decomp.model.instance import Array, Instance
from decomp.model.options import Benders, Options
from decomp.ranks.workers import Workers
from decomp.schedule.dive import Heard
from decomp.schedule.finish import finish
from decomp.schedule.incumbent import Incumbent
from decomp.schedule.place import Work, given, place_work, undone
from decomp.site.service import Given, SiteAnswers

FIRM = 10.0  # price of emissions beyond an allowance, relative to what a tonne is worth


@dataclass(frozen=True)
class BendersPoint:
    """A first-stage decision, its relaxed net cost (USD; inf if it is not feasible) and what a tonne is worth.

    `abatement` (S,) is the cost of one tonne less at each site, USD/t.
    """

    work: Work
    given: Given
    abatement: Array
    cost: float


class BendersLoop:
    """Iterations of the master and the recourse around a Lagrangian loop whose jobs are all fixed."""

    def __init__(self, loop: LagrangianLoop, workers: Workers):
        self.loop, self.workers, self.coupling = loop, workers, loop.coupling
        self.best: BendersPoint | None = None
        self.firmness = FIRM

    @property
    def cost(self) -> float:
        """Least relaxed net cost found, USD."""
        return np.inf if self.best is None else self.best.cost

    @property
    def gap(self) -> float:
        """(cost - bound) / max(|cost|, 1 USD), both with the jobs fixed and the sites relaxed."""
        return (self.cost - self.loop.centre.bound) / max(abs(self.cost), 1.0) if self.best else np.inf

    def iterate(self) -> BundleStep:
        """One proposal, asked at its prices for the bound and at its loads and allowances for the cost."""
        step = self.loop.iterate()
        point = self._propose()
        cuts = self.loop.master.least_cost(point.given.load, point.given.allowance)
        if self._first_stage(point.work) + float(cuts.sum()) < self.cost:  # else it cannot be better
            answers = self.workers.of(RecourseService).evaluate(point.given)
            self.loop.master.add(answers)
            point = self._settled(point, answers)
            if point.cost < self.cost:
                self.best = point
            step = replace(step, site_seconds=step.site_seconds + float(answers.seconds.sum()))
        return replace(step, model=min(step.model, self.cost))

    def _propose(self) -> BendersPoint:
        """The master's work made to fit, and its emissions as allowances, with an equal share of what is left."""
        work = place_work(self.loop)
        allowance, price = self._allowances()
        asked = replace(given(self.loop, work), allowance=allowance, excess_price=np.full(len(allowance), price))
        return BendersPoint(work, asked, np.zeros(len(allowance)), np.inf)

    def _allowances(self) -> tuple[Array, float]:
        """Allowances that sum to the budget (t), and the price of a tonne beyond (USD/t)."""
        budget, master = self.coupling.budget, self.loop.master
        cost, tonnes = master.means()
        if np.isinf(budget):
            return np.full(len(tonnes), np.inf), 0.0
        mean_cost = abs(float(cost.sum())) / max(float(np.abs(tonnes).sum()), 1e-9)
        price = self.firmness * (self.loop.centre.carbon_price + mean_cost)
        return tonnes + (budget - tonnes.sum()) / len(tonnes), min(price, self.coupling.carbon_cap)

    def _first_stage(self, work: Work) -> float:
        """Net cost of routing, pools and jobs, USD."""
        c = self.coupling
        jobs = np.append(c.jobs.cost, 0.0)[work.fixing.run]
        return c.flow_cost(work.routed, work.pooled) + float(jobs.sum())

    def _settled(self, point: BendersPoint, answers: SiteAnswers) -> BendersPoint:
        """The point with what the sites made of it; costs too much if it breaks what must be kept."""
        c, given = self.coupling, point.given
        cost = self._first_stage(point.work) + float(answers.cost.sum())
        cost += float((given.drop_price * (given.load - answers.load[:, : given.load.shape[1]])).sum())
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
    workers: Workers,
    options: Options,
    heard: Heard,
    doubtful: Callable[[], None] | None = None,
) -> Incumbent | None:
    """Settle routing and allowances for the fixed jobs, then every integer at every site; see `finish`."""
    benders = BendersLoop(loop, workers)
    relaxed(benders, options.benders, heard)
    work = benders.best.work if benders.best else None
    return finish(instance, loop, workers, options.recovery, doubtful, work)
