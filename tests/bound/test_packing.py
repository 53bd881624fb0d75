"""Sets of jobs that fit: all of them and no others; relaxations prove more with them, and never more than there is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decomp.bound.coupling import Coupling
from decomp.bound.joint_prices import packed_relaxation, repriced
from decomp.bound.lagrangian import LagrangianLoop, first_prices
from decomp.bound.milp_bound import WorkProof, dual_of_work, relax
from decomp.bound.packing import Runs, maximal_sets, packing_of
from decomp.bound.work_prices import SiteWork, WorkPrices, site_with_work, site_works, translate
from decomp.certificate.bound import prove_bound
from decomp.certificate.findings import Findings
from decomp.certificate.packing import fitting_sets
from decomp.families import generate
from decomp.lp.highs import Effort, run_lp, to_highs
from decomp.model.instance import Array, Instance
from decomp.model.options import Bundle
from decomp.ranks.mpi import Serial
from decomp.ranks.workers import Workers
from decomp.site.service import muster
from running import StandIns

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=7)


def by_hand(gpus: list[int], capacity: float) -> set[frozenset[int]]:
    """All sets that fit and to which nothing can be added, by trying every set."""
    jobs = range(len(gpus))
    sets = [set(chosen) for n in range(len(gpus) + 1) for chosen in combinations(jobs, n)]
    sets = [chosen for chosen in sets if sum(gpus[j] for j in chosen) <= capacity]
    return {frozenset(chosen) for chosen in sets if not any(chosen < other for other in sets)}


@given(SIZES, st.integers(1, 20))
def test_the_maximal_sets_are_those_found_by_trying_all(gpus: list[int], capacity: int) -> None:
    found = maximal_sets(np.arange(len(gpus)), np.array(gpus, dtype=float), float(capacity))
    assert {frozenset(found.jobs[row].tolist()) for row in found.member} == by_hand(gpus, capacity)


@given(SIZES, st.integers(1, 20), st.integers(0, 3))
def test_the_certificate_finds_the_same_sets_in_its_own_way(gpus: list[int], capacity: int, late: int) -> None:
    n = len(gpus)
    start, length = np.arange(n) % 3 * late, np.full(n, 2)
    room = np.full(8, float(capacity))
    ours = packing_of(Runs(np.arange(n), start, length, np.array(gpus, dtype=float), room))
    site = SimpleNamespace(
        begun_job=np.arange(n), begun_at=start, begun_for=length, begun_gpu=np.array(gpus, dtype=float)
    )
    theirs = fitting_sets(site, room)
    assert {t: {frozenset(sets.jobs[row].tolist()) for row in sets.member} for t, sets in ours.items()} == {
        t: set(sets) for t, sets in theirs.items()
    }


def test_too_many_sets_are_those_of_the_largest_jobs() -> None:
    gpus = np.concatenate([np.full(200, 1.0), [60.0, 55.0, 50.0]])
    found = maximal_sets(np.arange(203), gpus, 100.0)
    assert found.jobs[:3].tolist() == [200, 201, 202] and 3 < len(found.jobs) < 20
    assert (found.member[:, :3].sum(axis=1) <= 1).all()
    assert (found.member @ gpus[found.jobs] <= 100.0).all()


def test_jobs_that_fit_by_rounding_alone_fit() -> None:
    sets = maximal_sets(np.arange(2), np.array([57.0, 43.0]), 100 * 0.57 + 43.0)
    assert sets.member.tolist() == [[True, True]]


@cache
def example() -> tuple[Instance, Workers, Coupling, WorkPrices]:
    """Some sites with large jobs, and the prices of work that prices of load are translated to."""
    instance = generate("fleet", sites=4, periods=12, jobs=24, seed=3, period_h=1.0)
    workers, c = muster(instance, Workers(Serial())), Coupling.of(instance)
    price = first_prices(c, instance.sites, instance.carbon_price_usd_per_t)
    loop = LagrangianLoop(c, workers, c.multipliers(price), Bundle())
    for _ in range(60):
        loop.iterate()
    return instance, workers, c, translate(c, loop.centre)[0]


def works() -> list[SiteWork]:
    instance, _, c, prices = example()
    return site_works(instance, c, prices)


def optimum(work: SiteWork, packed: bool) -> float:
    model = site_with_work(work, packed=[packing_of(work.runs)] if packed else [])
    solver = to_highs(model, integer=model.integer)
    Effort(1e-9, 1_000_000, 600.0).run(solver)
    return float(solver.getInfo().objective_function_value)


def relaxed(work: SiteWork, packed: bool) -> float:
    model = site_with_work(work, packed=[packing_of(work.runs)] if packed else [])
    solver = to_highs(model)
    assert run_lp(solver)
    return float(solver.getInfo().objective_function_value)


def test_sets_cut_off_no_schedule_and_tighten_the_relaxation() -> None:
    gains = []
    for work in works():
        best, free, packed = optimum(work, False), relaxed(work, False), relaxed(work, True)
        near = 1e-6 * (1.0 + abs(best))
        assert optimum(work, True) == pytest.approx(best, abs=10 * near)
        assert free - near <= packed <= best + near
        lower, sets = packed_relaxation(work)
        assert lower == pytest.approx(packed, abs=near)
        assert len(sets) < len(packing_of(work.runs))
        solver = to_highs(site_with_work(work, packed=[sets]))
        assert run_lp(solver)
        assert solver.getInfo().objective_function_value == pytest.approx(packed, abs=near), "the others do not matter"
        gains.append((packed - free) / (best - free))
    assert max(gains) > 0.5


def total(c: Coupling, prices: WorkPrices, lower: Array) -> float:
    return float(lower.sum()) + prices.terms(c)


def test_the_duals_of_the_fleet_s_relaxation_prove_more() -> None:
    instance, workers, c, before = example()
    plain, packed = (np.array([prove(work)[0] for work in works()]) for prove in (relax, packed_relaxation))
    prices, better = repriced(instance, c, workers, (before, plain), np.inf)
    gain = total(c, prices, better) - total(c, before, packed)
    assert gain > 1e-3 * abs(total(c, before, packed))
    assert better == pytest.approx([packed_relaxation(work)[0] for work in site_works(instance, c, prices)], rel=1e-9)
    plain = np.array([relax(work)[0] for work in site_works(instance, c, prices)])
    twice = repriced(instance, c, workers, (prices, plain), np.inf)
    assert total(c, *twice) <= total(c, prices, better) + 0.2 * gain, "once is nearly enough"


def test_where_sets_prove_next_to_nothing_prices_stay() -> None:
    """Jobs of a tenth of a site at most, of which only a few may run at the same time."""
    instance = generate("fleet", sites=3, periods=12, jobs=4, seed=1, period_h=1.0, job_high=0.2)
    _, _, _, before = example()
    workers, c = muster(instance, Workers(StandIns({"prices of work": pytest.fail}))), Coupling.of(instance)
    prices = WorkPrices(np.full((instance.n_streams, 12), 0.2), np.zeros(c.n_jobs), np.zeros(0), before.carbon)
    plain = np.array([relax(work)[0] for work in site_works(instance, c, prices)])
    same, lower = repriced(instance, c, workers, (prices, plain), np.inf)
    assert same is prices and (lower >= plain).all()


@pytest.mark.parametrize("budget", [np.inf, 0.7, 10.0])
def test_the_price_of_carbon_is_that_of_the_budget(budget: float) -> None:
    """None without a budget or with a wide one, and never more than what a tonne beyond it costs."""
    instance, _, _, before = example()
    instance = replace(instance, carbon_budget_t=budget * instance.carbon_budget_t, carbon_excess_usd_per_t=40.0)
    if np.isinf(budget):
        instance = replace(instance, carbon_excess_usd_per_t=np.inf)
    c, start = Coupling.of(instance), (replace(before, carbon=0.0), np.full(instance.n_sites, -1e9))
    prices, _ = repriced(instance, c, muster(instance, Workers(Serial())), start, np.inf)
    assert prices.carbon == pytest.approx(40.0 if budget == 0.7 else 0.0, abs=1e-3)


def test_without_an_optimum_of_the_fleet_s_relaxation_prices_stay() -> None:
    instance, _, c, before = example()
    team = StandIns({"prices of work": lambda task: None})
    start = before, np.full(instance.n_sites, -1e9)
    prices, better = repriced(instance, c, muster(instance, Workers(team)), start, np.inf)
    assert prices is before
    assert better == pytest.approx([packed_relaxation(work)[0] for work in works()], rel=1e-9)


def test_the_certificate_proves_as_much_by_a_linear_program_of_its_own() -> None:
    instance, workers, c, before = example()
    prices, lower = repriced(instance, c, workers, (before, np.full(instance.n_sites, -1e9)), np.inf)
    proof = WorkProof(prices, lower, total(c, prices, lower), 0, np.arange(instance.n_sites))
    load_price, findings = np.zeros((instance.n_sites, instance.n_periods)), Findings(instance)
    certified = prove_bound(instance, dual_of_work(instance, load_price, proof), findings)
    assert not findings.items and [site.method for site in certified.sites] == ["LP"] * instance.n_sites
    assert certified.bound == pytest.approx(proof.bound, rel=1e-7)
