"""Assignment of jobs in a MILP: one binary variable for each alternative of a job, searched from a given assignment.

The relaxation restricts the alternatives; then windows of jobs are optimised in turn, the others held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from decomp.lp.block import Block, Model
from decomp.lp.highs import Effort, has_point, run_lp, set_start, to_highs
from decomp.model.instance import Array
from decomp.ranks.clock import root_seconds

LITTLE = 3e-4  # relative to the model's cost: a pass over all jobs that gains less is the last
NOISE = 0.3  # largest random addition to what jobs are ordered by: the relaxation's value of the present alternative


@dataclass(frozen=True)
class JobChoice:
    """A job and its r alternatives: runs (a candidate site and a first period) and possibly rejection.

    Attributes
    ----------
    job : its row in the instance.
    gpus, length : load while it runs, GPU, and periods it takes.
    run : (r,) candidate in the coupling, REJECTED for rejection.
    place : (r,) position of the site in the model, -1 for rejection.
    start : (r,) first period, -1 for rejection.
    cost : (r,) beside energy, USD.
    here : the present alternative, an index of these arrays.
    """

    job: int
    gpus: float
    length: int
    run: Array
    place: Array
    start: Array
    cost: Array
    here: int

    def at_prices(self, price: Array) -> JobChoice:
        """The same with runs that also cost their load at a price of each place in the model, (place, T)."""
        until = np.pad(np.cumsum(price, axis=1), ((0, 0), (1, 0)))
        paid = self.gpus * (until[self.place, self.start + self.length] - until[self.place, self.start])
        return replace(self, cost=self.cost + np.where(self.place >= 0, paid, 0.0))


@dataclass(frozen=True, eq=False)
class JobSearch:
    """The jobs of a MILP and the effort of its search.

    Attributes
    ----------
    choices : the jobs.
    runs_kept : alternatives of a job that stay in the MILP for their reduced cost.
    effort : nodes and gap of one MILP.
    until : when to stop, by `root_seconds`.
    windows : parts into which the jobs are divided, optimised in turn.
    seed : of the order of the jobs.
    """

    choices: tuple[JobChoice, ...]
    runs_kept: int
    effort: Effort
    until: float
    windows: int
    seed: int


def add_job(block: Block, choice: JobChoice, links: Sequence[Array], copies: int = 1) -> Array:
    """Add a job's alternatives, binary variables of which exactly one is 1 (C2), and return their columns (r,).

    `links` : rows (T,) that hold the load of each site; with `copies` scenarios, those of all sites in the first, then
    in the second, ... A run loads its site in all of them.
    """
    y = block.add_columns(f"job{choice.job}", len(choice.run), 0.0, 1.0, choice.cost, integer=True)
    one = block.add_rows(1.0, 1.0, (1.0, y[:1]))
    block.add_entries(np.repeat(one, len(y) - 1), y[1:], 1.0)
    for column, run, k, s in zip(y, choice.run, choice.place, choice.start, strict=True):
        for row in range(k, len(links), len(links) // copies) if run >= 0 else ():
            link = links[row][s : s + choice.length]
            block.add_entries(link, np.full(len(link), column), -choice.gpus)
    return y


def choose_runs(model: Model, runs: list[Array], task: JobSearch) -> tuple[Array, float, Array | None]:
    """Search a cheaper assignment of the jobs.

    Only alternatives with positive value or small reduced cost in the linear relaxation stay in the MILP: that takes a
    thirtieth of the time and loses one or two per cent of the gain.

    Parameters
    ----------
    runs : columns of each job's alternatives.

    Returns
    -------
    The alternative of every job (job,), by how much the model gets cheaper (USD, at least 0), and the point (column,),
    None where the present assignment is infeasible.

    Raises
    ------
    ArithmeticError : the relaxation has no solution although the present assignment has one.
    """
    value, point = at_present(model, runs, task)
    here = np.array([choice.here for choice in task.choices], dtype=int)
    if point is None or not task.choices:
        return here, 0.0, point
    here, better, point = _take_turns(*_shortlist(model, runs, task), runs, task, here, value, point)
    return here, value - better, point


def _take_turns(
    model: Model, share: Array, runs: list[Array], task: JobSearch, here: Array, value: float, point: Array
) -> tuple[Array, float, Array]:
    """Optimise windows of jobs in turn, the others held, until a pass over all jobs gains little.

    First come jobs whose present alternative has a small value in the relaxation (`share` (column,): its solution), as
    in relaxation-induced neighbourhood search (Danna, Rothberg, Le Pape 2005). One MILP of many jobs would spend its
    time at the root.
    """
    rng, n_jobs = np.random.default_rng(task.seed), len(runs)
    windows = min(task.windows, n_jobs)
    effort = replace(task.effort, rel_gap=task.effort.rel_gap / task.windows)
    while True:
        before, stays = value, np.array([share[y[h]] for y, h in zip(runs, here, strict=True)])
        order = np.argsort(stays + NOISE * rng.uniform(size=n_jobs), kind="stable")
        for free in np.array_split(order, windows):
            found = _best(with_runs(model, runs, here, free), point, effort.within(task.until - root_seconds()))
            if found is not None and found[0] < value:
                value, point = found
                here = np.array([int(np.argmax(point[y])) for y in runs], dtype=int)
            if root_seconds() > task.until:
                return here, value, point
        if windows == 1 or before - value <= LITTLE * abs(value):
            return here, value, point


def with_runs(model: Model, runs: list[Array], here: Array, free: Array | tuple[()] = ()) -> Model:
    """The model with all jobs but the `free` ones held at their alternatives `here` (job,)."""
    low, high = model.low.copy(), model.high.copy()
    for j in np.setdiff1d(np.arange(len(runs)), free):
        low[runs[j]] = high[runs[j]] = 0.0
        low[runs[j][here[j]]] = high[runs[j][here[j]]] = 1.0
    return replace(model, low=low, high=high)


def _shortlist(model: Model, runs: list[Array], task: JobSearch) -> tuple[Model, Array]:
    """The model restricted to some alternatives, and the relaxation's solution (column,).

    A job keeps its present alternative, those with positive value in the relaxation, and those of least reduced cost.
    """
    solver = to_highs(model)
    if not run_lp(solver):
        raise ArithmeticError("the relaxation of a model that has a point has none")
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
    """Value, USD, and point (column,) of the best solution found from a start; None if none was found."""
    solver = to_highs(model, integer=model.integer)
    # Cuts at nodes and strong branching take nine tenths of the time and gain little.
    solver.setOptionValue("mip_allow_cut_separation_at_nodes", False)
    solver.setOptionValue("mip_pool_soft_limit", 300)
    solver.setOptionValue("mip_pscost_minreliable", 1)
    set_start(solver, start)
    effort.run(solver)
    if not has_point(solver):
        return None
    return solver.getInfo().objective_function_value, np.array(solver.getSolution().col_value)


def at_present(model: Model, runs: list[Array], task: JobSearch) -> tuple[float, Array | None]:
    """Value, USD, and point (column,) at the present assignment of all jobs; infinite and None if it is infeasible."""
    here = np.array([choice.here for choice in task.choices], dtype=int)
    solver = to_highs(with_runs(model, runs, here))
    if not run_lp(solver):
        return np.inf, None
    return solver.getInfo().objective_function_value, np.array(solver.getSolution().col_value)
