"""Refusal of sites that cannot be: generators, batteries, and power that does not add up.

A site's checks need only its own rows, so that a rank can do its part alone.
"""

from __future__ import annotations

import numpy as np

from decomp.model.device_ranges import power_range
from decomp.model.microgrids import Microgrids
from decomp.model.reach import charged
from decomp.model.records import Generators, Sites
from decomp.model.refusal import (
    NUMBER_LIMIT,
    Label,
    check_columns,
    check_dimensions,
    check_index,
    check_names,
    check_shapes,
    named,
    refuse,
)
from decomp.model.rounding import fits
from decomp.model.table import Array, InputError
from decomp.model.validate_devices import validate_devices


def validate_sites(grids: Microgrids, period_h: float) -> None:
    """Check some sites and their generators, whose `site` counts within the given sites."""
    sites, generators = grids.sites, grids.generators
    for name, table in (("sites", sites), ("generators", generators)):
        check_dimensions(name, table)
    n_sites, n_periods = sites.capacity_gpu.shape
    sizes = dict(site=n_sites, period=n_periods, segment=sites.power_slope_mw_per_gpu.shape[1])
    for dim, size in sizes.items():
        if size == 0 and dim != "site":
            raise InputError(f"sites: there is no {dim}, must be at least one")
    check_shapes("sites", sites, sizes)
    check_shapes("generators", generators, dict(generator=len(generators.site)))
    site = named("site", sites.name)
    check_columns("sites", sites, site)
    check_names("sites", "site", sites.name)
    check_index("generators", generators, "generator", "site", n_sites)
    generator: Label = lambda k: f"generator {k} at {site(generators.site[k])}"  # noqa: E731
    check_columns("generators", generators, generator)
    _check_generators(generators, generator)
    _check_battery(sites, site, period_h)
    if len(grids.devices.site):
        validate_devices(grids)
    _check_power(grids, site, period_h)


def _check_generators(g: Generators, label: Label) -> None:
    unsorted = np.diff(g.site, prepend=0) < 0
    refuse(unsorted, "generators.site", label, "comes after a generator of a later site; sort the rows by site")
    refuse(
        ~fits(g.p_min_mw, g.p_max_mw),
        "generators.p_min_mw",
        label,
        "{low:g} MW, must be at most p_max_mw = {high:g} MW",
        low=g.p_min_mw,
        high=g.p_max_mw,
    )
    outside = (g.initial_mw > 0) & ~(fits(g.p_min_mw, g.initial_mw) & fits(g.initial_mw, g.p_max_mw))
    refuse(
        outside,
        "generators.initial_mw",
        label,
        "{value:g} MW, must be 0 or between {low:g} and {high:g} MW",
        value=g.initial_mw,
        low=g.p_min_mw,
        high=g.p_max_mw,
    )


def _check_battery(s: Sites, site: Label, period_h: float) -> None:
    """Efficiencies, powers and energies fit together, and the stored energy can follow its bounds (equation 6)."""
    for name in ("charge_efficiency", "discharge_efficiency", "charge_mw", "discharge_mw"):
        value = getattr(s, name)
        text = "{value:g}, must be above 0 where there is a battery"
        refuse((s.battery_mwh > 0) & (value <= 0), f"sites.{name}", site, text, value=value)
    for name in ("battery_min_mwh", "battery_initial_mwh", "battery_final_mwh"):
        value = getattr(s, name)
        text = "{value:g} MWh, must be at most battery_mwh = {most:g} MWh"
        refuse(~fits(value, s.battery_mwh), f"sites.{name}", site, text, value=value, most=s.battery_mwh)
    refuse(
        ~fits(s.battery_min_mwh, s.battery_initial_mwh),
        "sites.battery_initial_mwh",
        site,
        "{value:g} MWh, must be at least battery_min_mwh = {least:g} MWh",
        value=s.battery_initial_mwh,
        least=s.battery_min_mwh,
    )
    lowest, stored = charged(s, period_h)
    for name, most in (("battery_min_mwh", lowest), ("battery_final_mwh", stored)):
        value = getattr(s, name)
        bad = ~fits(value, most)
        text = "{value:g} MWh cannot be reached: charging all the time gives {most:g} MWh"
        refuse(bad, f"sites.{name}", site, text, value=value, most=most)


def _check_power(grids: Microgrids, site: Label, period_h: float) -> None:
    """Each site can power its idle load, and get rid of what it cannot turn off, in every period (equations 2-4)."""
    s = grids.sites
    drawn, given = power_range(grids)
    idle = s.power_intercept_mw.max(axis=1)
    text = "idle power is {idle:g} MW, must be at least 0 in some segment"
    refuse(idle < 0, "sites.power_intercept_mw", site, text, idle=idle)
    battery = s.battery_mwh > 0
    least, most = _generation_range(grids.generators, s.capacity_gpu.shape, period_h)
    renewable = s.wind_mw + s.solar_mw
    need = s.pue * idle[:, None]
    supply = s.import_limit_mw + renewable + most + (battery * s.discharge_mw)[:, None] + given
    text = "idle load needs {need:g} MW, but imports, wind, sun, generators and battery give at most {supply:g} MW"
    bad = ~fits(need, supply)
    refuse(bad, "sites.import_limit_mw", site, text, need=need, supply=supply)
    full = s.it_power_mw(s.capacity_gpu)
    text = f"{{full:g}} MW at full load, must be at most {NUMBER_LIMIT:g} MW"
    refuse(full > NUMBER_LIMIT, "sites.power_slope_mw_per_gpu", site, text, full=full)
    forced = least + np.where(s.curtailable[:, None], 0.0, renewable)
    sink = s.pue * full + s.export_limit_mw + (battery * s.charge_mw)[:, None] - drawn
    text = "{forced:g} MW cannot be turned off, but full load, export and battery take at most {sink:g} MW"
    bad = ~fits(forced, sink)
    refuse(bad, "sites.export_limit_mw", site, text, forced=forced, sink=sink)


def _generation_range(g: Generators, shape: tuple[int, ...], period_h: float) -> tuple[Array, Array]:
    """Least and largest generation of each site, (site, period), MW, given the generators' initial state (equation 7).

    An upper limit needs ramps and remaining down time only; a lower one counts a generator until it may stop.
    """
    n_sites, n_periods = shape
    least, most = np.zeros(shape), np.zeros(shape)
    up, down = (np.minimum(ramp * period_h, g.p_max_mw) for ramp in (g.ramp_up_mw_per_h, g.ramp_down_mw_per_h))
    on = g.initial_mw > 0
    stay_on = np.where(on, g.min_up_periods - g.initial_periods, 0)
    stay_off = np.where(on, 0, g.min_down_periods - g.initial_periods).clip(0)
    held = on
    for t in range(n_periods):
        before = np.maximum(g.p_min_mw, g.initial_mw - down * t)
        held = held & ((t < stay_on) | ~fits(before, np.maximum(g.p_min_mw, down)))
        low = held * np.maximum(g.p_min_mw, g.initial_mw - down * (t + 1))
        started = np.maximum(g.p_min_mw, up) + up * (t - stay_off)
        high = np.where(on, g.initial_mw + up * (t + 1), (t >= stay_off) * started)
        least[:, t] = np.bincount(g.site, low, n_sites)
        most[:, t] = np.bincount(g.site, np.minimum(high, g.p_max_mw), n_sites)
    return least, most
