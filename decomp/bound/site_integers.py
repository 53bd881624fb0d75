"""The bound once more at the prices of load, with the sites' integers integral: for fleets with scenarios.

There a job loads its site in all scenarios, so a site in one scenario cannot decide on jobs by itself. But what it
commits, its devices and its power curve are its own, and what a MIP solver proves of these counts at the same prices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import highspy
import numpy as np

from decomp.bound.lagrangian import DualPoint
from decomp.bound.milp_bound import FRACTIONAL, dual_bounds
from decomp.lp.block import Block, Model
from decomp.lp.highs import Effort, run_lp, to_highs
from decomp.model.instance import Array, Instance
from decomp.model.options import MilpBound
from decomp.ranks.clock import root_seconds
from decomp.ranks.workers import Workers
from decomp.site.equations import add_site
from decomp.site.oracle import SiteRows


@dataclass(frozen=True)
class PricedSite:
    """A site in a scenario at prices of its links and of carbon, in its own money; how hard to try, until when."""

    rows: SiteRows
    links: Array
    carbon_price: float
    effort: Effort
    until: float


def priced_model(task: PricedSite) -> Model:
    """Its problem with the bans (5) and (6) relaxed, which would bring hardly anything and double the time."""
    block, rows, n = Block(), task.rows, task.rows.grids.sites.capacity_gpu.shape[1]
    add_site(block, rows.grids, rows.i, rows.period_h, relaxed=True)
    model = block.finish()
    cost = model.cost + (rows.carbon_price + task.carbon_price) * model.emission
    cost[model.columns["load"]] -= task.links[:n]
    for line, g in enumerate(np.flatnonzero(rows.grids.generators.day_ahead)):
        cost[model.columns[f"g{g}_on"]] -= task.links[n * (1 + line) : n * (2 + line)]
    return replace(model, cost=cost)


def integral_lower(task: PricedSite) -> tuple[float, bool]:
    """Lower bound that HiGHS proves of it, USD (-inf: its relaxation says all), and whether the clock ended that."""
    model = priced_model(task)
    solver = to_highs(model)
    if not model.integer.any() or not run_lp(solver):
        return -np.inf, False
    share = np.array(solver.getSolution().col_value)[model.integer]
    if (np.abs(share - np.round(share)) < FRACTIONAL).all():
        return -np.inf, False
    solver = to_highs(model, integer=model.integer)
    status = task.effort.within(task.until - root_seconds()).run(solver)
    late = solver.getModelStatus() == highspy.HighsModelStatus.kTimeLimit
    bound = float(solver.getInfo().mip_dual_bound)
    return bound if status != highspy.HighsStatus.kError and np.isfinite(bound) else -np.inf, late


def with_integers(
    instance: Instance, workers: Workers, point: DualPoint, options: MilpBound, seconds_left: float
) -> DualPoint:
    """The prices with what they prove so; a site without a proof in time counts with what it proved before.

    Claimed is less than was proved, by the MILPs' gap: another solver may end its own proof at that.
    """
    until = workers.team.clock() + seconds_left
    end, (links, carbon) = workers.deadline(until), point.prices.in_own_money()
    effort = Effort(options.rel_gap, options.site_nodes, options.site_seconds)
    tasks = [
        PricedSite(SiteRows.of(instance, i), links[i], float(carbon[i]), effort, end) for i in range(instance.n_sites)
    ]
    found, _ = dual_bounds(workers, integral_lower, tasks, until)
    lower = point.prices.of_rows()[1] * (found - effort.rel_gap * np.where(np.isfinite(found), np.abs(found), 0.0))
    lower = np.maximum(lower, point.site_lower)
    return replace(point, site_lower=lower, bound=point.bound + float((lower - point.site_lower).sum()))
