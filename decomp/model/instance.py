"""The instance: a fleet, its work and its carbon budget as immutable arrays with units.

Every table is a frozen dataclass whose fields carry their dimensions, unit, meaning and legal
range; the file format, the generic validation and the documentation are all derived from these
declarations. Nothing here knows of files or solvers. Equation numbers refer to the README's model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from decomp.model.table import Array, InputError, Table, var

__all__ = ["Array", "InputError", "Table", "var"]


@dataclass(frozen=True, eq=False)
class Sites(Table):
    """Compute and microgrid of each site (equations 1-6, 8, 9)."""

    name: Array = var("site", "1", "name of the site", kind="U")
    latitude: Array = var("site", "degrees_north", "latitude", low=-90, high=90, default=np.nan, missing=True)
    longitude: Array = var("site", "degrees_east", "longitude", low=-180, high=180, default=np.nan, missing=True)
    capacity_gpu: Array = var("site,period", "GPU", "GPUs available for load", low=0)
    power_slope_mw_per_gpu: Array = var("site,segment", "MW/GPU", "slope of IT power segment", low=0)
    power_intercept_mw: Array = var("site,segment", "MW", "intercept of IT power segment at zero load")
    exact_power_curve: Array = var("site", "1", "IT power equals the curve (else: at least)", kind="?", default=False)
    pue: Array = var("site,period", "1", "facility power per IT power", low=1, high=5, default=1.2)
    import_limit_mw: Array = var("site,period", "MW", "largest grid import", low=0)
    export_limit_mw: Array = var("site,period", "MW", "largest grid export", low=0, default=0.0)
    buy_price: Array = var("site,period", "USD/MWh", "price of imported energy")
    sell_price: Array = var("site,period", "USD/MWh", "price of exported energy")
    demand_charge: Array = var("site", "USD/MW", "charge on the import peak beyond peak_so_far", low=0, default=0.0)
    peak_so_far_mw: Array = var("site", "MW", "import peak already reached in the billing window", low=0, default=0.0)
    carbon_intensity: Array = var("site,period", "t/MWh", "emissions of imported energy", low=0, default=0.0)
    export_credit: Array = var("site,period", "t/MWh", "emissions credited to exported energy", low=0, default=0.0)
    wind_mw: Array = var("site,period", "MW", "available wind power", low=0, default=0.0)
    solar_mw: Array = var("site,period", "MW", "available solar power", low=0, default=0.0)
    curtailable: Array = var("site", "1", "available wind and sun may be curtailed", kind="?", default=True)
    battery_mwh: Array = var("site", "MWh", "largest stored energy (0: no battery)", low=0, default=0.0)
    battery_min_mwh: Array = var("site", "MWh", "smallest stored energy", low=0, default=0.0)
    battery_initial_mwh: Array = var("site", "MWh", "stored energy at the start", low=0, default=0.0)
    battery_final_mwh: Array = var("site", "MWh", "least stored energy at the end", low=0, default=0.0)
    charge_mw: Array = var("site", "MW", "largest charging power", low=0, default=0.0)
    discharge_mw: Array = var("site", "MW", "largest discharging power", low=0, default=0.0)
    charge_efficiency: Array = var("site", "1", "stored per charged energy", low=0, high=1, default=0.922)
    discharge_efficiency: Array = var("site", "1", "delivered per withdrawn energy", low=0, high=1, default=0.922)
    self_discharge_per_h: Array = var("site", "1/h", "stored energy lost per hour", low=0, high=0.5, default=0.0)
    wear_usd_per_mwh: Array = var("site", "USD/MWh", "battery wear per discharged energy", low=0, default=0.0)


@dataclass(frozen=True, eq=False)
class Generators(Table):
    """Dispatchable local generation (equation 7); rows are sorted by site."""

    site: Array = var("generator", "1", "index of the site", kind="i8", low=0)
    p_min_mw: Array = var("generator", "MW", "least output when on", low=0)
    p_max_mw: Array = var("generator", "MW", "largest output", low=0)
    fuel_usd_per_mwh: Array = var("generator", "USD/MWh", "fuel cost of output")
    no_load_usd_per_h: Array = var("generator", "USD/h", "cost of being on", low=0, default=0.0)
    start_usd: Array = var("generator", "USD", "cost of a start", low=0, default=0.0)
    ramp_up_mw_per_h: Array = var("generator", "MW/h", "fastest rise when on", low=0, default=np.inf, infinite=True)
    ramp_down_mw_per_h: Array = var("generator", "MW/h", "fastest fall when on", low=0, default=np.inf, infinite=True)
    min_up_periods: Array = var("generator", "1", "least periods on after a start", kind="i8", low=1, default=1)
    min_down_periods: Array = var("generator", "1", "least periods off after a stop", kind="i8", low=1, default=1)
    emission_t_per_mwh: Array = var("generator", "t/MWh", "emissions of output", low=0, default=0.0)
    initial_mw: Array = var("generator", "MW", "output before the first period (0: off)", low=0, default=0.0)
    initial_periods: Array = var("generator", "1", "periods already on or off", kind="i8", low=1, default=10_000)
    day_ahead: Array = var(
        "generator", "1", "committed once for all scenarios", kind="?", default=False, later=True
    )


@dataclass(frozen=True, eq=False)
class Streams(Table):
    """Inference demand: a class of requests from an origin (coupling row C1)."""

    name: Array = var("stream", "1", "name of the stream", kind="U")
    origin: Array = var("stream", "1", "where the requests come from", kind="U", default="")
    service_class: Array = var("stream", "1", "inference class", kind="U", default="")
    demand_rps: Array = var("stream,period", "1/s", "requests per second", low=0)
    gpu_per_rps: Array = var("stream", "GPU s", "GPUs needed per request per second", low=1e-9, default=1.0)
    latency_limit_ms: Array = var("stream", "ms", "largest round trip plus service time", low=0, default=1e6)
    service_ms: Array = var("stream", "ms", "service time (time to first token)", low=0, default=0.0)
    revenue: Array = var("stream", "USD/(GPU h)", "revenue of served load", low=0, default=0.0)
    unserved_penalty: Array = var("stream", "USD/(GPU h)", "penalty on unserved load, besides the lost revenue", low=0)


@dataclass(frozen=True, eq=False)
class Arcs(Table):
    """The sites at which a stream may run."""

    stream: Array = var("arc", "1", "index of the stream", kind="i8", low=0)
    site: Array = var("arc", "1", "index of the site", kind="i8", low=0)
    round_trip_ms: Array = var("arc", "ms", "network round trip", low=0, default=0.0)
    cost: Array = var("arc", "USD/(GPU h)", "routing cost of served load", default=0.0)


@dataclass(frozen=True, eq=False)
class Jobs(Table):
    """Rigid training jobs (coupling row C2): contiguous, never paused or moved once started."""

    name: Array = var("job", "1", "name of the job", kind="U")
    gpus: Array = var("job", "GPU", "load while running", low=0)
    periods: Array = var("job", "1", "length in periods", kind="i8", low=1)
    release: Array = var("job", "1", "first period in which it may start", kind="i8", low=0)
    deadline: Array = var("job", "1", "period before which it must have ended", kind="i8", low=1)
    value_usd: Array = var("job", "USD", "value of running it", low=0, default=0.0)
    mandatory: Array = var("job", "1", "may not be rejected", kind="?", default=False)


@dataclass(frozen=True, eq=False)
class Candidates(Table):
    """The sites at which a job may run; the first one listed for a job is its home."""

    job: Array = var("candidate", "1", "index of the job", kind="i8", low=0)
    site: Array = var("candidate", "1", "index of the site", kind="i8", low=0)
    cost_usd: Array = var("candidate", "USD", "cost of running it there (data transfer, switching)", default=0.0)


@dataclass(frozen=True, eq=False)
class Pools(Table):
    """Deferrable fluid work (coupling row C4)."""

    name: Array = var("pool", "1", "name of the pool", kind="U")
    work_gpu_h: Array = var("pool", "GPU h", "work to be done inside the window", low=0)
    start: Array = var("pool", "1", "first period of the window", kind="i8", low=0)
    end: Array = var("pool", "1", "period after the window", kind="i8", low=1)
    shortfall_penalty: Array = var(
        "pool", "USD/(GPU h)", "penalty on work not done (inf: must be done)", low=0, default=np.inf, infinite=True
    )


@dataclass(frozen=True, eq=False)
class PoolArcs(Table):
    """The sites at which a pool's work may run, and how fast."""

    pool: Array = var("pool_arc", "1", "index of the pool", kind="i8", low=0)
    site: Array = var("pool_arc", "1", "index of the site", kind="i8", low=0)
    rate_gpu: Array = var("pool_arc", "GPU", "largest load of the pool at the site", low=0)


