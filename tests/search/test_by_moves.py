"""Moves of jobs: costs are exact, cuts are lower bounds, and no move that gains is overlooked."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from decomp.bound import job_kernels
from decomp.bound.coupling import Coupling, Fixing
from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.lp.highs import Effort
from decomp.model.accounts import account, allot
from decomp.model.instance import Instance
from decomp.model.options import Moves, Options
from decomp.model.result import Result
from decomp.model.scenarios import expand
from decomp.ranks.mpi import Serial
from decomp.schedule.dive import fixed_load
from decomp.schedule.group_lp import GroupTask
from decomp.schedule.incumbent import fixing_of
from decomp.schedule.recommit import recommit
from decomp.search import by_moves, move_kernels
from decomp.search.by_moves import JobCost, MoveTask, moved, moved_jobs, search_moves
from decomp.solver.solve import solve
from loops import workers_of
from tiny import plain

LONG = 600.0


def rough(seed: int, sites: int = 4) -> tuple[Instance, Result]:
    """A fleet with the first schedule that is found."""
    instance = generate("fleet", sites=sites, periods=24, period_h=1.0, seed=seed)
    result = solve(instance, Serial(), Options.from_dict(dict(rel_gap=0.9, method="lagrangian")))
    assert result is not None and result.schedule is not None
    return instance, result


def neighbours(c: Coupling, fixing: Fixing, rng: np.random.Generator, n: int) -> list[Fixing]:
    """Some fixings with one job elsewhere, where it fits."""
    found = []
    while len(found) < n:
        j = int(rng.integers(c.n_jobs))
        k = int(rng.integers(c.jobs.ptr[j], c.jobs.ptr[j + 1]))
        s = int(c.jobs.release[j] + rng.integers(c.jobs.n_starts[j]))
        trial = moved(fixing, np.array([j, k, s, -1, -1, -1]))
        if (fixed_load(c, trial.run, trial.start) <= c.usable).all():
            found.append(trial)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_cuts_are_lower_bounds_on_exact_costs(seed: int) -> None:
    instance, result = rough(seed)
    c, rng = Coupling.of(instance), np.random.default_rng(seed)
    cost = JobCost(c, GroupTask(instance, result.schedule))
    here = cost.at(fixing_of(c, result.schedule))
    assert here.cost <= result.incumbent + 1e-6 * abs(result.incumbent)
    assert here.cost == pytest.approx(result.incumbent, rel=1e-2)
    for trial in neighbours(c, here.fixing, rng, 8):
        load = fixed_load(c, trial.run, trial.start).reshape(1, -1)
        bound = float(cost.at_least(load).sum() + cost.of_runs(trial.run))
        again = cost.at(trial)
        assert bound <= again.cost + 1e-6 * abs(again.cost)
        assert cost.at_least(load, newest=True).sum() + cost.of_runs(trial.run) == pytest.approx(again.cost, rel=1e-9)


def test_a_search_ends_where_no_move_promises_a_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    instance, result = rough(0)
    monkeypatch.setattr(by_moves, "LITTLE", 1.0)  # no move gains as much as all the cost
    answer = search_moves(MoveTask(GroupTask(instance, result.schedule), Moves(programs=40), 1, np.inf))
    here = JobCost(Coupling.of(instance), GroupTask(instance, result.schedule)).at(
        fixing_of(Coupling.of(instance), result.schedule)
    )
    assert answer.cost <= here.cost and not answer.late


@pytest.mark.parametrize("wind, budget", [([[0.3], [0.3]], 0.5), ([[0.5], [0.0]], 0.1)])
def test_credits_of_exports_do_not_hide_what_jobs_cost(wind: list[list[float]], budget: float) -> None:
    """No search claims less than the optimum by importing and exporting at once, unless all credits are needed."""
    sites = dict(export_credit=0.9, wind_mw=np.array(wind) * np.ones(6))
    instance = plain(sites=sites, carbon_budget_t=budget, streams=None, arcs=None)
    truth = solve_extensive(instance, rel_gap=1e-9)
    assert truth.schedule is not None
    answer = search_moves(MoveTask(GroupTask(instance, truth.schedule), Moves(programs=20), 1, np.inf))
    assert np.isfinite(answer.cost) and (answer.cost >= truth.incumbent - 1e-6) == (budget > 0.1)


def test_cuts_of_programs_that_end_early_are_lower_bounds() -> None:
    instance, result = rough(0)
    c, rng = Coupling.of(instance), np.random.default_rng(0)
    fleet = GroupTask(instance, result.schedule)
    cost, exact = JobCost(c, fleet), JobCost(c, fleet)
    here = cost.at(fixing_of(c, result.schedule))
    for trial in neighbours(c, here.fixing, rng, 12):
        true = exact.at(trial).cost
        assert np.isinf(cost.at(trial, true - 0.5 * abs(true - here.cost) - 1.0).cost)
        for other in neighbours(c, here.fixing, rng, 3):
            bound = cost.at_least(cost.load(other).reshape(1, -1), newest=True).sum() + cost.of_runs(other.run)
            true = exact.at(other).cost
            assert bound <= true + 1e-6 * abs(true)


def test_with_scenarios_the_cost_of_a_move_is_the_sum_of_all_or_known_to_be_too_much() -> None:
    base = generate("fleet", sites=4, periods=12, period_h=1.0, seed=3, scenarios=5)
    result = solve(base, Serial(), Options.from_dict(dict(rel_gap=0.9, method="lagrangian")))
    assert result is not None and result.schedule is not None
    instance, rng = expand(base), np.random.default_rng(0)
    c, fleet = Coupling.of(instance), GroupTask(instance, result.schedule)
    cost = JobCost(c, fleet)
    here = cost.at(fixing_of(c, result.schedule))
    assert here.cost <= result.incumbent + 1e-6 * abs(result.incumbent)
    assert here.cost == pytest.approx(result.incumbent, rel=2e-2)
    for trial in neighbours(c, here.fixing, rng, 8):
        load = cost.load(trial).reshape(1, -1)
        bound = float(cost.at_least(load).sum() + cost.of_runs(trial.run))
        exact = JobCost(c, fleet).at(trial)
        assert bound <= exact.cost + 1e-6 * abs(exact.cost)
        assert np.isinf(cost.at(trial, exact.cost - 1.0).cost)
        again = cost.at(trial, exact.cost + 1.0)
        assert again.cost == pytest.approx(exact.cost, rel=1e-9)
        step = (cost.load(here.fixing) - cost.load(trial)).ravel()
        least = again.cost + again.price.ravel() @ step + cost.of_runs(here.fixing.run) - cost.of_runs(trial.run)
        assert here.cost >= least - 1e-6 * abs(here.cost)


def test_all_single_moves_that_gain_are_listed() -> None:
    instance, result = rough(1)
    c = Coupling.of(instance)
    fixing, rows = fixing_of(c, result.schedule), c.jobs
    price = np.random.default_rng(0).uniform(0.0, 2.0, c.capacity.shape) * np.abs(rows.cost).mean() / 1e4
    load = fixed_load(c, fixing.run, fixing.start)
    room, before = c.usable - load, c.usable - load
    moves = np.empty((20_000, 6), dtype=np.int64)
    moves = moves[: move_kernels.list_moves(price, room, rows, fixing.run, fixing.start, 1.0, moves)]
    np.testing.assert_allclose(room, before, atol=1e-6)

    def value(fixing: Fixing) -> float:
        return float(job_kernels.run_values(price, rows, fixing.run, fixing.start).sum())

    def fits(fixing: Fixing) -> bool:
        return bool((fixed_load(c, fixing.run, fixing.start) <= c.usable + 1e-6).all())

    singles = {tuple(m[:3]) for m in moves.tolist() if m[3] < 0}
    expected = set()
    for j in range(c.n_jobs):
        runs = list(product(range(rows.ptr[j], rows.ptr[j + 1]), rows.release[j] + np.arange(rows.n_starts[j])))
        for k, s in runs + [(-1, -1)] * bool(rows.optional[j]):
            allowed = k < 0 or rows.allowed[rows.first[k] + s - rows.release[j]]
            trial = moved(fixing, np.array([j, k, s, -1, -1, -1]))
            if allowed and value(trial) < value(fixing) - 1.0 and fits(trial):
                expected.add((j, int(k), int(s)))
    assert singles == expected and expected
    pairs = moves[moves[:, 3] >= 0]
    assert len(pairs) and all(fits(moved(fixing, m)) and value(moved(fixing, m)) < value(fixing) - 1.0 for m in pairs)
    loads = np.repeat(load[None], len(moves), axis=0)
    move_kernels.change_loads(rows, fixing.run, fixing.start, moves, loads)
    for m, changed in zip(moves[::7], loads[::7], strict=True):
        trial = moved(fixing, m)
        np.testing.assert_allclose(changed, fixed_load(c, trial.run, trial.start), atol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_a_search_makes_a_certified_schedule_of_the_cost_it_says(seed: int) -> None:
    instance, result = rough(seed, sites=5)
    task = MoveTask(GroupTask(instance, result.schedule), Moves(programs=40), seed, LONG)
    answer = search_moves(task)
    assert answer.cost < result.incumbent and not answer.late
    same = search_moves(task)
    assert (
        same.cost == answer.cost and np.array_equal(same.run, answer.run) and np.array_equal(same.start, answer.start)
    )
    assert result.schedule is not None
    workers = workers_of(instance)
    jobs = moved_jobs(instance, result.schedule, workers, Moves(programs=40), np.array([seed]), LONG)
    schedule = recommit(instance, jobs, workers, Effort(1e-6, 1000), LONG)
    assert schedule is not None
    cost = account(instance, schedule).net_cost
    assert answer.cost - 1e-6 * abs(cost) <= cost < result.incumbent
    found = replace(result, schedule=schedule, incumbent=cost)
    assert check(instance, replace(found, allowances=allot(instance, schedule, result.dual))).ok


def test_without_time_nothing_changes() -> None:
    instance, result = rough(0)
    assert result.schedule is not None
    workers, seeds = workers_of(instance), np.array([0, 1])
    assert moved_jobs(instance, result.schedule, workers, Moves(), seeds, 0.0) is result.schedule
    assert search_moves(MoveTask(GroupTask(instance, result.schedule), Moves(), 0, until=0.0)).late


def test_hybrid_moves_jobs_of_small_fleets_only() -> None:
    instance = generate("fleet", sites=3, periods=8, period_h=1.0, seed=1)
    options = dict(rel_gap=0.0, bundle=dict(max_iterations=10), improvement=dict(stale_finishes=1))
    options |= dict(branching=dict(site_periods=0), extensive_finish=dict(site_periods=0), moves=dict(programs=10))
    for small, phase in ((3, "moves"), (2, "replan")):
        result = solve(instance, Serial(), Options.from_dict(options | dict(small_fleet=small)))
        assert result is not None
        assert {line.phase for line in result.log} & {"moves", "replan"} == {phase}
