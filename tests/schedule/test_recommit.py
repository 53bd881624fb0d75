"""Recommitment: the cheapest commitments for the jobs of a schedule, with work and budget divided anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.by_highs import solve as solve_form
from decomp.extensive.matrices import start_vector
from decomp.extensive.pyomo_model import build, solve_extensive
from decomp.families import generate
from decomp.lp.highs import Effort
from decomp.model.accounts import account, allot
from decomp.model.options import Options
from decomp.model.result import Result, Status
from decomp.ranks.mpi import Serial
from decomp.schedule.recommit import recommit
from decomp.solver.solve import solve
from loops import workers_of
from tiny import tiny

LONG = 600.0


@pytest.mark.parametrize("seed", [1, 2, 8])
def test_no_commitments_are_cheaper_for_the_same_jobs(seed: int) -> None:
    instance = generate("fleet", sites=4, periods=24, period_h=1.0, seed=seed)
    assert len(instance.generators.site)
    result = solve(instance, Serial(), Options.from_dict(dict(rel_gap=0.9)))
    assert result is not None and result.schedule is not None
    found = recommit(instance, result.schedule, workers_of(instance), Effort(0.0, 100_000), LONG)
    assert found is not None
    assert (found.job_site == result.schedule.job_site).all() and (found.job_start == result.schedule.job_start).all()
    form = build(instance)
    lower, upper, present = form.lower.copy(), form.upper.copy(), start_vector(form, result.schedule)
    jobs = np.concatenate([form.index[name][form.index[name] >= 0] for name in ("start", "reject")])
    lower[jobs] = upper[jobs] = present[jobs]
    truth = solve_form(replace(form, lower=lower, upper=upper), rel_gap=1e-9)
    cost = account(instance, found).net_cost
    assert cost == pytest.approx(truth.incumbent, rel=1e-6)
    assert cost <= result.incumbent + 1e-6 * abs(result.incumbent)
    allowances = allot(instance, found, result.dual)
    assert check(instance, replace(result, schedule=found, incumbent=cost, allowances=allowances)).ok


def test_jobs_that_have_moved_get_segments_of_power_curves_and_dispatch() -> None:
    """All jobs somewhere else, the dispatch still that of before, at sites whose power curve holds exactly."""
    instance = tiny(sites={"exact_power_curve": True})
    truth = solve_extensive(instance, rel_gap=1e-9)
    assert truth.schedule is not None
    start = np.where(truth.schedule.job_site >= 0, instance.jobs.release, -1)
    assert (start != truth.schedule.job_start).any()
    found = recommit(
        instance, replace(truth.schedule, job_start=start), workers_of(instance), Effort(0.0, 100_000), LONG
    )
    assert found is not None and (found.job_start == start).all()
    cost = account(instance, found).net_cost
    assert cost >= truth.incumbent - 1e-6 * abs(truth.incumbent)
    facts = dict(instance_hash=instance.content_hash())
    moved = Result(Status.LIMIT, cost, cost, found, None, provenance=facts)
    assert not list(check(instance, moved, bound=False).findings)
