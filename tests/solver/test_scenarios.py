"""Scenarios against the ground truth: the extensive form over all of them, and what must not matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decomp.bound.site_integers import with_integers
from decomp.certificate import check
from decomp.extensive.pyomo_model import build, solve_extensive
from decomp.families import generate
from decomp.files.store import read_result, write_result
from decomp.model.accounts import account, by_scenario, cvar
from decomp.model.instance import Instance
from decomp.model.options import Bundle, MilpBound, Options
from decomp.model.result import Result, Schedule, Status
from decomp.model.scenarios import SERIES, expand, of_scenario, series_of, side_by_side, with_scenarios
from decomp.ranks.mpi import Serial
from decomp.solver.solve import solve
from draws import seldom
from loops import loop_of

SEEDS = range(6)


def stochastic(seed: int, **risk: Any) -> Instance:
    """A tiny instance with three scenarios that are not equally likely."""
    instance = generate("small", seed=seed, scenarios=3)
    unequal = replace(instance.scenarios, probability=np.array([0.5, 0.3, 0.2]))
    return replace(instance, scenarios=unequal, **risk)


def solved(instance: Instance, method: str = "lagrangian", rel_gap: float = 1e-4) -> Result:
    brief = dict(bundle=dict(max_iterations=100), improvement=dict(stale_finishes=1))
    options = dict(method=method, rel_gap=rel_gap, **brief)
    result = solve(instance, Serial(), Options.from_dict(options))
    assert result is not None and result.schedule is not None
    return result


def rearranged(instance: Instance, order: list[int], probability: list[float]) -> Instance:
    """The instance with scenarios in another order, or some of them more than once."""
    series = {name: series_of(instance, name)[order] for name in SERIES}
    return with_scenarios(instance, probability, series)


@pytest.mark.parametrize("seed", seldom(SEEDS, daily=4))
def test_bound_optimum_incumbent(seed: int) -> None:
    instance = stochastic(seed)
    truth = solve_extensive(instance, time_limit=600.0)
    relaxed = solve_extensive(instance, relax=True)
    result = solved(instance)
    slack = 1e-6 * max(1.0, abs(truth.incumbent))
    assert truth.status is Status.GAP_REACHED and truth.schedule is not None and result.schedule is not None
    assert result.bound <= truth.incumbent + slack and truth.bound <= result.incumbent + slack
    assert result.bound >= relaxed.bound - 1e-3 * max(1.0, abs(relaxed.bound))
    for found in (truth, result):
        certificate = check(instance, found)
        assert certificate.ok, certificate.findings
    every, together = [a.net_cost for a in by_scenario(instance, result.schedule)], account(instance, result.schedule)
    expected = instance.scenarios.probability @ every + together.components["carbon_excess"]
    assert result.incumbent == pytest.approx(expected, abs=slack)
    assert together.net_cost == pytest.approx(result.incumbent, abs=slack)


def test_equal_scenarios_cost_what_one_does() -> None:
    for seed in (0, 4):
        one = generate("small", seed=seed)
        same = with_scenarios(one, [0.2, 0.5, 0.3], {})
        truth, copies = solve_extensive(one, time_limit=600.0), solve_extensive(same, time_limit=600.0)
        assert copies.incumbent == pytest.approx(truth.incumbent, rel=1e-9, abs=1e-9)
        assert truth.schedule is not None
        alike = side_by_side([truth.schedule] * 3)
        assert account(same, alike).net_cost == pytest.approx(truth.incumbent, rel=1e-12)


def test_a_single_scenario_is_solved_as_the_instance_without() -> None:
    one = generate("small", seed=5)
    alone, single = solved(one, "hybrid"), solved(with_scenarios(one, [1.0], {}), "hybrid")
    assert [(i.phase, i.bound, i.incumbent) for i in alone.log] == [(i.phase, i.bound, i.incumbent) for i in single.log]


def test_the_order_of_scenarios_does_not_matter() -> None:
    instance = stochastic(2)
    other = rearranged(instance, [2, 0, 1], [0.2, 0.5, 0.3])
    costs = [solve_extensive(i, time_limit=600.0).incumbent for i in (instance, other)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-9)
    results = [solved(i) for i in (instance, other)]
    assert results[0].bound == pytest.approx(results[1].bound, rel=2e-3)


def test_names_in_the_model_tell_the_scenario() -> None:
    form = build(stochastic(1))
    assert {"imp_s0_0_0", "imp_s2_1_3", "route_s1_0_0"} <= set(form.columns)
    assert {"balance_s1_0_2", "carry_s2_0_0"} <= set(form.rows)
    assert any(name.startswith("start_0_") for name in form.columns) and "imp_0_0" not in form.columns


def truth_of(seed: int) -> tuple[Instance, Result, Schedule]:
    instance = stochastic(seed)
    result = solve_extensive(instance, time_limit=600.0)
    assert result.schedule is not None
    return instance, result, result.schedule


def test_the_certificate_rejects_other_probabilities() -> None:
    instance, result, _ = truth_of(1)
    other = replace(instance, scenarios=replace(instance.scenarios, probability=np.array([0.3, 0.5, 0.2])))
    found = [str(f) for f in check(other, result).findings]
    assert any("instance hash" in f for f in found) and any("net cost: incumbent" in f for f in found)


def test_the_certificate_rejects_a_dispatch_of_another_scenario() -> None:
    instance, result, schedule = truth_of(1)
    parts = [of_scenario(schedule, s, 3) for s in (0, 2, 2)]
    found = [str(f) for f in check(instance, replace(result, schedule=side_by_side(parts))).findings]
    assert any("scenario 's1'" in f for f in found) and not any("scenario 's2'" in f for f in found)


def test_the_certificate_rejects_a_job_that_runs_elsewhere_in_one_scenario() -> None:
    for seed in SEEDS:
        instance, result, schedule = truth_of(seed)
        running = np.flatnonzero(schedule.job_site >= 0)
        if not len(running):
            continue
        power = np.array(schedule.it_power_mw)
        j, s = int(running[0]), 1
        start, site = int(schedule.job_start[j]), int(schedule.job_site[j]) + s * instance.n_sites
        slope = instance.sites.power_slope_mw_per_gpu[site % instance.n_sites, 0]
        power[site, start] -= 0.5 * slope * instance.jobs.gpus[j]
        found = check(instance, replace(result, schedule=replace(schedule, it_power_mw=power))).findings
        assert any("(2) IT power above the curve: scenario 's1'" in str(f) for f in found), found
        return
    raise AssertionError("no job runs")


def test_the_certificate_rejects_a_bound_that_is_too_high() -> None:
    instance = stochastic(1)
    result = solved(instance)
    assert result.dual is not None
    lower = np.array(result.dual.site_lower)
    lower[-1] += 1.0
    found = [str(f) for f in check(instance, replace(result, dual=replace(result.dual, site_lower=lower))).findings]
    assert any("bound: site_lower: site" in f and "in scenario 's2'" in f for f in found)
    assert any("bound: claimed" in str(f) for f in check(instance, replace(result, bound=result.bound + 5.0)).findings)


def test_rows_of_all_scenarios() -> None:
    instance = stochastic(2)
    fleet = expand(instance)
    assert expand(fleet) is fleet and fleet.copies == 3 and fleet.n_places == instance.n_sites
    assert fleet.rows_of(np.array([1])).tolist() == [1, 1 + instance.n_sites, 1 + 2 * instance.n_sites]


def day_ahead(instance: Instance) -> Instance:
    once = np.ones(len(instance.generators.site), dtype=bool)
    return replace(instance, generators=replace(instance.generators, day_ahead=once))


EVERY: dict[str, Any] = dict(carbon_scope="every")
RISKY: dict[str, Any] = dict(risk_weight=0.5, risk_level=0.7)


@pytest.mark.parametrize("kind", [EVERY, RISKY, {}, EVERY | RISKY])
@pytest.mark.parametrize("seed", seldom([1, 0], daily=1))
def test_budgets_risk_and_commitments(kind: dict[str, Any], seed: int) -> None:
    instance = stochastic(seed, **kind)
    instance = instance if kind in (EVERY, RISKY) else day_ahead(instance)
    truth, relaxed = (solve_extensive(instance, time_limit=600.0, relax=relax) for relax in (False, True))
    free, result = solve_extensive(stochastic(seed), time_limit=600.0), solved(instance)
    slack = 1e-6 * max(1.0, abs(truth.incumbent))
    assert free.bound <= truth.incumbent + slack and result.bound <= truth.incumbent + slack
    assert truth.bound <= result.incumbent + slack
    assert result.bound >= relaxed.bound - 2e-3 * max(1.0, abs(relaxed.bound))
    for found in [result, *[truth] * (truth.schedule is not None)]:  # ten seconds may be too short on a busy machine
        certificate = check(instance, found)
        assert certificate.ok, certificate.findings


@pytest.mark.parametrize("seed", seldom([1, 0], 1))
def test_the_certificate_rejects_multipliers_that_no_scenario_may_have(seed: int, tmp_path: Path) -> None:
    instance = day_ahead(stochastic(seed, **EVERY | RISKY))
    write_result(tmp_path / "r.h5", solved(instance, rel_gap=1e-3), instance)
    result = read_result(tmp_path / "r.h5")
    assert result.dual is not None and result.dual.futures is not None and check(instance, result).ok
    futures = result.dual.futures
    weight = np.array(futures.weight)

    def findings(**columns: Any) -> list[str]:
        dual = replace(result.dual, futures=replace(futures, **columns))
        return [str(f) for f in check(instance, replace(result, dual=dual)).findings]

    assert any("futures.weight: sum" in f for f in findings(weight=1.1 * weight))
    assert any("within what weight and level" in f for f in findings(weight=np.array([1.0, 0.0, 0.0])))
    assert any("futures.carbon_price" in f for f in findings(carbon_price=futures.carbon_price - 1e6))
    dearer = np.array(futures.commitment_price)
    if len(dearer):
        dearer[0] += 1e3
        assert any("bound: " in f for f in findings(commitment_price=dearer))


def test_all_weight_on_the_tail_is_the_worst_case() -> None:
    instance = stochastic(1, risk_weight=1.0, risk_level=0.95)
    worst = solve_extensive(instance, time_limit=600.0)
    assert worst.schedule is not None
    costs = [a.net_cost for a in by_scenario(instance, worst.schedule)]
    assert worst.incumbent == pytest.approx(max(costs) + account(instance, worst.schedule).components["carbon_excess"])
    mean = solve_extensive(stochastic(1), time_limit=600.0)
    assert mean.schedule is not None
    assert max(costs) <= max(a.net_cost for a in by_scenario(instance, mean.schedule)) + 1e-6 * abs(worst.incumbent)


def test_cvar_is_the_mean_of_the_tail() -> None:
    cost, p = np.array([10.0, 30.0, 20.0]), np.array([0.5, 0.2, 0.3])
    assert cvar(cost, p, 0.0) == pytest.approx(17.0)
    assert cvar(cost, p, 0.8) == pytest.approx(30.0)
    assert cvar(cost, p, 0.6) == pytest.approx(25.0)


def test_the_certificate_rejects_commitments_that_differ() -> None:
    instance, result, schedule = next(t for t in map(truth_of, SEEDS) if len(t[0].generators.site))
    on, n = np.array(schedule.generator_on), len(instance.generators.site)
    on[n, 0] = ~on[0, 0]
    apart = replace(result, schedule=replace(schedule, generator_on=on))
    found = [str(f) for f in check(day_ahead(instance), apart, bound=False).findings]
    assert any("committed once: scenario 's1', generator 0, period 0" in f for f in found), found


@pytest.mark.parametrize("seed", [0, 1])
def test_branching_closes_what_prices_leave(seed: int, tmp_path: Path) -> None:
    instance = stochastic(seed)
    options = dict(method="hybrid", improvement=dict(stale_finishes=1), extensive_finish=dict(site_periods=0))
    result = solve(instance, Serial(), Options.from_dict(options))
    assert result is not None and result.dual is not None
    truth = solve_extensive(instance, time_limit=600.0)
    slack = 1e-6 * max(1.0, abs(truth.incumbent))
    assert result.bound <= truth.incumbent + slack and truth.bound <= result.incumbent + slack
    assert result.gap_rel <= 1e-3 and result.dual.form == "tree"
    write_result(tmp_path / "r.h5", result, instance)
    certificate = check(instance, read_result(tmp_path / "r.h5"))
    assert certificate.ok, certificate.findings


def test_integers_of_sites_raise_the_bound() -> None:
    gains = []
    for seed in (0, 2):
        instance = day_ahead(stochastic(seed, **RISKY))
        loop, truth = loop_of(expand(instance), Bundle()), solve_extensive(instance, time_limit=600.0)
        for _ in range(20):
            loop.iterate()
        raised = with_integers(expand(instance), loop.workers, loop.centre, MilpBound(), 60.0)
        gains.append(raised.bound - loop.centre.bound)
        assert raised.bound <= truth.incumbent + 1e-6 * max(1.0, abs(truth.incumbent))
    assert min(gains) >= 0.0 and max(gains) > 1e-3


@pytest.mark.parametrize("most, phase", [(4, "replan"), (5, "moves")])
def test_groups_are_replanned_where_scenarios_are_too_many_for_moves(most: int, phase: str) -> None:
    none = dict(site_periods=0)
    small = dict(extensive_finish=none, branching=none, moves=dict(scenarios=most, programs=20))
    costs = {}
    for method in ("lagrangian", "hybrid"):
        options = Options.from_dict(dict(method=method, rel_gap=0.0, improvement=dict(stale_finishes=1), **small))
        result = solve(instance := generate("small", seed=3, scenarios=5), Serial(), options)
        assert result is not None and check(instance, result).ok
        assert {it.phase for it in result.log} & {"replan", "moves"} == ({phase} if method == "hybrid" else set())
        costs[method] = result.incumbent
    assert costs["hybrid"] <= costs["lagrangian"] + 1e-6 * abs(costs["lagrangian"])
