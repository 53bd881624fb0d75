"""A schedule along its curve: feasible at every budget, about as cheap as its linear program says, with fewer jobs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from decomp.bound.coupling import Coupling, Fixing
from decomp.certificate import check
from decomp.families import generate
from decomp.frontier.fleet_curve import CostCurve, cost_curve
from decomp.frontier.group_curve import AbatementTask, Asked, GroupCurve, GroupProgram, mix
from decomp.model.accounts import account, emissions_t
from decomp.model.frontier import at_budget
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Result, Schedule, Status
from decomp.ranks.mpi import Serial
from decomp.schedule.group_lp import GroupTask
from decomp.schedule.incumbent import fixing_of
from decomp.schedule.redispatch import redispatch_group
from decomp.schedule.subinstance import restrict
from decomp.solver.solve import solve
from draws import seldom
from loops import loop_of

SEEDS = (5, 8, 14)
PRICES = np.array([0.0, 50.0, 200.0, 800.0, 2000.0])  # USD/t
ACCURACY = 1e-3  # of the cost
MODES = 1e-2  # likewise: what modes of batteries cost that are chosen at the least price of a tonne


def anywhere(coupling: Coupling, fixing: Fixing) -> Fixing:
    """Every rejected job at its first candidate, as early as it may."""
    run, start, jobs = fixing.run.copy(), fixing.start.copy(), coupling.jobs
    for j in np.flatnonzero(run < 0):
        run[j] = jobs.ptr[j]
        start[j] = jobs.release[j] + np.argmax(jobs.allowed[jobs.first[run[j]] : jobs.first[run[j]] + jobs.n_starts[j]])
    return Fixing(run, start)


@cache
def curve_of(seed: int, group_sites: int = 99, family: str = "small") -> tuple[Instance, Schedule, CostCurve]:
    instance = at_budget(generate(family, seed=seed, **dict(sites=4) if family == "fleet" else {}), np.inf)
    result = solve(instance, Serial(), Options.from_dict(dict(rel_gap=0.05, method="lagrangian")))
    assert result is not None and result.schedule is not None
    schedule: Schedule = result.schedule
    coupling = Coupling.of(instance)
    runs = anywhere(coupling, fixing_of(coupling, schedule))
    task = AbatementTask(
        GroupTask(instance, schedule), coupling.jobs.site[runs.run], runs.start, (0.0, 0.0), Asked(PRICES, PRICES, 0.0)
    )
    program = GroupProgram(task)
    points = [program.at(price) for price in PRICES]
    value = np.array([p.cost + p.price * p.tonnes for p in points if p is not None])
    asked = Asked(value, PRICES, ACCURACY * abs(result.incumbent))
    ends = 0.0, 200.0, float(PRICES[-1])
    loop = loop_of(instance, Options().bundle)
    curve = cost_curve(instance, schedule, loop, runs, ends, asked, group_sites=group_sites)
    assert curve is not None
    return instance, schedule, curve


@pytest.mark.parametrize("seed", seldom(SEEDS, daily=2))
@pytest.mark.parametrize("group_sites", [1, 99])
def test_every_schedule_of_a_curve_is_feasible_and_as_cheap_as_the_curve_says(seed: int, group_sites: int) -> None:
    instance, _, curve = curve_of(seed, group_sites)
    assert (np.diff(curve.tonnes) > 0).all() and (np.diff(curve.cost) < 0).all()
    middle = 0.5 * (curve.tonnes[1:] + curve.tonnes[:-1])
    for tonnes in (*curve.tonnes[1:], *middle):
        found = curve.at(tonnes)
        assert found is not None and emissions_t(instance, found.schedule).sum() <= tonnes
        claim = Result(Status.LIMIT, -np.inf, found.cost, found.schedule, None)
        at = at_budget(instance, tonnes)
        claim.provenance["instance_hash"] = at.content_hash()
        certificate = check(at, claim, bound=False)
        assert certificate.ok, certificate.findings
        assert found.cost <= curve.cost_at(tonnes * (1 - 2e-9)) + 1e-6 * abs(found.cost)
        assert (found.fixing.run >= 0).tolist() == (found.schedule.job_site >= 0).tolist()


@pytest.mark.parametrize("seed", seldom(SEEDS, daily=2))
def test_between_points_that_mix_a_curve_is_the_linear_program_but_for_modes(seed: int) -> None:
    instance, _, curve = curve_of(seed)
    whole = np.arange(instance.n_sites)
    for k in np.flatnonzero(curve.mixes):
        tonnes = 0.5 * (curve.tonnes[k] + curve.tonnes[k + 1])
        found = curve.at(tonnes)
        assert found is not None
        part = restrict(at_budget(instance, tonnes), found.schedule, whole)
        best = redispatch_group(GroupTask(part.instance, found.schedule))
        assert best is not None
        least = account(instance, best).net_cost
        assert -1e-6 * abs(least) <= found.cost - least <= MODES * abs(least)


def test_cleaner_schedules_have_fewer_jobs_and_a_chain_has_the_same() -> None:
    fewer = []
    for seed, family in (*((seed, "small") for seed in SEEDS[:2]), (3, "fleet")):
        instance, schedule, curve = curve_of(seed, family=family)
        found = [at.schedule for tonnes in curve.tonnes if (at := curve.at(tonnes * (1 + 1e-8))) is not None]
        fewer.append(int((found[-1].job_site >= 0).sum()) - int((found[0].job_site >= 0).sum()))
        assert all((s.job_site[instance.jobs.mandatory] >= 0).all() for s in found)
        assert all((s.generator_on == schedule.generator_on).all() for s in found)
        chains = curve.chain(curve.tonnes * (1 + 1e-9))
        for (one, other), (a, b) in zip(pairwise(found), pairwise(chains), strict=True):
            assert (a == b) <= bool((one.job_site == other.job_site).all())
    assert min(fewer) >= 0 and max(fewer) > 0


def test_pieces_of_a_curve_join_with_a_jump_as_small_as_may_be() -> None:
    schedule = curve_of(8)[1]
    one, two = np.array([True]), np.array([True, True])
    clean = GroupCurve([schedule] * 2, np.array([1.0, 2.0]), np.array([9.0, 5.0]), one)
    joint = clean.then(GroupCurve([schedule] * 2, np.array([2.0, 3.0]), np.array([5.0, 4.0]), one))
    assert joint.tonnes == pytest.approx([1.0, 2.0, 2.0, 3.0], abs=1e-4) and (np.diff(joint.tonnes) > 0).all()
    assert joint.mixes.tolist() == [True, False, True] and len(joint.schedules) == 4 and (np.diff(joint.cost) < 0).all()
    apart = clean.then(GroupCurve([schedule] * 3, np.array([1.9, 2.5, 3.0]), np.array([6.0, 4.5, 4.0]), two))
    assert apart.tonnes == pytest.approx([1.0, 2.0, 2.3, 2.5, 3.0], abs=1e-4)  # 5 USD at 2.3 t
    assert apart.mixes.tolist() == [True, False, True, True]
    assert clean.then(GroupCurve([schedule], np.array([3.0]), np.array([6.0]), one[:0])) is clean


def test_no_schedule_below_the_cleanest_and_the_cheapest_above_all() -> None:
    curve = curve_of(8)[2]
    assert np.isinf(curve.cost_at(curve.tonnes[0] - 1.0)) and curve.cost_at(1e9) == curve.cost[-1]
    found = curve.at(1e9)
    assert found is not None and found.cost == pytest.approx(curve.cost[-1], rel=1e-9)


def test_a_mixture_cancels_what_is_bought_and_sold_at_once() -> None:
    schedule = curve_of(8)[1]
    two, none = np.full_like(schedule.import_mw, 2.0), np.zeros_like(schedule.import_mw)
    one = replace(schedule, import_mw=two, export_mw=none)
    other = replace(schedule, import_mw=none, export_mw=two)
    mixed = mix(one, other, 0.25)
    assert (mixed.import_mw == 1.0).all() and (mixed.export_mw == 0.0).all()
    assert (mixed.job_site == schedule.job_site).all() and (mixed.generator_on == schedule.generator_on).all()
