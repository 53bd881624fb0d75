"""From weather to power: wind and sun. Arrays are (period,)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from decomp.model.instance import Array

SHEAR = 1 / 7
CUT_IN, RATED, CUT_OUT = 3.0, 12.0, 25.0
PERFORMANCE = 0.86  # soiling, temperature, inverter


def wind_factor(speed: Array, height_m: float = 10.0, hub_m: float = 100.0) -> Array:
    """Output of a turbine over its rating at a wind speed in m/s measured some metres above ground.

    The speed grows to hub height with the 1/7 power of height; output grows with its cube from cut-in to rated.
    """
    hub = speed * (hub_m / height_m) ** SHEAR
    rising = (hub**3 - CUT_IN**3) / (RATED**3 - CUT_IN**3)
    return np.where(hub > CUT_OUT, 0.0, np.clip(rising, 0.0, 1.0))


def sun_position(start_utc: datetime, step: timedelta, n: int, latitude: float, longitude: float) -> Any:
    """Where the sun stands at the middle of each period: zenith and azimuth, degrees, by pvlib (NREL's algorithm)."""
    import pandas as pd
    from pvlib.solarposition import get_solarposition

    middles = pd.date_range(start_utc + step / 2, periods=n, freq=step)
    return get_solarposition(middles, latitude, longitude)[["zenith", "azimuth"]]


def cloudy_irradiance(cloud: Array, sun: Any) -> Array:
    """Global horizontal irradiance, W/m2, at a cloud cover of 0 to 1: Haurwitz clear sky, Kasten-Czeplak clouds."""
    from pvlib.clearsky import haurwitz

    clear: Array = haurwitz(sun["zenith"])["ghi"].to_numpy()
    return clear * (1.0 - 0.75 * cloud**3.4)


def panel_irradiance(irradiance: Array, sun: Any, latitude: float) -> Array:
    """Irradiance, W/m2, on fixed panels facing the equator, tilted by the latitude but at most 35 degrees.

    Global irradiance (W/m2, horizontal) is split by Erbs' diffuse fraction, the diffuse part is isotropic; what the
    ground reflects is left out.
    """
    from pvlib.irradiance import erbs, get_total_irradiance

    split = erbs(irradiance, sun["zenith"], sun.index.day_of_year)
    total = get_total_irradiance(
        surface_tilt=min(abs(latitude), 35.0),
        surface_azimuth=180.0 if latitude >= 0 else 0.0,
        solar_zenith=sun["zenith"],
        solar_azimuth=sun["azimuth"],
        dni=split["dni"],
        ghi=irradiance,
        dhi=split["dhi"],
        albedo=0.0,
    )
    return np.where(sun["zenith"] < 90.0, total["poa_global"], 0.0)


def solar_factor(irradiance: Array) -> Array:
    """Output over rating of panels on which an irradiance in W/m2 falls: 86 % of it reaches the meter."""
    return np.clip(PERFORMANCE * irradiance / 1000.0, 0.0, 1.0)
