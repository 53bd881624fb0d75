"""Numba kernels of the proximal master's sites: convex weights of columns, and the cutting-plane model.

`price` (S, T) is the present price of load, centre + curve * residual with curve = step * weight, USD per GPU and
period; carrying dL more load by the columns of site i lowers price[i, t] by curve[i, t] * dL. `theta` (S, K) are the
convex weights; `loads` (S, K, T) GPU, `cost` (S, K) USD and `emission` (S, K) t are the columns, of which a site has
`count` (S,).
"""

from __future__ import annotations

import numpy as np

from decomp.compiled import compiled

TINY = 1e-12


@compiled(fastmath=True)
def dot(x, y):
    """Inner product; the order of the sum is the compiler's."""
    s = 0.0
    for t in range(len(x)):
        s += x[t] * y[t]
    return s


@compiled
def gainful_move(gain, bend, tonnes, uncut, steep, cap):
    """Exact line search: the step at which a gain that falls by `bend` a unit, and by its price of carbon, is used up.

    A unit of the step emits `tonnes`. The carbon price, `uncut` before the step, rises by `steep` a tonne and is cut
    off at 0 and at `cap`, so the gain is piecewise linear.
    """
    rise = steep * tonnes
    if rise == 0.0:
        return gain / bend if bend > 0.0 else np.inf
    enter, leave = max(-uncut / rise, 0.0), max((cap - uncut) / rise, 0.0)
    enter, leave = min(enter, leave), max(enter, leave)
    if gain <= bend * enter:
        return gain / bend
    gain -= bend * enter
    bent = bend + rise * tonnes
    if gain <= bent * (leave - enter):
        return enter + gain / bent
    gain -= bent * (leave - enter)
    return leave + gain / bend if bend > 0.0 else np.inf


@compiled
def site_pass(
    price, curve, step, loads, cost, emission, theta, count, gram, n_blocks, owner, carbon, money, tonnes, n_inner
):
    """Pairwise Frank-Wolfe steps on each site's weights `theta` between its best column and its worst in use.

    Sites k, k + n_blocks, ... are a block: one after the other, while blocks move at once. Emissions and costs of
    sites move what they count by: carbon (B, 3) = [price of each budget before it is cut off, step, cap], money (W, 4)
    = [weight of cost before it is cut off, step, least, most]; `owner` (2, S) says which of them a site has. A step is
    as many times as long as there are blocks, so that each reckons with what the others do.
    `tonnes` (S,): what each site emits more than before.
    """
    n_sites, n_slots, n = loads.shape
    value, before = np.empty(n_slots), np.empty(n_slots)
    open_price, open_weight = np.empty(len(carbon)), np.empty(len(money))
    for block in range(n_blocks):
        open_price[:], open_weight[:] = carbon[:, 0], money[:, 0]
        for i in range(block, n_sites, n_blocks):
            m, b, w = count[i], owner[0, i], owner[1, i]
            uncut, steep, cap = open_price[b], carbon[b, 1], carbon[b, 2]
            paid = min(max(uncut, 0.0), cap)
            counts = min(max(open_weight[w], money[w, 2]), money[w, 3])
            for k in range(m):
                value[k] = counts * cost[i, k] + paid * emission[i, k] - dot(price[i], loads[i, k])
                before[k] = theta[i, k]
            tonnes[i], moved = 0.0, False
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
                more, dearer = emission[i, best] - emission[i, worst], cost[i, best] - cost[i, worst]
                bend = step * (gram[i, best, best] + gram[i, worst, worst] - 2.0 * gram[i, best, worst])
                bend += money[w, 1] * dearer * dearer
                move = min(theta[i, worst], gainful_move(drop, bend, more, uncut, steep, cap))
                theta[i, best] += move
                theta[i, worst] -= move
                tonnes[i] += move * more
                old, uncut = paid, uncut + steep * move * more
                paid = min(max(uncut, 0.0), cap)
                open_weight[w] += money[w, 1] * move * dearer
                weighed, counts = counts, min(max(open_weight[w], money[w, 2]), money[w, 3])
                for k in range(m):
                    value[k] += move * step * (gram[i, best, k] - gram[i, worst, k]) + (paid - old) * emission[i, k]
                    value[k] += (counts - weighed) * cost[i, k]
                moved = True
            open_price[b] = uncut
            if moved:
                for k in range(m):
                    d = theta[i, k] - before[k]
                    if d != 0.0:
                        for t in range(n):
                            price[i, t] -= d * curve[i, t] * loads[i, k, t]


@compiled
def site_values(price, carbon_price, weight, loads, cost, emission, count):
    """Least reduced cost of each site's columns (S,), USD: min of weighed cost + carbon - price . load."""
    values = np.empty(len(loads))
    for i in range(len(loads)):
        values[i] = np.inf
        for k in range(count[i]):
            v = weight[i] * cost[i, k] + carbon_price[i] * emission[i, k] - dot(price[i], loads[i, k])
            values[i] = min(values[i], v)
    return values


@compiled
def site_load(theta, loads, count):
    """Load of each site's convex combination of columns, (S, T) GPU."""
    load = np.zeros((loads.shape[0], loads.shape[2]))
    for i in range(len(loads)):
        for k in range(count[i]):
            if theta[i, k] > 0.0:
                for t in range(loads.shape[2]):
                    load[i, t] += theta[i, k] * loads[i, k, t]
    return load


@compiled
def add_gram(loads, weight, gram, i, k, m):
    """Recompute row and column k of site i's Gram matrix of loads, weighted by `weight` (S, T), over m columns."""
    n = loads.shape[2]
    for q in range(m):
        s = 0.0
        for t in range(n):
            s += weight[i, t] * loads[i, k, t] * loads[i, q, t]
        gram[i, k, q] = s
        gram[i, q, k] = s


@compiled
def all_grams(loads, weight, gram, count):
    """Recompute the Gram matrices of all sites."""
    for i in range(len(loads)):
        for k in range(count[i]):
            add_gram(loads, weight, gram, i, k, k + 1)
