"""The frontier: below and above the optimum at every budget, convex and falling, re-proved and refused when changed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from decomp.bound.coupling import Coupling
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.files.frontiers import read_frontier, write_frontier
from decomp.files.store import write_instance
from decomp.frontier import trace as trace_module
from decomp.frontier.known import known_curves
from decomp.frontier.trace import trace
from decomp.lp.watch import Interrupted
from decomp.model.frontier import Frontier, at_budget
from decomp.model.instance import Array, InputError, Instance, Microgrids
from decomp.model.options import Options
from decomp.model.scenarios import with_scenarios
from decomp.model.validate_result import validate_frontier
from decomp.ranks.mpi import Serial
from drivers.check import main as check_main
from drivers.common import run
from drivers.frontier import main
from running import Reader
from tiny import plain

pytestmark = pytest.mark.slow

OPTIONS = Options.from_dict(dict(rel_gap=0.01, improvement=dict(stale_finishes=1)))
SEEDS = (5, 8, 14)


@cache
def traced(seed: int) -> tuple[Instance, Frontier]:
    instance = generate("small", seed=seed)
    frontier = trace(instance, Serial(), OPTIONS, 4)
    assert frontier is not None
    return instance, frontier


@pytest.mark.parametrize("seed", SEEDS)
def test_curves_enclose_the_optimum_at_and_between_the_budgets(seed: int) -> None:
    instance, frontier = traced(seed)
    middle = 0.5 * (frontier.budgets[1:] + frontier.budgets[:-1])
    for budget in (*frontier.budgets, *middle):
        truth = solve_extensive(at_budget(instance, budget), time_limit=600.0)
        lower, upper = (float(curve(np.array([budget]))[0]) for curve in (frontier.lower, frontier.upper))
        slack = 1e-6 * max(1.0, abs(truth.bound)) if np.isfinite(truth.bound) else 0.0
        assert lower <= truth.incumbent + slack and truth.bound <= upper + slack


@pytest.mark.parametrize("seed", SEEDS)
def test_lower_curve_is_convex_and_both_fall(seed: int) -> None:
    frontier = traced(seed)[1]
    budgets = np.linspace(frontier.minimum_t, frontier.budgets[-1], 50)
    lower, upper = frontier.lower(budgets), frontier.upper(budgets)
    slack = 1e-9 * frontier.scale
    assert (np.diff(lower) <= slack).all() and (np.diff(lower, 2) >= -slack).all()
    assert (np.diff(upper[np.isfinite(upper)]) <= slack).all()
    assert (np.diff(frontier.budgets) > 0).all() and frontier.budgets[0] >= frontier.minimum_t
    found = np.isfinite(frontier.emissions)
    assert found[-1] and (frontier.emissions[found] <= frontier.budgets[found] * (1 + 1e-6) + 1e-6).all()
    assert (frontier.emissions >= frontier.minimum_t - 1e-4 * max(1.0, abs(frontier.minimum_t))).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_steps_fill_the_staircase_between_the_budgets(seed: int) -> None:
    frontier = traced(seed)[1]
    tonnes, cost = np.array([(step.tonnes, step.cost) for step in frontier.steps]).T
    assert (np.diff(tonnes) < 0).all() and (np.diff(cost) > 0).all()
    budgets = np.linspace(frontier.budgets[0], frontier.budgets[-1], 200)
    without = replace(frontier, steps=()).upper(budgets)
    assert (frontier.upper(budgets) <= without).all() and (frontier.upper(budgets) < without).any()
    assert (frontier.lower(tonnes) <= cost + 1e-9 * frontier.scale).all()


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instance, frontier = traced(8)
    fleet, out, plot = tmp_path / "fleet.h5", tmp_path / "frontier.h5", tmp_path / "frontier.svg"
    write_instance(fleet, instance)
    asked = ",".join(f"{b:.6f}" for b in frontier.budgets[1:3])
    assert run(main, [str(fleet), "-o", str(out), "--budgets", asked, "--plot", str(plot), "--quiet"]) == 0
    assert "budget, t CO2 |" in capsys.readouterr().out and "<svg" in plot.read_text("utf-8")
    assert run(check_main, [str(fleet), str(out)]) == 0
    assert capsys.readouterr().out.endswith("certificate: OK\n")
    back = read_frontier(out)
    step = back.steps[0]
    assert len(back.results) == 2 and back.budgets[0] < step.tonnes < back.budgets[1]
    assert back.minimum_t == pytest.approx(frontier.minimum_t, rel=1e-3)
    lie = replace(back, results=(replace(back.results[0], bound=back.results[0].bound + 1.0), back.results[1]))
    cheaper = replace(back, steps=(replace(step, cost=step.cost - 1.0), *back.steps[1:]))
    cleaner = replace(back, steps=(replace(step, tonnes=0.99 * step.tonnes), *back.steps[1:]))
    cleanest = replace(back, emissions=0.9 * back.emissions)
    for changed in (lie, cheaper, cleaner, cleanest, replace(back, minimum_t=1.1 * back.minimum_t + 0.1)):
        write_frontier(out, changed, instance)
        assert run(check_main, [str(fleet), str(out)]) == 1


@pytest.mark.parametrize("number, line", [(signal.SIGINT, 1), (signal.SIGTERM, 12), (signal.SIGUSR1, 5)])
def test_a_signal_ends_a_frontier_with_what_is_known(
    number: signal.Signals, line: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes at a line of the log."""
    fleet, out, lines = tmp_path / "fleet.h5", tmp_path / "frontier.h5", count(1)
    write_instance(fleet, traced(8)[0])
    with redirect_stdout(Reader(number, lambda: next(lines) == line)):
        assert run(main, [str(fleet), "-o", str(out), "--budgets", "4", "--rel-gap", "0"]) == 3
    assert capsys.readouterr().err.endswith("stopped by a signal, with what is known by then\n")
    assert len(read_frontier(out).results) >= 1
    assert run(check_main, [str(fleet), str(out)]) == 0


