"""The contract of the site oracle: bounds that hold, points that are feasible, dispatch that is integral."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from decomp.certificate import check
from decomp.certificate.bound import site_tasks
from decomp.certificate.sites import block_program
from decomp.families import generate
from decomp.lp.block import Block, Model
from decomp.lp.highs import Effort, safe_bound
from decomp.model.instance import Array, Instance, build_instance
from decomp.model.result import Dual, Result, Schedule, Status
from decomp.site.equations import add_site
from decomp.site.grid_ban import Ban
from decomp.site.oracle import Plan, SiteOracle
from tiny import tiny

EXACT = Effort(rel_gap=0.0, nodes=100_000)


@cache
def instance_of(seed: int) -> Instance:
    return generate("small", seed=seed) if seed else tiny()


@cache
def oracle_of(seed: int, i: int) -> SiteOracle:
    instance = instance_of(seed)
    return SiteOracle(instance.microgrids, i, instance.period_h, instance.carbon_price_usd_per_t)


def some_prices(instance: Instance, seed: int) -> tuple[Array, float]:
    """Prices of all sites, USD per GPU and period, of the size that energy has, some negative; and of carbon."""
    rng = np.random.default_rng(seed)
    scale = instance.period_h * np.abs(instance.sites.buy_price).mean() * instance.sites.power_slope_mw_per_gpu.max()
    price = scale * rng.normal(1.0, 1.5, instance.sites.capacity_gpu.shape)
    return price, float(rng.choice([0.0, 40.0])) if np.isfinite(instance.carbon_budget_t) else 0.0


def priced(oracle: SiteOracle, price: Array, carbon: float) -> Array:
    cost = oracle.model.cost + (oracle.carbon_price + carbon) * oracle.model.emission
    cost[oracle.load] -= price
    return cost


def linear_optimum(model: Model, cost: Array) -> float:
    """Value of the relaxation by SciPy."""
    matrix, low, high = model.matrix.tocsr(), model.row_low, model.row_high
    tie = low == high
    up, down = ~tie & np.isfinite(high), ~tie & np.isfinite(low)
    answer = linprog(
        cost,
        A_ub=np.vstack([matrix[up].toarray(), -matrix[down].toarray()]),
        b_ub=np.concatenate([high[up], -low[down]]),
        A_eq=matrix[tie].toarray(),
        b_eq=low[tie],
        bounds=np.column_stack([model.low, model.high]),
    )
    assert answer.status == 0, answer.message
    return float(answer.fun)


SITES = [(seed, i) for seed in range(30) for i in range(instance_of(seed).n_sites)]


@pytest.mark.parametrize("seed, i", SITES)
def test_answer_is_the_optimum_of_the_relaxation_and_a_point_of_it(seed: int, i: int) -> None:
    instance, oracle = instance_of(seed), oracle_of(seed, i)
    prices, carbon = some_prices(instance, seed)
    answer = oracle.evaluate(prices[i], carbon)
    assert answer.load is not None
    own = answer.cost + carbon * answer.emissions - prices[i] @ answer.load
    slack = 1e-7 * max(1.0, abs(answer.cost), np.abs(prices[i]) @ instance.sites.capacity_gpu[i])
    assert answer.lower <= own + slack
    assert own == pytest.approx(answer.lower, abs=10 * slack)
    best = linear_optimum(oracle.model, priced(oracle, prices[i], carbon))
    assert answer.lower == pytest.approx(best, abs=10 * slack)
    assert (answer.load >= 0).all() and (answer.load <= instance.sites.capacity_gpu[i]).all()


@pytest.mark.parametrize("seed", range(30))
def test_bound_is_that_of_the_certificates_own_formulation(seed: int) -> None:
    """Never above it; equal where no ban (5) can bind, for there the certificate's tighter limits do nothing."""
    instance = instance_of(seed)
    prices, carbon = some_prices(instance, seed)
    dual = Dual.make(instance.sizes, load_price=prices / instance.period_h, stream_price=0, job_price=0, pool_price=0,
                     site_lower=0)  # fmt: skip
    s = instance.sites
    tempting = ((s.buy_price < s.sell_price) | (s.carbon_intensity < s.export_credit)).any(axis=1)
    for i, task in enumerate(site_tasks(instance, replace(dual, carbon_price=carbon), 60.0)):
        truth, infeasible = block_program([task]).linear_bound(60.0)
        slack = 1e-6 * max(1.0, abs(truth), 0.01 * np.abs(prices[i]) @ s.capacity_gpu[i])
        lower = oracle_of(seed, i).evaluate(prices[i], carbon).lower
        assert not infeasible and lower <= truth + slack
        assert tempting[i] or lower == pytest.approx(truth, abs=slack)


@given(st.integers(0, 19), st.integers(0, 10_000), st.floats(-3, 4))
def test_any_dual_vector_proves_a_bound(seed: int, draw: int, exponent: float) -> None:
    oracle, (prices, carbon) = oracle_of(seed, 0), some_prices(instance_of(seed), seed)
    cost = priced(oracle, prices[0], carbon)
    duals = 10.0**exponent * np.random.default_rng(draw).normal(size=len(oracle.model.row_low))
    best = oracle.evaluate(prices[0], carbon).lower
    assert safe_bound(oracle.model, cost, duals) <= best + 1e-7 * max(1.0, abs(best), np.abs(duals).max())


