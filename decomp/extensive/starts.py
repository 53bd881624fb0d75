"""Starts for a solver: variables of budgets and risk that follow from a schedule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from decomp.model.instance import Array, Instance


def start_values(instance: Instance, emitted: Array, costs: Sequence[float]) -> dict[str, Array]:
    """What the variables that scenarios add are for a schedule: emissions of its rows (t), costs of scenarios (USD)."""
    if instance.copies == 1:
        return {}
    cost = np.array(costs)
    p, tail = instance.scenarios.probability, 1.0 - instance.risk_level
    over = emitted.reshape(len(p), -1).sum(axis=1) - p * instance.carbon_budget_t
    order = np.argsort(cost, kind="stable")
    last = order[min(int(np.searchsorted(np.cumsum(p[order]), 1.0 - tail - 1e-12)), len(p) - 1)]
    eta = float(cost[last])
    return {"excess_in": np.maximum(over, 0.0), "eta": np.asarray(eta), "worse": np.maximum(cost - eta, 0.0)}
