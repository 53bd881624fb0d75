"""Phases of a solve by decomposition, functions from the state of a run to an outcome: schedules, and the last bound.

`methods` lists which phases make a method. The first bound is in `bounding`; branch and bound and the extensive finish
of small fleets are phases too, in `decomp.exact`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from decomp.benders.loop import benders_finish
from decomp.bound.milp_bound import dual_of_work, milp_bound
from decomp.bound.site_integers import with_integers
from decomp.lp.highs import Effort
from decomp.model.instance import Array
from decomp.model.options import Improvement
from decomp.model.result import Schedule
from decomp.ranks.clock import process_seconds
from decomp.schedule.dive import dive, keep_decided
from decomp.schedule.finish import finish
from decomp.schedule.incumbent import Incumbent, incumbent_of
from decomp.schedule.recommit import recommit
from decomp.search.by_moves import moved_jobs
from decomp.search.by_prices import GROWTH, Neighbours, SearchState, StandIns, clusters, improve_round, job_loss
from decomp.search.by_resources import linked_groups, replan_round
from decomp.solver.bounding import apart, doubts, sharpen
from decomp.solver.temptation import restore_temptation
from decomp.state.solve_state import Outcome, Run, dual_of

SHARE = 0.1  # of the gap asked for, which the sites' MILPs may leave
LEAST_ROUND = 0.25  # of the last round's time; with less left no round is begun (one under way ends with the time)
FIRST_ROUNDS = 4  # rounds of cluster moves before the first schedule of a large fleet
LEAST_SHARE = 0.4  # of the time limit, left by these rounds
DEARER = 5e-4  # relative; a completed schedule than the master's model says of its jobs: 1e-4 to 1e-3 were seen
FEW_SITES = 12  # in so small a fleet moves of jobs alone gain as much in the same time as after cluster moves
COMMIT_SHARE = 0.2  # of the time left, kept for the commitments after moves of jobs
SAMPLE = 12  # groups of a round of the resource-directive search between rounds of the price-directive one

Routing = Callable[[Run], "Incumbent | None"]  # with the jobs fixed: routing and carbon allowances, then the dispatch


# ---------------------------------------------------------------- a schedule


def dive_on_jobs(run: Run, routing: Routing) -> Outcome:
    """Phase: fix all jobs in a dive, then complete the schedule.

    Jobs of the solution that the run starts from stay where they are cheap at the prices. In a large fleet the first
    rounds of cluster moves precede the completion of a schedule, which takes longer.
    """
    run.phase = "dive"
    if run.start is not None and run.start.fixing is not None:
        keep_decided(run.loop, run.start.fixing)
    dive(run.loop, run.options.recovery, run.record)
    if large(run) and not apart(run.loop):
        move_first(run)
    complete(run, routing)
    return Outcome.DONE


def large(run: Run) -> bool:
    """Whether the fleet is so large that a round of cluster moves takes less time than completing a schedule."""
    c, options = run.loop.coupling, run.options.improvement
    return c.copies == 1 and c.n_jobs > 0 and c.n_places > options.cluster_sites * options.least_clusters


def move_first(run: Run) -> None:
    """Rounds of cluster moves before the first schedule, while it is not good enough, they gain much, time is left."""
    search, limit, run.phase = search_of(run), run.options.time_limit_seconds, "improve"
    enough = LEAST_SHARE * limit if np.isfinite(limit) else 0.0
    while search.rounds < FIRST_ROUNDS and not promising(run) and not run.late(enough) and not run.must_stop():
        gained = move(run, search.effort(run.options.improvement), run.deadline)
        if gained <= run.options.improvement.plateau * abs(run.bound):
            break
    search.rounds = 0


def promising(run: Run) -> bool:
    """Whether the model of the master lets expect the gap asked for of a schedule with the jobs as they are fixed."""
    model = run.log[-1].model if run.log else None
    return model is not None and model - run.bound <= (run.options.rel_gap - DEARER) * abs(model)


def complete(run: Run, routing: Routing) -> Incumbent | None:
    """Complete a schedule: routing, carbon allowances and integral dispatch with all jobs fixed.

    If it is cheaper than the incumbent, it replaces it.
    """
    started, phase = process_seconds(), run.phase
    run.workers.until = np.inf if run.incumbent is None else run.workers.end
    found = routing(run)
    better = run.offer(found)
    run.record(None)
    if better:
        run.keep(run.result())
    run.finish_seconds, run.phase = process_seconds() - started, phase
    return found


def by_prices(run: Run) -> Incumbent | None:
    """Routing and allowances by the multipliers: some iterations with the jobs fixed, then the integral dispatch."""
    run.phase = "finish"
    for _ in range(run.options.recovery.settle_iterations):
        step = run.loop.iterate()
        if run.record(step) or step.converged(1e-5):
            break
    return finish(run.instance, run.loop, run.options.recovery, doubts(run))


def by_benders(run: Run) -> Incumbent | None:
    """Routing and carbon allowances by Benders' decomposition."""
    run.phase = "benders"
    return benders_finish(run.instance, run.loop, run.options, run.record, doubts(run))


