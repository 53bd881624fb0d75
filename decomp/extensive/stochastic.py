"""What scenarios add to the extensive form as a whole: commitments made once, budgets in every scenario, and risk.

For the scenarios s with probabilities p_s and net costs c_s, CVaR at level alpha is the least value over eta of
eta + sum_s p_s worse_s / (1 - alpha) with worse_s >= c_s - eta and worse_s >= 0 (Rockafellar and Uryasev 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array, vstack

from decomp.extensive.matrices import ExtensiveForm
from decomp.extensive.names import DIMENSIONS
from decomp.model.instance import SECOND_STAGE, Array

Row = tuple[str, Array, Array, float, float]  # name, columns, coefficients, least, most


def with_scenario_rows(form: ExtensiveForm) -> ExtensiveForm:
    """The form with all that joins its scenarios, beside the jobs and a budget for expected emissions."""
    if form.instance.copies == 1:
        return form
    form = _committed_once(form)
    if form.instance.budget_in_every and np.isfinite(form.instance.carbon_budget_t):
        form = _budgets(form)
    return _risk(form) if form.instance.risk_weight > 0 else form


def _committed_once(form: ExtensiveForm) -> ExtensiveForm:
    """on_sgt = on_0gt for generators that are committed day-ahead."""
    instance, on = form.instance, form.index["on"].reshape(form.instance.copies, -1, form.instance.n_periods)
    once = np.flatnonzero(instance.generators.day_ahead[: on.shape[1]])
    keys = [(s, g, t) for s in range(1, len(on)) for g in once for t in range(on.shape[2])]
    sign = np.array([1.0, -1.0])
    rows: list[Row] = [(f"once_s{s}_{g}_{t}", np.array([on[s, g, t], on[0, g, t]]), sign, 0.0, 0.0) for s, g, t in keys]
    return _extended(form, {}, rows)


def _budgets(form: ExtensiveForm) -> ExtensiveForm:
    """(C3) in every scenario: its emissions, weighted as all are, less an excess are at most as much of the budget."""
    instance, emis = form.instance, form.index["emis"].reshape(form.instance.copies, -1)
    price, share = instance.carbon_excess_usd_per_t, instance.scenarios.probability * instance.carbon_budget_t
    most = np.zeros(len(emis)) if np.isinf(price) else np.maximum(form.upper[emis].sum(axis=1) - share, 0.0)
    new = {"excess_in": [(0.0, top, 0.0 if np.isinf(price) else price) for top in most]}
    first = len(form.columns)
    rows: list[Row] = [
        (f"carbon_s{s}", np.append(own, first + s), np.append(np.ones(len(own)), -1.0), -np.inf, share[s])
        for s, own in enumerate(emis)
    ]
    return _extended(form, new, rows)


def scenario_of_columns(form: ExtensiveForm) -> Array:
    """The scenario that each column belongs to, -1 for what is of all."""
    owner, n = np.full(len(form.columns), -1), form.instance.copies
    for name, index in form.index.items():
        dimension = next(iter(DIMENSIONS[name]), "")
        if dimension in (*SECOND_STAGE, "scenario"):
            for s, block in enumerate(index.reshape(n, -1)):
                owner[block[block >= 0]] = s
    return owner


def _risk(form: ExtensiveForm) -> ExtensiveForm:
    """The objective with its share of CVaR; what all scenarios pay alike, as for jobs, is in every c_s.

    The excess above a budget for expected emissions is no scenario's own: its cost adds to all this.
    """
    instance, owner, cost = form.instance, scenario_of_columns(form), form.cost
    p, weight, tail = instance.scenarios.probability, instance.risk_weight, 1.0 - instance.risk_level
    alone = np.zeros(len(cost), dtype=bool)
    if "excess" in form.index:
        alone[form.index["excess"]] = True
    common = np.flatnonzero((owner < 0) & ~alone & (cost != 0))
    first, reach = len(form.columns), float((np.abs(cost) * np.maximum(np.abs(form.lower), np.abs(form.upper))).sum())
    reach = 1.0 + 2.0 * reach / float(p.min())
    new = {"worse": [(0.0, reach, weight * share / tail) for share in p], "eta": [(-reach, reach, weight)]}
    rows: list[Row] = []
    for s in range(len(p)):
        own = np.flatnonzero((owner == s) & (cost != 0))
        columns = np.concatenate([own, common, [first + len(p), first + s]])
        value = np.concatenate([cost[own] / p[s], cost[common], [-1.0, -1.0]])
        rows.append((f"tail_s{s}", columns, value, -np.inf, 0.0))
    return _extended(replace(form, cost=np.where(alone, cost, (1.0 - weight) * cost)), new, rows)


def _extended(
    form: ExtensiveForm, new: dict[str, list[tuple[float, float, float]]], rows: Sequence[Row]
) -> ExtensiveForm:
    """The form with new variables (bounds and cost of each column, by name) and rows."""
    index, names, columns = dict(form.index), list(form.columns), [c for group in new.values() for c in group]
    for name, group in new.items():
        one = DIMENSIONS[name] == ()
        index[name] = np.array(len(names)) if one else len(names) + np.arange(len(group))
        names += [name] if one else [f"{name}_s{s}" for s in range(len(group))]
    low, high, cost = np.array(columns, dtype=float).reshape(-1, 3).T
    at = np.repeat(np.arange(len(rows)), [len(row[1]) for row in rows])
    column, value = (np.concatenate([np.zeros(0), *(row[k] for row in rows)]) for k in (1, 2))
    shape = (len(rows), len(names))
    wide = csr_array((form.matrix.data, form.matrix.indices, form.matrix.indptr), shape=(len(form.rows), len(names)))
    more = csr_array((value, (at, column.astype(int))), shape=shape)
    return replace(
        form,
        cost=np.append(form.cost, cost),
        lower=np.append(form.lower, low),
        upper=np.append(form.upper, high),
        integer=np.append(form.integer, np.zeros(len(columns), dtype=bool)),
        columns=names,
        matrix=csr_array(vstack([wide, more])),
        row_lower=np.append(form.row_lower, [row[3] for row in rows]),
        row_upper=np.append(form.row_upper, [row[4] for row in rows]),
        rows=[*form.rows, *(row[0] for row in rows)],
        index=index,
    )
