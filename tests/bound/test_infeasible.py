"""What no schedule can do: certified minimum emissions, infeasible budgets, work and power; proofs that are checked."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from decomp.bound.infeasible import Minimum, least_emissions
from decomp.certificate import check
from decomp.certificate.ray import without_money as by_the_certificate
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.files.store import read_result, write_instance, write_result
from decomp.model.instance import Instance
from decomp.model.options import Bundle, Options
from decomp.model.result import Ray, Result, Status
from decomp.ranks.mpi import Serial
from decomp.ranks.workers import Workers
from decomp.site.service import muster
from decomp.solver.solve import solve
from drivers.check import main as check_main
from drivers.common import run
from drivers.solve import main as solve_main
from tiny import tiny

pytestmark = pytest.mark.slow

OPTIONS = Options.from_dict(dict(improvement=dict(stale_finishes=1)))
SEEDS = (0, 1, 2, 3, 5, 6, 8, 10, 11, 12, 14, 16, 17, 20, 23)
OVERLAP = dict(name=["a", "b"], gpus=[800.0, 700.0], periods=8, release=0, deadline=8, value_usd=0.0, mandatory=True)


@cache
def minimum(seed: int) -> tuple[Instance, Minimum]:
    instance = generate("small", seed=seed)
    return instance, minimum_of(instance)


def minimum_of(instance: Instance) -> Minimum:
    return least_emissions(instance, muster(instance, Workers(Serial())), Bundle(), lambda: False)


def with_budget(instance: Instance, budget: float) -> Instance:
    return replace(instance, carbon_budget_t=budget, carbon_excess_usd_per_t=np.inf)


def solved(instance: Instance) -> Result:
    result = solve(instance, Serial(), OPTIONS)
    assert result is not None
    return result


@cache
def below(seed: int) -> tuple[Instance, Result]:
    """An instance whose budget is a little below the least emissions, and what solve says of it."""
    instance, least = minimum(seed)
    tight = with_budget(instance, least.tonnes - 0.05 * max(0.2, abs(least.tonnes)))
    return tight, solved(tight)


@pytest.mark.parametrize("seed", SEEDS)
def test_minimum_is_that_of_the_linear_relaxation_and_below_the_optimum(seed: int) -> None:
    """HiGHS minimises the emissions in the extensive form, where a tonne costs 100 USD and nothing else costs."""
    instance, least = minimum(seed)
    emissions = replace(with_budget(by_the_certificate(instance), np.inf), carbon_price_usd_per_t=100.0)
    slack = 1e-3 * max(1.0, abs(least.tonnes))
    assert least.tonnes <= solve_extensive(emissions, time_limit=600.0).incumbent / 100.0 + slack
    assert least.tonnes >= solve_extensive(emissions, relax=True).bound / 100.0 - slack


@pytest.mark.parametrize("seed", SEEDS)
def test_budget_below_the_minimum_is_refused_with_a_proof(seed: int) -> None:
    instance, result = below(seed)
    assert result.status is Status.INFEASIBLE and result.status.exit_code == 4
    assert result.schedule is None and result.dual is None and result.bound == result.incumbent == np.inf
    assert "is below the certified minimum of" in result.provenance["reason"]
    certificate = check(instance, result)
    assert certificate.ok and certificate.excess > 0 and certificate.certified_bound == np.inf
    assert solve_extensive(instance, time_limit=600.0).schedule is None


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_budget_above_what_a_schedule_emits_is_not_refused(seed: int) -> None:
    instance, least = minimum(seed)
    wide = with_budget(instance, least.tonnes + 0.3 * max(0.2, abs(least.tonnes)))
    assert solved(wide).status is not Status.INFEASIBLE


def changed(ray: Ray, what: str, instance: Instance) -> Ray:
    """A ray that proves less than it says."""
    if what == "site_lower":
        return replace(ray, site_lower=ray.site_lower + 0.01 * (1.0 + np.abs(ray.site_lower)))
    if what == "load_price":
        return replace(ray, load_price=ray.load_price + np.where(np.arange(instance.n_sites) == 0, 1.0, 0.0)[:, None])
    if what == "carbon_weight":
        return replace(ray, carbon_weight=0.5 * ray.carbon_weight)
    return replace(ray, load_price=ray.load_price[:, 1:])


@pytest.mark.parametrize("what", ["site_lower", "load_price", "carbon_weight", "shape"])
@pytest.mark.parametrize("seed", [1, 5, 20])
def test_certificate_rejects_a_tampered_proof(seed: int, what: str) -> None:
    instance, result = below(seed)
    assert result.ray is not None
    certificate = check(instance, replace(result, ray=changed(result.ray, what, instance)))
    assert not certificate.ok and certificate.findings


@pytest.mark.parametrize("seed", [1, 5, 20])
def test_certificate_rejects_a_proof_for_a_budget_that_can_be_kept(seed: int) -> None:
    instance, result = below(seed)
    wide = with_budget(instance, minimum(seed)[1].tonnes + 1e-3)
    moved = replace(result, provenance={**result.provenance, "instance_hash": wide.content_hash()})
    certificate = check(wide, moved)
    assert not certificate.ok and any(f.rule == "infeasible" for f in certificate.findings)
    assert not check(wide, result).ok  # belongs to another instance


def test_certificate_rejects_a_budget_proof_where_the_excess_has_a_price() -> None:
    instance, result = below(5)
    priced = replace(instance, carbon_excess_usd_per_t=100.0)
    moved = replace(result, provenance={**result.provenance, "instance_hash": priced.content_hash()})
    assert not check(priced, moved).ok


def test_mandatory_work_without_a_place() -> None:
    """Two jobs of 8 hours that need 1500 GPUs of the 1000 of the only site."""
    instance = tiny(jobs=OVERLAP, candidates=dict(job=[0, 1], site=[1, 1], cost_usd=0.0))
    result = solved(instance)
    assert result.status is Status.INFEASIBLE
    assert result.provenance["reason"].startswith("at least ") and "mandatory work" in result.provenance["reason"]
    certificate = check(instance, result)
    assert certificate.ok and certificate.excess > 0
    room = tiny(jobs=OVERLAP, candidates=dict(job=[0, 1], site=[1, 2], cost_usd=0.0))
    moved = replace(result, provenance={**result.provenance, "instance_hash": room.content_hash()})
    assert solved(room).schedule is not None and not check(room, moved).ok


def test_power_that_cannot_be_had() -> None:
    """Albany's battery could carry its idle load in any single hour without import, but not in all of them."""
    limits = np.full((3, 8), 2.0)
    limits[0] = 0.0
    short = tiny(sites=dict(import_limit_mw=limits, wind_mw=0.0), generators=dict(site=[1, 2]))
    jobs = dict(job=[0, 0, 1, 2], site=[1, 2, 2, 2], cost_usd=0.0)
    short = replace(short, candidates=replace(short.candidates, job=jobs["job"], site=jobs["site"]))
    result = solved(short)
    assert result.status is Status.INFEASIBLE
    assert result.provenance["reason"].startswith("site 'Albany' misses its power balance by at least")
    assert check(short, result).ok
    fine = tiny(sites=dict(wind_mw=0.0), generators=dict(site=[1, 2]))
    moved = replace(result, provenance={**result.provenance, "instance_hash": fine.content_hash()})
    assert not check(fine, moved).ok


def test_commands_say_why_and_check_re_proves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instance, _ = below(5)
    fleet, out = tmp_path / "fleet.h5", tmp_path / "result.h5"
    write_instance(fleet, instance)
    assert run(solve_main, [str(fleet), "-o", str(out)]) == 4
    error = capsys.readouterr().err
    assert error.startswith("infeasible: budget of ") and "certified minimum" in error and error.count("\n") == 1
    assert run(check_main, [str(fleet), str(out)]) == 0
    assert "no schedule keeps the limits" in capsys.readouterr().out
    result = read_result(out)
    assert result.ray is not None and result.ray.carbon_weight == 1.0
    write_result(out, replace(result, ray=changed(result.ray, "site_lower", instance)), instance)
    assert run(check_main, [str(fleet), str(out)]) == 1
