"""Where the gap is: incumbent less bound, split without rest over sites, streams, jobs, pools and the carbon budget.

At the prices of the bound a schedule loses against the best that each of them could do alone; these losses add up to
the gap. What a site loses is split once more: to its integers (its dispatch against the linear relaxation at the same
load) and to its load (against the load it would take at the prices).

With scenarios, sites, streams and pools lose in each of them, counted as the bound counts it; jobs lose at the sum of
the prices. Commitments made once lose against what they could be, and risk by weights that are not those of the costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from decomp.certificate.scenarios import joint, piece, priced_pieces
from decomp.certificate.terms import load_terms, work_terms
from decomp.lp.block import Block
from decomp.lp.highs import run_lp, to_highs
from decomp.model.accounts import account, by_scenario, candidate_cost, load_gpu, site_costs
from decomp.model.instance import Array, Instance
from decomp.model.result import Dual, Result, Schedule
from decomp.site.equations import add_site

LOAD_SLACK = 1e-7  # relative; so much of a schedule's rounding does not make a load impossible


@dataclass(frozen=True, eq=False)
class Gap:
    """Parts of a gap, USD; shapes in brackets, rows of sites, streams and pools scenario by scenario.

    Attributes
    ----------
    total : incumbent - bound.
    unconverged : of it, what the column model promised above the bound when the bound was last raised.
    integers, load (site) : a site's loss to its integers, as far as the bound does not count them, and to its load.
    streams (stream), jobs (job), pools (pool), carbon : losses of the work, and of a budget not used up at its price.
    other : what a bound proved otherwise than by its prices adds (negative: saves), and rounding.
    commitments (generator) : losses of generators that are committed once for all scenarios.
    risk : what the objective counts scenarios by less the weights of the bound, at the schedule's costs.
    copies : scenarios, or 1.
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
    commitments: Array
    risk: float = 0.0
    copies: int = 1

    @property
    def parts(self) -> dict[str, float]:
        """The exact split, by kind; sums to the total. Commitments and risk where there are scenarios."""
        sums = {name: float(getattr(self, name).sum()) for name in ("integers", "load", "streams", "jobs", "pools")}
        once = dict(commitments=float(self.commitments.sum()), risk=self.risk) if self.copies > 1 else {}
        return sums | once | dict(carbon=self.carbon, other=self.other)

    @property
    def causes(self) -> dict[str, float]:
        """Unconverged dual, site integers, and the rest: duality gap and heuristic; sums to the total."""
        integers = float(self.integers.sum())
        return dict(unconverged=self.unconverged, integers=integers, rest=self.total - self.unconverged - integers)

    @property
    def scenarios(self) -> Array:
        """What sites, streams and pools lose in each scenario (scenario,), USD."""
        rows = (self.integers + self.load, self.streams, self.pools)
        return np.asarray(sum(values.reshape(self.copies, -1).sum(axis=1) for values in rows))

    def over_scenarios(self, values: Array) -> Array:
        """Sums over the scenarios of losses whose rows are of each, by row of the instance."""
        return np.asarray(values.reshape(self.copies, -1).sum(axis=0))


@dataclass(frozen=True, eq=False)
class _World:
    """A scenario as the bound counts it, its prices, its part of the schedule, and the load of that (site, period)."""

    fleet: Instance
    dual: Dual
    schedule: Schedule
    load: Array
    tonnes: Array

    @property
    def carbon(self) -> float:
        """USD per tonne."""
        return self.fleet.carbon_price_usd_per_t + self.dual.carbon_price

    @property
    def committed(self) -> Array:
        """What being on is paid (generator, period), USD."""
        futures = self.dual.futures
        return np.zeros(self.schedule.generator_on.shape) if futures is None else futures.commitment_price


