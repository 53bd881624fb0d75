"""Numba kernels of the jobs: their cheapest runs at prices of load, and convex weights on runs.

`price` (S, T) is the price of load, USD per GPU and period; `rows` are `coupling.JobRows`. A run is a candidate (row k)
and a start; candidate -1 is rejection, at cost 0. A job's relaxed start is a convex combination of runs `run`, `start`
(J, M) with weights `share` (J, M). Values are costs of running less the job's worth, load at its price, USD.
"""

from __future__ import annotations

import numpy as np

from decomp.bound.column_kernels import TINY
from decomp.compiled import compiled

FREE = -2  # in the place of a candidate: the job is not fixed


@compiled
def mark_allowed_starts(capacity, gpus, length, release, n_starts, ptr, site, first, allowed):
    """Set `allowed` for the starts at which the site's capacity covers the job in all its periods."""
    for j in range(len(gpus)):
        for k in range(ptr[j], ptr[j + 1]):
            clear_since = release[j] + n_starts[j] + length[j] - 1  # one past the last period of any run
            for t in range(clear_since - 1, release[j] - 1, -1):
                if capacity[site[k], t] < gpus[j]:
                    clear_since = t
                n = t - release[j]
                if n < n_starts[j]:
                    allowed[first[k] + n] = t + length[j] <= clear_since


@compiled
def sums_before(values):
    """Running sums of each row: column t holds the sum of the entries before t, (S, T + 1)."""
    total = np.zeros((values.shape[0], values.shape[1] + 1))
    for i in range(values.shape[0]):
        for t in range(values.shape[1]):
            total[i, t + 1] = total[i, t] + values[i, t]
    return total


@compiled
def best_start(price, rows, j):
    """Cheapest candidate and start of job j at the prices: (value, candidate, start)."""
    best, candidate, start = np.inf, -1, -1
    for k in range(rows.ptr[j], rows.ptr[j + 1]):
        i = rows.site[k]
        s = 0.0
        for t in range(rows.release[j], rows.release[j] + rows.length[j] - 1):
            s += price[i, t]
        for q in range(rows.n_starts[j]):
            t = rows.release[j] + q
            s += price[i, t + rows.length[j] - 1]
            if rows.allowed[rows.first[k] + q]:
                v = rows.cost[k] + rows.gpus[j] * s
                if v < best:
                    best, candidate, start = v, k, t
            s -= price[i, t]
    return best, candidate, start


@compiled
def run_value(price, rows, j, k, start):
    """Value of job j at candidate k and start (k < 0: rejected, worth nothing)."""
    if k < 0:
        return 0.0
    s = 0.0
    for t in range(start, start + rows.length[j]):
        s += price[rows.site[k], t]
    return rows.cost[k] + rows.gpus[j] * s


@compiled(fastmath={"nnan", "nsz", "reassoc"})
def window_minimum(late, early, allowed, values):
    """Least of late - early where allowed (inf if nowhere); the differences go to `values`."""
    low = np.inf
    for q in range(len(late)):
        v = late[q] - early[q] if allowed[q] else np.inf
        values[q] = v
        low = v if v < low else low
    return low


@compiled
def cheapest_run(total, rows, j, values):
    """As best_start, from the running sums of the prices; `values` (T + 1,) is scratch."""
    best, candidate, start = np.inf, -1, -1
    n, release, ends = rows.n_starts[j], rows.release[j], rows.release[j] + rows.length[j]
    for k in range(rows.ptr[j], rows.ptr[j + 1]):
        sums, first = total[rows.site[k]], rows.first[k]
        allowed = rows.allowed[first : first + n]
        low = window_minimum(sums[ends : ends + n], sums[release : release + n], allowed, values)
        if rows.cost[k] + rows.gpus[j] * low < best:
            best, candidate = rows.cost[k] + rows.gpus[j] * low, k
            for q in range(n):
                if values[q] == low:
                    start = release + q
                    break
    return best, candidate, start


@compiled
def run_sum(total, site, cost, gpus, length, k, start):
    """As run_value, from the running sums of the prices.

    Takes scalars and not `rows`: it is called for every run in use, and passing all rows costs ten times its own work.
    """
    if k < 0:
        return 0.0
    return cost[k] + gpus * (total[site[k], start + length] - total[site[k], start])


@compiled
def overlap_sum(total, i, start, i2, start2, length):
    """Sum over the periods that two runs of equal length share at one site (i < 0: none), from running sums."""
    if i < 0 or i != i2:
        return 0.0
    first, last = max(start, start2), min(start, start2) + length
    return total[i, last] - total[i, first] if first < last else 0.0


@compiled
def put_load(price, total, curve, amount, i, start, end):
    """Update prices and their running sums for `amount` GPU more at site i (< 0: none) from start to end."""
    if i < 0:
        return
    rise = 0.0
    for t in range(start, end):
        price[i, t] += amount * curve[i, t]
        rise += amount * curve[i, t]
        total[i, t + 1] += rise
    for t in range(end + 1, total.shape[1]):
        total[i, t] += rise


