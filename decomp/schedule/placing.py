"""Numba kernels that place work into the room that is left: no site above its limit, everything counted."""

from __future__ import annotations

import numpy as np

from decomp.bound.job_kernels import run_value
from decomp.compiled import compiled
from decomp.model.rounding import FIT


@compiled
def runs_fit(room, rows, j, k, start):
    """Whether a run of job j fits into the room left (S, T)."""
    return room[rows.site[k], start : start + rows.length[j]].min() >= rows.gpus[j] - FIT * (1.0 + rows.gpus[j])


@compiled
def fitting_start(price, room, rows, j, k):
    """As best_fitting_start, at candidate k only: (value, start)."""
    best, start = np.inf, -1
    for q in range(rows.n_starts[j]):
        t = rows.release[j] + q
        if rows.allowed[rows.first[k] + q]:
            v = run_value(price, rows, j, k, t)
            if v < best and runs_fit(room, rows, j, k, t):
                best, start = v, t
    return best, start


@compiled
def best_fitting_start(price, room, rows, j):
    """As best_start, among runs that fit into the room left: (value, candidate, start)."""
    best, candidate, start = np.inf, -1, -1
    for k in range(rows.ptr[j], rows.ptr[j + 1]):
        v, t = fitting_start(price, room, rows, j, k)
        if v < best:
            best, candidate, start = v, k, t
    return best, candidate, start


@compiled
def put_run(room, rows, j, k, start, sign):
    """Take the load of a run (k < 0: none) out of the room, or give it back (`sign` -1)."""
    if k >= 0:
        room[rows.site[k], start : start + rows.length[j]] -= sign * rows.gpus[j]


@compiled
def best_place(price, room, rows, j):
    """As best_fitting_start, but (0, -1, -1) where it is cheaper to reject the job."""
    value, k, s = best_fitting_start(price, room, rows, j)
    if rows.optional[j] and value >= 0.0:
        return 0.0, -1, -1
    return value, k, s


@compiled
def exchange(price, room, rows, j, k, other, run, start):
    """Job j at its best start at candidate k, where `other` gives way to the best place that is left then.

    `run`, `start` (J,) : of all jobs, j taken out. Returns the sum of both values less the present one of `other` (inf:
    they do not both fit), the start of j, and candidate and start of `other`. The room is the same again in the end.
    """
    here, since = run[other], start[other]
    together, k2, s2 = np.inf, -1, -1
    put_run(room, rows, other, here, since, -1.0)
    value, s = fitting_start(price, room, rows, j, k)
    if s >= 0:
        put_run(room, rows, j, k, s, 1.0)
        again, k2, s2 = best_place(price, room, rows, other)
        put_run(room, rows, j, k, s, -1.0)
        together = value + (again - run_value(price, rows, other, here, since))
    put_run(room, rows, other, here, since, 1.0)
    return together, s, k2, s2


@compiled
def fit_pools(price, room, rows, rate):
    """Make pool rates fit into the room, and do missing work at the cheapest places that have some."""
    n = price.shape[1]
    for p in range(len(rows.work)):
        a0, a1 = rows.ptr[p], rows.ptr[p + 1]
        left = rows.work[p]
        for a in range(a0, a1):
            i = rows.site[a]
            for t in range(rows.start[p], rows.end[p]):
                rate[a, t] = max(0.0, min(rate[a, t], min(room[i, t], left)))
                room[i, t] -= rate[a, t]
                left -= rate[a, t]
        if left <= 0.0:
            continue
        places = np.empty((a1 - a0) * n)
        for a in range(a0, a1):
            for t in range(n):
                inside = rows.start[p] <= t < rows.end[p]
                places[(a - a0) * n + t] = price[rows.site[a], t] if inside else np.inf
        for q in np.argsort(places):
            if left <= 0.0 or places[q] >= rows.penalty[p]:
                break
            a, t = a0 + q // n, q % n
            more = max(0.0, min(left, min(rows.rate[a] - rate[a, t], room[rows.site[a], t])))
            rate[a, t] += more
            room[rows.site[a], t] -= more
            left -= more


@compiled
def fit_streams(price, room, rows, routed):
    """Make routing fit into the room and the demand, and serve what is left wherever that pays."""
    n = price.shape[1]
    for d in range(len(rows.unserved)):
        a0, a1 = rows.ptr[d], rows.ptr[d + 1]
        for t in range(n):
            left = rows.demand[d, t]
            for a in range(a0, a1):
                routed[a, t] = max(0.0, min(routed[a, t], min(room[rows.site[a], t], left)))
                room[rows.site[a], t] -= routed[a, t]
                left -= routed[a, t]
            while left > 1e-9 * rows.demand[d, t]:
                best, cheapest = -1, rows.unserved[d]
                for a in range(a0, a1):
                    if room[rows.site[a], t] > 1e-9 and rows.cost[a] + price[rows.site[a], t] < cheapest:
                        best, cheapest = a, rows.cost[a] + price[rows.site[a], t]
                if best < 0:
                    break
                more = min(left, room[rows.site[best], t])
                routed[best, t] += more
                room[rows.site[best], t] -= more
                left -= more
