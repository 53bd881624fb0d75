"""Synthetic weather: clock, sun, wind, temperature, and the cooling overhead that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np

from decomp.model.instance import Array
from decomp.model.times import stamp

Rng = np.random.Generator
YEAR = 2022


@dataclass(frozen=True)
class Clock:
    """The periods of an instance: how many, how long (h), and the day of the year they start on (UTC midnight)."""

    n_periods: int
    period_h: float
    day: int

    @property
    def hours(self) -> Array:
        """Middle of each period, hours since the start."""
        return (np.arange(self.n_periods) + 0.5) * self.period_h

    @property
    def horizon_h(self) -> float:
        return self.n_periods * self.period_h

    @property
    def start_utc(self) -> str:
        start = datetime(YEAR, 1, 1, tzinfo=timezone.utc) + timedelta(days=self.day - 1)
        return stamp(start)

    def local_hours(self, longitude: Array) -> Array:
        """Mean solar time of day, h, (place, period)."""
        return np.asarray((self.hours[None, :] + np.asarray(longitude)[:, None] / 15.0) % 24.0)


def smooth_noise(rng: Rng, rows: int, clock: Clock, memory_h: float) -> Array:
    """Stationary first-order autoregressive noise with unit variance, (rows, period)."""
    keep = np.exp(-clock.period_h / memory_h)
    noise = rng.standard_normal((clock.n_periods, rows))
    noise[1:] *= np.sqrt(1.0 - keep**2)
    for t in range(1, clock.n_periods):
        noise[t] += keep * noise[t - 1]
    return np.ascontiguousarray(noise.T)


def sine_of_elevation(latitude: Array, longitude: Array, clock: Clock) -> Array:
    """Sine of the sun's elevation, (place, period).

    Declination and equation of time after Spencer (1971), Fourier series representation of the position of the sun.
    """
    day = clock.day - 1 + clock.hours / 24.0
    angle = 2.0 * np.pi * (day - 0.5) / 365.0
    declination = (
        0.006918
        - 0.399912 * np.cos(angle)
        + 0.070257 * np.sin(angle)
        - 0.006758 * np.cos(2 * angle)
        + 0.000907 * np.sin(2 * angle)
        - 0.002697 * np.cos(3 * angle)
        + 0.00148 * np.sin(3 * angle)
    )
    minutes = 229.18 * (
        0.0000075
        + 0.001868 * np.cos(angle)
        - 0.032077 * np.sin(angle)
        - 0.014615 * np.cos(2 * angle)
        - 0.040849 * np.sin(2 * angle)
    )
    hour_angle = np.radians(15.0 * (clock.local_hours(longitude) + minutes / 60.0 - 12.0))
    lat = np.radians(np.asarray(latitude))[:, None]
    return np.asarray(np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(hour_angle))


def clear_sky_w_per_m2(latitude: Array, longitude: Array, clock: Clock) -> Array:
    """Global horizontal irradiance under a clear sky, W/m2, (place, period), after Haurwitz (1945)."""
    height = np.maximum(sine_of_elevation(latitude, longitude, clock), 1e-3)
    return np.asarray(np.where(height > 1e-3, 1098.0 * height * np.exp(-0.059 / height), 0.0))


def solar_factor(rng: Rng, latitude: Array, longitude: Array, clock: Clock) -> Array:
    """Solar output per installed power, (place, period): clear sky, clouds, 14 % of losses."""
    clouds = smooth_noise(rng, len(latitude), clock, 3.0) + rng.normal(0.3, 0.8, (len(latitude), 1))
    clearness = 1.0 - 0.7 / (1.0 + np.exp(2.0 * clouds))
    return 0.86 * clearness * clear_sky_w_per_m2(latitude, longitude, clock) / 1000.0


def wind_factor(rng: Rng, n: int, clock: Clock, mean: float = 0.36) -> Array:
    """Wind output per installed power, (place, period): smooth, between 0 and 1, `mean` over many places."""
    speed = 0.75 * smooth_noise(rng, n, clock, 10.0) + 0.66 * rng.standard_normal((n, 1))
    raw = 1.0 / (1.0 + np.exp(-(1.6 * speed + np.log(mean / (1.0 - mean)) * 1.35)))
    return np.asarray(np.where(raw < 0.03, 0.0, raw))


def temperature_c(rng: Rng, latitude: Array, longitude: Array, clock: Clock) -> Array:
    """Outside temperature, degrees Celsius, (place, period): latitude, season, time of day, noise."""
    lat = np.asarray(latitude)[:, None]
    season = np.cos(2.0 * np.pi * (clock.day + clock.hours / 24.0 - 200.0) / 365.0)[None, :]
    mean = 28.0 - 0.0065 * lat**2 + 0.28 * lat * season
    daily = 4.5 * np.cos(2.0 * np.pi * (clock.local_hours(longitude) - 15.0) / 24.0)
    noise = 1.5 * smooth_noise(rng, len(lat), clock, 12.0) + rng.normal(0.0, 2.0, (len(lat), 1))
    return np.asarray(mean + daily + noise)


def pue(temperature: Array) -> Array:
    """Facility power per IT power at an outside temperature in degrees Celsius, 1.06 to 1.30."""
    return np.clip(7.17e-5 * temperature**2 + 0.0041 * temperature + 1.0743, 1.06, 1.30)
