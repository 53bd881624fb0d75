"""Proved, refuted, or neither: the whole fleet's model, proofs that run out of time, and the tolerances of sums."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decomp.certificate import check
from decomp.certificate.bound import prove_bound, site_tasks
from decomp.certificate.findings import TOLERANCE, Findings
from decomp.certificate.model import Program, Verdict
from decomp.certificate.sites import block_program
from decomp.extensive.pyomo_model import solve_extensive
from decomp.files.frontiers import write_frontier
from decomp.files.store import write_instance, write_result
from decomp.model.frontier import Frontier, at_budget
from decomp.model.instance import Instance, build_instance
from decomp.model.result import Ray, Result, Status
from drivers.check import main
from drivers.common import run
from hand_case import INSTANCE, claim, prices
from tiny import bare_sites, plain

NO_TIME = 1e-9  # seconds


@cache
def optimum() -> tuple[Instance, Result]:
    """A fleet of two sites, and its optimum by the extensive form."""
    instance = plain()
    result = solve_extensive(instance, rel_gap=1e-9)
    assert result.schedule is not None and result.dual is None
    return instance, claim(instance, result.schedule, None, bound=result.bound)


def give_up(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """HiGHS proves nothing of a program with integers, and finds nothing."""
    monkeypatch.setattr(Program, "none_below", lambda *given, **named: Verdict(False, None, why))
    monkeypatch.setattr(Program, "integer_bound", lambda *given, **named: -np.inf)


def test_a_bound_alone_is_no_rejection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that ended without a schedule claims none; one that claims a cost has to show how."""
    instance, result = optimum()
    for incumbent, code, verdict in ((np.inf, 3, "NOT RE-PROVED"), (result.incumbent, 1, "REJECTED")):
        bare = replace(result, status=Status.LIMIT, incumbent=incumbent, schedule=None)
        certificate = check(instance, bare)
        assert certificate.verdict == verdict and not certificate.schedule_ok and certificate.bound_ok
        write_instance(tmp_path / "i.h5", instance)
        write_result(tmp_path / "r.h5", bare, instance)
        assert run(main, [str(tmp_path / "i.h5"), str(tmp_path / "r.h5")]) == code
        assert f"certificate: {verdict}" in capsys.readouterr().out
    nothing = replace(result, status=Status.LIMIT, incumbent=np.inf, bound=-np.inf, schedule=None, dual=None)
    assert check(instance, nothing).verdict == "NOT RE-PROVED", "its time was over before there was a bound"


def test_nothing_is_cheaper_than_the_optimum() -> None:
    """The bound is proved with the optimum itself as the claim; one above it is refuted by a schedule."""
    instance, result = optimum()
    certificate = check(instance, result)
    assert certificate.ok and certificate.verdict == "OK", [str(f) for f in certificate.findings]
    assert certificate.certified_bound == pytest.approx(result.bound, rel=2e-6)
    lie = replace(result, bound=result.bound + 1e-3 * abs(result.bound))
    certificate = check(instance, lie)
    assert certificate.verdict == "REJECTED" and "the cost of a schedule" in " ".join(map(str, certificate.findings))


@pytest.mark.parametrize("lie, verdict", [(0.0, "OK"), (1e-5, "REJECTED"), (1e-3, "REJECTED")])
def test_work_that_must_be_done_does_not_fall_short_where_there_is_room(lie: float, verdict: str) -> None:
    """A billion GPU hours that jobs pay for but for a dollar: their rounding (FIT) would be worth 60 micro-dollars."""
    work, price = 1e9, 60.0
    instance = bare_sites(
        n_periods=2,
        capacity_gpu=1e9,
        power_slope_mw_per_gpu=[[1e-6]],
        import_limit_mw=1e4,
        buy_price=price,
        pools=dict(work_gpu_h=[work], start=[0], end=[2]),
        pool_arcs=dict(pool=[0], site=[0], rate_gpu=[8e8]),
        jobs=dict(gpus=[1.0], periods=1, release=0, deadline=2, value_usd=work * 1e-6 * price - 1.0),
        candidates=dict(job=[0], site=[0]),
    )
    result = solve_extensive(instance, rel_gap=1e-9)
    assert result.incumbent == pytest.approx(1.0 + 1e-6 * price, abs=1e-6)
    assert check(instance, replace(result, bound=result.bound + lie)).verdict == verdict


