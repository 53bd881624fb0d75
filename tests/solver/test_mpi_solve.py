"""The same solve on 1, 2, 3 and 7 ranks: the same log, the same arrays, bit by bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decomp.certificate import check
from decomp.families import generate
from decomp.files.store import read_instance, read_result, write_instance
from decomp.model.instance import Array
from decomp.model.result import Result
from running import find_mpiexec, run_limited

pytestmark = pytest.mark.slow

OPTIONS = """
rel_gap = 2e-3
recovery.repair_seconds = inf
milp_bound = { site_seconds = inf, block_seconds = inf }
branching.seconds = inf
extensive_finish.seconds = inf
[bundle]
max_iterations = 25
part_size = 4
[improvement]
stale_finishes = 1
rounds_per_finish = 2
cluster_sites = 2
[moves]
programs = 30
"""
CASES: dict[str, tuple[str, dict[str, Any]]] = dict(
    fleet=("fleet", dict(sites=6, periods=12, period_h=1.0)),
    paper=("paper", {}),
)
METHODS = dict(fleet="hybrid", paper="hybrid", benders="benders")  # the same fleet, by Benders


@dataclass(frozen=True)
class Outcome:
    code: int
    log: list[dict[str, Any]]
    result: Result


Outcomes = dict[tuple[str, int], Outcome]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instances and options."""
    path = tmp_path_factory.mktemp("ranks")
    for name, (family, settings) in CASES.items():
        write_instance(path / f"{name}.h5", generate(family, **{"seed": 1, **settings}))
    (path / "options.toml").write_text(OPTIONS)
    return path


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return {}


def solved(folder: Path, outcomes: Outcomes, mpirun: Callable[..., Any], family: str, n: int) -> Outcome:
    """What n ranks make of an instance; every run is made once."""
    if (family, n) not in outcomes:
        out, log = folder / f"{family}{n}.result.h5", folder / f"{family}{n}.jsonl"
        instance = folder / f"{'fleet' if family == 'benders' else family}.h5"
        arguments = [instance, "-o", out, "--log", log, "--options", folder / "options.toml"]
        arguments += ["--method", METHODS[family]]
        done = mpirun(n, "drivers.solve", *arguments)
        assert done.returncode in (0, 3), done.stderr
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        outcomes[family, n] = Outcome(done.returncode, lines, read_result(out))
    return outcomes[family, n]


def without_clocks(line: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in line.items() if not k.endswith("_seconds") and k != "ranks"}


def arrays(result: Result) -> dict[str, Array]:
    tables = [t for t in (result.schedule, result.dual) if t is not None]  # no dual: the whole was solved as one
    return {f"{t.label()}.{f.name}": getattr(t, f.name) for t in tables for f in t.columns()}


# The paper's instance has three sites: on 7 ranks four have none. Three at most take part in the master.
@pytest.mark.parametrize("family, n", [("fleet", 3), ("benders", 3), ("paper", 7)])
def test_same_log_and_same_arrays(
    folder: Path, outcomes: Outcomes, mpirun: Callable[..., Any], family: str, n: int
) -> None:
    one, many = (solved(folder, outcomes, mpirun, family, k) for k in (1, n))
    assert [without_clocks(line) for line in many.log] == [without_clocks(line) for line in one.log]
    assert (many.code, many.result.bound, many.result.incumbent) == (one.code, one.result.bound, one.result.incumbent)
    right, found = arrays(one.result), arrays(many.result)
    assert [name for name in right if not np.array_equal(found[name], right[name])] == []
    assert many.log[-1]["ranks"] == n and many.result.provenance["ranks"] == n


