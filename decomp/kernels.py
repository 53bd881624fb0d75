"""Numba kernels of the proximal master: block updates of an augmented Lagrangian, and its closed-form parts.

`price` (S, T) is the current price of load, centre + step * weight * residual, and is kept up to date
by every block: putting dL more load on (i, t) raises it by step * weight[i, t] * dL, putting it
into a column of the site lowers it alike. Each block update is exact, so the model never gets worse.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TINY = 1e-12


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


@njit(cache=True)
def carbon_update(carbon, tonnes):
    """Add emissions to the carbon row; carbon = [price, unclipped price, step, cap]."""
    carbon[1] += carbon[2] * tonnes
    carbon[0] = min(max(carbon[1], 0.0), carbon[3])


@njit(cache=True)
def site_pass(price, weight, step, loads, cost, emission, theta, count, gram, carbon, n_inner):
    """Move each site's convex weights `theta` (S, K) by pairwise steps between its best and worst column."""
    n_sites, n_slots, n = loads.shape
    value = np.empty(n_slots)
    before = np.empty(n_slots)
    for i in range(n_sites):
        m = count[i]
        for k in range(m):
            s = 0.0
            for t in range(n):
                s += price[i, t] * loads[i, k, t]
            value[k] = cost[i, k] + carbon[0] * emission[i, k] - s
            before[k] = theta[i, k]
        moved = False
        for _ in range(n_inner):
            best, worst = 0, -1
            for k in range(m):
                if value[k] < value[best]:
                    best = k
                if theta[i, k] > TINY and (worst < 0 or value[k] > value[worst]):
                    worst = k
            drop = value[worst] - value[best]
            if worst == best or drop <= 1e-10 * (1.0 + abs(value[best])):
                break
            tonnes = emission[i, best] - emission[i, worst]
            curve = step * (gram[i, best, best] + gram[i, worst, worst] - 2.0 * gram[i, best, worst])
            if 0.0 <= carbon[1] <= carbon[3]:
                curve += carbon[2] * tonnes * tonnes
            move = theta[i, worst]
            if curve * move > drop:
                move = drop / curve
            theta[i, best] += move
            theta[i, worst] -= move
            old = carbon[0]
            carbon_update(carbon, move * tonnes)
            rise = carbon[0] - old
            for k in range(m):
                value[k] += move * step * (gram[i, k, best] - gram[i, k, worst]) + rise * emission[i, k]
            moved = True
        if moved:
            for k in range(m):
                d = step * (theta[i, k] - before[k])
                if d != 0.0:
                    for t in range(n):
                        price[i, t] -= d * weight[i, t] * loads[i, k, t]


@njit(cache=True)
def stream_pass(price, weight, step, rows, routed):
    """Fill each stream and period into its allowed sites until their prices level, or the penalty is cheaper.

    The level solves sum of max(0, (level - base) / slope) = demand, a convex piecewise-linear equation: Newton's
    method from the sites in use ends exactly after two or three sweeps.
    """
    n = price.shape[1]
    widest = 1
    for d in range(len(rows.unserved)):
        widest = max(widest, rows.ptr[d + 1] - rows.ptr[d])
    base = np.empty(widest)
    give = np.empty(widest)
    for d in range(len(rows.unserved)):
        a0, m = rows.ptr[d], rows.ptr[d + 1] - rows.ptr[d]
        for t in range(n):
            slope, offset = 0.0, rows.demand[d, t]
            for k in range(m):
                i = rows.site[a0 + k]
                w = step * weight[i, t]
                base[k] = rows.cost[a0 + k] + price[i, t] - w * routed[a0 + k, t]
                give[k] = 1.0 / w
                if routed[a0 + k, t] > 0.0:
                    slope += give[k]
                    offset += give[k] * base[k]
            level = rows.unserved[d]
            if slope > 0.0:
                level = min(level, offset / slope)
            for _ in range(2 * m):
                slope, offset = 0.0, rows.demand[d, t]
                for k in range(m):
                    if base[k] < level:
                        slope += give[k]
                        offset += give[k] * base[k]
                better = min(offset / slope, rows.unserved[d]) if slope > 0.0 else level
                if abs(better - level) <= 1e-13 * (1.0 + abs(level)):
                    break
                level = better
            for k in range(m):
                x = max(0.0, (level - base[k]) * give[k])
                i = rows.site[a0 + k]
                price[i, t] += step * weight[i, t] * (x - routed[a0 + k, t])
                routed[a0 + k, t] = x


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


