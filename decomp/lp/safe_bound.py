"""A proven lower bound of a linear program from any dual vector (compiled)."""

from __future__ import annotations

import numpy as np

from decomp.compiled import compiled


@compiled
def safe_bound(indptr, indices, data, cost, low, high, row_low, row_high, duals):
    """Lower bound that a dual vector proves for a column-wise LP; duals of the wrong sign count as zero."""
    y = duals.copy()
    total = 0.0
    for r in range(len(y)):
        side = row_low[r] if y[r] > 0.0 else row_high[r]
        if np.isinf(side):
            y[r] = 0.0
        elif y[r] != 0.0:
            total += y[r] * side
    for k in range(len(cost)):
        reduced = cost[k]
        for q in range(indptr[k], indptr[k + 1]):
            reduced -= data[q] * y[indices[q]]
        if reduced != 0.0:
            total += reduced * (low[k] if reduced > 0.0 else high[k])
    return total
