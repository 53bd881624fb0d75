"""Replanning: with what it has been allotted a group finds what there is to find, and groups together a schedule."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from scipy.sparse import csr_array

from decomp.bound.coupling import Coupling
from decomp.certificate import check
from decomp.families import generate
from decomp.lp.highs import Effort
from decomp.model.accounts import account, allot, complete
from decomp.model.instance import Instance
from decomp.model.options import Options, Replan
from decomp.model.result import Result, Schedule
from decomp.ranks.mpi import Serial
from decomp.schedule.group_lp import GroupTask
from decomp.search.by_prices import Neighbours, SearchState
from decomp.search.by_resources import ReplanTask, linked_groups, owners_of_jobs, replan, replan_round
from decomp.solver.phases import division
from decomp.solver.solve import solve
from decomp.state.solve_state import Run
from loops import optimum, workers_of

pytestmark = pytest.mark.slow

LONG = 1e12


def idle(instance: Instance, schedule: Schedule) -> Schedule:
    """The schedule with its optional jobs rejected; their load goes, and what was dispatched for it stays."""
    runs = instance.jobs.mandatory & (schedule.job_site >= 0)
    job_site, job_start = np.where(runs, schedule.job_site, -1), np.where(runs, schedule.job_start, -1)
    return replace(schedule, job_site=job_site, job_start=job_start)


SEEDS = (1, 4, 7, 9, 13, 16)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group_of_all_sites_finds_the_optimum_from_its_commitments(seed: int) -> None:
    instance, result = optimum(seed)
    if result.schedule is None:
        pytest.skip("no schedule in the time given")
    start = idle(instance, result.schedule)
    task = ReplanTask(GroupTask(instance, start), 10_000, Effort(0.0, 100_000), LONG)
    found, late = replan(task)
    assert not late
    jobs_pay = (start.job_site != result.schedule.job_site).any()
    if found is None:
        assert not jobs_pay
        return
    again = complete(instance, found)
    cost = account(instance, again).net_cost
    assert cost == pytest.approx(result.incumbent, rel=1e-6, abs=1e-6)
    assert certified(instance, replace(result, schedule=again, incumbent=cost))


@pytest.mark.parametrize("seed", range(4))
def test_groups_at_the_same_time_gain_and_make_one_schedule(seed: int) -> None:
    instance = generate("fleet", sites=6, periods=24, period_h=1.0, seed=seed)
    rough = solved(instance, rel_gap=0.9)
    assert rough.schedule is not None
    schedule, cost, workers = rough.schedule, rough.incumbent, workers_of(instance)
    for groups in ([np.array([5, 0]), np.array([1, 4]), np.array([2, 3])], [np.array([0, 1, 2]), np.array([3, 4, 5])]):
        schedule = replan_round(instance, schedule, workers, groups, Replan(), LONG)
        before, cost = cost, account(instance, schedule).net_cost
        assert cost <= before + 1e-6 * abs(before)
        assert certified(instance, replace(rough, schedule=schedule, incumbent=cost))
    assert cost < rough.incumbent


def test_groups_follow_streams_that_sites_have_in_common() -> None:
    """Sites 0-2 and 3-5 serve a stream each, all jobs have all places: a group is mostly one of the two."""
    everywhere, streams = np.ones((7, 7)), np.zeros((7, 7))
    streams[:3, :3] = streams[3:6, 3:6] = 1.0
    neighbours, rng = Neighbours(csr_array(everywhere), csr_array(streams), np.zeros(7)), np.random.default_rng(0)
    together = 0
    for _ in range(100):
        groups = linked_groups(neighbours, 3, rng)
        assert sorted(np.concatenate(groups).tolist()) == list(range(7))
        assert sorted(map(len, groups)) == [1, 3, 3]
        together += any(sorted(g.tolist()) in ([0, 1, 2], [3, 4, 5]) for g in groups)
    assert together > 50
    lonely = Neighbours(csr_array((4, 4)), csr_array((4, 4)), np.zeros(4))
    assert sorted(map(len, linked_groups(lonely, 3, rng))) == [1, 3]


def test_groups_of_a_small_fleet_grow_with_rounds_that_gained_little() -> None:
    """Here or in the search by prices, whichever it was; in the end the fleet is one group with ever more runs."""
    instance = generate("fleet", sites=10, periods=4, period_h=1.0, seed=0)
    run = cast(Run, SimpleNamespace(instance=instance, options=Options(), small=True))
    neighbours = Neighbours.of(Coupling.of(instance))

    def largest(level: int, stale: int, turn: int = 1) -> tuple[int, int]:
        search = SearchState(neighbours, np.random.default_rng(0), level=level)
        groups, effort = division(run, search, turn, stale, None)
        assert sorted(np.concatenate(groups).tolist()) == list(range(10))
        return max(map(len, groups)), effort.runs_kept

    first, packed = Replan().small_sites, Replan().packed_sites
    assert largest(0, 0) == largest(1, 0) == (first, Replan().runs_kept)
    assert first < largest(0, 2)[0] == largest(2, 0)[0] == largest(1, 1)[0] < 10
    assert largest(0, 0, turn=0)[0] == packed < largest(2, 0, turn=0)[0]
    assert largest(3, 1)[0] == 10 and largest(3, 2)[1] > largest(3, 1)[1]


def test_a_rejected_job_is_one_group_s_to_take() -> None:
    """Two groups that both have room for the only job: the one with more places for it may take it."""
    instance = generate("fleet", sites=9, periods=12, period_h=1.0, seed=2)
    groups = [np.array([0, 1, 2]), np.array([3, 4]), np.array([5, 6, 7])]
    owner, table = owners_of_jobs(instance, groups), instance.candidates
    for j in range(instance.n_jobs):
        places = [int(np.isin(table.site[table.job == j], sites).sum()) for sites in groups]
        assert places[owner[j]] == max(places)


def test_without_time_nothing_changes() -> None:
    instance = generate("fleet", sites=4, periods=12, period_h=1.0, seed=0)
    rough = solved(instance, rel_gap=0.9)
    assert rough.schedule is not None
    workers = workers_of(instance)
    assert replan_round(instance, rough.schedule, workers, [np.arange(4)], Replan(), 0.0) is rough.schedule
    assert replan(ReplanTask(GroupTask(instance, rough.schedule), 3, Effort(), until=0.0)).late


def test_hybrid_replans_in_the_time_that_prices_leave() -> None:
    """On a fleet too large to branch on or to close, only hybrid goes on when the prices have nothing more to say."""
    instance = generate("fleet", sites=4, periods=24, period_h=1.0, seed=1)
    # what the MILPs of whole blocks claim can take minutes to prove again
    options = dict(rel_gap=0.0, improvement=dict(stale_finishes=1), milp_bound=dict(block_sites=1))
    options |= dict(branching=dict(site_periods=0), closing=dict(site_periods=0))
    costs = {}
    for method in ("lagrangian", "hybrid"):
        result = solved(instance, method=method, **options)
        costs[method] = result.incumbent
        assert ("replan" in {line.phase for line in result.log}) == (method == "hybrid")
        assert certified(instance, result)
    assert costs["hybrid"] <= costs["lagrangian"]


def certified(instance: Instance, result: Result) -> bool:
    return check(instance, replace(result, allowances=allot(instance, result.schedule, result.dual))).ok


def solved(instance: Instance, **options: object) -> Result:
    result = solve(instance, Serial(), Options.from_dict(options))
    assert result is not None
    return result
