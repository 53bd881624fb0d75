"""Prices of work from one linear program of a small fleet, in which only sets of jobs that fit run side by side.

Prices of load are best where jobs may be split over sites and periods at will. With the sets that fit at every site
the relaxation is tighter (see `packing`), and the duals of its rows (C1)-(C3) are the best prices for it. As any
prices prove a bound, they may come from an interior point method, and sets count only in the periods in which they
matter at the prices of load.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import highspy
import numpy as np

from decomp.bound.coupling import Coupling
from decomp.bound.packing import Packing, packing_of
from decomp.bound.work_prices import SiteWork, WorkPrices, leave_to_its_site, site_with_work, site_works, work_block
from decomp.lp.highs import run, run_lp, safe_bound, to_highs
from decomp.model.instance import Array, Instance
from decomp.ranks.clock import root_seconds
from decomp.ranks.workers import Workers

MATTERS = 1e-6  # USD, least dual of a period's sets
LITTLE = 1e-4  # relative; where sets prove less at the prices of load, better prices are not worth the time
SHARE = 0.3  # of the time left, at most, for the linear program


def packed_relaxation(work: SiteWork) -> tuple[float, Packing]:
    """What a site's linear relaxation with the sets of jobs that fit proves, USD, or -inf; and the sets that matter."""
    packing = packing_of(work.runs)
    model = site_with_work(work, packed=[packing])
    solver = to_highs(model)
    if not run_lp(solver):
        return -np.inf, {}
    dual = np.array(solver.getSolution().row_dual)
    matters = np.abs(dual[model.rows["sets"]]) > MATTERS
    tight = {period: sets for (period, sets), tells in zip(packing.items(), matters, strict=True) if tells}
    return safe_bound(model, model.cost, dual), tight


@dataclass(frozen=True)
class JointTask:
    """All sites with their work at no price, the sets that count, the carbon budget (t) and what excess costs (USD/t).

    `until` : when to stop, by `root_seconds`.
    """

    works: tuple[SiteWork, ...]
    packed: tuple[Packing, ...]
    budget: float
    carbon_cap: float
    until: float


def joint_duals(task: JointTask) -> tuple[Array, Array, float] | None:
    """Duals of the fleet's relaxation: of streams (stream, T) and jobs, USD, and of the budget, USD/t; or None."""
    block = work_block(task.works, task.packed)
    emission = np.concatenate(block.emission)
    (budget,) = block.add_rows(-np.inf, np.array([task.budget]))
    block.add_entries(np.full(np.count_nonzero(emission), budget), np.flatnonzero(emission), emission[emission != 0])
    if np.isfinite(task.carbon_cap):
        excess = block.add_columns("excess", 1, 0.0, np.inf, task.carbon_cap)
        block.add_entries(np.array([budget]), excess, -1.0)
    model = block.finish()
    solver = to_highs(replace(model, cost=model.cost + task.works[0].carbon_price * model.emission))
    solver.setOptionValue("solver", "ipm")
    solver.setOptionValue("run_crossover", "off")
    run(solver, task.until - root_seconds())
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    dual = np.append(solver.getSolution().row_dual, 0.0)  # the last: of the rows that are none, -1
    return dual[model.rows["streams"]], dual[model.rows["once"]], -float(dual[budget])


def repriced(
    instance: Instance, c: Coupling, workers: Workers, proved: tuple[WorkPrices, Array], until: float
) -> tuple[WorkPrices, Array]:
    """Prices of work that prove more than the given ones, with the sites' lower bounds at them (S,), USD; or those.

    `proved` : prices, and lower bounds that know of no sets. Root only.
    """
    prices, free = proved
    found = workers.farm(packed_relaxation, site_works(instance, c, prices), until, "relaxations")
    lower = np.maximum(free, [-np.inf if answer is None else answer[0] for answer in found])
    gain, bound = float(lower.sum() - free.sum()), float(lower.sum()) + prices.terms(c)
    if not gain > LITTLE * abs(bound):
        return prices, lower
    unserved = np.broadcast_to(c.streams.unserved[:, None], prices.stream.shape)
    unpaid = replace(prices, stream=unserved, job=np.zeros(c.n_jobs), carbon=0.0)
    works = [replace(w, must=~c.jobs.optional[w.job]) for w in site_works(instance, c, unpaid)]
    packed = tuple({} if answer is None else answer[1] for answer in found)
    now = workers.team.clock()
    task = JointTask(tuple(works), packed, c.budget, c.carbon_cap, workers.deadline(now + SHARE * (until - now)))
    (dual,) = workers.farm(joint_duals, [task], until, "prices of work")
    if workers.stops.ask(lambda: dual is None) or dual is None:
        return prices, lower
    new = _priced(c, unpaid, works, *dual)
    again = workers.farm(packed_relaxation, site_works(instance, c, new), until, "relaxations")
    better = np.array([-np.inf if answer is None else answer[0] for answer in again])
    return (new, better) if better.sum() + new.terms(c) > bound else (prices, lower)


def _priced(
    c: Coupling, unpaid: WorkPrices, works: list[SiteWork], stream: Array, job: Array, carbon: float
) -> WorkPrices:
    """Prices of work by the duals of the fleet's relaxation; work with a single place is left to its site."""
    streams, jobs = unpaid.stream.copy(), unpaid.job.copy()
    numbers = np.unique(np.concatenate([w.stream for w in works]))
    streams[numbers[numbers >= 0]] += stream
    jobs[np.unique(np.concatenate([w.job for w in works]))] = job
    jobs = np.where(c.jobs.optional, np.minimum(jobs, 0.0), jobs)
    leave_to_its_site(c, streams, jobs, np.zeros(c.n_places))
    return replace(unpaid, stream=streams, job=jobs, carbon=float(np.clip(carbon, 0.0, c.carbon_cap)))
