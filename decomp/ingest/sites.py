"""One site of the spec: its series, tariff, power curve, battery and generators as columns of the instance."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from decomp.families.weather import pue
from decomp.ingest import weather
from decomp.ingest.keys import within
from decomp.ingest.layout import Series
from decomp.ingest.library import Library
from decomp.ingest.series import read_series
from decomp.ingest.spec import Battery, Generator, GeneratorType, Horizon, Site
from decomp.ingest.units import OF_STREAMS, QUANTITIES
from decomp.model.instance import Array, InputError

RIVALS = (("temperature", "pue"), ("wind_speed", "wind_factor"), ("cloud", "irradiance", "solar_factor"))


def with_series(site: Site, given: dict[str, Series]) -> Site:
    """The site with some series in place of its own, and of those that say the same in other quantities."""
    replaced = {other for names in RIVALS if given.keys() & set(names) for other in names}
    return replace(site, series={k: v for k, v in site.series.items() if k not in replaced} | given)


def site_columns(site: Site, horizon: Horizon, library: Library) -> dict[str, Any]:
    """Columns of one row of the sites table, without the power curve; series are (period,)."""
    for name in site.series:
        if name not in QUANTITIES or name in OF_STREAMS:
            known = ", ".join(q for q in QUANTITIES if q not in OF_STREAMS)
            raise InputError(f"series.{name}: no such quantity of a site; known are {known}")
    series: dict[str, Array] = {}
    for name, declared in site.series.items():
        with within(f"series {name}"):
            series[name] = read_series(library, name, declared, horizon, site.tags)
    for name in ("price", "carbon"):
        if name not in series:
            raise InputError(f"series.{name}: missing")
    none = np.zeros(horizon.periods)
    tariff, price = site.tariff, series["price"]
    selling = series.get("sell_price", price)
    return dict(
        name=site.name,
        latitude=site.latitude,
        longitude=site.longitude,
        capacity_gpu=site.gpus * series.get("availability", np.ones(horizon.periods)),
        exact_power_curve=site.exact_power_curve,
        pue=_pue(series),
        import_limit_mw=np.full(horizon.periods, site.import_limit_mw),
        export_limit_mw=np.full(horizon.periods, site.export_limit_mw),
        buy_price=tariff.buy_factor * price + tariff.buy_adder_usd_per_mwh,
        sell_price=tariff.sell_factor * selling + tariff.sell_adder_usd_per_mwh,
        demand_charge=tariff.demand_charge_usd_per_mw,
        peak_so_far_mw=tariff.peak_so_far_mw,
        carbon_intensity=series["carbon"],
        export_credit=site.export_credit_share * series["carbon"],
        wind_mw=site.wind_capacity_mw * _wind(site, series) if site.wind_capacity_mw else none,
        solar_mw=site.solar_capacity_mw * _solar(site, series, horizon) if site.solar_capacity_mw else none,
        curtailable=site.curtailable,
        **battery_columns(site.battery or Battery(energy_mwh=0.0, power_mw=0.0)),
    )


def _one(series: dict[str, Array], names: tuple[str, ...], what: str) -> str:
    """The one series of `names` that is given."""
    given = [n for n in names if n in series]
    if len(given) != 1:
        raise InputError(f"{what} needs exactly one of the series {', '.join(names)}; there are {len(given)}")
    return given[0]


def _pue(series: dict[str, Array]) -> Array:
    name = _one(series, RIVALS[0], "facility power")
    return pue(series[name]) if name == "temperature" else series[name]


def _wind(site: Site, series: dict[str, Array]) -> Array:
    name = _one(series, RIVALS[1], "wind_capacity_mw")
    if name == "wind_factor":
        return series[name]
    return weather.wind_factor(series[name], site.series[name].wind_height_m, site.hub_height_m)


def _solar(site: Site, series: dict[str, Array], horizon: Horizon) -> Array:
    name = _one(series, RIVALS[2], "solar_capacity_mw")
    if name == "solar_factor":
        return series[name]
    sun = weather.sun_position(horizon.start_utc, horizon.step, horizon.periods, site.latitude, site.longitude)
    falling = weather.cloudy_irradiance(series[name], sun) if name == "cloud" else series[name]
    if name == "cloud" or site.series[name].plane == "horizontal":
        falling = weather.panel_irradiance(falling, sun, site.latitude)
    return weather.solar_factor(falling)


def battery_columns(battery: Battery) -> dict[str, Any]:
    """Battery columns; the round-trip loss is split evenly between charging and discharging."""
    one_way = math.sqrt(battery.round_trip)
    if battery.minimum > min(battery.initial, battery.final):
        raise InputError(f"battery.minimum = {battery.minimum}: must not exceed initial and final")
    return dict(
        battery_mwh=battery.energy_mwh,
        battery_min_mwh=battery.minimum * battery.energy_mwh,
        battery_initial_mwh=battery.initial * battery.energy_mwh,
        battery_final_mwh=battery.final * battery.energy_mwh,
        charge_mw=battery.power_mw,
        discharge_mw=battery.power_mw,
        charge_efficiency=one_way,
        discharge_efficiency=one_way,
        self_discharge_per_h=battery.self_discharge_per_h,
        wear_usd_per_mwh=battery.wear_usd_per_mwh,
    )


def power_curves(sites: list[Site]) -> dict[str, Any]:
    """Slopes (MW/GPU) and intercepts (MW) of the segments, (site, segment); short curves repeat their last segment."""
    lines = []
    for site in sites:
        with within(f"site {site.name}"):
            lines.append(power_lines(site))
    n = max(len(slope) for slope, _ in lines)
    slopes, intercepts = ([np.pad(line[k], (0, n - len(line[k])), mode="edge") for line in lines] for k in (0, 1))
    return dict(power_slope_mw_per_gpu=np.array(slopes), power_intercept_mw=np.array(intercepts))


def power_lines(site: Site) -> tuple[Array, Array]:
    """Slope and intercept of each segment of one site's curve, (segment,)."""
    points = site.power_curve
    if len(points) < 2 or any(len(p) != 2 for p in points):
        raise InputError(f"power_curve = {points}: must be two or more points [share of load, share of IT power]")
    load, power = np.array(points).T
    if load[0] != 0 or load[-1] != 1 or power[0] < 0 or abs(power[-1] - 1) > 1e-9 or (np.diff(load) <= 0).any():
        raise InputError(f"power_curve = {points}: must rise from [0, idle share] to [1, 1]")
    slope = np.diff(power) / np.diff(load)
    if slope[0] < 0 or (np.diff(slope) < -1e-9).any():
        raise InputError(
            f"power_curve = {points}: slopes {slope.round(3).tolist()} must be positive and rising (convex)"
        )
    full_mw = site.gpus * site.kw_per_gpu / 1000.0
    return slope * full_mw / site.gpus, (power[:-1] - slope * load[:-1]) * full_mw


