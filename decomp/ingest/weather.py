"""From weather to power: cooling overhead, wind and sun. Arrays are (period,)."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from decomp.model.instance import Array

SHEAR = 1 / 7
CUT_IN, RATED, CUT_OUT = 3.0, 12.0, 25.0
PERFORMANCE = 0.86


def pue(temperature: Array) -> Array:
    """Facility power per IT power at an outside temperature in degC, 1.06 to 1.30."""
    return np.clip(7.17e-5 * temperature**2 + 0.0041 * temperature + 1.0743, 1.06, 1.30)


def wind_factor(speed: Array, height_m: float = 10.0, hub_m: float = 100.0) -> Array:
    """Output of a turbine over its rating at a wind speed in m/s measured some metres above ground.

    The speed grows to hub height with the 1/7 power of height; output grows with its cube from cut-in to rated.
    """
    hub = speed * (hub_m / height_m) ** SHEAR
    rising = (hub**3 - CUT_IN**3) / (RATED**3 - CUT_IN**3)
    return np.where(hub > CUT_OUT, 0.0, np.clip(rising, 0.0, 1.0))


def sun_position(start_utc: datetime, step: timedelta, n: int, latitude: float, longitude: float) -> Array:
    """Unit vectors to the sun at the middle of each period: east, north, up, (3, period).

    Low-precision formulas of the Astronomical Almanac: within 0.02 degrees for the years around 2000-2050.
    """
    seconds = (start_utc - datetime(2000, 1, 1, 12, tzinfo=start_utc.tzinfo)).total_seconds()
    days = (seconds + (np.arange(n) + 0.5) * step.total_seconds()) / 86400.0
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude_sun = np.radians(280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    tilt = np.radians(23.439 - 4e-7 * days)
    declination = np.arcsin(np.sin(tilt) * np.sin(longitude_sun))
    ascension = np.arctan2(np.cos(tilt) * np.sin(longitude_sun), np.cos(longitude_sun))
    sidereal = np.radians((18.697374558 + 24.06570982441908 * days) * 15.0 + longitude)
    hour, phi = sidereal - ascension, np.radians(latitude)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(phi) * np.sin(declination) - np.sin(phi) * np.cos(declination) * np.cos(hour)
    up = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour)
    return np.stack([east, north, up])


def cloudy_irradiance(cloud: Array, up: Array) -> Array:
    """Global horizontal irradiance, W/m2, at a cloud cover of 0 to 1: Haurwitz clear sky, Kasten-Czeplak clouds."""
    high = np.maximum(up, 1e-3)
    clear = np.where(up > 0, 1098.0 * high * np.exp(-0.059 / high), 0.0)
    return clear * (1.0 - 0.75 * cloud**3.4)


def solar_factor(irradiance: Array, sun: Array, latitude: float) -> Array:
    """Output over rating of fixed panels facing the equator, tilted by the latitude but at most 35 degrees.

    Global irradiance (W/m2, horizontal) is split by Erbs' diffuse fraction, the diffuse part is isotropic, and
    86 % of what falls on the panel reaches the meter (soiling, temperature, inverter).
    """
    up = np.maximum(sun[2], 0.0)
    clearness = np.clip(irradiance / np.maximum(1361.0 * up, 1e-9), 0.0, 1.0)
    k = clearness
    erbs = 0.9511 - 0.1604 * k + 4.388 * k**2 - 16.638 * k**3 + 12.336 * k**4
    share = np.where(k <= 0.22, 1.0 - 0.09 * k, np.where(k <= 0.8, erbs, 0.165))
    tilt = np.radians(min(abs(latitude), 35.0))
    towards = sun[2] * np.cos(tilt) - np.sign(latitude) * sun[1] * np.sin(tilt)
    beam = (1.0 - share) * irradiance * np.minimum(np.maximum(towards, 0.0) / np.maximum(up, 0.05), 10.0)
    diffuse = share * irradiance * (1 + np.cos(tilt)) / 2
    return np.where(up > 0, np.clip(PERFORMANCE * (beam + diffuse) / 1000.0, 0.0, 1.0), 0.0)
