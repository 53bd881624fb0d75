"""The dive of the Lagrangian heuristic: fix decided and wide jobs, re-price, repeat until all are fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from decomp.bound import job_kernels
from decomp.bound.coupling import FREE, REJECTED, Coupling, Fixing
from decomp.bound.lagrangian import BundleStep, LagrangianLoop
from decomp.model.instance import Array
from decomp.model.options import Recovery
from decomp.schedule import placing

NEAR = 0.01  # share of what its load costs, that a job decided before may lose against its best run


Heard = Callable[[BundleStep], bool]  # told of every iteration; answers whether the time for more of them is over


def dive(loop: LagrangianLoop, options: Recovery, heard: Heard) -> Fixing:
    """Fix decided jobs and the widest others, let the prices answer, repeat; what is contested goes by price and room.

    When time is over, all that is left goes at once.
    """
    while (loop.master.fixing.run == FREE).any():
        loop.refix(_fix_some(loop, options))
        for _ in range(options.dive_iterations):
            if heard(loop.iterate()):
                options = replace(options, dive_share=1.0, dive_iterations=0)
                break
    return loop.master.fixing


def keep_decided(loop: LagrangianLoop, before: Fixing) -> None:
    """Fix jobs as they were before, as far as their runs are near the best at the prices."""
    jobs, price = loop.coupling.jobs, loop.coupling.summed(loop.centre.price)
    known = before.run >= 0
    run, start = np.where(known, before.run, REJECTED), np.where(known, before.start, -1)
    cost = job_kernels.run_values(price, jobs, run, start) - np.where(known, jobs.cost[run], 0.0)
    best = job_kernels.cheapest_runs(price, jobs)[0]
    best = np.where(jobs.optional, np.minimum(best, 0.0), best)
    near = job_kernels.run_values(price, jobs, run, start) - best <= NEAR * np.abs(cost)
    loop.refix(Fixing(np.where(known & near, run, FREE), np.where(known & near, start, -1)))


def _fix_some(loop: LagrangianLoop, options: Recovery) -> Fixing:
    """Fix every nearly decided job, then the widest, to at least a share of the free ones, where they fit.

    Narrow jobs find room beside wide ones, but not these beside those: so the widest go first, however undecided.
    """
    master, jobs, relaxed = loop.master, loop.coupling.jobs, loop.master.work()
    run, start = master.fixing.run.copy(), master.fixing.start.copy()
    room = loop.coupling.least(loop.coupling.usable - fixed_load(loop.coupling, run, start))
    price = loop.coupling.summed(master.price)
    free = np.flatnonzero(run == FREE)
    top = relaxed.share[free].max(axis=1)
    order = free[np.lexsort((free, -jobs.gpus[free], top < options.decided, jobs.optional[free]))]
    least = int(np.ceil(max(options.dive_share * len(free), 0.03 * len(run))))
    for rank, j in enumerate(order):
        slot = int(np.argmax(relaxed.share[j]))
        if rank >= least and relaxed.share[j, slot] < options.decided:
            break
        k, s = int(relaxed.run[j, slot]), int(relaxed.start[j, slot])
        if k >= 0 and not placing.runs_fit(room, jobs, j, k, s):
            value, k, s = placing.best_place(price, room, jobs, j)
            if np.isinf(value):
                _, k, s = job_kernels.best_start(price, jobs, j)
        run[j], start[j] = k, s
        placing.put_run(room, jobs, j, k, s, 1.0)
    return Fixing(run, start)


def room_for_all(loop: LagrangianLoop, fixing: Fixing) -> Fixing:
    """All jobs where they are fixed to run, and rejected ones where it is best for them, beside others if they can.

    Those that may run nowhere stay rejected.
    """
    c, price = loop.coupling, loop.coupling.summed(loop.centre.price)
    run, start = fixing.run.copy(), fixing.start.copy()
    value, cheapest, first = job_kernels.cheapest_runs(price, c.jobs)
    room = c.least(c.usable - fixed_load(c, run, start))
    for j in sorted(np.flatnonzero(run < 0), key=lambda j: value[j]):
        _, k, s = placing.best_fitting_start(price, room, c.jobs, j)
        run[j], start[j] = (k, s) if k >= 0 else (cheapest[j], first[j])
        placing.put_run(room, c.jobs, j, run[j], start[j], 1.0)
    return Fixing(run, start)


def fixed_load(c: Coupling, run: Array, start: Array) -> Array:
    """Load of the jobs that are fixed to run, (S, T) GPU."""
    load = np.zeros_like(c.capacity)
    share = (run >= 0).astype(float)[:, None]
    c.add_job_load(load, run[:, None], start[:, None], share)
    return load
