"""A month at the colocated site: prices, wind and work, measured or synthetic, and the instances made of them."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from decomp.families import generate
from decomp.families.colocation import BUY_ADDER, BUY_FACTOR, SELL_FACTOR
from decomp.ingest.layout import File, Series
from decomp.ingest.library import Library
from decomp.ingest.series import read_series
from decomp.ingest.spec import Horizon
from decomp.model.instance import Array, InputError, Instance, PoolArcs, Pools
from decomp.model.times import stamp, start_of
from decomp.studies.window import Forecast, cut

PERIOD_H = 0.25
DAY = 96
RECORDS = 3  # five-minute records a period
ZONES = ("WEST", "NYC", "LONGIL", "NORTH")
FARMS = ("122", "303", "309", "317")
PUBLISHED = 44  # the day-ahead prices of tomorrow are out by 11:00
DAYS_BEFORE = 28  # whose errors are known when the month starts
UTC_OFFSET_H = 5  # days are those of Eastern standard time, all year
FILES = {
    "price": File(path="nyiso_lbmp_5min_2019_4zones.csv.gz", step_min=5, time_column="timestamp_utc"),
    # The farms of RTS-GMLC are in Arizona: their hours are read as Eastern ones, so that noon stays noon.
    "wind": File(
        path="rts_gmlc_wind_rt_5min_2020.csv.gz", step_min=5, time_column="timestamp_local_mst", time_zone="-05:00"
    ),
}


@dataclass(frozen=True)
class Month:
    """What is studied: a month (or its first days), a price zone, a wind farm, a seed for all that is synthetic."""

    month: str = "2019-03"
    days: int | None = None
    zone: str = "WEST"
    farm: str = "122"
    seed: int = 0

    @property
    def start(self) -> datetime:
        """Midnight of its first day, Eastern standard time."""
        try:
            return datetime.strptime(self.month, "%Y-%m")
        except ValueError as error:
            raise InputError(f"month {self.month!r}: not a month such as 2019-03") from error

    @property
    def length(self) -> int:
        """Days of the calendar month."""
        return monthrange(self.start.year, self.start.month)[1]

    @property
    def n_days(self) -> int:
        """Days studied."""
        days = self.length if self.days is None else self.days
        if not 1 <= days <= self.length:
            raise InputError(f"{days} days: {self.month} has {self.length}")
        return days


@dataclass(frozen=True, eq=False)
class Market:
    """A month's series, (period): prices in USD/MWh, wind as a share of its capacity; and the site without either.

    `site` is an instance in which all work is a stream that must be served at once, `missing` the share of real-time
    prices that were not recorded, `before` what is known of the days before.
    """

    real_time: Array
    day_ahead: Array
    wind_factor: Array
    site: Instance
    source: str
    missing: float = 0.0
    before: Before | None = None


@dataclass(frozen=True, eq=False)
class Before:
    """The days before the month: series as in `Market`."""

    real_time: Array
    day_ahead: Array
    wind_factor: Array


@dataclass(frozen=True)
class Case:
    """A variant of the site."""

    tariff: str = "wholesale"
    wind_mw: float = 150.0
    deferrable: float = 0.4


def read_market(month: Month, data: Path | None) -> Market:
    """The month from the data folder, or without one from the family `colocation`.

    Raises
    ------
    InputError : a file is missing or does not cover the month.
    """
    market = _synthetic(month)
    if data is None:
        return market
    if not data.is_dir():
        raise InputError(f"{data}: no such data folder")
    library = Library(data, FILES)
    start = month.start + timedelta(hours=UTC_OFFSET_H)
    horizon = Horizon(start=start, periods=month.n_days * DAY, period_min=60 * PERIOD_H)
    real_time, day_ahead, factor, missing = _series(library, month, horizon)
    earlier = replace(horizon, start=start - timedelta(days=DAYS_BEFORE), periods=DAYS_BEFORE * DAY)
    try:
        before = Before(*_series(library, month, earlier)[:3])
    except InputError:  # the files begin with the year
        before = None
    source = (
        f"NYISO zone {month.zone}, 5-minute real-time and hourly day-ahead prices; RTS-GMLC wind farm {month.farm}, "
        "5-minute real time, of the same calendar days in 2020; "
    )
    source += f"{missing:.2%} of the real-time prices, zero in all zones at once, are missing: day-ahead instead; "
    source += ", ".join(f"{name} sha256:{digest}" for name, digest in sorted(library.used.items()))
    site = replace(market.site, start_utc=stamp(horizon.start_utc), source=source)
    return Market(real_time, day_ahead, factor, site, source, missing, before)


def _series(library: Library, month: Month, horizon: Horizon) -> tuple[Array, Array, Array, float]:
    """Real-time and day-ahead price, wind factor (period), and the share of real-time prices that are missing."""
    wind = Series(unit="1", file="wind", column=f"{month.farm}_WIND_1_rt_cf", year=2020)
    factor = read_series(library, "wind_factor", wind, horizon, {})
    fine = replace(horizon, periods=RECORDS * horizon.periods, period_min=5)
    real_time, day_ahead, missing = _prices(library, month, fine)
    return real_time, day_ahead, factor, missing


def _prices(library: Library, month: Month, horizon: Horizon) -> tuple[Array, Array, float]:
    """Real-time and day-ahead price (period), USD/MWh, and the share of real-time records that are missing.

    The operator's files have whole days of zeros, in all zones at once, where real-time prices were not recorded.
    """

    def price(zone: str, kind: str) -> Array:
        series = Series(unit="usd/MWh", file="price", column=f"{zone}_{kind}_usd_per_mwh")
        return read_series(library, "price", series, horizon, {})

    real_time = {zone: price(zone, "rt") for zone in ZONES}
    day_ahead = price(month.zone, "da")
    missing = np.all([np.abs(values) < 1e-9 for values in real_time.values()], axis=0)
    filled = np.where(missing, day_ahead, real_time[month.zone])
    return filled.reshape(-1, RECORDS).mean(axis=1), day_ahead.reshape(-1, RECORDS).mean(axis=1), float(missing.mean())


def _synthetic(month: Month) -> Market:
    """The month of the family, from midnight, Eastern standard time."""
    first, n = round(UTC_OFFSET_H / PERIOD_H), month.n_days * DAY

    def family(tariff: str) -> Instance:
        day = month.start.timetuple().tm_yday
        whole = generate(
            "colocation", periods=n + DAY, seed=month.seed, tariff=tariff, day=day, wind=1.0, deferrable=0.0, exact=True
        )
        return cut(whole, first, first + n)

    wholesale, retail = family("wholesale"), family("retail")
    source = f"family colocation, seed {month.seed}"
    return Market(
        real_time=wholesale.sites.buy_price[0],
        day_ahead=retail.sites.sell_price[0] / SELL_FACTOR,
        wind_factor=wholesale.sites.wind_mw[0],
        site=replace(wholesale, start_utc=stamp(start_of(wholesale, first)), source=source),
        source=source,
    )


def tariff_prices(tariff: str, real_time: Array, day_ahead: Array) -> dict[str, Array]:
    """Price both ways, or the tariff on the day-ahead price; (1, period) each."""
    if tariff == "wholesale":
        return dict(buy_price=real_time[None, :], sell_price=real_time[None, :])
    return dict(
        buy_price=BUY_FACTOR * day_ahead[None, :] + BUY_ADDER, sell_price=SELL_FACTOR * np.asarray(day_ahead)[None, :]
    )


def instance_of(market: Market, case: Case, demand_charge: float = 10.0) -> Instance:
    """The month of a case: a share of each period's work waits for its day, which has a pool from midnight to midnight.

    `demand_charge` is that of the retail tariff, USD per kW of the month's peak.
    """
    base, n = market.site, market.site.n_periods
    demand = base.demand_gpu[0]
    start = np.arange(0, n, DAY)
    waiting = np.add.reduceat(case.deferrable * demand, start) * base.period_h
    sites = replace(
        base.sites,
        wind_mw=case.wind_mw * market.wind_factor[None, :],
        export_limit_mw=np.full((1, n), case.wind_mw + 1.0),
        demand_charge=np.array([1000.0 * demand_charge if case.tariff == "retail" else 0.0]),
        **tariff_prices(case.tariff, market.real_time, market.day_ahead),
    )
    sizes = dict(pool=len(start), pool_arc=len(start))
    names = [f"day{k + 1}" for k in range(len(start))]
    pools = Pools.make(sizes, name=names, work_gpu_h=waiting, start=start, end=np.minimum(start + DAY, n))
    arcs = PoolArcs.make(sizes, pool=np.arange(len(start)), site=0, rate_gpu=base.sites.capacity_gpu.max())
    streams = replace(base.streams, demand_rps=(1.0 - case.deferrable) * base.streams.demand_rps)
    return replace(base, sites=sites, streams=streams, pools=pools, pool_arcs=arcs)


def as_it_arrives(market: Market, case: Case) -> Array:
    """No scheduling: deferrable load (pool, period), GPU, that never waits."""
    n = market.site.n_periods
    day = np.arange(n) // DAY
    return np.where(np.arange(day[-1] + 1)[:, None] == day, case.deferrable * market.site.demand_gpu[0], 0.0)


def published(day_ahead: Array, now: int, end: int) -> Array:
    """Day-ahead prices of [now, end) as they are known now: what is not yet published is as a day before."""
    ahead = day_ahead[:end].copy()
    for t in range(((now - PUBLISHED) // DAY + 2) * DAY, end):
        ahead[t] = ahead[t - DAY]
    return ahead[now:]


def honest(market: Market, case: Case) -> Forecast:
    """What is known now: published day-ahead prices (later ones as a day before), and the last wind, which stays.

    Work is known; real-time prices are not, not even the present one.
    """

    def expected(instance: Instance, now: int, end: int) -> Instance:
        ahead, wind = market.day_ahead.copy(), instance.sites.wind_mw.copy()
        ahead[now:end] = published(ahead, now, end)
        wind[:, now:] = wind[:, [max(now - 1, 0)]]
        return replace(
            instance, sites=replace(instance.sites, wind_mw=wind, **tariff_prices(case.tariff, ahead, ahead))
        )

    return expected