@njit(cache=True)
def run_overlap(weight, rows, j, k, start, k2, start2):
    """Sum of weights over the periods that two runs of job j share at one site."""
    if k < 0 or k2 < 0 or rows.site[k] != rows.site[k2]:
        return 0.0
    s = 0.0
    for t in range(max(start, start2), min(start, start2) + rows.length[j]):
        s += weight[rows.site[k], t]
    return s


@njit(cache=True)
def put_run(price, weight, amount, rows, j, k, start):
    """Raise the prices as `amount` more of the run's load does."""
    if k >= 0:
        for t in range(start, start + rows.length[j]):
            price[rows.site[k], t] += amount * weight[rows.site[k], t]


@njit(cache=True)
def job_pass(price, weight, step, rows, fixed, run, start, share, n_inner):
    """Move each free job's weights `share` (J, M) over runs (candidate, start) by pairwise steps."""
    n_slots = share.shape[1]
    for j in range(len(rows.gpus)):
        if fixed[j] != -2:
            continue
        for _ in range(n_inner):
            value, k, s = best_start(price, rows, j)
            if rows.optional[j] and value >= 0.0:
                value, k, s = 0.0, -1, -1
            worst, worst_value, slot = -1, value, -1
            for q in range(n_slots):
                if share[j, q] > TINY:
                    v = run_value(price, rows, j, run[j, q], start[j, q])
                    if v > worst_value:
                        worst, worst_value = q, v
                    if run[j, q] == k and start[j, q] == s:
                        slot = q
            if worst < 0 or worst_value - value <= 1e-10 * (1.0 + abs(value)):
                break
            if slot < 0:
                for q in range(n_slots):
                    if share[j, q] <= TINY:
                        slot = q
                        share[j, q], run[j, q], start[j, q] = 0.0, k, s
                        break
            full = slot < 0
            if full:  # the smallest share gives way as a whole, if that is for the better
                worst = np.argmin(share[j])
                worst_value = run_value(price, rows, j, run[j, worst], start[j, worst])
            kw, sw = run[j, worst], start[j, worst]
            curve = run_overlap(weight, rows, j, k, s, k, s) + run_overlap(weight, rows, j, kw, sw, kw, sw)
            curve -= 2.0 * run_overlap(weight, rows, j, k, s, kw, sw)
            curve *= step * rows.gpus[j] * rows.gpus[j]
            move = share[j, worst]
            if full and curve * move > 2.0 * (worst_value - value):
                break
            if full:
                slot, run[j, worst], start[j, worst] = worst, k, s
            elif curve * move > worst_value - value:
                move = (worst_value - value) / curve
            share[j, slot] += move
            share[j, worst] -= move
            put_run(price, weight, step * move * rows.gpus[j], rows, j, k, s)
            put_run(price, weight, -step * move * rows.gpus[j], rows, j, kw, sw)


