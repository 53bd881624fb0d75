"""drivers.bench: its rows, its table, what it says of rivals that are not there or do not end. No timings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

from decomp.bench.measure import MERCY_SECONDS, Measured, machine, measure
from decomp.bench.tables import against_lp, growth, markdown, medians, page, seconds_to, time_lines, trace
from decomp.extensive.pyomo_model import build, solve_extensive
from decomp.families import generate
from decomp.files.store import write_instance
from drivers import bench, cases
from drivers.common import run
from drivers.rivals import RIVALS
from running import CHECKOUT, find_mpiexec, run_limited

pytestmark = pytest.mark.slow

KEYS = {"method", "family", "sites", "seed", "limit_seconds", "rel_gap", "command", "seconds", "cpu_seconds"}
KEYS |= {"memory_mb", "bound", "incumbent", "gap", "outcome", "machine", "versions", "run", "commit", "warm_up_seconds"}
TINY = ["--sites", "2", "--periods", "8", "--time-limit", "3600", "--rel-gap", "0.05", "--ranks", "1"]
CASE = cases.Case("fleet", 10, 60.0, 0.002, ())


def done(code: int = 0, overdue: bool = False, err: str = "", seconds: float = 60.0) -> Measured:
    return Measured(seconds, 1.0, code, overdue, 100.0, "", err)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def table_of(text: str) -> list[list[str]]:
    """Cells of the first table in a page, the rule left out."""
    lines = dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    found = list(takewhile(lambda line: line.startswith("|"), lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[:1] + found[2:]]


def test_rows_on_disk_and_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rival that is there is measured, one that is not is named as absent."""
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    assert run(bench.main, ["-o", str(tmp_path), *TINY, "--rivals", "scip,highs-milp,highs-simplex"]) == 0
    rows = lines(tmp_path / "bench.jsonl")
    assert [row["method"] for row in rows] == ["decomp", "scip", "highs-milp", "highs-simplex"]
    ours, absent, milp, lp = rows
    for row in (ours, milp, lp):
        assert row.keys() >= KEYS
        assert row["seconds"] > 0 and row["memory_mb"] > 1 and row["command"].startswith("python -m ")
    assert ours["certified"] is True and ours["outcome"] in ("gap reached", "limit", "ended early")
    parts = sum(ours["gap_parts"][k] for k in ("unconverged", "integers", "rest"))
    assert parts >= ours["incumbent"] - ours["bound"] - 0.1  # of a whole small fleet the certificate may prove more
    assert ours["rank_seconds"]["sites"][0] > 0 and (tmp_path / "gap-fleet-2-101.svg").exists()
    assert absent["outcome"] == "absent: pyscipopt is not installed" and "seconds" not in absent
    assert lp["outcome"] == "LP bound" and lp["gap"] is None
    assert max(ours["bound"], lp["bound"]) <= min(ours["incumbent"], milp["incumbent"]) + 1e-3
    head, *body = table_of(capsys.readouterr().out)
    assert head[:4] == ["family", "sites", "seed", "method"] and head[-1] == "outcome"
    assert [line[3] for line in body] == [row["method"] for row in rows]
    assert [line[-1] for line in body] == [row["outcome"] for row in rows]


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_bounds_the_optimum(name: str, tmp_path: Path) -> None:
    pytest.importorskip(RIVALS[name].needs)
    instance = generate("small", seed=4)
    optimum = solve_extensive(instance).incumbent
    build(instance).write_mps(tmp_path / "small.mps")
    write_instance(tmp_path / "small.h5", instance)
    slow = RIVALS[name].kind == "baseline" or name == "highs-pdlp"
    model, limit = f"small.{'h5' if RIVALS[name].kind == 'baseline' else 'mps'}", "8" if slow else "3600"
    command = [sys.executable, "-m", "drivers.rivals", name, str(tmp_path / model), "--time-limit", limit]
    finished = run_limited(command)
    said = bench.last_json(finished.stdout)
    assert finished.returncode == 0, finished.stderr
    assert said["bound"] is None or said["bound"] <= optimum + 1e-4 * abs(optimum)
    kind = RIVALS[name].kind
    if kind == "milp":
        assert said["incumbent"] == pytest.approx(optimum, rel=1e-3)
    elif "pdlp" not in name:
        assert said["bound"] is not None and said["incumbent"] is None
    if kind == "baseline":
        assert said["iterations"] >= 1 and said["bound"] >= bench.last_json(finished.stdout.splitlines()[0])["bound"]


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
    assert bench.rival_outcome(CASE, "scip", done(-9, overdue=True), nothing) == "no schedule in 60 s"
    assert bench.rival_outcome(CASE, "scip", done(), nothing | {"incumbent": -4.0}) == "limit"
    assert bench.rival_outcome(CASE, "scip", done(-9, True), nothing | {"incumbent": -4.0}) == "limit, ended by force"
    assert bench.rival_outcome(CASE, "pdlp", done(-9, overdue=True), {}) == "no LP optimum in 300 s"
    assert bench.rival_outcome(CASE, "textbook", done(), nothing) == "bound"
    assert bench.rival_outcome(CASE, "scip", done(-9), nothing) == "failed: signal 9"


