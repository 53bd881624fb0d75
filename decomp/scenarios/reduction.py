"""Fewer scenarios that stand for all: fast forward selection of Heitsch and Roemisch.

Heitsch, Roemisch: Scenario reduction algorithms in stochastic programming, Computational Optimization and Applications
24 (2003), algorithm 2.4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decomp.model.instance import SERIES, Array, InputError, Instance
from decomp.model.scenarios import series_of, with_scenarios


class Selection(NamedTuple):
    """Scenarios kept, in the order in which they were chosen; the probability of each; and the distance to all.

    `distance` is the mean, by probability, of how far each scenario is from the nearest kept one: the Kantorovich
    distance between the two distributions.
    """

    kept: Array
    probability: Array
    distance: float


def fast_forward(between: Array, probability: Array, count: int) -> Selection:
    """Choose scenarios one by one, each so that the distance falls most; the rest go to their nearest.

    Parameters
    ----------
    between : (s, s), distance between two scenarios, symmetric with a zero diagonal.
    probability : (s,), sums to 1.
    count : scenarios to keep, 1 to s.
    """
    kept: list[int] = []
    nearest = np.full(len(probability), np.inf)  # distance of each scenario to those kept so far
    for _ in range(count):
        after = probability @ np.minimum(nearest[:, None], between)
        after[kept] = np.inf
        kept.append(int(np.argmin(after)))
        nearest = np.minimum(nearest, between[:, kept[-1]])
    owner = np.argmin(between[:, kept], axis=1)
    owner[kept] = np.arange(count)  # also where two scenarios are the same
    return Selection(np.array(kept), np.bincount(owner, probability, count), float(probability @ nearest))


def distances(instance: Instance) -> Array:
    """Euclidean distances between the scenarios (s, s); every series in units of its spread over the scenarios."""
    p = instance.scenarios.probability
    square = np.zeros((len(p), len(p)))
    for name in SERIES:
        if (instance.overrides.series == name).any():
            values = series_of(instance, name).reshape(len(p), -1)
            away = values - p @ values
            spread = p @ (away**2).mean(axis=1)
            norm = (away**2).sum(axis=1)
            square += (norm[:, None] + norm - 2.0 * away @ away.T) / max(spread, 1e-300)
    return np.asarray(np.sqrt(np.maximum(square * (1.0 - np.eye(len(p))), 0.0)))


def reduced(instance: Instance, count: int) -> Instance:
    """The instance with so many of its scenarios, which take over the probability of those left out.

    Raises
    ------
    InputError : it has fewer.
    """
    if not 1 <= count <= instance.n_scenarios:
        raise InputError(f"reduce: {count} of {instance.n_scenarios} scenarios, must be between 1 and all of them")
    kept, probability, _ = fast_forward(distances(instance), instance.scenarios.probability, count)
    order = np.argsort(kept)
    kept, probability = kept[order], probability[order]
    used = [name for name in SERIES if (instance.overrides.series == name).any()]
    series = {name: series_of(instance, name)[kept] for name in used}
    return with_scenarios(instance, probability, series, instance.scenarios.name[kept].tolist())
