"""The bound of a solve by decomposition: its loop, the phase that raises it, and doubts that there is a schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from decomp.bound.coupling import Coupling, Fixing
from decomp.bound.infeasible import refuse
from decomp.bound.lagrangian import LagrangianLoop, first_prices
from decomp.site.faults import SiteFailure
from decomp.site.grid_ban import Ban, tempting
from decomp.solver.temptation import keep_ban, keep_ban_from_here, remove_temptation
from decomp.state.solve_state import Outcome, Run

STEPS_TO_A_SCHEDULE = 40  # iterations whose time the bound leaves for the dive and the completion of a schedule
MORE_ITERATIONS = 60  # of the bound before the sites' MILPs
ONE_WAY_SHARE = 0.2  # of the time left after the first schedule, at most, for the bound by answers that keep the ban
RUNAWAY = 1e4  # USD/t; at a larger carbon price the run checks whether the budget can be kept at all


def first_loop(run: Run) -> LagrangianLoop:
    """The loop of the bundle method, started at the multipliers given to the run or at marginal costs of energy.

    Raises
    ------
    Infeasible : the subproblem of a site has no solution, and the instance is proved infeasible.
    SiteFailure : the subproblem of a site has no solution, for another reason.
    """
    instance, bundle, start, coupling = run.instance, run.options.bundle, run.start, Coupling.of(run.instance)
    try:
        if start is None:
            price = first_prices(coupling, instance.sites, instance.carbon_price_usd_per_t)
            return LagrangianLoop(coupling, run.workers, coupling.multipliers(price), bundle)
        bundle, first = replace(bundle, step=start.step), coupling.multipliers(start.price, start.carbon_price)
        return LagrangianLoop(coupling, run.workers, first, bundle, start.columns)
    except SiteFailure:
        doubt(run)
        raise


def apart(loop: LagrangianLoop) -> bool:
    """Whether the fleet separates: all work has one candidate site and the carbon budget is slack.

    Then the MILPs of the sites solve the whole problem.
    """
    return loop.centre.carbon_price == 0.0 and all((home >= 0).all() for home in loop.coupling.homes)


def doubt(run: Run) -> None:
    """Try to prove that the instance is infeasible; raises Infeasible if that succeeds."""
    ban = run.ban
    run.ask_so(run.proof_ban)
    refuse(run.instance, run.workers, run.options.bundle, run.must_stop)
    run.ask_so(ban)


def doubts(run: Run) -> Callable[[], None] | None:
    """The infeasibility check for phases that find no schedule; None once there is an incumbent."""
    return partial(doubt, run) if run.incumbent is None else None


def _tolerance(run: Run) -> float:
    """A tenth of the gap asked for, within limits; relative."""
    return float(np.clip(0.1 * run.options.rel_gap, 1e-6, 1e-4))


def raise_bound(run: Run) -> Outcome:
    """Phase: the Lagrangian bound with all jobs free, to a tenth of the gap asked for."""
    tolerance = _tolerance(run)
    iterate_bound(run, tolerance)
    if not tempting(run.instance) or run.instance.copies > 1 or run.must_stop():
        return Outcome.DONE
    if remove_temptation(run) or keep_ban(run, tolerance):
        iterate_bound(run, tolerance)
    return Outcome.DONE


def raise_one_way_bound(run: Run) -> Outcome:
    """Phase: the bound with the ban on importing and exporting at once, where the schedule was sought without it.

    Each iteration takes a MILP of every site, so that it comes after the first schedule. The search then goes on as it
    was, with the jobs as they were fixed.
    """
    if run.ban is not Ban.UNTEMPTED or run.must_stop():
        return Outcome.SKIPPED
    fixing, tolerance, run.phase = run.loop.master.fixing, _tolerance(run), "bound"
    run.loop.refix(Fixing(*run.loop.coupling.free_jobs()))
    iterate_bound(run, tolerance)
    if keep_ban_from_here(run, tolerance):
        iterate_bound(run, tolerance, share=ONE_WAY_SHARE)
        run.ask_so(Ban.UNTEMPTED)
    run.loop.refix(fixing)
    return Outcome.DONE


def iterate_bound(run: Run, tolerance: float, hopeful: bool = True, share: float = 0.5) -> None:
    """Iterate with all jobs free until the predicted increase is small (`tolerance`, relative) or time is up.

    `hopeful` : check once for infeasibility if the carbon price exceeds RUNAWAY. `share` : of the time left, at most.
    """
    loop = run.loop
    run.prove(loop.centre)
    enough, pace = (1.0 - share) * run.seconds_left(), np.inf
    for _ in range(run.options.bundle.max_iterations - len(run.log)):
        step = loop.iterate()
        run.prove(loop.centre)
        run.record(step)
        pace = min(pace, step.site_seconds + step.master_seconds)
        if run.late(min(enough, STEPS_TO_A_SCHEDULE * pace)) or run.must_stop() or step.converged(tolerance):
            return
        if hopeful and loop.centre.carbon_price > RUNAWAY:
            hopeful = False
            doubt(run)


def sharpen(run: Run) -> None:
    """Iterate once more with all jobs free: the bundle has grown since the bound was last raised."""
    assert run.proof is not None
    loop, fixing, run.loop.centre = run.loop, run.loop.master.fixing, run.proof
    loop.refix(Fixing(*loop.coupling.free_jobs()))
    if loop.coupling.copies > 1:  # with jobs fixed the step has adapted to another function; in scenarios it is short
        loop.master.step = run.options.bundle.step
    enough = 0.5 * run.seconds_left() if np.isfinite(run.options.time_limit_seconds) else 0.0
    for _ in range(MORE_ITERATIONS):
        step = loop.iterate()
        run.prove(loop.centre)
        run.record(step)
        if run.late(enough) or run.must_stop() or step.converged(1e-6):
            break
    loop.refix(fixing)
