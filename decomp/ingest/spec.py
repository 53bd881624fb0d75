"""The spec of a real fleet: what a TOML file may say, key by key, with unit, range and meaning."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from decomp.ingest.clock import utc_of, zone
from decomp.ingest.keys import key, merge, override, record, within
from decomp.ingest.layout import File, Layout, Names, Series
from decomp.ingest.units import check_rates
from decomp.model.instance import InputError
from decomp.model.toml import read_toml


@dataclass(frozen=True, kw_only=True)
class Horizon:
    start: Any = key("first period: a date or date-time")
    periods: int = key("number of periods", low=1, high=100_000)
    period_min: float = key("length of a period, minutes", 15.0, low=5, high=60)
    time_zone: str = key("time zone of `start`: UTC, an IANA name or +hh:mm", "UTC")

    def __post_init__(self) -> None:
        _ = self.start_utc  # refused here if it cannot be

    @property
    def start_utc(self) -> datetime:
        """Start of the first period, UTC."""
        start = self.start
        if isinstance(start, str):
            try:
                start = datetime.fromisoformat(start.replace("Z", "+00:00"))
            except ValueError:
                start = None
        elif isinstance(start, date) and not isinstance(start, datetime):
            start = datetime(start.year, start.month, start.day)
        if not isinstance(start, datetime):
            raise InputError(f"horizon.start = {self.start!r}: not a date or date-time such as 2022-07-15")
        return utc_of(start, zone(self.time_zone, "horizon.time_zone"), "horizon.start")

    @property
    def step(self) -> timedelta:
        return timedelta(minutes=self.period_min)


@dataclass(frozen=True, kw_only=True)
class Battery:
    energy_mwh: float = key("usable capacity, MWh", low=0)
    power_mw: float = key("largest charging and discharging power, MW", low=0)
    minimum: float = key("least stored energy, share of capacity", 0.0, low=0, high=1)
    initial: float = key("stored energy at the start, share of capacity", 0.5, low=0, high=1)
    final: float = key("least stored energy at the end, share of capacity", 0.5, low=0, high=1)
    round_trip: float = key("round-trip efficiency", 0.85, low=0.01, high=1)
    self_discharge_per_h: float = key("stored energy lost per hour", 0.0, low=0, high=0.5)
    wear_usd_per_mwh: float = key("wear per discharged MWh, USD", 20.0, low=0)


@dataclass(frozen=True, kw_only=True)
class GeneratorType:
    fuel_usd_per_mwh: float = key("fuel cost, USD/MWh", low=0)
    emission_t_per_mwh: float = key("emissions, t/MWh", low=0)
    min_share: float = key("least output when on, share of the largest", 0.4, low=0, high=1)
    no_load_usd_per_mw_h: float = key("cost of being on per MW installed, USD/(MW h)", 0.0, low=0)
    start_usd_per_mw: float = key("cost of a start per MW installed, USD/MW", 0.0, low=0)
    ramp_share_per_h: float = key("fastest change, share of the largest output per hour", math.inf, low=0.01)
    min_up_h: float = key("least time on, hours", 0.0, low=0, high=100_000)
    min_down_h: float = key("least time off, hours", 0.0, low=0, high=100_000)


@dataclass(frozen=True, kw_only=True)
class Generator:
    type: str = key("name of a [generators.NAME]")
    mw: float = key("largest output, MW", low=0)
    on: bool = key("already on, at its least output, when the horizon starts", False)


@dataclass(frozen=True, kw_only=True)
class Tariff:
    buy_factor: float = key("purchase price = buy_factor × price + buy_adder", 1.0, low=0, high=10)
    buy_adder_usd_per_mwh: float = key("adder on purchases (grid fees), USD/MWh", 0.0)
    sell_factor: float = key("selling price = sell_factor × price + sell_adder", 1.0, low=0, high=10)
    sell_adder_usd_per_mwh: float = key("adder on sales (negative: a fee), USD/MWh", 0.0)
    demand_charge_usd_per_mw: float = key("charge on the import peak beyond the peak so far, USD/MW", 0.0, low=0)
    peak_so_far_mw: float = key("import peak already reached in the billing window, MW", 0.0, low=0)


@dataclass(frozen=True, kw_only=True)
class Site:
    name: str = key("name of the site")
    latitude: float = key("degrees north", low=-90, high=90)
    longitude: float = key("degrees east", low=-180, high=180)
    gpus: float = key("GPUs installed", low=1)
    import_limit_mw: float = key("largest grid import, MW", low=0)
    export_limit_mw: float = key("largest grid export, MW", 0.0, low=0)
    kw_per_gpu: float = key("IT power per GPU at full load, kW", 1.05, low=0.05, high=20)
    power_curve: list[list[float]] = key(
        "points [share of load, share of IT power], convex, 0 to 1", lambda: [[0.0, 0.2], [0.6, 0.62], [1.0, 1.0]]
    )
    zone: str = key("market zone, for templates", "")
    currency: str = key("currency of the zone, for templates", "usd")
    region: str = key("cloud region, for latency and egress tables", "")
    time_zone: str = key("local time zone, for templates", "UTC")
    wind_capacity_mw: float = key("wind power installed, MW", 0.0, low=0)
    hub_height_m: float = key("height of the hubs, to which a wind speed is carried, m", 100.0, low=10, high=300)
    solar_capacity_mw: float = key("solar power installed, MW", 0.0, low=0)
    curtailable: bool = key("wind and sun may be curtailed", True)
    exact_power_curve: bool = key("IT power equals the curve (else: at least)", False)
    export_credit_share: float = key("share of the grid's carbon intensity credited to exports", 0.0, low=0, high=1)
    battery: Battery | None = key("battery", None)
    generators: list[Generator] = key("generators", [])
    devices: list[dict[str, Any]] = key("devices of the library: kind, name (default: the kind) and settings", [])
    tariff: Tariff = key("tariff on the market price", Tariff)
    series: dict[str, Series] = key("series, see the quantities", {})

    @property
    def tags(self) -> dict[str, str]:
        """What {placeholders} in files and series stand for."""
        return {k: getattr(self, k) for k in ("name", "zone", "currency", "region", "time_zone")}


@dataclass(frozen=True, kw_only=True)
class JobTrace(Layout):
    layout: str = key(
        "a table, or a JSON list of jobs with their attempts, of which the last counts", "table", among="table attempts"
    )
    name_column: Names = key("column of the job's name; like the others a list: the first that is there", filled=True)
    gpus_column: Names = key("column of the number of GPUs, or of resources such as cpu=8,gres/gpu=4", filled=True)
    duration_column: Names = key("column of the duration: a number of time_unit, or [D-]HH:MM:SS", "", filled=True)
    start_column: Names = key("column of the start, where there is no duration", "", filled=True)
    end_column: Names = key("column of the end, where there is no duration", "", filled=True)
    submit_column: Names = key(
        "column of the submission: a time, or counted from the first day's midnight in time_unit",
        filled=True,
    )
    group_column: str = key("column of the virtual cluster", "")
    time_unit: str = key("unit of durations and of times that are counted", "s", among="s min h")
    time_format: Names = key('strptime format of times, "epoch_s", "epoch_ms"; "": ISO 8601, or counted', "")
    time_zone: str = key("zone of times without offset: UTC, an IANA name, ±hh:mm", "")
    first_day: int = key(
        "first day taken: 0 is that of the first submission; of times that are counted day 0", 0, low=0
    )
    days: int = key("days taken, in UTC; those beyond the horizon move into it by whole days", 1, low=1)

    @property
    def hours_per_unit(self) -> float:
        return {"s": 1 / 3600, "min": 1 / 60, "h": 1.0}[self.time_unit]


@dataclass(frozen=True, kw_only=True)
class Jobs:
    gpu_hours_share: float = key("work asked for, share of the fleet's GPU-hours", low=0, high=5)
    value_usd_per_gpu_h: list[float] = key("value, [least, most], log-uniform, USD/(GPU h)")
    min_gpus: int = key("smallest job of the trace taken, GPUs", 2, low=1)
    max_jobs: int = key("most jobs; a seeded sample when there are more", 100_000, low=1)
    min_jobs: int = key("fewest jobs; refused when there are less", 1, low=1)
    duration_scale: float = key("multiplies the durations", 1.0, low=1e-6)
    min_h: float = key("shorter jobs are lengthened to this, hours", 0.25, low=0)
    max_h: float = key("longer jobs are one session of this length, hours", 10.0, low=0)
    slack: list[float] = key("window over length, [least, most], uniform", lambda: [1.2, 3.0])
    largest_share: float = key("largest job, share of the largest site", 0.9, low=0, high=1)
    mandatory_share: float = key("share of jobs that may not be rejected", 0.0, low=0, high=1)
    candidates: int = key("sites at which a job may run, its home included", 5, low=1)
    choose: str = key("which sites besides home", "random", among="random nearest")
    data_gb_per_gpu: float = key("data moved when a job leaves home, GB per GPU", 10.0, low=0)


@dataclass(frozen=True, kw_only=True)
class Pools:
    gpu_hours_share: float = key("work asked for, share of the fleet's GPU-hours", low=0, high=5)
    max_gpus: int = key("jobs of the trace up to this size become fluid work, GPUs", 1, low=1)
    max_h: float = key("longer jobs count for this long, hours", 24.0, low=0)
    sites: list[int] = key("sites a pool may use; taken in turn", lambda: [3])
    rate_factor: float = key("largest rate over the even one", 2.0, low=1)
    shortfall_penalty: float = key("penalty on work not done, USD/(GPU h); inf: must be done", 1.0, low=0)


@dataclass(frozen=True, kw_only=True)
class RequestTrace(Layout):
    prompt_column: str = key("column of the prompt's tokens")
    output_column: str = key("column of the generated tokens")


@dataclass(frozen=True, kw_only=True)
class ServiceClass:
    name: str = key("name of the class")
    trace: str = key("name of a [requests.NAME]")
    share: float = key("weight of the class in the demand", low=0)
    prefill_tokens_per_gpu_s: float = key("prompt tokens a GPU reads per second", low=1)
    decode_tokens_per_gpu_s: float = key("tokens a GPU writes per second", low=0.1)
    service_ms: float = key("service time (time to first token), ms", low=0)
    latency_limit_ms: float = key("largest round trip plus service time, ms", low=0)
    revenue: float = key("revenue, USD/(GPU h)", low=0)
    unserved_penalty: float = key("penalty on unserved load, USD/(GPU h)", low=0)
    shape: list[float] = key("24 weights of the origin's local hours", lambda: [1.0] * 24)
    weekend: float = key("weight of Saturday and Sunday", 1.0, low=0)


@dataclass(frozen=True, kw_only=True)
class Origin:
    name: str = key("where requests come from")
    latitude: float = key("degrees north", low=-90, high=90)
    longitude: float = key("degrees east", low=-180, high=180)
    weight: float = key("weight of the origin in the demand", low=0)
    time_zone: str = key("IANA time zone: the diurnal shape follows local time")
    region: str = key("cloud region, for the latency table", "")


@dataclass(frozen=True, kw_only=True)
class Inference:
    gpu_hours_share: float = key("mean demand, share of the fleet's GPUs", low=0, high=5)
    classes: list[ServiceClass] = key("service classes")
    origins: list[Origin] = key("origins")
    noise: float = key("relative spread of demand around its shape, seeded", 0.0, low=0, high=1)
    series: dict[str, Series] = key(
        "measured, in place of shape and noise: requests of a stream, or demand, relative to the mean that "
        "gpu_hours_share asks of the GPUs installed; {origin}, {class}, {region}, {time_zone} in its texts",
        {},
    )
    route_usd_per_gpu_h_1000km: float = key("routing cost, USD/(GPU h) per 1000 km of great circle", 0.0, low=0)


@dataclass(frozen=True, kw_only=True)
class PairTable(Layout):
    path: str = key("table of pairs of regions; none: the rule for all", "")
    layout: str = key(
        "a row for each ordered pair, or a row from and a column to each region", "pairs", among="pairs matrix"
    )
    from_column: str = key("column of the first region (of a matrix: the first column)", "")
    to_column: str = key("column of the second region", "")
    value_column: str = key("column of the value", "")


@dataclass(frozen=True, kw_only=True)
class Latency(PairTable):
    unit: str = key("unit of the table", "ms", among="ms s us")
    missing: str = key("pairs and regions that the table lacks", "refuse", among="refuse great_circle")
    ms_per_km: float = key("great circle: round trip per km, ms", 0.021, low=0)
    offset_ms: float = key("great circle: constant part, ms", 5.0, low=0)


@dataclass(frozen=True, kw_only=True)
class Egress(PairTable):
    missing_usd_per_gb: float | None = key(
        "pairs and regions that the table lacks, USD/GB; unsaid they are refused, without a table 0.08", None, low=0
    )


@dataclass(frozen=True, kw_only=True)
class Carbon:
    budget_t: float | None = key("budget, t", None, low=0)
    budget_share: float | None = key("budget as a share of the baseline emission", None, low=0)
    excess_usd_per_t: float = key("price of exceeding the budget, USD/t; inf: hard", math.inf, low=0)
    price_usd_per_t: float = key("price of every tonne, USD/t", 0.0, low=0)


@dataclass(frozen=True, kw_only=True)
class History:
    days: int = key("days before the start of the fleet's horizon, whose errors make scenarios", 60, low=1, high=3660)
    forecast: dict[str, Series] = key(
        "what was forecast, by quantity; without: what was a day earlier, of requests and demand a week", {}
    )


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    members: list[str] = key("names of the members: what {member} stands for in series and paths of files")
    probability: list[float] = key("probability of each (default: all the same)", [], low=0, high=1)
    series: dict[str, Series] = key("series of a member, by quantity", {})


@dataclass(frozen=True, kw_only=True)
class Spec:
    name: str = key("name of the fleet")
    horizon: Horizon = key("horizon")
    sites: list[Site] = key("sites; [defaults] holds keys common to all")
    source: str = key("where the data come from", "")
    seed: int = key("seed of everything drawn", 0, low=0)
    currencies: dict[str, float] = key("USD per unit of each currency", {}, low=1e-9, high=10)
    files: dict[str, File] = key("how each file is read", {})
    generators: dict[str, GeneratorType] = key("generator types", {})
    trace: JobTrace | None = key("job trace", None)
    jobs: Jobs | None = key("rigid jobs of the trace", None)
    pools: Pools | None = key("fluid work of the trace", None)
    requests: dict[str, RequestTrace] = key("request traces", {})
    inference: Inference | None = key("inference demand", None)
    latency: Latency = key("round trips", Latency)
    egress: Egress = key("cost of moving data", Egress)
    carbon: Carbon = key("carbon budget and price", Carbon)
    history: History = key("past days, for scenarios", History)
    ensemble: Ensemble | None = key("an ensemble, for scenarios", None)

    def __post_init__(self) -> None:
        check_rates(self.currencies)


def load_spec(path: str | Path, overrides: Iterable[str]) -> Spec:
    """Read a spec; `overrides` are key=value settings with dotted keys, applied before it is checked.

    Raises
    ------
    InputError : not TOML, or a key is unknown, missing or out of range.
    """
    path = Path(path)
    tree = read_toml(path)
    for text in overrides:
        override(tree, text)
    with within(path.name):
        defaults = tree.pop("defaults", {})
        if not isinstance(tree.get("sites"), list) or not isinstance(defaults, dict):
            raise InputError("the spec needs [[sites]] tables, and [defaults] must be a table")
        tree["sites"] = [merge(defaults, s) if isinstance(s, dict) else s for s in tree["sites"]]
        return record(Spec, tree, "")
