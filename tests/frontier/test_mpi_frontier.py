"""The same frontier on any number of ranks, and a certificate that accepts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from decomp.families import generate
from decomp.files.frontiers import read_frontier
from decomp.files.store import write_instance
from drivers.check import main as check_main
from drivers.common import run


def test_same_curves_on_one_and_three_ranks(tmp_path: Path, mpirun: Callable[..., Any]) -> None:
    fleet = tmp_path / "fleet.h5"
    write_instance(fleet, generate("fleet", sites=4, periods=12, jobs=8, period_h=1.0, seed=2))
    told, found = [], []
    for n in (1, 3):
        out = tmp_path / f"frontier-{n}.h5"
        done = mpirun(n, "drivers.frontier", fleet, "-o", out, "--budgets", "3", "--quiet")
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
        found.append(read_frontier(out))
    assert told[0] == told[1] and "at most" in told[0]
    budgets = np.linspace(found[0].budgets[0], found[0].budgets[-1], 500)
    assert (found[1].upper(budgets) == found[0].upper(budgets)).all()
    assert (found[1].lower(budgets) == found[0].lower(budgets)).all()
    assert run(check_main, [str(fleet), str(out)]) == 0
