"""Mandatory jobs run, whatever dear inference has to give way: every method finds what the extensive form finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import decomp
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.ranks.team import Serial
from decomp.solver.solve import solve
from tiny import bare_sites

pytestmark = pytest.mark.slow

METHODS = ("lagrangian", "benders", "hybrid")
POWER: dict[str, Any] = dict(power_slope_mw_per_gpu=0.001, pue=1.2, import_limit_mw=3.0)


def fleet(n_sites: int, n: int, gpus: float, demand: float, penalty: float, value: float) -> Instance:
    """At every site a job that must run and inference that has no other place; they do not both fit."""
    price = 40 + 20 * np.sin(np.arange(n) / n * 2 * np.pi + np.arange(n_sites)[:, None])
    each = np.arange(n_sites)
    return bare_sites(
        n_sites,
        n,
        **POWER,
        power_intercept_mw=0.2,
        buy_price=price,
        sell_price=price,
        jobs=dict(gpus=[gpus] * n_sites, periods=n // 2, release=0, deadline=n, value_usd=value, mandatory=True),
        candidates=dict(job=each, site=each),
        streams=dict(demand_rps=np.full((n_sites, n), demand), revenue=0.5, unserved_penalty=penalty),
    )


def solved(instance: Instance, method: str, **options: Any) -> Result:
    result = solve(instance, Serial(), Options.from_dict(dict(method=method) | options))
    assert result is not None
    return result


CASES = {
    "one site": (fleet(1, 6, 800.0, 500.0, 5.0, 100.0), 3602.8154, 1e-3),
    "worth something": (fleet(1, 6, 800.0, 500.0, 20.0, 5000.0), 12202.8154, 1e-3),
    "three sites": (fleet(3, 24, 800.0, 500.0, 10.0, 20000.0), 38408.5629, 1e-3),
    "thirty sites": (fleet(30, 24, 800.0, 500.0, 10.0, 20000.0), 384510.669, 0.01),
    "any gap will do": (fleet(12, 48, 900.0, 400.0, 8.0, 9000.0), 533927.771, 0.5),
}


@pytest.mark.parametrize("method", (*METHODS, "extensive"))
@pytest.mark.parametrize("case", ("one site", "worth something"))
def test_every_method_runs_them(case: str, method: str) -> None:
    instance, optimum, gap = CASES[case]
    result = decomp.solve(instance, method=method, rel_gap=gap)
    assert result is not None and result.schedule is not None
    assert result.status.exit_code == 0 and (result.schedule.job_site >= 0).all()
    assert result.bound <= optimum + 1e-3 and optimum - 1e-3 <= result.incumbent <= optimum * (1 + gap)
    assert decomp.check(instance, result).findings == ()


@pytest.mark.parametrize("case", ("three sites", "thirty sites", "any gap will do"))
def test_fleets_of_them(case: str) -> None:
    instance, optimum, gap = CASES[case]
    result = solved(instance, "hybrid", rel_gap=gap)
    assert result.schedule is not None and (result.schedule.job_site >= 0).all()
    assert result.bound <= optimum <= result.incumbent + 1e-3 <= optimum * (1 + gap)


def contested(seed: int) -> Instance:
    """A few sites; jobs that must run, with a place or two; optional ones; inference that is dear to drop."""
    rng = np.random.default_rng(seed)
    n_sites, n = int(rng.integers(1, 4)), 8
    capacity = rng.uniform(800.0, 1200.0, (n_sites, 1)) * np.ones(n)
    n_jobs = 2 * n_sites
    home = np.tile(np.arange(n_sites), 2)
    length = rng.integers(2, 5, n_jobs)
    release = np.where(np.arange(n_jobs) < n_sites, 0, n // 2)  # two halves, so that there is a schedule
    second = np.flatnonzero(rng.random(n_jobs) < 0.3) if n_sites > 1 else np.zeros(0, dtype=int)
    job = np.concatenate([np.arange(n_jobs), second, np.arange(n_jobs, n_jobs + n_sites)])
    site = np.concatenate([home, (home[second] + 1) % n_sites, np.arange(n_sites)])
    price = rng.uniform(20.0, 90.0, (n_sites, n))
    total = n_jobs + n_sites
    return bare_sites(
        n_sites,
        n,
        **POWER | dict(capacity_gpu=capacity),
        power_intercept_mw=0.1,
        buy_price=price,
        sell_price=0.8 * price,
        jobs=dict(
            gpus=np.append(rng.uniform(300.0, 800.0, n_jobs), rng.uniform(100.0, 500.0, n_sites)),
            periods=np.append(length, np.full(n_sites, 3)),
            release=np.append(release, np.zeros(n_sites, dtype=int)),
            deadline=np.append(release + n // 2, np.full(n_sites, n)),
            value_usd=rng.choice([0.0, 100.0, 5000.0], total),
            mandatory=np.arange(total) < n_jobs,
        ),
        candidates=dict(job=job, site=site, cost_usd=rng.uniform(0.0, 10.0, len(job))),
        streams=dict(
            demand_rps=rng.uniform(300.0, 900.0, (n_sites, n)),
            revenue=rng.uniform(0.0, 2.0),
            unserved_penalty=rng.choice([0.5, 5.0, 50.0]),
        ),
    )


@pytest.mark.parametrize("seed", range(30))
def test_contested_sites_against_the_extensive_form(seed: int) -> None:
    instance = contested(seed)
    truth = decomp.solve(instance, method="extensive", rel_gap=1e-3)
    assert truth is not None and truth.schedule is not None
    slack = 1e-6 * max(1.0, abs(truth.incumbent))
    few = dict(improvement=dict(stale_finishes=1), branching=dict(nodes=20), extensive_finish=dict(site_periods=0))
    result = solved(instance, METHODS[seed % 3], rel_gap=1e-2, **few)
    assert result.schedule is not None
    assert (result.schedule.job_site[instance.jobs.mandatory] >= 0).all()
    assert result.bound <= truth.incumbent + slack and truth.bound - slack <= result.incumbent
    assert decomp.check(instance, result).findings == ()
