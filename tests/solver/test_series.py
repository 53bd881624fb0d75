"""Several solves led by the root: the same on several ranks, and whatever fails ends all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from decomp.families import generate
from decomp.ranks.mpi import Serial
from decomp.solver.solve import solve
from running import Finished
from solver.series_program import BRIEF, SEEDS

PROGRAM = Path(__file__).with_name("series_program.py")


def test_all_ranks_solve_what_the_root_asks_for(mpirun: Callable[..., Finished]) -> None:
    done = mpirun(2, PROGRAM, "none")
    alone = [solve(generate("small", seed=seed), Serial(), BRIEF) for seed in SEEDS]
    assert (done.returncode, done.stderr) == (0, "")
    assert [float(word) for word in done.stdout.split()] == [result.incumbent for result in alone if result]


@pytest.mark.parametrize(
    ("fault", "code", "said"), [("of the root", 2, "error: the third is missing\n"), ("of all", 5, "")]
)
def test_a_failure_ends_all_ranks(fault: str, code: int, said: str, mpirun: Callable[..., Finished]) -> None:
    done = mpirun(2, PROGRAM, fault)
    assert done.returncode == code and done.stdout == ""
    assert done.stderr == said if said else "Traceback" in done.stderr
