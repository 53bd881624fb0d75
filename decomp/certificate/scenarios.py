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

FIT = 1e-9
"""Rounding of weights and prices, relative."""

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
    once = (*ONCE, "period", "segment", "scenario")
    sizes = {dim: size * (1 if dim in once else n) for dim, size in instance.sizes.items()}
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
    """Every scenario with its prices, emissions multiplied by its probability and money by its weight."""
    if not len(instance.scenarios.name):
        return [(instance, dual)]
    p, pieces = instance.scenarios.probability, []
    weight = p if dual.futures is None else dual.futures.weight
    for s, world in enumerate(worlds(instance)):
        own = piece(dual, s, len(p))
        if dual.futures is not None:
            futures = piece(dual.futures, s, len(p))
            own = replace(own, futures=futures, carbon_price=float(futures.carbon_price[0]))
        pieces.append((times(world, float(weight[s]), float(p[s])), own))
    return pieces


def times(instance: Instance, money: float, tonnes: float) -> Instance:
    """The instance with its second stage's money and emissions multiplied by weights; jobs stay."""
    names = ("sites", "generators", "streams", "arcs", "pools", "device_variables")
    tables: dict[str, Any] = {name: _times(getattr(instance, name), money, tonnes) for name in names}
    return replace(instance, carbon_price_usd_per_t=instance.carbon_price_usd_per_t * money / tonnes, **tables)


def _times(table: Table, money: float, tonnes: float) -> Table:
    weight = {"USD": money, "t": tonnes}
    units = {f.name: f.metadata["unit"].split("/")[0] for f in table.columns()}
    return replace(table, **{n: weight[unit] * getattr(table, n) for n, unit in units.items() if unit in weight})


def futures_allowed(instance: Instance, dual: Dual, findings: Findings) -> bool:
    """Whether scenarios count by weights that their risk admits, and what else joins them has prices it may have.

    Of a net cost of (1 - w) times the mean plus w times the CVaR at level a the dual counts scenarios by q, with
    (1 - w) p <= q <= (1 - w) p + w p / (1 - a), in sum 1.
    """
    futures, before = dual.futures, len(findings.items)
    if futures is None or not findings.well_formed("futures", futures, sizes_of(instance)):
        return futures is None
    p, w, gamma = instance.scenarios.probability, instance.risk_weight, futures.carbon_price
    least, most = (1.0 - w) * p, (1.0 - w) * p + w * p / (1.0 - instance.risk_level)
    if not ((futures.weight >= least * (1 - FIT)) & (futures.weight <= most * (1 + FIT))).all():
        findings.add("futures.weight", "", str(futures.weight.tolist()), "within what weight and level of risk admit")
    if not abs(futures.weight.sum() - 1.0) <= FIT:
        findings.add("futures.weight", "sum", float(futures.weight.sum()), "1")
    if instance.carbon_scope == "expected" and not (gamma == dual.carbon_price).all():
        findings.add("futures.carbon_price", "", str(gamma.tolist()), f"{dual.carbon_price:.9g} in every scenario")
    limited = np.isfinite(instance.carbon_budget_t)
    dearest = instance.carbon_excess_usd_per_t * futures.weight / p if limited else np.zeros(len(p))
    if instance.carbon_scope == "every" and not ((gamma >= 0) & (gamma <= dearest * (1 + FIT))).all():
        findings.add("futures.carbon_price", "", str(gamma.tolist()), "at least 0, at most the weighed price of excess")
    free = ~np.tile(instance.generators.day_ahead, len(p))
    if futures.commitment_price[free].any():
        findings.add("futures.commitment_price", "", "not zero", "0 for generators that are not committed day-ahead")
    return len(findings.items) == before


def budget_term(instance: Instance, dual: Dual) -> float:
    """What the budget, or that of every scenario, takes from the bound at its price, USD."""
    if np.isinf(instance.carbon_budget_t):
        return 0.0
    if dual.futures is None:
        return float(dual.carbon_price * instance.carbon_budget_t)
    return float(dual.futures.carbon_price @ instance.scenarios.probability) * instance.carbon_budget_t


def commitment_terms(instance: Instance, dual: Dual) -> Array:
    """The best of being on and not, in all scenarios alike, of every generator and period, USD."""
    if dual.futures is None:
        return np.zeros((0, instance.n_periods))
    each = dual.futures.commitment_price.reshape(len(instance.scenarios.name), -1, instance.n_periods)
    return np.asarray(np.minimum(each.sum(axis=0), 0.0))


def joint(pieces: Sequence[Instance]) -> Instance:
    """An instance with the least capacity of all scenarios: a job has to fit in each."""
    least = np.minimum.reduce([world.sites.capacity_gpu for world in pieces])
    return replace(pieces[0], sites=replace(pieces[0].sites, capacity_gpu=least))
