"""Devices in every part that does more than solve: Benders, frontier, scenarios, rolling, resumed, explained."""

from __future__ import annotations

import csv
import json
import os
import signal
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import pytest

import decomp
from decomp.benders.recourse import Recourse
from decomp.certificate import check
from decomp.devices.attach import attach_drafts
from decomp.devices.draft import Addition, Draft, Use
from decomp.extensive.pyomo_model import solve_extensive
from decomp.files.frontiers import write_frontier
from decomp.files.store import write_instance, write_result
from decomp.frontier.trace import trace
from decomp.insight.explain import row_worth
from decomp.lp.block import Block
from decomp.lp.highs import Effort, to_highs
from decomp.model.accounts import by_scenario
from decomp.model.frontier import at_budget
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Dual, Iteration, Result, Status
from decomp.model.validate import validate
from decomp.ranks.mpi import Serial
from decomp.report.timetable import write_timetables
from decomp.rolling.planner import Planned, Planner, Rolling, roll
from decomp.rolling.windows import Window
from decomp.rolling.write import result_of
from decomp.site.equations import add_site
from decomp.site.oracle import SiteOracle
from decomp.site.service import Given
from decomp.solver.solve import solve
from decomp.state.checkpoint import read_checkpoint
from decomp.state.solve_state import Hooks
from devices.as_devices import twins
from drivers.check import main as check_main
from drivers.common import run
from drivers.explain import main as explain_main
from drivers.report import main as report_main

KINDS = ("thermal_storage", "battery", "fuel_cell", "interconnection_ramp", "flexible_connection")


def equipped(instance: Instance, *kinds: str) -> Instance:
    """The fleet with devices at its first site."""
    for kind in kinds or KINDS:
        instance = decomp.attach(instance, str(instance.sites.name[0]), decomp.devices.KINDS[kind]())
    return instance


@cache
def fleet() -> Instance:
    return equipped(decomp.generate("small", seed=4))


def options(**values: Any) -> Options:
    made: Options = Options.from_dict(
        dict(rel_gap=1e-4, improvement=dict(stale_finishes=1), moves=dict(programs=30)) | values
    )
    return made


def solved(instance: Instance, **values: Any) -> Result:
    result = solve(instance, Serial(), options(**values))
    assert result is not None and result.schedule is not None
    return result


# ---------------------------------------------------------------- built-in and as devices


@pytest.mark.parametrize("seed", [29, 54])
def test_batteries_and_generators_as_devices_cost_what_the_built_in_ones_do(seed: int) -> None:
    pair = twins(decomp.generate("small", seed=seed))
    assert len(pair[1].devices.site) >= 4
    truth = [solve_extensive(instance, rel_gap=1e-10).incumbent for instance in pair]
    assert truth[1] == pytest.approx(truth[0], rel=1e-9)
    for instance in pair:
        found = solved(instance, method="hybrid", rel_gap=1e-9)
        assert found.gap_rel <= 1e-9 and found.incumbent == pytest.approx(truth[0], rel=1e-9)


@pytest.mark.parametrize("seed", [25, 54])
@pytest.mark.parametrize("method", ["lagrangian", "benders"])
def test_a_method_that_finds_the_optimum_of_one_finds_that_of_the_other(method: str, seed: int) -> None:
    """These methods have no search behind them: of fleets where they find the best schedule."""
    one, other = (solved(instance, method=method) for instance in twins(decomp.generate("small", seed=seed)))
    assert other.incumbent == pytest.approx(one.incumbent, rel=1e-9)
    assert other.bound == pytest.approx(one.bound, rel=1e-6)


@pytest.mark.parametrize("method", ["lagrangian", "benders"])
def test_what_is_certified_of_one_holds_of_the_other(method: str) -> None:
    """Where the schedules differ: no bound of the one is above a schedule of the other."""
    one, other = (solved(instance, method=method) for instance in twins(decomp.generate("small", seed=29)))
    assert max(one.bound, other.bound) <= min(one.incumbent, other.incumbent) + 1e-6 * abs(one.incumbent)


# ---------------------------------------------------------------- several sites in one model


