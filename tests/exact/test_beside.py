"""The whole fleet beside the decomposition: one model, schedules in and out of it, and a run that can be repeated."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.lp.highs import Effort, solve_integral
from decomp.model.accounts import account
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Result, Schedule, Status
from decomp.ranks.clock import process_seconds
from decomp.ranks.clock_decisions import Stops
from decomp.ranks.team import Serial
from decomp.search.fleet_model import FleetModel
from decomp.solver.solve import solve
from decomp.state.solve_state import Hooks
from tiny import tiny

GENEROUS = 200.0  # seconds; SCIP needs one
SMALL = 10_000


def objections(instance: Instance, schedule: Schedule) -> list[str]:
    """What the certificate has against a schedule."""
    cost, facts = account(instance, schedule).net_cost, dict(instance_hash=instance.content_hash())
    result = Result(Status.LIMIT, cost, cost, schedule, None, provenance=facts)
    return [str(f) for f in check(instance, result, bound=False).findings]


@pytest.mark.parametrize("changes", [{}, {"sites": {"exact_power_curve": True}}], ids=["tiny", "exact curves"])
def test_a_schedule_that_goes_through_the_model_is_the_same_or_cheaper(changes: dict[str, Any]) -> None:
    instance = tiny(**changes)
    truth, fleet = solve_extensive(instance, rel_gap=1e-9), FleetModel(instance)
    assert truth.schedule is not None
    x = fleet.point(fleet.integers(truth.schedule))
    assert x is not None
    schedule = fleet.schedule(x)
    assert (schedule.job_site == truth.schedule.job_site).all()
    assert (schedule.generator_on == truth.schedule.generator_on).all()
    assert account(instance, schedule).net_cost == pytest.approx(truth.incumbent, rel=1e-6)
    assert objections(instance, schedule) == []


def test_the_optimum_of_the_model_is_that_of_the_extensive_form() -> None:
    instance = tiny()
    fleet = FleetModel(instance)
    x = solve_integral(fleet.model, Effort(rel_gap=0.0, nodes=100_000))
    assert x is not None
    schedule = fleet.schedule(x)
    assert account(instance, schedule).net_cost == pytest.approx(solve_extensive(instance).incumbent, rel=1e-6)
    assert objections(instance, schedule) == []


def test_integers_that_leave_no_point_give_none() -> None:
    fleet = FleetModel(tiny())
    assert fleet.point(np.zeros(fleet.model.integer.sum())) is None  # no run for the mandatory job


def contested() -> Instance:
    """Six jobs on three sites for eight hours, of which a search that hardly tries finds no best schedule."""
    return generate("fleet", sites=3, periods=8, period_h=1.0, jobs=6, seed=2)


def solved(site_periods: int, stops: Stops | None = None) -> Result:
    """A solve that hardly tries, and leaves the rest to SCIP where the fleet is no larger than that."""
    little = dict(rel_gap=0.5, runs_kept=1)
    options = Options.from_dict(
        dict(
            rel_gap=0.0,
            time_limit_seconds=GENEROUS,
            branching=dict(jobs=0),
            moves=dict(programs=1),
            closing=dict(site_periods=0),
            improvement=little | dict(stale_finishes=1, cluster_nodes=1),
            replan=little | dict(nodes=1),
            beside=dict(site_periods=site_periods),
        )
    )
    result = solve(contested(), Serial(), options, hooks=Hooks(stops=stops), since=process_seconds())
    assert result is not None
    return result


@pytest.mark.slow
def test_what_scip_finds_is_taken_and_a_replay_needs_no_scip(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyscipopt")
    told: dict[int, Any] = {}
    result = solved(SMALL, Stops(tell=told.__setitem__))
    assert result.incumbent == pytest.approx(solve_extensive(contested(), rel_gap=1e-9).incumbent, rel=1e-5)
    assert "scip" in {row.phase for row in result.log}
    assert [str(f) for f in check(contested(), result).findings] == []
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    again = solved(SMALL, Stops(recorded=told))
    assert (again.incumbent, again.bound) == (result.incumbent, result.bound)
    assert [row.incumbent for row in again.log] == [row.incumbent for row in result.log]


def test_without_scip_everything_is_as_if_it_were_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    absent, unasked = solved(SMALL), solved(0)
    assert (absent.incumbent, absent.bound) == (unasked.incumbent, unasked.bound)
    assert "scip" not in {row.phase for row in absent.log}
