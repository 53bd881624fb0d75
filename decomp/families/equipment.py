"""The hardware of a site: power curve, batteries, generators, grid connection; and what it emits when busy."""

from __future__ import annotations

from typing import Any

import numpy as np

from decomp.devices.attach import attach
from decomp.devices.kind import Kind
from decomp.families import weather
from decomp.families.geography import Places
from decomp.families.weather import Clock
from decomp.model.instance import Array, Instance

Rng = np.random.Generator

MW_PER_GPU = 1.05e-3  # IT power of a training GPU at full load: an 8-GPU H100 server draws 8.4 kW
KNOTS = (0.4, 0.75)  # loads at which the power curve bends, as shares of the GPUs
SLOPES = (0.62, 0.85, 1.0)  # relative slopes of the segments: efficiency diminishes


def power_curve(rng: Rng, installed_gpu: Array) -> dict[str, Array]:
    """IT power of the sites: 15-25 % idle, then three segments of rising slope up to about 1.05 kW a GPU."""
    n = len(installed_gpu)
    full = MW_PER_GPU * rng.uniform(0.95, 1.05, n) * installed_gpu
    idle = rng.uniform(0.15, 0.25, n) * full
    slopes, knots = np.array(SLOPES), np.array(KNOTS)
    widths = np.diff(np.concatenate([[0.0], knots, [1.0]]))
    slopes = slopes / (slopes @ widths)
    steps = np.concatenate([[0.0], np.cumsum(-np.diff(slopes) * knots)])
    rise = (full - idle)[:, None]
    return dict(
        power_slope_mw_per_gpu=rise * slopes / installed_gpu[:, None], power_intercept_mw=idle[:, None] + rise * steps
    )


def it_power_mw(curve: dict[str, Any], load_gpu: Array) -> Array:
    """IT power at a load, MW, (site, period)."""
    slope, intercept = curve["power_slope_mw_per_gpu"], curve["power_intercept_mw"]
    power = slope[:, :1] * load_gpu + intercept[:, :1]
    for m in range(1, slope.shape[1]):
        np.maximum(power, slope[:, m : m + 1] * load_gpu + intercept[:, m : m + 1], out=power)
    return np.asarray(power)


def microgrids(
    rng: Rng, places: Places, clock: Clock, *, renewables: float, battery: float, exact: float
) -> tuple[dict[str, Any], Array]:
    """Sites with power curve, cooling, wind and sun at about half of them, battery and grid connection; and the
    facility power of each at full load on its hottest period, MW, (site,). A quarter cannot run full on the grid alone.
    """
    n, latitude, longitude = len(places), places.latitude, places.longitude
    curve = power_curve(rng, places.gpus)
    cooling = weather.pue(weather.temperature_c(rng, latitude, longitude, clock))
    peak = it_power_mw(curve, places.gpus[:, None])[:, 0] * cooling.max(axis=1)
    wind = renewables * rng.uniform(0.2, 0.8, n) * (rng.random(n) < 0.4) * peak
    sun = renewables * rng.uniform(0.2, 0.6, n) * (rng.random(n) < 0.5) * peak
    grid = np.where(rng.random(n) < 0.25, 0.85, 1.15) * peak
    table = dict(
        latitude=latitude,
        longitude=longitude,
        capacity_gpu=np.repeat(places.gpus[:, None], clock.n_periods, axis=1),
        **curve,
        exact_power_curve=rng.random(n) < exact,
        pue=cooling,
        wind_mw=wind[:, None] * weather.wind_factor(rng, n, clock),
        solar_mw=sun[:, None] * weather.solar_factor(rng, latitude, longitude, clock),
        import_limit_mw=np.repeat(grid[:, None], clock.n_periods, axis=1),
        export_limit_mw=np.repeat(0.5 * peak[:, None], clock.n_periods, axis=1),
        **batteries(rng, peak, battery),
    )
    return table, peak


def batteries(rng: Rng, peak_mw: Array, scale: float) -> dict[str, Array]:
    """Batteries of 2-4 h at 20-40 % of the site's power; 85 % round trip, half full at both ends."""
    power = scale * rng.uniform(0.2, 0.4, len(peak_mw)) * peak_mw
    energy = rng.uniform(2.0, 4.0, len(peak_mw)) * power
    return dict(
        battery_mwh=energy,
        battery_min_mwh=0.05 * energy,
        battery_initial_mwh=0.5 * energy,
        battery_final_mwh=0.5 * energy,
        charge_mw=power,
        discharge_mw=power,
        charge_efficiency=np.full(len(power), 0.922),
        discharge_efficiency=np.full(len(power), 0.922),
        self_discharge_per_h=np.full(len(power), 2e-4),
        wear_usd_per_mwh=rng.uniform(15.0, 30.0, len(power)),
    )


def generators(rng: Rng, peak_mw: Array, share: float, clock: Clock) -> dict[str, Array]:
    """One gas engine at a share of the sites: 40 % least output, minimum times, ramps, start and no-load costs."""
    n = round(share * len(peak_mw))
    site = np.sort(rng.permutation(len(peak_mw))[:n])
    p_max = rng.uniform(0.3, 0.6, n) * peak_mw[site]
    on = rng.random(n) < 0.3
    hours = rng.integers(2, 5, (2, n))
    return dict(
        site=site,
        p_min_mw=0.4 * p_max,
        p_max_mw=p_max,
        fuel_usd_per_mwh=rng.uniform(38.0, 70.0, n),
        no_load_usd_per_h=rng.uniform(4.0, 10.0, n) * p_max,
        start_usd=rng.uniform(20.0, 60.0, n) * p_max,
        ramp_up_mw_per_h=rng.uniform(0.5, 1.5, n) * p_max,
        ramp_down_mw_per_h=rng.uniform(0.5, 1.5, n) * p_max,
        min_up_periods=np.rint(hours[0] / clock.period_h).astype(int),
        min_down_periods=np.rint(hours[1] / clock.period_h).astype(int),
        emission_t_per_mwh=rng.uniform(0.38, 0.48, n),
        initial_mw=np.where(on, rng.uniform(0.4, 1.0, n) * p_max, 0.0),
        initial_periods=np.rint(rng.uniform(1.0, 12.0, n) / clock.period_h).astype(int),
    )


def emissions_t(table: dict[str, Any], load_gpu: Array, clock: Clock) -> float:
    """Emissions of the fleet if it carried this load, (site, period), on its wind, its sun and the grid, t CO2."""
    own = table.get("wind_mw", 0.0) + table.get("solar_mw", 0.0)
    drawn = np.maximum(0.0, table["pue"] * it_power_mw(table, load_gpu) - own)
    return float(clock.period_h * (table["carbon_intensity"] * drawn).sum())


def with_devices(instance: Instance, share: float, *kinds: Kind) -> Instance:
    """The instance with devices at a share of its sites, drawn from its own seed; as it is for a share of 0."""
    chosen = np.random.default_rng([instance.seed, len(kinds)]).permutation(instance.n_sites)
    names = instance.sites.name[np.sort(chosen[: round(share * instance.n_sites)])].tolist()
    for kind in kinds if names else ():
        instance = attach(instance, names, kind)
    return instance