def test_a_proof_that_is_not_found_is_no_rejection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instance, result = optimum()
    write_instance(tmp_path / "fleet.h5", instance)
    write_result(tmp_path / "result.h5", result, instance)
    files = [str(tmp_path / "fleet.h5"), str(tmp_path / "result.h5")]
    assert run(main, files) == 0
    certificate = check(instance, result, seconds=NO_TIME)
    assert not certificate.ok and certificate.schedule_ok and certificate.record()["verdict"] == "NOT RE-PROVED"
    assert run(main, [*files, "--seconds", str(NO_TIME)]) == 3
    shown = capsys.readouterr().out
    assert "not re-proved in 1e-09 s" in shown and "certificate: NOT RE-PROVED" in shown
    assert run(main, [*files, "--no-bound"]) == 0
    worse = check(instance, replace(result, incumbent=result.incumbent + 1.0), seconds=NO_TIME)
    assert worse.verdict == "REJECTED"


def test_a_site_says_why_it_is_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that time is over when it is not; and a claim that is proved by other means is proved."""
    dual = prices(INSTANCE, form="work")
    programs = [block_program([task]) for task in site_tasks(INSTANCE, dual, 10.0)]
    linear = np.array([program.linear_bound(10.0)[0] for program in programs])
    whole = np.array([program.integer_bound(10.0) for program in programs])
    above = replace(dual, site_lower=np.maximum(linear, whole))
    assert (whole > linear + 1.0).any()
    monkeypatch.setattr(Program, "none_below", lambda *given, **named: Verdict(False, None, "HiGHS gave up: no memory"))
    findings = Findings(INSTANCE)
    prove_bound(INSTANCE, above, findings)
    assert findings.items == []
    give_up(monkeypatch, "HiGHS gave up: no memory")
    prove_bound(INSTANCE, above, findings)
    assert findings.items and all(f.undecided and "HiGHS gave up: no memory" in str(f) for f in findings.items)


def test_infeasible_without_multipliers() -> None:
    """By the relaxation where that is empty, by its integers else; refuted by a schedule."""
    nothing: dict[str, None] = dict(streams=None, arcs=None)
    powerless = plain(sites=dict(import_limit_mw=0.0, wind_mw=0.0))
    # two jobs of more than half a site on each of one site's only period, beside each other by halves alone
    jobs = dict(gpus=[600.0, 600.0, 600.0], periods=1, release=0, deadline=1, value_usd=0.0, mandatory=True)
    crowded = plain(1, jobs=jobs, **nothing)
    for instance in (powerless, crowded):
        own = solve_extensive(instance)
        assert own.status is Status.INFEASIBLE and own.ray is None
        own = replace(own, provenance={**own.provenance, "instance_hash": instance.content_hash()})
        certificate = check(instance, own)
        assert certificate.verdict == "OK" and certificate.certified_bound == np.inf
    roomy = plain(2, jobs={**jobs, "deadline": 2}, **nothing)
    lie = replace(own, provenance={"instance_hash": roomy.content_hash()})
    certificate = check(roomy, lie)
    assert certificate.verdict == "REJECTED" and "a schedule exists" in str(certificate.findings[0])


def test_what_is_accepted_of_the_sites_is_not_held_against_their_sum() -> None:
    """Ten sites, each claimed too high by 0.9 of its own tolerance; ten times as much is more than the sum's own."""
    step = np.ones((10, 1))
    sites: dict[str, Any] = dict(capacity_gpu=step, power_slope_mw_per_gpu=step, power_intercept_mw=step)
    sites |= dict(import_limit_mw=9.0, buy_price=0.0, sell_price=0.0)
    instance = build_instance(10, 1, 1.0, sites=sites)
    dual = prices(instance, carbon=0.0)
    assert (np.abs(dual.site_lower) < 0.2).all()
    for share, good in ((0.9, True), (1.5, False)):
        moved = replace(dual, site_lower=dual.site_lower + share * TOLERANCE)
        findings = Findings(instance)
        proof = prove_bound(instance, moved, findings)
        claimed = float(moved.site_lower.sum())
        assert (not findings.items and claimed <= proof.bound + TOLERANCE * proof.scale) == good


def test_a_budget_without_a_schedule_has_a_bound(tmp_path: Path) -> None:
    """It claims no more than that; one that claims a cost besides is refused."""
    instance = plain(jobs=None, candidates=None)
    budget = 1.0
    at = at_budget(instance, budget)
    proved = prove_bound(at, prices(at, form="load"), Findings(at)).bound
    point = claim(at, None, prices(at, form="load"), bound=proved)
    ray = Ray(np.zeros((2, 6)), np.zeros(2), 1.0)
    write_instance(tmp_path / "fleet.h5", instance)
    for cost, code in ((np.inf, 0), (proved + 5.0, 1)):
        frontier = Frontier(0.0, ray, np.array([budget]), (replace(point, incumbent=cost),), np.array([np.inf]))
        write_frontier(tmp_path / "frontier.h5", frontier, instance)
        assert run(main, [str(tmp_path / "fleet.h5"), str(tmp_path / "frontier.h5")]) == code
