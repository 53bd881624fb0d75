"""Replanning: with what it has been allotted a group finds what there is to find, and groups together a schedule."""

from __future__ import annotations

from dataclasses import replace

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
from decomp.model.scenarios import SERIES, expand, series_of, with_scenarios
from decomp.ranks.mpi import Serial
from decomp.schedule.group_lp import GroupTask
from decomp.search.by_prices import Neighbours, StandIns, job_choice
from decomp.search.by_resources import ReplanTask, linked_groups, owners_of_jobs, replan, replan_round, standing_in
from decomp.solver.solve import solve
from loops import optimum, workers_of

pytestmark = pytest.mark.slow

LONG = 1e12


def idle(instance: Instance, schedule: Schedule) -> Schedule:
    """The schedule with its optional jobs rejected; their load goes, and what was dispatched for it stays."""
    runs = instance.jobs.mandatory & (schedule.job_site >= 0)
    job_site, job_start = np.where(runs, schedule.job_site, -1), np.where(runs, schedule.job_start, -1)
    return replace(schedule, job_site=job_site, job_start=job_start)


def standing(instance: Instance, sites: list[int], most: int = 3, seed: int = 0) -> tuple[np.ndarray, StandIns]:
    """A group and scenarios that stand for all there, at random prices."""
    price = np.random.default_rng(seed).uniform(0.0, 0.02, instance.sites.capacity_gpu.shape)
    members = np.sort(sites)
    return members, StandIns.of(Coupling.of(instance), price, members, most)


SEEDS = (1, 4, 7, 9, 13, 16)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group_of_all_sites_finds_the_optimum_from_its_commitments(seed: int) -> None:
    instance, result = optimum(seed)
    if result.schedule is None:
        pytest.skip("no schedule in the time given")
    start = idle(instance, result.schedule)
    few = standing(instance, list(range(instance.n_sites)))[1]
    task = ReplanTask(GroupTask(instance, start), few, 10_000, Effort(0.0, 100_000), LONG)
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


@pytest.mark.parametrize("seed", [0, 1, 3, 4])  # the first schedule of 2 cannot be bettered
def test_groups_at_the_same_time_gain_and_make_one_schedule(seed: int) -> None:
    instance = generate("fleet", sites=6, periods=24, period_h=1.0, seed=seed)
    rough = solved(instance, rel_gap=0.9)
    assert rough.schedule is not None
    schedule, cost, workers = rough.schedule, rough.incumbent, workers_of(instance)
    for groups in ([[5, 0], [1, 4], [2, 3]], [[0, 1, 2], [3, 4, 5]]):
        tasks = [standing(instance, sites) for sites in groups]
        schedule = replan_round(instance, schedule, workers, tasks, Replan(), LONG)
        before, cost = cost, account(instance, schedule).net_cost
        assert cost <= before + 1e-6 * abs(before)
        assert certified(instance, replace(rough, schedule=schedule, incumbent=cost))
    assert cost < rough.incumbent


def test_a_few_scenarios_plan_the_jobs_and_all_decide() -> None:
    base = generate("fleet", sites=4, periods=24, period_h=1.0, seed=2, scenarios=8)
    rough, instance = solved(base, rel_gap=0.9), expand(base)
    assert rough.schedule is not None
    schedule, cost, workers = rough.schedule, rough.incumbent, workers_of(instance)
    for seed, groups in enumerate(([[3, 0], [1, 2]], [[0, 1], [2, 3]])):
        tasks = [standing(instance, sites, seed=seed) for sites in groups]
        assert all(len(few.chosen) == 3 for _, few in tasks)
        schedule = replan_round(instance, schedule, workers, tasks, Replan(), LONG)
        before, cost = cost, account(instance, schedule).net_cost
        assert cost <= before + 1e-6 * abs(before)
    assert cost < rough.incumbent
    assert certified(base, replace(rough, schedule=schedule, incumbent=cost))


