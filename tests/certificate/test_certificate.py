"""The certificate accepts what is right, and its bounds hold at any prices and for any dual vector."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from decomp.certificate import check
from decomp.certificate.bound import prove_bound, site_tasks
from decomp.certificate.findings import Findings
from decomp.certificate.sites import block_program
from decomp.certificate.terms import load_terms
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.files.store import write_instance, write_result
from decomp.model.accounts import allot
from decomp.model.instance import InputError, Instance
from decomp.model.result import Dual, Result, Schedule
from draws import draws
from drivers.check import main
from drivers.common import run
from hand_case import INSTANCE, RIGHT, claim, prices
from tiny import bare_sites, plain


@pytest.mark.parametrize("form", ["load", "work"])
def test_a_right_result_is_accepted(form: str) -> None:
    result = claim(INSTANCE, RIGHT.schedule, prices(INSTANCE, form=form))
    certificate = check(INSTANCE, result)
    assert certificate.ok and not certificate.findings and certificate.sites_unproved == ()
    assert certificate.cost == pytest.approx(result.incumbent, rel=1e-12)
    assert certificate.certified_bound == pytest.approx(result.bound, rel=1e-12)
    assert certificate.gap_rel == pytest.approx(result.gap_rel, rel=1e-9)


def test_cost_and_emissions_by_hand() -> None:
    """One site, one period of half an hour: 10 GPUs draw 2 MW at PUE 1.5, wind gives 1 MW, the grid the rest."""
    instance = bare_sites(
        period_h=0.5,
        capacity_gpu=20.0,
        power_slope_mw_per_gpu=[[0.1]],
        power_intercept_mw=1.0,
        pue=1.5,
        buy_price=40.0,
        demand_charge=7.0,
        peak_so_far_mw=1.5,
        carbon_intensity=0.3,
        wind_mw=1.0,
        streams=dict(demand_rps=[[12.0]], revenue=5.0, unserved_penalty=3.0),
        arcs=dict(stream=[0], site=[0], cost=1.0),
        carbon_budget_t=0.1,
        carbon_excess_usd_per_t=50.0,
        carbon_price_usd_per_t=20.0,
    )
    values: dict[str, Any] = dict(routed_gpu=10.0, unserved_gpu=2.0, it_power_mw=2.0, import_mw=2.0, renewable_mw=1.0)
    sizes = {**instance.sizes, "instant": 2}
    schedule = Schedule.make(sizes, **{f.name: values.get(f.name, 0) for f in Schedule.columns()})
    # 1 MWh bought; peak 0.5 MW above 1.5; 10 GPUs routed, 2 unserved for half an hour; 0.3 t emitted, 0.2 too many
    cost = 40 + 7 * 0.5 + 0.5 * (10 * (1 - 5) + 2 * 3) + 20 * 0.3 + 50 * 0.2
    certificate = check(instance, claim(instance, schedule, None, incumbent=cost, bound=cost), bound=False)
    assert certificate.ok and certificate.bound_ok is None
    assert (certificate.cost, certificate.emissions_t) == (pytest.approx(cost), pytest.approx(0.3))


# ---------------------------------------------------------------- against the extensive form

SEEDS = st.integers(0, 30)


@cache
def optimum(seed: int) -> tuple[Instance, Result]:
    instance = generate("small", seed=seed)
    return instance, solve_extensive(instance, time_limit=600.0)


def solved(seed: int) -> tuple[Instance, Result]:
    """A tiny random instance with its optimum; instances that take long are passed over."""
    instance, result = optimum(seed)
    assume(result.schedule is not None)
    return instance, result


def random_dual(instance: Instance, rng: np.random.Generator, form: str) -> Dual:
    """Any prices at all; the certificate must make a valid bound of them."""
    scale = rng.choice([0.0, 0.1, 1.0, 3.0])
    most = min(instance.carbon_excess_usd_per_t, 200.0) if np.isfinite(instance.carbon_budget_t) else 0.0
    columns = {f.name: [instance.sizes[d] for d in f.metadata["dims"]] for f in Dual.columns()}
    values = {name: rng.normal(0.0, scale, shape) for name, shape in columns.items()}
    values |= dict(job_price=50 * values["job_price"], site_lower=np.full(instance.n_sites, -1e12))
    return Dual(**values, carbon_price=float(rng.uniform(0.0, most)), form=form)


@draws(12)
@given(SEEDS)
def test_extensive_results_are_accepted(seed: int) -> None:
    instance, result = solved(seed)
    assume(result.gap_rel < 1e-6)
    certificate = check(instance, result)
    assert certificate.ok, certificate.findings
    assert certificate.certified_bound == pytest.approx(result.incumbent, rel=1e-6, abs=1e-6)


@draws(12)
@given(SEEDS)
def test_bounds_hold_at_any_prices(seed: int) -> None:
    instance, result = solved(seed)
    rng = np.random.default_rng(seed)
    for form in ("load", "work"):
        dual = random_dual(instance, rng, form)
        findings = Findings(instance)
        proof = prove_bound(instance, dual, findings)
        assert not findings.items
        integers = 0.0
        for site, task in zip(proof.sites, site_tasks(instance, dual, 10.0), strict=True):
            program = block_program([task])
            lower = program.integer_bound(10.0) if program.integer.any() else site.lower
            assert lower >= site.lower - 1e-6 * max(1.0, abs(site.lower))
            integers += lower - site.lower
        assert proof.bound + integers <= result.incumbent + 1e-6 * max(1.0, abs(result.incumbent))


@draws(12)
@given(SEEDS)
def test_duals_of_the_relaxation_are_reproved(seed: int) -> None:
    instance, result = solved(seed)
    relaxed = solve_extensive(instance, relax=True)
    carbon = allot(instance, result.schedule, relaxed.dual)
    certificate = check(instance, replace(result, bound=relaxed.bound, dual=relaxed.dual, allowances=carbon))
    assert certificate.ok, certificate.findings
    assert certificate.certified_bound >= relaxed.bound - 1e-6 * max(1.0, abs(relaxed.bound))


FLOATS = [f.name for f in Schedule.columns() if f.metadata["kind"] == "f8"]


@draws(30)
@given(SEEDS, st.sampled_from(FLOATS), st.floats(0.0, 1.0), st.sampled_from([-1.0, 1.0]))
def test_no_single_number_of_a_schedule_may_change(seed: int, name: str, where: float, sign: float) -> None:
    instance, result = solved(seed)
    assert result.schedule is not None
    array = np.array(getattr(result.schedule, name))
    assume(array.size > 0)
    at = np.unravel_index(int(where * (array.size - 1)), array.shape)
    array[at] += sign * 1e-3 * max(1.0, np.abs(array).max())
    certificate = check(instance, replace(result, schedule=replace(result.schedule, **{name: array})), bound=False)
    assert not certificate.ok


# ---------------------------------------------------------------- parts of the bound


@draws(20)
@given(SEEDS)
def test_any_dual_vector_gives_a_valid_bound(seed: int) -> None:
    instance, rng = generate("small", seed=seed), np.random.default_rng(seed)
    program = block_program(site_tasks(instance, random_dual(instance, rng, "work"), 10.0)[:1])
    best = program.linear_bound(10.0)[0]
    for scale in (0.0, 1.0, 1e3):
        assert program.safe_bound(rng.normal(0.0, scale, len(program.right))) <= best + 1e-6 * max(1.0, abs(best))
    assert program.safe_bound(np.full(len(program.right), np.nan)) <= best + 1e-6 * max(1.0, abs(best))


@draws(20)
@given(SEEDS)
def test_closed_form_terms_against_loops(seed: int) -> None:
    instance, rng = generate("small", seed=seed), np.random.default_rng(seed)
    price, step = rng.normal(0.0, 2.0, (instance.n_sites, instance.n_periods)), instance.period_h
    terms = {what: value for what, _, value in load_terms([(instance, price)], instance)}
    jobs, cands, pools = instance.jobs, instance.candidates, instance.pools
    for j in range(instance.n_jobs):
        best = np.inf if jobs.mandatory[j] else 0.0
        for k in np.flatnonzero(cands.job == j):
            for start in range(jobs.release[j], jobs.deadline[j] - jobs.periods[j] + 1):
                span = slice(start, start + jobs.periods[j])
                if (instance.sites.capacity_gpu[cands.site[k], span] >= jobs.gpus[j]).all():
                    paid = step * jobs.gpus[j] * price[cands.site[k], span].sum()
                    best = min(best, cands.cost_usd[k] - jobs.value_usd[j] + paid)
        assert terms["jobs"][j] == pytest.approx(best, abs=1e-9)
    for p in range(instance.n_pools):
        arcs = np.flatnonzero(instance.pool_arcs.pool == p)
        slots = sorted(
            (price[instance.pool_arcs.site[a], t], step * instance.pool_arcs.rate_gpu[a])
            for a in arcs
            for t in range(pools.start[p], pools.end[p])
        )
        left, cost = pools.work_gpu_h[p], 0.0
        for unit, room in slots:
            if unit < pools.shortfall_penalty[p]:
                used = min(left, room)
                left, cost = left - used, cost + used * unit
        cost += left * pools.shortfall_penalty[p] if left > 1e-9 else 0.0
        assert terms["pools"][p] == pytest.approx(cost, abs=1e-6)
    arcs = instance.arcs
    for d in range(instance.n_streams):
        mine, cost = np.flatnonzero(arcs.stream == d), 0.0
        for t in range(instance.n_periods):
            offers = [arcs.cost[a] - instance.streams.revenue[d] + price[arcs.site[a], t] for a in mine]
            cost += step * instance.demand_gpu[d, t] * min([*offers, instance.streams.unserved_penalty[d]])
        assert terms["streams"][d] == pytest.approx(cost, abs=1e-6)


def test_claims_above_the_relaxation_need_the_integers() -> None:
    """A site bound between LP and MILP is proved by the MILP, one above it is refuted."""
    instance = generate("small", seed=0)
    dual = random_dual(instance, np.random.default_rng(3), "work")
    programs = [block_program([task]) for task in site_tasks(instance, dual, 10.0)]
    linear = np.array([program.linear_bound(10.0)[0] for program in programs])
    whole = np.maximum([program.integer_bound(10.0) for program in programs], linear)
    assert (whole > linear + 1.0).any()
    findings = Findings(instance)
    proof = prove_bound(instance, replace(dual, site_lower=whole), findings)
    assert not findings.items and {site.method for site in proof.sites} >= {"MILP"}
    prove_bound(instance, replace(dual, site_lower=whole + 1.0), findings)
    assert len(findings.items) == instance.n_sites and "a dispatch of" in str(findings.items[0])


def test_processes_prove_the_same() -> None:
    assert check(INSTANCE, RIGHT, jobs=2) == check(INSTANCE, RIGHT)


@pytest.mark.parametrize("how", [dict(seconds=np.nan), dict(seconds=-1.0), dict(jobs=0), dict(jobs=1.5)])
def test_arguments_that_cannot_be_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be a"):
        check(INSTANCE, RIGHT, **how)


def test_a_large_result_without_prices_is_not_reproved() -> None:
    large = bare_sites(25, 96)
    nothing = Schedule.make(large.sizes | dict(instant=97), **{f.name: 0 for f in Schedule.columns()})
    result = claim(large, nothing, None)
    certificate = check(large, result)
    assert not certificate.ok and certificate.schedule_ok and "not re-proved" in str(certificate.findings[0])
    assert check(large, result, bound=False).ok


# ---------------------------------------------------------------- the driver


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    write_instance(tmp_path / "fleet.h5", INSTANCE)
    write_result(tmp_path / "result.h5", RIGHT, INSTANCE)
    return str(tmp_path / "fleet.h5"), str(tmp_path / "result.h5")


def test_driver_accepts(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, files) == 0
    assert "certificate: OK" in capsys.readouterr().out
    assert run(main, [*files, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["ok"] and record["findings"] == [] and record["cost"] == pytest.approx(RIGHT.incumbent)


def test_driver_rejects(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    write_result(files[1], replace(RIGHT, bound=RIGHT.bound + 1.0), INSTANCE)
    assert run(main, files) == 1
    assert "certificate: REJECTED" in capsys.readouterr().out
    assert run(main, [*files, "--no-bound"]) == 0
    write_result(files[1], replace(RIGHT, schedule=None), INSTANCE)
    assert run(main, [*files, "--json"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cost"] is None


def test_driver_refuses_bad_input(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, [files[0], str(tmp_path / "none.h5")]) == 2
    assert run(main, [files[1], files[0]]) == 2
    assert run(main, [*files, "--jobs", "0"]) == 2
    assert all(line.startswith("error: ") for line in capsys.readouterr().err.splitlines())


def test_much_work_at_high_prices_is_proved_to_the_cent() -> None:
    """Work for a billion USD that cannot be powered: rounding is not what is lacking to 0."""
    instance = plain(
        sites=dict(capacity_gpu=1e7, power_slope_mw_per_gpu=np.full((2, 1), 4e-5), power_intercept_mw=np.zeros((2, 1)))
        | dict(import_limit_mw=0.0, wind_mw=0.0, buy_price=2e4, sell_price=0.0, demand_charge=5e5),
        streams=dict(demand_rps=np.full((1, 6), 3e7), revenue=99.0, unserved_penalty=0.0),
        jobs=None,
        candidates=None,
    )
    result = solve_extensive(instance)
    assert result.incumbent == 0.0 and result.bound == 0.0
    assert check(instance, result).findings == ()
