"""Numba kernels of the proximal master: block updates of an augmented Lagrangian, and its closed-form parts.

`price` (S, T) is the current price of load, centre + curve * residual, and is kept up to date by every
block: putting dL more load on (i, t) raises it by curve[i, t] * dL (curve = step * weight), putting it into
a column of the site lowers it alike. Each block update is exact, so the model never gets worse.

The innermost loops run over periods or columns without a branch or a chained sum, so that they compile to
vector instructions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from decomp.site_kernels import TINY, dot


@njit(cache=True)
def mark_allowed_starts(capacity, gpus, length, release, n_starts, ptr, site, first, allowed):
    """Which starts keep the job below the site's capacity throughout."""
    for j in range(len(gpus)):
        for k in range(ptr[j], ptr[j + 1]):
            clear_since = release[j] + n_starts[j] + length[j] - 1  # one past the last period of any run
            for t in range(clear_since - 1, release[j] - 1, -1):
                if capacity[site[k], t] < gpus[j]:
                    clear_since = t
                n = t - release[j]
                if n < n_starts[j]:
                    allowed[first[k] + n] = t + length[j] <= clear_since


@njit(cache=True, error_model="numpy")
def stream_pass(price, curve, rows, routed):
    """Fill each stream and period into its allowed sites until their prices level, or the penalty is cheaper.

    The level solves sum of max(0, (level - base) / curve) = demand, a convex piecewise-linear equation: Newton's
    method from the sites in use ends exactly after two or three sweeps, done for all periods at once.
    """
    n = price.shape[1]
    widest = 1
    for d in range(len(rows.unserved)):
        widest = max(widest, rows.ptr[d + 1] - rows.ptr[d])
    base, give = np.empty((widest, n)), np.empty((widest, n))
    level, slope, offset = np.empty(n), np.empty(n), np.empty(n)
    for d in range(len(rows.unserved)):
        a0, m, most = rows.ptr[d], rows.ptr[d + 1] - rows.ptr[d], rows.unserved[d]
        for t in range(n):
            slope[t], offset[t] = 0.0, rows.demand[d, t]
        for k in range(m):
            i, cost = rows.site[a0 + k], rows.cost[a0 + k]
            for t in range(n):
                base[k, t] = cost + price[i, t] - curve[i, t] * routed[a0 + k, t]
                give[k, t] = 1.0 / curve[i, t]
                used = give[k, t] if routed[a0 + k, t] > 0.0 else 0.0
                slope[t] += used
                offset[t] += used * base[k, t]
        for t in range(n):
            level[t] = min(most, offset[t] / slope[t]) if slope[t] > 0.0 else most
        for _ in range(2 * m):
            for t in range(n):
                slope[t], offset[t] = 0.0, rows.demand[d, t]
            for k in range(m):
                for t in range(n):
                    used = give[k, t] if base[k, t] < level[t] else 0.0
                    slope[t] += used
                    offset[t] += used * base[k, t]
            far = 0.0
            for t in range(n):
                better = min(most, offset[t] / slope[t]) if slope[t] > 0.0 else level[t]
                far = max(far, abs(better - level[t]) - 1e-13 * (1.0 + abs(level[t])))
                level[t] = better
            if far <= 0.0:
                break
        for k in range(m):
            i = rows.site[a0 + k]
            for t in range(n):
                x = max(0.0, (level[t] - base[k, t]) * give[k, t])
                price[i, t] += curve[i, t] * (x - routed[a0 + k, t])
                routed[a0 + k, t] = x


@njit(cache=True)
def sums_before(values):
    """Running sums of each row: column t holds the sum of the entries before t, (S, T + 1)."""
    total = np.zeros((values.shape[0], values.shape[1] + 1))
    for i in range(values.shape[0]):
        for t in range(values.shape[1]):
            total[i, t + 1] = total[i, t] + values[i, t]
    return total


@njit(cache=True)
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


@njit(cache=True)
def run_value(price, rows, j, k, start):
    """Value of job j at candidate k and start (k < 0: rejected, worth nothing)."""
    if k < 0:
        return 0.0
    s = 0.0
    for t in range(start, start + rows.length[j]):
        s += price[rows.site[k], t]
    return rows.cost[k] + rows.gpus[j] * s


@njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})
def window_minimum(late, early, allowed, values):
    """Least of late - early where allowed (inf if nowhere); the differences go to `values`."""
    low = np.inf
    for q in range(len(late)):
        v = late[q] - early[q] if allowed[q] else np.inf
        values[q] = v
        low = v if v < low else low
    return low


@njit(cache=True)
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


@njit(cache=True)
def run_sum(total, site, cost, gpus, length, k, start):
    """Value of a job's run at candidate k and start (k < 0: rejected, worth nothing), from running sums.

    Called for every run in use: a call that takes all rows of the jobs is ten times dearer than what it does.
    """
    if k < 0:
        return 0.0
    return cost[k] + gpus * (total[site[k], start + length] - total[site[k], start])


@njit(cache=True)
def overlap_sum(total, i, start, i2, start2, length):
    """Sum over the periods that two runs of a length share at one site (i < 0: none), from running sums."""
    if i < 0 or i != i2:
        return 0.0
    first, last = max(start, start2), min(start, start2) + length
    return total[i, last] - total[i, first] if first < last else 0.0


@njit(cache=True)
def put_load(price, total, curve, amount, i, start, end):
    """Raise the prices, and their running sums, as `amount` more load at site i (< 0: none) from start to end does."""
    if i < 0:
        return
    rise = 0.0
    for t in range(start, end):
        price[i, t] += amount * curve[i, t]
        rise += amount * curve[i, t]
        total[i, t + 1] += rise
    for t in range(end + 1, total.shape[1]):
        total[i, t] += rise


@njit(cache=True)
def job_pass(price, curve, rows, fixed, run, start, share):
    """Move each free job's weights `share` (J, M) over runs (candidate, start) from its worst to its best run."""
    total, bends = sums_before(price), sums_before(curve)
    scratch = np.empty(price.shape[1] + 1)
    site, cost = rows.site, rows.cost
    for j in range(len(rows.gpus)):
        if fixed[j] != -2:
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


@njit(cache=True)
def pool_pass(price, curve, rows, rate):
    """Spread each pool's work over its sites and window until prices level (bisection on the level)."""
    for p in range(len(rows.work)):
        low, high = np.inf, -np.inf
        for a in range(rows.ptr[p], rows.ptr[p + 1]):
            for t in range(rows.start[p], rows.end[p]):
                w = curve[rows.site[a], t]
                base = price[rows.site[a], t] - w * rate[a, t]
                low, high = min(low, base), max(high, base + w * rows.rate[a])
        if low > high:
            continue
        high = min(high, rows.penalty[p])
        low = min(low, high)
        if pool_fill(price, curve, rows, rate, p, high) > rows.work[p]:
            for _ in range(50):
                middle = 0.5 * (low + high)
                if pool_fill(price, curve, rows, rate, p, middle) > rows.work[p]:
                    high = middle
                else:
                    low = middle
        for a in range(rows.ptr[p], rows.ptr[p + 1]):
            i = rows.site[a]
            for t in range(rows.start[p], rows.end[p]):
                w = curve[i, t]
                v = min(max((high - price[i, t]) / w + rate[a, t], 0.0), rows.rate[a])
                price[i, t] += w * (v - rate[a, t])
                rate[a, t] = v


@njit(cache=True)
def pool_fill(price, curve, rows, rate, p, level):
    """Work done by pool p if every place is filled up to the price level, GPU-periods."""
    s = 0.0
    for a in range(rows.ptr[p], rows.ptr[p + 1]):
        i = rows.site[a]
        for t in range(rows.start[p], rows.end[p]):
            v = (level - price[i, t]) / curve[i, t] + rate[a, t]
            s += min(max(v, 0.0), rows.rate[a])
    return s


@njit(cache=True)
def stream_value(price, rows):
    """Sum over streams and periods of demand times the cheapest of allowed sites and penalty."""
    total = 0.0
    cheapest = np.empty(price.shape[1])
    for d in range(len(rows.unserved)):
        cheapest[:] = rows.unserved[d]
        for a in range(rows.ptr[d], rows.ptr[d + 1]):
            i, cost = rows.site[a], rows.cost[a]
            for t in range(len(cheapest)):
                v = cost + price[i, t]
                cheapest[t] = v if v < cheapest[t] else cheapest[t]
        total += dot(rows.demand[d], cheapest)
    return total