@pytest.mark.parametrize("seed", range(12))
def test_warm_answers_are_cold_answers(seed: int) -> None:
    instance, warm = instance_of(seed), oracle_of(seed, 0)
    for draw in range(6):
        prices, carbon = some_prices(instance, 1000 * seed + draw)
        cold = SiteOracle(instance.microgrids, 0, instance.period_h, instance.carbon_price_usd_per_t)
        slack = 1e-7 * max(1.0, np.abs(prices[0]) @ instance.sites.capacity_gpu[0])
        right = cold.evaluate(prices[0], carbon).lower
        assert warm.evaluate(prices[0], carbon).lower == pytest.approx(right, abs=slack)


@pytest.mark.parametrize("seed", range(15))
def test_relaxation_with_projected_modes_equals_the_one_with_columns(seed: int) -> None:
    instance = instance_of(seed)
    prices, carbon = some_prices(instance, seed)
    for i in range(instance.n_sites):
        block = Block()
        add_site(block, instance.microgrids, i, instance.period_h)
        model = block.finish()
        cost = model.cost + (instance.carbon_price_usd_per_t + carbon) * model.emission
        cost[model.columns["load"]] -= prices[i]
        lower = oracle_of(seed, i).evaluate(prices[i], carbon).lower
        slack = 1e-6 * max(1.0, np.abs(prices[i]) @ instance.sites.capacity_gpu[i])
        assert linear_optimum(model, cost) == pytest.approx(lower, abs=slack)


# ---------------------------------------------------------------- the dispatch at a given load


def alone(instance: Instance, i: int, load: Array) -> Instance:
    """Site i without the rest, its load as inference that must be served."""
    generators = np.flatnonzero(instance.generators.site == i)
    table = {f.name: getattr(instance.sites, f.name)[[i]] for f in instance.sites.columns()}
    units = {f.name: getattr(instance.generators, f.name)[generators] for f in instance.generators.columns()}
    return build_instance(
        1,
        instance.n_periods,
        instance.period_h,
        sites=table,
        generators=units | dict(site=np.zeros(len(generators), dtype=int)) if len(generators) else None,
        streams=dict(demand_rps=load[None, :], unserved_penalty=1e4),
        arcs=dict(stream=[0], site=[0]),
        carbon_price_usd_per_t=instance.carbon_price_usd_per_t,
    )


def as_schedule(instance: Instance, demand: Array, plan: Plan) -> Schedule:
    """A plan of the only site as a schedule."""
    n, v = instance.n_periods, plan.values
    has_battery = instance.sites.battery_mwh[0] > 0
    start = instance.sites.battery_initial_mwh[0] if has_battery else 0.0
    units = sorted((k[: -len("output")] for k in v if k.endswith("output")), key=lambda k: int(k[1:-1]))
    none = np.zeros(n)
    return Schedule(
        routed_gpu=plan.load[None, :],
        unserved_gpu=np.maximum(demand - plan.load, 0.0)[None, :],
        job_site=[],
        job_start=[],
        pool_gpu=np.zeros((0, n)),
        pool_shortfall_gpu_h=[],
        it_power_mw=v["it_power"][None, :],
        import_mw=v["import"][None, :],
        export_mw=v["export"][None, :],
        renewable_mw=v["renewable"][None, :],
        charge_mw=v.get("charge", none)[None, :],
        discharge_mw=v.get("discharge", none)[None, :],
        stored_mwh=np.append(start, v.get("stored", none))[None, :],
        generation_mw=np.array([v[u + "output"] for u in units]).reshape(-1, n),
        generator_on=np.array([v[u + "on"] > 0.5 for u in units]).reshape(-1, n),
    )


@pytest.mark.parametrize("seed", range(40))
def test_dispatch_at_a_load_is_feasible_integral_and_costs_what_it_says(seed: int) -> None:
    instance = instance_of(seed)
    rng = np.random.default_rng(seed)
    for i in range(instance.n_sites):
        load = instance.sites.capacity_gpu[i] * rng.uniform(0.0, 1.0, instance.n_periods)
        plan = oracle_of(seed, i).evaluate_fixed(load, load, np.full_like(load, 1e3), 0.0, effort=EXACT)
        assert plan is not None
        one = alone(instance, i, load)
        schedule = as_schedule(one, load, plan)
        unserved = 1e4 * one.period_h * schedule.unserved_gpu.sum()
        result = Result(Status.LIMIT, -np.inf, plan.cost + unserved, schedule, None, (),
                        dict(instance_hash=one.content_hash()))  # fmt: skip
        assert [str(f) for f in check(one, result, bound=False).findings] == []