def generator_columns(sites: list[Site], types: dict[str, GeneratorType], horizon: Horizon) -> dict[str, Any]:
    """The generators table, rows in the order of sites."""
    rows = [_generator(k, site, unit, types, horizon) for k, site in enumerate(sites) for unit in site.generators]
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _generator(
    k: int, site: Site, unit: Generator, types: dict[str, GeneratorType], horizon: Horizon
) -> dict[str, Any]:
    """A unit of site number k as a row of the table."""
    if unit.type not in types:
        raise InputError(f"site {site.name}: generator type {unit.type!r} is not in [generators]: {', '.join(types)}")
    kind, mw, period_h = types[unit.type], unit.mw, horizon.period_min / 60
    least = kind.min_share * mw
    return dict(
        site=k,
        p_min_mw=least,
        p_max_mw=mw,
        fuel_usd_per_mwh=kind.fuel_usd_per_mwh,
        no_load_usd_per_h=kind.no_load_usd_per_mw_h * mw,
        start_usd=kind.start_usd_per_mw * mw,
        ramp_up_mw_per_h=kind.ramp_share_per_h * mw if mw > 0 else 0.0,
        ramp_down_mw_per_h=kind.ramp_share_per_h * mw if mw > 0 else 0.0,
        min_up_periods=max(1, math.ceil(kind.min_up_h / period_h - 1e-9)),
        min_down_periods=max(1, math.ceil(kind.min_down_h / period_h - 1e-9)),
        emission_t_per_mwh=kind.emission_t_per_mwh,
        initial_mw=(least or mw) if unit.on else 0.0,
    )
