"""What can be: import without export and the reverse, rows that ask for both at once, equipment within what it can do.

Limits may be as wide as one likes; a solver's tolerances are shares of them, so models take what can be reached.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decomp.model.device_ranges import power_range
from decomp.model.instance import QUANTITIES, Array, Microgrids
from decomp.model.rounding import most


def grid_reach(grids: Microgrids) -> tuple[Array, Array]:
    """The most that each site imports without export, and exports without import, (site, period), MW (4, 5).

    All that the site can use at full load less what it must generate, and all that it can generate less its idle load.
    """
    s, g = grids.sites, grids.generators
    full, idle = _power_mw(grids)
    charge, discharge = (np.where(s.battery_mwh > 0, mw, 0.0)[:, None] for mw in (s.charge_mw, s.discharge_mw))
    drawn, given = power_range(grids)
    available = s.wind_mw + s.solar_mw
    use = s.pue * full + charge - np.where(s.curtailable[:, None], 0.0, available) + np.maximum(-drawn, 0.0)
    spare = available + discharge + np.bincount(g.site, g.p_max_mw, len(s.name))[:, None] - s.pue * idle
    most_in, most_out = (np.maximum(most(mw), 0.0) for mw in (use, spare + np.maximum(given, 0.0)))
    return np.minimum(most_in, s.import_limit_mw), np.minimum(most_out, s.export_limit_mw)


def both_tempt(grids: Microgrids) -> Array:
    """Where (site, period), bool, some row of a device could want import and export at once.

    Lowering both by the same amount leaves a row of net import as it is, and eases one that only limits import; a row
    that it could break is what asks for a ban (5) that the prices alone do not ask for.
    """
    e, r = grids.device_entries, grids.device_rows
    tempting = np.zeros(grids.sites.capacity_gpu.shape, dtype=bool)
    used = np.flatnonzero(np.isin(e.quantity, [QUANTITIES.index("grid_import"), QUANTITIES.index("grid_export")]))
    place, number = np.unique(np.stack([e.row[used], e.period[used]]), axis=1, return_inverse=True)
    rise = np.bincount(number.ravel(), e.coefficient[used], minlength=place.shape[1])  # by a MW more of both
    low, high = r.low[place[0]], r.high[place[0]]
    row, period = place[:, (rise > 0) & np.isfinite(low) | (rise < 0) & np.isfinite(high)]
    tempting[grids.devices.site[r.device[row]], period] = True
    return tempting


def usable(grids: Microgrids, period_h: float) -> Microgrids:
    """The sites with batteries and generators no larger than what their sites can supply, take and store (4, 6, 7).

    No schedule does more, so nothing is lost. A generator whose least output is more than that stays off.
    """
    s, g = grids.sites, grids.generators
    full, idle = _power_mw(grids)
    drawn, given = power_range(grids)
    available = s.wind_mw + s.solar_mw
    must_take = np.where(s.curtailable[:, None], 0.0, available)
    sink = (s.pue * full + s.export_limit_mw - np.minimum(drawn, 0.0) - must_take).max(axis=1)
    source = s.import_limit_mw + available - s.pue * idle + np.maximum(given, 0.0)
    supply = source.max(axis=1) + np.bincount(g.site, g.p_max_mw, len(s.name))
    hours = period_h * s.capacity_gpu.shape[1]
    charge, discharge = (np.maximum(most(mw), 0.0) for mw in (supply, sink))
    charge, discharge = np.minimum(s.charge_mw, charge), np.minimum(s.discharge_mw, discharge)
    stored = most(s.battery_initial_mwh + hours * s.charge_efficiency * charge)
    sink = np.maximum(most(sink + np.where(s.battery_mwh > 0, charge, 0.0)), 0.0)[g.site]
    high = np.minimum(g.p_max_mw, np.maximum(sink, g.initial_mw))
    never = (g.p_min_mw > high) & (g.initial_mw <= 0)
    down = np.where(never, g.initial_periods + s.capacity_gpu.shape[1], g.min_down_periods)
    return replace(
        grids,
        sites=replace(s, charge_mw=charge, discharge_mw=discharge, battery_mwh=np.minimum(s.battery_mwh, stored)),
        generators=replace(g, p_max_mw=high, p_min_mw=np.minimum(g.p_min_mw, high), min_down_periods=down),
    )


def _power_mw(grids: Microgrids) -> tuple[Array, Array]:
    """IT power at full (site, period) and at no load (site, 1), MW."""
    slope, intercept = grids.sites.power_slope_mw_per_gpu, grids.sites.power_intercept_mw
    full = (slope[:, :, None] * grids.sites.capacity_gpu[:, None, :] + intercept[:, :, None]).max(axis=1)
    idle = np.maximum(intercept.max(axis=1), 0.0)[:, None]
    return np.maximum(full, idle), idle
