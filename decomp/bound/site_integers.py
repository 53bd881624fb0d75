"""The Lagrangian bound with the sites' subproblems solved as MILPs, for fleets with scenarios.

Jobs couple the scenarios, so a site's subproblem cannot contain them (as `milp_bound` has it without scenarios). But
commitments, integer variables of devices and segments of the power curve belong to one site in one scenario. With them
integral the relaxation's value at the same multipliers is at least that with their linear relaxation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import highspy
import numpy as np

from decomp.bound.lagrangian import DualPoint
from decomp.bound.milp_bound import FRACTIONAL, dual_bounds
from decomp.lp.block import Block, Model
from decomp.lp.highs import Effort, run_lp, to_bound, to_highs
from decomp.model.instance import Array, Instance
from decomp.model.options import MilpBound
from decomp.ranks.clock import root_seconds
from decomp.ranks.workers import Workers
from decomp.site.equations import add_site
from decomp.site.oracle import SiteRows


@dataclass(frozen=True)
class PricedSite:
    """The subproblem of one row, a site in a scenario.

    Attributes
    ----------
    links : (T + L T,) prices of load and commitments; carbon_price : USD/t. Both as `Multipliers.in_own_money`.
    effort : nodes, gap and seconds of its MILP.
    until : when to stop, by `root_seconds`.
    """

    rows: SiteRows
    links: Array
    carbon_price: float
    effort: Effort
    until: float

    def linked(self, model: Model) -> Array:
        """Columns of its model that have prices: load, then commitments made once, if there are any."""
        once = np.flatnonzero(self.rows.grids.generators.day_ahead)
        columns = np.concatenate([model.columns["load"], *(model.columns[f"g{g}_on"] for g in once)])
        return np.asarray(columns[: len(self.links)])


def priced_model(task: PricedSite) -> Model:
    """Its MILP without the binaries of (5) and (6): they raise the bound hardly at all and double the time."""
    block, rows = Block(), task.rows
    add_site(block, rows.grids, rows.i, rows.period_h, relaxed=True)
    model = block.finish()
    cost = model.cost + (rows.carbon_price + task.carbon_price) * model.emission
    linked = task.linked(model)
    cost[linked] -= task.links[: len(linked)]
    return replace(model, cost=cost)


def integral_lower(task: PricedSite) -> tuple[float, bool]:
    """Dual bound of its MILP, USD, and whether the clock ended the search.

    -inf where the MILP cannot improve on the linear relaxation, as its solution is integral, or where HiGHS fails.
    """
    model = priced_model(task)
    solver = to_highs(model)
    if not model.integer.any() or not run_lp(solver):
        return -np.inf, False
    share = np.array(solver.getSolution().col_value)[model.integer]
    if (np.abs(share - np.round(share)) < FRACTIONAL).all():
        return -np.inf, False
    solver, unit = to_bound(model, model.integer)
    status = task.effort.within(task.until - root_seconds()).run(solver)
    late = solver.getModelStatus() == highspy.HighsModelStatus.kTimeLimit
    bound = unit * float(solver.getInfo().mip_dual_bound)
    return bound if status != highspy.HighsStatus.kError and np.isfinite(bound) else -np.inf, late


def with_integers(
    instance: Instance, workers: Workers, point: DualPoint, options: MilpBound, seconds_left: float
) -> DualPoint:
    """The dual point with its bound raised by the MILPs of its rows, solved on all ranks.

    A row whose MILP proves nothing within the time, `seconds_left`, keeps its bound. What is claimed of a MILP is its
    dual bound less its relative gap, so that the certificate's own MILP may end at that gap, too.
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
