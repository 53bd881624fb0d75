"""The door to HiGHS: nothing goes past it, its limits hold, and a program that goes round in circles is solved."""

from __future__ import annotations

import ast
import gc
import signal
import sys
import time
from collections.abc import Iterator
from functools import cache
from types import FunctionType
from typing import Any

import highspy
import numpy as np
import pytest

from decomp.lp import watch
from decomp.lp.highs import run, run_lp, to_highs
from decomp.lp.watch import Interrupted
from lp_models import knapsacks
from running import CHECKOUT

SOURCES = [p for folder in ("decomp", "drivers") for p in sorted((CHECKOUT / folder).rglob("*.py"))]
DOOR = "decomp/lp/highs.py"
SCIPY = "decomp/certificate/model.py"  # shares nothing with the solver, so not the door either
METHODS = {"run", "solve", "startSolve", "joinSolve", "minimize", "maximize", "presolve", "crossover"}
METHODS |= {"optimize"}  # SCIP's
GENEROUS = 60.0  # seconds in which anything here has ended on the busiest machine


@cache
def everything() -> list[tuple[str, ast.AST]]:
    """All nodes of the source tree, with the file's name."""
    trees = [(str(path.relative_to(CHECKOUT)), ast.parse(path.read_text("utf-8"))) for path in SOURCES]
    return [(name, node) for name, tree in trees for node in ast.walk(tree)]


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, Any]]:
    return ((name, node) for name, node in everything() if isinstance(node, kind))


def test_every_run_of_highs_is_begun_in_one_module() -> None:
    """HiGHS's methods take no arguments, whoever has it under whatever name; nor are they handed on to be called."""
    bare = {id(call.func) for _, call in nodes(ast.Call) if not (call.args or call.keywords)}
    full = {id(call.func) for _, call in nodes(ast.Call)} - bare
    found = []
    for name, a in nodes(ast.Attribute):
        owner = getattr(a.value, "attr", getattr(a.value, "id", ""))
        handed_on = owner in {"solver", "highs"} and id(a) not in full
        if a.attr in METHODS and (id(a) in bare or handed_on):
            found.append((name, ast.unparse(a)))
    assert sorted(found) == [(DOOR, "solver.run"), ("drivers/rivals.py", "model.optimize")]


def test_scipy_runs_highs_in_the_certificate_alone_and_with_a_limit() -> None:
    calls = [
        (name, call)
        for name, call in nodes(ast.Call)
        if getattr(call.func, "attr", getattr(call.func, "id", "")) in {"linprog", "milp"}
    ]
    assert {name for name, _ in calls} == {SCIPY}
    for _, call in calls:
        (options,) = [k.value for k in call.keywords if k.arg == "options"]
        assert "time_limit" in {k.arg for k in options.keywords}


def hard() -> highspy.Highs:
    """A MIP that takes minutes."""
    model = knapsacks()
    return to_highs(model, integer=model.integer)


def test_the_limit_is_that_of_a_run_not_of_all() -> None:
    """HiGHS's clock runs on from run to run; the second has as long as the first."""
    solver = hard()
    for runs in (1, 2):
        run(solver, 0.3)
        assert solver.getModelStatus() == highspy.HighsModelStatus.kTimeLimit and solver.getRunTime() >= 0.3 * runs


def test_a_run_of_its_own_limit_returns_and_one_cut_by_the_process_raises() -> None:
    run(hard(), 0.2)
    with watch.limited(0.2), pytest.raises(Interrupted):
        run(hard())
    assert watch.seconds_left() == np.inf


def test_a_signal_ends_a_run_and_what_was_found_is_there() -> None:
    """The alarm comes while HiGHS works, and Python's handlers run in its interrupts."""
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    listened = watch.listen(lambda: bool(heard))
    solver = hard()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Interrupted):
            run(solver, 300.0)
    finally:
        signal.signal(signal.SIGALRM, before)
        watch.listen(listened)
    assert heard and solver.getModelStatus() == highspy.HighsModelStatus.kInterrupt
    assert np.isfinite(solver.getInfo().mip_dual_bound)


def test_what_needs_a_few_seconds_more_has_them() -> None:
    """Deaf to a stop that has been heard, and beyond a deadline that is over."""
    listened = watch.listen(lambda: True)
    try:
        with watch.limited(0.0):
            solver = to_highs(knapsacks(4))
            with watch.limited(60.0, deaf=True):
                assert run_lp(solver)
            with pytest.raises(Interrupted):
                watch.check()
    finally:
        watch.listen(listened)


def test_work_in_python_is_broken_off() -> None:
    with pytest.raises(Interrupted), watch.limited(0.3), watch.breaking_off(__name__.partition(".")[0]):
        while True:
            pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_work_is_not_broken_off_where_the_exception_would_be_lost() -> None:
    """The garbage collector prints what its callbacks raise, and goes on."""
    began, broken = time.monotonic(), False
    lost: list[Any] = []

    def callback(phase: str, info: dict[str, int]) -> None:
        time.sleep(0.2)

    foreign = FunctionType(callback.__code__, {"__name__": "elsewhere", "time": time})
    hook, sys.unraisablehook = sys.unraisablehook, lost.append
    gc.callbacks.append(foreign)
    try:
        with watch.limited(0.1), watch.breaking_off(__name__.partition(".")[0]):
            while time.monotonic() < began + GENEROUS:
                gc.collect(0)
                sum(1 for _ in range(10**6))
    except Interrupted:
        broken = True
    finally:
        gc.callbacks.remove(foreign)
        sys.unraisablehook = hook
    assert broken and not lost


@pytest.mark.parametrize("most", [1, 5])
def test_a_simplex_run_that_goes_round_in_circles_is_taken_over(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hardly any iterations allowed, the optimum and duals that prove it are there nevertheless."""
    model = knapsacks(12)
    truth = to_highs(model)
    assert run_lp(truth)
    monkeypatch.setattr("decomp.lp.highs.ITERATIONS", 0)
    monkeypatch.setattr("decomp.lp.highs.LEAST_ITERATIONS", most)
    for warm in (False, True):
        solver = to_highs(model)
        solver.setOptionValue("presolve", "off")
        assert run_lp(solver, warm=warm)
        found, right = (s.getInfo().objective_function_value for s in (solver, truth))
        assert found == pytest.approx(right, rel=1e-7)
        assert len(solver.getSolution().row_dual) == 12 and solver.getOptionValue("solver")[1] == "choose"
