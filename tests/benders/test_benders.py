"""Benders: cuts below and columns above the true site, a gap that closes, schedules within the budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benders.textbook import textbook_benders
from decomp.benders.loop import BendersLoop, benders_finish, relaxed
from decomp.benders.recourse import Recourse
from decomp.bound.coupling import Coupling
from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.lp.highs import Effort
from decomp.model.accounts import emissions_t
from decomp.model.instance import Array, Instance
from decomp.model.options import Benders, Bundle, Options
from decomp.model.scenarios import expand
from decomp.ranks.mpi import Serial
from decomp.schedule.dive import dive
from decomp.site.oracle import SiteOracle
from decomp.site.service import Given, SiteService
from decomp.solver.solve import solve
from loops import loop_of
from solver.wild import wild
from tiny import tiny

pytestmark = pytest.mark.slow

POINTS = 1000
TIGHT = Benders(rel_gap=1e-6, max_iterations=60)


def dived(instance: Instance) -> BendersLoop:
    """The loop of an instance, its jobs fixed by the dive, with some Benders iterations behind it."""
    loop = loop_of(instance, Bundle())
    for _ in range(10):
        loop.iterate()
    dive(loop, Options().recovery, lambda step: False)
    return BendersLoop(loop)


def recourse_of(instance: Instance, i: int) -> Recourse:
    return Recourse(SiteOracle(instance.microgrids, i, instance.period_h, instance.carbon_price_usd_per_t))


def given(load: Array, allowance: float = np.inf, price: float = 0.0, droppable: float = 0.0) -> Given:
    none = np.zeros_like(load)
    return Given(load, droppable * load, none + 1.0, np.array(allowance), np.array(price))


def random_loads(oracle: SiteOracle, rng: np.random.Generator, n: int) -> Array:
    cap = oracle.grids.sites.capacity_gpu[oracle.i]
    return rng.uniform(0.0, 1.0, (n, 1)) * rng.uniform(0.0, 1.0, (n, len(cap))) * cap


@pytest.mark.parametrize("seed", range(5))
def test_no_cut_is_above_and_no_column_below_the_true_site(seed: int) -> None:
    """At random loads, against the integral dispatch at some and its relaxation at all; columns at their own load."""
    instance = generate("small", seed=seed)
    benders = dived(instance)
    for _ in range(12):
        benders.iterate()
    [part], oracles = benders.loop.master.parts.parts.values(), benders.workers.of(SiteService).oracles
    pool = part.pool
    rng = np.random.default_rng(seed)
    n, compared = POINTS // 4 // instance.n_sites + 1, 0
    for i, oracle in oracles.items():
        recourse = recourse_of(instance, i)

        def below(load: Array, tonnes: float, i: int = i) -> float:
            loads, allowances = np.zeros((instance.n_sites, len(load))), np.zeros(instance.n_sites)
            loads[i], allowances[i] = load, tonnes
            return float(pool.least_cost(loads, allowances)[i])

        for number, load in enumerate(random_loads(oracle, rng, n)):
            none = np.zeros_like(load)
            point = recourse.evaluate(given(load, float(rng.uniform(0.5, 1.2) * pool.emission[i, 0]), 100.0))
            integral = number % 10 == 0
            plan = oracle.evaluate_fixed(load, none, none, 30.0, effort=Effort()) if integral else None
            for true in (point, plan):
                if true is not None and true.load is not None:
                    compared += 1
                    slack = 1e-6 * max(1.0, abs(true.cost), np.abs(pool.lower[i]).max())
                    assert below(true.load, true.emissions) <= true.cost + slack
        for k in range(pool.count[i]):
            answer = recourse.evaluate(given(pool.loads[i, k], pool.emission[i, k] + 1e-9, 1e6))
            assert answer.cost <= pool.cost[i, k] + 1e-6 * max(1.0, abs(pool.cost[i, k]))
    assert compared > POINTS // 5


@pytest.mark.parametrize("seed", range(6))
def test_a_cut_is_exact_where_it_was_made_and_recourse_is_convex(seed: int) -> None:
    instance = generate("small", seed=seed)
    rng = np.random.default_rng(seed)
    for i in range(instance.n_sites):
        oracle = SiteOracle(instance.microgrids, i, instance.period_h)
        recourse = recourse_of(instance, i)
        for load in random_loads(oracle, rng, 10):
            free = recourse.evaluate(given(load, droppable=1.0))
            most = free.emissions - 0.02 * abs(free.emissions)
            answer = recourse.evaluate(given(load, most, 100.0, droppable=1.0))
            assert free.load is not None and answer.load is not None
            value = answer.cost + float((load - answer.load).sum()) + 100.0 * max(answer.emissions - most, 0.0)
            dropped = answer.load < load - 1e-7 * (1.0 + load)
            cut = answer.lower + float(answer.price @ answer.load) - answer.carbon_price * most
            excess = answer.emissions > most + 1e-9 * (1.0 + abs(most))
            scale = 1e-6 * max(1.0, abs(value), abs(answer.lower))
            assert cut <= value + scale
            if not dropped.any() and not excess:
                assert cut == pytest.approx(value, abs=scale)
            assert 0.0 <= answer.carbon_price <= 100.0 + 1e-6


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_gap_closes_around_the_relaxation_of_the_extensive_form(seed: int) -> None:
    """No jobs: the relaxed Benders problem is the linear relaxation of the whole model."""
    closes(generate("small", seed=seed, jobs=0))


@pytest.mark.parametrize("seed, scope", [(0, "expected"), (2, "every"), (4, "every"), (6, "expected")])
def test_gap_closes_with_risk_and_budgets_in_scenarios(seed: int, scope: str) -> None:
    instance = generate("small", seed=seed, jobs=0, scenarios=3)
    closes(replace(instance, risk_weight=0.7, risk_level=0.6, carbon_scope=scope))


def closes(instance: Instance) -> None:
    instance = replace(instance, sites=replace(instance.sites, exact_power_curve=np.zeros(instance.n_sites, bool)))
    truth = solve_extensive(instance, relax=True).bound
    benders = dived(expand(instance))
    relaxed(benders, TIGHT, lambda step: False)
    slack = 1e-6 * max(1.0, abs(truth))
    assert benders.loop.centre.bound <= truth + slack and benders.cost >= truth - slack
    assert benders.cost - truth <= 2e-3 * max(1.0, abs(truth))


@pytest.mark.parametrize("seed", range(100, 112))
def test_method_against_the_extensive_form(seed: int) -> None:
    instance = generate("small", seed=seed)
    truth = solve_extensive(instance, time_limit=600.0)
    result = solve(instance, Serial(), Options(method="benders"))
    slack = 1e-6 * max(1.0, abs(truth.bound))
    assert result is not None and result.schedule is not None
    assert result.bound <= truth.incumbent + slack and truth.bound <= result.incumbent + slack
    assert not check(instance, result).findings
    assert "benders" in [line.phase for line in result.log]


def test_jobs_that_the_dive_left_out_are_moved() -> None:
    """Free energy of batteries: a job's price is anything up to its worth, and the dive rejects it, a sixth dearer."""
    instance = wild(194)
    truth = solve_extensive(instance, rel_gap=1e-4).incumbent
    result = solve(instance, Serial(), Options(method="benders"))
    assert result is not None and result.incumbent == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize("seed", [1, 4, 8])
