"""The rival for scenarios: what it cannot be given; its subproblems, where mpi-sppy is installed."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from decomp.bench.hedging import hedge
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.files.store import write_instance
from decomp.model.instance import InputError
from decomp.model.scenarios import with_scenarios, without_scenarios
from drivers.cases import ROWS
from running import CHECKOUT


def test_what_joins_scenarios_besides_jobs_is_refused() -> None:
    instance = with_scenarios(generate("small", seed=4), [0.5, 0.5], {})
    tight = replace(instance, carbon_budget_t=1.0, carbon_excess_usd_per_t=10.0)
    for wrong, words in (
        (without_scenarios(instance), "there are none"),
        (replace(instance, risk_weight=0.5), "joined by commitments or by risk"),
        (tight, "carbon_budget_t: may bind"),
    ):
        with pytest.raises(InputError, match=words):
            hedge(wrong, 1.0, 0.1, lambda status, bound, cost: None)


def test_rows_with_scenarios_have_their_own_name_and_no_budget() -> None:
    case = ROWS["10x10"]
    assert case.label == "fleet-10-scenarios" and case.name(7) == "fleet-10-7-10-scenarios"
    assert case.settings == ["--set", "scenarios=10", "--set", "budget=100"]
    assert ROWS["10"].label == "fleet" and ROWS["10"].settings == []
    assert case.rivals == ("scip", "highs-milp", "mpi-sppy") == ROWS["10x10-300s"].rivals


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mpisppy") is None, reason="needs mpi-sppy")
def test_it_encloses_the_optimum(tmp_path: Path, mpirun: Callable[..., Any]) -> None:
    instance = generate("fleet", sites=2, periods=6, jobs=4, scenarios=2, budget=100.0)
    write_instance(tmp_path / "fleet.h5", instance)
    words = ("mpi-sppy", tmp_path / "fleet.h5", "--time-limit", 3600, "--rel-gap", 0.01)
    done = mpirun(3, "drivers.rivals", *words, PYTHONPATH=os.environ.get("PYTHONPATH", str(CHECKOUT)))
    assert done.returncode == 0, done.stderr
    last = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")][-1]
    truth = solve_extensive(instance, time_limit=600.0)
    slack = 1e-5 * abs(truth.incumbent)
    assert last["bound"] <= truth.incumbent + slack and truth.bound <= last["incumbent"] + slack
