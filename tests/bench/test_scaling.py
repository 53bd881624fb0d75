"""Scaling studies: measured on ranks of this machine, collected, replayed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from decomp.bench.scaling import compare, read_study, study_table
from drivers.common import run
from drivers.scaling import main
from running import find_mpiexec, run_limited

pytestmark = pytest.mark.slow

ROW = dict(iterations=10, wall_seconds=12.0, path=8.0, idle=0.0, split={"sites": 1.0}, gap=0.1)


def test_speed_up_counts_work_done_a_second() -> None:
    strong = compare([dict(ROW, ranks=1, sites=8, seconds=8.0), dict(ROW, ranks=4, sites=8, seconds=2.5)])
    assert [row["speed_up"] for row in strong] == [1.0, 3.2]
    assert [row["efficiency"] for row in strong] == [1.0, 0.8]
    weak = compare([dict(ROW, ranks=2, sites=20, seconds=8.0), dict(ROW, ranks=4, sites=40, seconds=10.0)])
    assert [row["speed_up"] for row in weak] == [2.0, 3.2]
    further = dict(ROW, ranks=2, sites=8, seconds=8.0, iterations=15)
    stopped = compare([dict(ROW, ranks=1, sites=8, seconds=8.0), further])
    assert stopped[1]["efficiency"] == 0.75


def test_the_table_names_what_takes_longest() -> None:
    rows = compare([dict(ROW, ranks=1, sites=8, seconds=8.0, split={"idle": 0.3, "sites": 0.7})])
    assert "sites 70 %, idle 30 %" in study_table(rows)[2]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study on one and two ranks, with its replay."""
    if find_mpiexec() is None:
        pytest.skip("no mpiexec")
    folder = tmp_path_factory.mktemp("study")
    words = ["fleet", "-o", str(folder / "fleet.h5"), "--sites", "2", "--periods", "12", "--jobs", "2", "--seed", "1"]
    assert run_limited([sys.executable, "-m", "drivers.generate", *words]).returncode == 0
    words = ["--ranks", "1,2", "--rel-gap", "0.05", "--replay", "--sites", "100", "--on", "4,64"]
    command = [sys.executable, "-m", "drivers.scaling", str(folder / "fleet.h5"), "-o", str(folder / "out"), *words]
    done = run_limited(command)
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stdout, "utf-8")
    return folder


def test_a_study_measures_and_replays(study: Path) -> None:
    rows = read_study(study / "out")
    assert [row["ranks"] for row in rows] == [1, 2]
    assert rows[0]["iterations"] == rows[1]["iterations"] and rows[0]["idle"] == 0.0 < rows[1]["idle"]
    said = (study / "said.txt").read_text("utf-8")
    assert "\n".join(study_table(rows)) in said
    assert (study / "out" / "scaling.png").stat().st_size > 10_000
    foreseen = [json.loads(line) for line in (study / "out" / "replay.jsonl").read_text("utf-8").splitlines()]
    assert [(row["sites"], row["ranks"]) for row in foreseen] == [(100, 4), (100, 64)]
    for row in foreseen:
        assert row["total"] == pytest.approx(row["root"] + row["work"] + row["messages"])
        assert row["tree"] <= row["total"] and 0 < row["efficiency"] <= 1


def test_a_study_shows_its_own_runs_alone(study: Path) -> None:
    """What an earlier study of more ranks, maybe of another fleet, has left is no row of it."""
    assert [row["ranks"] for row in read_study(study / "out", [2])] == [2]


def test_collecting_shows_the_same(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--collect", str(study / "out")]) == 0
    assert capsys.readouterr().out.strip() in (study / "said.txt").read_text("utf-8")


def test_what_cannot_be_shown_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["--collect", str(tmp_path)]) == 2
    assert "holds no log of a scaling study" in capsys.readouterr().err
    for text in ("[]\n", "1\n", "{}\n", '{"event": "iteration"}\n' * 2 + '{"event": "result"}\n', "\xff"):
        (tmp_path / "1.jsonl").write_text(text, encoding="latin-1")
        assert run(main, ["--collect", str(tmp_path)]) == 2
        assert "/1." in capsys.readouterr().err
    (tmp_path / "1.jsonl").write_text('{"event": "iteration"}\n')
    assert run(main, ["--collect", str(tmp_path)]) == 2
    assert "has not come to its end" in capsys.readouterr().err
    assert run(main, []) == 2
    assert run(main, ["fleet.h5", "-o", str(tmp_path), "--ranks", "0"]) == 2
