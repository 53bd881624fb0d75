"""drivers.bench: its rows, its table, what it says of rivals that are not there or do not end. No timings."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import CHECKOUT, find_mpiexec, run_limited
from decomp.extensive import build, solve_extensive
from decomp.families import generate
from decomp.measure import MERCY_SECONDS, Measured, machine, measure
from decomp.tables import markdown, medians, seconds_to
from drivers import bench
from drivers.common import run
from drivers.rivals import RIVALS

KEYS = {"method", "family", "sites", "seed", "limit_seconds", "rel_gap", "command", "seconds", "cpu_seconds"}
KEYS |= {"memory_mb", "bound", "incumbent", "gap", "outcome", "machine", "versions", "run", "commit", "warm_up_seconds"}
TINY = ["--rows", "2", "--periods", "8", "--time-limit", "8", "--rel-gap", "0.05", "--ranks", "1"]
CASE = bench.Case("fleet", 10, 60.0, 0.002, ())


def done(code: int = 0, overdue: bool = False, err: str = "", seconds: float = 60.0) -> Measured:
    return Measured(seconds, 1.0, code, overdue, 100.0, "", err)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def table_of(text: str) -> list[list[str]]:
    """Cells of the table in a page, the rule left out."""
    found = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[:1] + found[2:]]


def test_rows_on_disk_and_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rival that is there is measured, one that is not is named as absent."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyscipopt" else find(name))
    assert run(bench.main, ["-o", str(tmp_path), *TINY, "--rivals", "scip,highs-milp,highs-simplex"]) == 0
    rows = lines(tmp_path / "bench.jsonl")
    assert [row["method"] for row in rows] == ["decomp", "scip", "highs-milp", "highs-simplex"]
    ours, absent, milp, lp = rows
    for row in (ours, milp, lp):
        assert row.keys() >= KEYS
        assert row["seconds"] > 0 and row["memory_mb"] > 1 and row["command"].startswith("python -m ")
    assert ours["certified"] is True and ours["outcome"] in ("gap reached", "limit", "ended early")
    assert absent["outcome"] == "absent: pyscipopt is not installed" and "seconds" not in absent
    assert lp["outcome"] == "LP bound" and lp["gap"] is None
    assert max(ours["bound"], lp["bound"]) <= min(ours["incumbent"], milp["incumbent"]) + 1e-3
    head, *body = table_of(capsys.readouterr().out)
    assert head[:4] == ["family", "sites", "seed", "method"] and head[-1] == "outcome"
    assert [line[3] for line in body] == [row["method"] for row in rows]
    assert [line[-1] for line in body] == [row["outcome"] for row in rows]


def test_on_ranks(tmp_path: Path) -> None:
    if find_mpiexec() is None:
        pytest.skip("no mpiexec")
    words = ["drivers.bench", "-o", str(tmp_path), *TINY, "--ranks", "2", "--rivals", "none"]
    assert run_limited([sys.executable, "-m", *words]).returncode == 0
    [row] = lines(tmp_path / "bench.jsonl")
    assert row["command"].startswith("mpiexec -n 2 python -m mpi4py -m drivers.solve") and row["certified"] is True


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_bounds_the_optimum(name: str, tmp_path: Path) -> None:
    pytest.importorskip(RIVALS[name].needs)
    instance = generate("small", seed=4)
    optimum = solve_extensive(instance).incumbent
    build(instance).write_mps(tmp_path / "small.mps")
    command = [sys.executable, "-m", "drivers.rivals", name, str(tmp_path / "small.mps"), "--time-limit", "60"]
    finished = run_limited(command)
    said = bench.last_json(finished.stdout)
    assert finished.returncode == 0, finished.stderr
    assert said["bound"] is None or said["bound"] <= optimum + 1e-4 * abs(optimum)
    if not RIVALS[name].relaxation:
        assert said["incumbent"] == pytest.approx(optimum, rel=1e-3)
    elif name != "pdlp":
        assert said["bound"] is not None and said["incumbent"] is None


def test_outcomes_say_what_was_not_found() -> None:
    assert bench.our_outcome(CASE, done(3), {"ok": False, "cost": None}) == "no schedule in 60 s"
    assert bench.our_outcome(CASE, done(3), {}) == "no schedule in 60 s"
    assert bench.our_outcome(CASE, done(5, err="Traceback\nerror: it broke\n"), {}) == "failed: error: it broke"
    proof = {"ok": True, "cost": -100.0, "certified_bound": -100.1}
    assert bench.our_outcome(CASE, done(), proof) == "gap reached"
    assert bench.our_outcome(CASE, done(), proof | {"ok": False}) == "certificate REJECTED"
    assert bench.our_outcome(CASE, done(3), proof | {"certified_bound": -110.0}) == "limit"
    assert bench.our_outcome(CASE, done(3, seconds=20.0), proof | {"certified_bound": -110.0}) == "ended early"
    nothing = {"status": "running", "bound": -5.0, "incumbent": None}
    assert bench.rival_outcome(CASE, False, done(-9, overdue=True), nothing) == "no schedule in 60 s"
    assert bench.rival_outcome(CASE, False, done(), nothing | {"incumbent": -4.0}) == "limit"
    assert bench.rival_outcome(CASE, False, done(-9, True), nothing | {"incumbent": -4.0}) == "limit, ended by force"
    assert bench.rival_outcome(CASE, True, done(-9, overdue=True), {}) == "no LP optimum in 60 s"
    assert bench.rival_outcome(CASE, False, done(-9), nothing) == "failed: signal 9"


def test_missing_numbers_are_dashes() -> None:
    row = dict(family="fleet", sites=10, seed=1, method="scip", limit_seconds=60.0, rel_gap=0.01, outcome="a|b")
    head, rule, line = markdown([row])
    assert len(head) == len(rule) == len(line)
    assert [cell.strip() for cell in line.replace("\\|", "!").strip("|").split("|")] == [
        *("fleet", "10", "1", "scip", "60", "-", "-", "-", "-", "-", "a!b")
    ]


def test_medians_count_a_missing_gap_as_the_worst() -> None:
    case, gaps = dict(family="fleet", sites=10, limit_seconds=60, rel_gap=0.01), [0.01, None, 0.03]
    methods = ("decomp", "scip")
    rows = [dict(case, method=m, seed=s, gap=gap, outcome="limit") for s, gap in enumerate(gaps) for m in methods]
    ours, scip = medians(rows)
    assert (ours["method"], scip["method"]) == ("decomp", "scip")
    assert ours["gap"] == 0.03 and ours["seconds"] is None and ours["outcome"] == "3 × limit"


def test_milestones_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    entries = [(1.0, -120.0, None), (2.0, -102.0, -100.0), (3.0, -105.0, -101.0), (4.0, -101.05, -101.0)]
    text = [json.dumps(dict(wall_seconds=s, bound=b, incumbent=c)) for s, b, c in entries]
    log.write_text("\n".join([*text, '{"wall_sec']), "utf-8")
    reached = seconds_to(log)
    assert reached["0.1"] == reached["0.03"] == 2.0 and reached["0.01"] == 3.0 and reached["0.0005"] == 4.0
    assert "0.0003" not in reached
    assert seconds_to(tmp_path / "none.jsonl") == {}


def test_without_a_model_the_rivals_rows_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(self: bench.Bench, verb: str, *words: object) -> float:
        if verb == "export":
            raise bench.InputError("export: out of memory")
        return 0.0

    monkeypatch.setattr(bench.Bench, "prepare", prepare)
    monkeypatch.setattr(bench.Bench, "ours", lambda *_: None)
    monkeypatch.setattr(bench.Bench, "warm_up", lambda *_: 1.0)
    assert bench.main(["-o", str(tmp_path), *TINY, "--rivals", "highs-ipm"]) == 0
    assert [row["outcome"] for row in lines(tmp_path / "bench.jsonl")] == ["no model: export: out of memory"]


def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """Even if it will not hear of it and its child sits in a session of its own."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    parent = (
        f"import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True); "
        "print(child.pid, flush=True); child.wait()"
    )
    ended = measure([sys.executable, "-c", parent], 2.0)
    assert ended.overdue and ended.code == -signal.SIGKILL and ended.seconds >= 2.0 + MERCY_SECONDS
    if Path("/proc/self/stat").exists():
        time.sleep(0.5)
        with pytest.raises(ProcessLookupError):
            state = Path(f"/proc/{int(ended.out)}/stat")
            if state.exists() and state.read_text("utf-8").rpartition(")")[2].split()[0] == "Z":
                raise ProcessLookupError  # ended; nobody has asked for its exit code yet
            os.kill(int(ended.out), 0)


