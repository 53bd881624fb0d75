"""The MILP bound: load prices translated to prices of the work itself, each site solved with its jobs inside.

At prices of load, generators and jobs enter the bound by their linear relaxation. At prices of streams, jobs and pools
a site's problem chooses its work and keeps its integers, and the dual bound of a MIP solver counts: a
stronger Lagrangian relaxation. Work with a single place is left to its site, so where sites share nothing the bound is
their optimum. A few sites that serve a stream alone are a block, solved as one MILP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np

from decomp.bound.coupling import REJECTED, Coupling, Fixing, hourly
from decomp.bound.joint_prices import packed_relaxation, repriced
from decomp.bound.lagrangian import DualPoint
from decomp.bound.stream_blocks import SiteBlock, join, partition, rise, without_price
from decomp.bound.work_prices import SiteWork, WorkPrices, site_with_work, site_works, translate
from decomp.lp.highs import Effort, run_lp, safe_bound, to_bound, to_highs
from decomp.model.instance import Array, Instance
from decomp.model.options import MilpBound
from decomp.model.result import Blocks, Dual
from decomp.ranks.clock import root_seconds
from decomp.ranks.workers import Workers

FRACTIONAL = 1e-6
HUGE = 10.0  # times the median size of a site's relaxation, from which it is started first
SAMPLE = 32  # blocks, and sites, by which the rest is judged
ABS_GAP = 1e-6  # USD, the least that is asked of a MILP
BLOCK_SHARE = 0.6  # of the time left, at most, for the MILPs of blocks; the rest is for those of single sites


def relax(work: SiteWork) -> tuple[float, float, float]:
    """The linear relaxation of a site with its work: what its duals prove, and how it should be ranked.

    Returns
    -------
    Lower bound, USD (-inf if the solver fails); duals times fractionality of the integers, USD, an estimate of what the
    MILP may gain; simplex iterations times rows, a deterministic measure of its time.
    """
    model = site_with_work(work)
    solver = to_highs(model)
    if not run_lp(solver):
        return -np.inf, 0.0, 0.0
    solution = solver.getSolution()
    share, dual = np.array(solution.col_value)[model.integer], np.array(solution.row_dual)
    fractional = np.minimum(share - np.floor(share), np.ceil(share) - share)
    fractional[fractional < FRACTIONAL] = 0.0
    money = float(fractional @ (abs(model.matrix).T @ np.abs(dual))[model.integer])
    size = float(solver.getInfo().simplex_iteration_count) * len(dual)
    return safe_bound(model, model.cost, dual), money, size


@dataclass(frozen=True)
class MilpTask:
    """A site's MILP, or a block's with the other sites in `beside`; limits, and the end by `root_seconds`."""

    work: SiteWork
    effort: Effort
    until: float
    beside: tuple[SiteWork, ...] = ()


def solve_milp(task: MilpTask) -> tuple[float, bool, Array | None]:
    """Solve a site's or block's MILP.

    Returns
    -------
    Dual bound of the MILP, USD (-inf: none); whether the clock ended it; of a site alone that the clock did not end,
    the rows of the runs in its best point, if it has one.
    """
    works = (task.work, *task.beside)
    model = site_with_work(*works, packed=[packed_relaxation(work)[1] for work in works])
    solver, unit = to_bound(model, model.integer)
    if task.beside:
        _for_the_bound(solver)
    status = replace(task.effort, abs_gap=task.effort.abs_gap / unit).within(task.until - root_seconds()).run(solver)
    info, taken = solver.getInfo(), None
    late = solver.getModelStatus() == highspy.HighsModelStatus.kTimeLimit
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    if feasible and len(task.work.job) and not late and not task.beside:
        taken = np.flatnonzero(np.array(solver.getSolution().col_value)[model.columns["run"]] > 0.5)
    good = status != highspy.HighsStatus.kError and np.isfinite(info.mip_dual_bound)
    good = good and bool(model.integer.any())  # else HiGHS solves an LP and leaves the MIP's bound at zero
    return unit * float(info.mip_dual_bound) if good else -np.inf, late, taken


def _for_the_bound(solver: highspy.Highs) -> None:
    """Set HiGHS for the dual bound: no primal heuristics, and a small pool of cuts, whose scan took half the time."""
    solver.setOptionValue("mip_heuristic_effort", 0.0)
    solver.setOptionValue("mip_heuristic_run_rens", False)
    solver.setOptionValue("mip_pool_soft_limit", 1000)


@dataclass(frozen=True)
class WorkProof:
    """Prices of work and the lower bound that they prove.

    Attributes
    ----------
    site_lower : (S,) USD. bound : their sum and the terms of the coupling rows, USD.
    solved : MILPs with a finite dual bound.
    block : (S,) sites with the same number are proved together; only the sum of their lower bounds is proven.
    taken : for every site solved whose jobs have no other place, its work and the rows of the runs it chose.
    """

    prices: WorkPrices
    site_lower: Array
    bound: float
    solved: int
    block: Array
    taken: tuple[tuple[SiteWork, Array], ...] = ()

    def refixed(self, fixing: Fixing) -> Fixing:
        """The fixing with the choices in `taken`; a site's is left out if it lacks a job that must run."""
        run, start = fixing.run.copy(), fixing.start.copy()
        for work, rows in self.taken:
            if not np.isin(work.job[work.must], work.job[rows]).all():
                continue
            run[work.job], start[work.job] = REJECTED, -1
            run[work.job[rows]], start[work.job[rows]] = work.run[rows], work.start[rows]
        return Fixing(run, start)