def test_a_site_without_a_battery_does_not_use_its_neighbours() -> None:
    """In a block of sites under the same names."""
    instance, draft = decomp.generate("small", seed=29), Draft()
    owner = int(np.flatnonzero(instance.sites.battery_mwh > 0)[0])
    other = int(np.flatnonzero(instance.sites.battery_mwh == 0)[0])
    for name in ("charge", "discharge", "stored"):
        draft.rows(name, -np.inf, 0.0, (1.0, Use(name, np.arange(instance.n_periods))))
    instance, block = attach_drafts(instance, [Addition(other, draft, "idle")]), Block()
    for i in (owner, other):
        add_site(block, instance.microgrids, i, instance.period_h, relaxed=True)
    model = block.finish()
    assert len(model.rows["device"]) == 3 * instance.n_periods
    assert not model.matrix.tocsr()[model.rows["device"]].count_nonzero()


# ---------------------------------------------------------------- Benders, frontier, scenarios


def test_recourse_lies_below_every_dispatch_with_devices() -> None:
    instance, rng, compared = fleet(), np.random.default_rng(0), 0
    oracle = SiteOracle(instance.microgrids, 0, instance.period_h)
    recourse = Recourse(SiteOracle(instance.microgrids, 0, instance.period_h, instance.carbon_price_usd_per_t))
    none = np.zeros(instance.n_periods)
    for _ in range(20):
        load = rng.uniform(0.0, 1.0) * rng.uniform(0.0, 1.0, instance.n_periods) * instance.sites.capacity_gpu[0]
        answer = recourse.evaluate(Given(load, none, none + 1.0, np.array(np.inf), np.array(0.0)))
        plan = oracle.evaluate_fixed(load, none, none, 0.0, effort=Effort())
        if plan is not None and answer.load is not None:
            compared += 1
            assert answer.lower + float(answer.price @ load) <= plan.cost + 1e-6 * max(1.0, abs(plan.cost))
    assert compared >= 5


def test_benders_with_devices_is_certified_around_the_optimum() -> None:
    truth, found = solve_extensive(fleet(), rel_gap=1e-7), solved(fleet(), method="benders")
    slack = 1e-6 * max(1.0, abs(truth.incumbent))
    assert found.bound <= truth.incumbent + slack and truth.bound <= found.incumbent + slack
    assert check(fleet(), found).ok


@pytest.mark.slow
def test_the_frontier_with_devices_encloses_the_optimum(tmp_path: Path) -> None:
    instance = equipped(decomp.generate("small", seed=8))
    frontier = trace(instance, Serial(), options(rel_gap=0.01), 3)
    assert frontier is not None
    for budget in (*frontier.budgets, *(0.5 * (frontier.budgets[1:] + frontier.budgets[:-1]))):
        truth = solve_extensive(at_budget(instance, budget), time_limit=600.0)
        lower, upper = (float(curve(np.array([budget]))[0]) for curve in (frontier.lower, frontier.upper))
        slack = 1e-6 * max(1.0, abs(truth.bound)) if np.isfinite(truth.bound) else 0.0
        assert lower <= truth.incumbent + slack and truth.bound <= upper + slack
    paths = tmp_path / "fleet.h5", tmp_path / "frontier.h5"
    write_instance(paths[0], instance)
    write_frontier(paths[1], frontier, instance)
    assert run(check_main, [*map(str, paths)]) == 0


def test_devices_act_in_every_scenario() -> None:
    instance = equipped(decomp.generate("small", seed=4, scenarios=3))
    truth, found = solve_extensive(instance, rel_gap=1e-3, time_limit=600.0), solved(instance, method="lagrangian")
    assert truth.schedule is not None and found.schedule is not None
    slack = 1e-6 * max(1.0, abs(truth.incumbent))
    assert found.bound <= truth.incumbent + slack and truth.bound <= found.incumbent + slack
    assert check(instance, truth).ok and check(instance, found).ok
    assert len(found.schedule.device_value) == 3 * len(instance.device_variables.low)
    assert len(by_scenario(instance, found.schedule)) == 3


# ---------------------------------------------------------------- rolling, interrupted


def test_a_rolling_run_with_devices_breaks_no_row() -> None:
    instance = equipped(decomp.generate("fleet", sites=3, periods=24, jobs=8, seed=2, period_h=1.0))
    rough = options(method="lagrangian", rel_gap=0.02, bundle=dict(max_iterations=40))
    plans: list[tuple[Window, Result]] = []

    def tell(planned: Planned, window: Window, result: Result) -> None:
        validate(window.instance)
        plans.append((window, result))

    operation = roll(Planner(instance, rough, Rolling(window=12, step=6), tell=tell), Serial())
    assert operation is not None and operation.complete and len(plans) == 4
    for window, result in plans:
        assert check(window.instance, result, bound=False).ok
    certificate = check(instance, result_of(operation), bound=False)
    assert certificate.ok, certificate.findings
    v, done = instance.device_variables, operation.schedule.device_value
    ends = (v.name == "stored") & (v.period == instance.n_periods - 1)
    assert (done[ends] >= v.low[ends] - 1e-6).all() and v.low[ends].min() > 0.0
    above = done[v.name == "above"]
    assert above.sum() <= 8 and np.array_equal(above, np.round(above))


