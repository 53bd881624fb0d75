"""Devices, read from their tables anew: in the schedule (part A) and in a site's problem (part B).

A device's variable lies within its bounds, is whole where it must be, gives its power in its period, and costs and
emits by the unit; a row's sum lies between its sides. A row may be missed by the tolerance times its largest term.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from decomp.certificate.findings import Findings
from decomp.certificate.model import Builder
from decomp.model.instance import QUANTITIES, Array, Instance
from decomp.model.result import Schedule

VARIABLE, GENERATION = 0, len(QUANTITIES) - 1


def _variable_of(instance: Instance) -> Array:
    """The device variable that each entry multiplies (device_entry,); meaningless where it multiplies another thing."""
    owner, begin = np.unique(instance.device_variables.device, return_index=True)
    first = np.zeros(len(instance.devices.site), dtype=int)
    first[owner] = begin
    return np.asarray(first[instance.device_rows.device[instance.device_entries.row]] + instance.device_entries.at)


# ---------------------------------------------------------------- part A


def check_devices(instance: Instance, schedule: Schedule, load: Array, findings: Findings) -> None:
    """Bounds, whole values and rows."""
    v, rows, value = instance.device_variables, instance.device_rows, schedule.device_value
    below, above = (np.maximum(1.0, np.abs(limit)) for limit in (v.low, v.high))
    findings.at_least("least value of a device's variable", "device_variable", value, v.low, below)
    findings.at_most("largest value of a device's variable", "device_variable", value, v.high, above)
    whole = np.where(v.integer, np.round(value), value)
    findings.equal("whole value of a device's variable", "device_variable", value, whole, 1.0)
    total, size = _sums(instance, schedule, load)
    size = np.maximum(1.0, size)
    findings.at_least("least sum of a device's row", "device_row", total, rows.low, size)
    findings.at_most("largest sum of a device's row", "device_row", total, rows.high, size)


def _sums(instance: Instance, schedule: Schedule, load: Array) -> tuple[Array, Array]:
    """Sum and largest absolute term of every row (device_row,)."""
    e, rows, s = instance.device_entries, instance.device_rows, schedule
    pue = instance.sites.pue
    series = np.stack(
        [
            *(load, s.it_power_mw, pue * s.it_power_mw, s.import_mw, s.export_mw),
            *(s.renewable_mw, s.charge_mw, s.discharge_mw, s.stored_mwh[:, 1:]),
        ]
    )
    site = instance.devices.site[rows.device[e.row]]
    at_site = (e.quantity > VARIABLE) & (e.quantity < GENERATION)
    factor = np.zeros(len(e.row))
    factor[at_site] = series[e.quantity[at_site] - 1, site[at_site], e.period[at_site]]
    own, made = e.quantity == VARIABLE, e.quantity == GENERATION
    factor[own] = s.device_value[_variable_of(instance)[own]]
    begin = np.cumsum(np.bincount(instance.generators.site, minlength=instance.n_sites))
    begin = np.concatenate([[0], begin[:-1]])
    factor[made] = s.generation_mw[begin[site[made]] + e.at[made], e.period[made]]
    term, total, largest = e.coefficient * factor, np.zeros(len(rows.low)), np.zeros(len(rows.low))
    np.add.at(total, e.row, term)
    np.maximum.at(largest, e.row, np.abs(term))
    return total, largest


def device_power(instance: Instance, schedule: Schedule) -> Array:
    """Net supply (site, period), MW."""
    v, supply = instance.device_variables, np.zeros((instance.n_sites, instance.n_periods))
    acts = v.power != 0
    place = instance.devices.site[v.device[acts]], v.period[acts]
    np.add.at(supply, place, v.power[acts] * schedule.device_value[acts])
    return supply


def device_sums(instance: Instance, schedule: Schedule) -> tuple[float, Array]:
    """Cost of all devices, USD, and emissions by site (site,), t."""
    v, emitted = instance.device_variables, np.zeros(instance.n_sites)
    np.add.at(emitted, instance.devices.site[v.device], v.emission * schedule.device_value)
    return float((v.cost * schedule.device_value).sum()), emitted


# ---------------------------------------------------------------- part B


def site_devices(instance: Instance) -> list[SimpleNamespace]:
    """For each site its devices' variables, rows and entries, numbered within the site."""
    v, r, e = instance.device_variables, instance.device_rows, instance.device_entries
    of = instance.devices.site
    places = (of[v.device], of[r.device], of[r.device[e.row]])
    variable, found = _variable_of(instance), []
    sites = [
        np.split(np.argsort(p, kind="stable"), np.cumsum(np.bincount(p, minlength=instance.n_sites))[:-1])
        for p in places
    ]
    for mine, rows, entries in zip(*sites, strict=True):
        found.append(
            SimpleNamespace(
                **{name: getattr(v, name)[mine] for name in ("low", "high", "integer", "cost", "emission", "power")},
                period=v.period[mine],
                row_low=r.low[rows],
                row_high=r.high[rows],
                row=np.searchsorted(rows, e.row[entries]),
                variable=np.searchsorted(mine, variable[entries]),
                **{name: getattr(e, name)[entries] for name in ("quantity", "at", "coefficient")},
                when=e.period[entries],
            )
        )
    return found


def power_reach(devices: Any, n_periods: int) -> tuple[Array, Array]:
    """The most that the devices of a site draw, and give, in every period (period,), MW, signed."""
    acts = np.flatnonzero(devices.power)
    ends = np.sort([devices.power[acts] * devices.low[acts], devices.power[acts] * devices.high[acts]], axis=0)
    draw, give = (np.bincount(devices.period[acts], x, minlength=n_periods) for x in (-ends[0], ends[1]))
    return draw, give


def add_devices(
    builder: Builder,
    devices: Any,
    carbon: float,
    balance: Array,
    quantities: list[tuple[Any, Array]],
    output: list[Array],
) -> list[tuple[Array, Array]]:
    """Columns and rows of a site's devices; returns what they emit: (t per unit, columns).

    `quantities` : factor and columns (period,) of what QUANTITIES lists between variables and generation; empty columns
    for what the site does not have. `output` : columns of each generator.
    """
    cost = devices.cost + carbon * devices.emission
    column = builder.columns(len(cost), devices.low, devices.high, cost, integer=devices.integer)
    acts = np.flatnonzero(devices.power)
    builder.entries(balance[devices.period[acts]], column[acts], devices.power[acts])
    target = [(devices.quantity == VARIABLE, column[devices.variable], 1.0)] if len(column) else []
    for number, (factor, columns) in enumerate(quantities, start=1):
        if len(columns):
            factors = np.broadcast_to(factor, columns.shape)
            target.append((devices.quantity == number, columns[devices.when], factors[devices.when]))
    for g, columns in enumerate(output):
        target.append(((devices.quantity == GENERATION) & (devices.at == g), columns[devices.when], 1.0))
    for sign, side in ((1.0, devices.row_high), (-1.0, -devices.row_low)):
        asked = np.flatnonzero(np.isfinite(side))
        rows = np.full(len(side), -1)
        rows[asked] = builder.rows([(0.0, np.zeros(len(asked), dtype=int))], side[asked])
        for chosen, columns, factor in target:
            use = np.flatnonzero(chosen & (rows[devices.row] >= 0))
            value = np.broadcast_to(sign * factor * devices.coefficient, columns.shape)
            builder.entries(rows[devices.row[use]], columns[use], value[use])
    return [(devices.emission, column)]
