"""The cost curve of a schedule: its net cost at every carbon budget, with integers that change in steps.

Each group of sites has an abatement curve of its own (see `group_curve`). The segments of all groups, by falling worth
of a tonne, make the curve of the fleet: the merit order of abatement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise

import numpy as np
from scipy.optimize import isotonic_regression

from decomp.bound.coupling import REJECTED, Fixing
from decomp.bound.lagrangian import LagrangianLoop
from decomp.frontier.group_curve import AbatementTask, Asked, GroupCurve, abate, mix
from decomp.model.accounts import account, complete, emissions_t
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.schedule.group_lp import groups, share_out
from decomp.schedule.incumbent import Incumbent
from decomp.schedule.subinstance import SubInstance, merge_all, restrict

GROUP_SITES = 30  # most of a group: smaller ones are faster, but leave twice the gap


class CostCurve:
    """The cost curve of a fleet's schedule, from the least emissions of its groups on.

    Attributes
    ----------
    tonnes, cost : (n,) emissions, t CO2, rising; net cost, USD, falling.
    mixes : (n - 1,) whether cost is linear between a point and the next; elsewhere it is that of the cleaner point.
    """

    def __init__(
        self, instance: Instance, schedule: Schedule, runs: Fixing, pieces: list[tuple[SubInstance, GroupCurve]]
    ):
        self.instance, self.base, self.runs, self.pieces = instance, schedule, runs, pieces
        rows = [(g, k) for g, (_, curve) in enumerate(pieces) for k in range(len(curve.tonnes) - 1)]
        more = np.concatenate([np.diff(curve.tonnes) for _, curve in pieces])
        saved = np.concatenate([-np.diff(curve.cost) for _, curve in pieces])
        order = np.argsort(-np.concatenate([_worth(curve) for _, curve in pieces]), kind="stable")
        self.order, self.more = [rows[k] for k in order], more[order]
        self.mixes = np.concatenate([curve.mixes for _, curve in pieces])[order]
        cleanest = self._schedule([0] * len(pieces))
        self.tonnes = float(emissions_t(instance, cleanest).sum()) + np.append(0.0, np.cumsum(self.more))
        self.cost = account(instance, cleanest).net_cost - np.append(0.0, np.cumsum(saved[order]))

    def cost_at(self, budgets: Array | float) -> Array:
        """Net cost at budgets (n,) t, USD; inf below the least emissions."""
        k = self._point(budgets)
        mixed = np.interp(budgets, self.tonnes, self.cost)
        return np.where(k < 0, np.inf, np.where(np.append(self.mixes, True)[k], mixed, self.cost[k]))

    def chain(self, budgets: Array | float) -> Array:
        """A number for each budget (n,) t: equal numbers mean equal integers."""
        return np.append(0, np.cumsum(~self.mixes))[self._point(budgets)]

    def _point(self, budgets: Array | float) -> Array:
        """The last point that keeps a budget (n,); -1: none."""
        return np.searchsorted(self.tonnes, budgets, side="right") - 1

    def at(self, budget: float) -> Incumbent | None:
        """The schedule at a budget (t) not below the least emissions; None if rounding makes it exceed the budget."""
        rounding = 1e-9 * max(abs(budget), 1.0) if np.isfinite(budget) else 0.0
        taken, left = [0] * len(self.pieces), budget - rounding - self.tonnes[0]
        last = None
        for (g, k), more, mixes in zip(self.order, self.more, self.mixes, strict=True):
            if more > left:
                last = (g, k, max(left, 0.0) / more) if mixes else None
                break
            taken[g], left = k + 1, left - more
        schedule = self._schedule(taken, last)
        if float(emissions_t(self.instance, schedule).sum()) > budget:
            return None
        placed = schedule.job_site >= 0
        fixing = Fixing(np.where(placed, self.runs.run, REJECTED), np.where(placed, self.runs.start, -1))
        return Incumbent(schedule, account(self.instance, schedule).net_cost, fixing)

    def _schedule(self, taken: list[int], last: tuple[int, int, float] | None = None) -> Schedule:
        """Group g at its point taken[g]; `last` (g, k, share): group g between its points k and k + 1."""
        own = [curve.schedules[k] for (_, curve), k in zip(self.pieces, taken, strict=True)]
        if last is not None:
            g, k, share = last
            own[g] = mix(own[g], self.pieces[g][1].schedules[k + 1], share)
        parts = [part for part, _ in self.pieces]
        return complete(self.instance, merge_all(self.base, list(zip(parts, own, strict=True))))


def _worth(curve: GroupCurve) -> Array:
    """Worth of a tonne between points (n - 1,), USD/t, made monotone, so that a group's segments keep their order."""
    more = np.diff(curve.tonnes)
    if not len(more):
        return more
    return np.asarray(isotonic_regression(-np.diff(curve.cost) / more, weights=more, increasing=False).x)


def cost_curve(
    instance: Instance,
    schedule: Schedule,
    loop: LagrangianLoop,
    runs: Fixing,
    prices: Sequence[float],
    asked: Asked,
    *,
    group_sites: int = GROUP_SITES,
) -> CostCurve | None:
    """The cost curve of a schedule; None if a piece of it is not found. Root only; all ranks compute the pieces.

    Parameters
    ----------
    instance : without a budget.
    loop : of the instance; its workers compute the pieces.
    runs : candidate and start of every job: its own in the schedule, or for a rejected one where it might run.
    prices : carbon prices at which the pieces meet, USD/t, rising.
    asked : accuracy of the fleet's curve.
    group_sites : most sites of a group.
    """
    place = np.append(loop.coupling.jobs.site, -1)[runs.run]
    parts = [restrict(instance, schedule, s, np.isin(place, s)) for s in groups(instance, group_sites)]
    shared, ends = share_out(instance, schedule, parts), list(pairwise(prices))
    tasks, of_group = [], replace(asked, groups=len(parts))
    for part, group in zip(parts, shared, strict=True):
        jobs = part.rows["job"]
        site, start = np.searchsorted(part.rows["site"], place[jobs]), runs.start[jobs]
        tasks += [AbatementTask(group, site, start, pair, of_group) for pair in reversed(ends)]
    found = loop.workers.farm(abate, tasks, loop.workers.until, "cost curves")
    pieces = []
    for k, part in enumerate(parts):
        own_pieces = [curve for curve in found[k * len(ends) : (k + 1) * len(ends)] if curve is not None]
        if len(own_pieces) < len(ends):
            return None
        pieces.append((part, reduce(GroupCurve.then, own_pieces)))
    return CostCurve(instance, schedule, runs, pieces)
