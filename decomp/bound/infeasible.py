"""Proofs of infeasibility: least emissions above the budget, mandatory work without room, power balance out of reach.

Each is a Lagrangian bound of another objective on the same constraints (emissions, mandatory work left undone, energy
missed), with all costs set to zero: a positive bound is a dual ray of the scheduling problem. Sites are relaxed, so not
every infeasible instance is found here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from decomp.bound.coupling import Coupling, StreamRows, hourly
from decomp.bound.lagrangian import DualPoint, LagrangianLoop, first_prices
from decomp.bound.multipliers import Risk
from decomp.model.instance import Array, Instance
from decomp.model.options import Bundle
from decomp.model.result import Ray
from decomp.ranks.workers import Workers
from decomp.site.oracle import missed
from decomp.site.service import SiteService

PER_TONNE = 100.0  # USD: puts tonnes on the scale of energy prices, for which the tolerances of the LPs are made
MARGIN = 1e-5  # relative; what a proof must exceed to count, above all rounding of solver and certificate
CONVERGED = 1e-5
DUAL_NOISE = 1e-9
MOST_NAMED = 8  # rows of devices that are named when they contradict each other
PASSES = 600


class Infeasible(Exception):
    """There is no schedule: the reason in one line, and the dual ray (None if the extensive form has proved it)."""

    def __init__(self, reason: str, ray: Ray | None):
        super().__init__(reason)
        self.ray = ray


@dataclass(frozen=True)
class Minimum:
    """A proven lower bound of every schedule's emissions, t CO2, and the multipliers that prove it."""

    tonnes: float
    ray: Ray


def refuse(instance: Instance, workers: Workers, options: Bundle, stop: Callable[[], bool]) -> None:
    """Raise Infeasible if it can be proved that there is no schedule. Root only."""
    refuse_power_and_work(instance, workers, options, stop)
    if np.isfinite(instance.carbon_budget_t) and np.isinf(instance.carbon_excess_usd_per_t):
        refuse_budget(instance, least_emissions(instance, workers, options, stop))


def refuse_power_and_work(instance: Instance, workers: Workers, options: Bundle, stop: Callable[[], bool]) -> None:
    """Raise Infeasible if it can be proved that there is no schedule at any budget. Root only."""
    _refuse_power(instance, workers)
    with workers.of(SiteService).weighing(0.0, 0.0):
        gain = np.full_like(instance.sites.capacity_gpu, -instance.period_h)
        owing = np.flatnonzero(workers.of(SiteService).evaluate(gain, 0.0).lower > MARGIN)  # sites never without load
        if len(owing) or instance.jobs.mandatory.any() or np.isinf(instance.pools.shortfall_penalty).any():
            _refuse_work(instance, workers, options, stop, owing)


def refuse_budget(instance: Instance, minimum: Minimum) -> None:
    """Raise Infeasible if the budget is below the certified minimum."""
    budget = instance.carbon_budget_t
    if budget < minimum.tonnes - MARGIN * max(1.0, abs(minimum.tonnes)):
        raise Infeasible(
            f"budget of {budget:,.6g} t is below the certified minimum of {minimum.tonnes:,.6g} t", minimum.ray
        )


def least_emissions(instance: Instance, workers: Workers, options: Bundle, stop: Callable[[], bool]) -> Minimum:
    """Proven least emissions of any schedule; optional work may be left undone, costs do not count. Root only."""
    coupling = without_budget(without_money(instance))
    sites = replace(instance.sites, buy_price=np.zeros_like(instance.sites.buy_price))
    with workers.of(SiteService).weighing(0.0, PER_TONNE):
        price = first_prices(coupling, sites, PER_TONNE)
        proof = _converged(coupling, workers, price, options, stop)
    return Minimum(proof.bound / PER_TONNE, _ray(instance, proof, PER_TONNE, 1.0))


def _refuse_power(instance: Instance, workers: Workers) -> None:
    missing = workers.of(SiteService).shortages()
    worst = int(np.argmax(missing))
    if missing[worst] > MARGIN:
        name, zero = instance.sites.name[worst], np.zeros_like(instance.sites.capacity_gpu)
        reason = f"site {str(name)!r} misses its power balance by at least {missing[worst]:,.4g} MWh at every load"
        if rows := contradiction(instance, worst):
            reason = f"site {str(name)!r} cannot do at any load what its devices ask together: {', '.join(rows)}"
        raise Infeasible(reason, Ray(zero, np.where(np.arange(len(missing)) == worst, missing, 0.0)))


