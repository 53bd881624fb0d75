"""Recommitment: with the jobs held, commitments of generators and devices of all sites decided jointly by a MILP.

The finish commits at one price of carbon, site by site; what generators then do not emit is left to uses worth far less
than that price. The MILP divides work and budget anew together with the commitments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.lp.block import Model
from decomp.lp.highs import Effort, has_point, keeping_bans, run_lp, to_highs
from decomp.model.accounts import complete
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.ranks.clock import root_seconds
from decomp.ranks.workers import Workers
from decomp.schedule.group_lp import GroupAnswer, GroupTask, by_scenario, fixed_integers, hold, schedule_of
from decomp.schedule.redispatch import redispatch_group, redispatch_model
from decomp.schedule.subinstance import merge_all

INTEGRAL = 1e-6  # how far from an integer a relaxed commitment may be, to be held there


@dataclass(frozen=True, eq=False)
class CommitmentTask:
    """The MILP of the commitments of a fleet, or of it in one scenario; `until`: when to stop, by `root_seconds`."""

    fleet: GroupTask
    effort: Effort
    until: float


def recommit(instance: Instance, schedule: Schedule, workers: Workers, effort: Effort, until: float) -> Schedule | None:
    """The schedule with the same jobs and with commitments and dispatch for them; None if none is found. Root only.

    After `until`, seconds by the root's clock, the commitments stay. They also stay if the clock ended the MILP, so
    that a replay makes the same schedule.
    """
    scenarios, end = by_scenario(instance, schedule), workers.deadline(until)
    tasks = [CommitmentTask(fleet, effort, end) for _, fleet in scenarios]
    answers = workers.farm(commit_anew, tasks, until, "commitments")
    late = workers.stops.ask(lambda: [k for k, a in enumerate(answers) if a is None or a.late]) or []
    own = [None if k in late else answer.schedule for k, answer in enumerate(answers)]
    if late:
        again = workers.farm(redispatch_group, [tasks[k].fleet for k in late], what="redispatch")
        for k, piece in zip(late, again, strict=True):
            own[k] = piece
    found = [(part, piece) for (part, _), piece in zip(scenarios, own, strict=True) if piece is not None]
    return complete(instance, merge_all(schedule, found)) if len(found) == len(tasks) else None


def commit_anew(task: CommitmentTask) -> GroupAnswer:
    """Decide the commitments anew, where the linear relaxation does not; the present ones stay if they are cheaper.

    (Relaxation-enforced neighbourhood search, Berthold 2014: it leaves a tenth of the commitments, whose MILP is solved
    several times faster.)
    """
    instance, schedule = task.fleet.instance, task.fleet.schedule
    model, _ = redispatch_model(task.fleet)
    points = [_dispatched(hold(model, fixed_integers(instance, schedule)))]
    relaxed = to_highs(model)
    if run_lp(relaxed):
        point = np.array(relaxed.getSolution().col_value)
        solver = to_highs(model.held_at(point, model.integer, INTEGRAL), integer=model.integer)
        task.effort.within(task.until - root_seconds()).run(solver)
        if has_point(solver):
            point = np.array(solver.getSolution().col_value)
            points.append(_dispatched(model.held_at(point, model.integer)))
    late = root_seconds() > task.until
    best = min((x for x in points if x is not None), key=lambda x: float(model.cost @ x), default=None)
    return GroupAnswer(None if best is None else schedule_of(task.fleet, model, best), late)


def _dispatched(model: Model) -> Array | None:
    """The cheapest point (column,) of a model whose integers are held."""
    return keeping_bans(model, to_highs(model))
