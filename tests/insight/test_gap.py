"""The split of the gap: parts that sum to it, none of them negative, in both forms of the prices."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.insight.gap import Gap, relaxed_cost, split
from decomp.model.accounts import account, load_gpu, site_costs
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Dual, Result
from decomp.ranks.mpi import Serial
from decomp.report import render
from decomp.solver.solve import solve

SEEDS = (4, 7, 11)
FUTURES: dict[str, dict[str, Any]] = {
    "expected budget": {},
    "budgets, risk, commitments": dict(carbon_scope="every", risk_weight=0.5, risk_level=0.7),
}


@cache
def solved(seed: int) -> tuple[Instance, Result]:
    instance = generate("small", seed=seed)
    return instance, solve(instance, Serial(), Options(rel_gap=0.02))


@pytest.fixture(scope="module", params=SEEDS)
def case(request) -> tuple[Instance, Result]:
    return solved(request.param)


def check_parts(gap: Gap, scale: float) -> None:
    """Everything is a loss, but for rounding."""
    assert sum(gap.parts.values()) == pytest.approx(gap.total, abs=1e-6 * scale)
    assert sum(gap.causes.values()) == pytest.approx(gap.total, abs=1e-6 * scale)
    for losses in (gap.integers, gap.load, gap.streams, gap.jobs, gap.pools, np.array(gap.carbon)):
        assert (losses >= -1e-5 * scale).all()


def test_parts_sum_to_the_gap(case) -> None:
    instance, result = case
    gap = split(instance, result)
    assert gap is not None
    scale = max(abs(result.incumbent), 1.0)
    check_parts(gap, scale)
    if result.dual is not None and check(instance, result).ok:
        assert abs(gap.other) <= 1e-6 * scale, "the prices prove the bound, so they explain all of the gap"


def in_prices_on_work(instance: Instance, result: Result) -> Result:
    """The same schedule against a bound in the other form: no site takes work that nobody pays for."""
    sites = np.array([relaxed_cost(instance, i, np.zeros(instance.n_periods), 0.0) for i in range(instance.n_sites)])
    dual = Dual(
        load_price=np.zeros_like(result.dual.load_price),
        stream_price=np.full_like(result.dual.stream_price, -1e3),
        job_price=np.full(instance.n_jobs, -1e6),
        pool_price=np.full(instance.n_pools, -1e3),
        site_lower=sites - 1e-6 * np.abs(sites) - 1e6,
        form="work",
    )
    terms = instance.period_h * (instance.demand_gpu * dual.stream_price).sum() + dual.job_price.sum()
    bound = dual.site_lower.sum() + terms + (instance.pools.work_gpu_h * dual.pool_price).sum()
    return replace(result, dual=dual, bound=float(bound))


def test_prices_on_work(case) -> None:
    instance, result = case
    other = in_prices_on_work(instance, result)
    gap = split(instance, other)
    assert gap is not None and sum(gap.parts.values()) == pytest.approx(gap.total)
    assert abs(gap.other) <= 1e-9 * gap.total
    assert (gap.integers >= -1e-5 * abs(result.incumbent)).all() and (gap.jobs >= 0).all()


def with_futures(kind: str) -> tuple[Instance, Result]:
    """Three scenarios, prices after a few iterations, and a budget that binds and may be exceeded at a price."""
    instance = generate("small", seed=0, scenarios=3)
    tonnes = account(instance, solve_extensive(instance, time_limit=600.0).schedule).emissions_t.sum()
    p = replace(instance.scenarios, probability=np.array([0.5, 0.3, 0.2]))
    once = replace(instance.generators, day_ahead=np.full(len(instance.generators.site), "commitments" in kind))
    budget = dict(carbon_budget_t=0.9 * float(tonnes), carbon_excess_usd_per_t=300.0)
    instance = replace(instance, scenarios=p, generators=once, **budget, **FUTURES[kind])
    brief = dict(bundle=dict(max_iterations=6), improvement=dict(stale_finishes=1))
    return instance, solve(instance, Serial(), Options.from_dict(dict(method="lagrangian", rel_gap=0.5, **brief)))


@pytest.mark.parametrize("kind", FUTURES)
def test_parts_sum_to_the_gap_over_scenarios(kind: str) -> None:
    instance, result = with_futures(kind)
    gap, scale = split(instance, result), max(abs(result.incumbent), 1.0)
    assert gap is not None and gap.total > 1e-4 * scale and check(instance, result).ok
    assert sum(gap.parts.values()) == pytest.approx(gap.total) == sum(gap.causes.values())
    for losses in (gap.load, gap.integers, gap.streams, gap.jobs, gap.pools, gap.commitments):
        assert (losses >= -1e-5 * scale).all()
    assert gap.carbon >= -1e-5 * scale and gap.risk >= -1e-5 * scale
    assert abs(gap.other) <= 1e-5 * scale, "the prices prove the bound, so they explain all of the gap"
    assert len(gap.load) == 3 * instance.n_sites and len(gap.streams) == 3 * instance.n_streams
    assert gap.scenarios.sum() == pytest.approx((gap.integers + gap.load).sum() + gap.streams.sum() + gap.pools.sum())
    assert (gap.risk > 1.0) == (kind != "expected budget"), "the weights are not yet those of the schedule's tail"


def test_integers_cost_nothing_where_the_relaxation_is_integral() -> None:
    """And never less than nothing: the relaxation at a schedule's load is a lower bound of its dispatch."""
    instance = generate("small", seed=4)
    schedule = solve_extensive(instance).schedule
    cost, load = sum(site_costs(instance, schedule).values()), load_gpu(instance, schedule)
    assert cost.sum() == pytest.approx(sum(list(account(instance, schedule).components.values())[:7]))
    for i in range(instance.n_sites):
        assert relaxed_cost(instance, i, load[i], 0.0) <= cost[i] + 1e-6 * abs(cost[i])


def test_what_cannot_be_split() -> None:
    instance, result = solved(4)
    for lacking in (dict(schedule=None), dict(dual=None), dict(bound=-np.inf)):
        assert split(instance, replace(result, **lacking)) is None


def test_the_report_shows_gap_and_time() -> None:
    instance, result = solved(4)
    page = render(instance, replace(result, bound=result.bound - 100.0))
    titles = "Causes of the gap", "Places of the gap", "Largest losses", "Where the gap is", "Where the time went"
    for words in titles:
        assert words in page
    assert "rank seconds" not in page, "not among the facts on where the result comes from"
    assert "Where the time went" not in render(instance, replace(result, provenance={}))
