"""What is left of a model when all that is settled is taken out: for a solver that is asked many times.

HiGHS presolves what it solves once. Asked again, at other costs or bounds, it works with all rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.lp.block import Model
from decomp.model.instance import Array

FEASIBLE = 1e-7  # by how much a row may be missed, as in HiGHS


@dataclass(frozen=True, eq=False)
class Rest:
    """What is left of a model.

    Attributes
    ----------
    model : of the columns that are left; it knows no names.
    columns (k,) : where they are in the whole model. settled (n,) : values of the others there.
    """

    model: Model
    columns: Array
    settled: Array

    def whole(self, x: Array) -> Array:
        """A point of the rest (k,) as one of the whole model (n,)."""
        point = self.settled.copy()
        point[self.columns] = x
        return point


def presolve(model: Model, changing: Array) -> Rest:
    """The model without columns that can only have one value, and rows of none or one of the others.

    changing : columns whose bounds will change; they stay. What cannot be is left for the solver to find.
    """
    low, high, row_low, row_high = (v.copy() for v in (model.low, model.high, model.row_low, model.row_high))
    matrix, stays = model.matrix.tocsr(), np.zeros(len(low), dtype=bool)
    stays[changing] = True
    left = np.ones(len(low), dtype=bool)
    rows = np.isfinite(row_low) | np.isfinite(row_high)
    while True:
        settled = left & ~stays & (low == high)
        known = model.matrix[:, settled] @ low[settled]
        row_low -= known
        row_high -= known
        left &= ~settled
        at = np.flatnonzero(rows)
        part = matrix[at][:, left]
        count = np.diff(part.indptr)
        single = np.flatnonzero(count == 1)
        only, factor = np.flatnonzero(left)[part.indices[part.indptr[single]]], part.data[part.indptr[single]]
        may = ~stays[only]
        only, factor, bounds = only[may], factor[may], at[single[may]]
        held = (row_low[at] <= FEASIBLE) & (row_high[at] >= -FEASIBLE)
        rows[at[(count == 0) & held]] = rows[bounds] = False
        if not (settled.any() or len(bounds)):
            break
        ends = np.sort([row_low[bounds] / factor, row_high[bounds] / factor], axis=0)
        np.maximum.at(low, only, ends[0])
        np.minimum.at(high, only, ends[1])
        low = np.where(low <= high + FEASIBLE, np.minimum(low, high), low)
    columns = np.flatnonzero(left)
    number = np.full(len(low), -1)
    number[columns] = np.arange(len(columns))
    rest = replace(
        model,
        matrix=matrix[rows][:, left].tocsc(),
        low=low[left],
        high=high[left],
        cost=model.cost[left],
        emission=model.emission[left],
        integer=model.integer[left],
        row_low=row_low[rows],
        row_high=row_high[rows],
        columns={},
        bans=number[model.bans],
    )
    return Rest(rest, columns, low)
