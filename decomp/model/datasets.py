"""Tables as xarray data sets: the groups, names, dimensions and units of the files, without a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timezone
from typing import Any

import numpy as np

from decomp.model.instance import Array, Instance, Table, dims_by_scenario
from decomp.model.result import Iteration, Result
from decomp.model.times import start_of

NOTHING: Mapping[str, int] = {}
MISSING = "to_xarray needs xarray, which is not installed: pip install 'decomp-fleet[xarray]'"


def datasets_of_instance(instance: Instance) -> dict[str, Any]:
    """A data set for every table, with the names of sites, streams, jobs and pools and the times as coordinates."""
    coordinates, scalars = _coordinates(instance), instance.scalars
    return {name: _dataset(table, coordinates, scalars) for name, table in instance.tables()}


def datasets_of_result(result: Result, instance: Instance | None = None) -> dict[str, Any]:
    """A data set each for schedule, dual, allowances or ray, and log, as far as the result has them."""
    coordinates = {} if instance is None else _coordinates(instance)
    sizes = instance.sizes | dict(instant=instance.n_periods + 1) if instance and instance.n_scenarios else {}
    facts = dict(status=result.status.value, bound=result.bound, incumbent=result.incumbent)
    tables: dict[str, Table | None] = dict(schedule=result.schedule, dual=result.dual)
    tables |= dict(allowances=result.allowances, ray=result.ray)
    found = {name: _dataset(table, coordinates, facts, sizes) for name, table in tables.items() if table is not None}
    return found | dict(log=_log(result.log))


def _dataset(
    table: Table, coordinates: Mapping[str, Array], attributes: Mapping[str, Any], sizes: Mapping[str, int] = NOTHING
) -> Any:
    """A table; `sizes` : of the dimensions, where rows that answer each scenario are told apart."""
    variables, used = {}, set[str]()
    for f in table.columns():
        array, dims = getattr(table, f.name), f.metadata["dims"]
        if sizes:
            dims = dims_by_scenario(dims)
            array = array.reshape([sizes[dim] for dim in dims])
        variables[f.name] = (dims, array, dict(units=f.metadata["unit"], long_name=f.metadata["long_name"]))
        used |= {*dims}
    own = {name: values for name, values in coordinates.items() if name in used - {*variables}}
    scalars = {f.name: getattr(table, f.name) for f in fields(table) if not f.metadata}
    plain = {name: value for name, value in scalars.items() if isinstance(value, int | float | str)}
    return _xarray().Dataset(variables, own, {**attributes, **plain})


def _log(log: Sequence[Iteration]) -> Any:
    """One array per field of the lines, NaN where nothing is known."""

    def column(name: str) -> list[Any]:
        return [np.nan if (value := getattr(line, name)) is None else value for line in log]

    columns = {f.name: ("iteration", column(f.name)) for f in fields(Iteration)}
    return _xarray().Dataset(columns)


def _coordinates(instance: Instance) -> dict[str, Array]:
    found = dict(site=instance.sites.name, stream=instance.streams.name, job=instance.jobs.name)
    found |= dict(pool=instance.pools.name)
    if instance.n_scenarios:
        found["scenario"] = instance.scenarios.name
    instants = [start_of(instance, t) for t in range(instance.n_periods + 1)]
    times = np.array([t.astimezone(timezone.utc).replace(tzinfo=None) for t in instants], dtype="datetime64[ns]")
    return found | dict(period=times[:-1], instant=times)


def _xarray() -> Any:
    try:
        import xarray
    except ImportError as error:
        raise ImportError(MISSING) from error
    return xarray
