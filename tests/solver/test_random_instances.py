"""The whole method against the extensive form, on tiny random instances that switch every feature on and off."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from decomp.certificate import check
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.model.options import Options
from decomp.model.result import Status
from decomp.ranks.mpi import Serial
from decomp.solver.solve import solve

pytestmark = pytest.mark.slow

CHUNKS, WIDTH = 20, 1000
DRAWS = int(os.environ.get("DECOMP_RANDOM_DRAWS", "3"))  # of every chunk
GOAL = 1e-4
OPTIONS = Options.from_dict(
    dict(rel_gap=GOAL, improvement=dict(stale_finishes=1), moves=dict(programs=30), branching=dict(nodes=50))
)
METHODS = ("lagrangian", "benders", "hybrid")


@pytest.mark.parametrize("chunk", range(CHUNKS))
@settings(max_examples=DRAWS, derandomize=True, deadline=None, phases=[Phase.generate], database=None)
@given(data=st.data())
def test_bound_below_optimum_below_schedule(chunk: int, data: st.DataObject) -> None:
    """bound <= optimum <= incumbent on random instances, and the certificate re-proves both."""
    seed = data.draw(st.integers(WIDTH * chunk, WIDTH * (chunk + 1) - 1), label="seed")
    method = data.draw(st.sampled_from(METHODS), label="method")
    assert not faults_of(seed, method)


def test_hybrid_closes_small_fleets() -> None:
    """At least nine of ten reach the goal."""
    reached = [solve(generate("small", seed=seed), Serial(), OPTIONS).gap_rel <= GOAL for seed in range(500, 510)]
    assert np.mean(reached) >= 0.9


def faults_of(seed: int, method: str) -> list[str]:
    instance = generate("small", seed=seed)
    result = solve(instance, Serial(), OPTIONS.updated(method=method))
    truth = solve_extensive(instance, time_limit=600.0)
    assert result is not None
    if truth.status is Status.INFEASIBLE:
        return [] if result.schedule is None else ["a schedule of an infeasible instance"]
    assert truth.status in (Status.GAP_REACHED, Status.LIMIT)
    slack = 1e-6 * max(1.0, abs(truth.bound))
    found = []
    if not result.bound <= truth.incumbent + slack:
        found.append(f"bound {result.bound} above a schedule of {truth.incumbent}")
    if not truth.bound <= result.incumbent + slack:
        found.append(f"schedule of {result.incumbent} below the optimum {truth.bound}")
    if result.schedule is None:
        found.append("no schedule")
    if not np.isfinite(result.bound):
        found.append("no bound")
    return found + [str(f) for f in check(instance, result).findings]