@dataclass(frozen=True, eq=False)
class Scenarios(Table):
    """Futures of which one will come; none means that the tables themselves are what comes."""

    name: Array = var("scenario", "1", "name of the scenario", kind="U")
    probability: Array = var("scenario", "1", "probability of the scenario", low=0, high=1)


@dataclass(frozen=True, eq=False)
class Overrides(Table):
    """Time series that are different in a scenario: a row is a scenario, a series and the site or stream it is of."""

    series: Array = var("override", "1", "name of the time series among sites or streams", kind="U")
    scenario: Array = var("override", "1", "index of the scenario", kind="i8", low=0)
    row: Array = var("override", "1", "index of the site, or of the stream for demand_rps", kind="i8", low=0)
    value: Array = var("override,period", "as the series", "what the series is in the scenario")


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
)
OPTIONAL = dict(scenarios="scenario", overrides="override")  # tables that the first files lack, and their dimensions
RISK = ("risk_weight", "risk_level", "carbon_scope")  # scalars that count only where there are scenarios
SECOND_STAGE = ("site", "generator", "stream", "arc", "pool", "pool_arc")  # what answers each scenario anew
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
    start_utc, family, seed, source : where it comes from; they do not enter the optimisation.
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

    def tables(self) -> Iterator[tuple[str, Table]]:
        return ((name, getattr(self, name)) for name in TABLES)

    def content_hash(self) -> str:
        """SHA-256 over every number and name that enters the optimisation."""
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