@njit(cache=True)
def pool_pass(price, weight, step, rows, rate):
    """Spread each pool's work over its sites and window until prices level (bisection on the level)."""
    for p in range(len(rows.work)):
        low, high = np.inf, -np.inf
        for a in range(rows.ptr[p], rows.ptr[p + 1]):
            for t in range(rows.start[p], rows.end[p]):
                w = step * weight[rows.site[a], t]
                base = price[rows.site[a], t] - w * rate[a, t]
                low, high = min(low, base), max(high, base + w * rows.rate[a])
        if low > high:
            continue
        high = min(high, rows.penalty[p])
        low = min(low, high)
        if pool_fill(price, weight, step, rows, rate, p, high) > rows.work[p]:
            for _ in range(50):
                middle = 0.5 * (low + high)
                if pool_fill(price, weight, step, rows, rate, p, middle) > rows.work[p]:
                    high = middle
                else:
                    low = middle
        for a in range(rows.ptr[p], rows.ptr[p + 1]):
            i = rows.site[a]
            for t in range(rows.start[p], rows.end[p]):
                w = step * weight[i, t]
                v = min(max((high - price[i, t]) / w + rate[a, t], 0.0), rows.rate[a])
                price[i, t] += w * (v - rate[a, t])
                rate[a, t] = v


@njit(cache=True)
def pool_fill(price, weight, step, rows, rate, p, level):
    """Work done by pool p if every place is filled up to the price level, GPU-periods."""
    s = 0.0
    for a in range(rows.ptr[p], rows.ptr[p + 1]):
        i = rows.site[a]
        for t in range(rows.start[p], rows.end[p]):
            v = (level - price[i, t]) / (step * weight[i, t]) + rate[a, t]
            s += min(max(v, 0.0), rows.rate[a])
    return s


@njit(cache=True)
def stream_value(price, rows):
    """Sum over streams and periods of demand times the cheapest of allowed sites and penalty."""
    total = 0.0
    for d in range(len(rows.unserved)):
        for t in range(price.shape[1]):
            cheapest = rows.unserved[d]
            for a in range(rows.ptr[d], rows.ptr[d + 1]):
                cheapest = min(cheapest, rows.cost[a] + price[rows.site[a], t])
            total += rows.demand[d, t] * cheapest
    return total


@njit(cache=True)
def job_value(price, rows, fixed, fixed_start):
    """Sum over jobs of their best run, rejection, or the run they are fixed to."""
    total = 0.0
    for j in range(len(rows.gpus)):
        if fixed[j] != -2:
            total += run_value(price, rows, j, fixed[j], fixed_start[j])
            continue
        value, _, _ = best_start(price, rows, j)
        total += min(value, 0.0) if rows.optional[j] else value
    return total


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
def site_values(price, carbon_price, loads, cost, emission, count):
    """Value of the column model of each site: min over columns of cost + carbon - price . load."""
    n_sites, _, n = loads.shape
    values = np.empty(n_sites)
    for i in range(n_sites):
        values[i] = np.inf
        for k in range(count[i]):
            s = 0.0
            for t in range(n):
                s += price[i, t] * loads[i, k, t]
            values[i] = min(values[i], cost[i, k] + carbon_price * emission[i, k] - s)
    return values


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
def add_gram(loads, weight, gram, i, k, m):
    """Refresh row and column k of site i's weighted Gram matrix over its first m columns."""
    n = loads.shape[2]
    for q in range(m):
        s = 0.0
        for t in range(n):
            s += weight[i, t] * loads[i, k, t] * loads[i, q, t]
        gram[i, k, q] = s
        gram[i, q, k] = s


@njit(cache=True)
def safe_bound(indptr, indices, data, cost, low, high, row_low, row_high, duals):
    """Lower bound that a dual vector proves for a column-wise LP; duals of the wrong sign count as zero."""
    y = duals.copy()
    total = 0.0
    for r in range(len(y)):
        side = row_low[r] if y[r] > 0.0 else row_high[r]
        if np.isinf(side):
            y[r] = 0.0
        elif y[r] != 0.0:
            total += y[r] * side
    for k in range(len(cost)):
        reduced = cost[k]
        for q in range(indptr[k], indptr[k + 1]):
            reduced -= data[q] * y[indices[q]]
        if reduced != 0.0:
            total += reduced * (low[k] if reduced > 0.0 else high[k])
    return total
