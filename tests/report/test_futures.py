"""Scenarios in the report: quantiles by probability, the median scenario, and a page that draws them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.model.accounts import account, by_scenario
from decomp.model.result import Status
from decomp.report import render
from decomp.report.futures import scenario_sheet, typical, weighted_quantiles


def test_quantiles_go_by_probability() -> None:
    values, p = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 9.0]]), np.array([0.2, 0.7, 0.1])
    assert weighted_quantiles(values, p, (0.05, 0.5, 0.95)).tolist() == [[1.0, 1.0], [1.0, 2.0], [3.0, 9.0]]


@pytest.mark.slow
def test_a_page_with_fans_and_the_costs_of_all_scenarios() -> None:
    instance = generate("small", seed=11, scenarios=4)
    instance = replace(instance, scenarios=replace(instance.scenarios, name=np.array(["calm", "dear", "windy", "hot"])))
    result = solve_extensive(instance, time_limit=20.0)
    assert result.schedule is not None
    cost = np.array([a.net_cost for a in by_scenario(instance, result.schedule)])
    alone, part, name = typical(instance, result)
    at = instance.scenarios.name.tolist().index(name)
    assert (cost < cost[at]).sum() == 1  # the second of four
    assert part.schedule is not None and alone.n_scenarios == 0
    assert account(alone, part.schedule).net_cost == pytest.approx(cost[at])
    rows = scenario_sheet(instance, by_scenario(instance, result.schedule)).rows
    assert [row[0] for row in rows] == instance.scenarios.name[np.argsort(-cost, kind="stable")].tolist()
    page = render(instance, result)
    for words in ("What may come", "What it may cost", "mean price of energy", *instance.scenarios.name, "25% to 75%"):
        assert str(words) in page
    nothing = replace(result, status=Status.LIMIT, schedule=None, incumbent=np.inf)
    assert "What may come" not in render(instance, nothing)
