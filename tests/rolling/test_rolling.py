"""A rolling run: no hand-over breaks a constraint, what runs goes on, and one window is a plain solve."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from decomp.bound.coupling import FREE, Coupling
from decomp.certificate import check
from decomp.devices import interconnection_ramp
from decomp.devices.attach import attach
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.families.futures import synthetic
from decomp.files.store import read_result, write_instance
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Result, Schedule
from decomp.model.scenarios import with_scenarios
from decomp.model.validate import validate
from decomp.ranks.mpi import Serial
from decomp.rolling.planner import Done, Operation, Planned, Planner, Rolling, Tell, carried_over, roll
from decomp.rolling.windows import Executed, Expect, Window
from decomp.rolling.write import result_of, write_jobs, write_now
from decomp.schedule.held import with_decisions_of
from decomp.solver.solve import solve
from drivers.check import main as check_main
from drivers.common import run
from drivers.rolling import main
from running import CHECKOUT, Reader
from tiny import plain, tiny

pytestmark = pytest.mark.slow

OPTIONS = Options.from_dict(
    dict(
        method="lagrangian",
        rel_gap=0.02,
        bundle=dict(max_iterations=60),
        improvement=dict(stale_finishes=1, rounds_per_finish=1),
    )
)
Heard = tuple[Operation, list[tuple[Window, Result]]]


def rolled(instance: Instance, rolling: Rolling, expect: Expect | None = None) -> Heard:
    heard: list[tuple[Window, Result]] = []

    def tell(planned: Planned, window: Window, result: Result) -> None:
        validate(window.instance)
        heard.append((window, result))

    operation = roll(Planner(instance, OPTIONS, rolling, expect=expect, tell=tell), Serial())
    assert operation is not None
    return operation, heard


@cache
def days() -> Instance:
    return generate("fleet", sites=3, periods=48, jobs=24, seed=2, period_h=1.0, pools=3, mandatory=0.4)


@cache
def run_of_days(warm: bool = True) -> Heard:
    return rolled(days(), Rolling(window=18, step=8, switch_usd=50.0, warm=warm))


def test_a_window_shorter_than_a_mandatory_job_is_refused() -> None:
    with pytest.raises(InputError, match=r"window: 1 h, must be at least \d+ h: .* mandatory job '[\w-]+' less one"):
        Rolling(window=1, step=1).check(days())
    with pytest.raises(InputError, match=r"step: 8 h, must be between the period's 1 h and the window's 6 h"):
        Rolling(window=6, step=8).check(days())


def test_the_whole_run_is_certified_and_keeps_the_budget() -> None:
    operation = run_of_days()[0]
    assert operation.complete and len(operation.plans) == 6
    certificate = check(days(), result_of(operation), bound=False)
    assert certificate.ok, [str(f) for f in certificate.findings]
    assert certificate.cost == pytest.approx(operation.past.cost(), rel=1e-9)
    assert operation.past.emitted() <= days().carbon_budget_t * (1 + 1e-9)
    assert (operation.schedule.job_site[days().jobs.mandatory] >= 0).all()


def test_every_plan_is_certified_for_its_window() -> None:
    for window, result in run_of_days()[1]:
        certificate = check(window.instance, result, bound=False)
        assert certificate.ok, [str(f) for f in certificate.findings]


def test_jobs_that_run_go_on_where_they_are() -> None:
    operation, heard = run_of_days()
    done, seen = operation.schedule, 0
    for window, result in heard:
        assert result.schedule is not None
        for k in np.flatnonzero(window.running):
            j = window.jobs[k]
            assert done.job_start[j] < window.now < done.job_start[j] + days().jobs.periods[j]
            assert (result.schedule.job_site[k], result.schedule.job_start[k]) == (done.job_site[j], 0)
            seen += 1
    assert seen


def test_plans_know_no_optional_job_before_it_arrives() -> None:
    jobs = days().jobs
    for window, _ in run_of_days()[1]:
        assert (jobs.mandatory[window.jobs] | (jobs.release[window.jobs] <= window.now)).all()


def test_costs_of_the_steps_add_up() -> None:
    past = run_of_days()[0].past
    ends = [past.cost(t) for t in range(0, 49, 8)]
    assert ends[0] == 0.0 and ends[-1] == pytest.approx(past.cost())
    last = run_of_days()[0].plans[-1]
    assert last.end == 48 and run_of_days()[0].realised(last) == pytest.approx(last.planned_usd, rel=1e-9)


def test_warm_solves_need_fewer_iterations() -> None:
    """Before jobs are fixed, and in all."""
    warm, cold = (run_of_days(w)[0].plans[1:] for w in (True, False))
    assert sum(p.bound_iterations for p in warm) < sum(p.bound_iterations for p in cold)
    assert sum(p.iterations for p in warm) <= 0.8 * sum(p.iterations for p in cold)


def test_jobs_planned_before_stay_as_they_are_where_prices_do_not_object() -> None:
    _, heard = run_of_days()
    (before, plan), (window, _) = heard[0], heard[1]
    assert plan.schedule is not None
    fixing, c = carried_over(before, plan.schedule, window), Coupling.of(window.instance)
    known = np.flatnonzero(fixing.run != FREE)
    assert window.running.any() and set(np.flatnonzero(window.running)) <= set(known)
    for k in known:
        job = int(np.flatnonzero(before.jobs == window.jobs[k])[0])
        assert c.jobs.site[fixing.run[k]] == plan.schedule.job_site[job]
        if not window.running[k]:
            assert fixing.start[k] + window.now == plan.schedule.job_start[job] + before.now


def calm(window: Instance) -> Instance:
    """A window whose prices and winds are taken to be what they are on average."""
    for name, table in SEEN.items():
        values = getattr(getattr(window, table), name)
        flat = np.repeat(values.mean(axis=1, keepdims=True), values.shape[1], axis=1)
        window = replace(window, **{table: replace(getattr(window, table), **{name: flat})})
    return window


SEEN = dict(buy_price="sites", sell_price="sites", wind_mw="sites", demand_rps="streams")


def test_plans_for_what_is_expected_answer_what_comes() -> None:
    """Jobs are where the plan for two futures has put them; all else is as cheap as what comes allows."""
    instance = generate("fleet", sites=2, periods=12, jobs=6, seed=2, period_h=1.0, generators=1.0)
    once = np.ones(len(instance.generators.site), dtype=bool)
    instance = replace(instance, generators=replace(instance.generators, day_ahead=once))
    asked: list[Instance] = []

    def expect(window: Instance) -> Instance:
        asked.append(synthetic(calm(window), 2, np.random.default_rng(len(asked))))
        return asked[-1]

    operation, heard = rolled(instance, Rolling(8, 4), expect)
    assert operation.complete and len(asked) == len(heard) == len(operation.plans) == 3
    assert [str(f) for f in check(instance, result_of(operation), bound=False).findings] == []
    for (window, result), known in zip(heard, asked, strict=True):
        assert result.schedule is not None
        assert [str(f) for f in check(window.instance, result, bound=False).findings] == []
        for name, table in SEEN.items():
            now, mine, true = (getattr(getattr(of, table), name) for of in (window.instance, known, instance))
            assert (now[:, 4:] == mine[:, 4:]).all()
            assert (now[:, :4] == true[:, window.now : window.now + 4]).all()
        held = with_decisions_of(window.instance, result.schedule)
        truth = solve_extensive(held, time_limit=600.0)
        assert result.incumbent == pytest.approx(truth.incumbent, rel=0.03)


def test_one_window_is_a_plain_solve() -> None:
    operation, heard = rolled(days(), Rolling(window=48, step=48, foresight=True))
    assert heard[0][0].instance.content_hash() == days().content_hash()
    plain = solve(days(), Serial(), OPTIONS)
    assert plain is not None and plain.incumbent == operation.past.cost() and plain.bound == heard[0][1].bound


def test_the_past_of_generators_batteries_and_peaks() -> None:
    instance = tiny()
    past = Executed(instance)
    past.now = 3
    past.done["generator_on"][:, :3] = [[True, False, False], [True, True, True]]
    past.done["generation_mw"][1, 2] = 0.7
    past.done["stored_mwh"][:, 3] = [1.5, 0.0, 0.0]
    past.done["import_mw"][:, :3] = [[0.1, 1.2, 0.3]] * 3
    past.done["job_site"][1], past.done["job_start"][1] = 2, 1
    past.target[0] = 1
    window = past.window(6, 2)
    now = window.instance
    assert now.n_periods == 5 and now.start_utc == "2022-01-01T03:00Z"
    assert now.generators.initial_mw.tolist() == [0.0, 0.7]
    assert now.generators.initial_periods.tolist() == [2, 3 + 1]
    assert now.sites.battery_initial_mwh[0] == 1.5 and (now.sites.peak_so_far_mw == 1.2).all()
    assert window.jobs.tolist() == [0, 1, 2] and window.running.tolist() == [False, True, False]
    assert now.jobs.periods.tolist() == [3, 2, 2] and now.jobs.deadline.tolist() == [5, 2, 3]
    assert now.candidates.cost_usd.tolist() == [0.0, 10.0, 0.0, 0.0]
    past.switch_usd = 7.0
    assert past.window(6, 2).instance.candidates.cost_usd.tolist() == [7.0, 10.0, 0.0, 0.0]
    validate(now)


def test_a_window_too_short_to_fill_the_batteries_fills_what_it_can() -> None:
    """3 MWh are to be there in the end, 1 MW comes in an hour: windows of an hour have to go on with what they find."""
    battery = dict(battery_mwh=4.0, battery_initial_mwh=0.5, battery_final_mwh=3.0, charge_mw=1.0, discharge_mw=1.0)
    instance = plain(sites=battery | dict(charge_efficiency=1.0, discharge_efficiency=1.0))
    operation, heard = rolled(instance, Rolling(1, 1))
    assert [float(window.instance.sites.battery_final_mwh[0]) for window, _ in heard[:4]] == [1.5, 2.5, 3.0, 3.0]
    stored = operation.schedule.stored_mwh[0]
    assert stored[:4] == pytest.approx([0.5, 1.5, 2.5, 3.0], abs=1e-6) and stored[-1] >= 3.0 - 1e-6
    assert check(instance, result_of(operation), bound=False).ok


def test_windows_without_jobs_before_and_after_those_with() -> None:
    """Of three windows the second has a job; of the others the first is before it arrives."""
    jobs = dict(gpus=[300.0], periods=[3], release=[5], deadline=[8], value_usd=[200.0])
    instance = plain(12, jobs=jobs, candidates=dict(job=[0], site=[0]))
    for warm in (True, False):
        operation, _ = rolled(instance, Rolling(window=4, step=4, warm=warm))
        assert operation.complete and [p.jobs for p in operation.plans] == [0, 0, 0]
        operation, _ = rolled(instance, Rolling(window=5, step=4, foresight=True, warm=warm))
        assert operation.complete and [p.jobs for p in operation.plans] == [0, 1, 0]
        assert operation.schedule.job_start.tolist() == [5]
        certificate = check(instance, result_of(operation), bound=False)
        assert certificate.ok, [str(f) for f in certificate.findings]


@pytest.mark.parametrize(
    "budget, clean, share",
    [(np.inf, 6, np.inf), (np.inf, 0, np.inf), (9.0, 6, 0.0), (9.0, 0, 4.5), (9.0, 12, 9.0), (0.0, 0, 0.0)],
)
def test_a_window_has_its_share_of_the_budget(budget: float, clean: int, share: float) -> None:
    """The first of two windows; `clean` periods from the start on are without emissions."""
    dirty = np.where(np.arange(12) < clean, 0.0, 0.3) * np.ones((2, 1))
    window = Executed(plain(12, sites=dict(carbon_intensity=dirty), carbon_budget_t=budget)).window(6, 6)
    assert window.instance.carbon_budget_t == pytest.approx(share)
    validate(window.instance)


def tomorrow(carbon: float) -> Instance:
    """Two days; from the 17th hour on with another carbon intensity than before."""
    intensity = np.where(np.arange(48) < 16, 0.2, carbon) * np.ones((2, 1))
    return plain(48, sites=dict(carbon_intensity=intensity), carbon_budget_t=12.0)


def as_in_the_first_hour(window: Instance) -> Instance:
    intensity = np.repeat(window.sites.carbon_intensity[:, :1], window.n_periods, axis=1)
    return replace(window, sites=replace(window.sites, carbon_intensity=intensity))


@pytest.mark.parametrize("length", (16, 24, 36))
def test_the_share_of_the_budget_is_by_what_is_known(length: int) -> None:
    """It is that of the window's hours where all hours seem alike, whatever comes later."""
    rolling = Rolling(window=length, step=8)
    for carbon in (0.0, 0.9):
        planner = Planner(tomorrow(carbon), OPTIONS, rolling, expect=as_in_the_first_hour)
        planner.look_ahead()
        assert planner.ahead is not None
        for instance in (planner.ahead.instance, planner.ahead.known):
            assert instance.carbon_budget_t == pytest.approx(12.0 * length / 48)
    assert Executed(tomorrow(0.0)).window(length, 8).instance.carbon_budget_t == pytest.approx(12.0)


