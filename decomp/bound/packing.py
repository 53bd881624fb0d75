"""Sets of jobs that fit into a site side by side, as columns of its problem.

In a linear relaxation two jobs that take 60 % of a site each run there side by side at 83 % each. No convex combination
of sets that fit does so: with a weight for every set, what runs in a period is in their convex hull. (The feasible
subsets of project scheduling with limited resources: Mingozzi, Maniezzo, Ricciardelli and Bianco, Management Science
44(5), 1998; here in the relaxation alone.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from decomp.lp.block import Block
from decomp.model.instance import Array
from decomp.model.rounding import fits

MOST_SETS = 1000  # that fit in a period; the maximal ones of them get columns, some hundreds


class Runs(NamedTuple):
    """Possible runs at a site: number of the job, first period, periods and GPU (r,); and the site's GPU (T,)."""

    job: Array
    start: Array
    length: Array
    gpus: Array
    capacity: Array

    @property
    def during(self) -> Array:
        """Whether each run goes on in each period, (r, T)."""
        since = np.arange(len(self.capacity)) - self.start[:, None]
        return np.asarray((since >= 0) & (since < self.length[:, None]))


class Sets(NamedTuple):
    """Numbers of jobs (n,), and the maximal sets of them that fit side by side (set, n)."""

    jobs: Array
    member: Array


Packing = Mapping[int, Sets]  # by period, where not all jobs that may run fit


def packing_of(runs: Runs) -> Packing:
    """The sets that fit in each period; of the largest jobs alone where there are too many of all."""
    known: dict[tuple[bytes, float], Sets] = {}
    found = {}
    for period, during in enumerate(runs.during.T):
        jobs, first = np.unique(runs.job[during], return_index=True)
        key = jobs.tobytes(), float(runs.capacity[period])
        if key not in known:
            known[key] = maximal_sets(jobs, runs.gpus[during][first], runs.capacity[period])
        if len(known[key].member) > 1:
            found[period] = known[key]
    return found


def maximal_sets(jobs: Array, gpus: Array, capacity: float) -> Sets:
    """The maximal sets of jobs (n,) that fit together, of the largest of them if there are more than `MOST_SETS`."""
    order = np.argsort(-gpus, kind="stable")
    member, load = np.zeros((1, len(jobs)), dtype=bool), np.zeros(1)
    for n, j in enumerate(order):
        room = fits(load + gpus[j], capacity)
        if len(load) + room.sum() > MOST_SETS:
            order = order[:n]
            break
        joined = member[room]
        joined[:, j] = True
        member, load = np.concatenate([member, joined]), np.append(load, load[room] + gpus[j])
    member = member[:, order]
    least_left_out = np.where(member, np.inf, gpus[order]).min(axis=1, initial=np.inf)
    return Sets(jobs[order], member[~fits(load + least_left_out, capacity)])


def add_packing(block: Block, runs: Runs, column: Array, packing: Packing) -> None:
    """Have what runs in each period be a convex combination of sets that fit.

    `column` : of each run (r,). The rows of the weights' sums are named "sets", in the order of the packing.
    """
    during, sums = runs.during, [np.zeros(0, dtype=int)]
    for period, (jobs, member) in packing.items():
        weight = block.add_columns("set", len(member), 0.0, 1.0)
        sums.append(block.add_rows(-np.inf, 1.0, (1.0, weight[:1])))
        block.add_entries(np.repeat(sums[-1], len(weight) - 1), weight[1:], 1.0)
        share = block.add_rows(-np.inf, np.zeros(len(jobs)))  # of each job: no more than of the sets that hold it
        run, job = np.nonzero(during[:, period, None] & (runs.job[:, None] == jobs))
        block.add_entries(share[job], column[run], 1.0)
        which, job = np.nonzero(member)
        block.add_entries(share[job], weight[which], -1.0)
    block.rows["sets"] = np.concatenate(sums)
