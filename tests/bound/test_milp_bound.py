"""The MILP bound: translated prices prove the same, integers prove more, and never more than there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from decomp.bound.coupling import Coupling
from decomp.bound.lagrangian import DualPoint, LagrangianLoop, first_prices
from decomp.bound.milp_bound import (
    MilpTask,
    WorkProof,
    dual_of_work,
    milp_bound,
    relax,
    site_works,
    solve_milp,
    translate,
)
from decomp.bound.stream_blocks import partition
from decomp.bound.work_prices import SiteWork
from decomp.certificate import check
from decomp.certificate.bound import prove_bound
from decomp.certificate.findings import Findings
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.model.instance import Instance
from decomp.model.options import Bundle, MilpBound, Options
from decomp.ranks.mpi import Serial
from decomp.ranks.workers import Workers
from decomp.site.service import muster
from decomp.solver.solve import solve
from decomp.studies.variants import within
from draws import seldom
from running import StandIns

SEEDS, CHUNK = 60, 6


def proved(instance: Instance, iterations: int = 60) -> tuple[Workers, Coupling, DualPoint]:
    """Workers and the best prices on load after some iterations."""
    workers, coupling = muster(instance, Workers(Serial())), Coupling.of(instance)
    price = first_prices(coupling, instance.sites, instance.carbon_price_usd_per_t)
    loop = LagrangianLoop(coupling, workers, coupling.multipliers(price), Bundle())
    for _ in range(iterations):
        if loop.iterate().converged(1e-5):
            break
    return workers, coupling, loop.centre


@cache
def example() -> tuple[Instance, Workers, Coupling, DualPoint]:
    """A few sites with jobs that their relaxation splits."""
    instance = generate("fleet", sites=3, periods=12, jobs=10, seed=2, pools=2, period_h=1.0)
    return instance, *proved(instance)


@cache
def full() -> WorkProof:
    """Its MILP bound."""
    instance, workers, c, point = example()
    return milp_bound(instance, c, workers, point, MilpBound(), np.inf)


@pytest.mark.parametrize("first", seldom(range(0, SEEDS, CHUNK), daily=2))
def test_random_instances(first: int) -> None:
    assert [fault for seed in range(first, first + CHUNK) for fault in faults_of(seed)] == []


def faults_of(seed: int) -> list[str]:
    """Load bound = translated bound <= relaxations <= MILP bound <= optimum."""
    instance = generate("small", seed=seed)
    workers, c, point = proved(instance)
    prices, lower = translate(c, point)
    scale = max(1.0, abs(point.bound), float(np.abs(lower).sum()))
    found = []
    if abs(lower.sum() + prices.terms(c) - point.bound) > 1e-9 * scale:
        found.append(f"seed {seed}: translated {lower.sum() + prices.terms(c)}, prices on load prove {point.bound}")
    relaxed = np.array([relax(work)[0] for work in site_works(instance, c, prices)])
    if (relaxed < lower - 1e-6 * scale).any():
        found.append(f"seed {seed}: relaxations {relaxed} below {lower}")
    proof = milp_bound(instance, c, workers, point, MilpBound(), np.inf)
    if not proof.bound >= point.bound - 1e-9 * scale:
        found.append(f"seed {seed}: bound {proof.bound} falls below {point.bound}")
    optimum = solve_extensive(instance, time_limit=600.0).incumbent
    if not proof.bound <= optimum + 1e-6 * max(1.0, abs(optimum)):
        found.append(f"seed {seed}: bound {proof.bound} above a schedule of {optimum}")
    return found


def test_at_the_best_load_prices_relaxations_prove_the_same() -> None:
    instance, _, c, _ = example()
    _, c, point = proved(instance, 400)
    prices, lower = translate(c, point)
    relaxed = sum(relax(work)[0] for work in site_works(instance, c, prices))
    bound = relaxed + prices.terms(c)
    # More only by what the relaxation of a site knows beside its prices: that it must run a job with no other place.
    assert point.bound * (1 + 1e-6) <= bound <= point.bound + 2e-4 * abs(point.bound)
    assert relaxed >= lower.sum() - 1e-6 * abs(point.bound)


def test_integers_prove_more_and_the_certificate_agrees() -> None:
    instance, _, _, point = example()
    proof = full()
    assert proof.solved > 0 and proof.bound > point.bound + 1e-4 * abs(point.bound)
    dual, findings = dual_of_work(instance, point.price, proof), Findings(instance)
    certified = prove_bound(instance, dual, findings)
    assert [str(f) for f in findings.items] == []
    assert certified.bound >= proof.bound - 1e-6 * abs(proof.bound)
    assert sum(site.method == "MILP" for site in certified.sites) > 0


def test_sites_that_share_nothing_are_closed_by_their_own_milps() -> None:
    """No search is needed, and the certificate agrees."""
    fleet = generate("fleet", sites=3, periods=12, jobs=12, seed=1, period_h=1.0)
    alone = replace(within(fleet, 1).instance, carbon_budget_t=np.inf)
    result = solve(alone, Serial(), Options().updated(rel_gap=2e-3, extensive_finish=dict(site_periods=0)))
    assert result is not None and result.dual is not None
    assert result.dual.form == "work" and result.gap_rel <= 2e-3
    assert not any(it.phase == "improve" for it in result.log)
    certificate = check(alone, result)
    assert certificate.ok and certificate.sites_milp > 0, certificate.findings


def test_what_the_milps_may_leave_open_is_not_claimed() -> None:
    instance, workers, c, point = example()
    spare = 0.2 * (full().bound - point.bound)
    rough = milp_bound(instance, c, workers, point, MilpBound(), np.inf, spare)
    assert full().bound - 3.0 * spare <= rough.bound <= full().bound
    assert (rough.site_lower <= full().site_lower + 1e-9 * np.abs(full().site_lower)).all()


def test_the_rest_of_the_milps_is_left_out_where_the_first_of_them_gain_little(monkeypatch: pytest.MonkeyPatch) -> None:
    instance, workers, c, point = example()
    assert (c.homes[1] < 0).all()
    spare, solved = full().bound - point.bound, []
    for sample in 32, 1:
        monkeypatch.setattr("decomp.bound.milp_bound.SAMPLE", sample)
        proof = milp_bound(instance, c, workers, point, MilpBound(), np.inf, spare)
        assert point.bound <= proof.bound <= full().bound
        solved.append(proof.solved)
    assert solved[0] > solved[1] >= 1


def test_a_bound_beyond_the_site_is_refused() -> None:
    instance, _, _, point = example()
    lower = full().site_lower.copy()
    lower[0] += 1e-2 * abs(lower[0])
    proof = replace(full(), site_lower=lower)
    findings = Findings(instance)
    prove_bound(instance, dual_of_work(instance, point.price, proof), findings)
    assert [f.rule for f in findings.items] == ["bound: site_lower"]


def test_a_site_fifty_times_slower_than_the_rest_is_begun_first() -> None:
    """However little money is in its fractions: begun last, it would keep all ranks waiting."""
    instance = generate("fleet", sites=20, periods=4, period_h=1.0, jobs=0, seed=1)
    coupling, slow, begun = Coupling.of(instance), str(instance.sites.name[13]), []

    def relaxed(work: SiteWork) -> tuple[float, float, float]:
        seconds = 50.0 if work.grids.sites.name[0] == slow else 1.0
        return 0.0, 1.0 / seconds, seconds

    def solved(task: MilpTask) -> tuple[float, bool, None]:
        begun.append(str(task.work.grids.sites.name[0]))
        return 0.0, False, None

    team = StandIns({"relaxations": relaxed, "site MILPs": solved})
    prices = coupling.multipliers(first_prices(coupling, instance.sites, 0.0))
    point = DualPoint(prices, np.full(20, -np.inf), -np.inf, coupling.n_periods)
    milp_bound(instance, coupling, muster(instance, Workers(team)), point, MilpBound(block_sites=1), np.inf)
    assert len(begun) == 20 and begun[0] == slow


def test_failing_sites_count_with_what_they_proved_before() -> None:
    instance, workers, c, point = example()
    alone = MilpBound().updated(block_sites=1, joint_sites=0)
    every = milp_bound(instance, c, workers, point, alone, np.inf)
    prices, lower = translate(c, point)
    relaxed = [relax(work)[0] for work in site_works(instance, c, prices)]

    def fail(*_: Any) -> None:
        raise ArithmeticError

    def bound_with(work: dict[str, Callable[[Any], Any]]) -> WorkProof:
        return milp_bound(instance, c, muster(instance, Workers(StandIns(work))), point, alone, np.inf)

    nothing = bound_with({"site MILPs": lambda task: (-np.inf, False, None)})
    assert np.array_equal(nothing.site_lower, np.maximum(lower, relaxed))
    some = bound_with({"site MILPs": lambda task: fail() if len(task.work.job) % 2 else solve_milp(task)})
    assert (some.site_lower <= every.site_lower).all() and point.bound <= some.bound <= every.bound
    none = bound_with({"site MILPs": fail, "relaxations": fail})
    assert none.solved == 0 and none.bound == pytest.approx(point.bound, rel=1e-12)


def test_a_block_sees_what_prices_cannot() -> None:
    """Two sites share a stream; blocks prove more than sites, the certificate as much, and no more than they prove."""
    instance, workers, c, point = example()
    assert [block.sites.tolist() for block in partition(c, 1)] == []
    sites = milp_bound(instance, c, workers, point, MilpBound().updated(block_sites=1), np.inf)
    assert len(np.unique(full().block)) < instance.n_sites == len(np.unique(sites.block))
    assert full().bound > sites.bound + 1e-4 * abs(sites.bound)
    dual, findings = dual_of_work(instance, point.price, full()), Findings(instance)
    first = np.flatnonzero(full().block == full().block[np.argmax(np.bincount(full().block)[full().block])])
    prove_bound(instance, replace(dual, blocks=None), findings)
    assert findings.items, "apart the sites of a block prove less"
    lower = np.array(dual.site_lower)
    lower[first] += 1e-2 * abs(lower[first].sum())
    findings = Findings(instance)
    prove_bound(instance, replace(dual, site_lower=lower), findings)
    assert [f.rule for f in findings.items] == ["bound: site_lower"]


def test_no_time_no_gain() -> None:
    instance, workers, c, point = example()
    assert milp_bound(instance, c, workers, point, MilpBound(), 0.0).bound == pytest.approx(point.bound, rel=1e-12)