@pytest.mark.parametrize("length, share", ((12, 0.25), (24, 0.5)))
def test_later_days_are_taken_to_be_like_the_first(length: int, share: float) -> None:
    """Hours that are not known even so are like those that are on average."""
    by_day = np.where(np.arange(48) % 24 < 6, 0.1, 0.3) * np.ones((2, 1))
    past = Executed(plain(48, sites=dict(carbon_intensity=by_day), carbon_budget_t=12.0))
    sites = past.instance.sites

    def budget(window: int, known: int) -> float:
        return past.allowance(past.as_known(sites.between(0, known)).sites, window)

    assert budget(length, length) == pytest.approx(12.0 * share)
    assert budget(6, length) < 12.0 * 6 / 48
    assert budget(24, 48) == pytest.approx(6.0)


def test_a_window_knows_nothing_of_what_comes_after_it() -> None:
    """A ramp limit at its end allows what may follow by what is known, whatever follows."""
    asked = []
    for later in (0.0, 3.0):
        limit = np.where(np.arange(24) < 8, 3.0, later) * np.ones((2, 1))
        instance = plain(24, sites=dict(import_limit_mw=limit, export_limit_mw=0.0))
        instance = attach(instance, str(instance.sites.name[0]), interconnection_ramp(mw_per_h=0.2))
        planner = Planner(instance, OPTIONS, Rolling(8, 4), expect=lambda window: window)
        planner.look_ahead()
        assert planner.ahead is not None
        asked += [planner.ahead.instance, planner.ahead.known]
    assert len({instance.content_hash() for instance in asked}) == 1
    assert len(asked[0].device_rows.high) == 7  # changes within the window; any may follow


