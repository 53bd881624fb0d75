"""Fleets whose sites would gain by importing and exporting at once, which is banned (5).

The bound of such a fleet rests on answers that keep the ban. The search for schedules does not: between importing and
exporting its prices see a mixture of both, which is no schedule. It goes by answers that have no reason to do both.
Those take no MILPs, so that there is a schedule before the bound is raised; they are points of sites that keep the ban,
at no fewer tonnes than they count for, so that their columns serve the bound as well.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

import numpy as np

from decomp.bound.lagrangian import LagrangianLoop
from decomp.model.instance import Array
from decomp.site.faults import SiteFailure
from decomp.site.grid_ban import Ban, credited
from decomp.state.solve_state import Run

COLUMNS_ASKED_AGAIN = 6  # of each site, whose prices a new loop asks for first


def keep_ban(run: Run, tolerance: float) -> bool:
    """Keep the ban in the sites' answers, in a new loop, where the bound rests on breaking it; whether that is so.

    Not if the ban raises the bound by no more than `tolerance` (relative) at the best multipliers, or if the columns
    that the new loop begins with would take more than half of the time that is left.
    """
    assert run.proof is not None
    before, prices = run.proof.bound, _most_used(run)
    run.ask_so(Ban.KEPT)
    began = time.perf_counter()
    with suppress(SiteFailure):  # cut short
        gained = _loop_again(run, prices[:0]).centre.bound - before > tolerance * max(abs(before), 1.0)
        if gained and not run.late(2.0 * len(prices) * (time.perf_counter() - began)):
            run.present = _loop_again(run, prices)
            return True
    run.ask_so(Ban.RELAXED)
    return False


def remove_temptation(run: Run) -> bool:
    """Credit exports with no more carbon than imports are charged with, in a new loop; whether that matters.

    A schedule found so keeps the budget with all credits, too.
    """
    if run.proof is None or run.proof.carbon_price == 0.0 or not credited(run.instance):
        return False
    prices = _most_used(run)
    run.ask_so(Ban.UNTEMPTED)
    with suppress(SiteFailure):  # cut short
        run.present = _loop_again(run, prices)
        return True
    return False


def keep_ban_from_here(run: Run, tolerance: float) -> bool:
    """Keep the ban in the answers to a loop without temptation; whether its multipliers prove more so than any before.

    Its columns are points of sites that keep the ban, so that it goes on: from its multipliers, or from those that
    prove most without the ban, if without all credits the budget cannot be kept.
    """
    assert run.proof is not None
    loop, proof = run.loop, run.proof
    run.ask_so(Ban.KEPT)
    loop.centre = replace(loop.centre, bound=-np.inf)  # what it proved it proves no more
    for prices in (loop.centre.prices, proof.prices):
        loop.prove_at(prices)
    if loop.centre.bound - proof.bound > tolerance * max(abs(proof.bound), 1.0):
        return True
    run.ask_so(Ban.UNTEMPTED)
    return False


def restore_temptation(run: Run) -> None:
    """Credit exports again with all that they are credited with, at the multipliers that prove most."""
    if run.ban is Ban.UNTEMPTED:
        assert run.proof is not None
        run.ask_so(run.proof_ban)
        run.loop.centre = run.proof
        run.loop.refix(run.loop.master.fixing)


def _most_used(run: Run) -> Array:
    """Prices (K, S, T) of the columns that the master used most."""
    return np.moveaxis(run.loop.master.most_used(COLUMNS_ASKED_AGAIN), 1, 0)


def _loop_again(run: Run, prices: Array) -> LagrangianLoop:
    """A new loop at the multipliers that prove most, with columns at further `prices` (K, S, T)."""
    assert run.proof is not None
    coupling = run.loop.coupling
    first = coupling.multipliers(run.proof.price, run.proof.carbon_price)
    return LagrangianLoop(coupling, run.workers, first, run.options.bundle, prices)
