"""The MILP of one cluster: jobs of a few sites, whose energy costs are piecewise-linear in their load.

Output of batteries, generators and devices is held at that of the cheapest relaxed dispatch at the present load, and
load outside the cluster at its present value. Then a site's cost in a period is a convex piecewise-linear function of
its load in that period, and a gain of the MILP is one of the whole schedule at the carbon price. Storage and
commitments are adapted when the schedule is completed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from decomp.lp.block import Block, Model
from decomp.lp.highs import run_lp, to_highs
from decomp.model.instance import Array, Microgrids
from decomp.ranks.clock import root_seconds
from decomp.search.job_milp import JobSearch, add_job, choose_runs
from decomp.site.equations import add_site

DEAR = 1e3  # worth of a GPU and period, in the largest cost of the dispatch: some is left only for want of power


@dataclass(frozen=True, eq=False)
class ClusterTask(JobSearch):
    """Data of a cluster's MILP; picklable, solved on any rank.

    Inference is routed anew among the cluster's sites, may be served by sites outside that have free capacity, or be
    left unserved. No load enters the cluster, so that disjoint clusters can be solved independently.

    Attributes
    ----------
    grids : the cluster's sites; with scenarios all sites in the first, then all in the second, ...: n rows.
    period_h : length of a period, hours.
    carbon_price : all in, USD/t.
    load : (n, T) present load, GPU.
    fixed_load : (n, T) load of jobs that may not move and of pools, GPU.
    arc_site, arc_stream : (a,) row in `grids` and stream of each arc.
    arc_cost : (a,) USD per GPU and period.
    demand : (d, T) of each stream, what the cluster serves now and unserved demand that it may serve, GPU.
    unserved : (d,) cost of unserved demand, USD per GPU and period.
    leave_price, leave_room : (d, T) cost of serving demand outside, USD per GPU and period, and most of it, GPU.
    copies : scenarios in `grids`; a job loads its site in all of them.
    """

    grids: Microgrids
    period_h: float
    carbon_price: float
    load: Array
    fixed_load: Array
    arc_site: Array
    arc_stream: Array
    arc_cost: Array
    demand: Array
    unserved: Array
    leave_price: Array
    leave_room: Array
    copies: int


@dataclass(frozen=True)
class Move:
    """The answer of a cluster's MILP.

    Attributes
    ----------
    jobs, run, start : (j,) its jobs, the candidate of each (REJECTED: none) and its first period.
    gain : by how much the model gets cheaper, USD, at least 0.
    late : whether the clock ended the search.
    """

    jobs: Array
    run: Array
    start: Array
    gain: float
    late: bool = False


class CostPieces(NamedTuple):
    """Cost of a site's load in each period, output of batteries, generators and devices held: p linear pieces.

    Attributes
    ----------
    width : (T, p) GPU.
    cost : (T, p) USD per GPU and period, carbon included; rising from piece to piece where no price is negative.
    """

    width: Array
    cost: Array


def cost_pieces(task: ClusterTask, k: int) -> CostPieces:
    """Linear pieces of the cost of load in row k: power per GPU times the marginal cost of power.

    Power costs nothing while there is curtailment, then the export revenue forgone, then the import price; above the
    present import peak also the demand charge. Where the import price is negative the function is not convex, and the
    MILP may take a cheaper piece first; such a gain shows to be none when the schedule is completed.

    Raises
    ------
    ArithmeticError : the site has no relaxed dispatch at any part of its present load.
    """
    sites, dt = task.grids.sites, task.period_h
    other, peak = _present_supply(task, k)
    free = sites.wind_mw[k] + sites.solar_mw[k] + other
    buy = sites.buy_price[k] + task.carbon_price * sites.carbon_intensity[k]
    sell = sites.sell_price[k] + task.carbon_price * sites.export_credit[k]
    sell = np.minimum(np.maximum(sell, 0.0), buy)
    most_out, most_in = sites.export_limit_mw[k], sites.import_limit_mw[k]
    below = np.minimum(peak, most_in)
    slope, intercept = sites.power_slope_mw_per_gpu[k], sites.power_intercept_mw[k]
    cap, pue = sites.capacity_gpu[k], sites.pue[k]

    def reach(power: Array) -> Array:
        rising = slope > 0
        if not rising.any():
            return cap
        loads = (power[:, None] / pue[:, None] - intercept[rising]) / slope[rising]
        return np.clip(loads.min(axis=1), 0.0, cap)

    top = reach(free + most_in)
    crossing = (intercept[:-1] - intercept[1:]) / np.maximum(slope[1:] - slope[:-1], 1e-12)
    points = [np.zeros_like(cap), reach(free - most_out), reach(free), reach(free + below), top]
    points += [np.full_like(cap, c) for c in crossing if c > 0]
    ends = np.sort(np.minimum(np.stack(points, axis=1), top[:, None]), axis=1)
    need = pue[:, None] * (slope * ends[:, :, None] + intercept).max(axis=2) - free[:, None]
    lost = np.clip(need + most_out[:, None], 0.0, most_out[:, None])
    bought, higher = np.maximum(need, 0.0), np.maximum(need - below[:, None], 0.0)
    cost = dt * (lost * sell[:, None] + bought * buy[:, None] + higher * sites.demand_charge[k] / dt)
    width = np.diff(ends, axis=1)

    return CostPieces(width, np.divide(np.diff(cost, axis=1), width, out=np.zeros_like(width), where=width > 1e-9))


def _present_supply(task: ClusterTask, k: int) -> tuple[Array, float]:
    """Net output of battery, generators and devices, (T,) MW, and the import peak, MW, of the relaxed dispatch.

    Work is placed up to what a site can supply in each period for itself. A battery or a generator that ramps may not
    keep that up; then the dispatch carries as much of the load as it can, as a finish does.
    """
    block = Block()
    add_site(block, task.grids, k, task.period_h, relaxed=True)
    model = block.finish()
    columns, low, high = model.columns, model.low.copy(), model.high.copy()
    load = columns["load"]
    low[load] = high[load] = np.minimum(task.load[k], high[load])
    cost = model.cost + task.carbon_price * model.emission
    cost[columns["export"]] = np.maximum(cost[columns["export"]], -cost[columns["import"]])  # else it does both at once
    solver = to_highs(replace(model, low=low, high=high, cost=cost))
    if not run_lp(solver):
        low[load], cost[load] = 0.0, -DEAR * (1.0 + float(np.abs(cost).max()))
        solver = to_highs(replace(model, low=low, high=high, cost=cost))
        if not run_lp(solver):
            raise ArithmeticError(f"site {k} of the cluster has no relaxed dispatch")
    x = np.array(solver.getSolution().col_value)
    supply = np.zeros(task.load.shape[1])
    for name, where in columns.items():
        if name == "discharge" or name.endswith("_output"):
            supply += x[where]
        elif name == "charge":
            supply -= x[where]
        elif name == "device":
            v = task.grids.take(np.array([k])).device_variables
            at = np.flatnonzero(v.power)
            np.add.at(supply, v.period[at], v.power[at] * x[where[at]])
    return supply, max(float(task.grids.sites.peak_so_far_mw[k]), float(x[columns["import"]].max()))


def cluster_model(task: ClusterTask) -> tuple[Model, list[Array]]:
    """The cluster's MILP, and the columns of each job's alternatives, in the order of `task.choices`."""
    block = Block()
    n = task.load.shape[1]
    links = []
    for k in range(len(task.load)):
        site = cost_pieces(task, k)
        pieces = enumerate(zip(site.width.T, site.cost.T, strict=True))
        columns = [block.add_columns(f"s{k}_{p}", n, 0.0, width, cost) for p, (width, cost) in pieces]
        links.append(block.add_rows(task.fixed_load[k], task.fixed_load[k], *((1.0, c) for c in columns)))
    balance = []
    for d, demand in enumerate(task.demand):
        leave = block.add_columns(f"leave{d}", n, 0.0, task.leave_room[d], task.leave_price[d])
        drop = block.add_columns(f"drop{d}", n, 0.0, demand, task.unserved[d])
        balance.append(block.add_rows(demand, demand, (1.0, leave), (1.0, drop)))
    for a, (k, d) in enumerate(zip(task.arc_site, task.arc_stream, strict=True)):
        x = block.add_columns(f"x{a}", n, 0.0, task.demand[d], task.arc_cost[a])
        block.add_entries(balance[d], x, 1.0)
        block.add_entries(links[k], x, -1.0)
    runs = [add_job(block, choice, links, task.copies) for choice in task.choices]
    return block.finish(), runs


def improve_cluster(task: ClusterTask) -> Move:
    """Solve a cluster's MILP, started from the present runs of its jobs; its cost is at most theirs."""
    model, runs = cluster_model(task)
    here, gain, _ = choose_runs(model, runs, task)
    jobs = np.array([c.job for c in task.choices], dtype=int)
    run = np.array([c.run[h] for c, h in zip(task.choices, here, strict=True)], dtype=int)
    start = np.array([c.start[h] for c, h in zip(task.choices, here, strict=True)], dtype=int)
    return Move(jobs, run, start, gain, late=root_seconds() > task.until)
