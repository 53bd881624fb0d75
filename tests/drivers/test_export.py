"""drivers.export: the MPS and the start solution as other programs read them."""

import csv
import re
from dataclasses import replace

import highspy
import pytest

from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.files.store import write_instance, write_result
from decomp.model.accounts import account, by_scenario
from decomp.model.result import Result, Status
from drivers.common import BAD_INPUT, INTERNAL_FAILURE, run
from drivers.export import main
from running import files_of_at_most


@pytest.fixture(scope="module")
def instance():
    return generate("small", seed=4)


@pytest.fixture(scope="module")
def result(instance):
    solved = solve_extensive(instance)
    assert solved.status == Status.GAP_REACHED
    return solved


@pytest.fixture
def files(tmp_path, instance, result):
    """The folder, with fleet.h5 and result.h5 in it."""
    write_instance(tmp_path / "fleet.h5", instance)
    write_result(tmp_path / "result.h5", result, instance)
    return tmp_path


def export(folder, *arguments):
    """Run the command with the names of files in the folder; return its exit code."""
    argv = [str(folder / word) if "." in word else word for word in ("fleet.h5", *arguments)]
    try:
        return run(main, argv)
    except SystemExit as stop:
        return stop.code


def read(path):
    highs = highspy.Highs()
    highs.setOptionValue("log_to_console", False)
    highs.setOptionValue("threads", 1)
    assert highs.readModel(str(path)) == highspy.HighsStatus.kOk
    return highs


def start_in_highs(folder):
    """Net cost of start.sol if HiGHS takes it as a feasible start for fleet.mps, by HiGHS's own word."""
    highs = read(folder / "fleet.mps")
    highs.setOptionValue("log_file", str(folder / "highs.log"))
    assert highs.readSolution(str(folder / "start.sol"), 0) == highspy.HighsStatus.kOk
    highs.setOptionValue("mip_rel_gap", 1e9)  # the start alone will do
    highs.run()
    log = (folder / "highs.log").read_text()
    return float(re.search(r"MIP start solution is feasible, objective value is (\S+)", log).group(1))


def test_mps_has_the_same_optimum(files, result):
    assert export(files, "--mps", "fleet.mps") == 0
    highs = read(files / "fleet.mps")
    highs.setOptionValue("mip_rel_gap", 1e-9)
    highs.run()
    assert highs.getInfo().objective_function_value == pytest.approx(result.incumbent, rel=1e-6)
    assert {"imp_0_0", "gpu_1_2"} <= set(highs.getLp().col_names_)


def test_start_is_feasible_in_highs_at_the_result_s_cost(files, result, capsys):
    assert export(files, "--mps", "fleet.mps", "--result", "result.h5", "--sol", "start.sol") == 0
    assert f"{result.incumbent:.6f}" in capsys.readouterr().out
    assert start_in_highs(files) == pytest.approx(result.incumbent, rel=1e-6)


def test_start_is_feasible_in_scip_at_the_result_s_cost(files, result):
    pyscipopt = pytest.importorskip("pyscipopt")
    assert export(files, "--mps", "fleet.mps", "--result", "result.h5", "--plain", "start.mst") == 0
    model = pyscipopt.Model()
    model.hideOutput()
    model.readProblem(str(files / "fleet.mps"))
    solution = model.readSolFile(str(files / "start.mst"))
    assert model.checkSol(solution)
    assert model.getSolObjVal(solution) == pytest.approx(result.incumbent, rel=1e-6)
    model.setParam("limits/gap", 1e-7)
    model.optimize()
    assert model.getObjVal() == pytest.approx(result.incumbent, rel=1e-6)


def test_nearly_feasible_schedule_is_mended(files, instance, result):
    off = replace(result.schedule, import_mw=result.schedule.import_mw + 1e-5)
    write_result(files / "result.h5", replace(result, schedule=off), instance)
    assert export(files, "--mps", "fleet.mps", "--result", "result.h5", "--sol", "start.sol") == 0
    assert start_in_highs(files) == pytest.approx(result.incumbent, rel=1e-6)


def test_refusals_leave_no_file_behind(files, instance, result, capsys):
    everything = ("--mps", "fleet.mps", "--result", "result.h5", "--sol", "start.sol")
    before = sorted(files.iterdir())

    def refused(*arguments):
        assert export(files, *arguments) == 2
        assert sorted(files.iterdir()) == before
        return capsys.readouterr().err

    assert "go together" in refused("--mps", "fleet.mps", "--sol", "start.sol")
    assert "go together" in refused("--mps", "fleet.mps", "--result", "result.h5")
    assert "go together" in refused("--csv", "plan")
    assert "is needed" in refused()
    assert "for the model" in refused("--result", "result.h5", "--sol", "start.sol", "--csv", "plan")
    assert "absent.h5" in refused("--mps", "fleet.mps", "--result", "absent.h5", "--sol", "start.sol")
    assert "nowhere" in refused("--mps", "nowhere/fleet.mps")
    wrong = replace(result, schedule=replace(result.schedule, import_mw=result.schedule.import_mw + 1))
    write_result(files / "result.h5", wrong, instance)
    assert "result.schedule: infeasible, balance_" in refused(*everything)
    write_result(files / "result.h5", Result(Status.LIMIT, -1e9, float("inf"), None, None), instance)
    assert "there is none" in refused(*everything)
    write_result(files / "result.h5", result, replace(instance, carbon_price_usd_per_t=77.0))
    assert "belongs to another instance" in refused(*everything)


