"""The whole fleet as one MIP, and the rank on which SCIP searches it beside everything else."""

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
    """The last rank begins to search."""

    model: Model
    limits: Limits
    seed: int


@dataclass(frozen=True, eq=False)
class Exchange:
    """A point to take (None: nothing new), for what was found since."""

    point: Array | None


class ScipRank(Service):
    """The search on the last rank; on the others nothing."""

    search: ScipSearch | None = None

    def begin(self, order: Begin) -> bool:
        """Begin where SCIP is; whether it is there. Root only."""
        return self._everywhere(order) is not None

    def exchange(self, order: Exchange) -> list[object]:
        """The integers of a better point (None: none) and whether the search is over; empty: no news. Root only."""
        return self._everywhere(order) or []

    def _everywhere(self, order: Begin | Exchange) -> list[object] | None:
        answers = self.workers.ask(ScipRank, order, lambda: self.team.gather(self._share(order), "SCIP"))
        return answers[-1] if answers else None

    def serve(self, request: Begin | Exchange) -> None:
        self.team.gather(self._share(request), "SCIP")

    def _share(self, order: Begin | Exchange) -> list[object] | None:
        """This rank's answer: None where nothing searches."""
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
    """The whole fleet as one MIP; its schedules by their integers."""

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
        """The cheapest point with these values of all integer columns (column,), None if there is none."""
        low, high = self.model.low.copy(), self.model.high.copy()
        low[self.model.integer] = high[self.model.integer] = integers
        fixed = replace(self.model, low=low, high=high)
        return keeping_bans(fixed, to_highs(fixed))

    def schedule(self, x: Array) -> Schedule:
        """The schedule of a point."""
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


class Beside:
    """What the root knows of the search beside it: the model, the cost that SCIP knows of, whether it goes on."""

    def __init__(self, instance: Instance, workers: Workers) -> None:
        self.fleet, self.rank = FleetModel(instance), workers.of(ScipRank)
        self.known, self.ended = np.inf, False