@pytest.mark.parametrize("seed", range(20))
def test_dispatch_is_the_optimum_with_all_binaries(seed: int) -> None:
    """At the full load of a schedule, against the certificate's MILP with the load held."""
    instance = instance_of(seed)
    for i in range(instance.n_sites):
        load = 0.5 * instance.sites.capacity_gpu[i]
        plan = oracle_of(seed, i).evaluate_fixed(load, np.zeros_like(load), np.zeros_like(load), 7.0, effort=EXACT)
        dual = Dual.make(instance.sizes, load_price=0, stream_price=0, job_price=0, pool_price=0, site_lower=0)
        program = block_program([site_tasks(instance, replace(dual, carbon_price=7.0), 60.0)[i]])
        n = instance.n_periods  # the load is the first variable of the certificate's site
        least = np.where(program.equal, program.right, -np.inf)
        answer = milp(
            program.cost,
            integrality=program.integer.astype(int),
            bounds=Bounds(np.append(load, program.low[n:]), np.append(load, program.high[n:])),
            constraints=LinearConstraint(program.matrix, least, program.right),
        )
        assert (plan is None) == (answer.x is None)
        if plan is not None:
            best = float(answer.fun)
            assert plan.cost + 7.0 * plan.emissions == pytest.approx(best, rel=2e-4, abs=1e-5)
            assert plan.load == pytest.approx(load)


def test_untempted_answers_are_those_of_a_site_whose_exports_earn_no_more_carbon_than_imports_cost() -> None:
    def oracle(credit: float) -> SiteOracle:
        return SiteOracle(tiny(sites=dict(export_credit=credit)).microgrids, 0, 1.0)  # imports are charged with 0.3

    credited, less, load = oracle(0.9), oracle(0.3), np.linspace(0.0, 2.0, 8)
    before = credited.evaluate(load, 900.0)
    credited.treat_ban(Ban.UNTEMPTED)
    found, right = credited.evaluate(load, 900.0), less.evaluate(load, 900.0)
    assert found.lower == pytest.approx(right.lower) and found.emissions == pytest.approx(right.emissions)
    assert found.lower > before.lower + 1.0
    credited.treat_ban(Ban.RELAXED)
    assert credited.evaluate(load, 900.0).lower == pytest.approx(before.lower)


def test_load_that_may_not_be_dropped_beyond_capacity_has_no_dispatch() -> None:
    oracle = oracle_of(0, 1)
    load = np.full(8, 900.0)
    load[3] = 1001.0
    assert oracle.evaluate_fixed(load, np.zeros(8), np.zeros(8), 0.0, effort=EXACT) is None
    droppable = np.where(load > 1000, 1.5, 0.0)
    plan = oracle.evaluate_fixed(load, droppable, np.full(8, 1e5), 0.0, effort=EXACT)
    assert plan is not None and plan.load == pytest.approx(np.minimum(load, 1000.0))


def test_dear_load_is_carried_and_cheap_load_is_dropped() -> None:
    load = np.full(8, 500.0)
    for price, carried in ((1e-6, 0.0), (10.0, 500.0)):
        plan = oracle_of(0, 2).evaluate_fixed(load, load, np.full(8, price), 0.0, effort=EXACT)
        assert plan is not None and plan.load == pytest.approx(np.full(8, carried), abs=1e-6)


def test_a_failing_solver_still_leaves_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = instance_of(0)
    oracle = SiteOracle(instance.microgrids, 0, instance.period_h)
    prices, _ = some_prices(instance, 1)
    truth = oracle.evaluate(prices[0], 0.0)
    with monkeypatch.context() as broken:
        broken.setattr("decomp.lp.highs.ITERATIONS", 0)
        broken.setattr("decomp.lp.highs.LEAST_ITERATIONS", 0)
        broken.setattr("decomp.lp.highs._run_otherwise", lambda *_: None)
        oracle.solver.clearSolver()
        answer = oracle.evaluate(2.0 * prices[0], 0.0)
    assert answer.load is None
    assert answer.lower <= oracle.evaluate(2.0 * prices[0], 0.0).lower + 1e-6
    assert oracle.evaluate(prices[0], 0.0).lower == pytest.approx(truth.lower)


def test_an_allowance_is_kept_when_the_excess_is_dear_and_free_when_it_is_wide() -> None:
    instance = generate("fleet", sites=4, periods=24, seed=3)
    oracle = SiteOracle(instance.microgrids, 0, instance.period_h)
    load = 0.6 * instance.sites.capacity_gpu[0]
    none, effort = np.zeros_like(load), Effort(1e-9, 10_000)
    free = oracle.evaluate_fixed(load, none, none, 0.0, effort=effort)
    assert free is not None and free.emissions > 0
    wide = oracle.evaluate_fixed(load, none, none, 1e4, effort=effort, allowance=1.01 * free.emissions)
    tight = oracle.evaluate_fixed(load, none, none, 1e4, effort=effort, allowance=0.995 * free.emissions)
    impossible = oracle.evaluate_fixed(load, none, none, 1e4, effort=effort, allowance=0.0)
    assert wide is not None and tight is not None and impossible is not None
    assert wide.cost == pytest.approx(free.cost, rel=1e-8)
    assert tight.emissions <= 0.995 * free.emissions * (1 + 1e-9) and tight.cost > free.cost
    assert impossible.emissions > 0 and impossible.cost >= tight.cost
