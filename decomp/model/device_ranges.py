"""How small and how large what a device does can be: its power, and the entries of its rows, from bounds alone."""

from __future__ import annotations

import numpy as np

from decomp.model.microgrids import Microgrids
from decomp.model.records import QUANTITIES
from decomp.model.table import Array


def power_range(grids: Microgrids) -> tuple[Array, Array]:
    """Least and largest net power that devices give each site (site, period), MW."""
    v, shape = grids.device_variables, grids.sites.capacity_gpu.shape
    least, most, at = np.zeros(shape), np.zeros(shape), np.flatnonzero(v.power)
    place = grids.devices.site[v.device[at]], v.period[at]
    ends = np.sort([v.power[at] * v.low[at], v.power[at] * v.high[at]], axis=0)
    np.add.at(least, place, ends[0])
    np.add.at(most, place, ends[1])
    return least, most


def entry_range(grids: Microgrids) -> tuple[Array, Array]:
    """Least and largest value of coefficient times quantity, of every entry (device_entry,)."""
    e, v, g = grids.device_entries, grids.device_variables, grids.generators
    device = grids.device_rows.device[e.row]
    site = grids.devices.site[device]
    low, high = np.zeros(len(e.row)), np.zeros(len(e.row))
    own = np.flatnonzero(e.quantity == 0)
    variable = np.searchsorted(v.device, device[own]) + e.at[own]
    low[own], high[own] = v.low[variable], v.high[variable]
    made = np.flatnonzero(e.quantity == len(QUANTITIES) - 1)
    high[made] = g.p_max_mw[np.searchsorted(g.site, site[made]) + e.at[made]]
    for number, (least, most) in enumerate(site_ranges(grids), start=1):
        mine = np.flatnonzero(e.quantity == number)
        at = site[mine], e.period[mine]
        low[mine], high[mine] = least[at], most[at]
    ends = np.sort([e.coefficient * low, e.coefficient * high], axis=0)
    return ends[0], ends[1]


def site_ranges(grids: Microgrids) -> list[tuple[Array, Array]]:
    """Bounds of what rows may use of a site, each (site, period), in the order of QUANTITIES."""
    s = grids.sites
    zero, battery = np.zeros_like(s.pue), (s.battery_mwh > 0)[:, None]
    idle = np.maximum(s.power_intercept_mw.max(axis=1), 0.0)[:, None] + zero
    top, available = np.maximum(s.it_power_mw(s.capacity_gpu), idle), s.wind_mw + s.solar_mw

    def at_battery(value: Array) -> Array:
        return np.where(battery, value[:, None], 0.0) + zero

    return [
        (zero, s.capacity_gpu),
        (idle, top),
        (s.pue * idle, s.pue * top),
        (zero, s.import_limit_mw),
        (zero, s.export_limit_mw),
        (np.where(s.curtailable[:, None], 0.0, available), available),
        (zero, at_battery(s.charge_mw)),
        (zero, at_battery(s.discharge_mw)),
        (at_battery(s.battery_min_mwh), at_battery(s.battery_mwh)),
    ]
