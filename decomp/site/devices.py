"""The devices of a site as columns and rows beside the site's own, whatever form these have."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from decomp.lp.block import Block, Terms
from decomp.model.instance import QUANTITIES, Array, Microgrids


@dataclass(frozen=True, eq=False)
class Expression:
    """A quantity of the site in every period: a constant (T,) and coefficients times columns (T,)."""

    terms: Terms
    constant: Array | float = 0.0


@dataclass
class Quantities:
    """What rows of devices may use of a site; what it does not have is zero.

    `of` : by name (see QUANTITIES) but for generators; `generation` : one for each of the site's, in their order.
    """

    of: dict[str, Expression]
    generation: list[Expression] = field(default_factory=list)


def add_devices(
    block: Block, grids: Microgrids, i: int, balance: Array, quantities: Quantities, prefix: str = ""
) -> None:
    """Add the devices of site `i`: their variables as `prefix + "device"`, their rows under the same name.

    Parameters
    ----------
    balance : rows (T,) of the site's power balance, supply positive.
    """
    if not len(grids.devices.site):
        return
    own = grids.take(np.array([i]))
    v, r, e = own.device_variables, own.device_rows, own.device_entries
    column = block.add_columns(prefix + "device", len(v.low), v.low, v.high, v.cost, v.emission, v.integer)
    acts = np.flatnonzero(v.power)
    block.add_entries(balance[v.period[acts]], column[acts], v.power[acts])
    n_rows = len(r.low)
    rows, known = np.arange(block.n_rows, block.n_rows + n_rows), np.zeros(n_rows)
    mine = np.flatnonzero(e.quantity == 0)
    first = np.searchsorted(v.device, r.device[e.row[mine]])
    block.add_entries(rows[e.row[mine]], column[first + e.at[mine]], e.coefficient[mine])
    uses = [(np.flatnonzero(e.quantity == QUANTITIES.index(name)), x) for name, x in quantities.of.items()]
    made = e.quantity == QUANTITIES.index("generation")
    uses += [(np.flatnonzero(made & (e.at == g)), x) for g, x in enumerate(quantities.generation)]
    for mine, expression in uses:
        t, coefficient = e.period[mine], e.coefficient[mine]
        for factor, columns in expression.terms:
            value = np.broadcast_to(factor, columns.shape)
            block.add_entries(rows[e.row[mine]], columns[t], coefficient * value[t])
        constant = np.broadcast_to(expression.constant, own.sites.capacity_gpu.shape[1])
        np.add.at(known, e.row[mine], coefficient * constant[t])
    none = np.zeros(n_rows, dtype=int)
    block.rows[prefix + "device"] = block.add_rows(r.low - known, r.high - known, (0.0, none))
