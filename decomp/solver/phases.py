"""The phases of a solve: bound, dive and finish, improvement, MILP bound."""

from __future__ import annotations

from functools import partial

import numpy as np

from decomp.benders.loop import benders_finish
from decomp.bound.coupling import Fixing
from decomp.bound.infeasible import refuse
from decomp.bound.lagrangian import LagrangianLoop
from decomp.bound.milp_bound import dual_of_work, milp_bound
from decomp.model.accounts import account
from decomp.ranks.clock import process_seconds
from decomp.ranks.workers import Workers
from decomp.schedule.finish import finish
from decomp.schedule.incumbent import Incumbent, fixing_of
from decomp.search.by_prices import Neighbours, SearchState, clusters, improve_round, job_loss
from decomp.search.by_resources import replan_round
from decomp.state.solve_state import Keep, Run

STEPS_TO_A_SCHEDULE = 40  # iterations of a dive and what follows, for which the bound leaves time

MORE_ITERATIONS = 60  # of the bound before the sites' MILPs

SHARE = 0.1  # of the gap asked for, which the site MILPs may leave

LEAST_ROUND = 0.25  # of the last round, for which time is left if another begins: its moves end when time is over

SAMPLE = 12  # groups that tell whether it pays to plan anew; in large fleets there is more to gain by prices

RUNAWAY = 1e4  # USD/t; a carbon price beyond it asks whether the budget can be kept at all


def apart(loop: LagrangianLoop) -> bool:
    """Whether sites share nothing but a budget that is slack: then their MILPs decide all there is."""
    return loop.centre.carbon_price == 0.0 and all((home >= 0).all() for home in loop.coupling.homes)


def doubt(run: Run, workers: Workers) -> None:
    """Raise Infeasible if it can be proved that there is no schedule."""
    refuse(run.instance, workers, run.options.bundle, run.must_stop)


def raise_bound(
    run: Run, loop: LagrangianLoop, workers: Workers, hopeful: bool = True, tolerance: float | None = None
) -> None:
    """Iterate with all jobs free until the model promises little (`tolerance`, relative), or it is time to stop.

    `hopeful`: if the carbon price runs away, ask once whether the budget can be kept at all.
    """
    run.prove(loop.centre)
    tolerance = tolerance or float(np.clip(0.1 * run.options.rel_gap, 1e-6, 1e-4))
    half, pace = 0.5 * run.seconds_left(), np.inf
    for _ in range(run.options.bundle.max_iterations - len(run.log)):
        step = loop.iterate()
        run.prove(loop.centre)
        run.record(step, loop)
        pace = min(pace, step.site_seconds + step.master_seconds)
        if run.late(min(half, STEPS_TO_A_SCHEDULE * pace)) or run.must_stop() or step.converged(tolerance):
            return
        if hopeful and loop.centre.carbon_price > RUNAWAY:
            hopeful = False
            doubt(run, workers)


def settle(run: Run, loop: LagrangianLoop, workers: Workers, keep: Keep) -> bool:
    """With all jobs fixed: settle the routing, by prices or by Benders, then the integral finish. True if cheaper."""
    started, phase = process_seconds(), run.phase
    workers.until = np.inf if run.incumbent is None else workers.end
    if run.options.method == "benders":
        run.phase = "benders"
        found = benders_finish(run.instance, loop, workers, run.options, lambda step: run.record(step, loop))
    else:
        run.phase = "finish"
        for _ in range(run.options.recovery.settle_iterations):
            step = loop.iterate()
            if run.record(step, loop) or step.converged(1e-5):
                break
        doubtful = partial(doubt, run, workers) if run.incumbent is None else None
        found = finish(run.instance, loop, workers, run.options.recovery, doubtful)
    better = run.offer(found)
    run.record(None, loop)
    if better:
        keep(run.result())
    run.finish_seconds, run.phase = process_seconds() - started, phase
    return better