# ---------------------------------------------------------------- better schedules


def improve(run: Run, routing: Routing, replans: bool, if_apart: bool = True) -> Outcome:
    """Phase: price-directive large-neighbourhood search; in small fleets moves of jobs follow, in the smallest at once.

    When rounds gain little a schedule is completed; when that is hardly cheaper than the incumbent, the search goes on
    from the incumbent with larger clusters.

    Parameters
    ----------
    replans : whether jobs are moved in small fleets, and some groups searched resource-directively before it goes on.
    if_apart : whether to search a fleet that separates, see `apart`.
    """
    loop, options = run.loop, run.options.improvement
    if not if_apart and apart(loop):
        return Outcome.SKIPPED
    search, run.phase = search_of(run), "improve"
    moves = replans and run.small and run.incumbent is not None
    if moves and (loop.coupling.n_places <= FEW_SITES or loop.coupling.copies > 1):
        return replan(run, patience=1)  # it goes on when the sites' integers have had their turn
    if replans and loop.coupling.copies > 1:  # what groups gain needs no completed schedule, which takes long
        replan(run)
    while loop.coupling.n_jobs and not run.must_stop() and search.stale < options.stale_finishes:
        if run.late(run.finish_reserve):
            break
        started, present = process_seconds(), search.effort(options)
        gained = move(run, present, run.deadline - run.finish_reserve)
        round_seconds = process_seconds() - started
        late = run.late(LEAST_ROUND * round_seconds + run.finish_reserve)
        if late or search.rounds >= present.rounds_per_finish or gained <= options.plateau * abs(run.cost):
            if moves:
                search.rounds = 0
                complete(run, routing)
                return replan(run, patience=1)
            complete_and_enlarge(run, routing, replans)
        if late:
            break
    return Outcome.DONE


def complete_and_enlarge(run: Run, routing: Routing, replans: bool) -> None:
    """Complete a schedule; if that saves little, go on from the incumbent with larger clusters. See `improve`."""
    search, before = search_of(run), run.cost
    search.rounds = 0
    complete(run, routing)
    saved = before - run.cost if np.isfinite(run.cost) else 0.0
    if saved > run.options.improvement.plateau * abs(run.cost):
        return
    search.stale, search.level = search.stale + 1, search.level + 1
    if run.incumbent is not None:
        if replans:
            replan(run, patience=1, most=SAMPLE)
        run.loop.refix(run.incumbent.fixing)


def search_of(run: Run) -> SearchState:
    """The state of the large-neighbourhood search; a new one at its first use."""
    if run.search is None:
        run.search = SearchState(Neighbours.of(run.loop.coupling), np.random.default_rng(run.options.seed))
    return run.search


def move(run: Run, options: Improvement, until: float) -> float:
    """A round of cluster moves, then iterations that adapt the multipliers; gain of the clusters' MILPs, USD."""
    search, loop = search_of(run), run.loop
    gained = improve_round(run.instance, loop, search, options, until)
    for _ in range(options.iterations):
        run.record(loop.iterate())
    search.rounds += 1
    return gained


