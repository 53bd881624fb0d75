"""What the devices of a schedule do: their power, cost and emissions, and what their rows come to."""

from __future__ import annotations

import numpy as np

from decomp.model.accounts import load_gpu
from decomp.model.instance import QUANTITIES, Array, DeviceRows, DeviceVariables, Instance
from decomp.model.result import Schedule


def variable_site(instance: Instance) -> Array:
    """The site of every device variable (device_variable,)."""
    return np.asarray(instance.devices.site[instance.device_variables.device])


def device_place(instance: Instance, table: DeviceVariables | DeviceRows, k: int) -> str:
    """What row k of a table of devices is called: device 'tank' at site 'Texas', stored[3]."""
    device = int(table.device[k])
    name, site = instance.devices.name[device], instance.sites.name[instance.devices.site[device]]
    index = f"[{table.index[k]}]" if table.index[k] >= 0 else ""
    return f"device {str(name)!r} at site {str(site)!r}, {table.name[k]}{index}"


def device_mw(instance: Instance, schedule: Schedule) -> Array:
    """Net power that the devices give each site (site, period), MW; negative where they draw."""
    v, given = instance.device_variables, np.zeros((instance.n_sites, instance.n_periods))
    at = np.flatnonzero(v.power)
    np.add.at(given, (variable_site(instance)[at], v.period[at]), v.power[at] * schedule.device_value[at])
    return given


def activity(instance: Instance, schedule: Schedule) -> tuple[Array, Array]:
    """What every row sums up to (device_row,), and the size of its largest term."""
    e, n_rows = instance.device_entries, len(instance.device_rows.low)
    terms, largest = entry_terms(instance, schedule), np.zeros(n_rows)
    np.maximum.at(largest, e.row, np.abs(terms))
    return np.bincount(e.row, terms, minlength=n_rows), largest


def entry_terms(instance: Instance, schedule: Schedule) -> Array:
    """Coefficient times quantity of every entry (device_entry,)."""
    e, rows = instance.device_entries, instance.device_rows
    site = instance.devices.site[rows.device[e.row]]
    value = np.zeros(len(e.row))
    own = e.quantity == 0
    first = np.searchsorted(instance.device_variables.device, rows.device[e.row[own]])
    value[own] = schedule.device_value[first + e.at[own]]
    for number, series in enumerate(_series(instance, schedule), start=1):
        mine = e.quantity == number
        value[mine] = series[site[mine], e.period[mine]]
    made = e.quantity == len(QUANTITIES) - 1
    generator = np.searchsorted(instance.generators.site, site[made]) + e.at[made]
    value[made] = schedule.generation_mw[generator, e.period[made]]
    return np.asarray(e.coefficient * value)


def _series(instance: Instance, schedule: Schedule) -> list[Array]:
    """What a row may use of a site (site, period), in the order of QUANTITIES without variables and generators."""
    power = schedule.it_power_mw
    return [
        load_gpu(instance, schedule),
        power,
        instance.sites.pue * power,
        schedule.import_mw,
        schedule.export_mw,
        schedule.renewable_mw,
        schedule.charge_mw,
        schedule.discharge_mw,
        schedule.stored_mwh[:, 1:],
    ]
