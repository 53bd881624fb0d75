"""A few sites with the jobs they share as one small MILP: the neighbourhood of the improvement search.

Battery and generators stay as they are and everything outside the cluster too, so each site costs a
convex piecewise-linear function of its load in every period, and a move that the MILP likes is an
improvement of the whole schedule (at the carbon price). What the batteries make of it comes later.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import highspy
import numpy as np

from decomp.blocks import Block, Model, add_site
from decomp.instance import Array, Generators, Sites
from decomp.site import Effort, set_start, to_highs

LITTLE = 3e-4  # of the cluster's cost: a pass over all jobs that gains less is the last
NOISE = 0.3  # of a share: by how much chance changes the order of the jobs


@dataclass(frozen=True)
class JobChoice:
    """A job of the cluster and the runs it may take.

    run (r,) : candidate row, -1 for rejection; place, start (r,) : position of the site in the cluster and first
    period; cost (r,) USD; here : which run it has now; gpus, length : load and periods.
    """

    job: int
    gpus: float
    length: int
    run: Array
    place: Array
    start: Array
    cost: Array
    here: int


@dataclass(frozen=True)
class ClusterTask:
    """A cluster with all that is needed to improve it, ready to travel.

    Inference is routed anew among the cluster's sites; work may leave to sites outside (at `leave_price`, while
    they have `leave_room`) or stay unserved. Nothing comes in, so disjoint clusters may move together.

    Attributes
    ----------
    sites, generators : rows of the cluster's n sites. period_h : hours.
    carbon_bid, carbon_ask : USD/t all in, earned for a tonne less than now, paid for a tonne more (bid <= ask).
    choices : its jobs. load (n, T) : present load, GPU; fixed_load (n, T) : of which jobs that stay and pools.
    arc_site, arc_stream (a,) : position of site and stream; arc_cost (a,) USD per GPU and period.
    demand (d, T) : work of the streams now inside or unserved, GPU; unserved (d,), leave_price (d, T) USD per GPU
    and period; leave_room (d, T) GPU. runs_kept : runs of a job that enter the MILP for their reduced cost.
    until : when to end, seconds of the epoch (ranks share no other clock). windows : parts of its jobs
    that move in turn; seed : of their order.
    """

    sites: Sites
    generators: Generators
    period_h: float
    carbon_bid: float
    carbon_ask: float
    choices: tuple[JobChoice, ...]
    load: Array
    fixed_load: Array
    arc_site: Array
    arc_stream: Array
    arc_cost: Array
    demand: Array
    unserved: Array
    leave_price: Array
    leave_room: Array
    runs_kept: int
    effort: Effort
    until: float
    windows: int
    seed: int


@dataclass(frozen=True)
class Move:
    """What a cluster answers: new runs of its jobs, and by how much its model gets cheaper, USD."""

    jobs: Array
    run: Array
    start: Array
    gain: float


class Pieces(NamedTuple):
    """Cost of a site's load beside its present battery and generators, by pieces of rising cost: all (T, p).

    width : GPU. cost : USD per GPU and period, carbon at the bid. tonnes : t per GPU and period. used : GPU at present.
    """

    width: Array
    cost: Array
    tonnes: Array
    used: Array


def cost_pieces(task: ClusterTask, k: int) -> Pieces:
    """Pieces of site k: power per GPU times what the next MW costs.

    That is lost export first (nothing while power is curtailed), then import; a new import peak pays the demand
    charge. Convex but where the price is negative; there the MILP may believe in a little too much, and true cost
    decides.
    """
    sites, dt = task.sites, task.period_h
    other, peak = _present_supply(task, k)
    free = sites.wind_mw[k] + sites.solar_mw[k] + other
    buy = sites.buy_price[k] + task.carbon_bid * sites.carbon_intensity[k]
    sell = sites.sell_price[k] + task.carbon_bid * sites.export_credit[k]
    credit = np.where(sell > 0, sites.export_credit[k], 0.0)
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
    tonnes = dt * (lost * credit[:, None] + bought * sites.carbon_intensity[k][:, None])
    width = np.diff(ends, axis=1)

    def per_gpu(values: Array) -> Array:
        return np.divide(np.diff(values, axis=1), width, out=np.zeros_like(width), where=width > 1e-9)

    return Pieces(width, per_gpu(cost), per_gpu(tonnes), np.clip(task.load[k][:, None] - ends[:, :-1], 0.0, width))


def _present_supply(task: ClusterTask, k: int) -> tuple[Array, float]:
    """Battery and generators (T, MW), and the import peak, of the cheapest relaxed dispatch at the present load."""
    block = Block()
    add_site(block, task.sites, task.generators, k, task.period_h, relaxed=True)
    model = block.finish()
    columns, low, high = model.columns, model.low.copy(), model.high.copy()
    low[columns["load"]] = high[columns["load"]] = np.minimum(task.load[k], high[columns["load"]])
    cost = model.cost + task.carbon_bid * model.emission
    solver = to_highs(replace(model, low=low, high=high, cost=cost))
    solver.run()
    x = np.array(solver.getSolution().col_value)
    supply = np.zeros(task.load.shape[1])
    for name, where in columns.items():
        if name == "discharge" or name.endswith("_output"):
            supply += x[where]
        elif name == "charge":
            supply -= x[where]
    return supply, max(float(task.sites.peak_so_far_mw[k]), float(x[columns["import"]].max()))


def build(task: ClusterTask) -> tuple[Model, list[Array]]:
    """The cluster's MILP, and the columns of each job's runs."""
    block = Block()
    n = task.load.shape[1]
    links, tonnes, emitting, emitted = [], [], [], 0.0
    for k in range(len(task.load)):
        site = cost_pieces(task, k)
        emitted += float((site.tonnes * site.used).sum())
        pieces = enumerate(zip(site.width.T, site.cost.T, strict=True))
        columns = [block.add_columns(f"s{k}_{p}", n, 0.0, width, cost) for p, (width, cost) in pieces]
        links.append(block.add_rows(task.fixed_load[k], task.fixed_load[k], *((1.0, c) for c in columns)))
        emitting += columns
        tonnes += list(site.tonnes.T)
    _price_emissions(block, task, np.concatenate(emitting), np.concatenate(tonnes), emitted)
    balance = []
    for d, demand in enumerate(task.demand):
        leave = block.add_columns(f"leave{d}", n, 0.0, task.leave_room[d], task.leave_price[d])
        drop = block.add_columns(f"drop{d}", n, 0.0, demand, task.unserved[d])
        balance.append(block.add_rows(demand, demand, (1.0, leave), (1.0, drop)))
    for a, (k, d) in enumerate(zip(task.arc_site, task.arc_stream, strict=True)):
        x = block.add_columns(f"x{a}", n, 0.0, task.demand[d], task.arc_cost[a])
        block.add_entries(balance[d], x, 1.0)
        block.add_entries(links[k], x, -1.0)
    runs = [_add_job(block, choice, links) for choice in task.choices]
    return block.finish(), runs


def _price_emissions(block: Block, task: ClusterTask, columns: Array, tonnes: Array, now: float) -> None:
    """Tonnes above the present emissions cost the difference between ask and bid, which all tonnes carry already.

    So only what pays at either price moves: clusters that decide at the same time would overshoot at any one price.
    """
    above = block.add_columns("above", 1, 0.0, np.inf, task.carbon_ask - task.carbon_bid)
    row = block.add_rows(-np.inf, now, (-1.0, above))
    used = np.flatnonzero(tonnes)
    block.add_entries(np.repeat(row, len(used)), columns[used], tonnes[used])


def _add_job(block: Block, choice: JobChoice, links: list[Array]) -> Array:
    """One binary per run, exactly one of them (C2)."""
    y = block.add_columns(f"job{choice.job}", len(choice.run), 0.0, 1.0, choice.cost, integer=True)
    one = block.add_rows(1.0, 1.0, (1.0, y[:1]))
    block.add_entries(np.repeat(one, len(y) - 1), y[1:], 1.0)
    for column, run, k, s in zip(y, choice.run, choice.place, choice.start, strict=True):
        if run >= 0:
            link = links[k][s : s + choice.length]
            block.add_entries(link, np.full(len(link), column), -choice.gpus)
    return y


def improve_cluster(task: ClusterTask) -> Move:
    """Solve the cluster's MILP from where its jobs are now; the answer is never worse than that.

    Only the runs that the linear relaxation finds nearly worthwhile (least reduced cost) stay in the MILP: that
    is a thirtieth of the time for one or two per cent of the gain.
    """
    model, runs = build(task)
    value, point = _stay(model, runs, task)
    here, gain = np.array([c.here for c in task.choices], dtype=int), 0.0
    if point is not None and task.choices:
        here, better = _take_turns(*_shortlist(model, runs, task), runs, task, here, value, point)
        gain = value - better
    jobs = np.array([c.job for c in task.choices], dtype=int)
    run = np.array([c.run[h] for c, h in zip(task.choices, here, strict=True)], dtype=int)
    start = np.array([c.start[h] for c, h in zip(task.choices, here, strict=True)], dtype=int)
    return Move(jobs, run, start, gain)


def _take_turns(
    model: Model, share: Array, runs: list[Array], task: ClusterTask, here: Array, value: float, point: Array
) -> tuple[Array, float]:
    """Windows of jobs move in turn, the others staying, until a pass over all of them brings little.

    First those that the relaxation (`share` of every column) puts elsewhere: relaxation-induced neighbourhoods
    (Danna, Rothberg, Le Pape 2005). With many jobs one MILP for all spends its time at the root.
    """
    rng, n_jobs = np.random.default_rng(task.seed), len(runs)
    windows = min(task.windows, n_jobs)
    effort = replace(task.effort, rel_gap=task.effort.rel_gap / task.windows)
    while True:
        before, stays = value, np.array([share[y[h]] for y, h in zip(runs, here, strict=True)])
        order = np.argsort(stays + NOISE * rng.uniform(size=n_jobs), kind="stable")
        for free in np.array_split(order, windows):
            found = _best(_held(model, runs, here, free), point, effort.until(task.until))
            if found is not None and found[0] < value:
                value, point = found
                here = np.array([int(np.argmax(point[y])) for y in runs], dtype=int)
            if time.time() > task.until:
                return here, value
        if windows == 1 or before - value <= LITTLE * abs(value):
            return here, value


def _held(model: Model, runs: list[Array], here: Array, free: Array) -> Model:
    """The model with all jobs held where they are, but the free ones."""
    low, high = model.low.copy(), model.high.copy()
    for j in np.setdiff1d(np.arange(len(runs)), free):
        low[runs[j]] = high[runs[j]] = 0.0
        low[runs[j][here[j]]] = high[runs[j][here[j]]] = 1.0
    return replace(model, low=low, high=high)


def _shortlist(model: Model, runs: list[Array], task: ClusterTask) -> tuple[Model, Array]:
    """The model with all runs closed but the present one, those the relaxation uses, and the next best few.

    And the relaxation's solution.
    """
    solver = to_highs(model)
    solver.run()
    solution = solver.getSolution()
    share, reduced = np.array(solution.col_value), np.array(solution.col_dual)
    high = model.high.copy()
    for y, choice in zip(runs, task.choices, strict=True):
        keep = share[y] > 1e-6
        keep[np.argsort(reduced[y], kind="stable")[: task.runs_kept]] = True
        keep[choice.here] = True
        high[y[~keep]] = 0.0
    return replace(model, high=high), share


def _best(model: Model, start: Array, effort: Effort) -> tuple[float, Array] | None:
    """Value and point of the best solution found from a start."""
    solver = to_highs(model, integer=model.integer)
    effort.apply(solver)
    # cuts by the thousand and strong branching took nine tenths of the time
    solver.setOptionValue("mip_allow_cut_separation_at_nodes", False)
    solver.setOptionValue("mip_pool_soft_limit", 300)
    solver.setOptionValue("mip_pscost_minreliable", 1)
    set_start(solver, start)
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    return info.objective_function_value, np.array(solver.getSolution().col_value)


def _stay(model: Model, runs: list[Array], task: ClusterTask) -> tuple[float, Array | None]:
    """Value and point of the model with every job where it is (None where that is infeasible)."""
    here = np.array([choice.here for choice in task.choices], dtype=int)
    solver = to_highs(_held(model, runs, here, here[:0]))
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return np.inf, None
    return solver.getInfo().objective_function_value, np.array(solver.getSolution().col_value)
