"""The extensive form solved by HiGHS: what the end of a run allows to claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import highspy
import numpy as np

from decomp.extensive.matrices import ExtensiveForm, start_vector, to_schedule
from decomp.lp import watch
from decomp.lp.highs import run, run_lp
from decomp.lp.watch import Interrupted
from decomp.model.accounts import account, allot
from decomp.model.feasibility import broken_rule
from decomp.model.instance import Array
from decomp.model.result import Dual, Iteration, Result, Schedule, Status
from decomp.model.rounding import money_slack

ROUNDING = 1e-6  # relative; what solver arithmetic may leave between bound and incumbent of an optimal MILP
LAST_SECONDS = 5.0  # at most, for the linear program that makes a schedule of a point
TOLERANCES = (1e-9, 1e-7)  # of that: beside five million GPUs HiGHS's arithmetic may not reach the first
LIMITS = (
    highspy.HighsModelStatus.kTimeLimit,
    highspy.HighsModelStatus.kIterationLimit,
    highspy.HighsModelStatus.kSolutionLimit,
    highspy.HighsModelStatus.kInterrupt,
)
INFEASIBLE = (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible)


def solve(
    form: ExtensiveForm,
    *,
    time_limit: float = np.inf,
    rel_gap: float = 1e-9,
    start: Schedule | None = None,
    report: Callable[[Iteration], None] | None = None,
) -> Result:
    """Solve the extensive form with HiGHS on one thread.

    The bound is HiGHS's proven dual bound (of a linear model: the safe bound of its duals), never its objective.
    The schedule has its integers rounded and fixed and everything else solved once more, so that its rows hold
    to solver tolerance with integers exactly integral; the incumbent is what the accounts say of it.

    Parameters
    ----------
    time_limit : seconds for HiGHS, which ends at a stop signal too; the last linear program comes on top.
    rel_gap : stop at (incumbent - bound) / max(|incumbent|, 1 USD).
    start : a schedule to start from.
    report : called with every line of the log, for live tables.

    Returns
    -------
    Result
        Status gap_reached, limit, infeasible or failed (then `provenance["reason"]` says why). Of a relaxed form:
        bound = LP optimum, no schedule, the duals as prices on load, and in `provenance` `lp_objective` (USD) and
        `lp_carbon_price` (USD/t, the shadow price of the carbon row).
    """
    unit, began = form.unit, time.perf_counter()
    highs = form.highs(unit)
    log: list[Iteration] = []
    for option, value in (("mip_rel_gap", rel_gap), ("mip_abs_gap", rel_gap / unit)):
        highs.setOptionValue(option, value)
    if start is not None:
        point = highspy.HighsSolution()
        point.col_value = list(start_vector(form, start))
        highs.setSolution(point)

    def note(bound: float, incumbent: float) -> None:
        seconds = form.build_seconds + time.perf_counter() - began
        log.append(Iteration(len(log), "mip", bound, incumbent if np.isfinite(incumbent) else None, seconds))
        if report is not None:
            report(log[-1])

    def ended() -> Result:
        with suppress(Interrupted), watch.limited(time_limit - (time.perf_counter() - began)):
            run(highs, note=lambda bound, incumbent: note(unit * bound, unit * incumbent))
        return _conclude(form, highs, rel_gap, _facts(form, highs, time.perf_counter() - began))

    result = ended()
    if result.status in (Status.FAILED, Status.INFEASIBLE):  # HiGHS's presolve can be wrong
        highs.setOptionValue("presolve", "off")
        result = ended()
    note(result.bound, result.incumbent)
    return replace(result, log=tuple(log))


def _facts(form: ExtensiveForm, highs: highspy.Highs, seconds: float) -> dict[str, Any]:
    """What the provenance says of a run."""
    return dict(
        instance_hash=form.instance.content_hash(),
        rows=len(form.rows),
        columns=len(form.columns),
        nonzeros=int(form.matrix.nnz),
        integers=int(form.integer.sum()),
        build_seconds=form.build_seconds,
        solve_seconds=seconds,
        highs_status=highs.modelStatusToString(highs.getModelStatus()),
        nodes=int(highs.getInfo().mip_node_count),
    )


def _conclude(form: ExtensiveForm, highs: highspy.Highs, rel_gap: float, facts: dict[str, Any]) -> Result:
    """What HiGHS's end of the run allows to claim."""
    end, info = highs.getModelStatus(), highs.getInfo()
    optimal = end == highspy.HighsModelStatus.kOptimal
    if end in INFEASIBLE:
        return Result(Status.INFEASIBLE, np.inf, np.inf, None, None, provenance=facts)  # every column is bounded
    if not optimal and end not in LIMITS:
        return _failed(facts, f"HiGHS ended with {facts['highs_status']}")
    if form.relaxed:
        dual, bound = lp_dual(form, form.unit * np.array(highs.getSolution().row_dual))
        facts |= dict(lp_objective=form.unit * info.objective_function_value, lp_carbon_price=dual.carbon_price)
        return Result(Status.GAP_REACHED if optimal else Status.LIMIT, bound, np.inf, None, dual, provenance=facts)
    bound = form.unit * info.mip_dual_bound
    if not form.integer.any():
        bound = lp_dual(form, form.unit * np.array(highs.getSolution().row_dual))[1]
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Result(Status.LIMIT, bound, np.inf, None, None, provenance=facts)
    schedule, incumbent = with_integers_fixed(form, np.array(highs.getSolution().col_value))
    wrong = "no dispatch is left" if schedule is None else broken_rule(form.instance, schedule)
    if schedule is None or wrong:
        return _failed(facts, f"with its integers rounded, HiGHS's solution is infeasible: {wrong}")
    if bound > incumbent + money_slack(form.instance, incumbent):
        return _failed(facts, f"HiGHS's bound {bound!r} exceeds the cost {incumbent!r} of its own schedule")
    carbon = allot(form.instance, schedule, None)
    result = Result(Status.LIMIT, min(bound, incumbent), incumbent, schedule, None, provenance=facts, allowances=carbon)
    if (optimal or result.gap_rel <= rel_gap) and result.gap_rel <= max(rel_gap, ROUNDING):
        return replace(result, status=Status.GAP_REACHED)
    return result


