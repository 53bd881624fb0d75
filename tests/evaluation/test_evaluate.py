"""Plans held against scenarios: what their jobs cost, and the two values, beside the extensive form."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from decomp.evaluation.evaluate import ChangedJob, Evaluation, Interval, evaluate, moves
from decomp.extensive.by_highs import solve as solve_form
from decomp.extensive.matrices import ExtensiveForm
from decomp.extensive.pyomo_model import build, solve_extensive
from decomp.families import generate
from decomp.families.futures import synthetic
from decomp.files.store import write_instance, write_result
from decomp.model.accounts import account
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.model.scenarios import mean, scenario, with_scenarios, without_scenarios
from decomp.model.validate import validate
from decomp.ranks.mpi import Serial
from decomp.schedule.held import with_decisions_of
from decomp.solver.solve import solve
from drivers import evaluate as driver
from drivers.common import BAD_INPUT, run

QUICK = Options.from_dict(dict(method="extensive", rel_gap=1e-6))


@cache
def stochastic(seed: int) -> tuple[Instance, Result]:
    instance = generate("small", seed=seed, scenarios=3)
    instance = replace(instance, scenarios=replace(instance.scenarios, probability=np.array([0.5, 0.3, 0.2])))
    return instance, solve_extensive(instance, time_limit=600.0)


def evaluated(instance: Instance, result: Result, **how: object) -> Evaluation:
    found = evaluate(instance, result, Serial(), QUICK, **how)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_fleet_whose_jobs_are_settled() -> None:
    instance, result = stochastic(1)
    assert result.schedule is not None
    held = with_decisions_of(instance, result.schedule)
    validate(held)
    run_jobs = np.flatnonzero(result.schedule.job_site >= 0)
    assert held.jobs.name.tolist() == instance.jobs.name[run_jobs].tolist() and held.jobs.mandatory.all()
    again = solve_extensive(held, time_limit=600.0)
    assert again.incumbent == pytest.approx(result.incumbent, rel=1e-5)
    assert again.schedule is not None
    assert (again.schedule.job_start == result.schedule.job_start[run_jobs]).all()


@pytest.mark.parametrize("seed", [1, 6])
def test_the_values_are_those_of_the_extensive_form(seed: int) -> None:
    instance, result = stochastic(seed)
    found, p = evaluated(instance, result), instance.scenarios.probability
    assert found.mean == pytest.approx(result.incumbent, rel=1e-9)
    slack = 1e-4 * abs(result.incumbent)
    expected = solve_extensive(mean(instance), time_limit=600.0)
    assert expected.schedule is not None and found.stochastic is not None and found.information is not None
    held = with_decisions_of(instance, expected.schedule)
    plain = solve_extensive(held, time_limit=600.0).incumbent - result.incumbent
    assert found.stochastic.lower - slack <= plain <= found.stochastic.upper + slack
    assert 0.0 <= found.stochastic.lower <= found.stochastic.upper
    if np.isinf(instance.carbon_budget_t):
        knowing = p @ [solve_extensive(scenario(instance, s), time_limit=600.0).incumbent for s in range(3)]
        assert found.information.lower - slack <= result.incumbent - knowing <= found.information.upper + slack
        assert found.information.upper - found.information.lower <= 4 * slack
    assert 0.0 <= found.information.lower <= found.information.upper


def test_a_budget_for_all_scenarios_together_leaves_a_lower_bound() -> None:
    """Where the budget binds, its price leaves a bound on what knowing the scenario costs."""
    free = replace(generate("small", seed=11, scenarios=3), carbon_budget_t=np.inf)
    loose = solve_extensive(free, time_limit=600.0)
    assert loose.schedule is not None
    tonnes = float(account(free, loose.schedule).emissions_t.sum())
    instance = replace(free, carbon_budget_t=0.8 * tonnes, carbon_excess_usd_per_t=200.0)
    plan = solve(instance, Serial(), Options.from_dict(dict(method="lagrangian", rel_gap=1e-3)))
    assert plan is not None and plan.dual is not None and plan.dual.carbon_price > 0.0
    found = evaluated(instance, plan)
    assert found.perfect is not None and found.perfect.lower <= found.this.upper
    assert found.perfect.lower > loose.incumbent - 1.0  # the price of carbon counts
    assert found.information is not None and found.information.lower >= 0.0


def with_columns_held(form: ExtensiveForm, names: dict[str, float]) -> ExtensiveForm:
    at, value = [form.columns.index(name) for name in names], np.array(list(names.values()))
    low, high = np.array(form.lower), np.array(form.upper)
    low[at] = high[at] = value
    return replace(form, lower=low, upper=high)


@pytest.mark.parametrize("least", [None, 0.0])
def test_day_ahead_commitments_stay_in_fresh_scenarios(least: float | None) -> None:
    """Beside the extensive form whose columns of commitment are held; also of generators without a least output."""
    one = generate("small", seed=0)
    n = len(one.generators.site)
    always = dict(min_up_periods=np.ones(n, dtype=int), min_down_periods=np.ones(n, dtype=int))
    costs = dict(no_load_usd_per_h=np.full(n, 3.0), start_usd=np.full(n, 7.0), day_ahead=np.ones(n, dtype=bool))
    g = replace(one.generators, initial_mw=np.zeros(n), **always, **costs)
    g = g if least is None else replace(g, p_min_mw=np.full(n, least))
    one = replace(one, generators=g, carbon_budget_t=np.inf)
    fresh = synthetic(one, 2, np.random.default_rng(5))
    plan = solve_extensive(one, time_limit=600.0).schedule
    assert plan is not None and n
    on = np.tile(np.arange(one.n_periods) > 1, (n, 1))
    plan = replace(plan, generator_on=on)
    held = with_decisions_of(fresh, plan)
    validate(held)
    names = {f"on_s{s}_{k}_{t}": float(on[k, t]) for s in range(2) for k, t in np.ndindex(on.shape)}
    tables = ("generators", "devices", "device_variables", "device_rows", "device_entries")
    jobs = replace(held, **{name: getattr(fresh, name) for name in tables})
    truth = solve_form(with_columns_held(build(jobs), names), time_limit=600.0)
    found = solve_extensive(held, time_limit=600.0)
    assert found.incumbent == pytest.approx(truth.incumbent, rel=1e-6)
    assert found.incumbent > solve_extensive(jobs, time_limit=600.0).incumbent + 1e-3


def test_where_plans_differ() -> None:
    instance, result = stochastic(6)
    plan = result.schedule
    assert plan is not None
    site, start = np.array(plan.job_site), np.array(plan.job_start)
    site[0], start[0] = -1, -1
    other = replace(plan, job_site=site, job_start=start)
    assert moves(plan, plan) == ()
    assert moves(plan, other) == (ChangedJob(0, int(plan.job_site[0]), int(plan.job_start[0]), -1, -1),)
    found = evaluated(instance, replace(result, schedule=plan))
    expected = solve_extensive(mean(instance), time_limit=600.0).schedule
    assert expected is not None and found.moves == moves(plan, expected)
    words = "\n".join(driver.markdown(found, instance))
    assert f"{len(found.moves)} of {instance.n_jobs} jobs run otherwise" in words


def test_equal_scenarios_are_worth_nothing() -> None:
    one = generate("small", seed=6)
    same = with_scenarios(one, [0.5, 0.5], {})
    found = evaluated(same, solve_extensive(same, time_limit=600.0))
    slack = 1e-5 * abs(found.mean)
    assert found.stochastic is not None and found.stochastic.upper <= slack
    assert found.information is not None and found.information.upper <= slack
    assert found.half_width() == pytest.approx(0.0, abs=slack) and found.cvar == pytest.approx(found.mean)


def test_fresh_scenarios() -> None:
    instance, result = stochastic(6)
    fresh = synthetic(without_scenarios(instance), 5, np.random.default_rng(9))
    found = evaluated(instance, result, fresh=fresh, values=False)
    assert result.schedule is not None
    truth = solve_extensive(with_decisions_of(fresh, result.schedule), time_limit=600.0)
    assert found.mean == pytest.approx(truth.incumbent, rel=1e-5) and len(found.cost) == 5
    assert found.this.lower <= found.mean * (1 + 1e-9 * np.sign(found.mean)) + 1e-6
    assert found.stochastic is None and found.information is None


def test_mean_and_spread() -> None:
    """Student's t with 4 degrees of freedom: 2.776 standard errors."""
    cost = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    even = Evaluation(np.arange(5).astype(str), np.full(5, 0.2), cost, 0.8, Interval(3.0, 3.0), False)
    assert even.mean == pytest.approx(3.0) and even.cvar == pytest.approx(5.0)
    assert even.half_width() == pytest.approx(2.7764451 * np.sqrt(2.5) / np.sqrt(5), rel=1e-6)
    assert np.isnan(replace(even, probability=np.array([0.4, 0.2, 0.2, 0.1, 0.1])).half_width())
    worse = replace(even, mean_value=Interval(2.0, 4.0), this=Interval(3.0, 3.5), perfect=Interval(1.0, 3.2))
    assert worse.stochastic == (-1.5, 1.0) and replace(worse, best=True).stochastic == (0.0, 1.0)
    assert worse.information == (0.0, 2.5)


