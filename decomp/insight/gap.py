"""Where the gap is: incumbent less bound, split without rest over sites, streams, jobs, pools and the carbon budget.

At the prices of the bound a schedule loses against the best that each of them could do alone; these losses add up to
the gap. What a site loses is split once more: to its integers (its dispatch against the linear relaxation at the same
load) and to its load (against the load it would take at the prices).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.certificate.terms import load_terms, work_terms
from decomp.lp.block import Block
from decomp.lp.highs import run_lp, to_highs
from decomp.model.accounts import account, candidate_cost, load_gpu, site_costs
from decomp.model.instance import Array, Instance
from decomp.model.result import Dual, Result, Schedule
from decomp.site.equations import add_site

LOAD_SLACK = 1e-7  # relative; so much of a schedule's rounding does not make a load impossible


@dataclass(frozen=True, eq=False)
class Gap:
    """Parts of a gap, USD; shapes in brackets.

    Attributes
    ----------
    total : incumbent - bound.
    unconverged : of it, what the column model promised above the bound when the bound was last raised.
    integers, load (site) : a site's loss to its integers and to its load.
    streams (stream), jobs (job), pools (pool), carbon : losses of the work, and of a budget not used up at its price.
    other : what a bound proved otherwise than by its prices adds (negative: saves), and rounding.
    """

    total: float
    unconverged: float
    integers: Array
    load: Array
    streams: Array
    jobs: Array
    pools: Array
    carbon: float
    other: float

    @property
    def parts(self) -> dict[str, float]:
        """The exact split, by kind; sums to the total."""
        sums = {name: float(getattr(self, name).sum()) for name in ("integers", "load", "streams", "jobs", "pools")}
        return sums | dict(carbon=self.carbon, other=self.other)

    @property
    def causes(self) -> dict[str, float]:
        """Unconverged dual, site integers, and the rest: duality and recovery; sums to the total."""
        integers = float(self.integers.sum())
        return dict(unconverged=self.unconverged, integers=integers, rest=self.total - self.unconverged - integers)


def split(instance: Instance, result: Result) -> Gap | None:
    """Split the gap of a result without scenarios.

    None where it lacks a schedule, finite numbers or the prices that prove its bound.
    """
    schedule, dual = result.schedule, result.dual
    if instance.n_scenarios or schedule is None or dual is None or not np.isfinite(result.gap_abs):
        return None
    work = _work_loss(instance, schedule, dual)
    emissions = account(instance, schedule).emissions_t
    carbon = instance.carbon_price_usd_per_t + dual.carbon_price
    energy = sum(site_costs(instance, schedule).values()) + carbon * emissions
    load = load_gpu(instance, schedule)
    relaxed = np.array([relaxed_cost(instance, i, load[i], carbon) for i in range(instance.n_sites)])
    integers = np.where(np.isfinite(relaxed), energy - relaxed, 0.0)
    loss = energy + _taken(instance, schedule, dual, load) - dual.site_lower
    if dual.blocks is not None:  # of a block only the sum is known
        _, block = np.unique(dual.blocks.number, return_inverse=True)
        loss = (np.bincount(block, loss) / np.bincount(block))[block]
    budget = _budget_loss(instance, float(emissions.sum()), dual.carbon_price)
    explained = float(loss.sum()) + sum(float(part.sum()) for part in work.values()) + budget
    if not np.isfinite(explained):
        return None
    return Gap(
        total=result.gap_abs,
        unconverged=_unconverged(result),
        integers=integers,
        load=loss - integers,
        **work,
        carbon=budget,
        other=result.gap_abs - explained,
    )


def relaxed_cost(instance: Instance, i: int, load: Array, carbon: float) -> float:
    """Least cost of site i, integers relaxed, at a load (period) in GPU and emissions at `carbon` USD/t; NaN: none."""
    block = Block()
    add_site(block, instance.microgrids, i, instance.period_h, relaxed=True)
    model = block.finish()
    low, high, at = model.low.copy(), model.high.copy(), model.columns["load"]
    high[at] = np.minimum(load, high[at])
    low[at] = np.maximum(high[at] - LOAD_SLACK * (1.0 + load), 0.0)
    cost = model.cost + carbon * model.emission
    solver = to_highs(replace(model, low=low, high=high, cost=cost))
    return float(solver.getInfo().objective_function_value) if run_lp(solver) else np.nan


def _work_loss(instance: Instance, schedule: Schedule, dual: Dual) -> dict[str, Array]:
    """What streams, jobs and pools lose against their best at the prices."""
    load_form = dual.form != "work"
    terms = load_terms([(instance, dual.load_price)], instance) if load_form else work_terms(instance, dual)
    best = {what: value for what, _, value in terms}
    paid = _paid_on_load if load_form else _paid_on_work
    return {what: value - best[what] for what, value in paid(instance, schedule, dual).items()}


def _left(instance: Instance, schedule: Schedule) -> tuple[Array, Array]:
    """Penalties on inference not served (stream) and deferrable work not done (pool), USD."""
    unserved = instance.period_h * instance.streams.unserved_penalty * schedule.unserved_gpu.sum(axis=1)
    price, short = instance.pools.shortfall_penalty, schedule.pool_shortfall_gpu_h
    hard = np.isinf(price)
    return unserved, np.where(hard, 0.0, np.where(hard, 0.0, price) * short)


def _paid_on_load(instance: Instance, schedule: Schedule, dual: Dual) -> dict[str, Array]:
    """Cost of the work where and when it is done, at prices on load."""
    hours, price, arcs = instance.period_h, dual.load_price, instance.arcs
    streams, pools = _left(instance, schedule)
    unit = (arcs.cost - instance.streams.revenue[arcs.stream])[:, None] + price[arcs.site]
    np.add.at(streams, arcs.stream, hours * (unit * schedule.routed_gpu).sum(axis=1))
    pool_price = price[instance.pool_arcs.site]
    np.add.at(pools, instance.pool_arcs.pool, hours * (pool_price * schedule.pool_gpu).sum(axis=1))
    jobs = np.zeros(instance.n_jobs)
    runs = np.flatnonzero(schedule.job_site >= 0)
    paid = np.column_stack([np.zeros(instance.n_sites), np.cumsum(hours * price, axis=1)])
    site, start, length = schedule.job_site[runs], schedule.job_start[runs], instance.jobs.periods[runs]
    load = instance.jobs.gpus[runs] * (paid[site, start + length] - paid[site, start])
    jobs[runs] = candidate_cost(instance, schedule)[runs] - instance.jobs.value_usd[runs] + load
    return dict(streams=streams, jobs=jobs, pools=pools)


def _paid_on_work(instance: Instance, schedule: Schedule, dual: Dual) -> dict[str, Array]:
    """What the work pays at prices on streams, jobs and pools."""
    hours = instance.period_h
    streams, pools = _left(instance, schedule)
    served = np.zeros((instance.n_streams, instance.n_periods))
    np.add.at(served, instance.arcs.stream, schedule.routed_gpu)
    done = np.zeros(instance.n_pools)
    np.add.at(done, instance.pool_arcs.pool, hours * schedule.pool_gpu.sum(axis=1))
    streams += hours * (dual.stream_price * served).sum(axis=1)
    jobs = np.where(schedule.job_site >= 0, dual.job_price, 0.0)
    return dict(streams=streams, jobs=jobs, pools=pools + dual.pool_price * done)


def _taken(instance: Instance, schedule: Schedule, dual: Dual, load: Array) -> Array:
    """What a site's problem adds to its energy cost for the work it takes at the prices, (site) USD."""
    hours, arcs = instance.period_h, instance.arcs
    if dual.form != "work":
        return np.asarray(-hours * (dual.load_price * load).sum(axis=1))
    total = np.zeros(instance.n_sites)
    unit = (arcs.cost - instance.streams.revenue[arcs.stream])[:, None] - dual.stream_price[arcs.stream]
    np.add.at(total, arcs.site, hours * (unit * schedule.routed_gpu).sum(axis=1))
    pool_arcs = instance.pool_arcs
    done = hours * schedule.pool_gpu.sum(axis=1)
    np.add.at(total, pool_arcs.site, -dual.pool_price[pool_arcs.pool] * done)
    runs = np.flatnonzero(schedule.job_site >= 0)
    value = candidate_cost(instance, schedule) - instance.jobs.value_usd - dual.job_price
    np.add.at(total, schedule.job_site[runs], value[runs])
    return total


def _budget_loss(instance: Instance, tonnes: float, price: float) -> float:
    """Price of the budget that is left, and of the excess above its price in the bound."""
    if not np.isfinite(instance.carbon_budget_t):
        return 0.0
    left = instance.carbon_budget_t - tonnes
    priced = np.isfinite(instance.carbon_excess_usd_per_t)
    return float(price * left + (instance.carbon_excess_usd_per_t * max(-left, 0.0) if priced else 0.0))


def _unconverged(result: Result) -> float:
    """What the model promised above the final bound when the bound was last raised with all jobs free."""
    models = [it.model for it in result.log if it.phase == "bound" and it.model is not None]
    return float(np.clip(models[-1] - result.bound, 0.0, max(result.gap_abs, 0.0))) if models else 0.0