class Stopper:
    """Sends this process a signal when a phase begins."""

    def __init__(self, phase: str):
        self.phase = phase

    def row(self, it: Iteration) -> None:
        if it.phase == self.phase:
            self.phase = ""
            os.kill(os.getpid(), signal.SIGUSR1)


def test_an_interrupted_solve_with_devices_goes_on(tmp_path: Path) -> None:
    path, rules = tmp_path / "c.h5", options(method="lagrangian", rel_gap=0.0)
    with Serial() as team:
        before = solve(fleet(), team, rules, hooks=Hooks(listeners=[Stopper("improve")], checkpoint=(path, 1e9)))
    assert before is not None and before.status is Status.LIMIT and before.schedule is not None
    saved = read_checkpoint(path, fleet(), rules)
    after = solve(fleet(), Serial(), rules, start=saved)
    assert after is not None and after.log[: len(before.log)] == before.log and len(after.log) > len(before.log)
    assert after.bound >= before.bound - 1e-9 * abs(before.bound) and after.incumbent <= before.incumbent + 1e-9
    assert check(fleet(), after).ok
    other = replace(fleet(), device_rows=replace(fleet().device_rows, high=fleet().device_rows.high + 1.0))
    with pytest.raises(InputError):
        read_checkpoint(path, other, rules)


# ---------------------------------------------------------------- shown


def test_the_worth_of_rows_lies_between_the_differences_on_both_sides() -> None:
    instance, rng = fleet(), np.random.default_rng(1)
    shape = (instance.n_sites, instance.n_periods)
    dual = Dual(
        rng.uniform(0.0, 0.3, shape),
        np.zeros((instance.n_streams, instance.n_periods)),
        np.zeros(instance.n_jobs),
        np.zeros(instance.n_pools),
        np.zeros(instance.n_sites),
        carbon_price=7.0,
    )
    worth, step, carbon = row_worth(instance, dual).value, 1e-4, instance.carbon_price_usd_per_t + 7.0

    def least_cost(k: int, by: float) -> float:
        """Of the site with its row k moved, as the model is read: not the form that the duals come from."""
        low, high = instance.device_rows.low.copy(), instance.device_rows.high.copy()
        low[k], high[k] = low[k] + by, high[k] + by
        moved = replace(instance, device_rows=replace(instance.device_rows, low=low, high=high))
        block = Block()
        add_site(block, moved.microgrids, 0, instance.period_h, relaxed=True)
        model = block.finish()
        cost = model.cost + carbon * model.emission
        cost[model.columns["load"]] -= instance.period_h * dual.load_price[0]
        solver = to_highs(replace(model, cost=cost))
        solver.run()
        optimal = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
        return float(solver.getInfo().objective_function_value) if optimal else np.inf

    before, used = least_cost(0, 0.0), 0
    for k in range(0, len(worth), 3):
        more, less = (before - least_cost(k, step)) / step, (least_cost(k, -step) - before) / step
        slack = 1e-3 * (1.0 + abs(worth[k]))
        assert more - slack <= worth[k] <= less + slack
        used += abs(worth[k]) > 1e-3
    assert used >= 3


def test_report_and_explanation_show_the_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = solved(fleet(), method="lagrangian")
    paths = [tmp_path / name for name in ("fleet.h5", "result.h5", "report.html")]
    write_instance(paths[0], fleet())
    write_result(paths[1], result, fleet())
    assert run(report_main, [*map(str, paths[:2]), "-o", str(paths[2])]) == 0
    page = paths[2].read_text("utf-8")
    for kind in KINDS:
        assert f">{kind}<" in page
    assert "Rules of devices over the horizon" in page and ">periods<" in page
    write_timetables(tmp_path, fleet(), result)
    rows = list(csv.DictReader((tmp_path / "devices.csv").open()))
    assert result.schedule is not None and len(rows) == len(result.schedule.device_value)
    capsys.readouterr()
    assert run(explain_main, [*map(str, paths[:2]), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["device_rows"]
    assert any("thermal_storage" in row["row"] and row["usd_per_unit"] for row in said)
