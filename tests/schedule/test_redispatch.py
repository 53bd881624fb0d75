"""Redispatch: with integers held, the rest is settled to the optimum, and what comes out is a schedule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from decomp.certificate import check
from decomp.families import generate
from decomp.model.accounts import account
from decomp.model.options import Options
from decomp.model.result import Schedule
from decomp.ranks.mpi import Serial
from decomp.schedule.group_lp import groups
from decomp.schedule.redispatch import redispatch
from decomp.solver.solve import solve
from loops import optimum, workers_of

pytestmark = pytest.mark.slow

SEEDS = (1, 4, 7, 9, 13, 16)


def spoiled(schedule: Schedule) -> Schedule:
    """The same jobs and commitments, half of the inference dropped."""
    return replace(schedule, routed_gpu=0.5 * schedule.routed_gpu)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_optimum_stays_and_is_found_again_from_its_integers(seed: int) -> None:
    instance, result = optimum(seed)
    if result.schedule is None:
        pytest.skip("no schedule in the time given")
    workers, scale = workers_of(instance), 1e-6 * (1.0 + abs(result.incumbent))
    exact = instance.sites.exact_power_curve.any()  # segments are held too, and other loads lie on others
    for start in (result.schedule, result.schedule if exact else spoiled(result.schedule)):
        again = redispatch(instance, start, workers, instance.n_sites)
        cost = account(instance, again).net_cost
        assert result.bound - scale <= cost <= result.incumbent + scale
        assert check(instance, replace(result, schedule=again, incumbent=cost)).ok


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [1, 2])
def test_groups_at_the_same_time_make_one_schedule(seed: int, size: int) -> None:
    """Nobody serves the same demand twice, and the budget is kept, whatever each group does alone."""
    instance, result = optimum(seed)
    if result.schedule is None:
        pytest.skip("no schedule in the time given")
    worse = redispatch(instance, result.schedule, workers_of(instance), size)
    cost = account(instance, worse).net_cost
    assert cost == pytest.approx(result.incumbent, rel=1e-6, abs=1e-6)
    assert check(instance, replace(result, schedule=worse, incumbent=cost)).ok


def test_groups_cover_the_fleet_once() -> None:
    instance = generate("fleet", sites=23, periods=8, seed=3)
    for size in (1, 5, 23, 40):
        found = groups(instance, size)
        assert sorted(np.concatenate(found).tolist()) == list(range(23))
        assert max(map(len, found)) <= size


def test_a_solve_ends_no_dearer_than_its_plans_alone() -> None:
    instance = generate("fleet", sites=6, periods=16, seed=2)
    options = Options.from_dict(dict(method="lagrangian", improvement=dict(stale_finishes=1)))
    result = solve(instance, Serial(), options)
    assert result is not None and result.schedule is not None
    once_more = account(instance, redispatch(instance, result.schedule, workers_of(instance), 6)).net_cost
    assert once_more == pytest.approx(result.incumbent, rel=1e-5)
