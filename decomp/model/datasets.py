"""Tables as xarray data sets: the names, dimensions and units of the files, without a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from decomp.model.records import dims_by_scenario
from decomp.model.table import Array, Table
from decomp.model.times import start_of

if TYPE_CHECKING:
    from decomp.model.instance import Instance

NOTHING: Mapping[str, int] = {}
MISSING = "to_xarray needs xarray, which is not installed: pip install 'decomp-fleet[xarray]'"


def dataset(
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


def dataset_of_lines(kind: type[Any], lines: Sequence[Any]) -> Any:
    """One array per field of records of a kind, NaN where nothing is known."""

    def column(name: str) -> list[Any]:
        return [np.nan if (value := getattr(line, name)) is None else value for line in lines]

    return _xarray().Dataset({f.name: ("iteration", column(f.name)) for f in fields(kind)})


def coordinates_of(instance: Instance) -> dict[str, Array]:
    """The names of sites, streams, jobs, pools and scenarios, and the times, by dimension."""
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