def improve(run: Run, loop: LagrangianLoop, workers: Workers, keep: Keep) -> None:
    """Rounds of cluster moves; a finish whenever they bring little, larger clusters when that did not help."""
    options = run.options.improvement
    if run.search is None:
        rng = np.random.default_rng(run.options.seed)
        run.search = SearchState(Neighbours.of(loop.coupling), rng)
    search, run.phase = run.search, "improve"
    while loop.coupling.n_jobs and not run.must_stop() and search.stale < options.stale_finishes:
        until = run.deadline - 1.3 * run.finish_seconds
        started = process_seconds()
        present = search.effort(options)
        gained = improve_round(run.instance, loop, workers, search.neighbours, present, search.rng, until)
        for _ in range(options.iterations):
            run.record(loop.iterate(), loop)
        search.rounds += 1
        round_seconds = process_seconds() - started
        late = run.late(LEAST_ROUND * round_seconds + 1.3 * run.finish_seconds)
        if late or search.rounds >= present.rounds_per_finish or gained <= options.plateau * abs(run.cost):
            search.rounds = 0
            before = run.cost
            settle(run, loop, workers, keep)
            saved = before - run.cost if np.isfinite(run.cost) else 0.0
            if saved <= options.plateau * abs(run.cost):
                search.stale, search.level = search.stale + 1, search.level + 1
                if run.incumbent is not None:
                    if run.options.method == "hybrid":
                        replan(run, loop, workers, keep, patience=1, most=SAMPLE)
                    loop.refix(run.incumbent.fixing)
            if late:
                return


def replan(
    run: Run, loop: LagrangianLoop, workers: Workers, keep: Keep, patience: int, most: int | None = None
) -> None:
    """Groups of sites plan anew with what they have, ever larger ones, until so many rounds have brought little.

    `most` : groups of a round, those first that lose most at the prices; default: as many as cover the fleet.
    """
    search, options, phase, stale = run.search, run.options, run.phase, 0
    if search is None or run.incumbent is None:
        return
    run.phase = "replan"
    while stale < patience and not run.must_stop():
        loop.refix(run.incumbent.fixing)
        size = round(options.replan.sites * options.improvement.growth**stale)
        groups = clusters(search.neighbours, job_loss(loop), size, search.rng)[:most]
        before = run.incumbent
        schedule = replan_round(run.instance, before.schedule, workers, groups, options.replan, run.deadline)
        cost = account(run.instance, schedule).net_cost
        if run.offer(Incumbent(schedule, cost, fixing_of(loop.coupling, schedule))):
            keep(run.result())
        stale += before.cost - run.cost <= options.improvement.plateau * abs(run.cost)
        run.record(None, loop)
    run.phase = phase


def sharpen(run: Run, loop: LagrangianLoop) -> None:
    """Raise the bound further with all jobs free: since it was left, the sites have told more."""
    assert run.proof is not None
    fixing, loop.centre = loop.master.fixing, run.proof
    loop.refix(Fixing(*loop.coupling.free_jobs()))
    enough = 0.5 * run.seconds_left() if np.isfinite(run.options.time_limit_seconds) else 0.0
    for _ in range(MORE_ITERATIONS):
        step = loop.iterate()
        run.prove(loop.centre)
        run.record(step, loop)
        if run.late(enough) or run.must_stop() or step.converged(1e-6):
            break
    loop.refix(fixing)


def bound_integers(run: Run, loop: LagrangianLoop, workers: Workers, keep: Keep) -> None:
    """Raise the bound by the sites' MILPs at the best prices; the log says what it proves, never less than before.

    Sites whose jobs can run nowhere else choose them so, and the schedule follows.
    """
    run.phase, run.deadline = "milp bound", run.since + run.options.time_limit_seconds
    if run.proof is None or run.must_stop():
        return
    sharpen(run, loop)
    if run.must_stop():
        return
    left = run.seconds_left() - 1.3 * run.finish_seconds * bool((loop.coupling.homes[1] >= 0).any())
    spare = SHARE * run.options.rel_gap * abs(run.bound)
    proof = milp_bound(run.instance, loop.coupling, workers, run.proof, run.options.milp_bound, left, spare)
    run.strengthen(proof.bound, dual_of_work(run.instance, run.proof.price, proof))
    run.record(None, loop)
    if proof.taken and not run.must_stop():
        loop.refix(proof.refixed(loop.master.fixing))
        settle(run, loop, workers, keep)
