"""The extensive form's data as plain Python, which Pyomo takes faster than arrays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from decomp.model.instance import Instance, Table


def plain(instance: Instance) -> SimpleNamespace:
    """The instance as nested Python lists (Pyomo is far faster with plain floats), and the index sets."""

    def lists(table: Table) -> SimpleNamespace:
        return SimpleNamespace(**{f.name: getattr(table, f.name).tolist() for f in table.columns()})

    letters = dict(
        site="S", period="T", segment="M", generator="G", stream="D", arc="A", job="J", pool="P", pool_arc="K"
    )
    return SimpleNamespace(
        hours=float(instance.period_h),
        demand_gpu=instance.demand_gpu.tolist(),
        rows_of=[instance.rows_of(np.array([i])).tolist() for i in range(instance.n_places)],
        **{letter: range(instance.sizes[dimension]) for dimension, letter in letters.items()},
        **{name: lists(table) for name, table in instance.tables()},
    )


def group(owners: range, owner: list[int]) -> list[list[int]]:
    """Rows of a table by the owner they name."""
    rows: list[list[int]] = [[] for _ in owners]
    for row, of in enumerate(owner):
        rows[of].append(row)
    return rows


def device_terms(m: Any, data: SimpleNamespace) -> list[list[Any]]:
    """The terms of every device's row, over the variables of a model; a float where the site has no such quantity."""
    r, e = data.device_rows, data.device_entries
    variables_of = group(range(len(data.devices.site)), data.device_variables.device)
    generators_of = group(data.S, data.generators.site)
    battery = [mwh > 0 for mwh in data.sites.battery_mwh]
    quantities = (
        lambda i, t: m.gpu[i, t],
        lambda i, t: m.it[i, t],
        lambda i, t: data.sites.pue[i][t] * m.it[i, t],
        lambda i, t: m.imp[i, t],
        lambda i, t: m.exp[i, t],
        lambda i, t: m.ren[i, t],
        lambda i, t: m.chg[i, t] if battery[i] else 0.0,
        lambda i, t: m.dis[i, t] if battery[i] else 0.0,
        lambda i, t: m.sto[i, t + 1] if battery[i] else 0.0,
    )
    sums: list[list[Any]] = [[] for _ in r.low]
    for row, quantity, at, t, coefficient in zip(e.row, e.quantity, e.at, e.period, e.coefficient, strict=True):
        i = data.devices.site[r.device[row]]
        if quantity == 0:
            term = m.device[variables_of[r.device[row]][at]]
        elif quantity > len(quantities):
            term = m.gen[generators_of[i][at], t]
        else:
            term = quantities[quantity - 1](i, t)
        sums[row].append(coefficient * term)
    return sums