def build_instance(
    n_sites: int,
    n_periods: int,
    period_h: float,
    *,
    sites: dict[str, Any],
    generators: dict[str, Any] | None = None,
    streams: dict[str, Any] | None = None,
    arcs: dict[str, Any] | None = None,
    jobs: dict[str, Any] | None = None,
    candidates: dict[str, Any] | None = None,
    pools: dict[str, Any] | None = None,
    pool_arcs: dict[str, Any] | None = None,
    scenarios: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
    **scalars: Any,
) -> Instance:
    """Build an instance from dicts of arrays; scalars broadcast, absent tables are empty.

    The length of a table is that of its first array; names default to the table's row numbers.
    """
    given = dict(
        sites=sites,
        generators=generators,
        streams=streams,
        arcs=arcs,
        jobs=jobs,
        candidates=candidates,
        pools=pools,
        pool_arcs=pool_arcs,
        scenarios=scenarios,
        overrides=overrides,
    )
    sizes = dict(site=n_sites, period=n_periods)
    sizes["segment"] = int(np.shape(sites["power_slope_mw_per_gpu"])[-1])
    tables: dict[str, Table] = {}
    for name, cls in TABLES.items():
        values = dict(given[name] or {})
        row = cls.columns()[0].metadata["dims"][0]
        if row != "site":
            sizes[row] = len(np.atleast_1d(next(iter(values.values())))) if values else 0
        if "name" in {f.name for f in cls.columns()} and "name" not in values:
            values["name"] = np.array([f"{row}{k}" for k in range(sizes[row])], dtype=str)
        if sizes[row] == 0:
            values = {f.name: np.zeros([sizes[d] for d in f.metadata["dims"]]) for f in cls.columns()}
        tables[name] = cls.make(sizes, **values)
    known = {f.name for f in fields(Instance)}
    for key in scalars:
        if key not in known:
            raise InputError(f"{key}: no such quantity of an instance")
    return Instance(period_h=period_h, **tables, **scalars)  # type: ignore[arg-type]


def describe(instance: Instance) -> dict[str, Any]:
    """Sizes and scalars, for banners and logs."""
    return {**instance.sizes, **{k: v for k, v in instance.scalars.items() if k != "source"}}
