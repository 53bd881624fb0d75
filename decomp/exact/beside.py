"""SCIP on the whole fleet, concurrently with the decomposition; both exchange their best schedules.

The decomposition finds a good schedule of a small fleet within seconds, but its neighbourhoods may not contain a better
one that branch and bound on the whole model finds. So SCIP solves the fleet's MILP from the start of the run, in a
process of its own on the last rank; while neighbourhoods are searched, that rank gets no tasks. After every round SCIP
is given the best schedule and asked for a better one. What it finds depends on the clock, so it takes part only in runs
with a time limit, and its answers are in the log, for replays.
Its dual bound is not used: the certificate could not prove it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from decomp.lp.scip import Limits
from decomp.model.instance import Array
from decomp.schedule.incumbent import incumbent_of
from decomp.search.fleet_model import Begin, ConcurrentSearch, Exchange
from decomp.state.solve_state import Outcome, Run

LITTLE = 1e-7  # relative; a schedule that is less than that cheaper is not exchanged
PAUSE_SECONDS = 0.25  # between two questions when no other phase is left


def begin_beside(run: Run) -> Outcome:
    """Phase: start SCIP, if the fleet is small without being tiny, has no scenarios, and the run has a time limit."""
    instance, options = run.instance, run.options
    size = instance.n_sites * instance.n_periods
    small = options.closing.site_periods < size <= options.beside.site_periods
    limited, made = np.isfinite(options.time_limit_seconds), list[ConcurrentSearch]()

    def begun() -> bool:
        if not small or instance.copies > 1 or not limited:
            return False
        made.append(ConcurrentSearch(instance, run.workers))
        seconds = run.since + options.time_limit_seconds - run.team.clock()
        return made[0].rank.begin(Begin(made[0].fleet.model, Limits(max(seconds, 0.0)), options.seed))

    # Asked in every run, with a time limit or without, so that a replay counts the same questions.
    if not run.stops.ask(begun):
        return Outcome.SKIPPED
    run.beside = made[0] if made else ConcurrentSearch(instance, run.workers)
    return Outcome.DONE


@contextmanager
def sparing(run: Run) -> Iterator[None]:
    """Context in which the rank of SCIP gets no tasks."""
    ranks = run.team.size
    busy = run.beside is not None and not run.beside.ended and ranks > 1
    run.workers.spared = frozenset([ranks - 1] if busy else [])
    try:
        yield
    finally:
        run.workers.spared = frozenset()


def consult(run: Run) -> bool:
    """Exchange best schedules with SCIP; True if SCIP had a better one.

    A better schedule becomes the incumbent; the fixing of jobs in the loop stays as it is.
    """
    beside = run.beside
    if beside is None or beside.ended:
        return False
    before, point = run.cost, None
    if run.incumbent is not None and before < beside.known - LITTLE * abs(before):
        point = _offer(run, beside, beside.fleet.integers(run.incumbent.schedule))
    answer = run.stops.ask(lambda: beside.rank.exchange(Exchange(point)))
    if answer:
        integers, beside.ended = answer
        if integers is not None:
            _offer(run, beside, np.array(integers, dtype=float))
    beside.known = run.cost
    if run.cost >= before - LITTLE * abs(run.cost):
        return False
    phase, run.phase = run.phase, "scip"
    run.record(None)
    run.phase = phase
    run.keep(run.result())
    return True


def _offer(run: Run, beside: ConcurrentSearch, integers: Array) -> Array | None:
    """Offer the cheapest schedule with these integers (k,) as incumbent; its point (column,), None if there is none."""
    point = beside.fleet.point(integers)
    if point is not None:
        run.offer(incumbent_of(run.instance, run.loop.coupling, beside.fleet.schedule(point)))
    return point


def await_beside(run: Run) -> Outcome:
    """Phase: no other phase is left; take better schedules of SCIP until it ends or the run must stop."""
    if run.beside is None:
        return Outcome.SKIPPED
    consult(run)
    while not run.beside.ended and not run.must_stop():
        if not run.stops.replayed:
            time.sleep(PAUSE_SECONDS)
        consult(run)
    return Outcome.DONE
