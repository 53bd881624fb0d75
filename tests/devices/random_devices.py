"""Random devices on random small fleets, feasible by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.devices.attach import attach_drafts
from decomp.devices.draft import Addition, Draft, Use
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families.small import random_small
from decomp.model.devices import activity
from decomp.model.instance import QUANTITIES, Array, Instance
from decomp.model.result import Schedule

OF_SITES = QUANTITIES[1:-1]


def random_draft(rng: np.random.Generator, instance: Instance, i: int) -> Draft:
    """Variables around a point within their bounds, and sparse rows whose sides are still to be set."""
    n, draft = instance.n_periods, Draft()
    scale = float(instance.sites.import_limit_mw[i].mean())
    t = np.arange(n)
    numbers = []
    for k in range(int(rng.integers(1, 4))):
        whole = bool(rng.random() < 0.4)
        low = -float(rng.integers(0, 3)) if whole else -rng.uniform(0, 0.3) * scale
        high = float(rng.integers(1, 4)) if whole else rng.uniform(0.1, 0.5) * scale
        power = rng.choice([0.0, rng.uniform(-0.05, 0.05) * (scale if whole else 10.0 / max(scale, 1.0))])
        cost, emission = rng.choice([0.0, 1.0]) * rng.uniform(-5, 5), rng.choice([0.0, 1.0]) * rng.uniform(0, 0.05)
        more = dict(integer=whole, cost=cost, emission=emission)
        numbers.append(draft.variables(f"v{k}", low, high, index=t, power=power, **more))
    numbers.append(draft.variables("once", 0.0, 1.0, cost=rng.uniform(-1, 1), integer=bool(rng.random() < 0.5)))
    for r in range(int(rng.integers(1, 7))):
        at, terms = rng.choice(n, size=int(rng.integers(1, min(n, 4) + 1)), replace=False), []
        for variables in numbers:
            if rng.random() < 0.6:
                some = variables[at] if len(variables) > 1 else variables
                terms.append((rng.uniform(-1, 1, len(some)).round(2), some))
        for name in rng.choice(OF_SITES, size=int(rng.integers(0, 3)), replace=False):
            unit = 1e-3 if name == "load" else 1.0
            terms.append(((unit * rng.uniform(-1, 1, len(at))).round(4), Use(str(name), at)))
        made = int((instance.generators.site == i).sum())
        if made and rng.random() < 0.5:
            terms.append((rng.uniform(-1, 1, len(at)).round(2), Use("generation", at, int(rng.integers(made)))))
        if terms:
            draft.total(f"row{r}", -np.inf, np.inf, *terms)
    return draft


def random_instance(seed: int) -> Instance:
    """A small random fleet with random devices at one to three sites.

    A schedule of it without rows gives the rows their sides: it keeps all of them, some without room to spare.
    """
    rng, instance = np.random.default_rng(seed), random_small(seed)
    sites = rng.choice(instance.n_sites, size=int(rng.integers(1, min(3, instance.n_sites) + 1)))
    equipped = attach_drafts(
        instance, [Addition(int(i), random_draft(rng, instance, int(i)), f"d{k}") for k, i in enumerate(sites)]
    )
    free = solve_extensive(equipped, rel_gap=0.02, time_limit=600.0)
    if free.schedule is None:
        return instance
    return with_sides(rng, equipped, free.schedule)


def with_sides(rng: np.random.Generator, instance: Instance, schedule: Schedule) -> Instance:
    total, largest = activity(instance, schedule)
    n, spare = len(total), 0.3 * (1.0 + largest)
    room: Array = rng.uniform(0, 1, (2, n)) * spare * rng.integers(0, 2, (2, n))
    kind = rng.random(n)
    low = np.where(kind < 0.7, total - room[0], -np.inf)
    high = np.where(kind > 0.4, total + room[1], np.inf)
    return replace(instance, device_rows=replace(instance.device_rows, low=low, high=high))
