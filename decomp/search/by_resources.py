"""Resource-directive large-neighbourhood search: groups of few sites reassign their jobs with what they are allotted.

In the price-directive search every move changes the prices, and near the optimum most of what its models promise is
lost when the schedule is completed. Here a group of sites is allotted the emissions and the work that it has in the
schedule (resource-directive decomposition: Geoffrion, Management Science 16, 1970). One MILP decides its jobs, routing
and dispatch with batteries and devices, commitments held. Its answer is part of a feasible schedule, so that its gain
is real, and disjoint groups gain independently. With many scenarios the MILP has a few that stand for all; then the
group is dispatched in all of them with its jobs held, and the answer is what gets cheaper there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.bound.coupling import Coupling
from decomp.lp.block import Model
from decomp.lp.highs import Effort, keeping_bans, solve_integral, to_highs
from decomp.model.accounts import account, complete, emissions_t
from decomp.model.instance import Array, Instance
from decomp.model.options import Replan
from decomp.model.result import Schedule
from decomp.model.scenarios import reweighted
from decomp.ranks.clock import root_seconds
from decomp.ranks.workers import Workers
from decomp.schedule.group_lp import GroupAnswer, GroupTask, commitments, held, schedule_of, share_out, side_by_side
from decomp.schedule.incumbent import fixing_of
from decomp.schedule.subinstance import merge_all, restrict
from decomp.search.by_prices import Neighbours, StandIns, job_choice
from decomp.search.job_milp import JobChoice, JobSearch, add_job, choose_runs, with_runs

LINK = 10.0  # how much likelier a site joins a group with which it serves a stream
LEAST_CHANCE = 1e-3  # of a site without common jobs, relative to one with a common job


@dataclass(frozen=True, eq=False)
class ReplanTask:
    """The MILP of one group.

    Attributes
    ----------
    group : its sites with what they are allotted, and its part of the schedule.
    few : scenarios that stand for all in the MILP.
    runs_kept : runs of a job that stay for their reduced cost, see `JobSearch`.
    until : when to stop, by `root_seconds` of the rank that solves it.
    """

    group: GroupTask
    few: StandIns
    runs_kept: int
    effort: Effort
    until: float


def replan(task: ReplanTask) -> GroupAnswer:
    """Search better runs of a group's jobs, starting from the present ones."""
    instance, schedule = task.group.instance, task.group.schedule
    coupling, planned = Coupling.of(instance), standing_in(task.group, task.few)
    fixing, everywhere = fixing_of(coupling, schedule), np.arange(instance.n_places)
    choices = tuple(job_choice(coupling, fixing, j, everywhere) for j in range(instance.n_jobs))
    priced = tuple(choice.at_prices(task.few.missed) for choice in choices)
    model, runs = planning_model(planned, priced)
    search = JobSearch(priced, task.runs_kept, task.effort, task.until, windows=1, seed=0)
    here, gain, point = choose_runs(model, runs, search)
    late = root_seconds() > task.until
    if gain <= 0.0 or point is None:
        return GroupAnswer(None, late)
    if planned is task.group:
        x = keeping_bans(model, to_highs(model.held_at(point, model.integer)))
    else:
        model, runs = planning_model(task.group, choices)
        x = solve_integral(with_runs(model, runs, here), task.effort)
    if x is None:
        return GroupAnswer(None, late)
    site = np.array([choice.place[h] for choice, h in zip(choices, here, strict=True)], dtype=int)
    start = np.array([choice.start[h] for choice, h in zip(choices, here, strict=True)], dtype=int)
    found = replace(schedule_of(task.group, model, x), job_site=site, job_start=start)
    present = complete(instance, schedule)  # without the unserved demand that is other groups' to serve
    dearer = planned is not task.group and account(instance, found).net_cost >= account(instance, present).net_cost
    return GroupAnswer(None if dearer else found, late)


