"""Branch and bound on jobs: the end of a small fleet by decomposition.

Prices on load leave a duality gap where jobs are lumps. A node of the tree is the fleet with some runs of some
jobs excluded; its bound comes from prices of its own, proved site by site, and its children from a job that the best
prices leave undecided. Where all jobs are decided and a gap is left, the sites answer with their integers integral.
The leaves with their prices are the proof.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from decomp.bound.coupling import REJECTED, Fixing, hourly
from decomp.bound.lagrangian import DualPoint
from decomp.bound.multipliers import Multipliers
from decomp.bound.site_integers import PricedSite, priced_model
from decomp.exact.column_lp import DEAREST_CARBON, LinearMaster, Optimum, Runs
from decomp.lp.highs import Effort, has_point, to_bound
from decomp.model.accounts import account
from decomp.model.instance import Array
from decomp.model.result import Dual, Tree
from decomp.ranks.clock import process_seconds
from decomp.schedule.finish import committed_apart, finish
from decomp.schedule.incumbent import Incumbent, assemble
from decomp.schedule.place import place_work, undone
from decomp.site.oracle import Plan, SiteAnswer, SiteRows
from decomp.state.solve_state import Outcome, Run, dual_of, futures_of

MARGIN = 0.98  # of the gap asked for, at which a node counts as done
TIME_SHARE = 0.5  # share of the time left that a tree may take; the rest is for the whole model
ROUNDS = 80  # most prices asked at a node
REACH = 0.02  # first step, relative to the mean price
CONVERGED = 1e-6  # what more prices may promise, relative to the cost
SLACK_GPU = 1e-6
SLACK_T = 1e-6  # beyond the budget, from rounding
UNDECIDED = 1e-4  # share of a job from which it counts as undecided
REPORT = 50  # nodes between two lines of the log
ROOM = 1e-6  # claimed below what HiGHS proved of a site's MILP, relative
EFFORT = Effort(rel_gap=1e-7, nodes=1000, seconds=20.0)


@dataclass
class Node:
    """Allowed runs (r,), jobs (J,) that may be rejected, prices with what they prove; once split: by what, children."""

    allowed: Array
    rejectable: Array
    point: DualPoint
    optimum: Optimum | None = None
    split: tuple[int, int, int] = (-1, -1, -1)
    inside: int = -1
    outside: int = -1


def branch(run: Run) -> Outcome:
    """Grow a tree until the gap is closed or a limit is reached, if the fleet is small enough."""
    instance, options, loop = run.instance, run.options.branching, run.loop
    larger = instance.n_jobs > options.jobs or instance.n_sites * instance.n_periods > options.site_periods
    if larger or run.must_stop() or run.proof is None:
        return Outcome.SKIPPED
    run.phase = "branch"
    loop.refix(Fixing(*loop.coupling.free_jobs()))
    search = TreeSearch(run)
    search.grow(options.nodes, process_seconds() + min(options.seconds, TIME_SHARE * run.seconds_left()))
    search.report()
    run.keep(run.result())
    return Outcome.DONE


class TreeSearch:
    """The tree, best bound first."""

    def __init__(self, run: Run):
        assert run.proof is not None
        self.run, self.loop, self.workers = run, run.loop, run.workers
        self.c = self.loop.coupling
        self.runs = Runs.of(self.c)
        self.master = LinearMaster(self.c, self.runs, self.loop.master.columns())
        self.tried: set[bytes] = set()
        tasks = self._priced(range(run.instance.n_sites), run.proof.prices)
        self.integers = [i for i, task in enumerate(tasks) if priced_model(task).integer.any()]
        everything = np.ones(len(self.runs.job), dtype=bool)
        self.nodes = [Node(everything, np.array(self.c.jobs.optional), run.proof)]

    @property
    def goal(self) -> float:
        """Bound from which a node needs no more attention, USD."""
        return self.run.cost - MARGIN * self.run.options.rel_gap * max(abs(self.run.cost), 1.0)

    @property
    def bound(self) -> float:
        return min(node.point.bound for node in self.nodes if node.inside < 0)

    def grow(self, most: int, until: float) -> None:
        """Split the node of least bound, again and again."""
        self._raise(self.nodes[0], fully=True)
        self.run.prove(self.nodes[0].point)
        heap = [(self.nodes[0].point.bound, 0)]
        while heap and heap[0][0] < self.goal and len(self.nodes) < most:
            if self.run.must_stop() or self.run.stops.ask(lambda: process_seconds() > until):
                return
            number = heapq.heappop(heap)[1]
            for child in self._visit(self.nodes[number]):
                heapq.heappush(heap, (self.nodes[child].point.bound, child))
            if number % REPORT == REPORT - 1:
                self.report()

    def report(self) -> None:
        """Tell the run what the leaves prove."""
        self.run.strengthen(self.bound, self.dual())
        self.run.record(None)

    def _visit(self, node: Node) -> list[int]:
        """Numbers of the node's children; none if it is done, or nothing more can be done for it."""
        if (split := self._undecided(node)) is None:
            self._raise(node, fully=True)
            split = self._undecided(node)
        if split is None and node.point.bound < self.goal and node.optimum is not None:
            self._schedule(node, node.optimum)
            if node.point.bound < self.goal and self.integers:
                self._tighten(node)
                split = self._undecided(node)
                if split is None and node.optimum is not None:
                    self._schedule(node, node.optimum)
        if split is None or node.point.bound >= self.goal:
            return []
        return self._divide(node, split)

    def _divide(self, node: Node, split: tuple[int, int, int]) -> list[int]:
        """Two children: the job runs inside the box, or it does not."""
        job, box = split[0], self.runs.inside(*split)
        node.split, node.inside, node.outside = split, len(self.nodes), len(self.nodes) + 1
        for allowed, may in (box | (self.runs.job != job), False), (~box, node.rejectable[job]):
            rejectable = node.rejectable.copy()
            rejectable[job] = may
            self.nodes.append(Node(node.allowed & allowed, rejectable, node.point))
        children = [node.inside, node.outside]
        for n in children:
            child, point = self.nodes[n], node.point
            child.point = self._prove(child, point.prices, point.site_lower)
            self._raise(child)
        return children

    def _undecided(self, node: Node) -> tuple[int, int, int] | None:
        """Job, site (-1: any) and last start that split the optimum's work most evenly; None if all is decided."""
        if node.optimum is None:
            return None
        best, found, runs, jobs = 0.0, None, self.runs, self.c.jobs
        for j in range(self.c.n_jobs):
            share = np.where(runs.job == j, node.optimum.share, 0.0)
            own = np.flatnonzero(node.allowed & (runs.job == j))
            last = int(runs.start[own].max(initial=0))
            boxes = [(-1, int(t)) for t in np.unique(runs.start[own])]
            boxes += [(int(s), last) for s in np.unique(runs.site[own])]
            for site, t in boxes:
                part = float(share[runs.inside(j, site, t)].sum())
                even = min(part, 1.0 - part)
                if even > UNDECIDED and even * jobs.gpus[j] * jobs.length[j] > best * (1.0 + 1e-9):
                    best, found = even * jobs.gpus[j] * jobs.length[j], (j, site, t)
        return found

    def _schedule(self, node: Node, optimum: Optimum) -> None:
        """The schedule of the jobs as decided, unless it is known."""
        chosen, start = np.full(self.c.n_jobs, REJECTED), np.full(self.c.n_jobs, -1)
        for r in np.flatnonzero(optimum.share > 0.5):
            chosen[self.runs.job[r]], start[self.runs.job[r]] = self.runs.candidate[r], self.runs.start[r]
        key = chosen.tobytes() + start.tobytes() + np.round(optimum.emissions, 6).tobytes()
        if key in self.tried:
            return
        self.tried.add(key)
        self.loop.centre = node.point
        self.loop.refix(Fixing(chosen, start))
        if self.run.offer(self._settle(optimum)):
            self.report()
            self.run.keep(self.run.result())

    def _settle(self, optimum: Optimum) -> Incumbent | None:
        """Every site's dispatch for the optimum's work and emissions; where that fails, as anywhere else."""
        instance, c, loop = self.run.instance, self.c, self.loop
        work = place_work(loop, (optimum.routed, optimum.pooled))
        load, allowance = work.load(c), np.maximum(c.allowances(optimum.emissions), optimum.emissions)
        dearest = np.minimum(c.excess_price(optimum.prices), DEAREST_CARBON)
        effort = Effort(0.1 * self.run.options.rel_gap, seconds=10.0)
        orders = [
            Order(SiteRows.of(instance, i), load[i], float(allowance[i]), float(dearest[i]), effort)
            for i in range(instance.n_sites)
        ]
        plans = self.workers.farm(plan_within, orders, what="dispatch")
        emitted = np.array([np.inf if plan is None else plan.emissions for plan in plans])
        excess = emitted.reshape(len(c.budgets), -1).sum(axis=1) - c.budgets
        schedule = assemble(instance, loop, work, plans)
        broken = len(undone(c, work.pooled)) or (np.isinf(c.carbon_cap) and (excess > SLACK_T).any())
        if None in plans or broken or committed_apart(instance, schedule):
            return finish(instance, loop, self.run.options.recovery, work=work)
        return Incumbent(schedule, account(instance, schedule).net_cost, work.fixing)

    def _prove(self, node: Node, prices: Multipliers, lower: Array) -> DualPoint:
        """What prices prove of a node, given what they prove of the sites."""
        c, jobs = self.c, np.full(self.c.n_jobs, np.inf)
        load_price = c.summed(prices.links[:, : c.n_periods])
        np.minimum.at(jobs, self.runs.job, np.where(node.allowed, self.runs.values(load_price), np.inf))
        jobs = np.where(node.rejectable, np.minimum(jobs, 0.0), jobs)
        bound = float(lower.sum()) + c.dual_terms_with(prices, float(jobs.sum()))
        return DualPoint(prices, lower, bound, c.n_periods)

    def _raise(self, node: Node, *, fully: bool = False, integral: bool = False) -> None:
        """Better prices for a node, until they prove enough; or, unless `fully`, until it is plain that none will."""
        reach = REACH * float(np.abs(node.point.price).mean())
        for _ in range(ROUNDS):
            point = node.point
            if point.bound >= self.goal or self.run.must_stop():
                return
            best = node.optimum = self.master.solve(node.allowed, node.rejectable, point.prices.links, reach)
            if best is None:
                return
            promised, free = best.value - point.bound, best.slack <= SLACK_GPU
            if promised <= CONVERGED * max(abs(point.bound), 1.0):
                if free:
                    return
                reach *= 4.0
                continue
            if free and best.value < self.goal and not fully:
                return
            trial = self._ask(node, best.prices, integral)
            gained = trial.bound - point.bound
            reach *= 2.0 if gained > 0.5 * promised else 0.5 if gained < 0.1 * promised else 1.0
            if gained > 0.0:
                node.point = trial

    def _tighten(self, node: Node) -> None:
        """Better prices with the sites' integers integral."""
        point = self._ask(node, node.point.prices, integral=True)
        node.point = max(node.point, point, key=lambda p: p.bound)
        self.master.demand_integral(np.array(self.integers))
        self._raise(node, fully=True, integral=True)
        self.master.demand_integral(np.zeros(0))

    def _ask(self, node: Node, prices: Multipliers, integral: bool) -> DualPoint:
        """What prices prove of a node; the sites' answers go to the master."""
        answers = list(self.loop.ask(prices))
        if integral:
            tasks = self._priced(self.integers, prices)
            found = self.workers.farm(answer_integral, tasks, self.run.deadline, "site MILPs")
            for i, answer in zip(self.integers, found, strict=True):
                if answer is not None:
                    answers[i] = replace(answer, lower=max(answer.lower, answers[i].lower))
        for i, answer in enumerate(answers):
            self.master.add(i, answer, integral and i in self.integers)
        lower = prices.of_rows()[1] * np.array([answer.lower for answer in answers])
        return self._prove(node, prices, lower)

    def _priced(self, sites: Iterable[int], prices: Multipliers) -> list[PricedSite]:
        """Sites at these prices, each for a MILP of its own."""
        (links, carbon), instance = prices.in_own_money(), self.run.instance
        return [PricedSite(SiteRows.of(instance, i), links[i], float(carbon[i]), EFFORT, np.inf) for i in sites]

    def dual(self) -> Dual:
        """The tree in the units of the result, beside the root's prices."""
        leaves = [node for node in self.nodes if node.inside < 0]
        split = np.array([node.split for node in self.nodes])
        points = [leaf.point for leaf in leaves]
        tree = Tree(
            job=split[:, 0],
            site=split[:, 1],
            last=split[:, 2],
            inside=np.array([node.inside for node in self.nodes]),
            outside=np.array([node.outside for node in self.nodes]),
            load_price=hourly(np.array([p.price for p in points]), self.run.instance.period_h),
            carbon_price=np.array([p.carbon_price for p in points]),
            site_lower=np.array([p.site_lower for p in points]),
            futures=tuple(f for p in points if (f := futures_of(self.run.instance, p.prices)) is not None),
        )
        assert self.run.proof is not None
        return replace(dual_of(self.run.instance, self.run.proof), form="tree", tree=tree)


