"""A whole fleet as one MILP, and the rank on which SCIP solves it concurrently with the decomposition."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.bound.coupling import Coupling
from decomp.lp.block import Model
from decomp.lp.highs import keeping_bans, to_highs
from decomp.lp.scip import Limits, ScipSearch, present
from decomp.model.accounts import complete
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.ranks.workers import Service, Workers
from decomp.schedule.group_lp import GroupTask, fixed_integers, held, schedule_of, side_by_side
from decomp.schedule.incumbent import fixing_of
from decomp.search.by_prices import job_choice
from decomp.search.job_milp import JobChoice, add_job


@dataclass(frozen=True, eq=False)
class Begin:
    """Request: the last rank starts SCIP on a MILP."""

    model: Model
    limits: Limits
    seed: int


@dataclass(frozen=True, eq=False)
class Exchange:
    """Request: SCIP takes a feasible point (column,), None if there is no new one, and says what it has found since."""

    point: Array | None


class ScipRank(Service):
    """The service that holds SCIP, on the last rank; on the others it holds nothing."""

    search: ScipSearch | None = None

    def begin(self, order: Begin) -> bool:
        """Start SCIP; False if it is not installed on the last rank. Root only."""
        return self._everywhere(order) is not None

    def exchange(self, order: Exchange) -> list[object]:
        """Integers of a better point (None: none) and whether SCIP has ended; empty if there is no news. Root only."""
        return self._everywhere(order) or []

    def _everywhere(self, order: Begin | Exchange) -> list[object] | None:
        answers = self.workers.ask(ScipRank, order, lambda: self.team.gather(self._share(order), "SCIP"))
        return answers[-1] if answers else None

    def serve(self, request: Begin | Exchange) -> None:
        self.team.gather(self._share(request), "SCIP")

    def _share(self, order: Begin | Exchange) -> list[object] | None:
        """This rank's answer to a request: None on ranks without SCIP."""
        if isinstance(order, Begin) and self.team.rank == self.team.size - 1 and present():
            self.search = ScipSearch(order.model, order.limits, order.seed)
            return []
        if self.search is None or isinstance(order, Begin):
            return None
        if order.point is not None:
            self.search.offer(order.point)
        found = self.search.news()
        return [found.integers, found.ended] if found.integers is not None or found.ended else []

    def close(self) -> None:
        if self.search is not None:
            self.search.close()


class FleetModel:
    """The MILP of a whole fleet, and the translation between its points and schedules.

    Attributes
    ----------
    choices : alternatives of each job, see `JobChoice`.
    runs : their columns.
    model : the MILP; its cost is the fleet's net cost, USD.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance, self.coupling = instance, Coupling.of(instance)
        everywhere = np.arange(instance.n_sites)
        self.choices: list[JobChoice] = [job_choice(self.coupling, None, j, everywhere) for j in range(instance.n_jobs)]
        block, links = side_by_side(instance, np.zeros_like(instance.sites.capacity_gpu))
        self.runs = [add_job(block, choice, links) for choice in self.choices]
        self.model = held(instance, block.finish(), ())

    def integers(self, schedule: Schedule) -> Array:
        """The values of all integer columns (k,) in a schedule."""
        fixing, integer = fixing_of(self.coupling, schedule), self.model.integer
        x = held(self.instance, self.model, fixed_integers(self.instance, schedule)).low
        for j, (choice, columns) in enumerate(zip(self.choices, self.runs, strict=True)):
            x[columns] = (choice.run == fixing.run[j]) & (choice.start == fixing.start[j])
        return np.asarray(x[integer])

    def point(self, integers: Array) -> Array | None:
        """The cheapest point (column,) with these values (k,) of all integer columns, None if there is none."""
        low, high = self.model.low.copy(), self.model.high.copy()
        low[self.model.integer] = high[self.model.integer] = integers
        fixed = replace(self.model, low=low, high=high)
        return keeping_bans(fixed, to_highs(fixed))

    def schedule(self, x: Array) -> Schedule:
        """The complete schedule of a point (column,)."""
        instance, here = self.instance, [int(np.argmax(x[columns])) for columns in self.runs]
        sizes = instance.sizes | {"instant": instance.n_periods + 1}
        nothing = Schedule.make(
            sizes,
            **{f.name: 0 for f in Schedule.columns()}
            | dict(
                job_site=np.array([c.place[h] for c, h in zip(self.choices, here, strict=True)], dtype=int),
                job_start=np.array([c.start[h] for c, h in zip(self.choices, here, strict=True)], dtype=int),
                generator_on=False,
            ),
        )
        return complete(instance, schedule_of(GroupTask(instance, nothing), self.model, x))


class ConcurrentSearch:
    """The root's view of the concurrent search.

    Attributes
    ----------
    fleet : its MILP.
    rank : the service to ask.
    known : net cost of the best schedule that SCIP has or was given, USD.
    ended : whether SCIP has ended.
    """

    def __init__(self, instance: Instance, workers: Workers) -> None:
        self.fleet, self.rank = FleetModel(instance), workers.of(ScipRank)
        self.known, self.ended = np.inf, False