def split(instance: Instance, result: Result) -> Gap | None:
    """Split the gap of a result.

    None where it lacks a schedule, finite numbers or the prices that prove its bound.
    """
    schedule, dual = result.schedule, result.dual
    if schedule is None or dual is None or not np.isfinite(result.gap_abs):
        return None
    worlds = []
    for s, (fleet, part) in enumerate(priced_pieces(instance, dual)):
        own = piece(schedule, s, max(instance.n_scenarios, 1))
        worlds.append(_World(fleet, part, own, load_gpu(fleet, own), account(fleet, own).emissions_t))
    work = _work_loss(instance, worlds, schedule, dual)
    integers, loss = (np.concatenate(parts) for parts in zip(*map(_site_loss, worlds), strict=True))
    if dual.blocks is not None:  # of a block only the sum is known
        _, block = np.unique(dual.blocks.number, return_inverse=True)
        integers, loss = ((np.bincount(block, part) / np.bincount(block))[block] for part in (integers, loss))
    integers = np.clip(integers, 0.0, np.maximum(loss, 0.0))  # not what the bound counts of them already
    budget, commitments = _budget_loss(instance, worlds, dual), _commitment_loss(worlds)
    risk = _risk_loss(instance, schedule, dual) if instance.n_scenarios else 0.0
    explained = float(loss.sum() + commitments.sum()) + sum(float(part.sum()) for part in work.values()) + budget + risk
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
        commitments=commitments,
        risk=risk,
        copies=len(worlds),
    )


def relaxed_cost(instance: Instance, i: int, load: Array, carbon: float, committed: Array | None = None) -> float:
    """Least cost of site i, integers relaxed, at a load (period) in GPU and emissions at `carbon` USD/t; NaN: none.

    `committed` (generator, period) : what the site is paid for having its generators on, USD.
    """
    block = Block()
    add_site(block, instance.microgrids, i, instance.period_h, relaxed=True)
    model = block.finish()
    low, high, at = model.low.copy(), model.high.copy(), model.columns["load"]
    high[at] = np.minimum(load, high[at])
    low[at] = np.maximum(high[at] - LOAD_SLACK * (1.0 + load), 0.0)
    cost = model.cost + carbon * model.emission
    for k, paid in enumerate(committed if committed is not None else ()):
        cost[model.columns[f"g{k}_on"]] -= paid
    solver = to_highs(replace(model, low=low, high=high, cost=cost))
    return float(solver.getInfo().objective_function_value) if run_lp(solver) else np.nan


def _site_loss(world: _World) -> tuple[Array, Array]:
    """What each site loses to its integers, and in all (site), USD."""
    fleet, committed, unit = world.fleet, world.committed, world.fleet.generators.site
    paid = np.bincount(unit, (committed * world.schedule.generator_on).sum(axis=1), minlength=fleet.n_sites)
    energy = sum(site_costs(fleet, world.schedule).values()) + world.carbon * world.tonnes - paid
    relaxed = [relaxed_cost(fleet, i, world.load[i], world.carbon, committed[unit == i]) for i in range(fleet.n_sites)]
    integers = np.where(np.isfinite(relaxed), energy - np.array(relaxed), 0.0)
    return integers, energy + _taken(fleet, world.schedule, world.dual, world.load) - world.dual.site_lower


def _work_loss(instance: Instance, worlds: list[_World], schedule: Schedule, dual: Dual) -> dict[str, Array]:
    """What streams, jobs and pools lose against their best at the prices."""
    if dual.form == "work":
        terms, paid = work_terms(instance, dual), _paid_on_work(instance, schedule, dual)
    else:
        terms = load_terms([(w.fleet, w.dual.load_price) for w in worlds], joint([w.fleet for w in worlds]))
        each = [_paid_on_load(world) for world in worlds]
        price = np.sum([world.dual.load_price for world in worlds], axis=0)
        paid = dict(streams=np.concatenate([streams for streams, _ in each]))
        paid |= dict(jobs=_paid_by_jobs(instance, schedule, price), pools=np.concatenate([pools for _, pools in each]))
    best = {what: value for what, _, value in terms}
    return {what: value - best[what] for what, value in paid.items()}