def milp_bound(
    instance: Instance,
    c: Coupling,
    workers: Workers,
    point: DualPoint,
    options: MilpBound,
    seconds_left: float,
    spare: float = 0.0,
) -> WorkProof:
    """The bound with the sites' integers, at prices of load translated to prices of work. Root only.

    Every site's relaxation is solved; in a small fleet the work is then priced once more, see `joint_prices`. MILPs
    follow: blocks, sites much larger than the others, and the rest by falling estimate of the gain, so that no long one
    is left to the end. A site that fails or has no time left counts with what was proved before, at the same prices.
    Claimed is what was proved less the MILPs' gap, since another solver that checks it may stop there; the smallest
    gains, up to `spare` together, are not claimed and need no check.

    Parameters
    ----------
    point : prices of load, with what they prove.
    seconds_left : until when MILPs are started.
    spare : what the MILPs may leave open together, USD; if by the first of them the rest would gain no more than that,
        it is left out.
    """
    until = workers.team.clock() + seconds_left
    end = workers.deadline(until)
    prices, lower = translate(c, point)
    works = site_works(instance, c, prices)
    relaxed = workers.farm(relax, works, until, "relaxations")
    lower = np.maximum(lower, [-np.inf if r is None else r[0] for r in relaxed])
    if 1 < c.n_places <= options.joint_sites:
        prices, lower = repriced(instance, c, workers, (prices, lower), until)
        works = site_works(instance, c, prices)
        relaxed = workers.farm(relax, works, until, "relaxations")
    money = np.array([0.0 if r is None else r[1] for r in relaxed])
    size = np.array([0.0 if r is None else r[2] for r in relaxed])
    huge = size > HUGE * np.median(size)
    spare /= max(len(works), 1)
    order = np.lexsort((-money, -np.where(huge, size, 0.0)))
    order = order[money[order] > spare]
    effort = Effort(options.rel_gap, options.site_nodes, options.site_seconds, max(spare, ABS_GAP))
    blocks = partition(c, options.block_sites)
    turns = max(-(-len(blocks) // workers.team.size), 1)
    longer = min(options.block_seconds, BLOCK_SHARE * seconds_left / turns)
    inside = site_works(instance, c, without_price(c, prices, blocks)) if blocks else []
    tasks = block_tasks(inside, blocks, effort, longer, end)

    def gains(found: Array) -> Array:
        sites = order[: len(found)]
        return np.maximum(found - np.maximum(effort.rel_gap * np.abs(found), spare) - lower[sites], 0.0)

    def promising(joint: Array, found: Array) -> tuple[bool, bool]:
        raised = sum(max(rise(c, prices, lower, *pair), 0.0) for pair in zip(blocks, joint, strict=False))
        first, rest = money[order[: len(found)]].sum(), money[order[len(found) :]].sum()
        by_blocks = raised * (len(blocks) - len(joint)) > spare * len(works) * len(joint)
        by_sites = gains(found).sum() * rest > spare * len(works) * first
        return by_blocks, by_sites or bool((c.homes[1] >= 0).any())  # these choose their jobs

    joint, found, runs = _solve_most(workers, tasks, [MilpTask(works[i], effort, end) for i in order], promising, until)
    blocks, order, gain = blocks[: len(joint)], order[: len(found)], gains(found)
    few = np.argsort(gain, kind="stable")
    gain[few[np.cumsum(gain[few]) <= spare * len(works)]] = 0.0
    lower[order] += gain
    taken = tuple(
        (works[i], rows)
        for i, rows in zip(order, runs, strict=True)
        if rows is not None and (c.homes[1][works[i].job] >= 0).all()
    )
    prices, lower, block = join(c, prices, lower, blocks, joint - spare, spare * len(works))
    solved = int(np.isfinite(found).sum() + np.isfinite(joint).sum())
    return WorkProof(prices, lower, float(lower.sum()) + prices.terms(c), solved, block, taken)


def block_tasks(
    works: list[SiteWork], blocks: list[SiteBlock], effort: Effort, seconds: float, until: float
) -> list[MilpTask]:
    """The blocks' MILPs, at most `seconds` for each."""
    effort = replace(effort, seconds=seconds)
    members = [[works[i] for i in block.sites] for block in blocks]
    return [MilpTask(first, effort, until, tuple(beside)) for first, *beside in members]


def _solve_most(
    workers: Workers,
    joint: list[MilpTask],
    single: list[MilpTask],
    promising: Callable[[Array, Array], tuple[bool, bool]],
    until: float,
) -> tuple[Array, Array, list[Array | None]]:
    """Lower bounds of blocks' and of sites' MILPs, as far as they are solved, and the runs that the sites chose.

    `promising` : says of the first of each whether the rest is worth solving.
    """
    found, runs = _solve(workers, joint[:SAMPLE] + single[:SAMPLE], until)
    of_blocks, of_sites = np.split(found, [len(joint[:SAMPLE])])
    runs = runs[len(of_blocks) :]
    good = promising(of_blocks, of_sites)
    more = [tasks[SAMPLE:] if worth else [] for tasks, worth in zip((joint, single), good, strict=True)]
    if any(more):
        found, others = _solve(workers, more[0] + more[1], until)
        of_blocks = np.append(of_blocks, found[: len(more[0])])
        of_sites = np.append(of_sites, found[len(more[0]) :])
        runs = runs + others[len(more[0]) :]
    return of_blocks, of_sites, runs


def _solve(workers: Workers, tasks: list[MilpTask], until: float) -> tuple[Array, list[Array | None]]:
    """Dual bounds of MILPs solved on all ranks, -inf where there is none, and the runs that they chose."""
    found, proved = dual_bounds(workers, solve_milp, tasks, until)
    return found, [None if p is None else p[2] for p in proved]


def dual_bounds(
    workers: Workers, prove: Callable[[Any], tuple[Any, ...]], tasks: Sequence[Any], until: float
) -> tuple[Array, list[Any]]:
    """Dual bounds of MILPs solved on all ranks, -inf where there is none, and all that `prove` answered.

    An answer begins with the bound and whether the clock has ended the proof; if so it is in the log, for replays.
    """
    proved = workers.farm(prove, tasks, until, "site MILPs")
    found = np.array([-np.inf if p is None else p[0] for p in proved])
    late = [(k, found[k] if np.isfinite(found[k]) else None) for k, p in enumerate(proved) if p is not None and p[1]]
    for k, value in workers.stops.ask(lambda: late) or []:
        found[k] = -np.inf if value is None else value
    return found, proved


def dual_of_work(instance: Instance, load_price: Array, proof: WorkProof) -> Dual:
    """The proof in the units of results, with the prices of load (S, T) that it was translated from."""
    hours, prices = instance.period_h, proof.prices
    return Dual(
        load_price=hourly(load_price, hours),
        stream_price=hourly(prices.stream, hours),
        job_price=prices.job,
        pool_price=hourly(prices.pool, hours),
        site_lower=proof.site_lower,
        carbon_price=prices.carbon,
        form="work",
        blocks=Blocks(proof.block),
    )