@pytest.mark.parametrize("family, n", [("fleet", 3), ("paper", 7)])
def test_log_ends_with_the_result_and_tells_what_the_file_says(
    folder: Path, outcomes: Outcomes, mpirun: Callable[..., Any], family: str, n: int
) -> None:
    outcome = solved(folder, outcomes, mpirun, family, n)
    *iterations, last = outcome.log
    result = outcome.result
    keys = {"event", "status", "bound", "incumbent", "gap_abs", "gap_rel", "wall_seconds", "ranks"}
    assert keys <= set(last) and last["event"] == "result"
    assert all({"bound", "incumbent", "wall_seconds"} <= set(line) for line in iterations)
    assert {line["event"] for line in iterations} == {"iteration"}
    assert iterations[0]["incumbent"] is None
    assert (last["bound"], last["incumbent"]) == (result.bound, result.incumbent)
    assert last["gap_rel"] == pytest.approx(result.gap_rel) and last["gap_abs"] == pytest.approx(result.gap_abs)
    assert (last["status"], outcome.code) == (result.status.value, result.status.exit_code)
    assert (outcome.code == 0) == (result.gap_rel <= 2e-3)
    bounds = [line["bound"] for line in iterations]
    clocks = [line["wall_seconds"] for line in outcome.log]
    assert bounds == sorted(bounds) and clocks == sorted(clocks) and clocks[0] > 0


@pytest.mark.parametrize("family, n", [("fleet", 3), ("paper", 7)])
def test_certificate_accepts_the_file(
    folder: Path, outcomes: Outcomes, mpirun: Callable[..., Any], family: str, n: int
) -> None:
    outcome = solved(folder, outcomes, mpirun, family, n)
    assert [str(f) for f in check(read_instance(folder / f"{family}.h5"), outcome.result).findings] == []


def test_a_wide_gap_ends_all_ranks_with_code_0(folder: Path, mpirun: Callable[..., Any]) -> None:
    out = folder / "wide.h5"
    wide = mpirun(2, "drivers.solve", folder / "fleet.h5", "-o", out, "--rel-gap", 0.5)
    assert wide.returncode == 0 and read_result(out).gap_rel <= 0.5


def test_a_limit_ends_all_ranks_with_code_3_and_the_run_is_repeated_to_the_bit_on_others(
    folder: Path, mpirun: Callable[..., Any]
) -> None:
    write_instance(folder / "cut.h5", generate("fleet", sites=12, periods=24, seed=1))

    def run(n: int, name: str, *words: object) -> tuple[list[dict[str, Any]], Result]:
        out, log = folder / f"{name}.result.h5", folder / f"{name}.jsonl"
        done = mpirun(n, "drivers.solve", folder / "cut.h5", "-o", out, "--log", log, "--rel-gap", 1e-5, *words)
        assert done.returncode == 3, done.stderr
        assert done.stderr.count("\n") == 1 and "stopped" in done.stderr
        result = read_result(out)
        assert result.status.value == "limit"
        return [without_clocks(json.loads(line)) for line in log.read_text().splitlines()], result

    log, result = run(2, "cut", "--time-limit", 5)
    assert any(line["event"] == "stop" for line in log)
    again, repeated = run(1, "again", "--replay", folder / "cut.jsonl")
    assert again == log
    right, found = arrays(result), arrays(repeated)
    assert right.keys() == found.keys() and all(np.array_equal(found[name], right[name]) for name in right)


def test_bad_input_is_refused_by_all_ranks_at_once(folder: Path, mpirun: Callable[..., Any]) -> None:
    out = folder / "never.h5"
    (folder / "wrong.toml").write_text("rel_gpa = 1\n")
    for name, *others in (["missing.h5"], ["fleet.h5", "--options", folder / "wrong.toml"]):
        done = mpirun(3, "drivers.solve", folder / name, *others, "-o", out)
        assert (done.returncode, out.exists()) == (2, False)
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_serial_run_without_a_launcher_is_the_run_on_one_rank(
    folder: Path, outcomes: Outcomes, mpirun: Callable[..., Any]
) -> None:
    out = folder / "serial.h5"
    arguments = [folder / "paper.h5", "-o", out, "--options", folder / "options.toml"]
    done = run_limited([sys.executable, "-m", "drivers.solve", *map(str, arguments)])
    one = solved(folder, outcomes, mpirun, "paper", 1) if find_mpiexec() else None
    assert done.returncode in (0, 3), done.stderr
    result = read_result(out)
    assert one is None or (result.bound, result.incumbent) == (one.result.bound, one.result.incumbent)
