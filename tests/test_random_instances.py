"""The whole method against the extensive form, on tiny random instances that switch every feature on and off."""

from __future__ import annotations

import numpy as np
import pytest

from decomp.certificate import check
from decomp.extensive import solve_extensive
from decomp.families import generate
from decomp.options import Options
from decomp.result import Status
from decomp.solve import solve
from decomp.team import Serial

SEEDS, CHUNK = 200, 10
OPTIONS = Options.from_dict(dict(improvement=dict(stale_finishes=1)))


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_bound_below_optimum_below_schedule(first: int) -> None:
    """bound <= optimum <= incumbent, and the certificate re-proves both; all faults of a chunk are shown."""
    faults = [f"seed {seed}: {fault}" for seed in range(first, first + CHUNK) for fault in faults_of(seed)]
    assert not faults


def faults_of(seed: int) -> list[str]:
    instance = generate("small", seed=seed)
    result = solve(instance, Serial(), OPTIONS)
    truth = solve_extensive(instance, time_limit=5.0)
    assert result is not None and truth.status in (Status.GAP_REACHED, Status.LIMIT)
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
    objections = check(instance, result).findings
    return found + [str(f) for f in objections if not (result.schedule is None and f.rule == "schedule")]