def test_measured_memory_is_that_of_all_processes() -> None:
    hold = "import time; x = b'x' * 100_000_000; time.sleep(2)"
    both = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {hold!r}]); {hold}; p.wait()"
    found = measure([sys.executable, "-c", both], 60.0)
    assert found.code == 0 and not found.overdue
    assert found.memory_mb > (190 if Path("/proc/self/stat").exists() else 90)


def test_interrupted_it_shows_what_it_has(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "drivers.bench", "-o", str(tmp_path), *TINY, "--rows", "2,12,12"]
    command += ["--rivals", "none", "--rel-gap", "0.0001"]
    with subprocess.Popen(command, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        rows = tmp_path / "bench.jsonl"
        for _ in range(1200):
            if rows.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert len(table_of(out)) == 1 + len(lines(rows))


def test_plans() -> None:
    def planned(*words: str) -> list[bench.Case]:
        return bench.plan(bench.parser().parse_args(words))

    assert [(case.sites, case.limit_seconds) for case in planned()] == [(10, 60), (30, 90)]
    assert sum((1 + len(case.rivals)) * (case.limit_seconds + bench.GRACE_SECONDS) for case in planned()) < 20 * 60
    assert max(case.sites for case in planned("--full")) == 1000
    hundred, thousand = planned("--rows", "100,2000", "--time-limit", "7")
    assert "pdlp" in hundred.rivals and "scip" not in hundred.rivals and hundred.limit_seconds == 7
    assert thousand.rivals == () and thousand.sites == 2000
    [swarm] = planned("--rows", "50", "--family", "swarm", "--rivals", "scip", "--rel-gap", "0.5")
    assert (swarm.family, swarm.rivals, swarm.rel_gap) == ("swarm", ("scip",), 0.5)
    with pytest.raises(bench.InputError, match="small"):
        planned("--full", "--family", "small")
    assert planned("--full", "--family", "swarm") == [case for case in bench.FULL if case.family == "swarm"]


@pytest.mark.parametrize("words", [["--rivals", "gurobi"], ["--rows", "ten"], ["--seeds", "-1"], ["--family", "x"]])
def test_bad_arguments(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        bench.main(words)
    assert stop.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_rival_without_its_package_or_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from drivers import rivals

    assert run(rivals.main, ["scip", str(tmp_path / "none.mps")]) == 2
    (tmp_path / "some.mps").write_text("", "utf-8")
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    assert run(rivals.main, ["scip", str(tmp_path / "some.mps")]) == 2
    assert "pyscipopt is not installed" in capsys.readouterr().err


def test_the_machine_is_named() -> None:
    found = machine()
    assert found["cpu"] and found["cores"] >= 1 and found["memory_gib"] > 0
