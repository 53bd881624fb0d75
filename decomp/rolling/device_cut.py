"""Devices in a window: what they did is known, what comes after the window is left open.

Variables that acted before are constants at what they did, and so is what the site did then; rows wholly past or wholly
beyond the window go. A row that reaches beyond is kept as far as it can be: whatever is later may still be anything
within its bounds. Two rules may be given as data: a `cumulative` row is kept as if it ended with the window, and a
variable is at least its `end_low` in the window's last period.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from decomp.model.device_ranges import entry_range
from decomp.model.devices import entry_terms
from decomp.model.instance import Array, Instance
from decomp.model.result import Schedule

TABLES = ("devices", "device_variables", "device_rows", "device_entries")
ROUNDING = 1e-6  # relative; by what a solver may have missed a row before, which the window cannot mend


def cut_devices(instance: Instance, done: Schedule, now: int, end: int) -> tuple[dict[str, Any], Array]:
    """The tables of devices for periods [now, end), and the rows of the run's variables that they have."""
    d, v, r, e = (getattr(instance, name) for name in TABLES)
    own = e.quantity == 0
    variable = np.searchsorted(v.device, r.device[e.row]) + e.at
    period = np.where(own, v.period[np.where(own, variable, 0)] if len(v.period) else -1, e.period)
    past, later = (period >= 0) & (period < now), period >= end
    here = ~past & ~later

    low, high = entry_range(instance.microgrids)
    open_end = later & ~r.cumulative[e.row]

    def total(values: Array, chosen: Array) -> Array:
        return np.bincount(e.row[chosen], values[chosen], minlength=len(r.low))

    known = total(entry_terms(instance, done), past)
    least, most = total(low, here), total(high, here)
    row_low, row_high = r.low - known - total(high, open_end), r.high - known - total(low, open_end)
    slack = ROUNDING * (1.0 + np.abs(known) + np.maximum(np.abs(least), np.abs(most)))
    row_low = np.where((row_low > most) & (row_low <= most + slack), most, row_low)
    row_high = np.where((row_high < least) & (row_high >= least - slack), least, row_high)

    stays = np.bincount(e.row[here], minlength=len(r.low)) > 0
    beyond = np.bincount(e.row[open_end], minlength=len(r.low)) > 0
    stays &= ~beyond | (row_low > least) | (row_high < most)  # what is left of a row may ask nothing
    lives = (v.period < 0) | (v.period >= now) & (v.period < end)
    kept, entries = np.flatnonzero(lives), np.flatnonzero(here & stays[e.row])
    timed = v.period >= 0
    number = np.cumsum(lives) - 1  # of a variable that stays
    first = np.searchsorted(v.device[kept], r.device[e.row[entries]])
    mine = own[entries]
    at = np.where(mine, number[np.where(mine, variable[entries], 0)] - first if len(v.low) else 0, e.at[entries])
    at_end = (v.period == end - 1) & (end < instance.n_periods)
    v = replace(v, low=np.where(at_end, np.clip(v.end_low, v.low, v.high), v.low))
    tables = dict(
        devices=d,
        device_variables=replace(_moved(v, timed, now), period=np.where(timed, v.period - now, -1)).take(kept),
        device_rows=replace(r, low=row_low, high=row_high).take(stays),
        device_entries=replace(
            e.take(entries),
            row=(np.cumsum(stays) - 1)[e.row[entries]],
            at=at,
            period=np.where(mine, -1, e.period[entries] - now),
        ),
    )
    return tables, kept


def no_devices(instance: Instance) -> dict[str, Any]:
    """The tables of devices without a row."""
    return {name: getattr(instance, name).take([]) for name in TABLES}


def _moved(table: Any, timed: Array, now: int) -> Any:
    """Variables whose places in time count from the window's start."""
    return replace(table, index=np.where(timed & (table.index >= now), table.index - now, table.index))
