"""Linear and mixed-integer programs by HiGHS; every run of it goes through here.

None is without a limit, and all but the smallest hear of signals. HiGHS's `time_limit` counts all runs of an object,
not the present one (ERGO-Code/HiGHS, issue 1477), so a run's own limit is added to its clock. Its interrupts are asked
for in every iteration: so often that they are answered below highspy's events, in half a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import highspy
import numpy as np

from decomp.lp import watch
from decomp.lp.block import Model
from decomp.lp.safe_bound import safe_bound as bound_of_duals
from decomp.model.instance import Array

SIMULTANEOUS_MW = 1e-6
ITERATIONS = 20  # of the simplex method, for every row and column: a run that needs more goes round in circles
LEAST_ITERATIONS = 2000
SMALL_SECONDS = 10.0  # for a run of milliseconds
SETTLED = (
    highspy.HighsModelStatus.kOptimal,
    highspy.HighsModelStatus.kObjectiveBound,
    highspy.HighsModelStatus.kInfeasible,
    highspy.HighsModelStatus.kUnbounded,
    highspy.HighsModelStatus.kUnboundedOrInfeasible,
)
CUT = (highspy.HighsModelStatus.kTimeLimit, highspy.HighsModelStatus.kInterrupt)
INTERIOR_POINT: dict[str, Any] = dict(solver="ipm", presolve="on")
INTERRUPTS = (
    highspy.cb.HighsCallbackType.kCallbackSimplexInterrupt,
    highspy.cb.HighsCallbackType.kCallbackIpmInterrupt,
    highspy.cb.HighsCallbackType.kCallbackMipInterrupt,
)
LOG_LINE = highspy.cb.HighsCallbackType.kCallbackMipLogging
REDUCED_COST = 1e-9  # of a unit of money; below it HiGHS's presolve takes a cost for none, whatever a column's range
UNITS = 1024.0  # of money that the largest cost is at least, as HiGHS's tolerances are fixed


@dataclass(frozen=True)
class Effort:
    """How hard a MIP is tried. Nodes, not seconds, so that every run does the same; seconds only as a safeguard.

    Restarts and the sub-MIPs of the root are left out: at some sites they took nine tenths of the time and
    found nothing.
    """

    rel_gap: float = 1e-4
    nodes: int = 200
    seconds: float = 60.0
    abs_gap: float = 1e-6

    def within(self, seconds: float) -> Effort:
        """This effort, but for no more than so many seconds."""
        return replace(self, seconds=max(min(self.seconds, seconds), 0.1))

    def run(self, solver: highspy.Highs) -> highspy.HighsStatus:
        """Let HiGHS try so hard."""
        solver.setOptionValue("mip_rel_gap", self.rel_gap)
        solver.setOptionValue("mip_abs_gap", self.abs_gap)
        solver.setOptionValue("mip_max_nodes", self.nodes)
        for name in ("mip_allow_restart", "mip_heuristic_run_root_reduced_cost", "mip_heuristic_run_rins"):
            solver.setOptionValue(name, False)
        return run(solver, self.seconds)


def money_unit(cost: Array) -> float:
    """USD of the unit in which a solver is told costs: small where all of them are, as its tolerances are fixed."""
    largest = float(np.abs(cost).max(initial=0.0)) / UNITS
    return float(2.0 ** np.floor(np.log2(largest))) if 0.0 < largest < 1.0 else 1.0


def to_bound(model: Model, integer: Array) -> tuple[highspy.Highs, float]:
    """A MIP whose dual bound is claimed, and USD of its unit of money.

    A cost within HiGHS's tolerance may be worth much where a column's range is large: a hundredth of a cent per GPU.
    """
    unit = money_unit(model.cost)
    solver = to_highs(replace(model, cost=model.cost / unit), integer=integer)
    solver.setOptionValue("dual_feasibility_tolerance", REDUCED_COST)
    return solver, unit


def to_highs(model: Model, *, integer: Array | None = None) -> highspy.Highs:
    """A silent single-thread HiGHS that holds the model (all continuous unless `integer` says otherwise)."""
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = model.matrix.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = model.cost, model.low, model.high
    lp.row_lower_, lp.row_upper_ = model.row_low, model.row_high
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = model.matrix.indptr, model.matrix.indices
    lp.a_matrix_.value_ = model.matrix.data
    if integer is not None:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(flag)] for flag in integer]
    solver = highspy.Highs()
    solver.silent()
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("random_seed", 0)
    solver.passModel(lp)
    return solver


def run(
    solver: highspy.Highs,
    seconds: float = np.inf,
    *,
    small: bool = False,
    note: Callable[[float, float], None] | None = None,
) -> highspy.HighsStatus:
    """Run HiGHS for so many seconds at most, and no longer than this process may.

    `small` : a run of milliseconds, which may end; a limit of its own bounds the wait.
    `note` : called with bound and incumbent of every line of a MIP's log.

    Raises
    ------
    Interrupted : the run was cut short since this process has to end long work; what HiGHS has found so far is there.
    """
    left = SMALL_SECONDS if small else min(seconds, watch.seconds_left())
    solver.setOptionValue("time_limit", solver.getRunTime() + max(left, 0.0))  # it takes a negative one for none
    if not small:
        _listen(solver, note)
    status = solver.run()
    if not small and solver.getModelStatus() in CUT:
        watch.check()
    return status


def _listen(solver: highspy.Highs, note: Callable[[float, float], None] | None) -> None:
    solver.setCallback(_answer if note is None else partial(_answer_or_note, note), None)
    for kind in INTERRUPTS if note is None else (*INTERRUPTS, LOG_LINE):
        solver.startCallback(kind)


def _answer(kind: Any, message: str, said: Any, answer: Any, data: Any) -> None:
    if watch.signalled():
        answer.user_interrupt = True


def _answer_or_note(note: Callable[[float, float], None], kind: Any, message: str, said: Any, *rest: Any) -> None:
    if kind == LOG_LINE:
        note(said.mip_dual_bound, said.mip_primal_bound)
    else:
        _answer(kind, message, said, *rest)


def run_lp(solver: highspy.Highs, *, small: bool = False, warm: bool = False) -> bool:
    """Solve a linear program; whether HiGHS says that it is optimal. For the rest see `run`.

    A run that goes round in circles, as the simplex method may where many columns cost the same, is ended after a
    number of iterations, so in the same place in every run of a program; an interior point method takes over.
    `warm` : it starts from a basis of other costs or bounds; all but an optimum is doubted and tried again without.
    A run that ends since its objective is beyond `objective_bound` is not optimal, and not doubted.
    """
    size = solver.getNumRow() + solver.getNumCol()
    solver.setOptionValue("simplex_iteration_limit", max(ITERATIONS * size, LEAST_ITERATIONS))
    run(solver, small=small)
    status = solver.getModelStatus()
    if warm and status not in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kObjectiveBound, *CUT):
        solver.clearSolver()
        run(solver, small=small)
        status = solver.getModelStatus()
    if status not in SETTLED + CUT:
        _run_otherwise(solver, small)
        status = solver.getModelStatus()
    return bool(status == highspy.HighsModelStatus.kOptimal)


def _run_otherwise(solver: highspy.Highs, small: bool) -> None:
    """By an interior point method, with a basis in the end."""
    before = {name: solver.getOptionValue(name)[1] for name in INTERIOR_POINT}
    solver.clearSolver()
    try:
        for name, value in INTERIOR_POINT.items():
            solver.setOptionValue(name, value)
        run(solver, small=small)
    finally:
        for name, value in before.items():
            solver.setOptionValue(name, value)


def has_point(solver: highspy.Highs) -> bool:
    """Whether HiGHS has found a feasible point."""
    return bool(solver.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible)


def safe_bound(model: Model, cost: Array, duals: Array) -> float:
    """Lower bound proved by any dual vector: y'b + sum of min over [low, high] of the reduced cost.

    Rows with an infinite side admit one sign only; a dual of the wrong sign is set to zero.
    """
    a = model.matrix
    return float(
        bound_of_duals(a.indptr, a.indices, a.data, cost, model.low, model.high, model.row_low, model.row_high, duals)
    )


def solve_integral(model: Model, effort: Effort) -> Array | None:
    """A feasible point with all integers integral and no ban broken, or None.

    The modes that forbid import with export and charging with discharging are made integer only in the
    periods in which a solution breaks the ban, until none does.
    """
    integer = model.integer.copy()
    mode, first, second = model.bans.T
    while True:
        x = _mip(model, integer, effort)
        if x is None:
            return None
        broken = mode[(np.minimum(x[first], x[second]) > SIMULTANEOUS_MW) & ~integer[mode]]
        if not len(broken):
            return x
        integer[broken] = True


def _mip(model: Model, integer: Array, effort: Effort) -> Array | None:
    """Solve, fix the integers at their rounded values, and solve the rest again as an LP."""
    solver = to_highs(model, integer=integer if integer.any() else None)
    if integer.any():
        effort.run(solver)
    else:
        run_lp(solver)
    if not has_point(solver):
        return None
    x = np.array(solver.getSolution().col_value)
    if integer.any():
        x = _with_integers_fixed(model, integer, x)
    return np.clip(x, model.low, model.high)


def _with_integers_fixed(model: Model, integer: Array, x: Array) -> Array:
    """The best continuous part for the rounded integers (x itself where that LP fails)."""
    solver = to_highs(model.held_at(x, integer))
    if not run_lp(solver):
        return x
    return np.array(solver.getSolution().col_value)


def set_start(solver: highspy.Highs, start: Array) -> None:
    """Give a MIP a solution to start from (HiGHS does not reuse the last one by itself)."""
    solution: Any = highspy.HighsSolution()
    solution.col_value = start
    solver.setSolution(solution)


def keeping_bans(model: Model, solver: highspy.Highs, for_good: bool = False) -> Array | None:
    """The optimum in which no two banned variables are positive: where they are, the smaller is closed.

    `for_good` : so it is where only one is, and the solver's later optima may be mixed with this one.
    """
    _, first, second = model.bans.T
    while True:
        if not run_lp(solver):
            return None
        x = np.clip(np.array(solver.getSolution().col_value), model.low, model.high)
        broken = np.minimum(x[first], x[second]) > SIMULTANEOUS_MW
        chosen = np.maximum(x[first], x[second]) > SIMULTANEOUS_MW if for_good else broken
        smaller = np.where(x[first] < x[second], first, second)[chosen].astype(np.int32)
        solver.changeColsBounds(len(smaller), smaller, np.zeros(len(smaller)), np.zeros(len(smaller)))
        if not broken.any():
            return x
