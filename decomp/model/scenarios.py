"""Scenarios: how an instance is given them, one of them alone, and all of them side by side.

Jobs are placed once, everything else answers each scenario. Side by side (`expand`), a fleet of S sites and K scenarios
is one of K S sites with money and emissions weighted by probability: row s S + i is site i in scenario s, and a job at
site i loads its rows in all scenarios. Net cost and emissions of such a fleet are the expected ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, replace
from typing import Any, TypeVar

import numpy as np

from decomp.model import strict
from decomp.model.instance import (
    SECOND_STAGE,
    SERIES,
    Array,
    InputError,
    Instance,
    Microgrids,
    Overrides,
    Scenarios,
    Table,
)
from decomp.model.labels import check_labels, names_of, starts_of
from decomp.model.result import Result, Schedule

T = TypeVar("T", bound=Table)


@dataclass(frozen=True, eq=False)
class Expanded(Instance):
    """All scenarios of an instance side by side: its rows s n + k are row k of scenario s, weighted by probability.

    Jobs and candidates are those of the instance, `base`: a candidate's site is one of the S sites.
    """

    base: Instance | None = None

    @property
    def copies(self) -> int:
        return self.n_scenarios

    def content_hash(self) -> str:
        assert self.base is not None
        return self.base.content_hash()


# ---------------------------------------------------------------- giving an instance its scenarios


def with_scenarios(
    instance: Instance,
    probability: Sequence[float] | Array,
    series: Mapping[str, Array],
    names: Sequence[str] | None = None,
    **risk: Any,
) -> Instance:
    """The instance with K scenarios, in place of those it has; only rows that differ from its own series are kept.

    Parameters
    ----------
    probability : (K,), sums to 1.
    series : by name (a key of `SERIES`), (K, row, period) in the unit of the series; row: site, or stream.
    names : of the scenarios; default: the labels of a series or of the probabilities, or "s0", "s1", ...
    risk : risk_weight, risk_level, carbon_scope.

    Raises
    ------
    InputError : a series that no scenario may override, or arrays that do not fit the instance.
    """
    p = strict.plain(probability, "scenarios.probability")
    if p.ndim != 1:
        raise InputError(f"scenarios.probability: shape {p.shape}, must be (scenario)")
    n = len(p)
    if names is None:
        said = names_of([probability, *series.values()])
        names = [f"s{s}" for s in range(n)] if said is None or len(said) != n else said.tolist()
    check_labels("scenarios.probability", probability, ("scenario",), dict(scenario=names))
    found: list[tuple[Array, Array, Array, Array]] = []
    starts = starts_of(instance.start_utc, instance.period_h, instance.n_periods)
    for name, values in series.items():
        if name not in SERIES:
            raise InputError(f"scenarios: {name}: no such time series; known are {', '.join(SERIES)}")
        own = getattr(getattr(instance, SERIES[name]), name)
        kind, rows = SERIES[name].rstrip("s"), getattr(instance, SERIES[name]).name
        check_labels(
            f"scenarios: {name}", values, ("scenario", kind, "period"), {"scenario": names, kind: rows}, starts
        )
        values = strict.plain(values, f"scenarios: {name}")
        if strict.misfits(values, "f8").any():
            raise InputError(f"scenarios: {name}: holds {values.dtype} values, must be numbers")
        values = strict.converted(values, "f8")
        if values.shape != (n, *own.shape):
            raise InputError(f"scenarios: {name}: shape {values.shape}, must be {(n, *own.shape)}")
        scenario, row = np.nonzero((values != own).any(axis=2))
        found.append((np.full(len(row), name), scenario, row, values[scenario, row]))
    blank = (np.zeros(0, dtype=str), np.zeros(0), np.zeros(0), np.zeros((0, instance.n_periods)))
    columns = [np.concatenate(parts) for parts in zip(blank, *found, strict=True)]
    overrides = Overrides(*columns)
    return replace(instance, scenarios=Scenarios(np.array(names), p), overrides=overrides, **risk)


# ---------------------------------------------------------------- one scenario, or all


def series_of(instance: Instance, name: str) -> Array:
    """A time series in every scenario, (scenario, row, period)."""
    own = getattr(getattr(instance, SERIES[name]), name)
    values = np.repeat(own[None], instance.n_scenarios, axis=0)
    o = instance.overrides
    at = np.flatnonzero(o.series == name)
    values[o.scenario[at], o.row[at]] = o.value[at]
    return values


def scenario(instance: Instance, s: int) -> Instance:
    """The fleet as it is in one scenario, without any others."""
    o = instance.overrides
    tables: dict[str, Any] = dict(sites=instance.sites, streams=instance.streams)
    for name in np.unique(o.series[o.scenario == s]).tolist():
        at = np.flatnonzero((o.series == name) & (o.scenario == s))
        table = tables[SERIES[name]]
        values = np.array(getattr(table, name))
        values[o.row[at]] = o.value[at]
        tables[SERIES[name]] = replace(table, **{name: values})
    return without_scenarios(replace(instance, **tables))


def without_scenarios(instance: Instance) -> Instance:
    """The instance with its own series alone."""
    none = slice(0, 0)
    return replace(instance, scenarios=instance.scenarios.take(none), overrides=instance.overrides.take(none))


def mean(instance: Instance) -> Instance:
    """The fleet with every series at its expected value, without scenarios."""
    tables: dict[str, Any] = dict(sites=instance.sites, streams=instance.streams)
    for name, table in SERIES.items():
        if (instance.overrides.series == name).any():
            expected = np.tensordot(instance.scenarios.probability, series_of(instance, name), axes=1)
            tables[table] = replace(tables[table], **{name: expected})
    return without_scenarios(replace(instance, **tables))


def expand(instance: Instance) -> Instance:
    """All scenarios side by side; an instance without scenarios, or one that is expanded, as it is."""
    if not instance.n_scenarios or isinstance(instance, Expanded):
        return instance
    n, n_sites, p = instance.n_scenarios, instance.n_sites, instance.scenarios.probability
    grids = site_rows(instance.microgrids, instance.scenarios, instance.overrides, np.arange(n * n_sites))

    def each(table: Any, **offset: int) -> Any:
        weight = np.repeat(p, len(getattr(table, table.columns()[0].name)))
        steps = np.arange(n)[:, None]
        shift = {name: (getattr(table, name) + step * steps).ravel() for name, step in offset.items()}
        return replace(weighted(_repeated(table, n), weight), **shift)

    streams = each(instance.streams)
    demand = series_of(instance, "demand_rps").reshape(streams.demand_rps.shape)
    tables: dict[str, Any] = {name: table for name, table in instance.tables()}
    tables |= grids.tables() | dict(streams=replace(streams, demand_rps=demand))
    tables |= dict(arcs=each(instance.arcs, stream=instance.n_streams, site=n_sites), pools=each(instance.pools))
    tables |= dict(pool_arcs=each(instance.pool_arcs, pool=instance.n_pools, site=n_sites))
    tables |= dict(overrides=instance.overrides.take(slice(0, 0)))
    return Expanded(**tables, **instance.scalars, base=instance)


def base_of(instance: Instance) -> Instance:
    """What an instance was before it was expanded."""
    return instance.base if isinstance(instance, Expanded) and instance.base is not None else instance


def plain(instance: Instance) -> Instance:
    """The tables of an expanded instance as one that has never heard of scenarios."""
    return without_scenarios(Instance(**dict(instance.tables()), **instance.scalars))  # type: ignore[arg-type]


def site_rows(grids: Microgrids, scenarios: Scenarios, overrides: Overrides, rows: Array) -> Microgrids:
    """Some sites of the expanded instance (rows s S + i), numbered as positions in `rows`.

    Overrides need not be of more sites than those asked for.
    """
    sites = grids.sites
    n_sites = len(sites.name)
    s, i = rows // n_sites, rows % n_sites
    names = [f"{site} in {name}" for site, name in zip(sites.name[i], scenarios.name[s], strict=True)]
    changed: dict[str, Array] = {"name": np.array(names, dtype=str)}
    position = {int(row): k for k, row in enumerate(rows)}
    for name in np.unique(overrides.series).tolist():
        if SERIES[name] == "sites":
            values = np.array(getattr(sites, name)[i])
            for at in np.flatnonzero(overrides.series == name):
                k = position.get(int(overrides.scenario[at] * n_sites + overrides.row[at]), -1)
                if k >= 0:
                    values[k] = overrides.value[at]
            changed[name] = values
    own = grids.take(i)
    return weighted_grids(replace(own, sites=replace(own.sites, **changed)), scenarios.probability[s])


def weighted(table: Any, weight: Array) -> Any:
    """A table with its amounts of money and emissions multiplied by a weight a row."""
    changed = {}
    for f in table.columns():
        if f.metadata["unit"].startswith(("USD", "t/")):
            value = getattr(table, f.name)
            changed[f.name] = value * (weight if value.ndim == 1 else weight[:, None])
    return replace(table, **changed)


def weighted_grids(grids: Microgrids, weight: Array) -> Microgrids:
    """Sites with what belongs to them, money and emissions multiplied by a weight a site."""
    device = weight[grids.devices.site]
    return replace(
        grids,
        sites=weighted(grids.sites, weight),
        generators=weighted(grids.generators, weight[grids.generators.site]),
        device_variables=weighted(grids.device_variables, device[grids.device_variables.device]),
    )


def reweighted(instance: Instance, factor: Array) -> Instance:
    """Scenarios side by side whose money, emissions and probabilities are multiplied by a factor each, (scenario,)."""

    def each(n: int) -> Array:
        return np.repeat(factor, n // instance.copies)

    scenarios = instance.scenarios
    return replace(
        instance,
        **weighted_grids(instance.microgrids, each(instance.n_sites)).tables(),
        streams=weighted(instance.streams, each(instance.n_streams)),
        arcs=weighted(instance.arcs, each(len(instance.arcs.site))),
        pools=weighted(instance.pools, each(instance.n_pools)),
        scenarios=replace(scenarios, probability=factor * scenarios.probability),
    )


def _repeated(table: Any, n: int) -> Any:
    """A table n times, one after the other."""
    return table.take(np.tile(np.arange(len(getattr(table, table.columns()[0].name))), n))


# ---------------------------------------------------------------- schedules


def in_second_stage(column: Field[Any]) -> bool:
    """Whether a column of a result has rows of every scenario."""
    return column.metadata["dims"][0] in SECOND_STAGE


def of_scenario(table: T, s: int, n: int) -> T:
    """What a table of a result for n scenarios is in scenario s: what all have in common, and the rows of that one."""
    values = {}
    for f in table.columns():
        array = getattr(table, f.name)
        if in_second_stage(f):
            size = len(array) // n
            array = array[s * size : (s + 1) * size]
        values[f.name] = array
    return replace(table, **values)


def in_scenario(instance: Instance, result: Result, s: int) -> tuple[Instance, Result]:
    """The fleet in one scenario, and a result's part there: jobs, dispatch, and prices in the money of that scenario.

    Bound and incumbent stay those of all scenarios: these prices prove nothing by themselves.
    """
    n, dual = instance.n_scenarios, result.dual
    if dual is not None:
        counts = p = float(instance.scenarios.probability[s])
        tonne, mine = dual.carbon_price, [f for f in dual.columns() if in_second_stage(f)]
        if dual.futures is not None:
            counts, tonne = float(dual.futures.weight[s]), float(dual.futures.carbon_price[s])
        own: dict[str, Any] = {f.name: getattr(dual, f.name) / counts for f in mine}
        own |= dict(carbon_price=tonne * p / counts, tree=None, blocks=None, futures=None)
        dual = of_scenario(replace(dual, **own), s, n)
    return scenario(instance, s), replace(
        result,
        schedule=None if result.schedule is None else of_scenario(result.schedule, s, n),
        dual=dual,
        allowances=None if result.allowances is None else of_scenario(result.allowances, s, n),
        provenance={key: fact for key, fact in result.provenance.items() if key != "instance_hash"},
    )


def side_by_side(schedules: Sequence[Schedule]) -> Schedule:
    """One schedule for all scenarios from that of each; their jobs have to be the same.

    Raises
    ------
    InputError : a job runs elsewhere, or at another time, in one of the scenarios.
    """
    first = schedules[0]
    values = {}
    for f in first.columns():
        arrays = [getattr(schedule, f.name) for schedule in schedules]
        if in_second_stage(f):
            values[f.name] = np.concatenate(arrays)
        elif all(np.array_equal(arrays[0], other) for other in arrays):
            values[f.name] = arrays[0]
        else:
            raise InputError(f"schedule.{f.name}: differs between scenarios")
    return Schedule(**values)