@dataclass(frozen=True)
class Order:
    """A load (T,), GPU, that a site is to carry within an allowance (t); a tonne beyond it costs `dearest` USD."""

    rows: SiteRows
    load: Array
    allowance: float
    dearest: float
    effort: Effort


def plan_within(order: Order) -> Plan | None:
    """The site's best integral dispatch; None if there is none."""
    none = np.zeros_like(order.load)
    allowance = order.allowance if np.isfinite(order.allowance) else None
    price = 0.0 if allowance is None else order.dearest
    return order.rows.evaluate_fixed(order.load, none, none, price, effort=order.effort, allowance=allowance)


def answer_integral(task: PricedSite) -> SiteAnswer | None:
    """A site's best integral dispatch at its prices, with the proven bound of its value; None if HiGHS has none."""
    started, model = process_seconds(), priced_model(task)
    solver, unit = to_bound(model, model.integer)
    EFFORT.run(solver)
    if not has_point(solver):
        return None
    x = np.clip(np.array(solver.getSolution().col_value), model.low, model.high)
    lower, emissions = unit * float(solver.getInfo().mip_dual_bound), float(model.emission @ x)
    carried = x[task.linked(model)]
    load = np.pad(carried, (0, len(task.links) - len(carried)))
    cost = float(model.cost @ x) + float(task.links @ load) - task.carbon_price * emissions
    lower -= ROOM * max(abs(lower), 1.0)
    return SiteAnswer(lower, load, cost, emissions, task.links, task.carbon_price, process_seconds() - started)