def lp_dual(form: ExtensiveForm, row_dual: Array) -> tuple[Dual, float]:
    """The duals of the linear relaxation as prices on load (form "load"), and the bound they prove, USD."""
    instance, hours = form.instance, form.instance.period_h
    y = form.safe_duals(row_dual)
    carbon_price = 0.0
    if np.isfinite(instance.carbon_budget_t):
        carbon = [n for n, name in enumerate(form.rows) if name == "carbon" or name.startswith("carbon_s")]
        y[carbon] = -np.minimum(np.abs(y[carbon]), instance.carbon_excess_usd_per_t)
        carbon_price = float(np.abs(y[carbon]).mean())
    shape = (instance.n_sites, instance.n_periods)
    carry, serve = form.row_numbers("carry", *shape), form.row_numbers("serve", instance.n_streams, shape[1])
    row_terms, column_terms = form.bound_terms(y)
    site_lower = np.zeros(instance.n_sites)
    row_site, column_site = _owners(form)
    np.add.at(site_lower, row_site[row_site >= 0], row_terms[row_site >= 0])
    np.add.at(site_lower, column_site[column_site >= 0], column_terms[column_site >= 0])
    dual = Dual(
        load_price=y[carry] / hours,
        stream_price=y[serve] / hours,
        job_price=y[form.row_numbers("place", instance.n_jobs)],
        pool_price=y[form.row_numbers("finish", instance.n_pools)],
        site_lower=site_lower,
        carbon_price=carbon_price,
    )
    return dual, float(row_terms.sum() + column_terms.sum()) + form.offset


def _owners(form: ExtensiveForm) -> tuple[Array, Array]:
    """The site that owns each row and each column, -1 for work, coupling rows and the rows that define load (1)."""
    column_site = np.full(len(form.columns), -1)
    for name in ("gpu", "it", "seg", "imp", "exp", "imp_on", "ren", "chg", "dis", "sto", "chg_on", "peak", "emis"):
        for i, block in enumerate(form.index[name]):
            column_site[block[block >= 0]] = i
    for name in ("gen", "on", "up", "down"):
        for i, block in zip(form.instance.generators.site, form.index[name], strict=True):
            column_site[block] = i
    row_site = column_site[form.matrix.indices[form.matrix.indptr[:-1]]]
    coupling = [n for n, name in enumerate(form.rows) if name == "carbon" or name.startswith("carry_")]
    row_site[coupling] = -1
    return row_site, column_site


def with_integers_fixed(form: ExtensiveForm, x: Array) -> tuple[Schedule | None, float]:
    """Fix the rounded integers of a point, solve the rest exactly; the schedule and its net cost, USD."""
    fixed = form.fixed(x)
    with suppress(Interrupted), watch.limited(LAST_SECONDS, deaf=True):
        for tolerance in TOLERANCES:
            highs = fixed.highs(form.unit)
            for option in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
                highs.setOptionValue(option, tolerance)
            if run_lp(highs):
                schedule = to_schedule(fixed, np.array(highs.getSolution().col_value))
                return schedule, account(form.instance, schedule).net_cost
    return None, np.inf


def _failed(facts: dict[str, Any], reason: str) -> Result:
    return Result(Status.FAILED, -np.inf, np.inf, None, None, provenance={**facts, "reason": reason})
