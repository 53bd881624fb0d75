"""The joint study: every baseline is a restriction, ordered cells, sweeps that are nested, claims, the command."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate, random_small
from decomp.files.store import read_instance, read_result
from decomp.model.accounts import account, load_gpu
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.validate import validate
from decomp.ranks.team import Serial
from decomp.solver.series import Ask
from decomp.solver.solve import solve
from decomp.studies.joint import BASELINES, Solver, Study, claims, site_benefit, sites, take_over
from decomp.studies.joint_pages import ordered
from decomp.studies.variants import VARIANTS, as_it_comes, firm_gpu, no_battery, routing, slack, within
from drivers.joint_study import main
from running import refused

pytestmark = pytest.mark.slow

ONCE = dict(branching=dict(site_periods=0), extensive_finish=dict(site_periods=0))  # nothing is solved twice
NEAR = Options().updated(rel_gap=1e-6, **ONCE)


@cache
def benefit(seed: int) -> float:
    """USD that a fleet brings at most."""
    return -solve_extensive(random_small(seed)).incumbent


@pytest.mark.parametrize("seed", range(7))
@pytest.mark.parametrize("name", BASELINES)
def test_schedules_of_a_baseline_are_schedules_of_the_fleet(name: str, seed: int) -> None:
    fleet = random_small(seed)
    variant = VARIANTS[name](fleet)
    validate(variant.instance)
    result = solve_extensive(variant.instance)
    if result.schedule is None:
        return
    lifted = variant.lift(fleet, result.schedule)
    cost = account(fleet, lifted).net_cost
    done = variant.work_left(result.schedule) < 1e-6
    if name == "energy-only":
        if not done or not np.isfinite(cost):
            return
    else:
        assert cost == pytest.approx(result.incumbent, rel=1e-6, abs=1e-3)
    about = dict(instance_hash=fleet.content_hash())
    certificate = check(fleet, replace(result, schedule=lifted, incumbent=cost, provenance=about), bound=False)
    assert certificate.ok, certificate.findings
    assert -cost <= benefit(seed) + 1e-6 * max(1.0, abs(cost))


def test_a_schedule_that_is_taken_over_brings_its_allowances() -> None:
    fleet = generate("fleet", sites=3, periods=12, period_h=1.0, jobs=8, seed=1)
    options = Options.from_dict(dict(method="lagrangian", improvement=dict(stale_finishes=1)))
    rough, good = (solve(fleet, Serial(), options.updated(rel_gap=gap)) for gap in (0.9, 1e-4))
    assert rough is not None and good is not None and good.schedule is not None
    assert rough.allowances is not None and good.incumbent < rough.incumbent
    taken = take_over(fleet, rough, [good.schedule])
    assert taken.incumbent == pytest.approx(good.incumbent)
    assert check(fleet, taken).findings == ()


def test_mandatory_work_without_a_place_at_home_makes_a_variant_infeasible() -> None:
    fleet = random_small(7)
    rows, found = Study(Solver(Ask(Serial()), NEAR), tell=lambda line: None).cell(fleet, ["no-routing"], "", 0.0)
    assert rows[0].status == "infeasible" and not rows[0].feasible and not found


def test_a_resting_battery_never_discharges() -> None:
    fleet = generate("fleet", sites=2, periods=8, seed=1)
    schedule = solve_extensive(no_battery(fleet).instance, rel_gap=1e-3).schedule
    assert schedule is not None
    discharged = fleet.period_h * schedule.discharge_mw.sum(axis=1)
    assert (discharged <= 1e-3 * fleet.sites.battery_mwh + 1e-6).all()


def test_work_as_it_comes_fits_and_is_near() -> None:
    fleet = generate("paper")
    work = as_it_comes(fleet)
    assert (load_gpu(fleet, work) <= firm_gpu(fleet) + 1e-6).all()
    ran = work.job_site >= 0
    homes = [int(fleet.candidates.site[fleet.candidates.job == j][0]) for j in range(fleet.n_jobs)]
    assert (work.job_site[ran] == np.array(homes)[ran]).all()
    assert (work.job_start[ran] >= fleet.jobs.release[ran]).all()
    served = np.zeros_like(fleet.demand_gpu)
    np.add.at(served, fleet.arcs.stream, work.routed_gpu)
    assert served + work.unserved_gpu == pytest.approx(fleet.demand_gpu)
    nearest = within(fleet, 1).arc
    elsewhere = np.setdiff1d(np.arange(len(fleet.arcs.site)), nearest)
    full = firm_gpu(fleet) - load_gpu(fleet, work) < 1e-6
    home = fleet.arcs.site[[a for e in elsewhere for a in nearest if fleet.arcs.stream[a] == fleet.arcs.stream[e]]]
    assert (full[home] | (work.routed_gpu[elsewhere] <= 1e-9)).all(), "away only where home is full"


def test_sweeps_change_what_they_say() -> None:
    fleet = generate("paper")
    assert routing(fleet, 3).content_hash() == fleet.content_hash()
    assert slack(fleet, 1.0).content_hash() == fleet.content_hash()
    tight = slack(fleet, 0.0).jobs
    assert (tight.deadline == tight.release + tight.periods).all()
    assert (slack(fleet, 5.0).jobs.deadline == 24).all()


def test_paper_in_every_variant_is_ordered_and_its_claims_are_judged() -> None:
    fleet = generate("paper")

    class Exact(Solver):
        def __call__(self, instance: Instance):  # type: ignore[no-untyped-def]
            return self.extensive(instance)

    study = Study(Exact(Ask(Serial()), NEAR), tell=lambda line: None)
    rows, found = study.table(fleet)
    of = {row.variant: row for row in rows}
    assert ordered(rows) == (1, 1)
    assert all(row.gap <= 1e-8 for row in rows)
    assert of["joint"].benefit_usd == pytest.approx(45_097.70, abs=0.01)
    assert not of["energy-only"].feasible and of["joint"].feasible
    worth = site_benefit(fleet, found["joint"]).sum()
    assert worth == pytest.approx(of["joint"].benefit_usd), "all is served, so the sites' benefits are the fleet's"
    judged = {claim.claim: claim.outcome for claim in claims(rows, sites(fleet, found))}
    assert len(judged) == 6
    assert judged["Emissions fall by about 35 %"] == "not reproduced"
    assert judged["Routing is a major source of value"] == "reproduced"


def test_the_command_solves_checks_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    asked = ["--family", "small", "--seed", "3", "--sweeps", "routing", "budget"]
    assert main(["-o", str(folder), *asked]) == 0
    text = (folder / "summary.md").read_text("utf-8")
    assert text in capsys.readouterr().out
    assert f"python -m drivers.joint_study -o {folder} {' '.join(asked)}" in text
    with (folder / "variants.csv").open(encoding="utf-8") as stream:
        rows = {row["variant"]: row for row in csv.DictReader(stream)}
    assert list(rows) == list(VARIANTS)
    results = sorted(folder.glob("*-result.h5"))
    assert len(results) > 6
    for path in results:
        instance = read_instance(path.with_name(path.name.replace("-result", "")))
        certificate = check(instance, read_result(path))
        assert certificate.ok, (path.name, certificate.findings)
    for row in rows.values():
        if np.isfinite(float(row["extensive_usd"])):
            assert float(row["benefit_usd"]) == pytest.approx(float(row["extensive_usd"]), rel=1e-6)
    for name in ("variants", "routing", "budget"):
        assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sites", "5"], "family paper: the number of sites is fixed"),
        (["--seconds", "0"], "--seconds: 0: must be a number above 0"),
        (["--variants", "no-carbon"], "variants: joint must be one of them"),
        (["--rel-gap", "7"], "rel_gap: 7.0, must be a number between 0 and 1"),
    ],
)
def test_bad_input_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(main, arguments, tmp_path / "out", capsys)