def test_a_run_with_devices_goes_on_by_what_was_known() -> None:
    """A lower limit after the window would leave a row at its end, if it were known."""
    limit = np.where(np.arange(16) < 8, 3.0, 1.0) * np.ones((2, 1))
    instance = plain(16, sites=dict(import_limit_mw=limit, export_limit_mw=0.0))
    instance = attach(instance, str(instance.sites.name[0]), interconnection_ramp(mw_per_h=0.2))
    done: list[Done] = []

    def tell(planned: Planned, window: Window, result: Result) -> None:
        assert result.schedule is not None
        done.append(Done(planned, window.instance, result.schedule))

    def planner(tell: Tell) -> Planner:
        return Planner(instance, OPTIONS, Rolling(8, 8), expect=lambda window: window, tell=tell)

    first = roll(planner(tell), Serial())
    assert first is not None and first.complete and len(done) == 2
    sizes = Executed(instance).window(8, 8).instance.sizes
    assert sizes["device_row"] == done[0].instance.sizes["device_row"] + 1
    again = planner(lambda *told: None)
    again.do_again(done, None)
    assert again.past.complete and again.past.cost() == first.past.cost()


def test_stamps_of_plans_are_in_utc_whatever_the_offset(tmp_path: Path) -> None:
    """The table of what to do now and that of jobs, of the second window of a run that starts at 22:00 UTC."""
    instance = plain(12, start_utc="2022-06-01T00:00+02:00")
    operation, heard = rolled(instance, Rolling(window=8, step=4))
    window, result = heard[1]
    assert window.instance.start_utc == "2022-06-01T02:00Z"
    write_now(tmp_path / "now.csv", window, result, 4)
    now = list(csv.DictReader((tmp_path / "now.csv").open(encoding="utf-8")))
    assert [row["start_utc"] for row in now[::2]] == [f"2022-06-01T0{h}:00Z" for h in (2, 3, 4, 5)]
    window, result = heard[0]
    write_jobs(tmp_path / "jobs.csv", window, result, 4)
    rows = list(csv.DictReader((tmp_path / "jobs.csv").open(encoding="utf-8")))
    assert len(rows) == 3 and result.schedule is not None
    hours = dict(zip(window.instance.jobs.name, result.schedule.job_start, strict=True))
    for row in rows:
        day, hour = divmod(22 + int(hours[row["job"]]), 24)
        assert row["start_utc"] == f"2022-{'06-01' if day else '05-31'}T{hour:02}:00Z"


