"""Scenarios in the certificate: each by itself, its schedule and its prices; what they come to together.

Jobs are of all scenarios, the rest of a schedule has its rows scenario by scenario. The instance's tables and their
overrides are put together here once more, independently of how a solver did it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from decomp.certificate.findings import TOLERANCE, Findings
from decomp.certificate.schedule import Account, check_schedule
from decomp.model.instance import Array, Instance, Table
from decomp.model.result import Dual, Schedule

ONCE = ("job", "candidate")
"""Dimensions whose rows are of all scenarios."""


def worlds(instance: Instance) -> list[Instance]:
    """Every scenario as an instance; the instance itself where there are none."""
    o, n, none = instance.overrides, len(instance.scenarios.name), slice(0, 0)
    bare = replace(instance, scenarios=instance.scenarios.take(none), overrides=o.take(none))
    found = []
    for s in range(n):
        series: dict[str, dict[str, Array]] = dict(sites={}, streams={})
        for k in np.flatnonzero(o.scenario == s):
            name = str(o.series[k])
            table = "streams" if name == "demand_rps" else "sites"
            array = series[table].setdefault(name, np.array(getattr(getattr(instance, table), name)))
            array[o.row[k]] = o.value[k]
        tables: dict[str, Any] = {name: replace(getattr(instance, name), **new) for name, new in series.items()}
        found.append(replace(bare, **tables))
    return found or [instance]


def sizes_of(instance: Instance) -> dict[str, int]:
    """Length of every dimension of the arrays of a result, with instants."""
    n = max(len(instance.scenarios.name), 1)
    sizes = {dim: size * (1 if dim in (*ONCE, "period", "segment") else n) for dim, size in instance.sizes.items()}
    return {**sizes, "instant": instance.n_periods + 1}


def names_of(instance: Instance, names: dict[str, Array]) -> dict[str, Array]:
    """What the rows of the arrays of a result are called."""
    each = name_ends(instance)
    spread = {dim: np.array([f"{row}{end}" for end in each for row in rows], dtype=str) for dim, rows in names.items()}
    return {**spread, **{dim: names[dim] for dim in ONCE if dim in names}}


def name_ends(instance: Instance) -> list[str]:
    """What every scenario's rows have behind their names."""
    return [f" in scenario '{name}'" for name in instance.scenarios.name] or [""]


def row_weights(instance: Instance) -> Array:
    """Probability of every row of a result's sites."""
    p = instance.scenarios.probability if len(instance.scenarios.name) else np.ones(1)
    return np.asarray(np.repeat(p, len(instance.sites.name)))


def piece(table: Any, s: int, n: int) -> Any:
    """The rows that a table of a result has for scenario s of n."""
    if n == 1:
        return table
    values = {}
    for f in table.columns():
        array = np.asarray(getattr(table, f.name))
        if f.metadata["dims"][0] not in ONCE:
            size = len(array) // n
            array = array[s * size : (s + 1) * size]
        values[f.name] = array
    return replace(table, **values)


def check_scenarios(instance: Instance, schedule: Schedule, findings: Findings) -> Account | None:
    """Check the schedule in every scenario; what it comes to in the end, net cost and emissions expected.

    A budget for expected emissions is no scenario's own; neither is what risk adds to the cost.
    """
    p = instance.scenarios.probability
    if not findings.well_formed("schedule", schedule, sizes_of(instance)):
        return None
    accounts = []
    for s, world in enumerate(worlds(instance)):
        own = Findings(world)
        account = check_schedule(replace(world, carbon_budget_t=np.inf), piece(schedule, s, len(p)), own)
        where = f"scenario '{instance.scenarios.name[s]}'"
        findings.items += [replace(item, place=f"{where}, {item.place}" if item.place else where) for item in own.items]
        if account is None:
            return None
        accounts.append(account)
    _once(instance, schedule, findings)
    components = {
        name: float(sum(w * a.components[name] for w, a in zip(p, accounts, strict=True)))
        for name in accounts[0].components
    }
    tonnes = np.array([w * a.emissions_t for w, a in zip(p, accounts, strict=True)])
    gross = float(sum(w * np.abs(a.site_emissions_t).sum() for w, a in zip(p, accounts, strict=True)))
    over = _excess(instance, tonnes, gross, findings)
    components["carbon_excess"] = float(over.sum())
    if instance.risk_weight > 0:
        cost = np.array([a.cost for a in accounts]) + (over / p if len(over) == len(p) > 1 else 0.0)
        components["risk"] = instance.risk_weight * (_cvar(cost, p, instance.risk_level) - float(p @ cost))
    return Account(components, np.concatenate([w * a.site_emissions_t for w, a in zip(p, accounts, strict=True)]))


