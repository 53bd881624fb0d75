"""All methods on random small fleets with scenarios, risk, budgets in every scenario and day-ahead generators."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.ranks.mpi import Serial
from decomp.solver.solve import solve
from draws import seldom

MORE = int(os.environ.get("DECOMP_RANDOM_SCENARIOS", "0"))  # so many seeds from 0 on instead
SEEDS = range(MORE) if MORE else seldom([2, 3, 5, 1, 6, 8, 11, 4], daily=3)
METHODS: dict[str, dict[str, Any]] = {  # with what is enough for them
    "hybrid": {},
    "branching": dict(method="hybrid", extensive_finish=dict(site_periods=0), improvement=dict(stale_finishes=1)),
    "lagrangian": dict(method="lagrangian", improvement=dict(stale_finishes=1)),
    "benders": dict(method="benders"),
}


def drawn(seed: int) -> Instance:
    """Two to four scenarios that are not equally likely; each of what joins them is there in half of the instances."""
    rng = np.random.default_rng([7, seed])
    k = int(rng.integers(2, 5))
    instance = generate("small", seed=seed, scenarios=k)
    p = np.maximum(rng.dirichlet(np.full(k, 3.0)), 0.02)
    risk: dict[str, Any] = {}
    if rng.random() < 0.5:
        risk |= dict(risk_weight=float(rng.choice([0.2, 0.5, 0.9, 1.0])))
        risk |= dict(risk_level=float(rng.choice([0.5, 0.7, 0.9, 0.95])))
    if rng.random() < 0.5:
        risk |= dict(carbon_scope="every")
    instance = replace(instance, scenarios=replace(instance.scenarios, probability=p / p.sum()), **risk)
    n = len(instance.generators.site)
    once = rng.random(n) < 0.7 if n and rng.random() < 0.5 else np.zeros(n, dtype=bool)
    return replace(instance, generators=replace(instance.generators, day_ahead=once))


def mutations(instance: Instance, result: Result) -> list[tuple[Instance, Result]]:
    """Other probabilities; another dispatch in the last scenario; a job that does not run in the last scenario."""
    schedule, n = result.schedule, instance.n_scenarios
    assert schedule is not None
    scenarios = replace(instance.scenarios, probability=np.roll(instance.scenarios.probability, 1))
    imported = np.array(schedule.import_mw)
    imported[-1, 0] += 0.5
    found = [
        (replace(instance, scenarios=scenarios), result),
        (instance, replace(result, schedule=replace(schedule, import_mw=imported))),
    ]
    for j in np.flatnonzero(schedule.job_site >= 0)[:1]:
        site, power = int(schedule.job_site[j]), np.array(schedule.it_power_mw)
        slope = instance.sites.power_slope_mw_per_gpu[site].max()
        power[site + (n - 1) * instance.n_sites, schedule.job_start[j]] -= 0.5 * slope * instance.jobs.gpus[j]
        found.append((instance, replace(result, schedule=replace(schedule, it_power_mw=power))))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_bound_optimum_incumbent(seed: int) -> None:
    instance = drawn(seed)
    truth = solve_extensive(instance, time_limit=600.0, rel_gap=1e-6)
    slack = 1e-6 * max(1.0, abs(truth.incumbent))
    for name, options in METHODS.items():
        result = solve(instance, Serial(), Options.from_dict(options))
        assert result is not None, name
        assert result.bound <= truth.incumbent + slack and truth.bound <= result.incumbent + slack, name
        certificate = check(instance, result)
        assert certificate.ok, (name, certificate.findings)
        if name == "hybrid":
            assert result.gap_rel <= 1e-3
            for other, claim in mutations(instance, result):
                assert not check(other, claim, bound=False).ok