def test_a_hard_budget_is_kept_and_divided(seed: int) -> None:
    instance = generate("small", seed=seed)
    instance = replace(instance, carbon_budget_t=np.inf, carbon_excess_usd_per_t=np.inf)
    loose = solve(instance, Serial(), Options(method="benders"))
    assert loose is not None
    emitted = check(instance, loose).emissions_t
    assert loose.allowances is None
    tight = replace(instance, carbon_budget_t=emitted - 0.03 * abs(emitted))
    whole = solve(tight, Serial(), Options(method="benders"))
    assert whole is not None and whole.dual is not None and whole.allowances is not None
    assert whole.allowances.allowance_t.sum() == pytest.approx(tight.carbon_budget_t)
    assert whole.allowances.abatement_usd_per_t == whole.dual.carbon_price > 0.0
    benders = dived(tight)
    found = benders_finish(tight, benders.loop, Options(), lambda step: False)
    assert found is not None
    assert emissions_t(tight, found.schedule).sum() <= tight.carbon_budget_t * (1.0 + 1e-9)
    relaxed(benders, Benders(), lambda step: False)
    assert benders.best is not None
    assert benders.best.given.allowance.sum() == pytest.approx(tight.carbon_budget_t)


def test_coupling_counts_what_is_left_undone() -> None:
    instance = tiny()
    c = Coupling.of(instance)
    nothing = np.zeros((len(c.streams.site), instance.n_periods)), np.zeros((len(c.pools.site), instance.n_periods))
    soft = np.isfinite(instance.pools.shortfall_penalty)
    unserved = (instance.streams.unserved_penalty[:, None] * instance.demand_gpu).sum() * instance.period_h
    short = (instance.pools.shortfall_penalty * instance.pools.work_gpu_h)[soft].sum()
    assert c.flow_costs(*nothing) == pytest.approx(unserved + short)


def test_textbook_benders_closes_in_on_the_same_value() -> None:
    instance = generate("fleet", sites=4, periods=12, jobs=6, streams=2, seed=3)
    benders = dived(instance)
    relaxed(benders, TIGHT, lambda step: False)
    lower, best, steps = -np.inf, np.inf, 0
    for steps, (lower, best) in enumerate(
        textbook_benders(benders.coupling, benders.workers, benders.loop.master.fixing, 1e5), start=1
    ):
        if best - lower <= 1e-4 * abs(best) or steps == 150:
            break
    slack = 1e-6 * abs(best)
    assert lower <= benders.cost + slack and best >= benders.loop.centre.bound - slack
    assert best - lower <= 1e-4 * abs(best) and steps > 5
