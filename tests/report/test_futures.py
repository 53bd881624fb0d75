"""Scenarios in the report: quantiles by probability, the median scenario, and a page that draws them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from decomp.evaluation.evaluate import ChangedJob, Evaluation, Interval, costs
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.model.accounts import account, by_scenario
from decomp.model.instance import SECOND_STAGE
from decomp.model.result import Schedule, Status
from decomp.model.scenarios import with_scenarios
from decomp.report import render
from decomp.report.futures import fans, scenario_sheet, typical, weighted_quantiles
from decomp.report.plans import answers, moved_gpu, plan_sheets, spread_sheets
from decomp.report.words import figures
from tiny import tiny


def test_quantiles_go_by_probability() -> None:
    values, p = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 9.0]]), np.array([0.2, 0.7, 0.1])
    assert weighted_quantiles(values, p, (0.05, 0.5, 0.95)).tolist() == [[1.0, 1.0], [1.0, 2.0], [3.0, 9.0]]


def test_shares_of_the_fleet_are_of_what_there_is_in_each_scenario() -> None:
    """Half of a site's GPUs are gone in the second: load is a larger share, and the site's price counts for less."""
    base = tiny()
    gpus = np.repeat(base.sites.capacity_gpu[None], 2, axis=0)
    gpus[1, 0] *= 0.5
    instance = with_scenarios(base, [0.5, 0.5], dict(capacity_gpu=gpus))
    sizes = {**base.sizes, "instant": base.n_periods + 1}
    n = {dim: (2 if dim in SECOND_STAGE else 1) * size for dim, size in sizes.items()}
    empty = {f.name: np.zeros([n[d] for d in f.metadata["dims"]]) for f in Schedule.columns()}
    empty["job_site"] = empty["job_start"] = np.full(base.n_jobs, -1)
    empty["routed_gpu"][:] = 100.0
    (_, price), (_, used), *_ = fans(instance, Schedule(**empty))
    weights = np.array([[1.0, 1.0, 1.0], [0.5, 1.0, 1.0]])
    assert price == pytest.approx(weights @ base.sites.buy_price / weights.sum(axis=1)[:, None])
    served = 100.0 * len(base.arcs.site)
    assert used == pytest.approx(np.repeat(100.0 * served / np.array([[3000.0], [2500.0]]), base.n_periods, axis=1))


@pytest.mark.slow
def test_a_page_with_fans_and_the_costs_of_all_scenarios() -> None:
    instance = generate("small", seed=11, scenarios=4)
    instance = replace(instance, scenarios=replace(instance.scenarios, name=np.array(["calm", "dear", "windy", "hot"])))
    result = solve_extensive(instance, time_limit=600.0)
    assert result.schedule is not None
    cost = np.array([a.net_cost for a in by_scenario(instance, result.schedule)])
    alone, part, name = typical(instance, result)
    at = instance.scenarios.name.tolist().index(name)
    assert (cost < cost[at]).sum() == 1  # the second of four
    assert part.schedule is not None and alone.n_scenarios == 0
    assert np.isfinite(instance.carbon_budget_t) and np.isinf(alone.carbon_budget_t), "it is for what is expected"
    assert account(alone, part.schedule).net_cost == pytest.approx(cost[at])
    rows = scenario_sheet(instance, by_scenario(instance, result.schedule)).rows
    assert [row[0] for row in rows] == instance.scenarios.name[np.argsort(-cost, kind="stable")].tolist()
    page = render(instance, result)
    for words in ("What may come", "What it may cost", "mean price of energy", *instance.scenarios.name, "25 to 75 %"):
        assert str(words) in page
    nothing = replace(result, status=Status.LIMIT, schedule=None, incumbent=np.inf)
    assert "What may come" not in render(instance, nothing)


def test_where_plans_differ() -> None:
    """Sums of what answers the scenarios; load of jobs here less there; both on the page."""
    instance = generate("small", seed=1, scenarios=3)
    result = solve_extensive(instance, time_limit=600.0)
    assert result.schedule is not None
    found = {a.name: a for a in answers(instance, result.schedule)}
    bought = [a.bought_mwh - a.sold_mwh for a in by_scenario(instance, result.schedule)]
    assert found["import less export"].total.sum(axis=1) == pytest.approx(bought)
    used = found["GPUs in use"].values
    apart = np.sqrt(((used - used.mean(axis=0)) ** 2).mean(axis=0))
    assert found["GPUs in use"].spread(instance.scenarios.probability) == pytest.approx(apart)
    [sheet] = spread_sheets(instance, list(found.values()))
    widest = [row for row in sheet.rows if row[1] == "GPUs in use, GPU-h"][0]
    i = instance.sites.name.tolist().index(widest[0])
    assert i == int(apart.sum(axis=1).argmax())
    assert widest[2] == figures(instance.period_h * float(used[:, i].sum()) / 3)
    j = int(np.flatnonzero(result.schedule.job_site >= 0)[0])
    site, start = int(result.schedule.job_site[j]), int(result.schedule.job_start[j])
    cost, around = costs(instance, result.schedule), Interval(-2.0, -1.0)
    s, moves = instance.scenarios, (ChangedJob(j, site, start, -1, -1),)
    e = Evaluation(s.name, s.probability, cost, 0.95, around, True, around, around, cost, cost, moves)
    moved, hours = moved_gpu(instance, e), int(instance.jobs.periods[j])
    assert moved.sum() == moved[site, start : start + hours].sum() == hours * instance.jobs.gpus[j]
    assert plan_sheets(instance, e)[1].rows[0][4] == "rejected"
    page = render(instance, result, evaluation=e)
    for words in (
        "Where the scenarios differ",
        "Where this plan and the mean-value plan differ",
        "Value of the stochastic",
    ):
        assert words in page
    assert "mean-value plan" not in render(instance, result)