def _left(instance: Instance, schedule: Schedule) -> tuple[Array, Array]:
    """Penalties on inference not served (stream) and deferrable work not done (pool), USD."""
    unserved = instance.period_h * instance.streams.unserved_penalty * schedule.unserved_gpu.sum(axis=1)
    price = instance.pools.shortfall_penalty
    price = np.where(np.isinf(price), 0.0, price)  # such work has to be done
    return unserved, price * schedule.pool_shortfall_gpu_h


def _paid_on_load(world: _World) -> tuple[Array, Array]:
    """Cost of inference (stream) and deferrable work (pool) where and when it is done, at prices on load."""
    instance, schedule, price = world.fleet, world.schedule, world.dual.load_price
    hours, arcs = instance.period_h, instance.arcs
    streams, pools = _left(instance, schedule)
    unit = (arcs.cost - instance.streams.revenue[arcs.stream])[:, None] + price[arcs.site]
    np.add.at(streams, arcs.stream, hours * (unit * schedule.routed_gpu).sum(axis=1))
    pool_price = price[instance.pool_arcs.site]
    np.add.at(pools, instance.pool_arcs.pool, hours * (pool_price * schedule.pool_gpu).sum(axis=1))
    return streams, pools


def _paid_by_jobs(instance: Instance, schedule: Schedule, price: Array) -> Array:
    """Cost of jobs where and when they run, at prices on load (site, period)."""
    jobs = np.zeros(instance.n_jobs)
    runs = np.flatnonzero(schedule.job_site >= 0)
    paid = np.column_stack([np.zeros(instance.n_sites), np.cumsum(instance.period_h * price, axis=1)])
    site, start, length = schedule.job_site[runs], schedule.job_start[runs], instance.jobs.periods[runs]
    load = instance.jobs.gpus[runs] * (paid[site, start + length] - paid[site, start])
    jobs[runs] = candidate_cost(instance, schedule)[runs] - instance.jobs.value_usd[runs] + load
    return jobs


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


def _budget_loss(instance: Instance, worlds: list[_World], dual: Dual) -> float:
    """Price of the budget that is left, or of that of each scenario, and of the excess above its price in the bound."""
    if not np.isfinite(instance.carbon_budget_t):
        return 0.0
    tonnes, price = np.array([w.tonnes.sum() for w in worlds]), np.array([w.dual.carbon_price for w in worlds])
    budget, dearest = np.array([instance.carbon_budget_t]), np.full(len(worlds), instance.carbon_excess_usd_per_t)
    if instance.n_scenarios and instance.carbon_scope == "every":
        budget = budget * instance.scenarios.probability
        dearest = dearest * _weight(instance, dual) / instance.scenarios.probability
    else:
        tonnes, price, dearest = tonnes.sum(keepdims=True), price[:1], dearest[:1]
    left = budget - tonnes
    beyond = dearest * np.maximum(-left, 0.0) if np.isfinite(instance.carbon_excess_usd_per_t) else 0.0
    return float((price * left + beyond).sum())


def _weight(instance: Instance, dual: Dual) -> Array:
    """What scenarios count by in the bound (scenario,)."""
    return instance.scenarios.probability if dual.futures is None else dual.futures.weight


def _commitment_loss(worlds: list[_World]) -> Array:
    """What generators committed once pay at the prices less the best of being on and not (generator), USD."""
    price = np.sum([world.committed for world in worlds], axis=0)
    return np.asarray((price * worlds[0].schedule.generator_on - np.minimum(price, 0.0)).sum(axis=1))


def _risk_loss(instance: Instance, schedule: Schedule, dual: Dual) -> float:
    """The objective less the costs of the scenarios as the bound counts them, a common excess of carbon apart, USD."""
    cost, total = np.array([a.net_cost for a in by_scenario(instance, schedule)]), account(instance, schedule)
    common = total.components["carbon_excess"] if instance.carbon_scope == "expected" else 0.0
    return float(total.net_cost - common - _weight(instance, dual) @ cost)


def _unconverged(result: Result) -> float:
    """What the model promised above the final bound when the bound was last raised with all jobs free."""
    models = [it.model for it in result.log if it.phase == "bound" and it.model is not None]
    return float(np.clip(models[-1] - result.bound, 0.0, max(result.gap_abs, 0.0))) if models else 0.0