def test_a_run_leaves_nothing_of_an_earlier_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, out = tmp_path / "fleet.h5", tmp_path / "out"
    write_instance(fleet, plain(12))
    arguments = [str(fleet), "-o", str(out), "--rel-gap", "0.1", "--quiet", "--window", "6", "--step"]
    assert run(main, [*arguments, "4"]) == 0
    assert capsys.readouterr().err == ""
    (out / "plans" / "notes.txt").write_text("mine", encoding="utf-8")
    before = sorted((out / "plans").iterdir())
    assert len(before) == 3 * 4 + 1
    own = out / "plans" / "0002.fleet.h5"
    assert run(main, [str(own), "-o", str(out), "--window", "2", "--step", "2"]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err and sorted((out / "plans").iterdir()) == before
    assert run(main, [*arguments, "6"]) == 0
    assert capsys.readouterr().err == f"{out}: 15 files of an earlier run removed\n"
    assert len(list((out / "plans").glob("*.fleet.h5"))) == 2 and (out / "plans" / "notes.txt").exists()
    assert len((out / "windows.csv").read_text("utf-8").splitlines()) == 3


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, out = tmp_path / "fleet.h5", tmp_path / "out"
    write_instance(fleet, days())
    arguments = [str(fleet), "-o", str(out), "--window", "18", "--step", "12", "--days", "1", "--rel-gap", "0.1"]
    assert run(main, [*arguments, "--quiet"]) == 0
    assert "realised net cost" in capsys.readouterr().out
    assert run(check_main, [str(out / "fleet.h5"), str(out / "schedule.h5"), "--no-bound"]) == 0
    assert run(check_main, [str(out / "plans" / "0001.fleet.h5"), str(out / "plans" / "0001.h5"), "--no-bound"]) == 0
    assert len((out / "windows.csv").read_text("utf-8").splitlines()) == 3
    assert len((out / "plans" / "0000.sites.csv").read_text("utf-8").splitlines()) == 1 + 12 * 3
    assert "job,what,start_utc,site" in (out / "plans" / "0000.jobs.csv").read_text("utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_run_after_the_window_it_is_in(number: signal.Signals) -> None:
    def tell(planned: Planned, window: Window, result: Result) -> None:
        os.kill(os.getpid(), number)

    with Serial() as team:
        operation = roll(Planner(days(), OPTIONS, Rolling(18, 12), tell=tell), team)
    assert operation is not None and operation.signalled and not operation.complete
    assert len(operation.plans) == 1 and operation.past.now == 12


def test_what_was_done_until_a_signal_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It comes before the second window has a plan."""
    fleet, out = tmp_path / "fleet.h5", tmp_path / "out"
    write_instance(fleet, days())
    with redirect_stdout(Reader(signal.SIGTERM, lambda: (out / "plans" / "0000.jobs.csv").exists())):
        assert run(main, [str(fleet), "-o", str(out), "--window", "18", "--step", "12", "--rel-gap", "0.1"]) == 3
    assert capsys.readouterr().err == "stopped after 12 h: by a signal\n"
    assert len(list((out / "plans").glob("*.fleet.h5"))) == 1 and not (out / "schedule.h5").exists()
    assert len((out / "windows.csv").read_text("utf-8").splitlines()) == 2


@cache
def whole_run() -> tuple[list[str], Path]:
    """Arguments of a run of six windows, and the folder of one that nothing ended."""
    folder = Path(tempfile.mkdtemp())
    write_instance(folder / "fleet.h5", days())
    arguments = [str(folder / "fleet.h5"), "--window", "18", "--step", "8", "--rel-gap", "0.05", "--quiet"]
    assert run(main, [*arguments, "-o", str(folder / "out")]) == 0
    return arguments, folder / "out"


def test_a_run_that_was_killed_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    arguments, whole = whole_run()
    again = tmp_path / "again"
    command = [sys.executable, "-m", "drivers.rolling", *arguments, "-o", str(again)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL) as process:
        while not (again / "state.npz").exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    left = {path: path.stat().st_mtime_ns for path in (again / "plans").glob("0000.*")}
    assert len(left) == 4 and not (again / "schedule.h5").exists()
    assert run(main, [*arguments, "-o", str(again), "--resume", "--rel-gap", "0.05"]) == 0
    assert {path: path.stat().st_mtime_ns for path in left} == left
    one, other = (read_result(folder / "schedule.h5") for folder in (whole, again))
    assert one.schedule is not None and other.schedule is not None
    for f in Schedule.columns():
        np.testing.assert_array_equal(getattr(one.schedule, f.name), getattr(other.schedule, f.name))
    rows = [list(csv.DictReader((folder / "windows.csv").open(encoding="utf-8"))) for folder in (whole, again)]
    assert [row | {"seconds": ""} for row in rows[0]] == [row | {"seconds": ""} for row in rows[1]]


@pytest.mark.parametrize(
    ("more", "harm", "said"),
    [
        (["--step", "6"], None, "step was 8, is 6"),
        (["--options", "other.toml"], None, "options.benders.rel_gap was 0.0001, is 0.01"),
        ([], "state.npz", "state.npz: damaged"),
        ([], "plans/0001.h5", "0001.h5"),
    ],
)
def test_another_run_is_not_gone_on_with(
    more: list[str], harm: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, whole = whole_run()
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    if harm:
        (out / harm).write_bytes((out / harm).read_bytes()[:-200])
    (tmp_path / "other.toml").write_text("[improvement]\nstale_finishes = 1\n[benders]\nrel_gap = 0.01\n")
    more = [str(tmp_path / word) if word == "other.toml" else word for word in more]
    capsys.readouterr()
    assert run(main, [*arguments, *more, "-o", str(out), "--resume"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and said in told


def test_there_is_nothing_to_go_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, _ = whole_run()
    capsys.readouterr()
    assert run(main, [*arguments, "-o", str(tmp_path / "none"), "--resume"]) == 2
    assert "no run to go on with" in capsys.readouterr().err and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        *(["--step", "0.3"], ["--window", "6"], ["--window", "25"], ["--switch-usd", "-1"]),
        *(["--scenarios", "2"], ["--data", "."], ["--history", "none.toml"]),
    ],
)
def test_bad_input(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, out = tmp_path / "fleet.h5", tmp_path / "out"
    write_instance(fleet, days())
    assert run(main, [str(fleet), "-o", str(out), *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not out.exists()


def test_a_run_comes_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet = tmp_path / "fleet.h5"
    write_instance(fleet, with_scenarios(plain(12), [0.5, 0.5], {}))
    assert run(main, [str(fleet), "-o", str(tmp_path / "out")]) == 2
    assert "scenarios: the instance has 2, of a run one comes" in capsys.readouterr().err
