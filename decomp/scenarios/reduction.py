"""Scenario reduction by fast forward selection (`decomp.model.selection`)."""

from __future__ import annotations

import numpy as np

from decomp.model.instance import SERIES, Array, InputError, Instance
from decomp.model.scenarios import series_of, with_scenarios
from decomp.model.selection import forward_selection


def distances(instance: Instance) -> Array:
    """Euclidean distances between the scenarios, (s, s), each series divided by its standard deviation over them."""
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
    """The instance with `count` of its scenarios; each takes over the probability of those left out next to it.

    Raises
    ------
    InputError : it has fewer, or none, or `count` is less than 1.
    """
    if not instance.n_scenarios:
        raise InputError("reduce: the instance has no scenarios; --count or --ensemble makes some")
    if not 1 <= count <= instance.n_scenarios:
        raise InputError(f"reduce: {count} of {instance.n_scenarios} scenarios, must be between 1 and all of them")
    kept, probability = forward_selection(distances(instance), instance.scenarios.probability, count)
    used = [name for name in SERIES if (instance.overrides.series == name).any()]
    series = {name: series_of(instance, name)[kept] for name in used}
    return with_scenarios(instance, probability, series, instance.scenarios.name[kept].tolist())
