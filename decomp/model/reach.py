"""How much sites can import, or export, when they do not do both at once: less than wide limits of the grid allow."""

from __future__ import annotations

import numpy as np

from decomp.model.instance import Array, Microgrids
from decomp.model.rounding import most


def grid_reach(grids: Microgrids) -> tuple[Array, Array]:
    """The most that each site imports without export, and exports without import, (site, period), MW (4, 5).

    All that the site can use at full load less what it must generate, and all that it can generate less its idle load.
    """
    s, g, v = grids.sites, grids.generators, grids.device_variables
    slope, intercept = s.power_slope_mw_per_gpu, s.power_intercept_mw
    full = (slope[:, :, None] * s.capacity_gpu[:, None, :] + intercept[:, :, None]).max(axis=1)
    idle = np.maximum(intercept.max(axis=1), 0.0)[:, None]
    charge, discharge = (np.where(s.battery_mwh > 0, mw, 0.0)[:, None] for mw in (s.charge_mw, s.discharge_mw))
    available = s.wind_mw + s.solar_mw
    use = s.pue * np.maximum(full, idle) + charge - np.where(s.curtailable[:, None], 0.0, available)
    spare = available + discharge + np.bincount(g.site, g.p_max_mw, len(s.name))[:, None] - s.pue * idle
    at = np.flatnonzero(v.power)
    ends = v.power[at] * np.stack([v.low[at], v.high[at]])
    where = grids.devices.site[v.device[at]], v.period[at]
    np.add.at(use, where, np.maximum(-ends.min(axis=0), 0.0))
    np.add.at(spare, where, np.maximum(ends.max(axis=0), 0.0))
    most_in, most_out = (np.maximum(most(mw), 0.0) for mw in (use, spare))
    return np.minimum(most_in, s.import_limit_mw), np.minimum(most_out, s.export_limit_mw)
