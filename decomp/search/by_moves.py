"""Iterated local search over moves of jobs, each evaluated by a linear program of the whole fleet.

With its jobs held and commitments relaxed, a fleet's cost is a convex function of the load of the jobs, which stand in
the right-hand sides of a linear program alone: the dual simplex method goes from one schedule of the jobs to another in
some hundred steps. (With commitments held, carbon would be worth a fraction of its price, and the search stay near
them.) The program's prices are a subgradient, a cut as in Benders' decomposition (1962): no schedule of the jobs costs
less than any cut says. So a move is evaluated only if all cuts so far promise a gain, the most promising first. In a
local optimum a few jobs are placed anew (iterated local search: Lourenço, Martin, Stützle 2003).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import highspy
import numpy as np

from decomp.bound.coupling import Coupling, Fixing
from decomp.lp.highs import run_lp, to_highs
from decomp.model.instance import Array, Instance
from decomp.model.options import Moves
from decomp.model.result import Schedule
from decomp.ranks.clock import root_seconds
from decomp.ranks.workers import Workers
from decomp.schedule.dive import fixed_load
from decomp.schedule.group_lp import GroupTask, by_scenario
from decomp.schedule.incumbent import fixing_of
from decomp.schedule.redispatch import redispatch_model
from decomp.search import move_kernels
from decomp.site.grid_ban import untempted

LITTLE = 5e-5  # relative to the cost: a move that gains less is none
MOST_LOADS = 2e7  # sites x periods of all moves listed at a time
TRIES = 20  # moves in a row that gain nothing, after which the descent ends
KICKS = 20  # in a row from which nothing better is found, after which the search ends
CUTS = 150  # kept in all scenarios, but in each at least
LEAST_CUTS = 20
WAYS = 200  # of placing jobs anew, of which one is evaluated
SPREAD = 1.0  # of the random factors on prices, when jobs are placed anew


@dataclass(frozen=True, eq=False)
class MoveTask:
    """A search from a schedule; picklable, done on any rank.

    Attributes
    ----------
    fleet : with its schedule.
    seed : of what is random.
    until : when to stop, by `root_seconds` of the rank that searches.
    """

    fleet: GroupTask
    options: Moves
    seed: int
    until: float


class MoveAnswer(NamedTuple):
    """What the jobs do in the cheapest schedule found, (J,) each; its cost, USD; and whether the clock ended it."""

    run: Array
    start: Array
    cost: float
    late: bool


class Point(NamedTuple):
    """What the jobs do, the cost of the fleet then, USD, and the price of load, (S, T) USD per GPU and period."""

    fixing: Fixing
    cost: float
    price: Array


class Program:
    """The cost of a fleet in one scenario as a function of the load of its jobs, all other integers relaxed.

    `n_cuts` : so many are kept, the last ones.
    """

    def __init__(self, fleet: GroupTask, n_cuts: int) -> None:
        model, links = redispatch_model(fleet)
        self._solver: Any = to_highs(model)
        self._rows = np.ravel(links).astype(np.int32)
        self._cuts: deque[tuple[float, Array]] = deque(maxlen=n_cuts)

    def at(self, load: Array, below: float) -> tuple[float, Array]:
        """The cost at a load (S x T,) and the prices of load there; adds a cut.

        The cost is infinite if no dispatch carries the load, or if it is more than `below`, USD: then half of the steps
        of the dual simplex method are saved, whose duals make a cut at any time.
        """
        self._solver.changeRowsBounds(load.size, self._rows, load, load)
        self._solver.setOptionValue("objective_bound", below)
        optimal = run_lp(self._solver, warm=True)
        if not optimal and self._solver.getModelStatus() != highspy.HighsModelStatus.kObjectiveBound:
            return np.inf, np.zeros_like(load)
        value = float(self._solver.getInfo().objective_function_value)
        price = np.array(self._solver.getSolution().row_dual)[self._rows]
        self._cuts.append((value - float(price @ load), price))
        return value if optimal and value <= below else np.inf, price

    def at_least(self, load: Array, newest: bool = False) -> Array:
        """Lower bounds (n,) on the cost at loads (n, S x T): by all cuts, or the newest."""
        cuts = [self._cuts[-1]] if newest and self._cuts else self._cuts
        if not cuts:
            return np.full(len(load), -np.inf)
        constant, price = np.array([c for c, _ in cuts]), np.array([p for _, p in cuts])
        return np.asarray((constant + load @ price.T).max(axis=1))


class JobCost:
    """The cost of a fleet as a function of what its jobs do: a linear program in each scenario.

    Attributes
    ----------
    evaluated : linear programs solved.
    room : for jobs, in every scenario, (S, T) GPU.
    """

    def __init__(self, coupling: Coupling, fleet: GroupTask) -> None:
        self.coupling, self.evaluated = coupling, 0
        self.room = coupling.least(coupling.usable)
        scenarios = by_scenario(fleet.instance, fleet.schedule)
        self.programs = [Program(task, max(CUTS // len(scenarios), LEAST_CUTS)) for _, task in scenarios]

    def at(self, fixing: Fixing, below: float = np.inf) -> Point:
        """The cost there; infinite if no dispatch carries the load, or once it is known to be above `below`, USD."""
        load, of_runs = self.load(fixing), float(self.of_runs(fixing.run))
        least, price = self.at_least(load.reshape(1, -1))[:, 0], np.zeros(load.size)
        for s, program in enumerate(self.programs):
            beside = of_runs + float(np.delete(least, s).sum())
            self.evaluated += 1
            least[s], own = program.at(load.ravel(), below - beside)
            price += own
            if not np.isfinite(least[s]):
                break
        return Point(fixing, of_runs + float(least.sum()), price.reshape(load.shape))

    def load(self, fixing: Fixing) -> Array:
        """Load of the jobs, the same in all scenarios, (S, T) GPU."""
        return fixed_load(self.coupling, fixing.run, fixing.start)[: self.coupling.n_places]

    def of_runs(self, run: Array) -> Array:
        """Cost of jobs beside energy by their candidates (..., J), USD (...)."""
        return np.asarray(np.append(self.coupling.jobs.cost, 0.0)[run].sum(axis=-1))

    def at_least(self, load: Array, newest: bool = False) -> Array:
        """Lower bounds on the cost without that of runs, (scenario, n), see `Program.at_least`."""
        return np.array([program.at_least(load, newest) for program in self.programs])


def search_moves(task: MoveTask) -> MoveAnswer:
    """Search better runs of the jobs by iterated local search, starting from the present ones.

    The programs would import and export at once for the sake of credits; so exports are credited with less, if may be.
    """
    fleet, coupling = task.fleet, Coupling.of(task.fleet.instance)
    rng, in_vain = np.random.default_rng(task.seed), 0
    for instance in (untempted(fleet.instance), fleet.instance):  # the budget may be beyond reach without all credits
        cost = JobCost(coupling, replace(fleet, instance=instance))
        best = trial = cost.at(fixing_of(coupling, fleet.schedule))
        if np.isfinite(best.cost):
            break
    while np.isfinite(best.cost) and in_vain < KICKS and not _over(cost, task):
        trial, in_vain = descend(cost, trial, task), in_vain + 1
        if trial.cost < best.cost:
            best, in_vain = trial, 0
        trial = kick(cost, best, task.options.placed_anew, rng)
    return MoveAnswer(best.fixing.run, best.fixing.start, best.cost, root_seconds() > task.until)


def moved_jobs(
    instance: Instance, schedule: Schedule, workers: Workers, options: Moves, seeds: Array, until: float
) -> Schedule:
    """The best jobs that searches from a schedule find, one with each seed, side by side on all ranks.

    They stand in the schedule from which they were found, whose dispatch is not theirs yet. No search is begun after
    `until`, seconds by the root's clock.
    """
    fleet, end = GroupTask(instance, schedule), workers.deadline(until)
    tasks = [MoveTask(fleet, options, int(seed), end) for seed in seeds]
    answers = workers.farm(search_moves, tasks, until, "moves of jobs")
    cut = [(k, a) for k, a in enumerate(answers) if a is not None and a.late]
    for at, (run, start, cost) in workers.stops.ask(lambda: [(k, _plain(a)) for k, a in cut]) or []:
        answers[at] = MoveAnswer(np.array(run, dtype=int), np.array(start, dtype=int), cost, True)
    best = min((answer for answer in answers if answer is not None), key=lambda answer: answer.cost, default=None)
    if best is None:
        return schedule
    site = np.append(Coupling.of(instance).jobs.site, -1)[best.run]
    return replace(schedule, job_site=site, job_start=np.where(best.run >= 0, best.start, -1))


def _plain(answer: MoveAnswer) -> tuple[list[int], list[int], float]:
    """The answer of a search that the clock ended, as the log of such answers can hold it for a replay."""
    return answer.run.tolist(), answer.start.tolist(), float(answer.cost)


def _over(cost: JobCost, task: MoveTask) -> bool:
    return cost.evaluated >= task.options.programs or root_seconds() > task.until


def descend(cost: JobCost, point: Point, task: MoveTask) -> Point:
    """Make the most promising move that gains, until the most promising ones do not or the effort is spent."""
    while (better := _better(cost, point, task)) is not None:
        point = better
    return point


def _better(cost: JobCost, point: Point, task: MoveTask) -> Point | None:
    """The first cheaper point among those after the moves of which all cuts promise most; None if there is none."""
    little = LITTLE * abs(point.cost)
    trials, loads = _moves(cost, point, little)
    if not trials:
        return None
    of_runs = cost.of_runs(np.array([trial.run for trial in trials]))
    enough, least, tried = point.cost - little, cost.at_least(loads), np.zeros(len(trials))
    for _ in range(min(TRIES, len(trials))):
        bound = least.sum(axis=0) + of_runs + tried
        m = int(bound.argmin())
        if bound[m] >= enough or _over(cost, task):
            break
        found = cost.at(trials[m], enough)
        if found.cost < enough:
            return found
        least, tried[m] = np.maximum(least, cost.at_least(loads, newest=True)), np.inf
    return None


def _moves(cost: JobCost, point: Point, least: float) -> tuple[list[Fixing], Array]:
    """What jobs do after each move that gains more than `least`, USD, at the prices; and their load, (move, S x T)."""
    jobs, run, start = cost.coupling.jobs, point.fixing.run, point.fixing.start
    load = cost.load(point.fixing)
    moves, room = np.empty((int(MOST_LOADS / load.size), 6), dtype=np.int64), cost.room - load
    moves = moves[: move_kernels.list_moves(point.price, room, jobs, run, start, least, moves)]
    loads = np.repeat(load[None], len(moves), axis=0)
    move_kernels.change_loads(jobs, run, start, moves, loads)
    return [moved(point.fixing, move) for move in moves], loads.reshape(len(moves), load.size)


def moved(fixing: Fixing, move: Array) -> Fixing:
    """The decisions after a move, see `move_kernels`."""
    run, start = fixing.run.copy(), fixing.start.copy()
    for j, k, s in move.reshape(-1, 3):
        if j >= 0:
            run[j], start[j] = k, s
    return Fixing(run, start)


def kick(cost: JobCost, point: Point, n_jobs: int, rng: np.random.Generator) -> Point:
    """The point after some jobs are placed anew one after the other: of many random ways the one that cuts favour."""
    coupling, n = cost.coupling, len(point.fixing.run)
    present, best, chosen = cost.load(point.fixing), np.inf, point.fixing
    for _ in range(WAYS):
        run, start, room = point.fixing.run.copy(), point.fixing.start.copy(), cost.room - present
        jobs = rng.choice(n, min(n_jobs, n), replace=False)
        price = point.price * rng.uniform(1.0 - SPREAD / 2, 1.0 + SPREAD / 2, point.price.shape[:1])[:, None]
        if not move_kernels.place_again(price, room, coupling.jobs, run, start, jobs):
            continue
        if (run == point.fixing.run).all() and (start == point.fixing.start).all():
            continue
        load = (cost.room - room).reshape(1, -1)
        bound = float(cost.at_least(load).sum() + cost.of_runs(run))
        if bound < best:
            best, chosen = bound, Fixing(run, start)
    return cost.at(chosen)