def test_missing_numbers_are_dashes() -> None:
    row = dict(family="fleet", sites=10, seed=1, method="scip", limit_seconds=60.0, rel_gap=0.01, outcome="a|b")
    head, rule, line = markdown([row])
    assert len(head) == len(rule) == len(line)
    assert [cell.strip() for cell in line.replace("\\|", "!").strip("|").split("|")] == [
        *("fleet", "10", "1", "scip", "60", *7 * "-", "a!b")
    ]


def test_medians_count_a_missing_gap_as_the_worst() -> None:
    case, gaps = dict(family="fleet", sites=10, limit_seconds=60, rel_gap=0.01), [0.01, None, 0.03]
    methods = ("decomp", "scip")
    rows = [dict(case, method=m, seed=s, gap=gap, outcome="limit") for s, gap in enumerate(gaps) for m in methods]
    ours, scip = medians(rows)
    assert (ours["method"], scip["method"]) == ("decomp", "scip")
    assert ours["gap"] == 0.03 and ours["seconds"] is None and ours["outcome"] == "3 × limit"


def test_milestones_and_trace_of_a_log() -> None:
    entries = [(1.0, -120.0, None), (2.0, -102.0, -100.0), (3.0, -105.0, -101.0), (3.5, -105.0, None)]
    entries.append((4.0, -101.05, -101.0))
    text = [json.dumps(dict(wall_seconds=s, bound=b, incumbent=c)) for s, b, c in entries]
    reached = seconds_to("\n".join([*text, '{"wall_sec']))
    assert reached["0.1"] == reached["0.03"] == 2.0 and reached["0.01"] == 3.0 and reached["0.0005"] == 4.0
    assert "0.0003" not in reached and seconds_to("") == {}
    assert trace("\n".join(text)) == [
        *([1.0, -120.0, None], [2.0, -102.0, -100.0], [3.0, -102.0, -101.0], [4.0, -101.05, -101.0])
    ], "only what is better"
    assert trace('{"status": "running", "bound": -5, "incumbent": null, "seconds": 2}') == [[2, -5, None]]
    assert len(trace("\n".join(json.dumps(dict(seconds=k, bound=float(k))) for k in range(10_000)))) == 150


def sample() -> list[dict[str, object]]:
    """Rows as two runs would leave them: two sizes, an LP solver that ended and one that did not."""
    facts = dict(machine=dict(cpu="some", cores=2), run="now", commit="abc", rel_gap=0.001, limit_seconds=60.0)
    rows = []
    for sites, reached in ((30, 10.0), (120, 40.0)):
        case = dict(facts, family="fleet", sites=sites, seed=1)
        ours = [[2.0, -150.0, None], [reached / 2, -100.05, -80.0], [reached, -100.0, -99.6]]
        shares = dict(sites=[6.0, 2.0], idle=[0.0, 4.0])
        rows += [
            dict(case, method="decomp", seconds=60.0, bound=-100.0, incumbent=-99.6, gap=0.004, outcome="limit",
                 seconds_to={"0.01": reached, "0.005": reached}, trace=ours, rank_seconds=shares),
            dict(case, method="highs-ipm", seconds=100.0, bound=-100.0, outcome="LP bound",
                 trace=[[100.0, -100.0, None]]),
            dict(case, method="pdlp", seconds=300.0, bound=None, outcome="no LP optimum in 300 s", trace=[]),
            dict(case, method="subgradient", seconds=60.0, bound=-100.5, outcome="bound",
                 trace=[[3.0, -130.0, None], [9.0, -100.5, None]]),
        ]  # fmt: skip
    return rows


def test_bounds_against_the_lp_optimum() -> None:
    ours, ipm, subgradient, *_ = against_lp(sample())
    assert (ours["method"], ours["short"], ours["within_1"], ours["within_01"]) == ("decomp", 0.0, 5.0, 5.0)
    assert ours["speedup"] == 20.0
    assert ipm["within_01"] == 100.0 and ipm.get("speedup") is None
    assert subgradient["short"] == pytest.approx(0.005)
    assert (subgradient["within_1"], subgradient["within_01"]) == (9.0, None)
    assert against_lp([row for row in sample() if row["method"] != "highs-ipm"]) == []


def test_growth_and_shares() -> None:
    exponent, factor = growth(sample()) or (0, 0)
    assert exponent == pytest.approx(1.0) and factor * 30**exponent == pytest.approx(10.0)
    assert growth(sample()[:4]) is None
    head, _, line, *_ = time_lines([sample()[0]])
    assert head.split("|")[4].strip() == "sites" and [c.strip() for c in line.split("|")[4:6]] == ["66.7 %", "33.3 %"]
    text = "\n".join(page(sample()))
    assert "power 1.00" in text and "Where the time" in text and "20.0" in text


