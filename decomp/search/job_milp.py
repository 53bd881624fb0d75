"""The jobs of a small model: one binary a run, searched from where the jobs are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from decomp.lp.block import Block, Model
from decomp.lp.highs import Effort, has_point, run_lp, set_start, to_highs
from decomp.model.instance import Array
from decomp.ranks.clock import root_seconds

LITTLE = 3e-4  # of the model's cost: a pass over all jobs that gains less is the last
NOISE = 0.3  # of a share: by how much chance changes the order of the jobs


@dataclass(frozen=True)
class JobChoice:
    """A job and the runs it may take.

    run (r,) : candidate row, -1 for rejection; place, start (r,) : position of the site in the model and first
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


@dataclass(frozen=True, eq=False)
class JobSearch:
    """Which jobs may move, and how hard that is tried.

    Attributes
    ----------
    choices : the jobs. runs_kept : runs of a job that enter the MILP for their reduced cost.
    until : when to end, by `root_seconds`. windows : parts of the jobs
    that move in turn; seed : of their order.
    """

    choices: tuple[JobChoice, ...]
    runs_kept: int
    effort: Effort
    until: float
    windows: int
    seed: int


def add_job(block: Block, choice: JobChoice, links: Sequence[Array], copies: int = 1) -> Array:
    """One binary per run, exactly one of them (C2); with several `copies` of every place it loads them all."""
    y = block.add_columns(f"job{choice.job}", len(choice.run), 0.0, 1.0, choice.cost, integer=True)
    one = block.add_rows(1.0, 1.0, (1.0, y[:1]))
    block.add_entries(np.repeat(one, len(y) - 1), y[1:], 1.0)
    for column, run, k, s in zip(y, choice.run, choice.place, choice.start, strict=True):
        for row in range(k, len(links), len(links) // copies) if run >= 0 else ():
            link = links[row][s : s + choice.length]
            block.add_entries(link, np.full(len(link), column), -choice.gpus)
    return y


def choose_runs(model: Model, runs: list[Array], task: JobSearch) -> tuple[Array, float, Array | None]:
    """Which of its runs every job takes (job,), by how much the model gets cheaper (USD, never less than 0), the point.

    `runs` : columns of each job's runs. Only the runs that the linear relaxation finds nearly worthwhile (least
    reduced cost) stay in the MILP: that is a thirtieth of the time for one or two per cent of the gain.
    """
    value, point = stay(model, runs, task)
    here = np.array([choice.here for choice in task.choices], dtype=int)
    if point is None or not task.choices:
        return here, 0.0, point
    here, better, point = _take_turns(*_shortlist(model, runs, task), runs, task, here, value, point)
    return here, value - better, point


def _take_turns(
    model: Model, share: Array, runs: list[Array], task: JobSearch, here: Array, value: float, point: Array
) -> tuple[Array, float, Array]:
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
            found = _best(_held(model, runs, here, free), point, effort.within(task.until - root_seconds()))
            if found is not None and found[0] < value:
                value, point = found
                here = np.array([int(np.argmax(point[y])) for y in runs], dtype=int)
            if root_seconds() > task.until:
                return here, value, point
        if windows == 1 or before - value <= LITTLE * abs(value):
            return here, value, point


def _held(model: Model, runs: list[Array], here: Array, free: Array) -> Model:
    """The model with all jobs held where they are, but the free ones."""
    low, high = model.low.copy(), model.high.copy()
    for j in np.setdiff1d(np.arange(len(runs)), free):
        low[runs[j]] = high[runs[j]] = 0.0
        low[runs[j][here[j]]] = high[runs[j][here[j]]] = 1.0
    return replace(model, low=low, high=high)


def _shortlist(model: Model, runs: list[Array], task: JobSearch) -> tuple[Model, Array]:
    """The model with all runs closed but the present one, those the relaxation uses, and the next best few.

    And the relaxation's solution.
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
    """Value and point of the best solution found from a start."""
    solver = to_highs(model, integer=model.integer)
    # cuts by the thousand and strong branching took nine tenths of the time
    solver.setOptionValue("mip_allow_cut_separation_at_nodes", False)
    solver.setOptionValue("mip_pool_soft_limit", 300)
    solver.setOptionValue("mip_pscost_minreliable", 1)
    set_start(solver, start)
    effort.run(solver)
    if not has_point(solver):
        return None
    return solver.getInfo().objective_function_value, np.array(solver.getSolution().col_value)


def stay(model: Model, runs: list[Array], task: JobSearch) -> tuple[float, Array | None]:
    """Value and point of the model with every job where it is (None where that is infeasible)."""
    here = np.array([choice.here for choice in task.choices], dtype=int)
    solver = to_highs(_held(model, runs, here, here[:0]))
    if not run_lp(solver):
        return np.inf, None
    return solver.getInfo().objective_function_value, np.array(solver.getSolution().col_value)
