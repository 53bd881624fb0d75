"""A whole solve in one process: results, options, limits, the same log for the same seed."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decomp.bound.coupling import Coupling
from decomp.bound.lagrangian import DualPoint
from decomp.certificate import check
from decomp.extensive import solve_extensive
from decomp.families import generate
from decomp.frontier.trace import trace
from decomp.model.instance import InputError, Instance
from decomp.model.options import METHODS, Options
from decomp.model.result import Iteration, Result, Status
from decomp.ranks.clock import process_seconds
from decomp.ranks.mpi import Serial
from decomp.ranks.workers import Workers
from decomp.schedule.incumbent import Incumbent
from decomp.solver.bounding import MORE_ITERATIONS
from decomp.solver.methods import METHODS as PHASES
from decomp.solver.methods import phases_left
from decomp.solver.solve import solve
from decomp.state.solve_state import Hooks, Run
from hand_case import hand_instance
from tiny import tiny


def options(**values: Any) -> Options:
    values = {"improvement": {"stale_finishes": 1}, "moves": {"programs": 30}, **values}
    made: Options = Options.from_dict(values)
    return made


def solved(instance: Instance, **values: Any) -> Result:
    result = solve(instance, Serial(), options(**values))
    assert result is not None
    return result


def story(result: Result) -> list[dict[str, Any]]:
    """The log without its clocks."""
    return [{k: v for k, v in asdict(line).items() if not k.endswith("_seconds")} for line in result.log]


def instances() -> dict[str, Instance]:
    fleet = generate("fleet", sites=5, periods=8, period_h=1.0, jobs=6, streams=2)
    return dict(
        tiny=tiny(),
        hand=hand_instance(),
        no_jobs=tiny(jobs=dict.fromkeys(tiny_jobs(), []), candidates=dict(job=[], site=[], cost_usd=[])),
        no_budget=tiny(carbon_budget_t=np.inf),
        hard_budget=tiny(carbon_excess_usd_per_t=np.inf),
        one_site=generate("small", seed=3, sites=1),
        one_period=generate("small", seed=5, periods=4),
        colocation=generate("colocation", periods=8),
        fleet=fleet,
    )


def tiny_jobs() -> tuple[str, ...]:
    return ("name", "gpus", "periods", "release", "deadline", "value_usd", "mandatory")


@pytest.mark.parametrize("rel_gap", [1e-3, 0.2])
def test_in_a_large_fleet_moves_come_before_the_first_schedule_unless_it_promises_the_gap(rel_gap: float) -> None:
    fleet = instances()["fleet"]
    large = dict(cluster_sites=2, least_clusters=1, whole_sites=0, stale_finishes=1)
    result = solved(fleet, rel_gap=rel_gap, method="lagrangian", improvement=large)
    first = next(line for line in result.log if line.phase == "improve" or line.incumbent is not None)
    assert (first.phase, first.incumbent is None) == (("improve", True) if rel_gap < 0.1 else ("finish", False))
    assert result.gap_rel <= rel_gap or result.status is Status.LIMIT
    assert [str(f) for f in check(fleet, result).findings] == []


@pytest.mark.parametrize("name", instances())
def test_result_is_accepted_by_the_certificate(name: str) -> None:
    instance = instances()[name]
    result = solved(instance)
    assert [str(f) for f in check(instance, result, seconds=600.0).findings] == []
    assert result.bound <= result.incumbent + 1e-6 * max(1.0, abs(result.incumbent))
    assert result.status is (Status.GAP_REACHED if result.gap_rel <= 1e-3 else Status.LIMIT)
    assert result.provenance["instance_hash"] == instance.content_hash() and result.provenance["ranks"] == 1


def test_log_tells_the_run() -> None:
    result = solved(generate("small", seed=3), rel_gap=0.0)
    log = result.log
    assert [line.iteration for line in log] == list(range(len(log)))
    phases = list(dict.fromkeys(line.phase for line in log))
    assert phases == ["bound", "dive", "finish", "moves", "milp bound", "branch", "whole"]
    bounds = [line.bound for line in log]
    costs = [np.inf if line.incumbent is None else line.incumbent for line in log]
    clocks = [line.wall_seconds for line in log]
    assert bounds == sorted(bounds) and costs == sorted(costs, reverse=True) and clocks == sorted(clocks)
    assert (bounds[-1], costs[-1]) == (result.bound, result.incumbent)


def test_the_bound_goes_on_after_the_search() -> None:
    instance = generate("fleet", sites=6, periods=24, period_h=1.0, jobs=12, seed=5)
    result = solved(instance, method="lagrangian", rel_gap=1e-3)
    before = max(line.bound for line in result.log if line.phase == "bound")
    again = [line for line in result.log if line.phase == "milp bound" and line.model is not None]
    assert 0 < len(again) <= MORE_ITERATIONS
    assert again[-1].bound > before


def test_same_seed_same_log() -> None:
    instance = generate("small", seed=7)
    one, two, other = (solved(instance, method="lagrangian", seed=seed, rel_gap=0.0) for seed in (1, 1, 2))
    assert story(one) == story(two)
    assert story(one)[:20] == story(other)[:20]  # the seed moves only the improvement
    assert one.schedule is not None and two.schedule is not None
    for f in one.schedule.columns():
        assert np.array_equal(getattr(one.schedule, f.name), getattr(two.schedule, f.name)), f.name


def test_listeners_and_keeper_hear_all() -> None:
    rows: list[Iteration] = []
    kept: list[Result] = []

    class Listener:
        def row(self, it: Iteration) -> None:
            rows.append(it)

    result = solve(
        generate("small", seed=9), Serial(), options(), hooks=Hooks(listeners=[Listener()], keep=kept.append)
    )
    assert result is not None and tuple(rows) == result.log
    costs = [r.incumbent for r in kept]
    assert costs == sorted(costs, reverse=True) and costs[-1] == result.incumbent
    assert len({(r.incumbent, r.bound) for r in kept}) == len(kept)


# ---------------------------------------------------------------- options and limits


def test_a_wide_gap_ends_after_the_first_schedule() -> None:
    result = solved(generate("small", seed=7), rel_gap=0.9)
    assert result.status is Status.GAP_REACHED and "improve" not in {line.phase for line in result.log}


@pytest.mark.parametrize("most", [1, 3])
def test_most_iterations_of_the_bound(most: int) -> None:
    result = solved(generate("small", seed=4), bundle=dict(max_iterations=most))
    assert sum(line.phase == "bound" for line in result.log) <= most


@pytest.mark.parametrize(
    "group, key, value",
    [
        ("bundle", "first_factors", []),
        ("bundle", "step", 0.1),
        ("bundle", "max_passes", 4),
        ("recovery", "dive_share", 1.0),
        ("recovery", "dive_iterations", 0),
        ("recovery", "settle_iterations", 0),
        ("recovery", "repair_gap", 0.5),
        ("improvement", "cluster_sites", 1),
        ("improvement", "runs_kept", 1),
        ("improvement", "iterations", 0),
        ("improvement", "rounds_per_finish", 1),
    ],
)
def test_any_option_gives_a_right_result(group: str, key: str, value: Any) -> None:
    for seed in (4, 16):
        instance = generate("small", seed=seed)
        result = solved(instance, **{group: {key: value, **({"stale_finishes": 1} if group == "improvement" else {})}})
        assert [str(f) for f in check(instance, result).findings] == []


@pytest.mark.slow
def test_time_limit_ends_the_improvement() -> None:
    instance = generate("fleet", sites=8, periods=24, period_h=1.0)
    began = time.process_time()
    endless = dict(method="lagrangian", rel_gap=0.0, improvement=dict(stale_finishes=1000))
    result = solved(instance, time_limit_seconds=process_seconds() + 8.0, **endless)
    assert result.status is Status.LIMIT and time.process_time() - began < 80.0  # it would go on for many minutes
    assert [str(f) for f in check(instance, result).findings] == []


def test_no_time_at_all_still_gives_a_bound() -> None:
    instance = generate("small", seed=4)
    result = solved(instance, time_limit_seconds=0.0)
    assert result.status is Status.LIMIT and np.isfinite(result.bound)
    assert len([line for line in result.log if line.phase == "bound"]) == 1


def test_search_ends_when_mandatory_jobs_leave_no_schedule() -> None:
    """Two jobs that must run on the same hours of the only site: no endless search, no schedule."""
    both = dict(name=["a", "b"], gpus=[800.0, 700.0], periods=[8, 8], release=0, deadline=8, value_usd=0.0,
                mandatory=True)  # fmt: skip
    instance = tiny(jobs=both, candidates=dict(job=[0, 1], site=[1, 1], cost_usd=0.0))
    result = solved(instance)
    assert result.schedule is None and result.incumbent == np.inf and result.status is not Status.GAP_REACHED


# ---------------------------------------------------------------- the root's record


def test_run_refuses_a_bound_above_its_schedule() -> None:
    instance = tiny()
    c = Coupling.of(instance)
    zero = np.zeros_like(c.capacity)
    result = solved(instance)
    assert result.schedule is not None
    run = Run(instance, Workers(Serial()), options(), Hooks())

    def proof(bound: float) -> DualPoint:
        return DualPoint(c.multipliers(zero), np.zeros(instance.n_sites), bound, c.n_periods)

    def schedule(cost: float) -> Incumbent:
        return Incumbent(result.schedule, cost, Incumbent.__new__(Incumbent))  # type: ignore[arg-type]

    run.prove(proof(-100.0))
    run.prove(proof(-200.0))
    assert run.bound == -100.0 and run.cost == np.inf and run.gap == np.inf
    assert run.offer(schedule(-50.0)) and not run.offer(schedule(-40.0)) and not run.offer(None)
    assert run.cost == -50.0 and run.gap == pytest.approx(1.0) and not run.must_stop()
    run.prove(proof(-50.0 + 1e-6))  # rounding
    assert run.must_stop()
    with pytest.raises(ArithmeticError, match="bound -49.0.* above a schedule of -50.0"):
        run.prove(proof(-49.0))
    other = Run(instance, Workers(Serial()), options(), Hooks())
    other.prove(proof(-49.0))
    with pytest.raises(ArithmeticError, match="above a schedule"):
        other.offer(schedule(-50.0))
    assert replace(result, bound=-49.0, incumbent=-50.0).gap_abs == -1.0


# ---------------------------------------------------------------- methods as data


def test_every_method_is_an_entry_or_the_extensive_form() -> None:
    assert {*PHASES, "extensive"} == {*METHODS}
    for method, phases in PHASES.items():
        assert phases_left(method, "bound") == phases
        for later in ("milp bound", "of another method, or an earlier version"):
            left = phases_left(method, later)
            assert left[0].name == "improve" and left == phases[-len(left) :]


def test_the_extensive_form_is_what_was_asked_for_or_refused(tmp_path: Path) -> None:
    extensive = options(rel_gap=1e-9).updated(method="extensive")
    truth = solve_extensive(tiny(), rel_gap=1e-9)
    result = solve(tiny(), Serial(), extensive)
    assert result is not None and result.provenance["method"] == "extensive" and result.schedule is not None
    assert result.incumbent == pytest.approx(truth.incumbent) and len(result.log)
    with pytest.raises(InputError, match="leaves no state"):
        solve(tiny(), Serial(), extensive, hooks=Hooks(checkpoint=(tmp_path / "c.h5", 30.0)))
    with pytest.raises(InputError, match="phases of method 'hybrid'"):
        trace(tiny(), Serial(), extensive, 3)
