"""Every method on small fleets over wide scales, against HiGHS with tight tolerances.

Some in the suite; `DECOMP_FUZZ=2000` makes them two thousand.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

import decomp
from decomp.extensive.pyomo_model import build
from decomp.model.instance import InputError, Instance
from decomp.model.result import Result, Status
from decomp.model.validate import validate
from solver.wild import wild

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("DECOMP_FUZZ", "24"))
FOUND = (398, 450, 615, 790, 999, 1093, 1883)  # wrong once: wide limits, costs and sizes beside tolerances
METHODS = ("lagrangian", "benders", "hybrid", "extensive")
SLACK = 1e-6  # relative to the net cost or the money that moves
QUICK = dict(improvement=dict(stale_finishes=1), moves=dict(programs=30), branching=dict(nodes=50))
GOAL = 1e-3


def truth(instance: Instance) -> tuple[str, float, float]:
    """HiGHS's status, primal and dual bound of the extensive form, in money that suits its tolerances, tight ones.

    With presolve and without, the better point of both: at such scales presolve loses some, or fails.
    """
    form = build(instance)
    unit = float(np.abs(form.cost).max()) / 1e3 or 1.0
    highs = replace(form, cost=form.cost / unit, offset=form.offset / unit).highs()
    tight = dict.fromkeys(
        ("mip_feasibility_tolerance", "primal_feasibility_tolerance", "dual_feasibility_tolerance"), 1e-9
    )
    for name, value in (tight | dict(mip_rel_gap=1e-7, mip_abs_gap=0.0)).items():
        highs.setOptionValue(name, value)
    found = []
    for presolve in ("choose", "off"):
        highs.clearSolver()
        highs.setOptionValue("presolve", presolve)
        highs.setOptionValue("time_limit", highs.getRunTime() + 30.0)
        highs.run()
        info = highs.getInfo()
        primal = unit * info.objective_function_value
        dual = unit * info.mip_dual_bound if form.integer.any() else primal
        found.append((highs.modelStatusToString(highs.getModelStatus()), primal, dual))
    best = [one for one in found if one[0] == "Optimal"]
    return min(best, key=lambda one: one[1]) if best else found[0]


def judged(instance: Instance, result: Result, status: str, primal: float, dual: float) -> list[str]:
    """What is wrong with a result."""
    whole = result.schedule is not None or result.status is Status.INFEASIBLE
    found = [str(finding) for finding in decomp.check(instance, result).findings] if whole else []
    if result.status is Status.FAILED:
        found.append(f"failed: {result.provenance.get('reason')}")
    if status == "Infeasible":
        return found + ["a schedule of what has none"] * (result.schedule is not None)
    if status != "Optimal":
        return found
    slack = SLACK * max(1.0, abs(primal), moved(instance))
    if result.status is Status.INFEASIBLE:
        found.append(f"infeasible, where a schedule costs {primal:.9g}")
    elif result.schedule is None:
        found.append("no schedule")
    if result.schedule is not None and result.incumbent < dual - slack:
        found.append(f"a schedule of {result.incumbent:.9g}, below the optimum {dual:.9g}")
    if result.status is not Status.INFEASIBLE and result.bound > primal + slack:
        found.append(f"a bound of {result.bound:.9g}, above the optimum {primal:.9g}")
    return found


def moved(instance: Instance) -> float:
    """USD that work and, in every period, energy for full load and a MW more come to."""
    s, h = instance.sites, instance.period_h
    full = (s.power_slope_mw_per_gpu.max(axis=1) * s.capacity_gpu.T).T + s.power_intercept_mw.max(axis=1)[:, None]
    price = np.maximum(np.abs(s.buy_price), np.abs(s.sell_price))
    price += instance.carbon_price_usd_per_t * np.maximum(s.carbon_intensity, s.export_credit)
    energy = h * (price * (1.0 + s.pue * full)).sum() + s.demand_charge.sum()
    worth = instance.streams.revenue + instance.streams.unserved_penalty
    return float(energy + h * (worth[:, None] * instance.demand_gpu).sum() + instance.jobs.value_usd.sum())


def faults_of(seed: int, methods: tuple[str, ...] = METHODS) -> list[str]:
    """What is wrong with the results of an instance, method by method."""
    instance = wild(seed)
    try:
        validate(instance)
    except InputError:
        return []
    known, found = truth(instance), []
    for method in methods:
        result = decomp.solve(instance, method=method, rel_gap=GOAL, time_limit=300.0, **QUICK)
        assert result is not None
        found += [f"{method}: {text}" for text in judged(instance, result, *known)]
    return found


@pytest.mark.parametrize("seed", sorted({*range(COUNT), *FOUND}))
def test_nothing_wrong_returned_and_nothing_true_rejected(seed: int) -> None:
    assert not faults_of(seed)