@compiled
def job_pass(price, curve, rows, fixed, run, start, share):
    """Pairwise Frank-Wolfe steps from each free job's worst run in use to its best, jobs in turn (Gauss-Seidel).

    Updates `run`, `start`, `share` and `price`; `fixed` (J,) is FREE for free jobs; curve = step * weight.
    """
    total, bends = sums_before(price), sums_before(curve)
    scratch = np.empty(price.shape[1] + 1)
    site, cost = rows.site, rows.cost
    for j in range(len(rows.gpus)):
        if fixed[j] != FREE:
            continue
        gpus, length = rows.gpus[j], rows.length[j]
        value, k, s = cheapest_run(total, rows, j, scratch)
        if rows.optional[j] and value >= 0.0:
            value, k, s = 0.0, -1, -1
        worst, worst_value, slot, empty = -1, value, -1, -1
        for q in range(share.shape[1]):
            if share[j, q] <= TINY:
                empty = q
                continue
            v = run_sum(total, site, cost, gpus, length, run[j, q], start[j, q])
            if v > worst_value:
                worst, worst_value = q, v
            if run[j, q] == k and start[j, q] == s:
                slot = q
        if worst < 0 or worst_value - value <= 1e-10 * (1.0 + abs(value)):
            continue
        full = slot < 0 and empty < 0
        if full:  # the smallest share gives way as a whole, if that is for the better
            worst = np.argmin(share[j])
            worst_value = run_sum(total, site, cost, gpus, length, run[j, worst], start[j, worst])
        elif slot < 0:
            slot = empty
            share[j, slot], run[j, slot], start[j, slot] = 0.0, k, s
        kw, sw = run[j, worst], start[j, worst]
        i, iw = site[k] if k >= 0 else -1, site[kw] if kw >= 0 else -1
        bend = overlap_sum(bends, i, s, i, s, length) + overlap_sum(bends, iw, sw, iw, sw, length)
        bend = gpus * gpus * (bend - 2.0 * overlap_sum(bends, i, s, iw, sw, length))
        move, drop = share[j, worst], worst_value - value
        if full and bend * move > 2.0 * drop:
            continue
        if full:
            slot, run[j, worst], start[j, worst] = worst, k, s
        elif bend * move > drop:
            move = drop / bend
        share[j, slot] += move
        share[j, worst] -= move
        put_load(price, total, curve, move * gpus, i, s, s + length)
        put_load(price, total, curve, -move * gpus, iw, sw, sw + length)