def table(path):
    """A CSV file as lists by header, numbers as floats."""
    with open(path, newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    number = re.compile(r"-?[\d.]+(e[+-]?\d+)?$")
    return {name: [float(row[k]) if number.match(row[k]) else row[k] for row in rows] for k, name in enumerate(head)}


def test_csv_holds_the_schedule(files, instance, result, capsys):
    assert export(files, "--result", "result.h5", "--csv", str(files / "plan")) == 0
    paths = sorted((files / "plan").iterdir())
    assert len(paths) == instance.n_sites + 2 and f"{len(paths)} files" in capsys.readouterr().out
    load, power, facts = 0.0, 0.0, account(instance, result.schedule)
    for i, path in enumerate(p for p in paths if p.name.startswith("site-")):
        rows = table(path)
        assert rows["time (UTC)"][0] == f"{instance.start_utc[:16]}:00Z"
        assert len(rows["time (UTC)"]) == instance.n_periods
        assert all(re.search(r" \(.+\)$", name) for name in rows), "every column has its unit"
        parts = [rows[f"{name} (GPU)"] for name in ("inference", "jobs", "deferrable")]
        assert [sum(p) for p in zip(*parts, strict=True)] == pytest.approx(facts.load_gpu[i], abs=1e-5)
        into = [rows[f"{n} (MW)"] for n in ("import", "renewables used", "generators", "battery discharge")]
        out = [rows[f"{n} (MW)"] for n in ("export", "battery charge", "facility power")]
        balance = [sum(a) - sum(b) for a, b in zip(zip(*into, strict=True), zip(*out, strict=True), strict=True)]
        assert balance == pytest.approx([0.0] * instance.n_periods, abs=1e-5)
        load, power = load + sum(parts[0]), power + sum(rows["import (MW)"])
    assert instance.period_h * power == pytest.approx(facts.bought_mwh)
    routing = table(files / "plan" / "routing.csv")
    served = [gpu for gpu, site in zip(routing["load (GPU)"], routing["site"], strict=True) if site]
    assert sum(served) == pytest.approx(load, rel=1e-6)
    assert instance.period_h * sum(routing["load (GPU)"]) == pytest.approx(facts.served_gpu_h + facts.unserved_gpu_h)
    jobs = table(files / "plan" / "jobs.csv")
    assert sum(1 for site in jobs["site"] if site) == facts.accepted_jobs
    assert -sum(v for v, site in zip(jobs["value (USD)"], jobs["site"], strict=True) if site) == pytest.approx(
        facts.components["job_value"]
    )


def test_csv_of_an_earlier_schedule_does_not_stay_beside_that_of_this_one(files):
    folder = files / "again"
    folder.mkdir()
    for name in ("site-7-gone.csv", "carbon.csv", "site-notes.csv", "mine.csv"):
        (folder / name).write_text("old")
    assert export(files, "--result", "result.h5", "--csv", str(folder)) == 0
    left = {path.name for path in folder.iterdir() if path.read_text(encoding="utf-8") == "old"}
    assert left == {"site-notes.csv", "mine.csv"}


def test_csv_tells_scenarios_apart(tmp_path):
    fleet = generate("small", seed=4, scenarios=2)
    plan = solve_extensive(fleet, time_limit=600.0)
    write_instance(tmp_path / "fleet.h5", fleet)
    write_result(tmp_path / "result.h5", plan, fleet)
    folder = tmp_path / "plan"
    words = [tmp_path / "fleet.h5", "--result", tmp_path / "result.h5", "--csv", folder]
    assert main([*map(str, words)]) == 0
    bought = dict(s0=0.0, s1=0.0)
    for path in folder.glob("site-*.csv"):
        rows = table(path)
        assert rows["scenario"] == ["s0"] * fleet.n_periods + ["s1"] * fleet.n_periods
        for name, mw in zip(rows["scenario"], rows["import (MW)"], strict=True):
            bought[name] += fleet.period_h * mw
    assert list(bought.values()) == pytest.approx([a.bought_mwh for a in by_scenario(fleet, plan.schedule)])
    assert set(table(folder / "routing.csv")["scenario"]) == {"s0", "s1"}
    assert "scenario" not in table(folder / "jobs.csv")


@pytest.mark.parametrize("words", [["--mps", "fleet.mps"], ["--result", "result.h5", "--csv", "csv.d"]])
def test_what_the_disk_does_not_take_whole_is_not_there(files, words, capsys):
    with files_of_at_most(300):
        assert export(files, *words) == INTERNAL_FAILURE
    assert capsys.readouterr().err.count("\n") == 1
    assert not [path for path in files.rglob("*") if path.suffix in (".mps", ".csv") and path.stat().st_size >= 300]
    assert not [path for path in files.rglob("*") if "tmp" in path.name]
    assert export(files, *words) == 0


def test_a_path_that_highs_cannot_take(files, capsys):
    assert export(files, "--mps", "m\udcff.mps") == BAD_INPUT
    assert "HiGHS writes to paths in UTF-8 alone" in capsys.readouterr().err
    assert not [path for path in files.iterdir() if "mps" in path.name]
