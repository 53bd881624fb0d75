"""A fleet whose jobs are settled: everything else still answers what comes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.model.instance import Instance
from decomp.model.result import Schedule


def with_jobs_of(instance: Instance, schedule: Schedule) -> Instance:
    """The instance in which each job that the schedule runs has that site and start alone, and there are no others.

    Its schedules cost what they cost in the instance with these jobs.
    """
    run = np.flatnonzero(schedule.job_site >= 0)
    jobs, table = instance.jobs.take(run), instance.candidates
    order = np.lexsort((table.cost_usd, table.job))
    order = order[table.site[order] == schedule.job_site[table.job[order]]]
    _, first = np.unique(table.job[order], return_index=True)  # of several entries of a site the cheapest
    candidates = table.take(order[first])
    start = schedule.job_start[run]
    return replace(
        instance,
        jobs=replace(jobs, release=start, deadline=start + jobs.periods, mandatory=np.ones(len(run), dtype=bool)),
        candidates=replace(candidates, job=np.searchsorted(run, candidates.job)),
    )
