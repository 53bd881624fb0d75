"""`import decomp`: everything a session needs, loaded when it is asked for."""

import csv
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import decomp
from decomp.ranks import clock
from decomp.solver.solve import solve as solve_on
from running import find_mpiexec, run_limited
from tiny import tiny


def test_the_import_is_light_and_names_are_there() -> None:
    code = "import sys, decomp; print(sorted({'highspy', 'numba', 'pyomo', 'h5py', 'matplotlib'} & set(sys.modules)))"
    code += "; print(callable(decomp.solve), 'check' in dir(decomp))"
    code += "; import decomp.solver.solve, decomp.insight.explain"
    code += "; print(decomp.solve is decomp.api.solve, callable(decomp.explain))"
    done = run_limited([sys.executable, "-c", code])
    assert done.stdout.split("\n")[:3] == ["[]", "True True", "True True"], done.stderr
    assert decomp.solve is not solve_on
    with pytest.raises(AttributeError, match="nothing"):
        _ = decomp.nothing


def test_a_session(tmp_path) -> None:
    fleet = decomp.generate("small", seed=5)
    result = decomp.solve(fleet, rel_gap=0.05, method="lagrangian")
    assert decomp.check(fleet, result).ok and "USD" in str(result)
    assert re.search(r"^import_mw \(site \d+, period \d+\) \[MW\]: grid import$", str(result.schedule), re.M)
    decomp.write(tmp_path / "fleet.h5", fleet)
    decomp.write(tmp_path / "result.h5", result, fleet)
    assert decomp.read(tmp_path / "fleet.h5").content_hash() == fleet.content_hash()
    again = decomp.read(tmp_path / "result.h5")
    assert again.incumbent == result.incumbent and len(decomp.explain(fleet, again).choices) == fleet.n_jobs


@pytest.mark.parametrize("method", ["extensive", "lagrangian"])
def test_the_limit_counts_from_the_call(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However old the process is: a limit shorter than its age still leaves time for a schedule."""
    monkeypatch.setattr(clock, "_BIRTH", time.monotonic() - 1e6)
    result = decomp.solve(tiny(), rel_gap=0.5, time_limit=1e3, method=method)
    assert np.isfinite(result.incumbent) and result.provenance["method"] == method
    assert all(line.wall_seconds < 1e3 for line in result.log)


def test_what_is_wrong_is_refused(tmp_path) -> None:
    with pytest.raises(decomp.InputError, match="did you mean rel_gap"):
        decomp.solve(tiny(), relgap=0.1)
    for call in (decomp.validate, decomp.solve):
        with pytest.raises(decomp.InputError, match="carbon_budget_t"):
            call(tiny(carbon_budget_t=-1.0))
    result = decomp.solve(tiny(), method="extensive")
    with pytest.raises(decomp.InputError, match="with its instance"):
        decomp.write(tmp_path / "result.h5", result)
    with pytest.raises(decomp.InputError, match="instance: Result, must be of type Instance"):
        decomp.check(result, tiny())
    with pytest.raises(decomp.InputError, match="result: None, must be of type Result"):
        decomp.explain(tiny(), None)
    with pytest.raises(decomp.InputError, match="instance: 'fleet.h5', must be of type Instance"):
        decomp.solve("fleet.h5")
    with pytest.raises(decomp.InputError, match="sites: 2.5, must be an integer"):
        decomp.generate("fleet", sites=2.5)


def test_what_is_no_communicator_is_refused() -> None:
    if find_mpiexec() is None:
        pytest.skip("no MPI")
    code = "import decomp; decomp.solve(decomp.generate('small', seed=1), comm='world')"
    done = run_limited([sys.executable, "-c", code])
    assert "InputError: comm: 'world', must be of type Intracomm" in done.stderr


def test_a_solve_in_a_thread_is_as_any_other() -> None:
    """Only the main thread may handle signals."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(decomp.solve, tiny(), rel_gap=0.05, method="lagrangian").result()
    assert result.status is decomp.Status.GAP_REACHED
    assert result.incumbent == decomp.solve(tiny(), rel_gap=0.05, method="lagrangian").incumbent


def test_pandas_reads_the_schedules(tmp_path) -> None:
    pandas = pytest.importorskip("pandas")
    from decomp.report.timetable import write_timetables

    fleet = tiny()
    result = decomp.solve(fleet, method="extensive")
    paths = write_timetables(tmp_path / "plan", fleet, result)
    site = pandas.read_csv(paths[0], index_col="time (UTC)", parse_dates=True)
    assert len(site) == 8 and str(site.index.tz) == "UTC" and site["import (MW)"].dtype.kind == "f"
    carbon = pandas.read_csv(tmp_path / "plan" / "carbon.csv")
    assert carbon["allowance (t)"].tolist() == pytest.approx(result.allowances.allowance_t)
    with open(tmp_path / "plan" / "jobs.csv", newline="", encoding="utf-8") as stream:
        assert len(list(csv.reader(stream))) == 4


def test_files_of_sites_have_names_that_may_be(tmp_path) -> None:
    from decomp.report.timetable import write_timetables

    fleet = tiny(sites=dict(name=["Zürich/日本", "x" * 300, "C.o"]))
    result = decomp.solve(fleet, method="extensive")
    paths = write_timetables(tmp_path / "letters", fleet, result)
    assert [p.name for p in paths[:3]] == ["site-0-Zürich-日本.csv", f"site-1-{'x' * 60}.csv", "site-2-C.o.csv"]
    decomp.write(tmp_path / "fleet.h5", fleet)
    decomp.write(tmp_path / "result.h5", result, fleet)
    words = [tmp_path / "fleet.h5", "--result", tmp_path / "result.h5", "--csv", tmp_path / "plan"]
    of_c = dict(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")  # file names in ASCII
    done = run_limited([sys.executable, "-m", "drivers.export", *map(str, words)], **of_c)
    assert done.returncode == 0 and (tmp_path / "plan" / "site-0-Z-rich.csv").exists(), done.stderr


def test_a_result_does_not_take_an_instances_place(tmp_path) -> None:
    fleet, path = tiny(), tmp_path / "fleet.h5"
    decomp.write(path, fleet)
    facts = dict(instance_hash=fleet.content_hash())
    result = decomp.Result(decomp.Status.LIMIT, -1.0, 1.0, None, None, provenance=facts)
    with pytest.raises(decomp.InputError, match="holds an instance"):
        decomp.write(path, result, fleet)
    assert isinstance(decomp.read(path), decomp.Instance)
    for _ in range(2):  # a result may be written anew
        decomp.write(tmp_path / "r.h5", result, fleet)