def test_refusals() -> None:
    instance, result = stochastic(1)
    alone = without_scenarios(instance)
    with pytest.raises(InputError, match="scenarios: there are none"):
        evaluated(alone, result)
    with pytest.raises(InputError, match="no schedule"):
        evaluated(instance, replace(result, schedule=None))
    other = generate("small", seed=4, scenarios=2)
    with pytest.raises(InputError, match="scenarios: are of a fleet"):
        evaluated(instance, result, fresh=other)


def test_a_plan_is_not_held_against_a_fleet_in_which_it_means_something_else() -> None:
    """As many sites, jobs and periods, but jobs of another size, of other sites, or hours of another length."""
    instance, result = stochastic(1)
    jobs, where = instance.jobs, instance.candidates
    larger = replace(instance, jobs=replace(jobs, gpus=jobs.gpus + (np.arange(instance.n_jobs) == 1)))
    with pytest.raises(InputError, match=r"another fleet: jobs\.gpus is .* in row 1, not"):
        evaluated(instance, result, fresh=larger)
    elsewhere = replace(instance, candidates=replace(where, site=where.site[::-1]))
    with pytest.raises(InputError, match=r"another fleet: candidates\.site is"):
        evaluated(instance, result, fresh=elsewhere)
    with pytest.raises(InputError, match="a fleet with periods of 0.5 h, not"):
        evaluated(instance, result, fresh=replace(instance, period_h=0.5))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    instance, result = stochastic(1)
    write_instance("fleet.h5", instance)
    write_result("result.h5", result, instance)
    Path("o.toml").write_text('method = "extensive"\n')
    words = ["fleet.h5", "result.h5", "--options", "o.toml"]
    assert run(driver.main, [*words, "--csv", "costs.csv", "--report", "page.html"]) == 0
    assert "What planning for scenarios is worth" in Path("page.html").read_text("utf-8")
    told = capsys.readouterr().out
    assert "3 scenarios" in told and "value of the stochastic solution" in told
    assert "confidence" not in told  # they are not equally likely
    with open("costs.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = evaluated(instance, result)
    assert [float(row["net_cost_usd"]) for row in rows] == pytest.approx(found.cost, abs=1e-5)
    assert run(driver.main, [*words, "--count", "4", "--seed", "2", "--cost-only", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["half_width_95"] > 0 and record["perfect"] is None and len(record["cost"]) == 4
    assert run(driver.main, [*words, "--count", "4", "--scenarios", "fleet.h5"]) == BAD_INPUT
    assert "--count: not with --scenarios" in capsys.readouterr().err


@pytest.mark.parametrize(("lower", "code", "told"), [(np.inf, 4, "infeasible"), (-7.0, 3, "stopped before")])
def test_only_a_proof_makes_a_plan_infeasible(
    lower: float, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a dispatch in some scenario the exit code says whether there is none or time was over."""
    instance, result = stochastic(1)
    s = instance.scenarios
    none = Evaluation(s.name, s.probability, np.full(3, np.inf), 0.95, Interval(lower, np.inf), False)
    args = driver.parser().parse_args(["fleet.h5", "result.h5"])
    assert driver.finish(args, none, instance, result) == code
    assert told in capsys.readouterr().err
