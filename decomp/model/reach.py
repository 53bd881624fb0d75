"""Ranges of a site's power: import and export alone, what tempts to both, what generators and batteries can ever do."""

from __future__ import annotations

import numpy as np

from decomp.model.device_ranges import power_range, site_ranges
from decomp.model.instance import QUANTITIES, Array, Microgrids, Sites
from decomp.model.rounding import most


def grid_reach(grids: Microgrids) -> tuple[Array, Array]:
    """The most that each site imports without export, and exports without import, (site, period), MW (4, 5).

    All that the site can use at full load less what it must generate, and all that it can generate less its idle load.
    """
    use, spare = use_and_spare(grids)
    return np.minimum(use, grids.sites.import_limit_mw), np.minimum(spare, grids.sites.export_limit_mw)


def use_and_spare(grids: Microgrids) -> tuple[Array, Array]:
    """The most that each site takes, and the most that it gives, (site, period), MW, whatever its grid allows."""
    s, g, (drawn, given) = grids.sites, grids.generators, power_range(grids)
    _, _, facility, _, _, renewable, charge, discharge, _ = site_ranges(grids)
    use = facility[1] + charge[1] - renewable[0] - drawn
    spare = renewable[1] + discharge[1] + np.bincount(g.site, g.p_max_mw, len(s.name))[:, None] - facility[0] + given
    return np.maximum(most(use), 0.0), np.maximum(most(spare), 0.0)


def generation_reach(grids: Microgrids) -> Array:
    """The most that a generator of each site can deliver (site, period), MW, whatever its own limit (4, 5)."""
    use, _ = use_and_spare(grids)
    return use + grids.sites.export_limit_mw


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


def charged(sites: Sites, period_h: float) -> tuple[Array, Array]:
    """The least that each battery holds, and what it holds in the end, (site,), MWh, if it always charges (6)."""
    stored = lowest = sites.battery_initial_mwh
    for _ in range(sites.capacity_gpu.shape[1]):
        stored = stored * (1 - sites.self_discharge_per_h) ** period_h
        stored = np.minimum(stored + period_h * sites.charge_efficiency * sites.charge_mw, sites.battery_mwh)
        lowest = np.minimum(lowest, stored)
    return lowest, stored


def storable(sites: Sites, period_h: float) -> Array:
    """The most that each site's battery ever holds (site,), MWh: its size, or less if charging cannot fill it (6)."""
    hours = period_h * sites.capacity_gpu.shape[1]
    reached = sites.battery_initial_mwh + hours * sites.charge_efficiency * sites.charge_mw
    return np.minimum(sites.battery_mwh, most(reached))
