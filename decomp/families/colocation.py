"""Family `colocation`: one data centre of about 100 MW beside 150 MW of wind, a month of quarter hours.

The setting of arXiv 2507.08011: a two-segment power curve, 40 % of the work deferrable within its day, the rest an
inference stream that must be served here; wholesale (the market's price both ways) or retail (a tariff tied to
day-ahead prices and a demand charge on the month's peak). Wind is not curtailed unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from decomp.families import equipment, markets, weather
from decomp.families.family import Family, Request, setting
from decomp.families.weather import Clock
from decomp.model.instance import Array, Instance, build_instance

Rng = np.random.Generator

LATITUDE, LONGITUDE = np.array([43.0]), np.array([-77.5])  # western New York
KNEE, GAIN = 0.6, 1.35  # the curve bends at 60 % load; its second slope is 1.35 times the first
BUY_FACTOR, BUY_ADDER, SELL_FACTOR = 1.05, 30.0, 0.8  # retail: what the tariff makes of the day-ahead price, USD/MWh


@dataclass(frozen=True)
class Colocation(Family):
    """One site with wind, a month of quarter hours, deferrable work."""

    fixed: ClassVar[tuple[str, ...]] = ("sites", "jobs", "streams")

    tariff: str = setting("wholesale", "how energy is paid", choices=("wholesale", "retail"))
    period_h: float = setting(0.25, "length of a period, h", low=1 / 12, high=1.0)
    day: int = setting(182, "day of the year", low=1, high=365)
    wind: float = setting(150.0, "wind power installed, MW", low=0.0, high=1e4)
    power: float = setting(100.0, "facility power at full load on a mild day, MW", low=0.1, high=1e4)
    load: float = setting(0.75, "GPU-hours asked for per GPU-hour installed", low=0.0, high=0.85)
    deferrable: float = setting(0.4, "share of the work that is deferrable within its day", low=0.0, high=1.0)
    battery: float = setting(0.0, "battery, MWh, with a quarter of that in MW", low=0.0, high=1e5)
    curtail: bool = setting(False, "wind may be curtailed")
    exact: bool = setting(False, "the power curve is exact: no power burnt at negative prices")
    negative: float = setting(0.01, "share of negative prices", low=0.0, high=0.5)
    spikes: float = setting(0.002, "chance that a price spike starts in a period", low=0.0, high=0.2)
    demand_charge: float = setting(10.0, "retail demand charge, USD per kW of the month's peak", low=0.0, high=100.0)

    def instance(self, request: Request) -> Instance:
        clock = Clock(request.periods or round(31 * 24 / self.period_h), self.period_h, self.day)
        rngs = np.random.default_rng(request.seed).spawn(3)
        gpus = np.rint(self.power / (1.15 * equipment.MW_PER_GPU))
        full = self.power / 1.15
        idle, first = 0.2 * full, 0.8 * full / (gpus * (KNEE + GAIN * (1.0 - KNEE)))
        limit = 1.3 * self.power
        pools = self._pools(gpus, clock)
        site: dict[str, Any] = dict(
            name=np.array(["colocation"]),
            latitude=LATITUDE,
            longitude=LONGITUDE,
            capacity_gpu=np.full((1, clock.n_periods), gpus),
            power_slope_mw_per_gpu=np.array([[first, GAIN * first]]),
            power_intercept_mw=np.array([[idle, idle - (GAIN - 1.0) * first * KNEE * gpus]]),
            exact_power_curve=self.exact,
            pue=weather.pue(weather.temperature_c(rngs[0], LATITUDE, LONGITUDE, clock)),
            import_limit_mw=limit,
            export_limit_mw=self.wind + 1.0,
            wind_mw=self.wind * weather.wind_factor(rngs[0], 1, clock),
            curtailable=self.curtail,
            battery_mwh=self.battery,
            battery_initial_mwh=0.5 * self.battery,
            battery_final_mwh=0.5 * self.battery,
            charge_mw=0.25 * self.battery,
            discharge_mw=0.25 * self.battery,
            wear_usd_per_mwh=20.0,
            carbon_intensity=markets.market_carbon(rngs[1], (markets.NY,), clock),
            **self._prices(rngs[1], clock),
        )
        return build_instance(
            1,
            clock.n_periods,
            clock.period_h,
            sites=site,
            streams=self._stream(rngs[2], gpus, clock),
            arcs=dict(stream=[0], site=[0]),
            pools=pools,
            pool_arcs=dict(pool=np.arange(len(pools["start"])), site=0, rate_gpu=gpus) if pools else None,
            start_utc=clock.start_utc,
            family="colocation",
            seed=request.seed,
        )

    def _prices(self, rng: Rng, clock: Clock) -> dict[str, Array]:
        """Real-time prices both ways, or a tariff on the day-ahead price, their smooth part, and a demand charge."""
        ahead = markets.market_prices(rng, (markets.NY,), clock, 0.0)
        if self.tariff == "retail":
            buy, sell = BUY_FACTOR * ahead + BUY_ADDER, SELL_FACTOR * ahead
            return dict(buy_price=buy, sell_price=sell, demand_charge=np.array([1000.0 * self.demand_charge]))
        real = (
            ahead
            * np.exp(0.25 * weather.smooth_noise(rng, 1, clock, 1.0))
            * markets.spiked(rng, ahead.shape, self.spikes)
        )
        real = markets.make_negative(rng, np.minimum(real, markets.NY.price_max), self.negative, np.array([True]))
        return dict(buy_price=real, sell_price=real)

    def _stream(self, rng: Rng, gpus: float, clock: Clock) -> dict[str, Any]:
        """The work that cannot wait; leaving it unserved costs far more than any price of power."""
        local = clock.local_hours(LONGITUDE)
        shape = 1.0 + 0.2 * np.cos(2.0 * np.pi * (local - 15.0) / 24.0)
        shape *= 1.0 + 0.03 * np.clip(weather.smooth_noise(rng, 1, clock, 1.0), -2.0, 2.0)
        demand = np.minimum((1.0 - self.deferrable) * self.load * gpus * shape, 0.98 * gpus)
        return dict(
            name=np.array(["interactive"]),
            demand_rps=demand / 2.5,
            gpu_per_rps=2.5,
            unserved_penalty=100.0,
        )

    def _pools(self, gpus: float, clock: Clock) -> dict[str, Any]:
        """One pool a day, to be done within the day; a last day cut short has its part of the work."""
        if not self.deferrable * self.load:
            return {}
        start = np.arange(0, clock.n_periods, round(24 / clock.period_h))
        end = np.minimum(start + round(24 / clock.period_h), clock.n_periods)
        work = self.deferrable * self.load * gpus * (end - start) * clock.period_h
        return dict(name=np.array([f"day{k + 1}" for k in range(len(start))]), work_gpu_h=work, start=start, end=end)
