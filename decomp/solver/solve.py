"""A whole solve: bound, dive, finish, improvement, MILP bound, branching, replanning; the order and nothing else.

Every rank calls `solve`; the root decides and the others serve it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from decomp.bound.coupling import Coupling
from decomp.bound.infeasible import Infeasible
from decomp.bound.lagrangian import LagrangianLoop, Start, first_prices
from decomp.exact.branching import branch
from decomp.exact.whole import finish_whole
from decomp.files.hdf5 import PathLike
from decomp.model.instance import Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.ranks.clock_decisions import Stops
from decomp.ranks.mpi import Team
from decomp.ranks.team import Interrupted
from decomp.ranks.timesheet import OTHER
from decomp.ranks.workers import Workers
from decomp.schedule.dive import dive, keep_decided
from decomp.site.faults import SiteFailure
from decomp.site.service import SiteReader, muster
from decomp.solver.phases import apart, bound_integers, doubt, improve, raise_bound, replan, settle
from decomp.state.checkpoint import Checkpoint, Saver, resume
from decomp.state.solve_state import Keep, Listener, Run


def solve(
    instance: Instance | None,
    team: Team,
    options: Options,
    *,
    read: SiteReader | None = None,
    listeners: Iterable[Listener] = (),
    keep: Keep | None = None,
    checkpoint: tuple[PathLike, float] | None = None,
    saved: Checkpoint | None = None,
    beside: PathLike | None = None,
    start: Start | None = None,
    since: float = 0.0,
    after: Callable[[Run], None] | None = None,
    stops: Stops | None = None,
) -> Result | None:
    """Solve an instance on all ranks of a team.

    Parameters
    ----------
    instance : at the root; other ranks may pass None.
    team : `Serial()` or `MPI(comm)`.
    options : the same on every rank.
    read : returns (Sites, Generators) of given rows; default takes them from the root's instance.
    listeners : told of every iteration (root only).
    keep : called with the result so far whenever the schedule improves (root only).
    checkpoint : file for checkpoints, and seconds between two (root only).
    saved : where to go on from (root only).
    beside : files on sites whose solver fails are named after this one (root only).
    start : prices to start from (root only); default: the marginal cost of energy.
    since : seconds of the process before this solve, from which its time limit counts (root only).
    after : called with the run at its end (root only).
    stops : a recorded run to repeat, or who is told what is cut short (root only).

    Returns
    -------
    The result at the root, None on the others.
    """
    workers = muster(instance, Workers(team), read, beside)
    if not team.is_root:
        with team.sheet.section(OTHER):
            workers.serve()
        return None
    assert instance is not None
    run, keep = Run(instance, team, options, listeners, since, stops), keep or (lambda result: None)
    workers.stops, workers.end = run.stops, since + options.time_limit_seconds
    saver = Saver(run, *checkpoint) if checkpoint else None
    run.listeners += [saver] if saver else []
    try:
        with team.sheet.section(OTHER), suppress(Interrupted):
            try:
                loop = lagrangian(run, workers, keep, saved, start)
                if options.method == "hybrid":
                    with team.sheet.section("branching"):
                        branch(run, loop, keep)
                    with team.sheet.section("extensive form"):
                        finish_whole(run, loop, keep)
                    with team.sheet.section("recovery"):
                        replan(run, loop, workers, keep, options.improvement.stale_finishes)
            except Infeasible as proof:
                run.infeasible = proof
        run.rank_seconds = workers.rank_seconds()
        if saver and run.infeasible is None:
            saver.save()
        if after is not None:
            after(run)
    finally:
        workers.dismiss()
    return run.result()


def lagrangian(
    run: Run, workers: Workers, keep: Keep, saved: Checkpoint | None, start: Start | None = None
) -> LagrangianLoop:
    """Bound, dive, finish; but for Benders alone, improvement while gap and time are open; then the sites' MILPs."""
    instance, options = run.instance, run.options
    coupling = Coupling.of(instance)
    if saved:
        loop = resume(saved, run, coupling, workers)
    else:
        price = first_prices(coupling, instance.sites, instance.carbon_price_usd_per_t)
        try:
            if start is None:
                loop = LagrangianLoop(coupling, workers, price, 0.0, options.bundle)
            else:
                bundle = replace(options.bundle, step=start.step)
                loop = LagrangianLoop(coupling, workers, start.price, start.carbon_price, bundle, start.columns)
        except SiteFailure:
            doubt(run, workers)
            raise
    if run.phase == "bound":
        raise_bound(run, loop, workers)
        run.phase = "dive"
    with run.team.sheet.section("recovery"):
        if run.phase == "dive" or options.method == "benders":
            if start is not None and start.fixing is not None:
                keep_decided(loop, start.fixing)
            dive(loop, options.recovery, lambda step: run.record(step, loop))
            settle(run, loop, workers, keep)
        if options.method != "benders" and not apart(loop):
            improve(run, loop, workers, keep)
    bound_integers(run, loop, workers, keep)
    return loop