def move_jobs(run: Run, incumbent: Incumbent) -> None:
    """Search moves of jobs and then commitments from the incumbent of a small fleet."""
    options, phase, run.phase = run.options.moves, run.phase, "moves"
    seeds = search_of(run).rng.integers(2**31, size=options.searches)
    effort = Effort(options.commitment_gap, options.commitment_nodes)
    until = run.before_deadline(COMMIT_SHARE)
    moved = moved_jobs(run.instance, incumbent.schedule, run.workers, options, seeds, until)
    schedule = recommit(run.instance, moved, run.workers, effort, run.deadline)
    found = None if schedule is None else incumbent_of(run.instance, run.loop.coupling, schedule)
    if found is not None and run.offer(found):
        run.keep(run.result())
        run.loop.refix(found.fixing)
    run.record(None)
    run.phase = phase


def replan(run: Run, patience: int | None = None, most: int | None = None) -> Outcome:
    """Phase: resource-directive large-neighbourhood search, groups growing after every round that gained little.

    In a small fleet instead moves of jobs, which need no groups.

    Parameters
    ----------
    patience : rounds with little gain, in all, after which it ends; default: as many as for cluster moves.
    most : groups of a round, those whose jobs lose most at the prices first; default: as many as cover the fleet.
    """
    search, options, phase, stale = run.search, run.options, run.phase, 0
    patience = options.improvement.stale_finishes if patience is None else patience
    if search is None or run.incumbent is None or not run.loop.coupling.n_jobs:
        return Outcome.SKIPPED
    run.phase = "replan"
    while stale < patience and not run.must_stop():
        run.loop.refix(run.incumbent.fixing)
        before = run.cost
        if run.small:
            move_jobs(run, run.incumbent)
        else:
            size = round(options.replan.sites * GROWTH**stale)
            replan_groups(run, run.incumbent.schedule, size, most)
        stale += before - run.cost <= options.improvement.plateau * abs(run.cost)
    run.phase = phase
    return Outcome.DONE


def replan_groups(run: Run, schedule: Schedule, size: int, most: int | None) -> None:
    """A round of the resource-directive search from a schedule, groups of `size` sites; for `most` see `replan`."""
    search = search_of(run)
    if run.instance.n_places <= run.options.small_fleet:
        groups = linked_groups(search.neighbours, size, search.rng)
    else:
        groups = clusters(search.neighbours, job_loss(run.loop), size, search.rng)[:most]
    tasks = [(np.sort(sites), stand_ins(run, np.sort(sites))) for sites in groups]
    schedule = replan_round(run.instance, schedule, run.workers, tasks, run.options.replan, run.deadline)
    if run.offer(incumbent_of(run.instance, run.loop.coupling, schedule)):
        run.keep(run.result())
    run.record(None)


def stand_ins(run: Run, sites: Array) -> StandIns:
    """Scenarios that stand for all in the MILP of a group, by the prices that prove the bound."""
    price = (run.proof or run.loop.centre).own_money[0]
    return StandIns.of(run.loop.coupling, price, sites, run.options.improvement.scenario_rows // len(sites))


# ---------------------------------------------------------------- the bound with integral subproblems


def bound_integers(run: Run, routing: Routing) -> Outcome:
    """Phase: raise the bound by solving the sites' subproblems as MILPs at the best multipliers.

    The jobs of sites that share none with others are then fixed as these MILPs have them, and a schedule is completed.
    """
    restore_temptation(run)
    loop = run.loop
    run.phase, run.deadline = "milp bound", run.since + run.options.time_limit_seconds
    if run.proof is None or run.must_stop():
        return Outcome.SKIPPED
    sharpen(run)
    if run.must_stop():
        return Outcome.DONE
    if run.instance.copies > 1:
        point = with_integers(run.instance, run.workers, run.proof, run.options.milp_bound, run.seconds_left())
        run.strengthen(point.bound, dual_of(run.instance, point))
        run.record(None)
        return Outcome.DONE
    left = run.seconds_left() - run.finish_reserve * bool((loop.coupling.homes[1] >= 0).any())
    spare = SHARE * run.options.rel_gap * abs(run.bound)
    proof = milp_bound(run.instance, loop.coupling, run.workers, run.proof, run.options.milp_bound, left, spare)
    run.strengthen(proof.bound, dual_of_work(run.instance, run.proof.price, proof))
    run.record(None)
    if proof.taken and not run.must_stop():
        loop.refix(proof.refixed(loop.master.fixing))
        complete(run, routing)
    return Outcome.DONE