def contradiction(instance: Instance, i: int) -> list[str]:
    """Rows of devices at a site that cannot all hold, but could without any one of them; none if power alone lacks.

    A deletion filter (Chinneck) over the rows that the proof uses, the site's own rows standing.
    """
    grids = instance.microgrids.take(np.array([i]))
    r, d = grids.device_rows, grids.devices
    asked = np.ones(len(r.low), dtype=bool)
    dual = missed(grids, 0, instance.period_h)[1]
    support = np.abs(dual) > DUAL_NOISE
    if not len(r.low) or missed(grids, 0, instance.period_h, ~asked)[0] > MARGIN:
        return []
    asked = support if missed(grids, 0, instance.period_h, support)[0] > MARGIN else asked
    for k in np.flatnonzero(asked):
        asked[k] = False
        asked[k] = missed(grids, 0, instance.period_h, asked)[0] <= MARGIN
    found = np.flatnonzero(asked)
    place = [f"[{k}]" if k >= 0 else "" for k in r.index.tolist()]
    names = [f"{d.name[r.device[k]]}.{r.name[k]}{place[k]}" for k in found[:MOST_NAMED]]
    return names + [f"and {len(found) - MOST_NAMED} more"] * (len(found) > MOST_NAMED)


def _refuse_work(instance: Instance, workers: Workers, options: Bundle, stop: Callable[[], bool], owing: Array) -> None:
    """Raise Infeasible if mandatory work has no room, or sites lack load for power that cannot be turned off.

    Minimised are GPU-hours: of mandatory work left undone, and of load beyond the work that there is, which sites that
    cannot be without load (`owing`) may add. Costs of the sites have no weight.
    """
    bare = without_money(instance)
    jobs, pools = bare.jobs, bare.pools
    hard = np.isinf(pools.shortfall_penalty)
    value = np.where(jobs.mandatory, instance.period_h * jobs.gpus * jobs.periods, 0.0)
    bare = replace(
        bare,
        jobs=replace(jobs, value_usd=value, mandatory=np.zeros_like(jobs.mandatory)),
        pools=replace(pools, shortfall_penalty=hard.astype(float)),
    )
    coupling = without_budget(bare)
    coupling = replace(coupling, streams=_with_spare_load(coupling, owing))
    price = np.full_like(coupling.capacity, 0.5 * instance.period_h)
    proof = _converged(coupling, workers, price, options, stop)
    left = proof.bound + float(value.sum())
    if left > MARGIN * max(1.0, float(value.sum() + pools.work_gpu_h[hard].sum())):
        reason, worst = f"at least {left:,.4g} GPU h of mandatory work find no place", int(proof.site_lower.argmax())
        if proof.site_lower[worst] > 0.0:  # at prices below zero
            name = str(instance.sites.name[worst])
            reason = f"site {name!r} has power that it cannot turn off and lacks load: at least {left:,.4g} GPU h"
        raise Infeasible(reason, _ray(instance, proof, 1.0, 0.0))


def _with_spare_load(c: Coupling, sites: Array) -> StreamRows:
    """The streams, and for each of some sites one more: up to its capacity, for 1 USD a GPU-hour."""
    s = c.streams
    return StreamRows(
        demand=np.concatenate([s.demand, c.capacity[sites]]),
        unserved=np.append(s.unserved, np.zeros(len(sites))),
        ptr=np.append(s.ptr, s.ptr[-1] + 1 + np.arange(len(sites))),
        site=np.append(s.site, sites),
        cost=np.append(s.cost, np.full(len(sites), c.period_h)),
    )


def without_budget(instance: Instance) -> Coupling:
    """The work alone: no budget, no scenario counting more than is probable, commitments free in each."""
    return replace(Coupling.of(instance), budget=np.inf, carbon_cap=0.0, in_every=False, risk=Risk(), lines=0)


def without_money(instance: Instance) -> Instance:
    """The instance with all values, penalties and costs of work zero; what is mandatory stays so."""
    streams, pools = instance.streams, instance.pools
    nothing = np.zeros_like(streams.revenue)
    return replace(
        instance,
        streams=replace(streams, revenue=nothing, unserved_penalty=nothing),
        arcs=replace(instance.arcs, cost=np.zeros_like(instance.arcs.cost)),
        jobs=replace(instance.jobs, value_usd=np.zeros_like(instance.jobs.value_usd)),
        candidates=replace(instance.candidates, cost_usd=np.zeros_like(instance.candidates.cost_usd)),
        pools=replace(pools, shortfall_penalty=np.where(np.isinf(pools.shortfall_penalty), np.inf, 0.0)),
    )


def _converged(
    coupling: Coupling, workers: Workers, price: Array, options: Bundle, stop: Callable[[], bool]
) -> DualPoint:
    """The best prices of a bundle method; without costs there are many ties, so the master may take more passes."""
    loop = LagrangianLoop(coupling, workers, coupling.multipliers(price), replace(options, max_passes=PASSES))
    for _ in range(options.max_iterations):
        if loop.iterate().converged(CONVERGED) or stop():
            break
    return loop.centre


def _ray(instance: Instance, proof: DualPoint, scale: float, carbon_weight: float) -> Ray:
    return Ray(hourly(proof.price, instance.period_h * scale), proof.site_lower / scale, carbon_weight)