def test_a_signal_before_the_first_bound_leaves_a_bound(tmp_path: Path) -> None:
    instance = traced(8)[0]

    def read(own: Array) -> Microgrids:
        os.kill(os.getpid(), signal.SIGTERM)
        return instance.microgrids.take(own)

    with Serial() as team:
        frontier = trace(instance, team, OPTIONS, 4, read=read)
    assert frontier is not None and 1 <= len(frontier.results) < 4 and np.isfinite(frontier.results[0].bound)


class Killed(Exception):
    """As if the process had ended."""


@pytest.mark.parametrize("after", [2, 9])
def test_a_frontier_is_kept_in_between_and_gone_on_from(after: int, tmp_path: Path) -> None:
    """What is known grows, on what it was; keeping it changes nothing."""
    instance, whole = traced(5)
    fleet, out = tmp_path / "fleet.h5", tmp_path / "frontier.h5"
    write_instance(fleet, instance)
    kept: list[Frontier] = []

    def keep(so_far: Callable[[], Frontier]) -> None:
        kept.append(so_far())
        if len(kept) == after:
            write_frontier(out, kept[-1], instance)
            raise Killed

    with pytest.raises(Killed):
        trace(instance, Serial(), OPTIONS, 4, keep=keep)
    assert run(check_main, [str(fleet), str(out)]) == 0
    assert run(main, [str(fleet), "-o", str(out), "--resume", str(out), "--budgets", "4", "--quiet"]) == 0
    assert run(check_main, [str(fleet), str(out)]) == 0
    budgets, back = np.linspace(whole.budgets[0], whole.budgets[-1], 50), read_frontier(out)
    asked = OPTIONS.rel_gap * whole.scale
    assert (back.upper(budgets) <= kept[-1].upper(budgets) + 1e-9 * whole.scale).all()
    assert (back.lower(budgets) >= kept[-1].lower(budgets) - 0.2 * asked).all()  # raised where it bends most
    assert (back.upper(budgets) - back.lower(budgets)).max() <= asked
    everything = trace(instance, Serial(), OPTIONS, 4, keep=lambda so_far: kept.append(so_far()))
    assert everything is not None
    np.testing.assert_array_equal(everything.lower(budgets), whole.lower(budgets))
    np.testing.assert_array_equal(everything.upper(budgets), whole.upper(budgets))


def test_another_frontier_is_not_gone_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, other, out = (tmp_path / name for name in ("fleet.h5", "other.h5", "frontier.h5"))
    write_instance(fleet, traced(8)[0])
    write_frontier(other, traced(5)[1], traced(5)[0])
    assert run(main, [str(fleet), "-o", str(out), "--resume", str(other)]) == 2
    assert capsys.readouterr().err == f"error: {other}: the frontier of another instance\n" and not out.exists()
    assert run(main, [str(fleet), "-o", str(out), "--resume", str(fleet)]) == 2


