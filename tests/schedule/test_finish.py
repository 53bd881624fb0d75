"""Dive, placing and finish: what leaves them is complete and feasible by the certificate's word."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from decomp.bound.coupling import FREE
from decomp.bound.lagrangian import BundleStep, LagrangianLoop
from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.lp.highs import Effort
from decomp.lp.watch import Interrupted
from decomp.model.accounts import account
from decomp.model.instance import Instance
from decomp.model.options import Bundle, Recovery
from decomp.model.result import Result, Status
from decomp.schedule.dive import dive, fixed_load
from decomp.schedule.finish import finish
from decomp.schedule.incumbent import Incumbent
from decomp.schedule.place import place_work
from decomp.site.service import Dispatch, SiteService
from loops import loop_of

SEEDS = range(25)
OPTIONS = Recovery()


def deaf(step: BundleStep) -> bool:
    return False


@cache
def dived(seed: int) -> tuple[Instance, LagrangianLoop]:
    instance = generate("small", seed=seed)
    loop = loop_of(instance, Bundle())
    for _ in range(20):
        if loop.iterate().converged(1e-5):
            break
    dive(loop, OPTIONS, deaf)
    return instance, loop


def found(instance: Instance, loop: LagrangianLoop) -> Incumbent:
    incumbent = finish(instance, loop, OPTIONS)
    assert incumbent is not None
    return incumbent


def test_a_finish_whose_time_is_over_begins_no_dispatch() -> None:
    instance, loop = dived(0)
    loop.workers.until = -1.0
    try:
        with pytest.raises(Interrupted):
            finish(instance, loop, OPTIONS)
    finally:
        loop.workers.until = np.inf


def objections(instance: Instance, incumbent: Incumbent) -> list[str]:
    provenance = dict(instance_hash=instance.content_hash())
    result = Result(Status.LIMIT, -np.inf, incumbent.cost, incumbent.schedule, None, (), provenance)
    return [str(f) for f in check(instance, result, bound=False).findings]


@pytest.mark.parametrize("seed", SEEDS)
def test_dive_decides_every_job_within_its_rules(seed: int) -> None:
    instance, loop = dived(seed)
    jobs, fixing = loop.coupling.jobs, loop.master.fixing
    assert not (fixing.run == FREE).any()
    for j, (k, s) in enumerate(zip(fixing.run, fixing.start, strict=True)):
        assert k >= 0 or jobs.optional[j]
        if k >= 0:
            assert jobs.ptr[j] <= k < jobs.ptr[j + 1] and jobs.allowed[jobs.first[k] + s - jobs.release[j]]
    load = fixed_load(loop.coupling, fixing.run, fixing.start)
    assert (load <= instance.sites.capacity_gpu * (1 + 1e-9)).all()


def test_a_dive_loses_little_where_jobs_are_large() -> None:
    """Fleets in which most jobs are undecided in the beginning: what the model promises with all jobs fixed."""
    lost = []
    for seed in range(6):
        loop = loop_of(generate("fleet", sites=6, periods=24, period_h=1.0, seed=seed), Bundle())
        for _ in range(30):
            if loop.iterate().converged(1e-4):
                break
        bound = loop.centre.bound
        dive(loop, OPTIONS, deaf)
        for _ in range(15):
            model = loop.iterate().model
        lost.append((model - bound) / abs(model))
    assert np.mean(lost) < 0.012


@pytest.mark.parametrize("seed", SEEDS)
def test_placed_work_fits(seed: int) -> None:
    instance, loop = dived(seed)
    c = loop.coupling
    work = place_work(loop)
    most = np.maximum(c.usable, fixed_load(c, work.fixing.run, work.fixing.start))
    slack = 1e-9 * c.capacity.max()
    assert (work.load(c) <= most + slack).all() and (work.inference(c) <= work.load(c) + slack).all()
    served = np.zeros_like(c.streams.demand)
    np.add.at(served, instance.arcs.stream[c.arc_order], work.routed)
    assert (served <= c.streams.demand + slack).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_finish_is_a_schedule_that_the_certificate_accepts_at_its_cost(seed: int) -> None:
    instance, loop = dived(seed)
    incumbent = found(instance, loop)
    assert objections(instance, incumbent) == []
    assert incumbent.cost == account(instance, incumbent.schedule).net_cost
    runs = incumbent.fixing.run >= 0
    assert (incumbent.schedule.job_site >= 0).tolist() == runs.tolist()
    assert (incumbent.schedule.job_start[runs] == incumbent.fixing.start[runs]).all()


@pytest.mark.parametrize("seed", [s for s in SEEDS if np.isfinite(generate("small", seed=s).carbon_budget_t)][:5])
def test_finish_keeps_a_hard_budget_unless_there_is_no_schedule(seed: int) -> None:
    """Budgets from loose to less than idle sites emit."""
    instance, loop = dived(seed)
    emitted = account(instance, found(instance, loop).schedule).emissions_t.sum()
    for factor in (1.01, 0.95, 0.5, 0.0):
        tight = replace(instance, carbon_budget_t=factor * abs(emitted), carbon_excess_usd_per_t=np.inf)
        incumbent = finish(tight, loop, OPTIONS)
        if incumbent is None:
            assert solve_extensive(tight).status is Status.INFEASIBLE
        else:
            assert objections(tight, incumbent) == []


def test_a_site_that_cannot_carry_its_load_fails_alone() -> None:
    instance, loop = dived(0)
    n_sites, n = loop.coupling.capacity.shape
    none = np.zeros(n)
    heavy = 2.0 * loop.coupling.capacity
    requests = [Dispatch(i, heavy[i] if i == 1 else none, none, none, 0.0, Effort()) for i in range(n_sites)]
    plans = loop.workers.of(SiteService).dispatch(instance, requests)
    assert [plan is None for plan in plans] == [i == 1 for i in range(n_sites)]
