"""All that joins scenarios at once, with a device, by Benders and by prices: the same on several ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import together
from decomp.extensive.pyomo_model import solve_extensive
from decomp.ranks.mpi import Serial


@cache
def alone() -> list[dict[str, Any]]:
    found = [together.solved(Serial(), *words) for words in together.ASKED]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


@pytest.mark.slow
def test_bounds_and_schedules_are_proved() -> None:
    for found, (_, scope) in zip(alone(), together.ASKED, strict=True):
        truth = solve_extensive(together.together(scope), time_limit=600.0)
        assert found["findings"] == []
        slack = 1e-6 * abs(truth.incumbent)
        assert found["bound"] <= truth.incumbent + slack and truth.bound <= found["incumbent"] + slack


def test_the_same_on_three_ranks(mpirun: Callable[..., Any], tmp_path: Path) -> None:
    done = mpirun(3, together.__file__, tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "found.json").read_text()) == alone()