@pytest.mark.parametrize(
    "key, at, value, words",
    [
        ("point001/dual/load_price", (0, 1), np.inf, "point 1: dual.load_price: site 0, period 1: inf, must be finite"),
        ("point000/schedule/job_site", 0, 99, "point 0: schedule.job_site: job 'job0': 99, must be an index of a site"),
        ("step_schedules/job_start", (2, 0), -9, "step 2: schedule.job_start: job 'job0': -9, must be a period"),
        ("step_schedules/import_mw", (0, 1, 0), np.nan, "step 0: schedule.import_mw: site 1, period 0: nan, must be"),
    ],
)
def test_a_frontier_that_cannot_be_is_not_gone_on_from(
    key: str, at: Any, value: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, out = tmp_path / "fleet.h5", tmp_path / "frontier.h5"
    instance, frontier = traced(14)
    write_instance(fleet, instance)
    write_frontier(out, frontier, instance)
    with h5py.File(out, "r+") as file:
        if key.endswith("job_start"):
            file["step_schedules/job_site"][at] = int(instance.candidates.site[0])
        file[key][at] = value
    assert run(main, [str(fleet), "-o", str(out), "--resume", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {out}: {words}") and said.count("\n") == 1


def test_a_job_where_it_may_not_run_is_refused() -> None:
    instance, frontier = traced(14)
    candidates, schedule = instance.candidates, frontier.steps[0].schedule
    j = int(np.flatnonzero(np.bincount(candidates.job) == 1)[0])
    other = 1 - int(candidates.site[candidates.job == j][0])
    job_site, job_start = np.array(schedule.job_site), np.array(schedule.job_start)
    job_site[j], job_start[j] = other, 0
    wrong = replace(frontier.steps[0], schedule=replace(schedule, job_site=job_site, job_start=job_start))
    words = rf"step 0: schedule.job_site: job 'job{j}': {other}, must be a site that the job may run at"
    with pytest.raises(InputError, match=words):
        validate_frontier(instance, replace(frontier, steps=(wrong, *frontier.steps[1:])))


def test_steps_that_break_a_rule_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    instance, frontier = traced(14)
    coupling = Coupling.of(instance)
    steps = [len(chain) for chain in frontier.chains()]
    found = [len(curve.schedules) for curve in known_curves(instance, coupling, frontier)]
    assert found == [n for n in steps if n > 1] and capsys.readouterr().err == ""
    first = frontier.steps[0]
    wrong = replace(first, schedule=replace(first.schedule, import_mw=first.schedule.import_mw - 50.0))
    changed = replace(frontier, steps=(wrong, *frontier.steps[1:]))
    found = [len(curve.schedules) for curve in known_curves(instance, coupling, changed)]
    assert found == [n for n in (steps[0] - 1, *steps[1:]) if n > 1]
    assert "it breaks a hard rule" in capsys.readouterr().err


def test_nothing_known_is_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A linear program of the least emissions is cut short."""
    fleet, out = tmp_path / "fleet.h5", tmp_path / "frontier.h5"
    write_instance(fleet, traced(8)[0])

    def cut(*args: Any) -> Any:
        raise Interrupted

    monkeypatch.setattr(trace_module, "least_emissions", cut)
    assert run(main, [str(fleet), "-o", str(out), "--quiet"]) == 3 and not out.exists()
    assert capsys.readouterr().err == "stopped before the first bound: nothing is known of the frontier\n"


def test_a_frontier_whose_time_is_over_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, out = tmp_path / "fleet.h5", tmp_path / "frontier.h5"
    write_instance(fleet, traced(8)[0])
    arguments = [str(fleet), "-o", str(out), "--rel-gap", "0", "--quiet"]
    assert run(main, [*arguments, "--time-limit", "1e-3"]) == 3
    assert "stopped" in capsys.readouterr().err


def test_steps_come_back_as_written_and_a_short_column_is_refused(tmp_path: Path) -> None:
    instance, frontier = traced(5)
    out = tmp_path / "frontier.h5"
    write_frontier(out, frontier, instance)
    back = read_frontier(out)
    assert len(back.steps) == len(frontier.steps) > 1
    for one, other in zip(back.steps, frontier.steps, strict=True):
        assert (one.tonnes, one.cost, one.mixes) == (other.tonnes, other.cost, other.mixes)
        for f in one.schedule.columns():
            np.testing.assert_array_equal(getattr(one.schedule, f.name), getattr(other.schedule, f.name))
    with h5py.File(out, "r+") as file:
        cost = file["steps/cost"][1:]
        del file["steps/cost"]
        file["steps"].create_dataset("cost", data=cost)
    with pytest.raises(InputError, match=r"steps\.cost: shape \(\d+,\), must be \(step\)"):
        read_frontier(out)
    write_frontier(out, replace(frontier, steps=()), instance)
    assert read_frontier(out).steps == ()


def test_points_come_back_in_their_order_however_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of more than a thousand do not lie in it, as those of more than ten if they have no zeros."""
    monkeypatch.setattr("decomp.files.frontiers._point", "point{}".format)
    instance, frontier = traced(5)
    n, out = 12, tmp_path / "frontier.h5"
    bare = replace(frontier.results[0], schedule=None, allowances=None, log=())
    results = tuple(replace(bare, bound=-float(k)) for k in range(n))
    budgets = np.linspace(frontier.budgets[0], frontier.budgets[-1], n)
    write_frontier(out, replace(frontier, budgets=budgets, results=results, emissions=np.full(n, np.inf)), instance)
    back = read_frontier(out)
    assert back.budgets.tolist() == budgets.tolist() and [r.bound for r in back.results] == [r.bound for r in results]
    with h5py.File(out, "r+") as file:
        del file["emissions"]
        file["emissions"] = np.zeros(3)
    with pytest.raises(InputError, match=r"emissions: shape \(3,\), must be \(point\) = \(12,\)"):
        read_frontier(out)


@pytest.mark.parametrize("work", [dict(), dict(jobs=None, candidates=None, streams=None, arcs=None)])
def test_a_fleet_without_emissions_has_one_budget(
    work: dict[str, None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, out, plot = tmp_path / "fleet.h5", tmp_path / "frontier.h5", tmp_path / "frontier.svg"
    write_instance(fleet, plain(sites=dict(carbon_intensity=0.0), **work))
    assert run(main, [str(fleet), "-o", str(out), "--plot", str(plot), "--quiet"]) == 0
    back = read_frontier(out)
    assert back.budgets.tolist() == [0.0] and back.emissions.tolist() == [0.0] and back.minimum_t == 0.0
    assert run(check_main, [str(fleet), str(out)]) == 0
    assert capsys.readouterr().out.endswith("certificate: OK\n")


def test_curves_of_a_fleet_without_jobs_meet() -> None:
    """All is linear but for buying and selling at once; at the marginal cost of energy these sites stand still."""
    instance = plain(jobs=None, candidates=None)
    frontier = trace(instance, Serial(), OPTIONS, 4)
    assert frontier is not None and frontier.minimum_t == pytest.approx(0.0, abs=1e-6)
    budgets = np.linspace(frontier.budgets[0], frontier.budgets[-1], 50)
    assert (frontier.upper(budgets) - frontier.lower(budgets)).max() <= OPTIONS.rel_gap * frontier.scale
    for k in (5, 25, 45):
        truth = solve_extensive(at_budget(instance, budgets[k]), rel_gap=1e-9).incumbent
        slack = 1e-6 * frontier.scale
        assert frontier.lower(budgets)[k] - slack <= truth <= frontier.upper(budgets)[k] + slack


@pytest.mark.parametrize("budgets", ["1", "-3", "5,5", "x", ",", "0.0"])
def test_budgets_that_are_none(budgets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, out = tmp_path / "fleet.h5", tmp_path / "frontier.h5"
    write_instance(fleet, traced(8)[0])
    assert run(main, [str(fleet), "-o", str(out), f"--budgets={budgets}", "--quiet"]) == 2
    assert "budget" in capsys.readouterr().err and not out.exists()


def test_scenarios_are_refused_before_any_work() -> None:
    with pytest.raises(InputError, match="scenarios: 2, a frontier is of a fleet without them"):
        trace(with_scenarios(generate("small", seed=1), [0.5, 0.5], {}), Serial(), OPTIONS, 4)
