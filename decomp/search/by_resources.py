"""Resource-directive large-neighbourhood search: a few sites plan their jobs anew with what the schedule allots them.

The search directed by prices moves jobs all over the fleet at once, but every move changes the prices, and near the end
most of what it gains by its models is lost when the schedule is finished. Here a group of sites keeps its tonnes and
the work that no other site does, and one MILP with its real batteries and routing decides jobs and dispatch,
commitments held. So what a group gains is gained, and groups of different sites gain side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from decomp.bound.coupling import Coupling
from decomp.lp.block import Model
from decomp.lp.highs import Effort, keeping_bans, to_highs
from decomp.model.accounts import complete
from decomp.model.instance import Array, Instance
from decomp.model.options import Replan
from decomp.model.result import Schedule
from decomp.ranks.clock import root_seconds
from decomp.ranks.workers import Workers
from decomp.schedule.group_lp import GroupTask, commitments, held, schedule_of, share_out, side_by_side
from decomp.schedule.incumbent import fixing_of
from decomp.schedule.subinstance import merge_all, restrict
from decomp.search.by_prices import job_choice
from decomp.search.job_milp import JobChoice, JobSearch, add_job, choose_runs


@dataclass(frozen=True, eq=False)
class ReplanTask:
    """A group with its piece of the schedule, how hard to try, and until when, by `root_seconds`."""

    group: GroupTask
    runs_kept: int
    effort: Effort
    until: float


class Piece(NamedTuple):
    """The group's piece of a cheaper schedule, None if none was found; whether the clock ended the search for it."""

    schedule: Schedule | None
    late: bool


def replan(task: ReplanTask) -> Piece:
    """Search the jobs of a group, from where they are now."""
    instance, schedule = task.group.instance, task.group.schedule
    coupling = Coupling.of(instance)
    fixing, everywhere = fixing_of(coupling, schedule), np.arange(instance.n_places)
    choices = tuple(job_choice(coupling, fixing, j, everywhere) for j in range(instance.n_jobs))
    model, runs = planning_model(task.group, choices)
    search = JobSearch(choices, task.runs_kept, task.effort, task.until, windows=1, seed=0)
    here, gain, point = choose_runs(model, runs, search)
    late = root_seconds() > task.until
    if gain <= 0.0 or point is None:
        return Piece(None, late)
    low, high = model.low.copy(), model.high.copy()
    low[model.integer] = high[model.integer] = np.round(point[model.integer])
    x = keeping_bans(model, to_highs(replace(model, low=low, high=high)))
    if x is None:
        return Piece(None, late)
    site = np.array([choice.place[h] for choice, h in zip(choices, here, strict=True)], dtype=int)
    start = np.array([choice.start[h] for choice, h in zip(choices, here, strict=True)], dtype=int)
    return Piece(replace(schedule_of(task.group, model, x), job_site=site, job_start=start), late)


def planning_model(group: GroupTask, choices: tuple[JobChoice, ...]) -> tuple[Model, list[Array]]:
    """The group's MILP, commitments held, and the columns of each job's runs."""
    instance, schedule = group.instance, group.schedule
    block, links = side_by_side(instance, np.zeros_like(instance.sites.capacity_gpu))
    runs = [add_job(block, choice, links, instance.copies) for choice in choices]
    return held(instance, block.finish(), commitments(instance, schedule)), runs


def replan_round(
    instance: Instance, schedule: Schedule, workers: Workers, groups: list[Array], options: Replan, until: float
) -> Schedule:
    """Disjoint groups of sites plan anew on all ranks; none begins after `until`, seconds by the root's clock."""
    owner = claims(instance, groups)
    rows = [instance.rows_of(np.sort(sites)) for sites in groups]
    parts = [restrict(instance, schedule, sites, owner == k) for k, sites in enumerate(rows)]
    end = workers.deadline(until)
    effort = Effort(options.rel_gap, options.nodes)
    shared = share_out(instance, schedule, parts)
    tasks = [ReplanTask(group, options.runs_kept, effort, end) for group in shared]
    pieces = workers.farm(replan, tasks, until, "replanning")
    late = workers.stops.ask(lambda: [k for k, piece in enumerate(pieces) if piece is not None and piece.late]) or []
    found = [
        (part, piece.schedule)
        for k, (part, piece) in enumerate(zip(parts, pieces, strict=True))
        if piece is not None and piece.schedule is not None and k not in late
    ]
    return complete(instance, merge_all(schedule, found)) if found else schedule


def claims(instance: Instance, groups: list[Array]) -> Array:
    """The group that may take a job (J,) if it is rejected, -1 for none: the one with the most of its candidates."""
    number, n = np.full(instance.n_sites, -1), len(groups)
    for k, sites in enumerate(groups):
        number[sites] = k
    group, owner = number[instance.candidates.site], np.full(instance.n_jobs, -1)
    pair, places = np.unique((instance.candidates.job * n + group)[group >= 0], return_counts=True)
    pair = pair[np.argsort(places, kind="stable")]  # of several entries of a job the last one stays
    owner[pair // n] = pair % n
    return owner
