"""The whole fleet in SCIP, beside the decomposition: each begins where the other has got to.

Prices and neighbourhoods find a good schedule of a small fleet within seconds, and may then be stuck where a tree over
the whole model is not. So on one rank SCIP searches the fleet in one model from the first second, in a process of its
own; while the other ranks search neighbourhoods, that rank leaves its core to it. After every round it is given the
best schedule known, and asked for a better one. What it finds depends on the clock; it is asked only in runs with a
time limit, and what it answers is in the log, for replays.
Its dual bound is not claimed: nothing but SCIP itself could prove it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from decomp.lp.scip import Limits
from decomp.model.accounts import account
from decomp.model.instance import Array
from decomp.schedule.incumbent import Incumbent, fixing_of
from decomp.search.fleet_model import Begin, Beside, Exchange
from decomp.state.solve_state import Outcome, Run

LITTLE = 1e-7  # relative; a schedule that is no cheaper than that is no news
PAUSE_SECONDS = 0.25  # between two questions when nothing else is left to do


def begin_beside(run: Run) -> Outcome:
    """Let SCIP begin, if the fleet is small enough, there is a time limit, and SCIP is installed."""
    instance, options = run.instance, run.options
    size = instance.n_sites * instance.n_periods
    small = options.closing.site_periods < size <= options.beside.site_periods
    limited, made = np.isfinite(options.time_limit_seconds), list[Beside]()

    def begun() -> bool:
        if not small or instance.copies > 1 or not limited:
            return False
        made.append(Beside(instance, run.workers))
        seconds = run.since + options.time_limit_seconds - run.team.clock()
        return made[0].rank.begin(Begin(made[0].fleet.model, Limits(max(seconds, 0.0)), options.seed))

    # Asked in every run, with a time limit or without, so that a replay counts the same questions.
    if not run.stops.ask(begun):
        return Outcome.SKIPPED
    run.beside = made[0] if made else Beside(instance, run.workers)
    return Outcome.DONE


@contextmanager
def sparing(run: Run) -> Iterator[None]:
    """Inside, the rank on which SCIP searches gets no tasks: its core is SCIP's."""
    ranks = run.team.size
    busy = run.beside is not None and not run.beside.ended and ranks > 1
    run.workers.spared = frozenset([ranks - 1] if busy else [])
    try:
        yield
    finally:
        run.workers.spared = frozenset()


def consult(run: Run) -> bool:
    """Give SCIP the best schedule and take a better one; whether there was one. The jobs stay fixed where they are."""
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


def _offer(run: Run, beside: Beside, integers: Array) -> Array | None:
    """Offer the best schedule with these integers as incumbent; its point."""
    point = beside.fleet.point(integers)
    if point is not None:
        schedule = beside.fleet.schedule(point)
        cost = account(run.instance, schedule).net_cost
        run.offer(Incumbent(schedule, cost, fixing_of(run.loop.coupling, schedule)))
    return point


def await_beside(run: Run) -> Outcome:
    """With nothing else left to do: wait for SCIP until time is over."""
    if run.beside is None:
        return Outcome.SKIPPED
    consult(run)
    while not run.beside.ended and not run.must_stop():
        if not run.stops.replayed:
            time.sleep(PAUSE_SECONDS)
        consult(run)
    return Outcome.DONE