def test_tables_and_plots_from_the_lines_of_several_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file, rows in zip(files, (sample()[:4], [sample()[0], *sample()[4:]]), strict=True):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert run(bench.main, ["--show", *map(str, files), "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count("| pdlp ") == 2, "a row measured twice is shown once"
    names = {"gap-fleet-30-1", "gap-fleet-120-1", "growth"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {f"{n}.{end}" for n in names for end in ("svg", "png")}
    for path in (tmp_path / "out").glob("*.svg"):
        assert path.read_text("utf-8").count("<path") > 5
    files[0].write_text("{}\n", "utf-8")
    assert run(bench.main, ["--show", str(files[0]), "-o", str(tmp_path / "out")]) == 2
    assert "one.jsonl: line 1 is not a row of bench" in capsys.readouterr().err
    (tmp_path / "one.jsonl").write_bytes(b"\x89HDF\xff\n")
    assert run(bench.main, ["--show", str(tmp_path / "one.jsonl"), "-o", str(tmp_path / "out")]) == 2
    assert "one.jsonl: line 1 is not a row of bench" in capsys.readouterr().err


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


def has_ended(process: int, within: float) -> bool:
    """Whether it ends in so many seconds, though nobody may have asked for its exit code yet."""
    until, state = time.monotonic() + within, Path(f"/proc/{process}/stat")
    while time.monotonic() < until:
        try:
            if state.read_text("utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """Even if it will not hear of it and its child sits in a session of its own."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    parent = (
        f"import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"child = subprocess.Popen([sys.executable, '-I', '-S', '-c', {child!r}], start_new_session=True); "
        "print(child.pid, flush=True); child.wait()"
    )
    ended = measure([sys.executable, "-I", "-S", "-c", parent], 4.0)
    assert ended.overdue and ended.code == -signal.SIGKILL and ended.seconds >= 4.0 + MERCY_SECONDS
    if Path("/proc/self/stat").exists():
        assert has_ended(int(ended.out), within=300.0)


def test_measured_memory_is_that_of_all_processes() -> None:
    hold = "import time; x = b'x' * 100_000_000; time.sleep(2)"
    both = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {hold!r}]); {hold}; p.wait()"
    found = measure([sys.executable, "-c", both], 60.0)
    assert found.code == 0 and not found.overdue
    assert found.memory_mb > (190 if Path("/proc/self/stat").exists() else 90)


def test_interrupted_on_ranks_it_shows_what_it_has(tmp_path: Path) -> None:
    if find_mpiexec() is None:
        pytest.skip("no mpiexec")
    command = [sys.executable, "-m", "drivers.bench", "-o", str(tmp_path), *TINY, "--sites", "2,12,12", "--ranks", "2"]
    command += ["--rivals", "none"]
    with subprocess.Popen(command, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        rows = tmp_path / "bench.jsonl"
        while not rows.exists() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert len(table_of(out)) == 1 + len(lines(rows))
    first = lines(rows)[0]
    assert str(first["command"]).startswith("mpiexec -n 2 python -m mpi4py -m drivers.solve") and first["certified"]


def test_plans() -> None:
    def planned(*words: str) -> list[cases.Case]:
        return cases.plan(bench.parser().parse_args(words))

    assert [(case.sites, case.limit_seconds) for case in planned()] == [(10, 60), (30, 90), (100, 150)]
    assert cases.left_out(planned()) == ["10-300s", "300", "1000", "swarm-100", "10x10", "10x10-300s"]
    assert planned("--full") == list(cases.ROWS.values()) and cases.left_out(planned("--full")) == []
    assert planned("--rows", "300,swarm-100") == [cases.ROWS["300"], cases.ROWS["swarm-100"]]
    hundred, thousand = planned("--sites", "100,2000", "--time-limit", "7")
    assert "pdlp" in hundred.rivals and "scip" not in hundred.rivals and hundred.limit("scip") == 7
    assert hundred.limit("pdlp") == cases.LP_SECONDS
    assert thousand.rivals == () and thousand.sites == 2000
    [swarm] = planned("--sites", "50", "--family", "swarm", "--rivals", "scip", "--rel-gap", "0.5")
    assert (swarm.family, swarm.rivals, swarm.rel_gap) == ("swarm", ("scip",), 0.5)
    [ten] = planned("--rows", "10", "--skip", "lp,milp")
    assert ten.rivals == ("subgradient", "cutting-planes", "textbook")
    assert [case.rivals for case in planned("--skip", "rivals")] == [(), (), ()]
    with pytest.raises(bench.InputError, match="small"):
        planned("--full", "--family", "small")


@pytest.mark.parametrize(
    "words",
    [w.split() for w in ("--rivals gurobi", "--rows 11", "--sites ten", "--skip all", "--seeds -1", "--family x")],
)
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


def test_rivals_do_not_load_highs_unasked() -> None:
    """OR-Tools brings a HiGHS of its own and cannot be loaded beside another."""
    code = "import sys, drivers.rivals; sys.exit('highspy' in sys.modules)"
    assert run_limited([sys.executable, "-c", code]).returncode == 0


def test_the_machine_is_named() -> None:
    found = machine()
    assert found["cpu"] and found["cores"] >= 1 and found["memory_gib"] > 0