def standing_in(group: GroupTask, few: StandIns) -> GroupTask:
    """The group in the scenarios that stand for all, with as much of the budget left as in all; itself in all."""
    instance, n = group.instance, group.instance.n_places
    if len(few.chosen) == instance.copies:
        return group
    part = restrict(instance, group.schedule, (np.arange(n) + n * few.chosen[:, None]).ravel())
    own, stands = part.own(group.schedule), reweighted(part.instance, few.factor[few.chosen])
    if not instance.budget_in_every:
        more = emissions_t(stands, own).sum() - emissions_t(part.instance, own).sum()
        stands = replace(stands, carbon_budget_t=stands.carbon_budget_t + float(more))
    return GroupTask(stands, own)


def planning_model(group: GroupTask, choices: tuple[JobChoice, ...]) -> tuple[Model, list[Array]]:
    """The group's MILP, commitments of generators and devices held, and the columns of each job's runs."""
    instance, schedule = group.instance, group.schedule
    block, links = side_by_side(instance, np.zeros_like(instance.sites.capacity_gpu))
    runs = [add_job(block, choice, links, instance.copies) for choice in choices]
    return held(instance, block.finish(), commitments(instance, schedule)), runs


def linked_groups(neighbours: Neighbours, size: int, rng: np.random.Generator) -> list[Array]:
    """Draw disjoint groups of `size` sites that cover the fleet; sites that serve a stream together are drawn first.

    A group that serves a stream alone may serve all of it at any of its sites, so whole jobs can change places with it.
    """
    free, groups = np.ones(len(neighbours.tried), dtype=bool), []
    while free.any():
        members = [int(rng.choice(np.flatnonzero(free)))]
        free[members] = False
        while len(members) < size and free.any():
            jobs, streams = (rows[members].sum(axis=0) for rows in (neighbours.shared, neighbours.streams))
            chance = free * (LEAST_CHANCE + jobs) * np.where(streams > 0, LINK, 1.0)
            members.append(int(rng.choice(len(free), p=chance / chance.sum())))
            free[members] = False
        groups.append(np.array(members))
    return groups


def replan_round(
    instance: Instance,
    schedule: Schedule,
    workers: Workers,
    groups: list[tuple[Array, StandIns]],
    options: Replan,
    until: float,
) -> Schedule:
    """The schedule after one round: the MILPs of disjoint groups of sites, solved on all ranks.

    None is begun after `until`, seconds by the root's clock. Answers of groups that the clock ended are left out, so
    that a replay makes the same schedule.

    Parameters
    ----------
    groups : sites (ascending) of each group, and scenarios that stand for all at these.
    """
    owner = owners_of_jobs(instance, [sites for sites, _ in groups])
    rows = [instance.rows_of(sites) for sites, _ in groups]
    parts = [restrict(instance, schedule, sites, owner == k) for k, sites in enumerate(rows)]
    end = workers.deadline(until)
    effort = Effort(options.rel_gap, options.nodes)
    shared = zip(share_out(instance, schedule, parts), groups, strict=True)
    tasks = [ReplanTask(group, few, options.runs_kept, effort, end) for group, (_, few) in shared]
    answers = workers.farm(replan, tasks, until, "replanning")
    late = workers.stops.ask(lambda: [k for k, a in enumerate(answers) if a is not None and a.late]) or []
    found = [
        (part, answer.schedule)
        for k, (part, answer) in enumerate(zip(parts, answers, strict=True))
        if answer is not None and answer.schedule is not None and k not in late
    ]
    return complete(instance, merge_all(schedule, found)) if found else schedule


def owners_of_jobs(instance: Instance, groups: list[Array]) -> Array:
    """The group with most of a job's candidate sites, (J,), -1 for none: it may accept the job if it is rejected."""
    number, n = np.full(instance.n_sites, -1), len(groups)
    for k, sites in enumerate(groups):
        number[sites] = k
    group, owner = number[instance.candidates.site], np.full(instance.n_jobs, -1)
    pair, places = np.unique((instance.candidates.job * n + group)[group >= 0], return_counts=True)
    pair = pair[np.argsort(places, kind="stable")]  # of several entries of a job the last one stays
    owner[pair // n] = pair % n
    return owner
