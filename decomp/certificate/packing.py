"""Which jobs fit into a site side by side: columns by which its relaxation runs no others together.

In a period the jobs that run are one of the sets that fit, so the shares of jobs are at most a convex combination of
the maximal ones. A relaxation without them splits jobs until they fit.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from decomp.certificate.model import Builder
from decomp.model.instance import Array

MOST_SETS = 4000
"""Sets that fit in a period; where there are more, the smallest jobs are left out of them."""

Packing = dict[int, list[frozenset[int]]]
"""Sets of jobs by period."""


def fitting_sets(site: SimpleNamespace, capacity: Array) -> Packing:
    """The maximal sets in every period in which not all jobs fit; `capacity` (period,) in GPU."""
    size = dict(zip(site.begun_job.tolist(), site.begun_gpu.tolist(), strict=True))
    found: dict[tuple[tuple[int, ...], float], list[frozenset[int]]] = {}
    packing = {}
    for t, most in enumerate(capacity.tolist()):
        here = np.unique(site.begun_job[(site.begun_at <= t) & (t < site.begun_at + site.begun_for)])
        jobs = tuple(sorted(here.tolist(), key=lambda job: (-size[job], job)))
        if (jobs, most) not in found:
            found[jobs, most] = _maximal(jobs, size, most)
        if len(found[jobs, most]) > 1:
            packing[t] = found[jobs, most]
    return packing


def _maximal(jobs: tuple[int, ...], size: dict[int, float], most: float) -> list[frozenset[int]]:
    """The maximal sets of jobs that fit, from the largest job on."""
    sets: list[tuple[frozenset[int], float]] = [(frozenset(), 0.0)]
    taken: list[int] = []
    for job in jobs:
        more = [(chosen | {job}, used + size[job]) for chosen, used in sets if used + size[job] <= most]
        if len(sets) + len(more) > MOST_SETS:
            break
        sets, taken = sets + more, [*taken, job]
    smallest = {chosen: min((size[job] for job in taken if job not in chosen), default=np.inf) for chosen, _ in sets}
    return [chosen for chosen, used in sets if used + smallest[chosen] > most]


def add_packing(builder: Builder, site: SimpleNamespace, packing: Packing) -> Array:
    """Add the sets' weights, and rows: they sum to one at most, and no job runs more than its sets. The sums' rows."""
    sums = []
    for t, sets in packing.items():
        weight = builder.columns(len(sets), 0.0, 1.0)
        sums.append(builder.rows([(1.0, weight[:1])], 1.0))
        builder.entries(np.repeat(sums[-1], len(sets) - 1), weight[1:], 1.0)
        going = (site.begun_at <= t) & (t < site.begun_at + site.begun_for)
        for job in sorted(frozenset().union(*sets)):
            runs = site.begun[going & (site.begun_job == job)]
            row = builder.rows([(1.0, runs[:1])], 0.0)
            builder.entries(np.repeat(row, len(runs) - 1), runs[1:], 1.0)
            holding = weight[[job in chosen for chosen in sets]]
            builder.entries(np.repeat(row, len(holding)), holding, -1.0)
    return np.concatenate([np.zeros(0, dtype=int), *sums])
