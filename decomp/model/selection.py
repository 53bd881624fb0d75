"""Fast forward selection: a few of many scenarios that stand for all of them.

Heitsch, Roemisch: Scenario reduction algorithms in stochastic programming, Computational Optimization and Applications
24 (2003), algorithm 2.4.
"""

from __future__ import annotations

import numpy as np

from decomp.model.instance import Array


def forward_selection(distance: Array, probability: Array, count: int) -> tuple[Array, Array]:
    """Indexes of at most `count` scenarios (ascending), and the probability of all that each is nearest to.

    Parameters
    ----------
    distance : (K, K), symmetric, zero on the diagonal.
    probability : (K,).

    One after the other that scenario is taken which leaves the least expected distance of all to the nearest one taken.
    """
    n = len(probability)
    if count >= n:
        return np.arange(n), np.array(probability, dtype=float)
    nearest, taken = np.full(n, np.inf), np.zeros(n, dtype=bool)
    for _ in range(count):
        left = np.where(taken, np.inf, probability @ np.minimum(nearest[:, None], distance))
        best = int(np.argmin(left))
        taken[best] = True
        nearest = np.minimum(nearest, distance[best])
    chosen = np.flatnonzero(taken)
    owner = np.argmin(distance[chosen], axis=0)
    owner[chosen] = np.arange(len(chosen))  # also where two scenarios are the same
    return chosen, np.bincount(owner, probability, minlength=len(chosen))
