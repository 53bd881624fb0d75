"""Benders decomposition with the jobs fixed: who serves what, and who may emit how much, at true cost.

Routing, pool loads and one carbon allowance a site are the first stage; a site's recourse is its cost for
what it is given. It always has an answer, for inference may be dropped at what it is worth and emissions beyond the
allowance are priced. Every reply is a cut and a column of the same pool that the prices have filled, so the
proximal master proposes from both, and its proven bound and the true cost of its proposals close the gap.

With scenarios the recourse is of a site in a scenario. What its answers cost adds up by scenario, and the measure of
risk of these sums is the cost of a proposal; as more cost in a scenario never lowers it, the measure of what the cuts
prove is a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from decomp.benders.recourse import RecourseService
from decomp.bound.lagrangian import BundleStep, LagrangianLoop
from decomp.model.instance import Array, Instance
from decomp.model.options import Benders, Options
from decomp.model.text import gap_rel
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

    def __init__(self, loop: LagrangianLoop):
        self.loop, self.workers, self.coupling = loop, loop.workers, loop.coupling
        self.best: BendersPoint | None = None
        self.firmness = FIRM

    @property
    def cost(self) -> float:
        """Least relaxed net cost found, USD."""
        return np.inf if self.best is None else self.best.cost

    @property
    def gap(self) -> float:
        """(cost - bound) / max(|cost|, 1 USD), both with the jobs fixed and the sites relaxed; inf before there are."""
        return gap_rel(self.loop.centre.bound, self.cost)

    def iterate(self) -> BundleStep:
        """One proposal, asked at its prices for the bound and at its loads and allowances for the cost."""
        step = self.loop.iterate()
        point = self._propose()
        cuts = self.loop.master.least_cost(point.given.load, point.given.allowance)
        c = self.coupling
        if c.risk.measure(self._costs(point.work, cuts), c.probability) < self.cost:  # else it cannot be better
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
        asked = replace(given(self.loop, work), allowance=allowance, excess_price=price)
        return BendersPoint(work, asked, np.zeros(len(allowance)), np.inf)

    def _allowances(self) -> tuple[Array, Array]:
        """Allowances that sum to each budget (t), and the price of a tonne beyond (USD/t), (S,) each."""
        c, centre = self.coupling, self.loop.centre
        cost, tonnes = self.loop.master.means()
        if np.isinf(c.budget):
            return np.full(len(tonnes), np.inf), np.zeros(len(tonnes))
        mean_cost = abs(float(cost.sum())) / max(float(np.abs(tonnes).sum()), 1e-9)
        price = self.firmness * (centre.own_money[1] + mean_cost)
        return c.allowances(tonnes), np.minimum(price, c.excess_price(centre.prices))

    def _costs(self, work: Work, *sites: Array) -> Array:
        """Net cost of every scenario (K,): of routing, pools and jobs, and amounts of sites (S, ...), USD."""
        c = self.coupling
        jobs = float(np.append(c.jobs.cost, 0.0)[work.fixing.run].sum())
        total = c.flow_costs(work.routed, work.pooled) + c.probability * jobs
        for amounts in sites:
            total += amounts.reshape(c.copies, -1).sum(axis=1)
        return np.asarray(total)

    def _settled(self, point: BendersPoint, answers: SiteAnswers) -> BendersPoint:
        """The point with what the sites made of it; costs too much if it breaks what must be kept."""
        c, given = self.coupling, point.given
        dropped = given.drop_price * (given.load - answers.load[:, : given.load.shape[1]])
        excess = answers.emissions.reshape(len(c.budgets), -1).sum(axis=1) - c.budgets
        over = excess > 1e-9 * np.abs(c.budgets)
        paid = np.multiply(c.carbon_cap, excess, out=np.zeros_like(excess), where=over)
        costs = self._costs(point.work, answers.cost, dropped) + (paid if c.in_every else 0.0)
        cost = c.risk.measure(costs, c.probability) + (0.0 if c.in_every else float(paid.sum()))
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
    options: Options,
    heard: Heard,
    doubtful: Callable[[], None] | None = None,
) -> Incumbent | None:
    """Settle routing and allowances for the fixed jobs, then every integer at every site; see `finish`."""
    benders = BendersLoop(loop)
    relaxed(benders, options.benders, heard)
    work = benders.best.work if benders.best else None
    return finish(instance, loop, options.recovery, doubtful, work)