def test_a_budget_of_every_scenario_holds_where_a_few_plan() -> None:
    """The scenario that emits most is at its budget; each that stands for others has as much left as before."""
    free = generate("fleet", sites=4, periods=24, period_h=1.0, seed=2, scenarios=8)
    emissions = account(expand(free), solved(free, rel_gap=0.9).schedule).emissions_t.reshape(8, -1).sum(axis=1)
    base = replace(free, carbon_scope="every", carbon_budget_t=float((emissions / free.scenarios.probability).max()))
    rough, instance = solved(base, rel_gap=0.9), expand(base)
    assert rough.schedule is not None
    whole, few = GroupTask(instance, rough.schedule), standing(instance, [0, 1, 2, 3])[1]
    planned = standing_in(whole, few)

    def left(group: GroupTask) -> np.ndarray:
        """Of the budget of each scenario, t, whatever its weight."""
        there = account(group.instance, group.schedule).emissions_t.reshape(group.instance.copies, -1).sum(axis=1)
        return group.instance.carbon_budget_t - there / group.instance.scenarios.probability

    np.testing.assert_allclose(left(planned), left(whole)[few.chosen], rtol=1e-9, atol=1e-6)


def test_scenarios_that_are_the_same_are_one() -> None:
    """Money, emissions and what is left of the budget in three of seven, which weigh as much as all."""
    plain, p = generate("small", seed=4), np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1])
    series = {name: np.repeat(series_of(with_scenarios(plain, [1.0], {}), name), 7, axis=0) for name in SERIES}
    base = with_scenarios(plain, p, series)
    instance, result = expand(base), solved(base, rel_gap=0.9)
    assert result.schedule is not None
    group = GroupTask(instance, result.schedule)
    planned = standing_in(group, standing(instance, list(range(instance.n_places)))[1])
    assert planned.instance.n_scenarios == 3 and planned.instance.scenarios.probability.sum() == pytest.approx(1.0)
    whole, few = account(instance, group.schedule), account(planned.instance, planned.schedule)
    assert few.net_cost == pytest.approx(whole.net_cost, rel=1e-9)
    left = instance.carbon_budget_t - whole.emissions_t.sum()
    assert planned.instance.carbon_budget_t - few.emissions_t.sum() == pytest.approx(left, rel=1e-6)


def test_runs_are_compared_by_the_prices_of_all_scenarios() -> None:
    """Load in the chosen scenarios at their prices and its price in what they miss: what it is worth in all."""
    instance = expand(generate("fleet", sites=4, periods=24, period_h=1.0, seed=0, scenarios=8))
    c, members = Coupling.of(instance), np.array([1, 3])
    price = np.random.default_rng(0).uniform(0.0, 0.02, c.capacity.shape)
    few = StandIns.of(c, price, members, 3)
    seen = few.factor[:, None, None] * price.reshape(8, 4, -1)[:, members]
    position = np.array([-1, 0, -1, 1])
    for j in np.unique(instance.candidates.job[np.isin(instance.candidates.site, members)]):
        choice = job_choice(c, None, int(j), position)
        for r in np.flatnonzero(choice.run >= 0):
            run = slice(choice.start[r], choice.start[r] + choice.length)
            there = choice.gpus * seen[few.chosen, choice.place[r], run].sum()
            everywhere = choice.gpus * price.reshape(8, 4, -1)[:, members[choice.place[r]], run].sum()
            assert choice.at_prices(few.missed).cost[r] + there == pytest.approx(choice.cost[r] + everywhere, rel=1e-9)
    assert not StandIns.of(c, price, members, 8).missed.any()


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
    group = standing(instance, [0, 1, 2, 3])
    assert replan_round(instance, rough.schedule, workers, [group], Replan(), 0.0) is rough.schedule
    assert replan(ReplanTask(GroupTask(instance, rough.schedule), group[1], 3, Effort(), until=0.0)).late


def test_hybrid_replans_in_the_time_that_prices_leave() -> None:
    """On a fleet too large to branch on or to close, only hybrid goes on when the prices have nothing more to say."""
    instance = generate("fleet", sites=3, periods=12, period_h=1.0, seed=1)
    # what the MILPs of whole blocks claim can take minutes to prove again
    options = dict(rel_gap=0.0, improvement=dict(stale_finishes=1), milp_bound=dict(block_sites=1))
    options |= dict(branching=dict(site_periods=0), extensive_finish=dict(site_periods=0), small_fleet=0)
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
