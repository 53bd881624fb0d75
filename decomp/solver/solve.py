"""A whole solve: the phases of its method one after the other, and nothing else.

Every rank calls `solve`; the root decides and the others serve it.
"""

from __future__ import annotations

from dataclasses import replace

from decomp.bound.infeasible import Infeasible
from decomp.bound.lagrangian import Start
from decomp.lp.watch import Interrupted
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Iteration, Result
from decomp.model.scenarios import expand
from decomp.ranks.clock import process_seconds
from decomp.ranks.mpi import Team
from decomp.ranks.timesheet import OTHER
from decomp.ranks.workers import Workers
from decomp.site.service import SiteReader, muster
from decomp.solver.bounding import first_loop
from decomp.solver.methods import phases_left
from decomp.state.checkpoint import Checkpoint, Saver, resume
from decomp.state.solve_state import Hooks, Run, provenance


def solve(
    instance: Instance | None,
    team: Team,
    options: Options,
    *,
    read: SiteReader | None = None,
    hooks: Hooks | None = None,
    start: Start | Checkpoint | None = None,
    since: float = 0.0,
) -> Result | None:
    """Solve an instance on all ranks of a team, by the method of the options.

    Parameters
    ----------
    instance : at the root; other ranks may pass None. With scenarios, it is solved with all of them side by side.
    team : `Serial()` or `MPI(comm)`.
    options : the same on every rank.
    read : returns the microgrids of given sites; default takes them from the root's instance.
    hooks : who is told, what is written beside the result, and a run to repeat (root only).
    start : prices to start from, or a saved state to go on from (root only); default: the marginal cost of energy.
    since : seconds of the process before this solve, from which its time limit counts (root only).

    Returns
    -------
    The result at the root, None on the others.

    Raises
    ------
    InputError : the extensive form is asked to save a state, to go on from one or to repeat a run; on all ranks.
    """
    hooks = hooks or Hooks()
    if options.method == "extensive":
        with team.patient():
            return team.at_root(lambda: _extensive(instance, team, options, hooks, start, since), "extensive form")
    instance = None if instance is None else expand(instance)
    workers = muster(instance, Workers(team), read, hooks.beside)
    if not team.is_root:
        with team.sheet.section(OTHER):
            workers.serve()
        return None
    assert instance is not None
    run = Run(instance, workers, options, hooks, since)
    workers.stops = run.stops
    workers.limit(since + options.time_limit_seconds)
    saver = Saver(run, *hooks.checkpoint) if hooks.checkpoint else None
    run.listeners += [saver] if saver else []
    try:
        with team.sheet.section(OTHER):
            _work(run, start)
        run.rank_seconds = workers.rank_seconds()
        if saver and run.infeasible is None:
            saver.save()
        hooks.after(run)
    finally:
        workers.dismiss()
    return run.result()


def _work(run: Run, start: Start | Checkpoint | None) -> None:
    """Go through the phases that are before the run, unless one proves that there is no schedule, or is cut short."""
    try:
        if isinstance(start, Checkpoint):
            run.present = resume(start, run)
        else:
            run.start = start
            run.present = first_loop(run)
        for phase in phases_left(run.options.method, run.phase):
            with run.team.sheet.section(phase.section):
                phase.work(run)
    except Infeasible as proof:
        run.infeasible = proof
    except Interrupted:
        run.stops.cut()


def refuse_state(options: Options, asked: bool) -> None:
    """Refuse to save a state, to go on from one or to repeat a run, if that is asked of a method that has none."""
    if asked and options.method == "extensive":
        raise InputError(
            "--checkpoint, --resume, --replay: the extensive form leaves no state to save, and starts from none"
        )


def _extensive(
    instance: Instance | None,
    team: Team,
    options: Options,
    hooks: Hooks,
    start: Start | Checkpoint | None,
    since: float,
) -> Result | None:
    """Everything in one model, solved by HiGHS at the root: the truth for small instances."""
    if instance is None or not team.is_root:
        return None
    saved = isinstance(start, Checkpoint)
    refuse_state(options, bool(saved or hooks.checkpoint or (hooks.stops and hooks.stops.replayed)))
    from decomp.extensive.pyomo_model import solve_extensive  # pyomo takes a second to import

    def report(it: Iteration) -> None:
        for listener in hooks.listeners:
            listener.row(it)

    seconds = since + options.time_limit_seconds - process_seconds()
    result = solve_extensive(instance, time_limit=seconds, rel_gap=options.rel_gap, report=report)
    return replace(result, provenance={**provenance(instance, options, 1), **result.provenance})
