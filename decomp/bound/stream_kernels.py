"""Numba kernels of streams and pools in the proximal master: exact block updates, and closed forms of the bound.

`price` (S, T) is the present price of load, centre + curve * residual, USD per GPU and period, and every update keeps
it so: dL more load assigned to (i, t) raises it by curve[i, t] * dL (curve = step * weight). `rows` are
`coupling.StreamRows` or `coupling.PoolRows`. Each update minimises exactly over its block.

Innermost loops run over periods or columns without branches or chained sums, so that they vectorise.
"""

from __future__ import annotations

import numpy as np

from decomp.compiled import compiled


@compiled(error_model="numpy")
def stream_pass(price, curve, rows, routed):
    """Water-filling: assign each stream and period to its sites up to a common price level, at most the penalty.

    The level solves sum of max(0, (level - base) / curve) = demand, a convex piecewise-linear equation: Newton's
    method from the sites in use ends exactly after two or three sweeps, done for all periods at once. A level that
    has settled stays, so that no period depends on which others are done with it.
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
                off = abs(better - level[t]) - 1e-13 * (1.0 + abs(level[t]))
                level[t] = better if off > 0.0 else level[t]
                far = max(far, off)
            if far <= 0.0:
                break
        for k in range(m):
            i = rows.site[a0 + k]
            for t in range(n):
                x = max(0.0, (level[t] - base[k, t]) * give[k, t])
                price[i, t] += curve[i, t] * (x - routed[a0 + k, t])
                routed[a0 + k, t] = x


@compiled
def pool_pass(price, curve, rows, rate):
    """Water-filling of each pool's work over its sites and window, by bisection on the common price level."""
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


@compiled
def pool_fill(price, curve, rows, rate, p, level):
    """Work of pool p at a price level, GPU-periods: every place filled up to it, within its rate."""
    s = 0.0
    for a in range(rows.ptr[p], rows.ptr[p + 1]):
        i = rows.site[a]
        for t in range(rows.start[p], rows.end[p]):
            v = (level - price[i, t]) / curve[i, t] + rate[a, t]
            s += min(max(v, 0.0), rows.rate[a])
    return s


@compiled
def stream_values(price, rows):
    """Sum over streams of demand times the least of site prices and penalty, in each period (T,), USD."""
    total, cheapest = np.zeros(price.shape[1]), np.empty(price.shape[1])
    for d in range(len(rows.unserved)):
        cheapest[:] = rows.unserved[d]
        for a in range(rows.ptr[d], rows.ptr[d + 1]):
            i, cost = rows.site[a], rows.cost[a]
            for t in range(len(cheapest)):
                v = cost + price[i, t]
                cheapest[t] = v if v < cheapest[t] else cheapest[t]
        for t in range(len(cheapest)):
            total[t] += rows.demand[d, t] * cheapest[t]
    return total


@compiled
def pool_value(price, rows):
    """Sum over pools of the least cost of their work: places by rising price, the rest at the penalty, USD."""
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


@compiled
def arc_load(load, site, flow):
    """Add flows (arcs, T) GPU to the load (S, T) of their sites."""
    for a in range(len(site)):
        for t in range(flow.shape[1]):
            load[site[a], t] += flow[a, t]


@compiled
def stream_costs(rows, routed):
    """Net cost of routing in each period (T,), unserved demand at its penalty, USD."""
    cost, left = np.zeros(routed.shape[1]), np.empty(routed.shape[1])
    for d in range(len(rows.unserved)):
        left[:] = rows.demand[d]
        for a in range(rows.ptr[d], rows.ptr[d + 1]):
            for t in range(len(left)):
                cost[t] += rows.cost[a] * routed[a, t]
                left[t] -= routed[a, t]
        for t in range(len(left)):
            cost[t] += rows.unserved[d] * max(left[t], 0.0)
    return cost


@compiled
def pool_cost(rows, pooled):
    """Cost of the pools' shortfalls with a finite penalty, USD."""
    cost = 0.0
    for p in range(len(rows.work)):
        if np.isfinite(rows.penalty[p]):
            cost += rows.penalty[p] * max(rows.work[p] - pooled[rows.ptr[p] : rows.ptr[p + 1]].sum(), 0.0)
    return cost