@njit(cache=True)
def cheapest_runs(price, rows):
    """Every job's best run at the prices: values (inf where none is allowed), candidates, starts, (J,) each."""
    total, scratch = sums_before(price), np.empty(price.shape[1] + 1)
    n = len(rows.gpus)
    value, run, start = np.empty(n), np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for j in range(n):
        value[j], run[j], start[j] = cheapest_run(total, rows, j, scratch)
    return value, run, start


@njit(cache=True)
def run_values(price, rows, run, start):
    """Value of every job at a run each (run < 0: rejected), (J,)."""
    total = sums_before(price)
    value = np.empty(len(run))
    for j in range(len(run)):
        value[j] = run_sum(total, rows.site, rows.cost, rows.gpus[j], rows.length[j], run[j], start[j])
    return value


@njit(cache=True)
def job_value(price, rows, fixed, fixed_start):
    """Sum over jobs of their best run, rejection, or the run they are fixed to."""
    total, scratch = sums_before(price), np.empty(price.shape[1] + 1)
    s = 0.0
    for j in range(len(rows.gpus)):
        if fixed[j] != -2:
            s += run_sum(total, rows.site, rows.cost, rows.gpus[j], rows.length[j], fixed[j], fixed_start[j])
            continue
        value = cheapest_run(total, rows, j, scratch)[0]
        s += min(value, 0.0) if rows.optional[j] else value
    return s


@njit(cache=True)
def pool_value(price, rows):
    """Sum over pools of their cheapest fill."""
    total = 0.0
    for p in range(len(rows.work)):
        width = rows.end[p] - rows.start[p]
        n = (rows.ptr[p + 1] - rows.ptr[p]) * width
        prices = np.empty(n)
        rates = np.empty(n)
        q = 0
        for a in range(rows.ptr[p], rows.ptr[p + 1]):
            for t in range(rows.start[p], rows.end[p]):
                prices[q] = price[rows.site[a], t]
                rates[q] = rows.rate[a]
                q += 1
        left = rows.work[p]
        for q in np.argsort(prices):
            if left <= 0.0 or prices[q] >= rows.penalty[p]:
                break
            done = min(left, rates[q])
            total += done * prices[q]
            left -= done
        if left > 1e-9 * (1.0 + rows.work[p]):
            total += left * rows.penalty[p]
    return total


@njit(cache=True)
def job_load(load, rows, run, start, share):
    """Add the jobs' load to `load` (S, T)."""
    for j in range(len(rows.gpus)):
        for q in range(share.shape[1]):
            k = run[j, q]
            if share[j, q] > 0.0 and k >= 0:
                for t in range(start[j, q], start[j, q] + rows.length[j]):
                    load[rows.site[k], t] += share[j, q] * rows.gpus[j]


@njit(cache=True)
def arc_load(load, site, flow):
    """Add flows (arcs, T) to the load of their sites."""
    for a in range(len(site)):
        for t in range(flow.shape[1]):
            load[site[a], t] += flow[a, t]


@njit(cache=True)
def flow_cost(streams, pools, routed, pooled):
    """Net cost of routing and pool loads, with what stays undone at its penalty if that is finite, USD."""
    cost = 0.0
    left = np.empty(routed.shape[1])
    for d in range(len(streams.unserved)):
        left[:] = streams.demand[d]
        for a in range(streams.ptr[d], streams.ptr[d + 1]):
            cost += streams.cost[a] * routed[a].sum()
            left -= routed[a]
        cost += streams.unserved[d] * np.maximum(left, 0.0).sum()
    for p in range(len(pools.work)):
        if np.isfinite(pools.penalty[p]):
            cost += pools.penalty[p] * max(pools.work[p] - pooled[pools.ptr[p] : pools.ptr[p + 1]].sum(), 0.0)
    return cost


@njit(cache=True)
def run_cost(jobs, run, share):
    """Net cost of the weighted runs, without the load they bring, USD."""
    cost = 0.0
    for j in range(len(share)):
        for q in range(share.shape[1]):
            if run[j, q] >= 0:
                cost += share[j, q] * jobs.cost[run[j, q]]
    return cost
