"""Refusal of scenarios that cannot be: probabilities, overrides, and fleets that do not work in one of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from decomp.model.instance import SERIES, TABLES, Array, InputError, Instance, Overrides, Scenarios
from decomp.model.refusal import (
    LEAST_COEFFICIENT,
    Label,
    check_column,
    check_columns,
    check_index,
    check_names,
    check_shapes,
    named,
    refuse,
    repeated,
)
from decomp.model.rounding import FIT
from decomp.model.scenarios import expand, series_of
from decomp.model.validate_sites import validate_sites
from decomp.model.validate_work import check_jobs, check_pools


def validate_scenarios(instance: Instance) -> None:
    """Check scenarios and overrides, and that sites, mandatory jobs and pools can do with each of them.

    The instance without its scenarios is valid.
    """
    names = dict(sites=instance.sites.name, streams=instance.streams.name)
    validate_overrides(instance.scenarios, instance.overrides, names, instance.sizes)
    if not instance.n_scenarios:
        return
    fleet = expand(instance)
    _check_rarity(fleet)
    validate_sites(fleet.microgrids, instance.period_h)
    capacity = series_of(instance, "capacity_gpu")
    check_jobs(instance.jobs, instance.candidates, capacity.min(axis=0))
    for there in capacity if (instance.overrides.series == "capacity_gpu").any() else ():
        check_pools(instance.pools, instance.pool_arcs, there, instance.period_h)


def _check_rarity(fleet: Instance) -> None:
    """No scenario is so rare that solvers leave out what is emitted in it, weighted by its probability."""
    p, names = fleet.scenarios.probability, fleet.scenarios.name
    for table in (fleet.sites, fleet.generators):
        for f in table.columns():
            if not (f.metadata["coefficient"] and f.metadata["unit"] == "t/MWh"):
                continue
            weighted = getattr(table, f.name).reshape(len(p), -1)
            value = np.where(weighted > 0, weighted, np.inf).min(axis=1, initial=np.inf) / p
            text = (
                f"{{p:g}}, must be at least {{least:g}} with a {table.label()}.{f.name} of {{value:g}} t/MWh, which "
                "solvers drop otherwise; leave the scenario out"
            )
            least = LEAST_COEFFICIENT / value
            refuse(p < least, "scenarios.probability", named("scenario", names), text, p=p, least=least, value=value)


def validate_overrides(
    scenarios: Scenarios, overrides: Overrides, names: Mapping[str, Array], sizes: Mapping[str, int]
) -> None:
    """Check the two tables by themselves; `names` of sites and streams, `sizes` of all dimensions."""
    check_shapes("scenarios", scenarios, sizes)
    check_shapes("overrides", overrides, sizes)
    scenario = named("scenario", scenarios.name)
    check_columns("scenarios", scenarios, scenario)
    check_names("scenarios", "scenario", scenarios.name)
    p = scenarios.probability
    refuse(p <= 0, "scenarios.probability", scenario, "0, must be above 0; leave the scenario out")
    if len(p) and abs(float(p.sum()) - 1.0) > FIT:
        raise InputError(f"scenarios.probability: the probabilities sum to {p.sum():.9g}, must be 1")
    at: Label = lambda k: f"override {k}"  # noqa: E731
    known = ", ".join(SERIES)
    unknown = ~np.isin(overrides.series, list(SERIES))
    text = f"{{name!r}}: no such time series; known are {known}"
    refuse(unknown, "overrides.series", at, text, name=overrides.series.astype(object))
    check_index("overrides", overrides, "override", "scenario", len(p))
    number = np.zeros(len(overrides.row), dtype=int)
    for k, (series, table) in enumerate(SERIES.items()):
        mine = np.flatnonzero(overrides.series == series)
        number[mine] = k
        if len(mine):
            _check_series(series, table, overrides.take(mine), scenario, names[table])
    key = (number * max(len(p), 1) + overrides.scenario) * (max(map(len, names.values())) + 1) + overrides.row
    refuse(repeated(key), "overrides", at, "this series is overridden twice in its scenario")


def _check_series(series: str, table: str, overrides: Overrides, scenario: Label, names: Array) -> None:
    """Rows and values of the overrides of one series: in the range of the series itself."""
    kind = table.rstrip("s")
    bad = overrides.row >= len(names)
    label: Label = lambda k: f"{series} in {scenario(overrides.scenario[k])}"  # noqa: E731
    text = f"{{row}}, must be an index of a {kind}, 0 to {len(names) - 1}"
    refuse(bad, "overrides.row", label, text, row=overrides.row)
    declared = TABLES[table].column(series).metadata
    place: Label = lambda k: f"{kind} {str(names[overrides.row[k]])!r} in {scenario(overrides.scenario[k])}"  # noqa: E731
    check_column(f"overrides.value, {series}", declared, overrides.value, place)
