"""The instance: a fleet, its work and its carbon budget as immutable arrays with units.

Every table is a frozen dataclass whose fields carry their dimensions, unit, meaning and legal
range; the file format, the generic validation and the documentation are all derived from these
declarations. Nothing here knows of files or solvers. Equation numbers are those of docs/model.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from decomp.model.datasets import coordinates_of, dataset
from decomp.model.labels import names_of, starts_of
from decomp.model.microgrids import Microgrids
from decomp.model.records import (
    QUANTITIES,
    SECOND_STAGE,
    Arcs,
    Candidates,
    DeviceEntries,
    DeviceRows,
    Devices,
    DeviceVariables,
    Generators,
    Jobs,
    Overrides,
    PoolArcs,
    Pools,
    Scenarios,
    Sites,
    Streams,
    dims_by_scenario,
)
from decomp.model.strict import count, instance_of, plain, scalar
from decomp.model.summary import summary_of_instance
from decomp.model.table import Array, InputError, Table, var

__all__ = [
    "DIMENSIONS",
    "OPTIONAL",
    "QUANTITIES",
    "RISK",
    "SECOND_STAGE",
    "SERIES",
    "TABLES",
    "Arcs",
    "Array",
    "Candidates",
    "DeviceEntries",
    "DeviceRows",
    "DeviceVariables",
    "Devices",
    "Generators",
    "InputError",
    "Instance",
    "Jobs",
    "Microgrids",
    "Overrides",
    "PoolArcs",
    "Pools",
    "Scenarios",
    "Sites",
    "Streams",
    "Table",
    "build_instance",
    "describe",
    "dims_by_scenario",
    "var",
]

SERIES: dict[str, str] = {  # time series that a scenario may override, and their tables
    **dict.fromkeys(("buy_price", "sell_price", "carbon_intensity", "wind_mw", "solar_mw", "pue"), "sites"),
    **dict.fromkeys(("capacity_gpu", "import_limit_mw"), "sites"),
    "demand_rps": "streams",
}
TABLES: dict[str, type[Table]] = dict(
    sites=Sites,
    generators=Generators,
    streams=Streams,
    arcs=Arcs,
    jobs=Jobs,
    candidates=Candidates,
    pools=Pools,
    pool_arcs=PoolArcs,
    scenarios=Scenarios,
    overrides=Overrides,
    devices=Devices,
    device_variables=DeviceVariables,
    device_rows=DeviceRows,
    device_entries=DeviceEntries,
)
OPTIONAL = dict(  # tables that the first files lack, and their dimensions
    scenarios="scenario",
    overrides="override",
    devices="device",
    device_variables="device_variable",
    device_rows="device_row",
    device_entries="device_entry",
)
RISK = ("risk_weight", "risk_level", "carbon_scope")  # scalars that count only where there are scenarios
DIMENSIONS = (
    *("site", "period", "segment", "generator", "stream", "arc", "job", "candidate", "pool", "pool_arc"),
    *OPTIONAL.values(),
)


@dataclass(frozen=True, eq=False)
class Instance:
    """One scheduling problem: tables plus the fleet's scalars.

    Attributes
    ----------
    period_h : length of a period, hours, 1/12 (5 min) to 1.
    carbon_budget_t : fleet budget B, t CO2; inf means none (C3).
    carbon_excess_usd_per_t : price of exceeding the budget; inf makes it hard.
    carbon_price_usd_per_t : price on every tonne emitted.
    risk_weight, risk_level : what is minimised is (1 - weight) times the expected net cost plus weight times its CVaR,
        the mean of the worst (1 - level) of the scenarios.
    carbon_scope : the budget is kept by the emissions "expected", or in "every" scenario.
    start_utc : when the first period starts, ISO 8601; not part of the optimisation, like the next ones.
    family, seed, source : where the instance comes from.
    """

    period_h: float
    sites: Sites
    generators: Generators
    streams: Streams
    arcs: Arcs
    jobs: Jobs
    candidates: Candidates
    pools: Pools
    pool_arcs: PoolArcs
    scenarios: Scenarios
    overrides: Overrides
    devices: Devices
    device_variables: DeviceVariables
    device_rows: DeviceRows
    device_entries: DeviceEntries
    carbon_budget_t: float = np.inf
    carbon_excess_usd_per_t: float = np.inf
    carbon_price_usd_per_t: float = 0.0
    risk_weight: float = 0.0
    risk_level: float = 0.95
    carbon_scope: str = "expected"
    start_utc: str = "2022-01-01T00:00Z"
    family: str = "user"
    seed: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        for f in fields(Instance):
            value = getattr(self, f.name)
            if f.name in SCALARS:
                object.__setattr__(self, f.name, scalar(value, SCALARS[f.name], f.name))
            else:
                instance_of(value, TABLES[f.name], f.name)

    @property
    def n_sites(self) -> int:
        return len(self.sites.name)

    @property
    def n_periods(self) -> int:
        return int(self.sites.capacity_gpu.shape[1])

    @property
    def n_streams(self) -> int:
        return len(self.streams.name)

    @property
    def n_jobs(self) -> int:
        return len(self.jobs.name)

    @property
    def n_pools(self) -> int:
        return len(self.pools.name)

    @property
    def n_scenarios(self) -> int:
        return len(self.scenarios.name)

    @property
    def copies(self) -> int:
        """Rows that each site, stream, pool and generator has side by side: 1, or a row for every scenario."""
        return 1

    @property
    def budget_in_every(self) -> bool:
        """Whether each of several scenarios has to keep the budget by itself."""
        return self.carbon_scope == "every" and self.copies > 1

    @property
    def day_ahead_lines(self) -> int:
        """Generators committed once for several scenarios at the site that has most of them."""
        once = self.generators.day_ahead
        return int(np.bincount(self.generators.site[once]).max()) if self.copies > 1 and once.any() else 0

    @property
    def row_weight(self) -> Array:
        """Probability of the scenario that each site's row belongs to, (site,)."""
        return self.expected(self.n_sites)

    def expected(self, n: int) -> Array:
        """Weights of n rows, of all scenarios, that make their sum the expected one."""
        return np.ones(n) if self.copies == 1 else np.repeat(self.scenarios.probability, n // self.copies)

    @property
    def n_places(self) -> int:
        """Sites that a job may run at; it loads all rows of its site."""
        return self.n_sites // self.copies

    def rows_of(self, places: Array) -> Array:
        """Rows of some sites in all scenarios, scenario by scenario."""
        return np.asarray((places + self.n_places * np.arange(self.copies)[:, None]).ravel())

    @property
    def least_capacity(self) -> Array:
        """GPUs that there are in every scenario, (place, period)."""
        return np.asarray(self.sites.capacity_gpu.reshape(self.copies, -1, self.n_periods).min(axis=0))

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension."""
        return dict(
            site=self.n_sites,
            period=self.n_periods,
            segment=int(self.sites.power_slope_mw_per_gpu.shape[1]),
            generator=len(self.generators.site),
            stream=self.n_streams,
            arc=len(self.arcs.site),
            job=self.n_jobs,
            candidate=len(self.candidates.site),
            pool=self.n_pools,
            pool_arc=len(self.pool_arcs.site),
            scenario=self.n_scenarios,
            override=len(self.overrides.row),
            device=len(self.devices.site),
            device_variable=len(self.device_variables.device),
            device_row=len(self.device_rows.device),
            device_entry=len(self.device_entries.row),
        )

    @property
    def scalars(self) -> dict[str, Any]:
        """The fields that are not tables."""
        return {f.name: getattr(self, f.name) for f in fields(Instance) if f.name not in TABLES}

    @property
    def demand_gpu(self) -> Array:
        """Inference demand in GPUs, (stream, period)."""
        return self.streams.demand_rps * self.streams.gpu_per_rps[:, None]

    @property
    def renewable_mw(self) -> Array:
        """Available wind and solar power, (site, period)."""
        return self.sites.wind_mw + self.sites.solar_mw

    @property
    def microgrids(self) -> Microgrids:
        """The sites with what belongs to each of them."""
        return Microgrids(**{f.name: getattr(self, f.name) for f in fields(Microgrids)})

    def __repr__(self) -> str:
        """A summary in ten lines."""
        return summary_of_instance(self)

    def to_xarray(self) -> dict[str, Any]:
        """The tables as xarray data sets.

        Returns
        -------
        By name of the table ("sites", "streams", ...) an `xarray.Dataset`, with dimensions, `units` and `long_name` of
        every array; names and times (UTC) are coordinates, scalars of the instance attributes.

        Raises
        ------
        ImportError : xarray is not installed.
        """
        coordinates, scalars = coordinates_of(self), self.scalars
        return {name: dataset(table, coordinates, scalars) for name, table in self.tables()}

    def tables(self) -> Iterator[tuple[str, Table]]:
        return ((name, getattr(self, name)) for name in TABLES)

    def content_hash(self) -> str:
        """SHA-256 over every number and name that enters the optimisation."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:  # once: arrays are read-only, and every save states it
        digest = hashlib.sha256()
        skip = ("start_utc", "family", "seed", "source", *(RISK if not self.n_scenarios else ()))
        scalars = {k: v if isinstance(v, str) else repr(float(v)) for k, v in self.scalars.items() if k not in skip}
        digest.update(json.dumps(scalars, sort_keys=True).encode())
        for name, table in self.tables():
            for f in table.columns():
                array = getattr(table, f.name)
                if (name in OPTIONAL and not len(array)) or (
                    f.metadata["later"] and (array == f.metadata["default"]).all()
                ):
                    continue
                digest.update(f"{name}.{f.name}{array.shape}".encode())
                digest.update("\0".join(array.ravel()).encode() if array.dtype.kind == "U" else array.tobytes())
        return digest.hexdigest()


_TYPES: dict[str, type] = dict(float=float, int=int, str=str)
SCALARS = {f.name: _TYPES[str(f.type)] for f in fields(Instance) if f.name not in TABLES}


def build_instance(n_sites: int, n_periods: int, period_h: float, *, sites: dict[str, Any], **given: Any) -> Instance:
    """Build an instance from dicts of arrays; scalars broadcast, absent tables are empty.

    Values are arrays, lists, or columns of pandas and xarray; what is not of a field's kind is refused (InputError),
    never rounded or parsed. One-dimensional values of a field (site, period) count along the periods.
    The length of a table is that of its first array; names default to the labels of its rows, or their numbers.
    Labels of pandas and xarray must be the names in the order of the rows, or the times at which periods start.

    Parameters
    ----------
    n_sites, n_periods : sizes.
    period_h : length of a period, hours, 1/12 to 1.
    sites : the table of sites, array by name.
    given : the other tables (streams, arcs, jobs, ...) likewise, and the instance's scalars, by name.

    Returns
    -------
    The instance; its numbers are judged when it is solved, written or read.

    Raises
    ------
    InputError : an unknown name, a missing array, or one whose shape, kind or labels do not fit.
    """
    rest = dict(given, sites=sites)
    starts = starts_of(rest.get("start_utc", Instance.start_utc), period_h, n_periods)
    sizes = dict(site=count(n_sites, "n_sites"), period=count(n_periods, "n_periods"))
    slopes = Sites.given(sites).get("power_slope_mw_per_gpu", 0.0)
    sizes["segment"] = (1, *plain(slopes, "sites.power_slope_mw_per_gpu").shape)[-1]
    tables: dict[str, Table] = {}
    for name, cls in TABLES.items():
        values = cls.given(rest.pop(name, None))
        row = cls.columns()[0].metadata["dims"][0]
        if row != "site":
            sizes[row] = cls.rows(values)
        if "name" in {f.name for f in cls.columns()} and "name" not in values:
            said = names_of(values.values())
            numbers = np.array([f"{row}{k}" for k in range(sizes[row])], dtype=str)
            values["name"] = said if said is not None and len(said) == sizes[row] else numbers
        if sizes[row] == 0:
            values |= {f.name: np.zeros([sizes[d] for d in f.metadata["dims"]]) for f in cls.columns()}
        cls.check_labels(values, starts)
        tables[name] = cls.make(sizes, **values)
    known = {f.name for f in fields(Instance)}
    for key in rest:
        if key not in known:
            raise InputError(f"{key}: no such quantity of an instance")
    return Instance(period_h=period_h, **tables, **rest)  # type: ignore[arg-type]


def describe(instance: Instance) -> dict[str, Any]:
    """Sizes and scalars, for banners and logs."""
    return {**instance.sizes, **{k: v for k, v in instance.scalars.items() if k != "source"}}
