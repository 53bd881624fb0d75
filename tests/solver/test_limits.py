"""Time limits and stop signals hold in every phase; what is claimed after them is proved."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest

import decomp
from decomp.certificate import check
from decomp.exact import column_lp
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.lp import watch
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Iteration, Result, Status
from decomp.ranks.team import Serial
from decomp.solver.solve import solve
from tiny import bare_sites

pytestmark = pytest.mark.slow

GENEROUS = 150.0  # processor seconds in which anything here has ended; without limits it takes many minutes


def flat(price: float = 40.0) -> Instance:
    """A site at one price all day, where every hour is as good as another: the master of its tree is degenerate."""
    n = 48
    demand = np.zeros((1, n))
    demand[0, 12:] = 500.0
    return bare_sites(
        1,
        n,
        power_slope_mw_per_gpu=[[0.001]],
        power_intercept_mw=0.2,
        pue=1.2,
        import_limit_mw=3.0,
        buy_price=price,
        sell_price=price,
        jobs=dict(gpus=[800.0], periods=[20], release=[0], deadline=[22], value_usd=[80000.0]),
        candidates=dict(job=[0], site=[0]),
        streams=dict(demand_rps=demand, revenue=0.5, unserved_penalty=20.0),
    )


def right(instance: Instance, result: Result | None) -> bool:
    """Whether the certificate accepts what is claimed."""
    return result is not None and [str(f) for f in check(instance, result).findings] == []


def test_equal_prices_are_solved_by_the_tree() -> None:
    """The master's simplex method went round in circles here for minutes."""
    instance, began = flat(), time.process_time()
    result = decomp.solve(instance, method="hybrid", rel_gap=1e-4, branching=dict(seconds=np.inf))
    assert time.process_time() - began < GENEROUS
    assert result is not None and result.status is Status.GAP_REACHED and result.log[-1].phase == "branch"
    assert result.incumbent == pytest.approx(solve_extensive(instance, rel_gap=1e-9).incumbent, rel=1e-4)
    assert right(instance, result)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_linear_program_of_the_tree(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes just before the fifth of them begins; the run ends there, with what was proved before."""
    solved: list[bool] = []

    def run_lp(*args: Any, **more: Any) -> bool:
        if len(solved) == 4:
            os.kill(os.getpid(), number)
        solved.append(real(*args, **more))
        return solved[-1]

    real = column_lp.run_lp
    monkeypatch.setattr(column_lp, "run_lp", run_lp)
    instance = flat()
    with Serial() as team:
        result = solve(instance, team, Options(rel_gap=1e-9, method="hybrid"))
    assert len(solved) == 4 and result is not None and result.status is Status.LIMIT
    assert np.isfinite(result.bound) and right(instance, result)


def test_a_signal_ends_the_extensive_form_with_its_bound() -> None:
    instance, began = generate("fleet", sites=2, periods=48, seed=1), time.process_time()

    def report(it: Iteration) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    with Serial():
        result = solve_extensive(instance, rel_gap=0.0, report=report)
    assert result.status is Status.LIMIT and result.provenance["highs_status"] == "Interrupted by user"
    assert time.process_time() - began < GENEROUS


def test_a_model_that_is_not_built_in_time_is_given_up() -> None:
    """Building it would take longer than anybody waits; and a signal is heard then, too."""
    large = generate("fleet", sites=60, seed=1)
    began = time.process_time()
    result = solve_extensive(large, time_limit=0.5)
    assert (result.status, result.bound, result.schedule) == (Status.LIMIT, -np.inf, None)
    with Serial() as team:
        os.kill(os.getpid(), signal.SIGTERM)
        result = solve_extensive(large)
        assert team.signalled and result.status is Status.LIMIT
    assert time.process_time() - began < GENEROUS


@pytest.mark.parametrize("method", ["lagrangian", "benders", "hybrid"])
def test_no_method_goes_on_long_after_its_limit(method: str) -> None:
    """A fleet that would keep it busy for minutes, with no schedule yet when the time is over."""
    instance = generate("fleet", sites=40, seed=3)
    began = time.process_time()
    result = decomp.solve(instance, method=method, rel_gap=0.0, time_limit=2.0)
    assert time.process_time() - began < GENEROUS
    assert result is not None and result.status is Status.LIMIT and np.isfinite(result.bound)
    assert watch.seconds_left() == np.inf, "the limit was that of this solve alone"