@compiled
def propose_job_steps(price, rows, fixed, run, start, share, first, step):
    """Pairwise steps of the free jobs first, first + step, ..., all at the same prices (Jacobi): not yet taken.

    Columns of the proposed steps (n, 6): job, candidate and start moved to, slot it has among the job's runs (-1: all
    are taken, and the smallest would give way), slot moved from, and what a unit of weight gains, USD.
    """
    total, scratch = sums_before(price), np.empty(price.shape[1] + 1)
    proposed, n = np.empty((len(rows.gpus) // step + 1, 6)), 0
    site, cost, values = rows.site, rows.cost, np.empty(share.shape[1])
    for j in range(first, len(rows.gpus), step):
        if fixed[j] != FREE:
            continue
        value, k, s = cheapest_run(total, rows, j, scratch)
        if rows.optional[j] and value >= 0.0:
            value, k, s = 0.0, -1, -1
        worst, slot, empty = -1, -1, -1
        for q in range(share.shape[1]):
            if share[j, q] <= TINY:
                empty = q
                continue
            kq, sq = run[j, q], start[j, q]
            values[q] = run_sum(total, site, cost, rows.gpus[j], rows.length[j], kq, sq)
            if values[q] > value and (worst < 0 or values[q] > values[worst]):
                worst = q
            if kq == k and sq == s:
                slot = q
        if slot < 0 and empty >= 0:
            slot = empty
        elif slot < 0:
            worst = np.argmin(share[j])
        if worst < 0 or values[worst] - value <= 1e-10 * (1.0 + abs(value)):
            continue
        proposed[n, 0], proposed[n, 1], proposed[n, 2], proposed[n, 3], proposed[n, 4] = j, k, s, slot, worst
        proposed[n, 5] = values[worst] - value
        n += 1
    return proposed[:n]


@compiled
def take_job_steps(price, curve, rows, run, start, share, proposed):
    """Take the proposed steps at the same time, each with the step length of a steeper price.

    At each site and period the price is assumed to rise as many times as fast as steps meet there; by convexity the
    joint step does not worsen the master's objective. Changes are recorded at the ends of runs, then summed up.
    """
    n_sites, n = price.shape
    meet, load, bends = np.zeros((n_sites, n + 1)), np.zeros((n_sites, n + 1)), np.zeros((n_sites, n + 1))
    place, length, gpus = rows.site, rows.length, rows.gpus  # a call that takes all rows is dearer than what it does
    for w in range(len(proposed)):
        j, k, s, worst = int(proposed[w, 0]), int(proposed[w, 1]), int(proposed[w, 2]), int(proposed[w, 4])
        kw, sw = run[j, worst], start[j, worst]
        i, iw = place[k] if k >= 0 else -1, place[kw] if kw >= 0 else -2
        end, end_w = s + length[j], sw + length[j]
        if i == iw and max(s, sw) < min(end, end_w):  # the periods that both have do not change
            s, end, sw, end_w = min(s, sw), max(s, sw), min(end, end_w), max(end, end_w)
        if i >= 0:
            meet[i, s] += 1.0
            meet[i, end] -= 1.0
        if iw >= 0:
            meet[iw, sw] += 1.0
            meet[iw, end_w] -= 1.0
    for i in range(n_sites):
        here = 0.0
        for t in range(n):
            here += meet[i, t]
            bends[i, t + 1] = bends[i, t] + curve[i, t] * here
    for w in range(len(proposed)):
        j, k, s, worst = int(proposed[w, 0]), int(proposed[w, 1]), int(proposed[w, 2]), int(proposed[w, 4])
        slot, gain = int(proposed[w, 3]), proposed[w, 5]
        kw, sw, move = run[j, worst], start[j, worst], share[j, worst]
        i, iw = place[k] if k >= 0 else -1, place[kw] if kw >= 0 else -2
        end, end_w = s + length[j], sw + length[j]
        bend = bends[i, end] - bends[i, s] if i >= 0 else 0.0
        bend += bends[iw, end_w] - bends[iw, sw] if iw >= 0 else 0.0
        if i == iw and max(s, sw) < min(end, end_w):
            bend -= 2.0 * (bends[i, min(end, end_w)] - bends[i, max(s, sw)])
        bend *= gpus[j] * gpus[j]
        if slot < 0:
            if bend * move > 2.0 * gain:
                continue
            run[j, worst], start[j, worst] = k, s
        else:
            if share[j, slot] <= TINY:
                share[j, slot], run[j, slot], start[j, slot] = 0.0, k, s
            if bend * move > gain:
                move = gain / bend
            share[j, slot] += move
            share[j, worst] -= move
        if i >= 0:
            load[i, s] += move * gpus[j]
            load[i, end] -= move * gpus[j]
        if iw >= 0:
            load[iw, sw] -= move * gpus[j]
            load[iw, end_w] += move * gpus[j]
    for i in range(n_sites):
        here = 0.0
        for t in range(n):
            here += load[i, t]
            price[i, t] += curve[i, t] * here


@compiled
def cheapest_runs(price, rows):
    """Every job's best run at the prices: values (inf where none is allowed), candidates, starts, (J,) each."""
    total, scratch = sums_before(price), np.empty(price.shape[1] + 1)
    n = len(rows.gpus)
    value, run, start = np.empty(n), np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for j in range(n):
        value[j], run[j], start[j] = cheapest_run(total, rows, j, scratch)
    return value, run, start


@compiled
def run_values(price, rows, run, start):
    """Value of one run of every job, (J,) USD (run < 0: rejected, 0)."""
    total = sums_before(price)
    value = np.empty(len(run))
    for j in range(len(run)):
        value[j] = run_sum(total, rows.site, rows.cost, rows.gpus[j], rows.length[j], run[j], start[j])
    return value


@compiled
def job_values(price, rows, fixed, fixed_start, first, step):
    """Least value of the jobs first, first + step, ..., USD: of their best run or rejection, or of what is fixed."""
    total, scratch = sums_before(price), np.empty(price.shape[1] + 1)
    values = np.empty((len(rows.gpus) - first + step - 1) // step)
    for n in range(len(values)):
        j = first + n * step
        if fixed[j] != FREE:
            values[n] = run_sum(total, rows.site, rows.cost, rows.gpus[j], rows.length[j], fixed[j], fixed_start[j])
        else:
            value = cheapest_run(total, rows, j, scratch)[0]
            values[n] = min(value, 0.0) if rows.optional[j] else value
    return values


@compiled
def job_load(load, rows, run, start, share):
    """Add the load of all weighted runs to `load` (S, T) GPU."""
    for j in range(len(rows.gpus)):
        for q in range(share.shape[1]):
            k = run[j, q]
            if share[j, q] > 0.0 and k >= 0:
                for t in range(start[j, q], start[j, q] + rows.length[j]):
                    load[rows.site[k], t] += share[j, q] * rows.gpus[j]


@compiled
def run_cost(jobs, run, share):
    """Net cost of the weighted runs, load not priced, USD."""
    cost = 0.0
    for j in range(len(share)):
        for q in range(share.shape[1]):
            if run[j, q] >= 0:
                cost += share[j, q] * jobs.cost[run[j, q]]
    return cost
