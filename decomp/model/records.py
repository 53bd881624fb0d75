"""The tables of an instance: every field with its dimensions, unit, meaning and legal range.

Equation numbers are those of docs/model.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decomp.model.table import Array, Table, var

MOST_MWH = 1e7  # more than any reservoir; beside it a solver loses what a site charges
SECOND_STAGE = (  # dimensions of what answers each scenario anew
    *("site", "generator", "stream", "arc", "pool", "pool_arc"),
    *("device", "device_variable", "device_row", "device_entry"),
)


def dims_by_scenario(dims: tuple[str, ...]) -> tuple[str, ...]:
    """The dimensions of an array with the scenario before the one whose rows answer each scenario."""
    return tuple(d for dim in dims for d in (("scenario", dim) if dim in SECOND_STAGE else (dim,)))


@dataclass(frozen=True, eq=False)
class Sites(Table):
    """Compute and microgrid of each site (equations 1-6, 8, 9)."""

    name: Array = var("site", "1", "name of the site", kind="U")
    latitude: Array = var("site", "degrees_north", "latitude", low=-90, high=90, default=np.nan, missing=True)
    longitude: Array = var("site", "degrees_east", "longitude", low=-180, high=180, default=np.nan, missing=True)
    capacity_gpu: Array = var("site,period", "GPU", "GPUs available for load", low=0)
    power_slope_mw_per_gpu: Array = var("site,segment", "MW/GPU", "slope of IT power segment", low=0, coefficient=True)
    power_intercept_mw: Array = var("site,segment", "MW", "intercept of IT power segment at zero load")
    exact_power_curve: Array = var("site", "1", "IT power equals the curve (else: at least)", kind="?", default=False)
    pue: Array = var("site,period", "1", "facility power per IT power", low=1, high=5, default=1.2)
    import_limit_mw: Array = var("site,period", "MW", "largest grid import", low=0, coefficient=True)
    export_limit_mw: Array = var("site,period", "MW", "largest grid export", low=0, default=0.0, coefficient=True)
    buy_price: Array = var("site,period", "USD/MWh", "price of imported energy")
    sell_price: Array = var("site,period", "USD/MWh", "price of exported energy")
    demand_charge: Array = var("site", "USD/MW", "charge on the import peak beyond peak_so_far", low=0, default=0.0)
    peak_so_far_mw: Array = var("site", "MW", "import peak already reached in the billing window", low=0, default=0.0)
    carbon_intensity: Array = var(
        "site,period", "t/MWh", "emissions of imported energy", low=0, default=0.0, coefficient=True
    )
    export_credit: Array = var(
        "site,period", "t/MWh", "emissions credited to exported energy", low=0, default=0.0, coefficient=True
    )
    wind_mw: Array = var("site,period", "MW", "available wind power", low=0, default=0.0)
    solar_mw: Array = var("site,period", "MW", "available solar power", low=0, default=0.0)
    curtailable: Array = var("site", "1", "available wind and sun may be curtailed", kind="?", default=True)
    battery_mwh: Array = var("site", "MWh", "largest stored energy (0: no battery)", low=0, default=0.0)
    battery_min_mwh: Array = var("site", "MWh", "smallest stored energy", low=0, high=MOST_MWH, default=0.0)
    battery_initial_mwh: Array = var("site", "MWh", "stored energy at the start", low=0, high=MOST_MWH, default=0.0)
    battery_final_mwh: Array = var("site", "MWh", "least stored energy at the end", low=0, high=MOST_MWH, default=0.0)
    charge_mw: Array = var("site", "MW", "largest charging power", low=0, default=0.0, coefficient=True)
    discharge_mw: Array = var("site", "MW", "largest discharging power", low=0, default=0.0, coefficient=True)
    charge_efficiency: Array = var(
        "site", "1", "stored per charged energy", low=0, high=1, default=0.922, coefficient=True
    )
    discharge_efficiency: Array = var(
        "site", "1", "delivered per withdrawn energy", low=0, high=1, default=0.922, coefficient=True
    )
    self_discharge_per_h: Array = var("site", "1/h", "stored energy lost per hour", low=0, high=0.5, default=0.0)
    wear_usd_per_mwh: Array = var("site", "USD/MWh", "battery wear per discharged energy", low=0, default=0.0)

    def segments_mw(self, load_gpu: Array) -> Array:
        """The segments of the power curves at loads (site, period), MW, (segment, site, period)."""
        slope, intercept = self.power_slope_mw_per_gpu, self.power_intercept_mw
        return np.stack([a[:, None] * load_gpu + b[:, None] for a, b in zip(slope.T, intercept.T, strict=True)])

    def it_power_mw(self, load_gpu: Array) -> Array:
        """IT power at loads (site, period), MW (2): the largest segment of the power curve."""
        return np.asarray(self.segments_mw(load_gpu).max(axis=0))


@dataclass(frozen=True, eq=False)
class Generators(Table):
    """Dispatchable local generation (equation 7); rows are sorted by site."""

    site: Array = var("generator", "1", "index of the site", kind="i8", low=0)
    p_min_mw: Array = var("generator", "MW", "least output when on", low=0, coefficient=True)
    p_max_mw: Array = var("generator", "MW", "largest output", low=0, coefficient=True)
    fuel_usd_per_mwh: Array = var("generator", "USD/MWh", "fuel cost of output")
    no_load_usd_per_h: Array = var("generator", "USD/h", "cost of being on", low=0, default=0.0)
    start_usd: Array = var("generator", "USD", "cost of a start", low=0, default=0.0)
    ramp_up_mw_per_h: Array = var(
        "generator", "MW/h", "fastest rise when on", low=0, default=np.inf, infinite=True, coefficient=True
    )
    ramp_down_mw_per_h: Array = var(
        "generator", "MW/h", "fastest fall when on", low=0, default=np.inf, infinite=True, coefficient=True
    )
    min_up_periods: Array = var("generator", "1", "least periods on after a start", kind="i8", low=1, default=1)
    min_down_periods: Array = var("generator", "1", "least periods off after a stop", kind="i8", low=1, default=1)
    emission_t_per_mwh: Array = var("generator", "t/MWh", "emissions of output", low=0, default=0.0, coefficient=True)
    initial_mw: Array = var("generator", "MW", "output before the first period (0: off)", low=0, default=0.0)
    initial_periods: Array = var("generator", "1", "periods already on or off", kind="i8", low=1, default=10_000)
    day_ahead: Array = var("generator", "1", "committed once for all scenarios", kind="?", default=False, later=True)


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
    gpus: Array = var("job", "GPU", "load while running", low=0, coefficient=True)
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


@dataclass(frozen=True, eq=False)
class Devices(Table):
    """Additions to sites: variables of their own, and rows over these and what the site does; sorted by site."""

    name: Array = var("device", "1", "name of the device, one of its kind at its site", kind="U")
    site: Array = var("device", "1", "index of the site", kind="i8", low=0)
    kind: Array = var("device", "1", "kind of device", kind="U", default="")


@dataclass(frozen=True, eq=False)
class DeviceVariables(Table):
    """Variables of devices, each a number; sorted by device."""

    device: Array = var("device_variable", "1", "index of the device", kind="i8", low=0)
    name: Array = var("device_variable", "1", "name of the variable, the same in all periods", kind="U")
    index: Array = var("device_variable", "1", "its place in time (-1: none)", kind="i8", low=-1, default=-1)
    period: Array = var("device_variable", "1", "period that it acts in (-1: all)", kind="i8", low=-1, default=-1)
    unit: Array = var("device_variable", "1", "unit of the variable", kind="U", default="1")
    low: Array = var("device_variable", "unit", "least value")
    high: Array = var("device_variable", "unit", "largest value")
    end_low: Array = var(
        "device_variable", "unit", "least value where a rolling plan ends", default=-np.inf, infinite=True
    )
    integer: Array = var("device_variable", "1", "takes whole values only", kind="?", default=False)
    cost: Array = var("device_variable", "USD/unit", "cost of a unit", default=0.0)
    emission: Array = var("device_variable", "t/unit", "emissions of a unit", default=0.0)
    power: Array = var(
        "device_variable", "MW/unit", "power that a unit gives its site (<0: draws)", default=0.0, coefficient=True
    )


@dataclass(frozen=True, eq=False)
class DeviceRows(Table):
    """Rows of devices: low <= sum of the row's entries <= high; sorted by device."""

    device: Array = var("device_row", "1", "index of the device", kind="i8", low=0)
    name: Array = var("device_row", "1", "name of the row, the same in all periods", kind="U")
    index: Array = var("device_row", "1", "its place in time (-1: none)", kind="i8", low=-1, default=-1)
    unit: Array = var("device_row", "1", "unit of the sum", kind="U", default="1")
    low: Array = var("device_row", "unit", "least sum", default=-np.inf, infinite=True)
    high: Array = var("device_row", "unit", "largest sum", default=np.inf, infinite=True)
    cumulative: Array = var(
        "device_row", "1", "a rolling plan keeps it over all periods so far", kind="?", default=False
    )


QUANTITIES = (  # what an entry of a device's row may multiply; numbers in `DeviceEntries.quantity`
    *("variable", "load", "it_power", "facility", "grid_import", "grid_export"),
    *("renewable", "charge", "discharge", "stored", "generation"),
)


@dataclass(frozen=True, eq=False)
class DeviceEntries(Table):
    """Coefficients of the rows of devices; sorted by row."""

    row: Array = var("device_entry", "1", "index of the row", kind="i8", low=0)
    quantity: Array = var(
        "device_entry", "1", "multiplied: " + ", ".join(QUANTITIES), kind="i8", low=0, high=len(QUANTITIES) - 1
    )
    at: Array = var(
        "device_entry", "1", "number of variable in the device, of generator at the site", kind="i8", low=0, default=0
    )
    period: Array = var("device_entry", "1", "period (-1: a variable)", kind="i8", low=-1, default=-1)
    coefficient: Array = var("device_entry", "unit", "coefficient", coefficient=True)
