"""A fleet whose plan is settled, its jobs and what is committed day-ahead: everything else still answers what comes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.devices.draft import Addition, Draft, Use, attach_drafts
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule
from decomp.schedule.incumbent import turn

COMMITMENT = "commitment"  # kind of the devices that hold generators


def with_decisions_of(instance: Instance, schedule: Schedule) -> Instance:
    """The instance in which each job that the schedule runs has that site and start alone, and there are no others.

    Generators marked `day_ahead` are on in the periods in which they are on in the schedule, and in no others. The
    schedule may be of other scenarios. Schedules of what is returned cost what they cost in the instance with these
    decisions.
    """
    run = np.flatnonzero(schedule.job_site >= 0)
    jobs, table = instance.jobs.take(run), instance.candidates
    order = np.lexsort((table.cost_usd, table.job))
    order = order[table.site[order] == schedule.job_site[table.job[order]]]
    _, first = np.unique(table.job[order], return_index=True)  # of several entries of a site the cheapest
    candidates = table.take(order[first])
    start = schedule.job_start[run]
    held = replace(
        instance,
        jobs=replace(jobs, release=start, deadline=start + jobs.periods, mandatory=np.ones(len(run), dtype=bool)),
        candidates=replace(candidates, job=np.searchsorted(run, candidates.job)),
    )
    return _committed(held, schedule.generator_on[: len(instance.generators.site)])


def of_free_fleet(held: Instance, schedule: Schedule, plan: Schedule) -> Schedule:
    """A schedule of a fleet whose plan is held, as one of the fleet as it was; neither has scenarios."""
    own = held.devices.kind[held.device_variables.device] != COMMITMENT
    return replace(schedule, job_site=plan.job_site, job_start=plan.job_start, device_value=schedule.device_value[own])


def _committed(instance: Instance, on: Array) -> Instance:
    """Output of day-ahead generators is within its limits when `on` (generator, period) and none otherwise.

    Rows of a device say so; being on and starting, which then are certain, cost the device instead of the generator.
    """
    g, hours = instance.generators, instance.period_h
    mine = np.flatnonzero(g.day_ahead)
    if not len(mine):
        return instance
    starts = on & ~np.column_stack([g.initial_mw > 0, on[:, :-1]])
    cost = hours * g.no_load_usd_per_h * on.sum(axis=1) + g.start_usd * starts.sum(axis=1)
    additions, period = [], np.arange(instance.n_periods)
    for k in mine:
        at = turn(g.site, int(k))
        draft = Draft()
        draft.variables("commitment", 1.0, 1.0, cost=cost[k])
        output = (1.0, Use("generation", period, at))
        draft.rows("output", g.p_min_mw[k] * on[k], g.p_max_mw[k] * on[k], output, index=period, unit="MW")
        additions.append(Addition(int(g.site[k]), draft, f"{COMMITMENT} of generator {at}", COMMITMENT))
    others = np.where(g.day_ahead, 0.0, 1.0)
    settled = replace(
        g,
        no_load_usd_per_h=others * g.no_load_usd_per_h,
        start_usd=others * g.start_usd,
        day_ahead=np.zeros(len(g.site), dtype=bool),
    )
    return attach_drafts(replace(instance, generators=settled), additions)