def _once(instance: Instance, schedule: Schedule, findings: Findings) -> None:
    """Generators that are committed day-ahead are on in the same periods in all scenarios."""
    n = len(instance.scenarios.name)
    on = np.asarray(schedule.generator_on).reshape(n, -1, instance.n_periods)
    for g in np.flatnonzero(instance.generators.day_ahead):
        for s in range(1, n):
            for t in np.flatnonzero(on[s, g] != on[0, g])[:1]:
                where = f"scenario '{instance.scenarios.name[s]}', generator {g}, period {t}"
                findings.add("committed once", where, str(bool(on[s, g, t])), f"{bool(on[0, g, t])}, as in the first")


def _cvar(cost: Array, p: Array, level: float) -> float:
    """The least over eta of eta + sum of p (cost - eta)+ / (1 - level): it lies at one of the costs."""
    return min(float(eta + p @ np.maximum(cost - eta, 0.0) / (1.0 - level)) for eta in cost)


def _excess(instance: Instance, tonnes: Array, gross: float, findings: Findings) -> Array:
    """(C3): what emissions above the budget cost, USD: expected ones, or those of each scenario, weighted.

    `tonnes` (s,) : emissions of the scenarios, weighted by probability.
    """
    p, price, every = instance.scenarios.probability, instance.carbon_excess_usd_per_t, instance.carbon_scope == "every"
    budget = p * instance.carbon_budget_t if every else np.array([instance.carbon_budget_t])
    emitted = tonnes if every else np.array([tonnes.sum()])
    over = np.maximum(emitted - budget, 0.0)
    if np.isfinite(price):
        return np.asarray(price * over)
    for s in np.flatnonzero(over > TOLERANCE * np.maximum(1.0, gross + budget)):
        place = f"scenario '{instance.scenarios.name[s]}', weighted" if every else "expected emissions"
        findings.add("(C3) carbon budget", place, float(emitted[s]), f"at most {budget[s]:.9g} t")
    return np.zeros(len(over))


def priced_pieces(instance: Instance, dual: Dual) -> list[tuple[Instance, Dual]]:
    """Every scenario with its prices, money and emissions multiplied by its probability."""
    if not len(instance.scenarios.name):
        return [(instance, dual)]
    p = instance.scenarios.probability
    return [(times(world, float(p[s])), piece(dual, s, len(p))) for s, world in enumerate(worlds(instance))]


def times(instance: Instance, weight: float) -> Instance:
    """The instance with its second stage's money and emissions multiplied by a weight; jobs stay."""
    names = ("sites", "generators", "streams", "arcs", "pools", "device_variables")
    tables: dict[str, Any] = {name: _times(getattr(instance, name), weight) for name in names}
    return replace(instance, **tables)


def _times(table: Table, weight: float) -> Table:
    units = {f.name: f.metadata["unit"] for f in table.columns()}
    counted = [name for name, unit in units.items() if unit.split("/")[0] in ("USD", "t")]
    return replace(table, **{name: weight * getattr(table, name) for name in counted})


def joint(pieces: Sequence[Instance]) -> Instance:
    """An instance with the least capacity of all scenarios: a job has to fit in each."""
    least = np.minimum.reduce([world.sites.capacity_gpu for world in pieces])
    return replace(pieces[0], sites=replace(pieces[0].sites, capacity_gpu=least))
