"""Family `paper`: three sites, a day of hours, six rigid training jobs, three inference classes.

A synthetic instance of the size studied in arXiv 2605.03751, whose parameters are not public: a windy site in west
Texas, a sunny one in the Californian desert and a metropolitan one in Virginia, with prices, carbon intensities and
cooling of the published figures. Most of the work is wanted at the metropolis, most of the energy is elsewhere; the
carbon budget binds only weakly. The seed varies weather, prices and work by some per cent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from decomp.families import equipment, markets, weather
from decomp.families.assemble import assembled
from decomp.families.family import Family, Request, setting
from decomp.families.geography import distance_km, round_trip_ms
from decomp.families.weather import Clock
from decomp.model.instance import Array, Instance

Rng = np.random.Generator

NAMES = np.array(["plains", "desert", "metro"])
LATITUDE = np.array([32.4, 33.7, 39.0])
LONGITUDE = np.array([-100.9, -115.5, -77.5])
GPUS = np.array([6144.0, 6144.0, 8192.0])
WIND_MW = np.array([40.0, 0.0, 0.0])
SOLAR_MW = np.array([0.0, 45.0, 3.0])
EXPORT_MW = np.array([30.0, 30.0, 4.0])
BATTERY_MWH = np.array([24.0, 60.0, 16.0])
BATTERY_MW = np.array([8.0, 15.0, 6.0])
WEAR = np.array([18.0, 15.0, 20.0])
TRADED = (markets.ERCOT, markets.CAISO, markets.PJM)

# Inference classes: name, service time ms, round trip allowed ms, origin, mean GPUs, GPUs per request per second,
# revenue and penalty in USD/(GPU h). Jobs: GPUs, hours, release, deadline, value in USD/(GPU h), home site.
# Revenues and values are margins: what is left for energy when hardware and staff are paid.
STREAMS = (
    ("chat", 450.0, 60.0, 2, 6000.0, 2.5, 0.12, 0.30),
    ("assistant", 450.0, 40.0, 1, 2800.0, 2.5, 0.11, 0.25),
    ("agents", 6000.0, 500.0, 0, 2800.0, 20.0, 0.08, 0.10),
)
JOBS = (
    (3072, 8, 0, 16, 0.14, 2),
    (2048, 6, 2, 14, 0.17, 2),
    (2560, 5, 8, 20, 0.15, 2),
    (1536, 9, 0, 24, 0.10, 1),
    (2048, 4, 10, 22, 0.12, 1),
    (1024, 10, 4, 22, 0.11, 0),
)


@dataclass(frozen=True)
class Paper(Family):
    """Three sites, 24 hours, six training jobs, three inference classes; solved to optimality in seconds."""

    fixed: ClassVar[tuple[str, ...]] = ("sites", "periods", "jobs", "streams")

    day: int = setting(110, "day of the year", low=1, high=365)
    battery: float = setting(1.0, "scale of the batteries", low=0.0, high=10.0)
    renewables: float = setting(1.0, "scale of wind and sun", low=0.0, high=10.0)
    generator: float = setting(1.0, "scale of the gas engine of the metropolis", low=0.0, high=10.0)
    latency: float = setting(1.0, "scale of the round trips allowed", low=0.0, high=100.0)
    demand: float = setting(1.0, "scale of the inference demand", low=0.0, high=10.0)
    budget: float = setting(1.05, "carbon budget, share of the emissions of work spread evenly", low=0.2, high=100.0)
    negative: float = setting(0.0, "share of negative prices", low=0.0, high=0.5)

    def instance(self, request: Request) -> Instance:
        clock = Clock(24, 1.0, self.day)
        rngs = np.random.default_rng(request.seed).spawn(4)
        table = self._sites(rngs[0], rngs[1], clock)
        sections = self._work(rngs[2], rngs[3], clock)
        return assembled("paper", request, clock, self.budget, table, self._generators(), sections)

    def _sites(self, rng: Rng, rng_prices: Rng, clock: Clock) -> dict[str, Any]:
        curve = equipment.power_curve(rng, GPUS)
        peak = 1.3 * equipment.it_power_mw(curve, GPUS[:, None])
        market = np.arange(len(NAMES))
        wind = weather.wind_factor(rng, len(NAMES), clock, mean=0.42)
        sun = weather.solar_factor(rng, LATITUDE, LONGITUDE, clock)
        traded = markets.tariffs(
            rng_prices, TRADED, market, peak[:, 0], clock, markets.Chances(0.0, self.negative, 0.0)
        )
        return dict(
            name=NAMES,
            latitude=LATITUDE,
            longitude=LONGITUDE,
            capacity_gpu=np.repeat(GPUS[:, None], clock.n_periods, axis=1),
            **curve,
            pue=weather.pue(weather.temperature_c(rng, LATITUDE, LONGITUDE, clock)),
            wind_mw=self.renewables * WIND_MW[:, None] * wind,
            solar_mw=self.renewables * SOLAR_MW[:, None] * sun,
            import_limit_mw=np.repeat(peak, clock.n_periods, axis=1),
            export_limit_mw=np.repeat(EXPORT_MW[:, None], clock.n_periods, axis=1),
            battery_mwh=self.battery * BATTERY_MWH,
            battery_min_mwh=self.battery * 0.05 * BATTERY_MWH,
            battery_initial_mwh=self.battery * 0.5 * BATTERY_MWH,
            battery_final_mwh=self.battery * 0.5 * BATTERY_MWH,
            charge_mw=self.battery * BATTERY_MW,
            discharge_mw=self.battery * BATTERY_MW,
            wear_usd_per_mwh=WEAR,
            **traded,
        )

    def _generators(self) -> dict[str, Any]:
        """One gas engine at the metropolis."""
        if not self.generator:
            return {}
        return dict(
            site=[2],
            p_min_mw=self.generator * 2.4,
            p_max_mw=self.generator * 6.0,
            fuel_usd_per_mwh=42.0,
            no_load_usd_per_h=self.generator * 30.0,
            start_usd=self.generator * 200.0,
            ramp_up_mw_per_h=self.generator * 4.0,
            ramp_down_mw_per_h=self.generator * 4.0,
            min_up_periods=4,
            min_down_periods=3,
            emission_t_per_mwh=0.40,
        )

    def _work(self, rng: Rng, rng_streams: Rng, clock: Clock) -> dict[str, dict[str, Any]]:
        gpus, periods, release, deadline, value, home = (np.array(column) for column in zip(*JOBS, strict=True))
        n = len(JOBS)
        gpus = np.rint(gpus * rng.uniform(0.95, 1.05, n))
        away = (home[:, None] + np.arange(len(NAMES))) % len(NAMES)  # home first
        gpu_h = gpus * periods * clock.period_h
        move = np.where(away == home[:, None], 0.0, 0.01) * gpu_h[:, None]
        jobs = dict(gpus=gpus, periods=periods, release=release, deadline=deadline)
        jobs["value_usd"] = value * rng.uniform(0.95, 1.05, n) * gpu_h
        candidates = dict(job=np.repeat(np.arange(n), len(NAMES)), site=away.ravel(), cost_usd=move.ravel())
        streams, arcs = self._streams(rng_streams, clock)
        return dict(jobs=jobs, candidates=candidates, streams=streams, arcs=arcs, pools={}, pool_arcs={})

    def _streams(self, rng: Rng, clock: Clock) -> tuple[dict[str, Any], dict[str, Any]]:
        name, service, allowed, origin, mean, per_rps, revenue, penalty = (
            np.array(column) for column in zip(*STREAMS, strict=True)
        )
        trip = round_trip_ms(distance_km(LATITUDE[origin], LONGITUDE[origin], LATITUDE, LONGITUDE))
        limit = np.maximum(self.latency * allowed, trip.min(axis=1))
        stream, site = np.nonzero(trip <= limit[:, None])
        local = clock.local_hours(LONGITUDE[origin])
        shape = 1.0 + 0.35 * np.cos(2.0 * np.pi * (local - 15.0) / 24.0)
        shape *= 1.0 + 0.02 * rng.standard_normal(shape.shape)
        demand = self.demand * (mean * rng.uniform(0.97, 1.03, len(mean)))[:, None] * shape
        streams = dict(
            name=name,
            origin=NAMES[origin],
            service_class=name,
            demand_rps=demand / per_rps[:, None],
            gpu_per_rps=per_rps,
            latency_limit_ms=service + limit,
            service_ms=service,
            revenue=revenue,
            unserved_penalty=penalty,
        )
        hops: Array = trip[stream, site]
        return streams, dict(stream=stream, site=site, round_trip_ms=hops, cost=2e-4 * hops)
